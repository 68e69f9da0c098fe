"""Steps are left out, windows of accumulation completed, and float16's and bfloat16's ways kept."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from rs4d.engine import SkippingOptimWrapper
from rs4d.errors import ConfigError

LOSSES = torch.tensor([1.0, 3.0, float('nan'), 5.0, float('inf'), 7.0])


def trained(losses: Tensor, wrapper: type[OptimWrapper] = SkippingOptimWrapper, **kwargs) -> Tensor:
    """The weight after steps whose gradients are the given numbers, at a rate of 1."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    optim = wrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1.0), **kwargs)
    optim.initialize_count_status(model, 0, len(losses))
    for value in losses:
        with optim.optim_context(model):
            loss = model.weight.sum() * value
        optim.update_params(loss)
    return model.weight.item()


@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_without_bad_losses_it_is_mmengines(count: int) -> None:
    losses = torch.arange(1.0, 7.0)
    assert trained(losses, accumulative_counts=count) == trained(
        losses, OptimWrapper, accumulative_counts=count
    )


@pytest.mark.parametrize(
    ('count', 'expected'),
    [
        (1, 1 + 3 + 5 + 7),
        # A window is averaged over its good steps: (1, 3), (5), (7).
        (2, 2 + 5 + 7),
        (3, 2 + 6),
        # The last window is two steps short.
        (4, 3 + 7),
    ],
)
def test_bad_losses_are_left_out(count: int, expected: float) -> None:
    # A weight of nothing times infinity is no number.
    assert trained(LOSSES, accumulative_counts=count) == pytest.approx(-expected)


def test_a_window_of_bad_losses_changes_nothing() -> None:
    losses = torch.tensor([float('nan')] * 2 + [1.0, 2.0])
    assert trained(losses, accumulative_counts=2) == pytest.approx(-1.5)


def test_gradients_that_are_no_numbers_are_left_out() -> None:
    model = nn.Linear(1, 1, bias=False)
    optim = SkippingOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0), clip_grad=dict(max_norm=1.0)
    )
    nn.init.zeros_(model.weight)
    # The square root is finite at zero, and its slope is not.
    optim.update_params(model.weight.sum().sqrt())
    assert optim.was_skipped
    assert optim.skipped_in_a_row == optim.skipped_in_all == 1
    assert model.weight.item() == 0
    optim.update_params(model.weight.sum())
    assert (optim.skipped_in_a_row, optim.skipped_in_all) == (0, 1)
    assert model.weight.item() == pytest.approx(-1)


def test_running_statistics_are_those_of_good_batches() -> None:
    model = nn.BatchNorm1d(1)
    optim = SkippingOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1.0))
    means = []
    for value in (1.0, float('nan'), 1.0):
        with optim.optim_context(model):
            loss = model(torch.full((2, 1), value)).sum()
        optim.update_params(loss)
        means.append(model.running_mean.item())
    assert means == pytest.approx([0.1, 0.1, 0.19])
    assert model.num_batches_tracked == 2


def test_counts_are_kept_in_the_state() -> None:
    model = nn.Linear(1, 1)
    first, second = (
        SkippingOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1.0)) for _ in '12'
    )
    for _ in range(3):
        first.update_params(model.weight.sum() * float('nan'))
    second.load_state_dict(first.state_dict())
    assert (second.skipped_in_a_row, second.skipped_in_all) == (3, 3)
    # What MMEngine's wrapper wrote loads, too.
    second.load_state_dict(
        OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1.0)).state_dict()
    )
    assert second.skipped_in_a_row == 0


def test_bfloat16() -> None:
    model = nn.Linear(1, 1)
    optim = SkippingOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0), autocast='bfloat16'
    )
    with optim.optim_context(model):
        assert model(torch.ones(1, 1)).dtype == torch.bfloat16
    assert model(torch.ones(1, 1)).dtype == torch.float32


def test_autocast_of_another_name() -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match='SkippingAmpOptimWrapper'):
        SkippingOptimWrapper(
            optimizer=torch.optim.SGD(model.parameters(), lr=1.0), autocast='float16'
        )
