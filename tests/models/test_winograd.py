"""Winograd's convolution against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch.utils.flop_counter import FlopCounterMode

from rs4d.models import winograd
from rs4d.models.winograd import WinogradConv2d, convolve


@pytest.mark.parametrize('at_once', [1, 6, 256])
@pytest.mark.parametrize('shape', [(1, 8, 8), (2, 5, 14), (7, 14, 14), (3, 1, 2), (1, 33, 6)])
def test_results_are_the_direct_ones(
    shape: tuple[int, int, int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, '_TILES_AT_ONCE', at_once)
    batch, height, width = shape
    torch.manual_seed(0)
    x, bias = torch.randn(batch, 6, height, width), torch.randn(5)
    weight = torch.randn(5, 6, 3, 3) / 7
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        before = given.clone()
        found = convolve(given, weight, None)
        # The order of the sums, and so the rounding, is the processor's.
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=5e-5)
        assert found.is_contiguous(memory_format=torch.channels_last)
        with_bias = convolve(given, weight, bias)
        torch.testing.assert_close(with_bias, found + bias[:, None, None])
        assert torch.equal(given, before)


def test_rounding_is_that_of_float32() -> None:
    """With the channels of the heads, where errors add up."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 256, 32, 32), torch.randn(256, 256, 3, 3) / 48
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    assert (convolve(x, weight, None) - exact).abs().max() < 1e-4
    assert exact.std() > 0.9


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')  # sizes are constants of a trace
def test_module_is_a_convolution_to_everybody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients, mixed precision, counters, other kernels and small maps take PyTorch's way."""
    calls = []
    monkeypatch.setattr(winograd, 'convolve', lambda *args: calls.append(args) or convolve(*args))
    module = ConvModule(128, 128, 3, padding=1, conv_cfg=dict(type='WinogradConv2d'), act_cfg=None)
    conv = module.conv
    assert type(conv) is WinogradConv2d
    x = torch.randn(1, 128, 32, 32)
    direct = module(x)
    direct.mean().backward()
    assert conv.weight.grad.any()
    with torch.no_grad():
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert module(x).dtype == torch.bfloat16
        with FlopCounterMode(display=False) as counter:
            module(x)
        assert counter.get_total_flops() == 2 * 9 * 128 * 128 * 32 * 32
        module(x[..., :8, :8])
        WinogradConv2d(128, 128, 3, padding=1, stride=2)(x)
        WinogradConv2d(128, 128, 3, padding=1, groups=2)(x)
        WinogradConv2d(128, 128, 3, padding=0)(x)
        WinogradConv2d(64, 128, 3, padding=1)(x[:, :64])
        assert not calls
        torch.testing.assert_close(module(x), direct.detach(), rtol=1e-4, atol=1e-4)
        assert len(calls) == 1
        torch.testing.assert_close(
            torch.jit.trace(module, x, check_trace=False)(x), direct.detach()
        )
