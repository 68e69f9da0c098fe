"""NWPU VHR-10: ten classes of objects in very high resolution optical images."""

from mmdet.registry import DATASETS

from .base import RemoteSensingCocoDataset


@DATASETS.register_module()
class NWPUInsSegDataset(RemoteSensingCocoDataset):
    """NWPU VHR-10 with instance polygons, ten classes.

    Source: Cheng et al., "Multi-class geospatial object detection and geographic image
    classification based on collection of part detectors", ISPRS Journal 98, 2014; polygons: Su et
    al., "Object Detection and Instance Segmentation in Remote Sensing Imagery Based on Precise Mask
    R-CNN", IGARSS 2019.
    """

    METAINFO = dict(
        classes=(
            'airplane',
            'ship',
            'storage_tank',
            'baseball_diamond',
            'tennis_court',
            'basketball_court',
            'ground_track_field',
            'harbor',
            'bridge',
            'vehicle',
        ),
        palette=[
            (244, 67, 54),
            (255, 193, 7),
            (156, 39, 176),
            (255, 112, 67),
            (0, 188, 212),
            (63, 81, 181),
            (139, 195, 74),
            (33, 150, 243),
            (121, 85, 72),
            (240, 98, 146),
        ],
    )
    HOW_TO_GET = (
        'NWPU VHR-10 is expected as NWPU/imgs/*.jpg and NWPU/annotations/'
        'NWPU_instances_{train,val}.json; data/README.md says where it comes from.'
    )
