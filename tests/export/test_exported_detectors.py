"""Detectors as graphs of tensors against MMDetection's own predictions."""

import numpy as np
import pytest
import torch

from rs4d.errors import ConfigError
from rs4d.export.checking import compare_detections, find, match
from rs4d.export.detectors import _best, detector_part
from rs4d.export.parts import build_part


@pytest.mark.parametrize('size', [(64, 64), (50, 61)], ids=['whole', 'padded'])
def test_detections_are_those_of_mmdetection(detector, size) -> None:
    part = build_part(detector.model, 'model')
    image, _ = part.example(64, 64)
    with torch.inference_mode():
        found = compare_detections(detector.model, part, part, (image, torch.tensor(size)))
    assert found.of_model == found.of_export > 3
    # In padding scores are equal, and which of them come first is nobody's word.
    assert found.same >= (found.of_model if size == (64, 64) else 0.9 * found.of_model)
    assert found.mask == 0
    assert found.box < 1e-3
    assert found.score < 1e-4


def test_masks_pasted_as_the_script_of_the_docs_does(detector, docs_script) -> None:
    part = build_part(detector.model, 'model')
    image, size = part.example(64, 64)
    with torch.inference_mode():
        boxes, scores, _, masks = part(image, size)
        expected = find(detector.model, (image - part.mean) / part.std, size)
    count = len(expected['scores'])
    assert (scores[:count] > 0).all()
    assert (scores[count:] == 0).all()
    assert (boxes[count:] == 0).all()
    torch.testing.assert_close(boxes[:count], expected['boxes'], atol=1e-3, rtol=1e-4)
    pasted = [
        docs_script['paste'](mask.numpy(), box.numpy(), 64, 64)
        for mask, box in zip(masks[:count], boxes[:count], strict=True)
    ]
    differing = (np.stack(pasted) >= 0.5) != expected['masks'].numpy()
    assert expected['masks'].any()
    assert differing.mean() < 1e-3


def test_padding_is_not_seen(detector) -> None:
    part = build_part(detector.model, 'model')
    image, size = part.example(64, 64)[0], torch.tensor([50, 61])
    other = image.clone()
    other[:, :, 50:], other[..., 61:] = 0, 255
    with torch.inference_mode():
        for x, y in zip(part(image, size), part(other, size), strict=True):
            assert torch.equal(x, y)


def test_other_detectors_are_refused(light) -> None:
    with pytest.raises(ConfigError, match='cannot be exported as a whole'):
        detector_part(light.model.bbox_head)


def test_classes_that_suppress_each_other(light) -> None:
    settings = light.model.bbox_head.test_cfg
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 1])
    assert _best(boxes, scores, labels, settings)[1][:4].tolist() == pytest.approx(
        [0.9, 0.8, 0.7, 0]
    )
    settings.nms.class_agnostic = True
    try:
        assert _best(boxes, scores, labels, settings)[1][:3].tolist() == pytest.approx(
            [0.9, 0.7, 0]
        )
    finally:
        del settings.nms['class_agnostic']


@pytest.mark.parametrize(
    ('where', 'key', 'value'),
    [
        ('bbox_head', 'nms', dict(type='soft_nms', iou_threshold=0.6)),
        ('bbox_head', 'nms', dict(type='nms', iou_thr=0.6)),
        ('bbox_head', 'nms', None),
        ('bbox_head', 'max_per_img', -1),
    ],
)
def test_settings_that_the_graph_does_not_have_are_refused(light, where, key, value) -> None:
    settings = getattr(light.model, where).test_cfg
    kept, settings[key] = settings[key], value
    try:
        with pytest.raises(ConfigError, match=f'model.test_cfg.{key}'):
            detector_part(light.model)
    finally:
        settings[key] = kept


def test_all_candidates(light) -> None:
    settings = light.model.bbox_head.test_cfg
    part = build_part(light.model, 'model')
    inputs = part.example(64, 64)
    expected = part(*inputs)
    # More than there are, and no limit, are the same.
    kept, settings.nms_pre = settings.nms_pre, -1
    try:
        assert all(torch.equal(x, y) for x, y in zip(part(*inputs), expected, strict=True))
    finally:
        settings.nms_pre = kept


def detections(count: int = 10) -> dict[str, torch.Tensor]:
    """Boxes side by side, the first the surest, with masks that fill them."""
    left = torch.arange(count) * 10.0
    masks = torch.zeros(count, 8, 10 * count, dtype=torch.bool)
    for index in range(count):
        masks[index, :, 10 * index : 10 * index + 8] = True
    return dict(
        boxes=torch.stack([left, left * 0, left + 8, left * 0 + 8], 1),
        scores=torch.linspace(0.9, 0.2, count),
        labels=torch.zeros(count, dtype=torch.long),
        masks=masks,
    )


def changed(key: str, index: int, value: object) -> dict[str, torch.Tensor]:
    found = detections()
    found[key][index] = torch.as_tensor(value).to(found[key])
    return found


@pytest.mark.parametrize(
    ('got', 'agrees'),
    [
        (detections(), True),
        ({k: v[:9] for k, v in detections().items()}, False),
        ({k: v[:0] for k, v in detections().items()}, False),
        (changed('labels', 0, 1), False),
        (changed('boxes', 3, [30.0, 0, 39, 8]), False),
        (changed('scores', 3, float('nan')), False),
        (changed('masks', 3, 0), False),
        (dict(detections(), masks=detections()['masks'].flip(1, 2)), False),
    ],
)
def test_what_agrees(got, agrees: bool) -> None:
    found = match(detections(), got, 0.05, 100)
    assert found.agrees == agrees
    assert not found.is_empty


def test_rounding_at_the_least_score() -> None:
    found = match(detections(), {k: v[:9] for k, v in detections().items()}, 0.2, 100)
    assert (found.same, found.differing, found.agrees) == (9, 0, True)
    # Of as many as there may be, those at the last score may be others.
    found = match(detections(), {k: v[:9] for k, v in detections().items()}, 0.05, 10)
    assert (found.same, found.differing, found.agrees) == (9, 0, True)


def test_nothing_found_is_no_agreement_that_was_looked_at() -> None:
    nothing = {k: v[:0] for k, v in detections().items()}
    found = match(nothing, nothing, 0.05, 100)
    assert found.is_empty
    assert 'nothing was compared' in str(found)
