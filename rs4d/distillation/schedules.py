"""How strong the corruption of the student's input is, step by step.

That there is an adaptive rule is the paper's (Yang et al., IEEE TGRS 64, 2026). The rule itself is
not public; the schedules here are ours.
"""

import torch
from mmdet.registry import MODELS
from mmengine.dist import all_reduce
from torch import Tensor, nn

from rs4d.errors import ConfigError


class CorruptionSchedule(nn.Module):
    """What all schedules share: a difficulty, and errors of the student that may move it.

    A schedule of one's own derives from this class, is registered in MMDetection's ``MODELS``, gives
    ``difficulty`` and overrides :meth:`observe` where it follows the student. State belongs in
    buffers, so that a checkpoint carries it and a resumed run goes on where it stopped.

    Attributes:
        num_updates: Errors so far, a scalar.
    """

    num_updates: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('num_updates', torch.zeros((), dtype=torch.long))

    @property
    def difficulty(self) -> Tensor:
        """Between 0, a clean image, and 1, all ratios at their ceilings; a scalar."""
        raise NotImplementedError

    @torch.no_grad()
    def update(self, error: Tensor) -> None:
        """Tell the normalised error of this iteration on this rank, a scalar.

        The errors of all ranks are averaged, so that the ranks stay in step. One that is not finite,
        as mixed precision may give before its scale has settled, says nothing and does not count.
        """
        error = error.detach().to(torch.float32, copy=True)
        all_reduce(error, op='mean')
        if error.isfinite():
            self.num_updates += 1
            self.observe(error)

    def observe(self, error: Tensor) -> None:
        """Take in an error, finite and the same on all ranks; ``num_updates`` has counted it."""

    def move_average(self, average: Tensor, error: Tensor, momentum: float) -> None:
        """Move an average, in place; until 1/momentum errors have come, it is the plain mean."""
        weight = (1 / self.num_updates).clamp_min(momentum)
        average.lerp_(error, weight.to(error.dtype))


@MODELS.register_module()
class FixedSchedule(CorruptionSchedule):
    """Full corruption throughout: the plain reading of the paper's figures."""

    @property
    def difficulty(self) -> Tensor:
        """1."""
        return torch.ones_like(self.num_updates, dtype=torch.float32)


@MODELS.register_module()
class LinearSchedule(CorruptionSchedule):
    """No corruption at first, then a ramp.

    Args:
        warmup_iters: Iterations without corruption.
        ramp_iters: Iteration at which the difficulty reaches 1.

    Raises:
        ConfigError: The ramp does not end behind the warm-up.
    """

    def __init__(self, warmup_iters: int = 1000, ramp_iters: int = 10000) -> None:
        super().__init__()
        if not 0 <= warmup_iters < ramp_iters:
            raise ConfigError(
                f'LinearSchedule: ramp_iters={ramp_iters} should lie behind '
                f"warmup_iters={warmup_iters}. Correct corruption.schedule in the distiller's config."
            )
        self.warmup_iters = warmup_iters
        self.ramp_iters = ramp_iters

    @property
    def difficulty(self) -> Tensor:
        """From 0 at the end of the warm-up to 1 at ``ramp_iters``."""
        length = self.ramp_iters - self.warmup_iters
        return ((self.num_updates - self.warmup_iters) / length).float().clamp(0, 1)


