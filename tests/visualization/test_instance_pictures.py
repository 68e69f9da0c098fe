"""Small images are enlarged, and each image has its picture, on the pixels that the model was given."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer
from PIL import Image

from rs4d.visualization import LegibleVisualizer

COLOUR = (255, 0, 0)


@pytest.fixture
def sample() -> DetDataSample:
    """One square, found and true, at the same place."""
    mask = np.zeros((1, 40, 60), np.uint8)
    mask[:, 10:30, 20:50] = 1
    place = dict(bboxes=torch.tensor([[20.0, 10, 50, 30]]), labels=torch.tensor([0]))
    found = InstanceData(**place, masks=torch.from_numpy(mask).bool(), scores=torch.ones(1))
    truth = InstanceData(**place, masks=BitmapMasks(mask, 40, 60))
    return DetDataSample(pred_instances=found, gt_instances=truth)


@pytest.mark.parametrize(('side', 'factor'), [(30, 1), (40, 1), (50, 2), (120, 3)])
def test_size_and_place(sample: DetDataSample, tmp_path: Path, side: int, factor: int) -> None:
    visualizer = LegibleVisualizer(min_side=side)
    visualizer.dataset_meta = dict(classes=('',), palette=[COLOUR])
    out = tmp_path / 'picture.png'
    image = np.zeros((40, 60, 3), np.uint8)
    visualizer.add_datasample('a', image, sample, out_file=str(out), draw_gt=True)
    picture = cv2.imread(str(out))
    assert picture.shape == (40 * factor, 2 * 60 * factor, 3)
    for half in np.split(picture, 2, axis=1):
        coloured = half[..., 2] > 40
        inside = np.zeros_like(coloured)
        inside[10 * factor : 30 * factor, 20 * factor : 50 * factor] = True
        assert coloured[inside].mean() > 0.6  # and a label hides some of it
        assert coloured[~inside].mean() < 0.2  # lines are wider than the mask
    assert sample.pred_instances.masks.shape == (1, 40, 60)
    assert sample.gt_instances.bboxes.tolist() == [[20, 10, 50, 30]]


def test_settings_of_matplotlib_in_this_process_change_nothing(
    sample: DetDataSample, tmp_path: Path
) -> None:
    pictures = []
    for dpi in (50, 300):
        with matplotlib.rc_context({'figure.dpi': dpi, 'savefig.dpi': dpi}):
            visualizer = LegibleVisualizer(min_side=40)
            visualizer.dataset_meta = dict(classes=('',), palette=[COLOUR])
            out = tmp_path / f'{dpi}.png'
            visualizer.add_datasample(
                'a', np.zeros((40, 60, 3), np.uint8), sample, out_file=str(out)
            )
        pictures.append(cv2.imread(str(out)))
    np.testing.assert_array_equal(*pictures)


def test_drawing_leaves_random_numbers_alone_and_repeats_its_colours(
    sample: DetDataSample, tmp_path: Path
) -> None:
    visualizer = LegibleVisualizer(min_side=40)
    visualizer.dataset_meta = dict(classes=('',), palette=[(120, 120, 120)])
    pictures = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = random.getstate(), np.random.get_state()[1:3], torch.get_rng_state()
        out = tmp_path / f'{seed}.png'
        visualizer.add_datasample('a', np.zeros((40, 60, 3), np.uint8), sample, out_file=str(out))
        after = random.getstate(), np.random.get_state()[1:3], torch.get_rng_state()
        assert after[0] == before[0]
        np.testing.assert_equal(after[1], before[1])
        assert torch.equal(after[2], before[2])
        pictures.append(cv2.imread(str(out)))
    np.testing.assert_array_equal(*pictures)


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    """A runner that tests images of which two have the same name, one is turned, and one is deep."""
    visualizer = LegibleVisualizer(min_side=1)
    visualizer.dataset_meta = dict(classes=('a',))
    Visualizer.get_instance('of another runner, made later in this process')
    folder = tmp_path / 'images'
    for name in ('north', 'south/west'):
        (folder / name).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (60, 40), (250, 0, 0)).save(folder / 'north/1.png')
    Image.new('RGB', (60, 40), (0, 250, 0)).save(folder / 'south/west/1.png', exif=exif)
    cv2.imwrite(str(folder / 'south/2.png'), np.full((40, 60), 2000, np.uint16))
    paths = [str(folder / x) for x in ('north/1.png', 'south/west/1.png', 'south/2.png')]
    infos = [dict(img_path=path) for path in paths]

    class Images(list):
        get_data_info = list.__getitem__

    loader = SimpleNamespace(dataset=Images(infos))
    runner = SimpleNamespace(
        test_dataloader=loader, work_dir=str(tmp_path), timestamp='now', iter=0
    )
    runner.visualizer = visualizer
    return runner


@pytest.mark.parametrize('spelling', ['plain', 'with dots', 'some relative'])
def test_images_of_one_name_have_their_own_pictures(
    runner: Any, tmp_path: Path, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    infos = runner.test_dataloader.dataset
    if spelling == 'with dots':
        infos[0]['img_path'] = str(tmp_path / 'images/south/../north/1.png')
    elif spelling == 'some relative':
        infos[0]['img_path'] = 'images/north/1.png'
    hook = HOOKS.build(
        dict(type='InstanceVisualizationHook', draw=True, test_out_dir='shown', interval=1)
    )
    hook.before_test(runner)
    empty = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    empty.scores = torch.zeros(0)
    for info in runner.test_dataloader.dataset:
        sample = DetDataSample(pred_instances=empty, metainfo=dict(info, ori_shape=(40, 60)))
        hook.after_test_iter(runner, 0, None, [sample])
    shown = tmp_path / 'now' / 'shown'
    names = sorted(path.relative_to(shown).as_posix() for path in shown.rglob('*.png'))
    assert names == ['north/1.png', 'south/2.png', 'south/west/1.png']
    means = [cv2.imread(str(shown / name)).mean((0, 1)).round() for name in names]
    np.testing.assert_array_equal(means, [[0, 0, 250], [250, 250, 250], [0, 250, 0]])
    assert cv2.imread(str(shown / 'south/west/1.png')).shape[0] == 40  # not turned
