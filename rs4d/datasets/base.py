"""What the data sets of the package share: checks when built, and plain words for broken images."""

from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

from .checks import (
    check_categories,
    check_image_files,
    check_instances,
    load_coco,
    require_folder,
)
from .image_reading import read_image

_SET_ROOT = 'Set the environment variable RS4D_DATA_ROOT to the folder that holds it.'


class ExplainBrokenImages:
    """Mixin for MMEngine data sets: a broken image gives an error that names its file."""

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample.

        Args:
            idx: Index of the sample.

        Returns:
            What the pipeline returns.

        Raises:
            DatasetNotFoundError: The image has vanished.
            ImageDecodeError: The image does not decode.
        """
        try:
            return super().prepare_data(idx)  # type: ignore[misc]
        except Exception:
            # OpenCV's and mmcv's own errors do not always name the file. Whatever else went wrong
            # in the pipeline is passed on as it is.
            if getattr(self, 'backend_args', None) is None:
                read_image(self.get_data_info(idx)['img_path'])  # type: ignore[attr-defined]
            raise


@DATASETS.register_module()
class RemoteSensingCocoDataset(ExplainBrokenImages, CocoDataset):
    """A COCO instance segmentation set whose files are checked when it is built.

    Missing folders, images or annotation files, files that are not COCO, categories that differ
    from the config's classes, boxes in another convention and images of another size are errors
    that name the file and the remedy. A set of your own needs nothing but
    ``dict(type='RemoteSensingCocoDataset', metainfo=dict(classes=('a', 'b')), ...)``.

    Args:
        *args: Passed to :class:`mmdet.datasets.CocoDataset`.
        num_size_checks: Of how many images, spread over the set, the size on disk is compared with
            the annotation; the existence of all of them is always checked.
        **kwargs: Passed to :class:`mmdet.datasets.CocoDataset`.

    Raises:
        DatasetNotFoundError: A folder or file is missing.
        AnnotationError: The annotation file does not fit the config or the images.
        ImageDecodeError: One of the images opened is broken.
    """

    METAINFO: dict[str, Any] = dict(classes=(), palette=[])
    HOW_TO_GET: str = 'Check data_root, data_prefix and ann_file in the config.'
    """What to do when files are missing; subclasses say where theirs come from."""

    def __init__(self, *args: Any, num_size_checks: int = 64, **kwargs: Any) -> None:
        self.num_size_checks = num_size_checks
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Check the files, then load them as MMDetection does.

        Returns:
            One dict per image, with its ``instances``.

        Raises:
            DatasetNotFoundError: A folder or file is missing.
            AnnotationError: The annotation file does not fit the config or the images.
            ImageDecodeError: One of the images opened is broken.
        """
        # Files behind a remote storage backend are left to that backend.
        if self.backend_args is None:
            self._check_files()
        return super().load_data_list()

    def _check_files(self) -> None:
        remedy = f'{self.HOW_TO_GET} {_SET_ROOT}'
        if self.data_root:
            require_folder(self.data_root, 'data root', remedy)
        classes = self.metainfo['classes']
        coco = load_coco(self.ann_file, remedy)
        chosen = tuple(classes) != tuple(self.METAINFO['classes'])
        check_categories(coco, self.ann_file, classes, allow_more=chosen)
        check_instances(coco, self.ann_file, classes)
        check_image_files(coco, self.data_prefix['img'], self.num_size_checks, remedy)
