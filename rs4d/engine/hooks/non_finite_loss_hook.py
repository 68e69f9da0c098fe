"""Counts the steps that were left out for their loss, and ends a training that makes no other."""

import logging
from collections.abc import Iterator
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs4d.errors import UserError


class NonFiniteLossError(UserError, ArithmeticError):
    """The loss has not been a number for many steps in a row."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Say which images a step was left out for; after too many in a row, stop.

    The steps are left out by `rs4d.engine.skip_non_finite`'s optimizer wrappers.

    Args:
        max_in_a_row: So many skipped steps in a row end the training.
    """

    def __init__(self, max_in_a_row: int = 10) -> None:
        self.max_in_a_row = max_in_a_row

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look at how the step went.

        Raises:
            NonFiniteLossError: It was one too many.
        """
        wrapper = runner.optim_wrapper
        if not getattr(wrapper, 'was_skipped', False):
            return
        own = list(file_names(data_batch)) if wrapper.was_own else []
        names = [name for rank in all_gather_object(own) for name in rank]
        row, total = wrapper.skipped_in_a_row, wrapper.skipped_in_all
        runner.message_hub.update_info('skipped_steps', total)
        batch = ', '.join(names) or 'unnamed'
        runner.logger.log(
            logging.WARNING,
            f'The loss of iteration {runner.iter + 1} is not finite; the step was skipped ({row} in a '
            f'row, {total} in all). Its images: {batch}.',
        )
        if row >= self.max_in_a_row:
            raise NonFiniteLossError(
                f'The loss has not been finite for {row} steps in a row, the last of them iteration '
                f'{runner.iter + 1} with the images {batch}. None of these steps changed the model. '
                'If the images are sound, lower the learning rate (optim_wrapper.optimizer.lr), '
                'lengthen the warm-up, clip gradients (optim_wrapper.clip_grad), or train in bf16 or '
                'without --amp; then continue with --resume from the newest checkpoint.'
            )

    def after_train(self, runner: Runner) -> None:
        """Say at the end how many steps were left out, if any."""
        total = getattr(runner.optim_wrapper, 'skipped_in_all', 0)
        if total:
            runner.logger.warning(f'{total} steps were skipped because their loss was not finite.')


def file_names(data_batch: Any) -> Iterator[str]:
    """Find the paths of the images that a batch was made of, as far as its samples name them."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    for sample in samples or ():
        path = sample.get('img_path')
        if path is not None:
            yield str(path)
