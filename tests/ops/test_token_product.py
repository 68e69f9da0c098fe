"""Products by convolution against plain ones in float64."""

import pytest
import torch

from rs4d.ops.token_product import token_product, token_product_definition


@pytest.mark.parametrize(
    ('rows', 'channels', 'outputs'),
    [(4096, 32, 48), (1024, 7, 5), (2050, 16, 1), (1031, 16, 8), (100, 16, 8), (1, 3, 2)],
)
@pytest.mark.parametrize('with_memory', [False, True])
def test_product(rows: int, channels: int, outputs: int, with_memory: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(rows, channels), torch.randn(outputs, channels)
    memory = torch.full((rows, outputs), torch.nan) if with_memory else None
    exact = token_product_definition(x.double(), weight.double())
    with torch.no_grad():
        result = token_product(x, weight, memory)
    assert result.shape == (rows, outputs)
    assert result.stride(1) == 1 or outputs == 1
    assert (result - exact).norm() < 1e-6 * exact.norm()


def test_large_results_go_into_the_memory_given() -> None:
    """A fresh map of that size would be faulted in page by page."""
    x, weight = torch.randn(1 << 14, 4), torch.randn(512, 4)
    memory = torch.empty(1 << 14, 512)
    with torch.no_grad():
        assert token_product(x, weight, memory).data_ptr() == memory.data_ptr()
