"""Checkpoints of which at least one is whole at any moment."""

import os
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from rs4d.errors import ConfigError
from rs4d.files import write_text, written_whole

# A link to the newest checkpoint, whose name does not change with the length of the schedule: a
# config of stage 2 states it beforehand.
LATEST = 'latest.pth'
# In the message hub, so that a resumed run knows the files of the one before.
_KEPT = 'keep_ckpt_ids'
_PASSING = 'passing_ckpt'


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """MMEngine's hook, but an old checkpoint goes only when the new one is there.

    Besides the checkpoints at the ends of epochs there may be passing ones within them, of which
    only the newest is kept, until the next checkpoint of either sort: ``epoch_2_iter_5000.pth`` has
    finished 2 epochs and 5000 iterations. One is also written where the training is asked to stop.
    The symbolic link ``latest.pth`` beside them points at the newest.

    Args:
        *args: As for :class:`mmengine.hooks.CheckpointHook`.
        iter_interval: Iterations between passing checkpoints; -1 writes none. Only with
            ``by_epoch=True``.
        **kwargs: Likewise: ``interval``, ``by_epoch``, ``max_keep_ckpts``, ``save_best`` and so on.

    Raises:
        ConfigError: An interval or ``max_keep_ckpts`` is no whole number.
    """

    def __init__(self, *args: Any, iter_interval: int = -1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.iter_interval = iter_interval
        for name in ('interval', 'iter_interval', 'max_keep_ckpts'):
            value = getattr(self, name)
            if type(value) is not int:
                raise ConfigError(
                    f'default_hooks.checkpoint.{name} is {value!r}; set it to a whole number, or to '
                    '-1 for none.'
                )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save where it is due, or where the training is about to leave."""
        iteration = runner.iter + 1
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        due = self.by_epoch and self.every_n_train_iters(runner, self.iter_interval)
        stopping = getattr(runner.train_loop, 'stopping', 0)
        if (due or stopping) and runner.message_hub.get_info('last_ckpt_iter', -1) != iteration:
            self._save_passing(runner, runner.epoch, iteration)

    def save_between_epochs(self, runner: Runner) -> None:
        """Save after an epoch and its validation, unless that has been done.

        Args:
            runner: The runner.
        """
        if runner.message_hub.get_info('last_ckpt_iter', -1) != runner.iter:
            self._save_passing(runner, runner.epoch, runner.iter)

    def _save_passing(self, runner: Runner, epoch: int, iteration: int) -> None:
        runner.logger.info(f'Saving checkpoint within epoch {epoch + 1}, at iteration {iteration}')
        name = f'epoch_{epoch}_iter_{iteration}.pth'
        self._write(runner, name, dict(epoch=epoch, iter=iteration), passing=True)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        kept = [i for i in runner.message_hub.get_info(_KEPT, []) if i != step]
        if self.max_keep_ckpts > 0:
            # With those that will go: a run that ends before they do leaves them to the next.
            runner.message_hub.update_info(_KEPT, [*kept, step])
        self._write(runner, self.filename_tmpl.format(step), meta, passing=False)
        if self.max_keep_ckpts > 0:
            kept = [*kept, step]
            for old in kept[: -self.max_keep_ckpts]:
                self._remove(self.filename_tmpl.format(old))
            runner.message_hub.update_info(_KEPT, kept[-self.max_keep_ckpts :])

    def _write(self, runner: Runner, name: str, meta: dict[str, Any], passing: bool) -> None:
        hub = runner.message_hub
        earlier = hub.get_info(_PASSING, '')
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        # All of this goes into the checkpoint.
        hub.update_info('last_ckpt', self.last_ckpt)
        hub.update_info('last_ckpt_iter', meta['iter'])
        hub.update_info(_PASSING, name if passing else '')
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch and not passing,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_text(Path(runner.work_dir) / 'last_checkpoint', os.fspath(self.last_ckpt))
            if '://' not in self.out_dir:
                with written_whole(Path(self.out_dir) / LATEST) as part:
                    part.symlink_to(name)
        if earlier and earlier != name:
            self._remove(earlier)

    def _remove(self, name: str) -> None:
        if not is_main_process():
            return
        path = self.file_backend.join_path(self.out_dir, name)
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
