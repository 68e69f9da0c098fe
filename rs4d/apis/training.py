"""Training a config, with everything that can be checked checked before."""

from mmengine.config import Config, ConfigDict
from mmengine.registry import RUNNERS

from rs4d.engine import TrainingStopped
from rs4d.engine.distributed import leave
from rs4d.engine.precision import choose_dtype
from rs4d.engine.preflight import check_training, check_work_dir, choose_resume
from rs4d.engine.terminal import summarise
from rs4d.errors import ConfigError, Problems
from rs4d.models.part_checks import check_parts


def train(
    cfg: Config,
    *,
    amp: str | None = None,
    accumulate: int | None = None,
    compile: bool = False,
    auto_scale_lr: bool = False,
    resume: str | None = None,
    overwrite: bool = False,
) -> None:
    """Distil an encoder (stage 1) or fine-tune a detector (stage 2), as the config says.

    Args:
        cfg: The config, with ``work_dir``; changed in place.
        amp: Mixed precision, ``'bf16'``, ``'fp16'`` or ``'auto'``; None leaves it to the config's
            ``dtype``.
        accumulate: Batches for an update, see `accumulate_gradients`.
        compile: Whether the encoder is compiled; the config's ``compile`` may say how.
        auto_scale_lr: Whether the learning rate is scaled by the total batch size.
        resume: A checkpoint to go on from, ``'auto'`` for the newest in the work dir, or None.
        overwrite: Whether checkpoints in the work dir may be overwritten.

    Raises:
        UserError: Something does not fit: an option, a checkpoint, the data.
        TrainingStopped: Ctrl-C or SIGTERM ended it; what was done is saved.
    """
    choose_dtype(cfg, amp, training=True)
    if accumulate is not None:
        accumulate_gradients(cfg, accumulate)
    if compile:
        cfg.compile = cfg.get('compile') or True
    if auto_scale_lr:
        scale_learning_rate(cfg)
    choose_resume(cfg, resume)
    check_work_dir(cfg, overwrite)
    cfg.runner_type = cfg.get('runner_type', 'AtomicRunner')
    runner = RUNNERS.build(cfg)
    problems = Problems()
    with problems.noted():
        check_parts(runner.model)
    with problems.noted():
        check_training(runner)
    problems.raise_all()
    runner.logger.info(summarise(runner))
    try:
        runner.train()
    except TrainingStopped:
        # All ranks are here.
        leave()
        raise
    leave()


def scale_learning_rate(cfg: Config) -> None:
    """Switch MMEngine's scaling of the learning rate on."""
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise ConfigError(
            f"--auto-scale-lr: the config '{cfg.filename}' does not say for which batch size its "
            'learning rate is meant. Add auto_scale_lr=dict(base_batch_size=...) to it.'
        )
    cfg.auto_scale_lr.enable = True


def accumulate_gradients(cfg: Config, steps: int) -> None:
    """Let the optimizer wrapper update the parameters from several batches at once.

    Args:
        cfg: Changed in place.
        steps: Batches for an update.

    Raises:
        ConfigError: The number is below 1, or the config has no optimizer wrapper.
    """
    wrapper: ConfigDict | None = cfg.get('optim_wrapper')
    if wrapper is None or steps < 1:
        problem = f'{steps} is below 1' if steps < 1 else "the config has no 'optim_wrapper'"
        raise ConfigError(f'--accumulate: {problem}. Give the number of batches for an update.')
    wrapper.accumulative_counts = steps
