"""What the command-line tools share: their options, reading the config, and how they end."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict, DictAction

from rs4d.config import load_config
from rs4d.engine.distributed import missing_variables
from rs4d.errors import SetupError

from .errors import explain

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class OptionsAction(DictAction):
    """MMEngine's ``key=value`` options; what is not one is an error of usage, not a traceback."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse the options into a dict.

        Args:
            parser: The parser.
            namespace: Where the dict goes.
            values: The words that followed the option.
            option_string: The option.
        """
        for value in values:
            if '=' not in value:
                parser.error(
                    f"{option_string}: '{value}' is not of the form key=value, such as "
                    'train_cfg.max_epochs=12.'
                )
        super().__call__(parser, namespace, values, option_string)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that training and testing share; they are MMDetection's.

    Args:
        parser: Gets ``--work-dir``, ``--cfg-options``, ``--launcher`` and ``--local_rank``.
    """
    parser.add_argument('--work-dir', help='folder to write to (default: work_dirs/CONFIG_NAME)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='change settings of the config: train_cfg.max_epochs=12 model.backbone.arch=large; '
        'lists as key="[a,b]"',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who starts'
    )
    # torchrun sets the variable, older launchers pass the option.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )


def read_config(args: argparse.Namespace) -> Config:
    """Read the config that a tool was given and apply the options that tools share.

    Args:
        args: Has ``config`` and what `add_common_arguments` adds.

    Returns:
        The config, with ``work_dir`` and ``launcher`` set.

    Raises:
        SetupError: The launcher that is named did not start this process.
        ConfigError: The config, or one that it is based on, is missing or does not read, or an option
            does not fit it.
    """
    _check_launcher(args.launcher)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def _check_launcher(launcher: str) -> None:
    missing = missing_variables(launcher)
    if missing:
        raise SetupError(
            f'--launcher {launcher} is for processes that a launcher has started, which sets '
            f'{", ".join(missing)} in the environment. Start several with tools/dist_train.sh CONFIG '
            'NUMBER or tools/slurm_train.sh, or leave --launcher out: one process uses all cores of '
            'a CPU by threads.'
        )
    local_rank = int(os.environ.get('LOCAL_RANK', 0))
    if launcher == 'pytorch' and 0 < torch.cuda.device_count() <= local_rank:
        raise SetupError(
            f'--launcher {launcher} gives each process a GPU, and process {local_rank} of this '
            f'machine finds only {torch.cuda.device_count()}. Start fewer processes.'
        )


def use_mixed_precision(cfg: Config, precision: str = 'auto') -> None:
    """Let the optimizer wrapper train in mixed precision.

    Args:
        cfg: Changed in place; what its optimizer wrapper says otherwise stays.
        precision: ``'bf16'``, on GPUs that have it and on CPUs; ``'fp16'``, on GPUs, with scaled
            losses; or ``'auto'`` for the first of these that the GPU can.

    Raises:
        SetupError: There is no such GPU, or the config has no optimizer wrapper to change.
    """
    gpu = torch.cuda.is_available()
    # float16 overflows in state space models long before bfloat16 does.
    bf16 = not gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    if not gpu and precision != 'bf16':
        raise SetupError(
            f'--amp{"" if precision == "auto" else f" {precision}"} asks for mixed precision on a '
            'GPU, and PyTorch finds none here. Leave --amp out to train on the CPU in float32, or '
            'take --amp bf16, which CPUs know, too.'
        )
    if precision == 'bf16' and not bf16:
        raise SetupError('--amp bf16: this GPU has no bfloat16. Take --amp fp16.')
    wrapper: ConfigDict | None = cfg.get('optim_wrapper')
    if wrapper is None:
        raise SetupError("--amp: the config has no 'optim_wrapper', so there is nothing to train.")
    kind = wrapper.get('type', 'OptimWrapper')
    if str(kind).split('.')[-1].removeprefix('Skipping') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise SetupError(
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
        SetupError: The number is below 1, or the config has no optimizer wrapper.
    """
    wrapper: ConfigDict | None = cfg.get('optim_wrapper')
    if wrapper is None or steps < 1:
        problem = f'{steps} is below 1' if steps < 1 else "the config has no 'optim_wrapper'"
        raise SetupError(f'--accumulate: {problem}. Give the number of batches for an update.')
    wrapper.accumulative_counts = steps


def keep_earlier(file: str | os.PathLike) -> Path | None:
    """Move a file that would be overwritten aside, to a name with the time of its last change.

    Args:
        file: What is about to be written.

    Returns:
        Where the earlier file is now, or None if there was none.
    """
    path = Path(file)
    if not path.exists():
        return None
    stamp = time.strftime('%Y%m%d_%H%M%S', time.localtime(path.stat().st_mtime))
    aside = path.with_name(f'{path.stem}_{stamp}{path.suffix}')
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f'{path.stem}_{stamp}_{number}{path.suffix}')
    return path.rename(aside)


def run_tool(
    name: str, work: Callable[[], None], interrupted: Callable[[], str | None] | None = None
) -> int:
    """Run a tool and end it as its user would like.

    Args:
        name: The tool's name, which starts a message.
        work: Does the work.
        interrupted: Makes the sentence that is printed after Ctrl-C, or None where another process
            prints it.

    Returns:
        The exit code: 0; 2 after an error that the user can put right, printed as one paragraph on
        the standard error stream; 130 after Ctrl-C and 143 after SIGTERM. A bug is raised, with its
        traceback.
    """
    try:
        work()
    except KeyboardInterrupt as stop:
        say = 'Nothing was written.' if interrupted is None else interrupted()
        if say is not None:
            _tell(f'{name}: interrupted. {say}')
        terminated = getattr(stop, 'signum', None) == signal.SIGTERM
        return EXIT_TERMINATED if terminated else EXIT_INTERRUPTED
    except Exception as error:
        paragraph = explain(error)
        if paragraph is None:
            raise
        _tell(f'{name}: {paragraph}')
        return EXIT_USER_ERROR
    return 0


def _tell(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f'\n{text}\n')
    sys.stderr.flush()


def quote_command(words: Sequence[str]) -> str:
    """Write a command as it can be typed into a shell.

    Args:
        words: The command's words.

    Returns:
        One line.
    """
    return ' '.join(f"'{word}'" if ' ' in word else word for word in words)