@MODELS.register_module()
class AdaptiveSchedule(CorruptionSchedule):
    """As much corruption as the student can bear.

    With e the moving average of the student's normalised error and e₀ its value after warm-up,
    difficulty = clip((e₀ - e) / (e₀ - target_error), 0, 1): corruption grows as the student gets
    good, and recedes where it no longer follows.

    Args:
        warmup_iters: Iterations without corruption; e₀ is taken at their end.
        momentum: Weight of a new error in the moving average. Until 1/momentum iterations have
            passed, the average is the plain mean.
        target_error: Normalised error at which the difficulty reaches 1.

    Raises:
        ConfigError: An argument is out of its range.
    """

    error_average: Tensor
    initial_error: Tensor

    def __init__(
        self, warmup_iters: int = 1000, momentum: float = 0.01, target_error: float = 0.25
    ) -> None:
        super().__init__()
        if warmup_iters < 1 or not 0 < momentum <= 1 or target_error < 0:
            raise ConfigError(
                f'AdaptiveSchedule: of warmup_iters={warmup_iters}, momentum={momentum} and '
                f'target_error={target_error}, the first should be at least 1, the second above 0 '
                'and at most 1, the third not negative. Correct corruption.schedule in the '
                "distiller's config."
            )
        self.warmup_iters = warmup_iters
        self.momentum = momentum
        self.target_error = target_error
        self.register_buffer('error_average', torch.zeros(()))
        self.register_buffer('initial_error', torch.zeros(()))

    @property
    def difficulty(self) -> Tensor:
        """0 during the warm-up, then by how far the error has come down."""
        # A student that was at the target when warm-up ended gets the full corruption.
        way_to_go = (self.initial_error - self.target_error).clamp_min(1e-6)
        gained = (self.initial_error - self.error_average).clamp_min(0)
        at_target = self.error_average <= self.target_error
        difficulty = torch.where(at_target, 1.0, (gained / way_to_go).clamp(0, 1))
        return torch.where(self.num_updates < self.warmup_iters, 0.0, difficulty)

    def observe(self, error: Tensor) -> None:
        """Move the average; see :class:`CorruptionSchedule`."""
        self.move_average(self.error_average, error, self.momentum)
        if self.num_updates <= self.warmup_iters:
            self.initial_error.copy_(self.error_average)


@MODELS.register_module()
class ProgressSchedule(CorruptionSchedule):
    """More corruption while the student gets on, less while it does not; no target is needed.

    A fast and a slow moving average of the student's normalised error are compared at each iteration
    after the warm-up: the difficulty goes up by 1/``ramp_iters`` where the fast one is below the slow
    one, and down by as much where it is not. As the error is that on corrupted input, corruption grows
    just as fast as the student learns to bear it.

    Args:
        warmup_iters: Iterations without corruption.
        ramp_iters: Iterations of progress that take the difficulty from 0 to 1.
        momentum: Weight of a new error in the fast average; the slow one's is a quarter of it. Until
            1/momentum iterations have passed, an average is the plain mean.

    Raises:
        ConfigError: An argument is out of its range.
    """

    fast_average: Tensor
    slow_average: Tensor
    level: Tensor

    def __init__(
        self, warmup_iters: int = 1000, ramp_iters: int = 10000, momentum: float = 0.01
    ) -> None:
        super().__init__()
        if warmup_iters < 0 or ramp_iters < 1 or not 0 < momentum <= 1:
            raise ConfigError(
                f'ProgressSchedule: of warmup_iters={warmup_iters}, ramp_iters={ramp_iters} and '
                f'momentum={momentum}, the first should not be negative, the second at least 1, the '
                "third above 0 and at most 1. Correct corruption.schedule in the distiller's config."
            )
        self.warmup_iters = warmup_iters
        self.ramp_iters = ramp_iters
        self.momentum = momentum
        self.register_buffer('fast_average', torch.zeros(()))
        self.register_buffer('slow_average', torch.zeros(()))
        self.register_buffer('level', torch.zeros(()))

    @property
    def difficulty(self) -> Tensor:
        """0 during the warm-up, then as far as progress has taken it."""
        return self.level

    def observe(self, error: Tensor) -> None:
        """Move the averages, then the difficulty; see :class:`CorruptionSchedule`."""
        self.move_average(self.fast_average, error, self.momentum)
        self.move_average(self.slow_average, error, self.momentum / 4)
        sign = torch.where(self.fast_average < self.slow_average, 1.0, -1.0)
        moved = (self.level + sign / self.ramp_iters).clamp(0, 1)
        self.level.copy_(torch.where(self.num_updates > self.warmup_iters, moved, self.level))
