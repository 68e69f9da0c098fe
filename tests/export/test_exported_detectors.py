"""Detectors as graphs of tensors against MMDetection's own predictions."""

import numpy as np
import pytest
import torch

from rs4d.errors import ConfigError
from rs4d.export.checking import compare_detections, find
from rs4d.export.detectors import detector_part
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
    differing = np.stack(pasted) != expected['masks'].numpy()
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
