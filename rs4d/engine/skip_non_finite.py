"""Optimizer wrappers that leave out steps whose loss is no number."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn

from rs4d.errors import ConfigError

# What a checkpoint has of it.
_COUNTS = dict(
    in_a_row='skipped_in_a_row',
    in_all='skipped_in_all',
    in_window='_skipped_in_window',
    window='_steps_in_window',
)


class SkipNonFinite(OptimWrapper):
    """Mixin: a loss that is infinite or no number moves nothing, running statistics included.

    All ranks leave the step out together. With gradient accumulation the update is made from the
    other steps of its window, averaged over those; a window without any changes nothing.

    Attributes:
        was_skipped: Whether the last step was left out.
        was_own: Whether this rank's loss was the reason, or one of them.
        skipped_in_a_row: Steps left out since the last good one.
        skipped_in_all: Steps left out since the training began.
    """

    was_skipped = False
    was_own = False
    skipped_in_a_row = 0
    skipped_in_all = 0
    _skipped_in_window = 0
    _steps_in_window = 0
    _statistics: list[tuple[Tensor, Tensor]] | None = None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the block as the forward pass of a step."""
        if self._statistics is None:
            self._statistics = [(own, own.clone()) for own in _running_statistics(model)]
        for own, earlier in self._statistics:
            earlier.copy_(own)
        with super().optim_context(model):
            yield

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Back-propagate, and update the parameters if it is time."""
        scaled = self.scale_loss(loss)
        finite = torch.isfinite(loss.detach()).all()
        self.was_own = not bool(finite)
        self.was_skipped = self.was_own
        if get_world_size() > 1:
            agreed = finite.float()
            all_reduce(agreed, op='min')
            self.was_skipped = not bool(agreed)
        self._steps_in_window += 1
        if self.was_skipped:
            # Without it, the graph of the step would live until the next one.
            del scaled, loss
            self._inner_count += 1
            self._skipped_in_window += 1
            for own, earlier in self._statistics or ():
                own.copy_(earlier)
        else:
            self.backward(scaled)
        if self.should_update():
            if self._skipped_in_window < self._steps_in_window:
                self._complete_window()
                self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))
            self._skipped_in_window = self._steps_in_window = 0
        if self.was_skipped:
            self.skipped_in_a_row += 1
            self.skipped_in_all += 1
        else:
            self.skipped_in_a_row = 0

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Set where in the training, and so in its accumulation, the run begins."""
        # MMEngine warns that gradients of an unfinished accumulation are lost. They are restored.
        super().initialize_count_status(model, 0, max_counts)
        self._inner_count = init_counts

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, and what has been skipped as ``skipping``."""
        counts = {key: getattr(self, name) for key, name in _COUNTS.items()}
        return dict(super().state_dict(), skipping=counts)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` of this class or of MMEngine's returned."""
        state_dict = dict(state_dict)
        skipping = state_dict.pop('skipping', {})
        for key, name in _COUNTS.items():
            setattr(self, name, skipping.get(key, 0))
        super().load_state_dict(state_dict)

    def _complete_window(self) -> None:
        """Make up for skipped steps: their part of the sum, and the exchange between ranks."""
        if not self._skipped_in_window:
            return
        factor = self._steps_in_window / (self._steps_in_window - self._skipped_in_window)
        for group in self.optimizer.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
                    if self.was_skipped:
                        # Ranks exchange gradients in the last backward pass, which did not happen.
                        all_reduce(parameter.grad, op='mean')


def _running_statistics(model: nn.Module) -> Iterator[Tensor]:
    """What batch normalisation remembers of the batches, and a bad one would spoil."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            yield from module.buffers(recurse=False)


@OPTIM_WRAPPERS.register_module()
class SkippingOptimWrapper(SkipNonFinite):
    """MMEngine's ``OptimWrapper`` that leaves out steps whose loss is no number.

    Where gradients are clipped by their norm, an update whose norm is no number is left out, too.

    Args:
        *args: As for :class:`mmengine.optim.OptimWrapper`.
        autocast: ``'bfloat16'`` runs the model in mixed precision, on GPUs and on CPUs; it has the
            exponents of float32, so that losses need no scaling. None for float32.
        **kwargs: Likewise.

    Raises:
        ConfigError: ``autocast`` is something else; float16 is the other class's.
    """

    def __init__(self, *args: Any, autocast: str | None = None, **kwargs: Any) -> None:
        if autocast not in (None, 'bfloat16'):
            raise ConfigError(
                f"SkippingOptimWrapper: autocast is {autocast!r}; choose 'bfloat16' or None. float16 "
                "needs its losses scaled: type='SkippingAmpOptimWrapper', dtype='float16'."
            )
        super().__init__(*args, **kwargs)
        self.autocast = autocast

    def step(self, **kwargs: Any) -> None:
        """Clip the gradients and update the parameters, unless the gradients' norm is no number."""
        if self.clip_grad_kwargs:
            self._clip_grad()
            norm = self.message_hub.log_scalars.get('train/grad_norm')
            if norm is not None and not math.isfinite(norm.current()):
                self.was_skipped = self.was_own = True
                return
        self.optimizer.step(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the block as a step of training, in the precision chosen."""
        device = next(model.parameters()).device.type
        enabled = self.autocast is not None
        with (
            super().optim_context(model),
            torch.autocast(device, dtype=torch.bfloat16, enabled=enabled),
        ):
            yield


@OPTIM_WRAPPERS.register_module()
class SkippingAmpOptimWrapper(SkipNonFinite, AmpOptimWrapper):
    """MMEngine's ``AmpOptimWrapper``, likewise; takes what that takes."""
