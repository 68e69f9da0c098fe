"""What the data sets of the package share: checks when built, and plain words for broken images."""

import os
from collections.abc import Mapping
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.utils import is_abs

from rs4d.errors import Problems, UserError

from .annotation_checks import check_annotations
from .checks import check_image_files, require_folder
from .coco_file import CocoIndex, category_names, read_coco, summarise_coco
from .image_reading import read_image

_SET_ROOT = 'Set the environment variable RS4D_DATA_ROOT to the folder that holds it.'


class ExplainBrokenImages:
    """Mixin for MMEngine data sets: a broken image gives an error that names its file."""

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample.

        Raises:
            DatasetNotFoundError: The image has vanished.
            ImageDecodeError: The image does not decode.
        """
        try:
            return super().prepare_data(idx)  # type: ignore[misc]
        except UserError:
            raise
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
    that name the file and the remedy. Labels are numbered in the order of the classes, whatever the
    file's order and ids are. For a set of your own see :class:`CocoInsSegDataset`.

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

    METAINFO: dict[str, Any] = dict(classes=(), palette='random')
    HOW_TO_GET: str = 'Check data_root, data_prefix and ann_file in the config.'
    """What to do when files are missing; subclasses say where theirs come from."""

    def __init__(self, *args: Any, num_size_checks: int = 64, **kwargs: Any) -> None:
        self.num_size_checks = num_size_checks
        super().__init__(*args, **kwargs)

    @classmethod
    def classes_in_file(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Read the classes that a config of this type leaves to its annotation file.

        Args:
            settings: The config of a data set, with ``ann_file``.

        Raises:
            DatasetNotFoundError: The file is missing.
            AnnotationError: It is not COCO.
        """
        file, root = settings['ann_file'], settings.get('data_root')
        if root and not is_abs(file):
            file = os.path.join(root, file)
        return summarise_coco(file, cls._remedy(), settings.get('backend_args')).classes

    @classmethod
    def _remedy(cls) -> str:
        return f'{cls.HOW_TO_GET} {_SET_ROOT}'

    def load_data_list(self) -> list[dict]:
        """Read and check the files: a dict per image, with its ``instances``; see the class."""
        remedy = self._remedy()
        # Image files behind a remote storage backend are left to that backend.
        local = self.backend_args is None
        if local and self.data_root:
            require_folder(self.data_root, 'data root', remedy)
        coco = read_coco(self.ann_file, remedy, self.backend_args)
        classes = self.metainfo['classes'] or category_names(coco)
        self._metainfo['classes'] = classes
        checked = check_annotations(coco, classes, self.allows_more_categories())
        problems = Problems()
        with problems.noted():
            checked.refuse(self.ann_file)
        with problems.noted():
            if local:
                folder = self.data_prefix['img']
                check_image_files(checked.images, folder, self.num_size_checks, remedy)
        problems.raise_all()
        index = CocoIndex(coco, checked.without_mask)
        ids = {c['name']: c['id'] for c in coco['categories']}
        self.cat_ids = [ids[name] for name in classes]
        self.cat2label = {key: label for label, key in enumerate(self.cat_ids)}
        # filter_empty_gt leaves out the images where this names no class.
        self.cat_img_map: dict[Any, list[Any]] = {key: [] for key in self.cat_ids}
        for annotation in checked.used:
            self.cat_img_map[annotation['category_id']].append(annotation['image_id'])
        return [
            self.parse_data_info(
                dict(raw_img_info=dict(image, img_id=key), raw_ann_info=index.imgToAnns[key])
            )
            for key, image in index.imgs.items()
        ]

    def allows_more_categories(self) -> bool:
        """Whether the file may have categories beyond the classes: those were chosen by a config."""
        return tuple(self.metainfo['classes']) != tuple(self.METAINFO['classes'])
