"""Training a config, with everything that can be checked checked before."""

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import RUNNERS

from rs4d.engine import TrainingStopped
from rs4d.engine.distributed import leave
from rs4d.engine.preflight import check_training, check_work_dir, choose_resume
from rs4d.engine.terminal import summarise
from rs4d.errors import ConfigError
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
        amp: Mixed precision, see `use_mixed_precision`; None leaves it to the config.
        accumulate: Batches for an update, see `accumulate_gradients`.
        compile: Whether the encoder is compiled; the config's ``compile`` may say how.
        auto_scale_lr: Whether the learning rate is scaled by the total batch size.
        resume: A checkpoint to go on from, ``'auto'`` for the newest in the work dir, or None.
        overwrite: Whether checkpoints in the work dir may be overwritten.

    Raises:
        UserError: Something does not fit: an option, a checkpoint, the data.
        TrainingStopped: Ctrl-C or SIGTERM ended it; what was done is saved.
    """
    if amp:
        use_mixed_precision(cfg, amp)
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
    check_parts(runner.model)
    check_training(runner)
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


def use_mixed_precision(cfg: Config, precision: str = 'auto') -> None:
    """Let the optimizer wrapper train in mixed precision.

    Args:
        cfg: Changed in place; what its optimizer wrapper says otherwise stays.
        precision: ``'bf16'``, on GPUs that have it and on CPUs; ``'fp16'``, on GPUs, with scaled
            losses; or ``'auto'`` for the first of these that the GPU can.

    Raises:
        ConfigError: There is no such GPU, or the config has no optimizer wrapper to change.
    """
    gpu = torch.cuda.is_available()
    # float16 overflows in state space models long before bfloat16 does.
    bf16 = not gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    if not gpu and precision != 'bf16':
        raise ConfigError(
            f'--amp{"" if precision == "auto" else f" {precision}"} asks for mixed precision on a '
            'GPU, and PyTorch finds none here. Leave --amp out to train on the CPU in float32, or '
            'take --amp bf16, which CPUs know, too.'
        )
    if precision == 'bf16' and not bf16:
        raise ConfigError('--amp bf16: this GPU has no bfloat16. Take --amp fp16.')
    wrapper: ConfigDict | None = cfg.get('optim_wrapper')
    if wrapper is None:
        raise ConfigError("--amp: the config has no 'optim_wrapper', so there is nothing to train.")
    kind = wrapper.get('type', 'OptimWrapper')
    if str(kind).split('.')[-1].removeprefix('Skipping') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(
            f'--amp does not know what mixed precision is for optim_wrapper.type={kind!r}. Set it up '
            'in the config and leave --amp out.'
        )
    if precision == 'fp16' or not bf16:
        wrapper.pop('autocast', None)
        wrapper.update(type='SkippingAmpOptimWrapper', dtype='float16')
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        # bfloat16 has the exponents of float32: nothing to scale.
        for key in ('loss_scale', 'dtype'):
            wrapper.pop(key, None)
        wrapper.update(type='SkippingOptimWrapper', autocast='bfloat16')


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
