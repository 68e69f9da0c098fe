"""A COCO set that a command line names, found on the disk and put into a config's settings."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .coco_file import summarise_coco
from .errors import DatasetNotFoundError

# Where sets keep their images, beside what the annotation file says.
_FOLDERS = ('', 'images', 'imgs', 'JPEGImages', 'image', 'img')


@dataclass(frozen=True)
class OwnData:
    """What a command line says of a data set.

    Attributes:
        data: The folder that other paths may start from; they may also start from the working
            directory.
        train: The annotation file to train on; ``train.json`` in ``data`` if it is None.
        val: The one to validate and test on; ``val.json`` likewise.
        images: Folder that the ``file_name`` of images start from; found if None.
        val_images: Another one for ``val``.
        classes: Names of the classes to use; all if there are none.
    """

    data: str | None = None
    train: str | None = None
    val: str | None = None
    images: str | None = None
    val_images: str | None = None
    classes: Sequence[str] | None = None

    def options(self, splits: Sequence[str] = ('train', 'val')) -> dict[str, Any]:
        """Find the files and return the settings of a config that they stand for.

        Args:
            splits: What is needed: ``'train'``, ``'val'``. The other is set to nothing.

        Returns:
            Options for :func:`rs4d.config.load_config`; none if nothing is said.

        Raises:
            DatasetNotFoundError: A file or folder is not there.
            AnnotationError: An annotation file is not COCO.
        """
        if not any(vars(self).values()):
            return {}
        options: dict[str, Any] = {}
        if self.classes:
            options['metainfo.classes'] = tuple(self.classes)
            if not any((self.data, self.train, self.val)):
                return options
        if self.data is not None and not Path(self.data).is_dir():
            raise DatasetNotFoundError(
                f"--data '{self.data}' is no folder (working directory '{Path.cwd()}'). Name the one "
                'that holds your data.'
            )
        # Paths are whole from here on. Images without objects show what is none.
        options |= dict(dataset_type='CocoInsSegDataset', data_root='', skip_empty=False)
        for split, file, images in (
            ('train', self.train, self.images),
            ('val', self.val, self.val_images or self.images),
        ):
            found, folder = '', ''
            if split in splits:
                found = self._annotations(split, file)
                folder = self._images(found, images)
            options |= {f'{split}_annotations': found, f'{split}_images': folder}
        return options

    def _annotations(self, split: str, name: str | None) -> str:
        if name is None and self.data is None:
            raise DatasetNotFoundError(
                f'--{split} is missing: name the annotation file, or with --data a folder that has '
                f"'{split}.json'."
            )
        for path in self._places(name or f'{split}.json'):
            if path.is_file():
                return str(path)
        if name is None:
            raise DatasetNotFoundError(
                f"'{self.data}' has no '{split}.json': name the annotation file by --{split}, or divide "
                'one by rs4d split.'
            )
        where = f"in '{self.data}' or " if self.data is not None else 'in '
        raise DatasetNotFoundError(
            f"--{split} '{name}': there is no such file {where}the working directory '{Path.cwd()}'. "
            'Correct the path.'
        )

    def _images(self, annotations: str, given: str | None) -> str:
        """The folder of a file's images."""
        if given is not None:
            for path in self._places(given):
                if path.is_dir():
                    return str(path)
            raise DatasetNotFoundError(
                f"--images '{given}' is no folder. Name the one that the file names in "
                f"'{annotations}' start from."
            )
        return find_images(annotations, self.data, '--images DIR')

    def _places(self, name: str) -> Iterator[Path]:
        if self.data is not None:
            yield Path(self.data, name)
        yield Path(name)


def find_images(
    annotations: str | os.PathLike[str], data: str | os.PathLike[str] | None, remedy: str
) -> str:
    """Find the folder that the names of an annotation file's images start from, by its first image.

    Args:
        annotations: The annotation file.
        data: A folder in which to look first.
        remedy: What names the folder on the command line.

    Raises:
        DatasetNotFoundError: The first image is in none of the usual folders.
        AnnotationError: The file is not COCO.
    """
    first = summarise_coco(annotations, 'Correct the path.').first_image
    own = Path(annotations).parent
    roots = list(dict.fromkeys([*([Path(data)] if data is not None else []), own, own.parent]))
    if first is None:
        return str(roots[0])  # without images it is refused by those who use it
    stem = Path(annotations).stem
    for root in roots:
        for name in (*_FOLDERS, stem, f'{stem}/images'):
            if (root / name / first).is_file():
                return str(root / name)
    looked = ', '.join(f"'{root}'" for root in roots)
    raise DatasetNotFoundError(
        f"The image '{first}', the first of '{annotations}', is not in {looked} or their folders "
        f'{", ".join(_FOLDERS[1:])}. Name its folder by {remedy}.'
    )
