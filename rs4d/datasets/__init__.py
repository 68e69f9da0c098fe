"""Data sets: SSDD, HRSID, WHU, NWPU, iSAID, SA-1B, generated scenes, and any COCO set of yours."""

from .base import RemoteSensingCocoDataset
from .coco import CocoInsSegDataset
from .errors import (
    AnnotationError,
    DatasetNotFoundError,
    ImageDecodeError,
)
from .generated_scenes import ScenesInsSegDataset
from .hrsid import HRSIDInsSegDataset
from .isaid import ISAIDInsSegDataset
from .nwpu import NWPUInsSegDataset
from .sa1b import ImageFolders, SA1BDataset
from .ssdd import SSDDInsSegDataset
from .transforms import (
    LoadImage,
    LoadRaster,
    PadKeepingShape,
)
from .whu import WHUInsSegDataset

__all__ = [
    'AnnotationError',
    'CocoInsSegDataset',
    'DatasetNotFoundError',
    'HRSIDInsSegDataset',
    'ISAIDInsSegDataset',
    'ImageDecodeError',
    'ImageFolders',
    'LoadImage',
    'LoadRaster',
    'NWPUInsSegDataset',
    'PadKeepingShape',
    'RemoteSensingCocoDataset',
    'SA1BDataset',
    'SSDDInsSegDataset',
    'ScenesInsSegDataset',
    'WHUInsSegDataset',
]
