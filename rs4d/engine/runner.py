"""MMEngine's runner, as it has to be for long runs: resumable, on CPUs and GPUs, sure of its files."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from rs4d.checkpoints import logged_load
from rs4d.config import resolve
from rs4d.files import FileWriteError, remove_parts, written_whole

from .distributed import init_on_cpu
from .precision import predict_in_dtype, train_in_dtype
from .resumable_train_loop import ResumableTrainLoop
from .resuming import kept_schedules, require_same_training
from .terminal import shorten_terminal
from .training_record import TrainingRecord


@RUNNERS.register_module()
class AtomicRunner(Runner):
    """A runner whose checkpoints are whole or absent, and which several CPUs can share.

    A checkpoint is written beside its final name and renamed when it is complete, so that a full
    disk or a killed process leaves the earlier one as it was. With `rs4d.engine.ResumableTrainLoop`
    it holds all that the training's course depends on. A launcher's processes are joined by Gloo
    where there is no GPU. ``compile`` compiles the model's encoders rather than the training step,
    which PyTorch would cut into pieces. Takes what :class:`mmengine.runner.Runner` takes.
    """

    _resuming = False
    _training_state: dict[str, Any] | None = None

    @classmethod
    def from_cfg(cls, cfg: Config | dict[str, Any]) -> 'Runner':
        """Build a runner from a config, whichever tool has read it.

        The config's references are resolved in a copy, whose ``optim_wrapper`` takes its ``dtype``.

        Raises:
            ConfigError: A reference leads nowhere, or no mixed precision is known of the wrapper.
        """
        cfg = copy.deepcopy(cfg)
        resolve(cfg)
        train_in_dtype(cfg)
        return super().from_cfg(cfg)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, which leaves the environment and the config to its file.

        Args:
            *args: As MMEngine's.
            **kwargs: Likewise.

        Returns:
            The logger.
        """
        logger = super().build_logger(*args, **kwargs)
        shorten_terminal(logger)
        return logger

    def build_visualizer(self, visualizer: Visualizer | dict[str, Any] | None = None) -> Visualizer:
        """Build the visualizer, one for each run.

        MMEngine has one for each name in a process, so that a run would write its scalars and pictures
        into the folder of an earlier one.

        Args:
            visualizer: As MMEngine's; a name that it has stays.

        Returns:
            The visualizer.
        """
        if isinstance(visualizer, dict):
            visualizer = dict(visualizer)
            visualizer.setdefault('name', self.log_dir)
        return super().build_visualizer(visualizer)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Set up processes, on CPUs as well."""
        if self.distributed and not torch.cuda.is_available():
            init_on_cpu(self.launcher, env_cfg.get('dist_cfg', {}).get('timeout'))
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Let the model predict in the config's ``dtype``; wrap it if there are several processes."""
        predict_in_dtype(model, self.cfg.get('dtype', 'float32'))
        if self.distributed and not torch.cuda.is_available():
            plain = dict(
                type='MMDistributedDataParallel',
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            )
            # A process without a GPU has no device's number.
            model_wrapper_cfg = dict(model_wrapper_cfg or plain, device_ids=None)
        return super().wrap_model(model_wrapper_cfg, model)

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        """Build an evaluator whose ranks exchange their results in the work dir.

        MMEngine would take ``.dist_test`` in the working directory, and leave that behind.
        """
        built = super().build_evaluator(evaluator)
        for metric in built.metrics:
            if metric.collect_device == 'cpu' and metric.collect_dir is None:
                metric.collect_dir = str(Path(self.work_dir) / '.results_of_ranks')
        return built

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> DataLoader:
        """Build a data loader whose workers leave stopping to the training."""
        if isinstance(dataloader, Mapping):
            dataloader = dict(dict(worker_init_fn=dict(type='start_worker')), **dataloader)
        return Runner.build_dataloader(dataloader, *args, **kwargs)

    def train(self) -> nn.Module:
        """Train, and return the model."""
        if is_main_process():
            remove_parts(self.work_dir, '*.pth')
        self._record = TrainingRecord()
        self._record.begin()
        return super().train()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Go on from a checkpoint, within its epoch if it was written there.

        Raises:
            ResumeError: It holds no training's state, or that of one with another optimizer or other
                schedules.
        """
        self._resuming = True
        try:
            super().resume(filename, *args, **kwargs)
        finally:
            self._resuming = False
        if self._training_state is not None and isinstance(self.train_loop, ResumableTrainLoop):
            self.train_loop.load_state_dict(self._training_state)

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint into the model, and log what of it was loaded."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        with logged_load(model, filename):
            checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        if self._resuming:
            require_same_training(checkpoint, filename, self.optim_wrapper, self.param_schedulers)
            kept = kept_schedules(checkpoint, self.param_schedulers)
            if kept:
                self.logger.warning(
                    f'A resumed training keeps the schedule that it was started with: '
                    f"{', '.join(kept)} as in the config. To train by the config's, start anew from "
                    f'its weights: without --resume and with --cfg-options load_from={filename}.'
                )
            # MMEngine would run it, as the Python that it is, to look for a list of GPUs.
            checkpoint['meta'].pop('config', None)
        self.loaded_meta = checkpoint.get('meta') or {}
        if self._resuming and self._record is not None:
            self._record.resume(self.loaded_meta.get('training') or {})
        self._training_state = self.loaded_meta.get('training_state')
        return checkpoint

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
        """Write a checkpoint. All ranks have to call it; the first one writes.

        Raises:
            FileWriteError: The file cannot be written, for example because the disk is full.
        """
        if save_optimizer and isinstance(self.train_loop, ResumableTrainLoop):
            meta = dict(meta or {}, training_state=self.train_loop.state_dict())
        if self._record is not None:
            loader = self.train_dataloader
            batch_size = getattr(loader.batch_sampler, 'batch_size', loader.batch_size)
            training = self._record.state(len(loader.dataset), batch_size)
            meta = dict(meta or {}, training=training)
        rest = (save_optimizer, save_param_scheduler, meta, by_epoch)
        if '://' in out_dir or file_client_args or backend_args:
            # Object stores write a file in one step as it is.
            super().save_checkpoint(out_dir, filename, file_client_args, *rest, backend_args)
            return
        problem = None
        try:
            if is_main_process():
                with written_whole(Path(out_dir) / filename) as part:
                    super().save_checkpoint(out_dir, part.name, None, *rest, None)
        except FileWriteError as error:
            problem = error
        # No rank may wait for one that has left.
        problems = [text for text in all_gather_object(problem and str(problem)) if text]
        if problems:
            raise FileWriteError(
                f'{problems[0]} With --resume the training goes on from the newest checkpoint that '
                'is there.'
            ) from problem

    def _maybe_compile(self, target: str) -> None:
        options = self.cfg.get('compile')
        if target != 'train_step' or not options:
            return
        model = getattr(self.model, 'module', self.model)
        encoders = [(name, getattr(model, name, None)) for name in ('student', 'backbone', 'neck')]
        names = []
        for name, encoder in encoders:
            if isinstance(encoder, nn.Module):
                encoder.compile(**({} if options is True else dict(options)))
                names.append(name)
        self.logger.info(f'Compiling {", ".join(names)}; the first steps take their time.')
