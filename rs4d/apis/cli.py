"""What the command-line tools share: their options, reading the config, and how they end."""

import argparse
import difflib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict, DictAction

from .errors import SetupError, explain

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


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
        SetupError: The config, or one that it is based on, is missing or does not read, an option
            does not fit it, or a launcher is asked for without a GPU.
    """
    if args.launcher != 'none' and not torch.cuda.is_available():
        raise SetupError(
            f'--launcher {args.launcher} starts one process for each GPU, and PyTorch finds no GPU '
            'here. Leave the launcher out: on a CPU one process uses all cores by threads.'
        )
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def load_config(path: str | os.PathLike, options: dict[str, Any] | None = None) -> Config:
    """Read a config and change some of its settings.

    Args:
        path: The file.
        options: From dotted keys to values, as ``--cfg-options`` gives them.

    Returns:
        The config.

    Raises:
        SetupError: It is missing, does not read, or an option does not fit it.
    """
    file = Path(path)
    if not file.is_file():
        raise SetupError(f"The config '{file}' does not exist.{_similar(file)}")
    try:
        cfg = Config.fromfile(file)
    except FileNotFoundError as error:
        raise SetupError(
            f"The config '{file}' cannot be read because a file that it names in _base_ is "
            f'missing: {error}. Paths in _base_ are relative to the file that has them.'
        ) from error
    except SyntaxError as error:
        raise SetupError(
            f"The config '{file}', or one in its _base_, is not valid Python: {error}. Correct it "
            'there.'
        ) from error
    for key, value in (options or {}).items():
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise SetupError(
                f"The option {key}={value} does not fit the config '{file}': {error}. Look up the "
                'key there and in its _base_ files; items of lists are numbered from 0, as in '
                'param_scheduler.1.end=12.'
            ) from error
    return cfg


def _similar(file: Path) -> str:
    known = {
        path.as_posix() for path in Path('configs').rglob('*.py') if '_base_' not in path.parts
    }
    if file.parent.is_dir():
        known |= {path.as_posix() for path in file.parent.glob('*.py')}
    by_name = {Path(path).name: path for path in sorted(known)}
    close = difflib.get_close_matches(file.as_posix(), sorted(known), n=3, cutoff=0.7)
    close += [by_name[name] for name in difflib.get_close_matches(file.name, sorted(by_name), n=3)]
    if close:
        return f' Did you mean {" or ".join(dict.fromkeys(close))}?'
    return f" Give the path of a config, from the working directory '{Path.cwd()}'."


def use_mixed_precision(cfg: Config) -> None:
    """Let the optimizer wrapper train in mixed precision, in bfloat16 where the GPU has it.

    Args:
        cfg: Changed in place.

    Raises:
        SetupError: There is no GPU, or the config has no optimizer wrapper.
    """
    if not torch.cuda.is_available():
        raise SetupError(
            '--amp asks for mixed precision, for which MMEngine needs a GPU, and PyTorch finds '
            'none here. Leave --amp out to train on the CPU in float32.'
        )
    wrapper: ConfigDict | None = cfg.get('optim_wrapper')
    if wrapper is None:
        raise SetupError("--amp: the config has no 'optim_wrapper', so there is nothing to train.")
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')
    # float16 overflows in state space models long before bfloat16 does.
    if torch.cuda.is_bf16_supported():
        wrapper.setdefault('dtype', 'bfloat16')


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
    name: str, work: Callable[[], None], interrupted: Callable[[], str] | None = None
) -> int:
    """Run a tool and end it as its user would like.

    Args:
        name: The tool's name, which starts a message.
        work: Does the work.
        interrupted: Makes the sentence that is printed after Ctrl-C.

    Returns:
        The exit code: 0; 2 after an error that the user can put right, printed as one paragraph on
        the standard error stream; 130 after Ctrl-C. A bug is raised, with its traceback.
    """
    try:
        work()
    except KeyboardInterrupt:
        say = 'Nothing was written.' if interrupted is None else interrupted()
        _tell(f'{name}: interrupted. {say}')
        return EXIT_INTERRUPTED
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
