"""The generated scenes as a data set."""

from mmdet.registry import DATASETS

from .base import RemoteSensingCocoDataset
from .scenes import CLASSES


@DATASETS.register_module()
class ScenesInsSegDataset(RemoteSensingCocoDataset):
    """Ships on speckled water and roofs on the ground, drawn by :mod:`rs4d.datasets.scenes`.

    The set is written by ``tools/dataset_converters/generate_scenes.py`` before it is used; nothing
    is drawn behind your back.
    """

    METAINFO = dict(classes=CLASSES, palette=[(255, 193, 7), (229, 57, 53)])
    HOW_TO_GET = (
        "Generate the scenes with 'python tools/dataset_converters/generate_scenes.py "
        "<data_root>', with the data_root of the config."
    )
