"""Fully sharded training: each process holds its share of weights, gradients and optimizer state."""

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.dist import all_gather_object
from mmengine.registry import FUNCTIONS, STRATEGIES
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from rs4d.checkpoints import logged_load, remove_unfinished, written_whole

from ..distributed import init_on_cpu

_OPTIMIZER = ('state', 'param_groups')


@FUNCTIONS.register_module()
def is_encoder(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """FSDP's question whether a module becomes a unit that is gathered and freed as a whole.

    Units are the encoders. Nothing within them is one, since their fused kernels take the weights
    of layers, and over several blocks their memory, without calling the layers.

    Args:
        module: The module.
        recurse: Whether the question is if its children should be asked.
        nonwrapped_numel: Parameters in it that are in no unit yet.

    Returns:
        The answer.
    """
    # A module whose children are not to be asked is not asked itself.
    return recurse or (hasattr(module, 'embed_dims') and hasattr(module, 'patch_size'))


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """MMEngine's FSDP strategy, with checkpoints that are whole or absent, and on CPUs as well.

    Takes what :class:`mmengine._strategy.FSDPStrategy` takes. A frozen teacher is no part of the
    distiller's modules, so that each process holds all of it, once, and FSDP does not see it.
    """

    model_wrapper: Any
    # The model before it was cut, without memory for its weights.
    _outline: nn.Module | None = None
    _source = 'a state dict'

    def prepare(self, model: nn.Module | dict, **kwargs: Any) -> Any:
        """Build, wrap and load, as MMEngine does.

        Args:
            model: The model, or its config.
            **kwargs: As MMEngine's: ``optim_wrapper``, ``param_scheduler`` and so on.

        Returns:
            What was prepared.
        """
        if kwargs.get('optim_wrapper') is not None:
            remove_unfinished(self.work_dir)
        return super().prepare(model, **kwargs)

    def _setup_distributed(self, launcher: str, backend: str = 'nccl', **kwargs: Any) -> None:
        if torch.cuda.is_available():
            super()._setup_distributed(launcher, backend, **kwargs)
        else:
            init_on_cpu(launcher, kwargs.get('timeout'))

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if not torch.cuda.is_available():
            wrapper: dict[str, Any] = self.model_wrapper or {}
            self.model_wrapper = dict(wrapper, device_id=torch.device('cpu'))
        self._outline = _without_memory(model)
        return super()._wrap_model(model)

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: dict[str, Any] | None = None,
        callback: Callable | None = None,
    ) -> None:
        """Write a checkpoint; all ranks have to call it.

        Args:
            filename: The file, or the folder if each rank writes its share.
            save_optimizer: Whether the optimizer's state goes in.
            save_param_scheduler: Whether the schedulers' states go in.
            extra_ckpt: Further entries.
            callback: Changes what will be written.

        Raises:
            CheckpointWriteError: It cannot be written, for example because the disk is full.
        """
        options = dict(
            save_optimizer=save_optimizer,
            save_param_scheduler=save_param_scheduler,
            extra_ckpt=extra_ckpt,
            callback=callback,
        )
        if '://' in filename:
            # Object stores write a file in one step as it is.
            super().save_checkpoint(filename, **options)
            return
        with written_whole(filename) as part:
            super().save_checkpoint(str(part), **options)

    def load_checkpoint(self, filename: str, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint into the model, and log what of it was loaded.

        Args:
            filename: The file, or the folder if each rank has written its share.
            **kwargs: As MMEngine's.

        Returns:
            The checkpoint.

        Raises:
            CheckpointMismatchError: Nothing of it fits the model.
        """
        self._source = filename
        return super().load_checkpoint(filename, **kwargs)

    def load_model_state_dict(
        self,
        state_dict: dict[str, Any],
        *,
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = ((r'^module\.', ''),),
    ) -> None:
        """Spread weights over the ranks, and log which of them the model has taken.

        Args:
            state_dict: The whole model's, or this rank's share if each has written its own.
            strict: Whether all names and shapes have to be the model's. Otherwise weights of another
                shape are left out.
            revise_keys: Patterns in names and what to put in their place.

        Raises:
            CheckpointMismatchError: Nothing of it fits the model.
        """
        if not self._is_full_state_dict() or self._outline is None:
            self.model.load_state_dict(state_dict, strict=strict)
            return
        for pattern, replacement in revise_keys:
            state_dict = {re.sub(pattern, replacement, k): v for k, v in state_dict.items()}
        # In the shares, FSDP would neither say what fits nor leave out what does not.
        weights = {
            name: value.to('meta') if isinstance(value, torch.Tensor) else value
            for name, value in state_dict.items()
        }
        with logged_load(self._outline, self._source) as report:
            try:
                self._outline.load_state_dict(weights, strict=strict, assign=True)
            except RuntimeError:
                if strict:
                    raise
        misshapen = set(report.misshapen)
        state_dict = {name: v for name, v in state_dict.items() if name not in misshapen}
        self.model.load_state_dict(state_dict, strict=strict)

    def optim_state_dict(self) -> dict[str, Any]:
        """Gather the optimizer's state.

        Returns:
            It, with what the optimizer wrapper keeps besides.
        """
        more = {k: v for k, v in self.optim_wrapper.state_dict().items() if k not in _OPTIMIZER}
        optimizer = self.optim_wrapper.optimizer
        if torch.cuda.is_available():
            state = FullyShardedDataParallel.optim_state_dict(self.model, optimizer)
        else:
            state = self._gather_one_by_one(optimizer)
        return dict(state, **more)

    def _gather_one_by_one(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Gather the moments separately.

        PyTorch gathers them after one another into the same memory and counts on their move from
        GPU to CPU to copy them; on a CPU all of them would be the last one.
        """
        own = optimizer.state_dict()
        names = {name for entries in own['state'].values() for name in entries}
        gathered: dict[str, Any] = {}
        for name in sorted(set().union(*all_gather_object(names))):
            state = {
                key: {name: entries[name]}
                for key, entries in own['state'].items()
                if name in entries
            }
            part = FullyShardedDataParallel.optim_state_dict(
                self.model, optimizer, dict(own, state=state)
            )
            for key, entries in part.get('state', {}).items():
                whole = gathered.setdefault('state', {}).setdefault(key, {})
                whole.update({k: copy.deepcopy(value) for k, value in entries.items()})
            if 'param_groups' in part:
                gathered['param_groups'] = part['param_groups']
        return gathered

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Spread the optimizer's state over the ranks.

        Args:
            state_dict: From :meth:`optim_state_dict`.
        """
        # MMEngine passes the arguments in an order that PyTorch has left.
        state = FullyShardedDataParallel.optim_state_dict_to_load(
            self.model,
            self.optim_wrapper.optimizer,
            {key: state_dict[key] for key in _OPTIMIZER},
        )
        more = {key: value for key, value in state_dict.items() if key not in _OPTIMIZER}
        self.optim_wrapper.load_state_dict(dict(state, **more))


def _without_memory(model: nn.Module) -> nn.Module:
    """Copy a model with weights that have names, shapes and nothing else."""
    memo: dict[int, Any] = {}
    for weight in model.parameters():
        empty = torch.empty_like(weight, device='meta')
        memo[id(weight)] = nn.Parameter(empty, weight.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device='meta')
    return copy.deepcopy(model, memo)
