"""SSDD: ships in synthetic aperture radar images."""

from mmdet.registry import DATASETS

from .base import RemoteSensingCocoDataset


@DATASETS.register_module()
class SSDDInsSegDataset(RemoteSensingCocoDataset):
    """SAR Ship Detection Dataset, instance segmentation, one class.

    Source: Zhang et al., "SAR Ship Detection Dataset (SSDD): Official Release and Comprehensive
    Data Analysis", Remote Sensing 13(18):3690, 2021.
    """

    METAINFO = dict(classes=('ship',), palette=[(255, 193, 7)])
    HOW_TO_GET = (
        'SSDD is expected as SSDD/imgs/*.jpg and SSDD/annotations/SSDD_instances_{train,val}.json; '
        'data/README.md says where it comes from.'
    )
