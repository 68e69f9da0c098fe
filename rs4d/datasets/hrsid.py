"""HRSID: ships in high-resolution synthetic aperture radar images."""

from mmdet.registry import DATASETS

from .base import RemoteSensingCocoDataset


@DATASETS.register_module()
class HRSIDInsSegDataset(RemoteSensingCocoDataset):
    """High-Resolution SAR Images Dataset, instance segmentation, one class, 800x800.

    Source: Wei et al., "HRSID: A High-Resolution SAR Images Dataset for Ship Detection and Instance
    Segmentation", IEEE Access 8, 2020.
    """

    METAINFO = dict(classes=('ship',), palette=[(255, 193, 7)])
    HOW_TO_GET = (
        'HRSID is expected as HRSID/JPEGImages/*.jpg and HRSID/annotations/{train,test}2017.json; '
        'data/README.md says where it comes from.'
    )
