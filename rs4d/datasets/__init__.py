"""Data sets: SSDD, WHU, NWPU, SA-1B, generated scenes, and any COCO set of your own."""

from .base import RemoteSensingCocoDataset
from .errors import (
    AnnotationError,
    DatasetNotFoundError,
    ImageDecodeError,
)
from .generated_scenes import ScenesInsSegDataset
from .nwpu import NWPUInsSegDataset
from .sa1b import ImageFolders, SA1BDataset
from .ssdd import SSDDInsSegDataset
from .transforms import (
    LoadImage,
    PadKeepingShape,
)
from .whu import WHUInsSegDataset

__all__ = [
    'AnnotationError',
    'DatasetNotFoundError',
    'ImageDecodeError',
    'ImageFolders',
    'LoadImage',
    'NWPUInsSegDataset',
    'PadKeepingShape',
    'RemoteSensingCocoDataset',
    'SA1BDataset',
    'SSDDInsSegDataset',
    'ScenesInsSegDataset',
    'WHUInsSegDataset',
]
