"""A name for the newest checkpoint that does not change with the length of the schedule."""

import os
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs4d.files import written_whole

LATEST = 'latest.pth'


@HOOKS.register_module()
class LatestCheckpointHook(Hook):
    """Keep the symbolic link ``latest.pth`` beside the newest checkpoint, pointing at it.

    A stage-2 config can then name stage 1's result without knowing its number of epochs. The link
    is replaced in one step, so a run that is killed leaves the old one or the new one.
    """

    # After CheckpointHook, which has VERY_LOW.
    priority = 'LOWEST'

    def after_train_epoch(self, runner: Runner) -> None:
        """Follow a checkpoint written by epoch."""
        self.follow(runner)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: object = None,
    ) -> None:
        """Follow a checkpoint written by iteration."""
        self.follow(runner)

    def follow(self, runner: Runner) -> None:
        """Point the link at the newest checkpoint.

        Args:
            runner: Its message hub knows which one that is.
        """
        if not is_main_process():
            return
        checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
        if checkpoint is None:
            return
        target = Path(checkpoint)
        link = target.with_name(LATEST)
        if link.is_symlink() and os.readlink(link) == target.name:
            return
        with written_whole(link) as part:
            part.symlink_to(target.name)
