"""SA-1B, or any folders of images, without annotations: what distillation trains on."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS

from .base import ExplainBrokenImages
from .checks import read_image_size, require_folder, spread
from .errors import DatasetNotFoundError

_REMEDY = (
    'SA-1B is expected as extracted shards, SA1B/sa_000000/sa_*.jpg; any folder of images will do, '
    'nested or not. data/README.md says where SA-1B comes from. Set the environment variable '
    'RS4D_DATA_ROOT to the folder that holds SA1B.'
)


@DATASETS.register_module()
class SA1BDataset(ExplainBrokenImages, BaseDetDataset):
    """Unlabelled images found by walking one or several folders.

    Images are sorted by path, so that the same folder gives the same list on every machine. Which
    of them are held out and which belong to a smaller ``fraction`` is decided by a hash of the path
    below its root and ``seed``: a smaller fraction is part of a larger one, and adding a shard
    moves few images or none.

    Source: Kirillov et al., "Segment Anything", ICCV 2023.

    Args:
        data_root: One folder or several.
        split: ``'train'`` leaves the held-out images out, ``'val'`` has only those, ``'all'`` has
            both.
        num_val: How many images are held out; never more than a tenth of all (but at least one).
        fraction: Share of the split to use, above 0 and up to 1.
        seed: Changes which images are held out and which make up a fraction.
        extensions: File name endings, in lower case, that count as images.
        num_header_checks: How many files, spread over the set, are opened when it is built.
        **kwargs: Passed to :class:`mmdet.datasets.BaseDetDataset`: ``pipeline``, ``indices`` and so
            on.

    Raises:
        DatasetNotFoundError: A root is missing, or no image lies in it.
        ImageDecodeError: One of the files opened is no image.
        ValueError: An argument is out of range.
    """

    METAINFO: dict[str, Any] = dict(classes=(), palette=[])

    def __init__(
        self,
        data_root: str | Sequence[str],
        split: str = 'all',
        num_val: int = 256,
        fraction: float = 1.0,
        seed: int = 0,
        extensions: Sequence[str] = ('.jpg', '.jpeg', '.png', '.tif', '.tiff'),
        num_header_checks: int = 16,
        **kwargs: Any,
    ) -> None:
        if split not in ('train', 'val', 'all'):
            raise ValueError(f"SA1BDataset: split is {split!r}; choose 'train', 'val' or 'all'.")
        if not 0 < fraction <= 1:
            raise ValueError(
                f'SA1BDataset: fraction is {fraction}; it has to be above 0 and at most 1.'
            )
        if num_val < 1:
            raise ValueError(
                f"SA1BDataset: num_val is {num_val}; hold out at least 1, or use split='all'."
            )
        self.roots = [data_root] if isinstance(data_root, str) else list(data_root)
        self.split = split
        self.num_val = num_val
        self.fraction = fraction
        self.seed = seed
        self.extensions = tuple(extensions)
        self.num_header_checks = num_header_checks
        super().__init__(data_root='', data_prefix=dict(img=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images of the split.

        Returns:
            One dict per image: ``img_path``, ``img_id`` (its position in the list of all images)
            and empty ``instances``.

        Raises:
            DatasetNotFoundError: A root is missing, or no image lies in it.
            ImageDecodeError: One of the files opened is no image.
        """
        images = [
            (root, name) for root in self.roots for name in list_images(root, self.extensions)
        ]
        chosen = self._choose(images)
        data_list = [
            dict(img_path=os.path.join(*images[i]), img_id=i, instances=[]) for i in chosen
        ]
        for entry in spread(data_list, self.num_header_checks):
            read_image_size(entry['img_path'])
        return data_list

    def _choose(self, images: list[tuple[str, str]]) -> list[int]:
        if self.split == 'all' and self.fraction == 1:
            return list(range(len(images)))
        keys = [hashlib.sha1(f'{self.seed}/{name}'.encode()).digest() for _, name in images]
        ranked = sorted(range(len(images)), key=lambda i: (keys[i], i))
        num_val = min(self.num_val, max(1, len(images) // 10))
        part = {'train': ranked[num_val:], 'val': ranked[:num_val], 'all': ranked}[self.split]
        if not part:
            raise DatasetNotFoundError(
                f'Of the {len(images)} images in {self.roots}, {num_val} are held out for '
                f"validation and none is left for the split '{self.split}'. Add images, or "
                "use split='all'."
            )
        return sorted(part[: max(1, round(self.fraction * len(part)))])


def list_images(root: str | os.PathLike[str], extensions: Sequence[str]) -> list[str]:
    """List the images below a folder.

    Args:
        root: The folder; links in it are followed.
        extensions: File name endings, in lower case, that count.

    Returns:
        Paths relative to ``root`` with forward slashes, sorted.

    Raises:
        DatasetNotFoundError: The folder is missing or has no such file.
    """
    require_folder(root, 'data root', _REMEDY)
    root = os.fspath(root)
    names = [
        Path(os.path.relpath(os.path.join(folder, file), root)).as_posix()
        for folder, _, files in os.walk(root, followlinks=True)
        for file in files
        if file.lower().endswith(tuple(extensions))
    ]
    if not names:
        archives = any(Path(root).glob('*.tar'))
        first = 'Extract its .tar archives first. ' if archives else ''
        raise DatasetNotFoundError(
            f"The data root '{root}' has no file ending in {', '.join(extensions)}. "
            f'{first}{_REMEDY}'
        )
    return sorted(names)
