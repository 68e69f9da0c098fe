"""Training by epochs that can be stopped at any step and resumed as if it had not been."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.registry import LOOPS
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from .hooks.resumable_checkpoint_hook import ResumableCheckpointHook
from .random_state import get_random_state, kept_random_state, set_random_state
from .seeded_data import ResumedBatchSampler, SeededSampler, end_workers, seeded_dataloader
from .stop_requests import StopRequests, TrainingStopped


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which a resumed run enters where it was left.

    Three things differ from :class:`mmengine.runner.EpochBasedTrainLoop`. The data loader gives
    every sample random numbers of its own (:mod:`rs4d.engine.seeded_data`) and can start within an
    epoch. The states of the global generators belong to the training's own steps: validation and
    what hooks do after a step leave them alone. SIGINT and SIGTERM end the training after the step
    that they came in, with a checkpoint.

    Args:
        runner: The runner.
        dataloader: Config of the data loader. One that is built already is used as it is; a resumed
            run then begins at the start of the epoch.
        max_epochs: Epochs in all.
        **kwargs: As for MMEngine's loop: ``val_begin``, ``val_interval``, ``dynamic_intervals``.

    Attributes:
        stopping: The signal that asked to stop, agreed among the ranks; 0 without one.
    """

    def __init__(self, runner: Any, dataloader: Any, max_epochs: int, **kwargs: Any) -> None:
        if isinstance(dataloader, Mapping):
            dataloader = seeded_dataloader(dict(dataloader))
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        self.stopping = 0
        self._stop_requests = StopRequests()
        self._batches_done = 0
        self._epoch_start = self._random_state = get_random_state()
        self._resumed: dict[str, Any] | None = None

    def run(self) -> nn.Module:
        """Train, from where the runner was resumed, and return the model.

        Raises:
            TrainingStopped: SIGINT or SIGTERM came; the state has been saved.
        """
        self.runner.call_hook('before_train')
        self._enter()
        try:
            with self._stop_requests:
                self._run_epochs()
        finally:
            for loop in (self, self.runner.val_loop):
                if loop is not None:
                    end_workers(loop.dataloader)
        self.runner.call_hook('after_train')
        return self.runner.model

    def _run_epochs(self) -> None:
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._validate()
            self.stopping = self.stopping or self._stop_requests.agreed()
            if self.stopping:
                self._save_and_leave()

    def run_epoch(self) -> None:
        """Train the epoch, or what is left of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        sampler = self.dataloader.sampler
        if not hasattr(sampler, 'set_epoch'):
            sampler = getattr(self.dataloader.batch_sampler, 'sampler', None)
        if hasattr(sampler, 'set_epoch'):
            # Some samplers' order, and the random numbers of samples, depend on it.
            sampler.set_epoch(self._epoch)
        first, resumed = self._batches_done, self._resumed
        self._skip(first)
        if resumed is None:
            self._epoch_start = get_random_state()
        else:
            self._epoch_start = resumed['epoch_start']
            set_random_state(self._epoch_start)
        with kept_random_state():
            batches = iter(self.dataloader)
        # PyTorch draws a seed for the workers here unless they live on from the epoch before. How
        # the data are read is not to matter, so one is drawn in any case.
        torch.empty((), dtype=torch.int64).random_()
        if resumed is not None:
            # Samplers may have drawn their order as at the epoch's start; now to where it stopped.
            set_random_state(resumed['random_state'])
            self._resumed = None
        for idx, data_batch in enumerate(batches, first):
            self.run_iter(idx, data_batch)
        self._skip(0)
        self._batches_done = 0
        self._random_state = get_random_state()
        self.runner.call_hook('after_train_epoch')
        set_random_state(self._random_state)
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Train one step, with the errors of :meth:`run`."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self.runner.model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
        self._batches_done = idx + 1
        self._random_state = get_random_state()
        self.stopping = self._stop_requests.agreed()
        # The checkpoint is written in here if one is due.
        self.runner.call_hook(
            'after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )
        set_random_state(self._random_state)
        self._iter += 1
        if self.stopping:
            self._leave()

    def state_dict(self) -> dict[str, Any]:
        """Gather what a checkpoint needs besides weights, optimiser and schedule.

        Has to be called on all ranks. Holds the place in the epoch, the random states of all ranks,
        and gradients that wait for the rest of their accumulation.
        """
        own = dict(epoch_start=self._epoch_start, random_state=self._random_state)
        sampler = self._sampler()
        return dict(
            batches_done=self._batches_done,
            num_batches=len(self.dataloader),
            data_seed=None if sampler is None else sampler.seed,
            ranks=all_gather_object(own),
            gradients=self._waiting_gradients(),
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the place of a run that was stopped; :meth:`run` goes on from there."""
        ranks = state['ranks']
        same_ranks = len(ranks) == get_world_size()
        if not same_ranks or state['num_batches'] != len(self.dataloader):
            print_log(
                f'The checkpoint was written by {len(ranks)} processes with '
                f'{state["num_batches"]} batches in an epoch; now there are {get_world_size()} with '
                f'{len(self.dataloader)}. The training goes on at about the same place of the '
                'epoch, but not as it would have without the interruption.',
                logger='current',
                level=logging.WARNING,
            )
        sampler = self._sampler()
        if sampler is not None:
            share = state['batches_done'] / max(1, state['num_batches'])
            self._batches_done = round(share * len(self.dataloader))
        own = ranks[get_rank()] if same_ranks else ranks[0]
        self._resumed = dict(own, gradients=state['gradients'])
        if sampler is not None and state['data_seed'] is not None:
            sampler.set_seed(state['data_seed'])

    def _enter(self) -> None:
        """Set what only the run itself may change, when everything is built and loaded."""
        if self._resumed is None:
            if get_world_size() > 1:
                # What a model draws (noise, dropout, samples of boxes) should differ by rank.
                torch.manual_seed(self.runner.seed + get_rank())
                np.random.seed((self.runner.seed + get_rank()) % 2**32)
            return
        parameters = dict(self.runner.model.named_parameters())
        for name, gradient in (self._resumed['gradients'] or {}).items():
            parameter = parameters[name]
            parameter.grad = gradient.to(parameter)
        if not self._batches_done:
            # Nothing of this epoch has been seen, not even its order.
            set_random_state(self._resumed['random_state'])
            self._resumed = None

    def _validate(self) -> None:
        loop = self.runner.val_loop
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if loop is None or self._epoch < self.val_begin or not due:
            return
        try:
            with kept_random_state(), self._stop_requests.at_once():
                loop.run()
        except TrainingStopped as stopped:
            self.stopping = stopped.signum
            self._save_and_leave()

    def _skip(self, batches: int) -> None:
        """Let the data loader's next iteration leave out the first batches."""
        if isinstance(self.dataloader.batch_sampler, ResumedBatchSampler):
            self.dataloader.batch_sampler.first_batch = batches

    def _sampler(self) -> SeededSampler | None:
        sampler = getattr(self.dataloader.batch_sampler, 'sampler', None)
        return sampler if isinstance(sampler, SeededSampler) else None

    def _waiting_gradients(self) -> dict[str, torch.Tensor] | None:
        if self.runner.optim_wrapper.should_update():
            return None
        waiting = {}
        for name, parameter in self.runner.model.named_parameters():
            if parameter.grad is not None:
                gradient = parameter.grad.detach().clone()
                # Each rank has its own part; with the mean on all of them the sum stays the same.
                all_reduce(gradient, op='mean')
                waiting[name] = gradient.cpu()
        return waiting

    def _save_and_leave(self) -> None:
        """Save between two epochs, then leave."""
        for hook in self.runner.hooks:
            if isinstance(hook, ResumableCheckpointHook):
                hook.save_between_epochs(self.runner)
        self._leave()

    def _leave(self) -> None:
        raise TrainingStopped(self.stopping)
