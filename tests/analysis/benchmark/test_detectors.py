"""Steps of detectors with random weights: their parts, and what they find."""

import sys
from pathlib import Path

import pytest
import torch

from rs4d.analysis.benchmark.detectors import (
    PARTS,
    DetectorSteps,
    Workload,
    make_batch,
    read_detector,
)
from rs4d.config import load_config
from rs4d.errors import ConfigError

ROOT = Path(__file__).parents[3]
TINY = str(ROOT / 'tests/tools/tiny_config.py')


@pytest.fixture
def reduced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that writes a config of the project, made small, and returns its path."""
    monkeypatch.syspath_prepend(str(ROOT / 'tests/configs'))
    from reduced_configs import reduced_config

    yield lambda name: _written(reduced_config(ROOT / 'configs' / name), tmp_path / Path(name).name)
    sys.modules.pop('reduced_configs')


def _written(cfg, file: Path) -> str:
    cfg.dump(file)
    return str(file)


def test_batch_has_objects_where_their_boxes_are() -> None:
    data = make_batch((64, 96), instances=5, batch_size=2)
    assert [tuple(image.shape) for image in data['inputs']] == [(3, 64, 96)] * 2
    for sample in data['data_samples']:
        objects = sample.gt_instances
        assert len(objects) == 5
        for box, mask in zip(objects.bboxes.int().tolist(), objects.masks.masks, strict=True):
            ys, xs = mask.nonzero()
            assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == box


@pytest.mark.parametrize('head', [None, 'prompt', 'query', 'light', 'rtmdet-ins'])
def test_a_prediction_has_its_parts_and_finds_what_it_should(reduced, head) -> None:
    work = Workload('predict', detections=7)
    config = TINY if head is None else reduced(f'rs4d/rs4d-base_{head}_ssdd.py')
    detector = DetectorSteps(read_detector(config, work), work)
    seconds = detector.step('float32')
    assert seconds.keys() == set(PARTS['predict'])
    assert min(seconds.values()) > 0
    assert detector.detections == 7


def test_boxes_do_not_depend_on_weights() -> None:
    work = Workload('predict', detections=5)
    cfg = read_detector(TINY, work)
    found = []
    for scale in (1, 1.5):
        detector = DetectorSteps(cfg, work)
        for parameter in detector.model.parameters():
            parameter.data *= scale
        with torch.no_grad():
            (sample,) = detector.model.test_step(detector._data)
        boxes = sample.pred_instances.bboxes
        sizes = (boxes[:, 2:] - boxes[:, :2]) / 64
        assert sizes.min() >= 0.05
        assert sizes.max() <= 0.2
        found.append(boxes)
    assert found[0].shape == found[1].shape == (5, 4)


@pytest.mark.parametrize('precision', ['float32', 'bf16'])
def test_a_training_step_has_its_parts_and_changes_weights(precision: str) -> None:
    work = Workload('train', side=96, batch_size=2, instances=3)
    detector = DetectorSteps(read_detector(TINY, work), work)
    assert detector.shape == (96, 96)
    before = [p.detach().clone() for p in detector.model.parameters() if p.requires_grad]
    dtypes = set()
    detector.model.roi_head.bbox_head.fc_cls.register_forward_hook(
        lambda _, args, out: dtypes.add(out.dtype)
    )
    seconds = detector.step(precision)
    assert dtypes == {torch.bfloat16 if precision == 'bf16' else torch.float32}
    assert seconds.keys() == set(PARTS['train'])
    after = [p for p in detector.model.parameters() if p.requires_grad]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_backward_pass_is_outside_of_autocast() -> None:
    work = Workload('train', instances=2)
    detector = DetectorSteps(read_detector(TINY, work), work)
    seen = []
    backward = detector._optim_wrapper.backward
    detector._optim_wrapper.backward = lambda loss: (
        seen.append(torch.is_autocast_enabled('cpu')),
        backward(loss),
    )
    detector.step('bf16')
    assert seen == [False]


def test_no_weights_are_read() -> None:
    for name in ('mask-rcnn_r50_ssdd', 'mask-rcnn_sam-vit-b_ssdd'):
        cfg = read_detector(
            str(ROOT / f'configs/baselines/{name}.py'), Workload('predict', side=256)
        )
        assert cfg.model.backbone.get('init_cfg') is None
        assert cfg.model.backbone.get('checkpoint') is None
        assert cfg.image_size == (256, 256)
        assert cfg.model.test_cfg.rpn == load_config(cfg.filename).model.test_cfg.rpn
        assert cfg.model.test_cfg.rcnn.max_per_img == 100


def test_no_detector_is_refused() -> None:
    config = str(ROOT / 'configs/distill/rs4d-tiny_efficientnet-lite0_images.py')
    work = Workload('predict')
    with pytest.raises(ConfigError, match='no detector'):
        DetectorSteps(read_detector(config, work), work)
