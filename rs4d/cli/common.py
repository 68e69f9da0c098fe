"""Options that several sub-commands share."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config

_PRECISIONS = ('auto', 'bf16', 'fp16')


class OptionsAction(argparse.Action):
    """Collects ``key=value``; what is not of this form is an error of usage."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add the words to those that were given before."""
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
    add_config_options(parser)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that change a config."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='change settings of the config: train_cfg.max_epochs=12 model.backbone.arch=large; '
        'lists as key="[a,b]"',
    )


def add_data_arguments(parser: argparse.ArgumentParser, train: bool = True) -> None:
    """Add what names a COCO set in place of the config's, with files to ``train`` on or without."""
    group = parser.add_argument_group(
        "a COCO set of your own in place of the config's, with the classes that its files have"
    )
    add = group.add_argument
    add('--data', metavar='DIR', help='folder that the other paths may start from')
    if train:
        add('--train', metavar='FILE', help='annotations to train on (default: DIR/train.json)')
    add('--val', metavar='FILE', help='annotations to score on (default: DIR/val.json)')
    add(
        '--images',
        metavar='DIR',
        help="folder of the images (default: found near the annotations')",
    )
    if train:
        add('--val-images', metavar='DIR', help='that of the images of --val, if it is another')
        add('--classes', nargs='+', metavar='NAME', help='use these classes alone, in this order')


def data_words(args: argparse.Namespace) -> list[str]:
    """Return the words of a command line that `add_data_arguments` read, to be said again."""
    words: list[str] = []
    for name in ('data', 'train', 'val', 'images', 'val_images', 'classes'):
        value = getattr(args, name, None)
        if value is not None:
            words += [
                f'--{name.replace("_", "-")}',
                *([value] if isinstance(value, str) else value),
            ]
    return words


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


def own_config(
    words: Sequence[str],
    command: str,
    *add: Callable[[argparse.ArgumentParser], None],
) -> list[str]:
    """Put ``-`` in the place of the config before a published model, which holds its own.

    Args:
        words: Of the command line, behind the sub-command.
        command: Its name, for messages.
        add: Functions that add the options of the sub-command to a parser.
    """
    if '-h' in words or '--help' in words:
        return list(words)
    parser = argparse.ArgumentParser(command, add_help=False)
    for add_some in add:
        add_some(parser)
    positional = parser.parse_known_args(complete(words))[1]
    if positional and positional[0].endswith('.safetensors'):
        place = words.index(positional[0])
        return [*words[:place], '-', *words[place:]]
    return list(words)


def add_window_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how a scene is cut into windows, and how sure its objects are."""
    add = parser.add_argument
    add('--score-thr', type=float, default=0.3, help='least score, default: %(default)s')
    add('--size', type=int, help="side of a window in pixels (default: the config's image size)")
    add(
        '--overlap',
        '--halo',
        type=int,
        help='pixels that neighbouring windows share: the size of the largest object or more '
        '(default: a quarter of --size)',
    )


def window_sizes(args: argparse.Namespace, side: int) -> tuple[int, int]:
    """Return the side of a window, and what neighbouring ones share.

    Args:
        args: What `add_window_arguments` added.
        side: The model's own image size.
    """
    size = args.size or side
    return size, size // 4 if args.overlap is None else args.overlap


def parsed_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what ``--cfg-options`` sets, from dotted keys to values."""
    from mmengine.config import DictAction

    pairs = (option.split('=', 1) for option in args.cfg_options or [])
    return {key: DictAction._parse_iterable(value) for key, value in pairs}


def quiet_mmengine() -> None:
    """Let MMEngine say what is wrong only: without a log file it prints a paragraph on each part."""
    from mmengine.logging import MMLogger

    # To ask for it again with a level would be warned of.
    if not MMLogger.check_instance_created('rs4d'):
        MMLogger.get_instance('rs4d', log_level='WARNING')


def read_config(args: argparse.Namespace, checkpoint: str | None = None) -> 'Config':
    """Read the config that `add_config_arguments` and `add_data_arguments` asked for.

    Args:
        args: The arguments.
        checkpoint: A trained model, whose classes a data set has that leaves them to its file.
    """
    from rs4d.checkpoints import trained_classes
    from rs4d.config import load_config
    from rs4d.datasets.own_data import OwnData

    options = parsed_options(args)
    if hasattr(args, 'data'):
        splits = ('train', 'val') if hasattr(args, 'train') else ('val',)
        said = {name: getattr(args, name, None) for name in OwnData.__dataclass_fields__}
        options = OwnData(**said).options(splits) | options
    classes: tuple[str, ...] = ()
    if checkpoint is not None and Path(checkpoint).expanduser().is_file():
        classes = trained_classes(checkpoint)
    return load_config(args.config, options, classes)


def read_run_config(args: argparse.Namespace, checkpoint: str | None = None) -> 'Config':
    """Read the config of a training, or of a test of a checkpoint; sets ``work_dir`` and ``launcher``.

    Raises:
        ConfigError: The launcher that is named did not start this process.
        ConfigError: See `load_config`.
    """
    from rs4d.engine.distributed import require_launcher

    require_launcher(args.launcher, args.local_rank)
    cfg = read_config(args, checkpoint)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg
