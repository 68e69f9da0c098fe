"""Two tests of made-up sets, as `rs4d test` leaves them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scored_sets import SIDE, scored

CONFIG = "model = dict(type='Detector')\nlr = {lr}\nmax_epochs = 3\n"


def write_test(folder: Path, worse: bool = False, masks: bool = True) -> Path:
    """Write a test of three classes, or a worse one of the same truth; returns its folder."""
    content, predictions = scored(0)
    images = folder.parent / 'imgs'
    images.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for image in content['images']:
        image['path'] = str(images / image['file_name'])
        cv2.imwrite(image['path'], generator.integers(0, 99, (SIDE, SIDE, 3), dtype=np.uint8))
    if worse:
        predictions = [one for number, one in enumerate(predictions) if number % 3]
    if not masks:
        predictions = [{k: v for k, v in one.items() if k != 'segmentation'} for one in predictions]
    test = folder / '20260102_030405'
    (test / 'vis_data').mkdir(parents=True)
    (test / 'truth.json').write_text(json.dumps(content))
    (test / 'predictions.json').write_text(json.dumps(predictions))
    (test / 'vis_data' / 'config.py').write_text(CONFIG.format(lr=1e-3 if worse else 4e-4))
    checkpoint = str(folder / 'epoch_3.pth')
    cost = dict(parameters=3_400_000, seconds_an_image=0.0421, processor='<made up> & not real')
    run = dict(data=[dict(type='Made', annotations='up.json')], model=cost)
    metrics = {'config': 'configs/made_up.py', 'checkpoint': checkpoint, 'run': run}
    (test / 'metrics.json').write_text(json.dumps(metrics))
    training = folder / '20260102_020304' / 'vis_data'
    training.mkdir(parents=True)
    lines: list[dict[str, float]] = [dict(loss=3 / n, lr=1e-3, step=n) for n in range(1, 900)]
    lines[400:400] = [{'coco/segm_mAP': 0.2, 'step': 2}]
    lines.append({'coco/segm_mAP': 0.3, 'step': 3})
    (training / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    return test


@pytest.fixture(scope='session')
def two_tests(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of two tests on the same truth, the second one worse."""
    folder = tmp_path_factory.mktemp('tests')
    return write_test(folder / 'better'), write_test(folder / 'worse', worse=True)
