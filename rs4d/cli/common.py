"""Options that several sub-commands share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config

_PRECISIONS = ('auto', 'bf16', 'fp16')


class _OptionsAction(argparse.Action):
    """Collects ``key=value``; what is not of this form is an error of usage."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for value in values:
            if '=' not in value:
                parser.error(
                    f"{option_string}: '{value}' is not of the form key=value, such as "
                    'train_cfg.max_epochs=12.'
                )
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *values])


def add_config_arguments(parser: argparse.ArgumentParser, what: str = 'the config file') -> None:
    """Add a config, of which ``what`` is the help, and the options that change it."""
    parser.add_argument('config', help=f'{what}; rs4d::PATH is one that rs4d brings')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_OptionsAction,
        metavar='KEY=VALUE',
        help='change settings of the config: train_cfg.max_epochs=12 model.backbone.arch=large; '
        'lists as key="[a,b]"',
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that training and testing share; they are MMDetection's."""
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=_PRECISIONS,
        help="compute in mixed precision, in place of the config's dtype: in bf16 (also on CPUs) or "
        'fp16, by default in the first of these that is fast here',
    )
    parser.add_argument('--work-dir', help='folder to write to (default: work_dirs/CONFIG_NAME)')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who starts'
    )
    # torchrun sets the variable, older launchers pass the option.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )


def complete(words: Sequence[str]) -> list[str]:
    """Give ``--amp`` its value where it was left out, so that it does not take the config for one."""
    following = [*words[1:], '']
    return [
        '--amp=auto' if word == '--amp' and after not in _PRECISIONS else word
        for word, after in zip(words, following, strict=True)
    ]


def read_config(args: argparse.Namespace) -> 'Config':
    """Read the config that `add_config_arguments` asked for, with its options, by `load_config`."""
    from mmengine.config import DictAction

    from rs4d.config import load_config

    pairs = (option.split('=', 1) for option in args.cfg_options or [])
    return load_config(
        args.config, {key: DictAction._parse_iterable(value) for key, value in pairs}
    )


def read_run_config(args: argparse.Namespace) -> 'Config':
    """Read the config of a training or a test, with ``work_dir`` and ``launcher`` set.

    Raises:
        ConfigError: The launcher that is named did not start this process.
        ConfigError: See `load_config`.
    """
    from rs4d.engine.distributed import require_launcher

    require_launcher(args.launcher, args.local_rank)
    cfg = read_config(args)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg
