"""Detectors whose batches without objects reach every parameter, and are otherwise MMDetection's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, distributed, nn

from rs4d.config import resolve

CONFIGS = Path(__file__).parents[3] / 'configs/_base_/models'
DETECTORS = ('solov2', 'condinst', 'rtmdet-ins')


def build(name: str, original: bool = False) -> nn.Module:
    """Build a detector with the smallest ResNet, ours or the one of MMDetection that it is made of."""
    whole = Config.fromfile(CONFIGS / f'{name}.py')
    whole.num_classes = 80
    resolve(whole)
    cfg = whole.model
    cfg.backbone.update(depth=18, init_cfg=None)
    part = cfg.neck if isinstance(cfg.neck, dict) else cfg.neck[0]
    part.in_channels = [channels // 4 for channels in part.in_channels]
    if name == 'solov2':
        cfg.mask_head.feat_channels = 64
    if original:
        cfg.type = cfg.type.removeprefix('EmptySafe')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg).train()


def inputs(model: nn.Module, counts: list[int]) -> dict[str, Any]:
    data = demo_mm_inputs(
        len(counts), [[3, 64, 64]] * len(counts), num_items=counts, with_mask=True
    )
    return model.data_preprocessor(data, True)


def gradients(model: nn.Module) -> dict[str, Tensor | None]:
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('name', DETECTORS)
def test_losses_and_gradients_are_the_originals(name: str) -> None:
    found = []
    for original in (False, True):
        model = build(name, original)
        loss, parts = model.parse_losses(model(**inputs(model, [3]), mode='loss'))
        loss.backward()
        found.append((parts, gradients(model)))
    (ours, our_gradients), (theirs, their_gradients) = found
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-5, atol=0)
    for key, expected in their_gradients.items():
        grad = our_gradients[key]
        assert grad is not None
        # Not bit by bit: where a tensor lies in memory decides how some processors' kernels sum.
        expected = torch.zeros_like(grad) if expected is None else expected
        torch.testing.assert_close(
            grad, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item()
        )
    assert any(grad is not None and grad.any() for grad in their_gradients.values())


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures('process_group')
@pytest.mark.parametrize('name', DETECTORS)
def test_batches_without_objects_do_not_stop_ddp(name: str) -> None:
    model = build(name)
    parallel = nn.parallel.DistributedDataParallel(model)
    for counts in ([0], [0, 0], [2]):
        model.zero_grad(set_to_none=True)
        loss, _ = model.parse_losses(parallel(**inputs(model, counts), mode='loss'))
        loss.backward()
        assert torch.isfinite(loss)
        assert [key for key, grad in gradients(model).items() if grad is None] == []
