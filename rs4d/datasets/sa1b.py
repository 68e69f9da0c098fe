"""SA-1B, or any folders of images, without annotations: what distillation trains on."""

import hashlib
from collections.abc import Sequence
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from .base import ExplainBrokenImages
from .checks import read_image_size, spread
from .errors import DatasetNotFoundError, ImageDecodeError
from .image_listing import list_images, read_shard_list
from .tar_shards import read_range
from .transforms.loading import decode

# Of a set's images, how many may be broken.
_MAX_BROKEN = 0.01


@DATASETS.register_module()
class SA1BDataset(ExplainBrokenImages, BaseDetDataset):
    """Unlabelled images found by walking one or several folders, tar shards in them included.

    An image has a key, the same whether its shard is extracted or not: ``sa_000000/sa_1.jpg``. Images
    are sorted by key, so that the same data gives the same list on every machine; one that lies in a
    tar and also extracted counts once. Which of them are held out and which belong to a smaller part
    is decided by a hash of the key and ``seed``: a smaller part belongs to a larger one, and adding
    a shard moves few images or none.

    A broken image is named in the log and another one takes its place, always the same; broken
    images beyond 1 % of the set (but one at least) are an error. Each worker of a data loader counts
    those that it has met.

    Source: Kirillov et al., "Segment Anything", ICCV 2023.

    Args:
        data_root: One folder or several.
        split: ``'train'`` leaves the held-out images out, ``'val'`` has only those, ``'all'`` has
            both.
        shards: Names of the shards to use, such as ``['sa_000000']``, or a text file with one a
            line; None uses all.
        num_val: How many images are held out; never more than a tenth of all (but at least one).
        fraction: Share of the split to use, above 0 and up to 1.
        count: How many images of the split to use at most; None uses all.
        seed: Changes which images are held out and which make up a part.
        extensions: File name endings, in lower case, that count as images.
        num_header_checks: How many files, spread over the set, are opened when it is built.
        **kwargs: Passed to :class:`mmdet.datasets.BaseDetDataset`: ``pipeline``, ``indices`` and so
            on. A pipeline for tar shards begins with `LoadReducedImage`.

    Raises:
        DatasetNotFoundError: A root or shard is missing, or no image lies in it.
        ImageDecodeError: Several of the files opened are no images.
        ValueError: An argument is out of range.
    """

    METAINFO: dict[str, Any] = dict(classes=(), palette=[])

    def __init__(
        self,
        data_root: str | Sequence[str],
        split: str = 'all',
        shards: str | Sequence[str] | None = None,
        num_val: int = 256,
        fraction: float = 1.0,
        count: int | None = None,
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
        for name, number in (('num_val', num_val), ('count', count)):
            if number is not None and number < 1:
                raise ValueError(f'SA1BDataset: {name} is {number}; it has to be at least 1.')
        self.roots = [data_root] if isinstance(data_root, str) else list(data_root)
        self.split = split
        self.shards = read_shard_list(shards)
        self.num_val = num_val
        self.fraction = fraction
        self.count = count
        self.seed = seed
        self.extensions = tuple(extensions)
        self.num_header_checks = num_header_checks
        self._broken: set[str] = set()
        super().__init__(data_root='', data_prefix=dict(img=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the images of the split.

        Returns:
            One dict per image: ``img_path``, ``img_key``, ``img_id`` (its position in the list of all
            images), empty ``instances``, and for an image in a tar its ``shard``.

        Raises:
            DatasetNotFoundError: A root or shard is missing, or no image lies in it.
            ImageDecodeError: Several of the files opened are no images.
        """
        images = self._all_images()
        data_list = [dict(images[i], img_id=i, instances=[]) for i in self._choose(images)]
        for entry in spread(data_list, self.num_header_checks):
            try:
                _check_header(entry)
            except ImageDecodeError as error:
                self._note_broken(entry['img_path'], error, len(data_list))
        return data_list

    def __getitem__(self, idx: int) -> Any:
        """Return a sample; in the place of a broken image another one.

        Raises:
            ImageDecodeError: Too many images are broken.
        """
        if not -len(self) <= idx < len(self):
            raise IndexError(f'SA1BDataset has {len(self)} images, none at {idx}.')
        for step in range(len(self)):
            place = (idx + step) % len(self)
            try:
                return super().__getitem__(place)
            except ImageDecodeError as error:
                self._note_broken(self.get_data_info(place)['img_path'], error, len(self))
        raise ImageDecodeError(f'None of the {len(self)} images of {self.roots} can be decoded.')

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample.

        Raises:
            ImageDecodeError: The image does not decode.
        """
        if 'shard' not in self.get_data_info(idx):
            return super().prepare_data(idx)
        if self.pipeline.transforms and _reads_files_only(self.pipeline.transforms[0]):
            raise DatasetNotFoundError(
                f"SA1BDataset: '{self.get_data_info(idx)['img_path']}' lies in a tar, which "
                'LoadImageFromFile cannot read. Begin the pipeline with '
                "dict(type='LoadReducedImage'), or extract the shard."
            )
        return BaseDetDataset.prepare_data(self, idx)

    def _note_broken(self, path: str, error: ImageDecodeError, total: int) -> None:
        """Log a broken image, once, and raise if there are too many."""
        if path in self._broken:
            return
        self._broken.add(path)
        print_log(
            f'{error} It is left out ({len(self._broken)} so far).', logger='current', level=30
        )
        if len(self._broken) > max(1, _MAX_BROKEN * total):
            names = ', '.join(sorted(self._broken)[:5])
            raise ImageDecodeError(
                f'{len(self._broken)} of the {total} images of {self.roots} are broken, more than '
                f'{_MAX_BROKEN:.0%}: {names}. Get the shards again, or leave them out with shards=.'
            ) from error

    def _all_images(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for number, root in enumerate(self.roots):
            for image in list_images(root, self.extensions, self.shards):
                key = image['img_key']
                known = found.get(key)
                if known is not None and 'shard' not in image and 'shard' not in known:
                    # Two folders with files of one name are two images; a tar and a folder are one.
                    key = image['img_key'] = f'{number}:{key}'
                elif known is not None and 'shard' in image:
                    continue
                found[key] = image
        return [found[key] for key in sorted(found)] if len(self.roots) == 1 else [*found.values()]

    def _choose(self, images: list[dict[str, Any]]) -> list[int]:
        if self.split == 'all' and self.fraction == 1 and self.count is None:
            return list(range(len(images)))
        keys = [hashlib.sha1(f'{self.seed}/{x["img_key"]}'.encode()).digest() for x in images]
        ranked = sorted(range(len(images)), key=lambda i: (keys[i], i))
        num_val = min(self.num_val, max(1, len(images) // 10))
        part = {'train': ranked[num_val:], 'val': ranked[:num_val], 'all': ranked}[self.split]
        if not part:
            raise DatasetNotFoundError(
                f'Of the {len(images)} images in {self.roots}, {num_val} are held out for '
                f"validation and none is left for the split '{self.split}'. Add images, or "
                "use split='all'."
            )
        part = part[: max(1, round(self.fraction * len(part)))]
        return sorted(part[: self.count])


def _check_header(entry: dict[str, Any]) -> None:
    shard = entry.get('shard')
    if shard is None:
        read_image_size(entry['img_path'])
    else:
        decode(read_range(shard['path'], shard['offset'], shard['size']), entry['img_path'])


def _reads_files_only(transform: Any) -> bool:
    return type(transform).__name__ == 'LoadImageFromFile'
