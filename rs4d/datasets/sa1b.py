"""SA-1B, or any folders of images, without annotations: what distillation trains on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from numpy.typing import NDArray

from rs4d.errors import ConfigError

from .base import ExplainBrokenImages
from .broken_images import MAX_BROKEN, BrokenImages
from .checks import spread
from .errors import DatasetNotFoundError, ImageDecodeError
from .image_listing import Losses, list_images, read_shard_list
from .image_reading import decode, image_size, read_file
from .image_table import ImageTable, joined_table


@DATASETS.register_module()
class SA1BDataset(ExplainBrokenImages, BaseDetDataset):
    """Unlabelled images found by walking one or several folders, tar shards in them included.

    An image has a key, the same whether its shard is extracted or not: ``sa_000000/sa_1.jpg``. Images
    are sorted by key, so that the same data gives the same list on every machine; one that lies in a
    tar and also extracted counts once. Which of them are held out and which belong to a smaller part
    is decided by a hash of the key and ``seed``: a smaller part belongs to a larger one, and adding
    a shard moves few images or none.

    A broken image is named in the log, once, and another one takes its place, always the same. More
    than 1 % of the set (but one at least) are an error, and of what was read so far once they are
    more than 20; so are more than 1 % of images lost in damaged tars, which are logged at the start.

    Source: Kirillov et al., "Segment Anything", ICCV 2023.

    Args:
        data_root: One folder or several.
        split: ``'train'`` has no held-out images, ``'val'`` has only those, ``'all'`` has both.
        shards: Names of the shards to use, such as ``['sa_000000']``, or a text file with one a
            line; None uses all.
        num_val: How many images are held out; never more than a tenth of all (but at least one).
        fraction: Share of the split to use, above 0 and up to 1.
        count: How many images of the split to use at most; None uses all.
        seed: Changes which images are held out and which make up a part.
        extensions: File name endings, in lower case, that count as images.
        num_header_checks: How many files, spread over the set, are opened when it is built.
        **kwargs: Passed to :class:`mmdet.datasets.BaseDetDataset`: ``pipeline``, ``indices`` and so
            on. A pipeline for tar shards begins with `LoadImage`.

    Raises:
        UserError: A root or shard is missing, or no image lies in it; several of the files opened are
            no images, or tars are damaged too much; an argument is out of range.
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
            raise ConfigError(f"SA1BDataset: split is {split!r}; choose 'train', 'val' or 'all'.")
        if not 0 < fraction <= 1:
            raise ConfigError(
                f'SA1BDataset: fraction is {fraction}; it has to be above 0 and at most 1.'
            )
        for name, number in (('num_val', num_val), ('count', count)):
            if number is not None and number < 1:
                raise ConfigError(f'SA1BDataset: {name} is {number}; it has to be at least 1.')
        self.roots = [data_root] if isinstance(data_root, str) else list(data_root)
        self.split = split
        self.shards = read_shard_list(shards)
        self.num_val = num_val
        self.fraction = fraction
        self.count = count
        self.seed = seed
        self.extensions = tuple(extensions)
        self.num_header_checks = num_header_checks
        self.losses = Losses()
        # MMEngine would pickle each image's entry to share them; here they are in columns already.
        kwargs['serialize_data'] = False
        super().__init__(data_root='', data_prefix=dict(img=''), **kwargs)

    def load_data_list(self) -> Sequence[dict[str, Any]]:
        """List the images of the split.

        Returns:
            One dict per image: ``img_path``, ``img_key``, ``img_id`` (its position in the list of all
            images), empty ``instances``, and for an image in a tar its ``shard``.
        """
        self.losses = Losses()
        images = joined_table(
            [list_images(root, self.extensions, self.shards, self.losses) for root in self.roots]
        )
        lost, total = self.losses.count, len(images) + self.losses.count
        if lost > max(1, MAX_BROKEN * total):
            raise ImageDecodeError(
                f'About {lost} of {total} images of {self.roots} are lost, more than '
                f'{MAX_BROKEN:.0%}, because tars are damaged: {"; ".join(self.losses.damaged[:5])}. '
                'Get these again, or leave them out with shards=.'
            )
        data_list = _Entries(images, self._choose(images))
        self._broken = BrokenImages(len(images), len(data_list), str(self.roots))
        for entry in spread(data_list, self.num_header_checks):
            path, shard = entry['img_path'], entry.get('shard')
            try:
                decode(read_file(path, shard), path) if shard else image_size(path)
            except ImageDecodeError as error:
                self._broken.note_broken(entry['img_id'], path, error)
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
            image = self.get_data_info(place)
            try:
                sample = super().__getitem__(place)
            except ImageDecodeError as error:
                self._broken.note_broken(image['img_id'], image['img_path'], error)
            else:
                self._broken.note_whole(image['img_id'])
                return sample
        raise ImageDecodeError(f'None of the {len(self)} images of {self.roots} can be decoded.')

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample; an image that does not decode is an `ImageDecodeError`."""
        if 'shard' not in self.get_data_info(idx):
            return super().prepare_data(idx)
        try:
            return BaseDetDataset.prepare_data(self, idx)
        except NotADirectoryError as error:  # the tar was taken for a folder
            raise DatasetNotFoundError(
                f"SA1BDataset: '{self.get_data_info(idx)['img_path']}' lies in a tar, which "
                'LoadImageFromFile cannot read. Begin the pipeline with '
                "dict(type='LoadImage'), or extract the shard."
            ) from error

    def _choose(self, images: ImageTable) -> NDArray[np.integer]:
        if self.split == 'all' and self.fraction == 1 and self.count is None:
            return np.arange(len(images), dtype=np.uint32)
        shuffled = images.shuffled(self.seed)
        num_val = min(self.num_val, max(1, len(images) // 10))
        part = {'train': shuffled[num_val:], 'val': shuffled[:num_val], 'all': shuffled}[self.split]
        if not len(part):
            raise DatasetNotFoundError(
                f'Of the {len(images)} images in {self.roots}, {num_val} are held out for '
                f"validation and none is left for the split '{self.split}'. Add images, or "
                "use split='all'."
            )
        part = part[: max(1, round(self.fraction * len(part)))]
        return np.sort(part[: self.count])


@DATASETS.register_module()
class ImageFolders(SA1BDataset):
    """Any folders of images, without annotations, under a name that says so."""


class _Entries(Sequence[dict[str, Any]]):
    """Images of a table, by positions (N,), made into MMEngine's dicts one at a time."""

    def __init__(self, images: ImageTable, chosen: NDArray[np.integer]) -> None:
        self._images = images
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _Entries(self._images, self._chosen[index])
        number = int(self._chosen[index])
        return dict(self._images[number], img_id=number, instances=[])

    def __deepcopy__(self, memo: dict[int, Any]) -> '_Entries':
        """Nothing of it changes, and a copy would be large."""
        return self
