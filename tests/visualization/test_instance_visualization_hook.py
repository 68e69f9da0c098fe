"""Each image has its picture, drawn on the pixels that the model was given."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from rs4d.visualization import LegibleVisualizer


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    """A runner that tests images of which two have the same name, one is turned, and one is deep."""
    LegibleVisualizer._instance_dict.clear()
    LegibleVisualizer.get_instance('visualizer', min_side=1).dataset_meta = dict(classes=('a',))
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
    return SimpleNamespace(test_dataloader=loader, work_dir=str(tmp_path), timestamp='now', iter=0)


def test_images_of_one_name_have_their_own_pictures(runner: Any, tmp_path: Path) -> None:
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
    LegibleVisualizer._instance_dict.clear()
