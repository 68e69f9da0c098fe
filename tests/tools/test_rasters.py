"""A training and a test on four bands of 16 bits with pixels without data, by the command line."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

from rs4d.cli import main

CONFIG = Path(__file__).with_name('tiny_config.py')
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rasters(scenes: Path, tmp_path: Path) -> Path:
    """The scenes of the other tests as rasters, a fourth band beside, and a strip without data."""
    folder = tmp_path / 'rasters'
    (folder / 'imgs').mkdir(parents=True)
    (folder / 'annotations').mkdir()
    settings = dict(driver='GTiff', count=4, dtype='uint16', nodata=0)
    for file in (scenes / 'imgs').iterdir():
        image = cv2.imread(str(file))[..., ::-1].astype(np.uint16) * 40 + 100
        values = np.concatenate([image, image.mean(-1, keepdims=True)], -1).astype(np.uint16)
        values[:, :9] = 0
        target = folder / 'imgs' / f'{file.stem}.tif'
        height, width = values.shape[:2]
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(target, 'w', height=height, width=width, **settings) as out:
                out.write(values.transpose(2, 0, 1))
    for file in (scenes / 'annotations').iterdir():
        text = json.loads(file.read_text())
        for image in text['images']:
            image['file_name'] = str(Path(image['file_name']).with_suffix('.tif'))
        (folder / 'annotations' / file.name).write_text(json.dumps(text))
    return folder


def test_train_check_test_and_draw(
    rasters: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('RS4D_TINY_ROOT', str(rasters))
    config = tmp_path / 'own.py'
    images = rasters / 'imgs'
    annotations = rasters / 'annotations/scenes_train.json'
    words = ('--images', images, '--config', str(CONFIG), '--out', config)
    assert main('stats', annotations, *words) == 0
    with config.open('a') as file:
        file.write(
            "pipeline = ['${load_image}', *_base_.test_pipeline[1:]]\n"
            'train_dataloader = dict(dataset=dict(pipeline=pipeline))\n'
            'val_dataloader = dict(dataset=dict(pipeline=pipeline))\n'
            'test_dataloader = val_dataloader\n'
        )
    code, output, _ = call('train.py', config, '--work-dir', tmp_path / 'w')
    assert code == 0, output[-2000:]
    code, output, _ = call('analysis_tools/check_dataset.py', config, '--decode')
    assert 'unreadable' not in output
    options = ('--work-dir', tmp_path / 'w', '--show-dir', 'pictures', '--out', tmp_path / 'a.json')
    code, output, _ = call('test.py', config, tmp_path / 'w/epoch_1.pth', *options)
    assert code == 0, output[-2000:]
    pictures = list((tmp_path / 'w').rglob('pictures/*.tif.png'))
    assert len(pictures) == 2
    assert cv2.imread(str(pictures[0])).shape == (256, 512, 3)
    words = ('--annotations', rasters / 'annotations/scenes_val.json', '--image-dir', images)
    assert main('draw', tmp_path / 'a.json', *words, '--out', tmp_path / 'grid.png') == 0
    assert cv2.imread(str(tmp_path / 'grid.png')).shape[0] > 256
