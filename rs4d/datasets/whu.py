"""WHU: buildings in aerial images."""

from mmdet.registry import DATASETS

from .base import RemoteSensingCocoDataset


@DATASETS.register_module()
class WHUInsSegDataset(RemoteSensingCocoDataset):
    """WHU building data set (aerial imagery, 512x512 tiles), one class.

    It ships as semantic label TIFFs; ``tools/dataset_converters/whu2coco.py`` makes instances of
    them.

    Source: Ji et al., "Fully Convolutional Networks for Multisource Building Extraction From an
    Open Aerial and Satellite Imagery Data Set", IEEE TGRS 57(1), 2019.
    """

    METAINFO = dict(classes=('building',), palette=[(229, 57, 53)])
    HOW_TO_GET = (
        'WHU is expected as WHU/{train,val,test}/{image,label}/*.tif; the annotations are made '
        "from the labels by 'python tools/dataset_converters/whu2coco.py <folder of WHU>'; "
        'data/README.md says where the set comes from.'
    )
