"""What rs4d predict and the Predictor find in an image is what rs4d test scores, to the last box."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
import torch
from inference.conftest import CLASSES, CONFIG, SMALL
from inference.oracle import PLACE
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools import mask as coco_mask
from rasterio.errors import NotGeoreferencedWarning

from rs4d.apis import Predictor, load_config
from rs4d.apis import test as score
from rs4d.inference.outputs import Origin
from rs4d.inference.running import Options, predict_inputs

RGBN = 'rs4d::rs4d/rs4d-tiny_light_rgbn.py'
# Few enough that no tie at the end decides, and all that there are.
MODEL = SMALL | {'model.test_cfg.score_thr': 0.0, 'model.test_cfg.max_per_img': 12}
STRETCHES = dict(
    linear=dict(type='linear', low=0, high=[3000, 3000, 3000, 6000]),
    percentile=dict(type='percentile', low=2, high=98),
    db=dict(type='db', low=0, high=40),
    statistics=dict(type='statistics', mean=[900, 800, 700, 2000], std=[400, 300, 300, 900]),
)


@pytest.fixture(scope='module')
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a config to a model with random weights, whose scores differ."""

    def save(config: str) -> Path:
        cfg = load_config(config, SMALL)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
        model.init_weights()
        for name, value in model.bbox_head.named_parameters():
            # A head begins with weights so small that all of its scores are the same.
            if value.dim() > 1 and 'rtm_reg' not in name:
                torch.nn.init.kaiming_normal_(value)
        path = tmp_path_factory.mktemp('model') / 'random.pth'
        meta = dict(dataset_meta=dict(classes=CLASSES))
        torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
        return path

    return save


Tested = Callable[..., list[list[dict[str, Any]]]]


@pytest.fixture
def tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tested:
    """Return a function that tests a checkpoint on images, and returns what it found on each."""
    monkeypatch.chdir(tmp_path)

    def run(
        config: str,
        checkpoint: Path,
        files: Sequence[str],
        sizes: Sequence[tuple[int, int]],
        amp: str | None = None,
    ) -> list[list[dict[str, Any]]]:
        images = [
            dict(id=n, file_name=file, width=size[0], height=size[1])
            for n, (file, size) in enumerate(zip(files, sizes, strict=True), 1)
        ]
        square = dict(bbox=[4, 4, 8, 8], area=64, iscrowd=0, category_id=1)
        square['segmentation'] = [[4, 4, 12, 4, 12, 12, 4, 12]]
        annotations = [square | dict(id=n, image_id=n) for n in range(1, len(files) + 1)]
        categories = [dict(id=n, name=name) for n, name in enumerate(CLASSES, 1)]
        content = dict(images=images, annotations=annotations, categories=categories)
        (tmp_path / 'val.json').write_text(json.dumps(content))
        own = dict(val_annotations='val.json', data_root='', val_images=str(tmp_path))
        cfg = load_config(config, MODEL | own | dict(num_workers=0))
        cfg.work_dir, cfg.launcher = 'tested', 'none'
        score(cfg, str(checkpoint), amp=amp, out='found.json')
        found = json.loads((tmp_path / 'found.json').read_text())
        return [[e for e in found if e['image_id'] == n] for n in range(1, len(files) + 1)]

    return run


