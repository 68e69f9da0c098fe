"""MMEngine's runner, writing checkpoints in one step."""

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .errors import CheckpointWriteError


@RUNNERS.register_module()
class AtomicRunner(Runner):
    """A runner whose checkpoints are whole or absent.

    A checkpoint is written beside its final name and renamed when it is complete, so that a full
    disk or a killed process leaves the earlier one as it was. Takes what
    :class:`mmengine.runner.Runner` takes.
    """

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint.

        Args:
            out_dir: The folder.
            filename: The file's name in it.
            file_client_args: MMEngine's older way to name a storage backend.
            save_optimizer: Whether the optimizer's state goes in.
            save_param_scheduler: Whether the schedulers' states go in.
            meta: Further entries of the checkpoint's ``meta``.
            by_epoch: Whether it is written at the end of an epoch.
            backend_args: The storage backend, None for the file system.

        Raises:
            CheckpointWriteError: The file cannot be written, for example because the disk is full.
        """
        rest = (save_optimizer, save_param_scheduler, meta, by_epoch)
        if '://' in out_dir or file_client_args or backend_args:
            # Object stores write a file in one step as it is.
            super().save_checkpoint(out_dir, filename, file_client_args, *rest, backend_args)
            return
        target = Path(out_dir) / filename
        part = target.with_name(f'{filename}.part')
        try:
            super().save_checkpoint(out_dir, part.name, None, *rest, None)
            if is_main_process():
                part.replace(target)
        except OSError as error:
            raise CheckpointWriteError(
                f"The checkpoint '{target}' could not be written: {error.strerror or error}. Free "
                'some space, or choose a --work-dir that can be written to; with --resume the '
                'training goes on from the newest checkpoint that is there.'
            ) from error
        finally:
            if is_main_process():
                part.unlink(missing_ok=True)
