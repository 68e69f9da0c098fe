"""Check every data set that a config names, and collect all that is wrong."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config

from rs4d.config import inner_datasets
from rs4d.errors import UserError

from .annotation_checks import check_annotations
from .base import RemoteSensingCocoDataset
from .coco_file import category_names, read_coco
from .errors import ImageDecodeError
from .image_checks import ImageFile, duplicate_findings, file_findings
from .report import ERROR, DatasetReport, Finding, Subset
from .transforms import LoadRaster

SPLITS = ('train', 'val', 'test')
_REMEDY = (
    'Check data_root, data_prefix and ann_file in the config, and the environment variable '
    'RS4D_DATA_ROOT if they depend on it.'
)


def check_config(cfg: Config, files: bool = True, decode: bool = False) -> DatasetReport:
    """Check the data sets of a config's three data loaders.

    Args:
        cfg: The config.
        files: Whether image files are looked at; otherwise annotation files alone.
        decode: Whether images are decoded to the end.

    Returns:
        What the data sets hold, and everything that was found.
    """
    report = DatasetReport()
    present: dict[str, list[ImageFile]] = {}
    for name, settings, rasters in _data_sets(cfg):
        subset, findings, images = _check_one(name, settings)
        report.subsets.append(subset)
        report.findings += findings
        if files and images:
            found, present[name] = file_findings(images, name, decode, rasters)
            report.findings += found
    report.findings += duplicate_findings(present)
    return report


def _data_sets(cfg: Config) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Find the data sets, each once, with the names of the loaders that use it.

    The last of each is whether its images are loaded as rasters.
    """
    merged: list[tuple[list[str], dict[str, Any], bool]] = []
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        inner = list(inner_datasets(loader['dataset'])) if loader and loader.get('dataset') else []
        for number, settings in enumerate(inner):
            name = split if len(inner) == 1 else f'{split}[{number}]'
            rasters = _loads_rasters(settings.get('pipeline', ()))
            # How the images are transformed makes no other data set.
            plain = {k: v for k, v in settings.items() if k not in ('pipeline', 'test_mode')}
            same = (names for names, *known in merged if known == [plain, rasters])
            names = next(same, None)
            if names is None:
                merged.append(([name], plain, rasters))
            else:
                names.append(name)
    for names, settings, rasters in merged:
        yield ', '.join(names), settings, rasters


def _loads_rasters(pipeline: Sequence[dict[str, Any]]) -> bool:
    return any(
        step.get('type') in ('LoadRaster', LoadRaster) or _loads_rasters(step.get('transforms', ()))
        for step in pipeline
    )


def _check_one(
    name: str, settings: dict[str, Any]
) -> tuple[Subset, list[Finding], list[ImageFile]]:
    subset = Subset(name, str(settings.get('type')), str(settings.get('ann_file') or ''))
    try:
        # Paths and classes are worked out by the class itself; nothing is read yet.
        dataset = DATASETS.build(dict(settings, pipeline=[], lazy_init=True))
        subset.classes = list(dataset.metainfo.get('classes') or ())
        if settings.get('ann_file'):
            subset.source = str(dataset.ann_file)
            return _check_coco(subset, dataset)
        return _check_unlabelled(subset, dataset)
    except UserError as error:
        return subset, [_failure(error, name)], []


def _check_coco(subset: Subset, dataset: Any) -> tuple[Subset, list[Finding], list[ImageFile]]:
    coco = read_coco(dataset.ann_file, getattr(dataset, 'HOW_TO_GET', '') or _REMEDY)
    subset.classes = subset.classes or list(category_names(coco))
    more = not isinstance(dataset, RemoteSensingCocoDataset) or dataset.allows_more_categories()
    checked = check_annotations(coco, subset.classes, more, subset.name)
    subset.images, subset.instances = len(checked.images), len(checked.used)
    subset.without_instances = len(
        {image['id'] for image in checked.images} - {a['image_id'] for a in checked.used}
    )
    findings = checked.findings
    folder = dataset.data_prefix.get('img', '')
    if folder and not Path(folder).is_dir():
        message = f"The image folder '{folder}' does not exist. {_REMEDY}"
        findings.append(Finding(ERROR, 'missing folder', subset.name, 1, message))
        return subset, findings, []
    images = [
        ImageFile(os.path.join(folder, image['file_name']), noted=(image['width'], image['height']))
        for image in checked.images
    ]
    return subset, findings, images


def _check_unlabelled(
    subset: Subset, dataset: Any
) -> tuple[Subset, list[Finding], list[ImageFile]]:
    roots = getattr(dataset, 'roots', None) or [dataset.data_root]
    subset.source = ', '.join(map(str, roots))
    if hasattr(dataset, 'num_header_checks'):
        dataset.num_header_checks = 0  # what is broken is found here, all of it
    dataset.full_init()
    subset.images = len(dataset)
    images = []
    for info in map(dataset.get_data_info, range(len(dataset))):
        if info.get('img_path'):
            images.append(ImageFile(info['img_path'], info.get('shard')))
    losses = getattr(dataset, 'losses', None)
    return subset, losses.findings(subset.name) if losses is not None else [], images


def _failure(error: UserError, name: str) -> Finding:
    if isinstance(error, FileNotFoundError):
        check = 'missing folder or file'
    elif isinstance(error, ImageDecodeError):
        check = 'broken images'
    else:
        check = 'unusable data set'
    return Finding(ERROR, check, name, 1, str(error))
