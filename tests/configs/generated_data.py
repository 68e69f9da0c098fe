"""Generated images and annotations where the data sets of a config expect theirs."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from mmdet.registry import DATASETS
from mmengine.config import Config

from rs4d.datasets.masks import encode_rle
from rs4d.datasets.scenes import generate_scene
from rs4d.files import write_json


def leaf_datasets(cfg: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The data sets of a loader, those of a wrapper or concatenation one by one."""
    inner = cfg.get('datasets') or ([cfg['dataset']] if 'dataset' in cfg else [])
    return [leaf for part in inner for leaf in leaf_datasets(part)] if inner else [cfg]


def datasets_of(cfg: Config) -> Iterator[Mapping[str, Any]]:
    for split in ('train', 'val', 'test'):
        yield from leaf_datasets(cfg[f'{split}_dataloader'].dataset)


def write_data(cfg: Config, size: int = 128, count: int = 2) -> None:
    """Write ``count`` scenes for every data set of a config that is not there yet.

    Paths are relative to the working directory, which a test has to choose.
    """
    for dataset in datasets_of(cfg):
        roots = dataset['data_root']
        for root in [roots] if isinstance(roots, str) else roots:
            if Path(root).is_absolute():
                raise ValueError(f"{root} is absolute: it could be somebody's real data.")
            if 'ann_file' in dataset:
                _write_coco(Path(root), dataset, size, count)
            else:
                _write_images(Path(root), size, max(count, 3))  # one of them is held out


def _write_images(folder: Path, size: int, count: int) -> None:
    """Write images as SA-1B comes: a tar with JPEGs and what belongs to them."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / 'sa_000000.tar', 'w') as archive:
        for i in range(count):
            image = cv2.imencode('.jpg', generate_scene(0, i, size=size).image[..., ::-1])[1]
            for name, data in ((f'./sa_{i}.jpg', image.tobytes()), (f'./sa_{i}.json', b'{}')):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def _write_coco(root: Path, dataset: Mapping[str, Any], size: int, count: int) -> None:
    target = root / dataset['ann_file']
    if target.exists():
        return
    folder = root / dataset['data_prefix']['img']
    folder.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    classes = DATASETS.get(dataset['type']).METAINFO['classes'] or ('object',)
    images: list[dict] = []
    annotations: list[dict] = []
    for image_id in range(1, count + 1):
        scene = generate_scene(0, image_id, size=size)
        name = f'{target.stem}_{image_id}.png'
        loader = dataset['pipeline'][0]
        if loader['type'] == 'LoadRaster':
            name = _write_raster(folder / name, scene.image, len(loader['bands']))
        else:
            cv2.imwrite(str(folder / name), scene.image[..., ::-1])
        images.append(dict(id=image_id, file_name=name, height=size, width=size))
        for mask in scene.masks:
            x, y, width, height = cv2.boundingRect(mask.astype('uint8'))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=len(annotations) % len(classes) + 1,
                    bbox=[x, y, width, height],
                    area=int(mask.sum()),
                    iscrowd=0,
                    segmentation=encode_rle(mask),
                )
            )
    categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
    write_json(target, dict(images=images, annotations=annotations, categories=categories))


def _write_raster(path: Path, image: np.ndarray, bands: int) -> str:
    """Write a scene as a GeoTIFF of 16 bits with more bands than it has; the file's name."""
    path = path.with_suffix('.tif')
    values = image.transpose(2, 0, 1)[np.arange(bands) % 3].astype(np.uint16) * 12
    height, width = image.shape[:2]
    settings = dict(driver='GTiff', count=bands, dtype='uint16', nodata=0)
    place = rasterio.Affine.scale(10)
    with rasterio.open(path, 'w', height=height, width=width, transform=place, **settings) as file:
        file.write(values)
    return path.name