def require_each(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Raise unless two lists have the same objects; the order of those with one score is free."""
    left = list(found)
    for one in expected:
        same = (
            other
            for other in left
            if other['class'] == one['class']
            and abs(other['score'] - one['score']) < 2e-6
            and ('box' not in other or np.allclose(other['box'], one['box'], atol=2e-3))
            and np.array_equal(other['mask'], one['mask'])
        )
        match = next(same, None)
        assert match is not None, f'{one} is not among {left}'
        left = [other for other in left if other is not match]
    assert not left


def require_same(predictor: Predictor, file: str, results: list[dict[str, Any]]) -> None:
    """Compare a test's results of an image with the predictor's, and with the command's."""
    expected = []
    for entry in results:
        x, y, width, height = entry['bbox']
        one = dict(score=entry['score'], box=[x, y, x + width, y + height])
        one |= {'class': CLASSES[entry['category_id'] - 1]}
        expected.append(one | dict(mask=coco_mask.decode(entry['segmentation'])))
    assert len(expected) == 12
    assert np.ptp([one['score'] for one in expected]) > 1e-3
    one = predictor.predict(file)
    columns = one.class_names, one.scores, one.boxes, one.masks
    names = 'class', 'score', 'box', 'mask'
    require_each(
        [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)], expected
    )
    options = Options(Path('out'), ['coco'], predictor.side, predictor.side // 4, overwrite=True)
    predict_inputs(predictor, [file], options, Origin('', '', ''), {})
    written = [
        {
            'class': entry['category_name'],
            'score': entry['score'],
            'mask': coco_mask.decode(entry['segmentation']),
        }
        for entry in json.loads(Path('out/predictions.json').read_text())
    ]
    # What has no pixel is no outline to write.
    require_each(written, [one for one in expected if one['mask'].any()])
    assert len(written) > 5


def noise(seed: int, *shape: int, high: int = 256) -> np.ndarray:
    """Values (H, W, C) that change slowly, so that no rounding decides what is found."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, high, (7, 9, shape[2])).astype(np.float32)
    picture = cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return picture.astype(np.uint8 if high <= 256 else np.uint16)


@pytest.mark.parametrize('amp', [None, 'bf16'])
def test_pictures(checkpoint_of: Callable[[str], Path], tested: Tested, amp: str | None) -> None:
    cv2.imwrite('small.png', noise(0, 48, 64, 3))
    cv2.imwrite('large.png', noise(1, 127, 100, 3))  # larger than the model's size
    cv2.imwrite('deep.png', noise(2, 64, 64, 3, high=2000))  # of 11 bits
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.fromarray(noise(3, 50, 90, 3)).save('turned.jpg', exif=turn)
    files = ['small.png', 'large.png', 'deep.png', 'turned.jpg']
    sizes = [(64, 48), (100, 127), (64, 64), (50, 90)]
    checkpoint = checkpoint_of(CONFIG)
    expected = tested(CONFIG, checkpoint, files, sizes, amp)
    predictor = Predictor(CONFIG, checkpoint, 'cpu', amp=amp, score_thr=0.0, options=MODEL)
    for file, found in zip(files, expected, strict=True):
        require_same(predictor, file, found)


@pytest.mark.filterwarnings('ignore', category=NotGeoreferencedWarning)  # some have no place
@pytest.mark.parametrize('kind', STRETCHES)
def test_rasters(checkpoint_of: Callable[[str], Path], tested: Tested, kind: str) -> None:
    checkpoint = checkpoint_of(RGBN)
    places = [dict(transform=PLACE, crs='EPSG:32616'), {}, {}]
    sizes = [(64, 64), (64, 48), (110, 128)]
    files = [f'{number}.tif' for number in range(3)]
    for number, (file, (width, height), place) in enumerate(zip(files, sizes, places, strict=True)):
        settings = dict(driver='GTiff', width=width, height=height, count=4, dtype='uint16')
        values = noise(number, height, width, 4, high=4000) + 1
        values[:9, :7] = 0  # without data
        with rasterio.open(file, 'w', **settings, nodata=0, **place) as raster:
            raster.write(np.moveaxis(values, -1, 0))
    text = f'_base_ = {RGBN!r}\nstretch = dict(_delete_=True, **{STRETCHES[kind]!r})\n'
    Path('own.py').write_text(text)
    expected = tested('own.py', checkpoint, files, sizes)
    predictor = Predictor('own.py', checkpoint, 'cpu', score_thr=0.0, options=MODEL)
    for file, found in zip(files, expected, strict=True):
        require_same(predictor, file, found)
