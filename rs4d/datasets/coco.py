"""Any COCO set, with the classes that its annotation file has."""

from mmdet.registry import DATASETS

from .base import RemoteSensingCocoDataset
from .errors import DatasetNotFoundError


@DATASETS.register_module()
class CocoInsSegDataset(RemoteSensingCocoDataset):
    """A COCO instance segmentation set of your own.

    Its classes are the ``categories`` of the annotation file, in the order of that list; their ids
    may have gaps and any order. ``metainfo=dict(classes=('ship', 'pier'))`` takes those of these
    names alone, in this order; a warning names the categories left out. A config's data sets all
    take the classes of the training's file, and their heads as many
    (:func:`rs4d.config.load_config`).

    Arguments and errors are those of :class:`RemoteSensingCocoDataset`.
    """

    HOW_TO_GET = (
        'Correct --data, --train, --val and --images, or what the config says in their place.'
    )

    @classmethod
    def _remedy(cls) -> str:
        return cls.HOW_TO_GET

    def load_data_list(self) -> list[dict]:
        """Read and check the files; see the class."""
        if not self.ann_file:
            raise DatasetNotFoundError(
                'The config names no data: say where yours are, by --data DIR --train TRAIN.json '
                '--val VAL.json, or by data_root, train_annotations and val_annotations in a config '
                'of your own.'
            )
        return super().load_data_list()
