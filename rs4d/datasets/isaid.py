"""iSAID: fifteen classes of objects in aerial images."""

from mmdet.registry import DATASETS

from .base import RemoteSensingCocoDataset


@DATASETS.register_module()
class ISAIDInsSegDataset(RemoteSensingCocoDataset):
    """iSAID in the patches that its devkit cuts and annotates, fifteen classes.

    Source: Waqas Zamir et al., "iSAID: A Large-scale Dataset for Instance Segmentation in Aerial
    Images", CVPR Workshops 2019.
    """

    METAINFO = dict(
        classes=(
            'ship',
            'storage_tank',
            'baseball_diamond',
            'tennis_court',
            'basketball_court',
            'Ground_Track_Field',
            'Bridge',
            'Large_Vehicle',
            'Small_Vehicle',
            'Helicopter',
            'Swimming_pool',
            'Roundabout',
            'Soccer_ball_field',
            'plane',
            'Harbor',
        ),
        palette='random',
    )
    HOW_TO_GET = (
        'iSAID is expected as iSAID/{train,val}/images/*.png and iSAID/{train,val}/'
        "instancesonly_filtered_{train,val}.json, as its devkit's split.py and preprocess.py write "
        'them; data/README.md says where they come from.'
    )

    def allows_more_categories(self) -> bool:
        """Some versions of the devkit also list a category for what is not labelled."""
        return True
