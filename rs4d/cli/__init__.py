"""The command line: one module a sub-command, and nothing heavy imported before it runs.

A module has a docstring, which is its help; ``add_arguments``; ``run``, which imports what it needs,
does the work and returns an exit code or None for 0; ``interrupted`` where there is something to say
after Ctrl-C; and ``complete`` where its words may be written in more than one way.
``tools/rs4d_command.py`` starts all of them.
"""

import argparse
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches

from .common import complete

COMMANDS = (
    'train',
    'test',
    'predict',
    'push',
    'pull',
    'check',
    'configs',
    'results',
    'convert',
    'export',
    'cache-teacher',
    'generate-scenes',
    'stats',
    'tile',
    'vectorize',
    'split',
    'draw',
    'report',
    'plot-log',
    'flops',
    'benchmark',
    'gpu-check',
    'study',
)
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line; wrong usage and ``--help`` end the process, as usual.

    Returns:
        The arguments, with the sub-command's module as ``command``.
    """
    parser = argparse.ArgumentParser(
        'rs4d', description='SAM distilled into a linear-time encoder for remote sensing.'
    )
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    for name in COMMANDS:
        module = importlib.import_module(f'{__name__}.{name.replace("-", "_")}')
        assert module.__doc__ is not None
        own = commands.add_parser(
            name,
            help=module.__doc__.split('\n')[0],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(own)
        own.set_defaults(command=module)
        if words[:1] == [name] and hasattr(module, 'complete'):
            words = [name, *module.complete(list(words[1:]))]
    if words and not words[0].startswith('-') and words[0] not in COMMANDS:
        parser.error(
            f"there is no command '{words[0]}'.{_nearest(words[0], COMMANDS)} See rs4d --help."
        )
    args, unknown = parser.parse_known_args(complete(words) if words else ['--help'])
    if unknown:
        name = words[0]
        known = commands.choices[name]._option_string_actions
        hints = ''.join(_nearest(word.split('=')[0], list(known)) for word in unknown)
        commands.choices[name].error(
            f'unrecognized arguments: {" ".join(unknown)}.{hints} See rs4d {name} --help.'
        )
    return args


def _nearest(word: str, known: Sequence[str]) -> str:
    found = get_close_matches(word, known, n=1) if len(word) > 1 else []
    return f" Did you mean '{found[0]}'?" if found else ''


def run(args: argparse.Namespace) -> int:
    """Run a sub-command, as `parse` returned it, and end it as its user would like.

    Returns:
        The exit code: the sub-command's own; 2 after an error that the user can put right, printed
        as one paragraph on the standard error stream, with ``RS4D_TRACEBACK=1`` below its traceback;
        130 after Ctrl-C and 143 after SIGTERM. A bug is raised, with its traceback.
    """
    name = args.command.__name__.split('.')[-1].replace('_', '-')
    try:
        return args.command.run(args) or 0
    except KeyboardInterrupt as stop:
        return _interrupted(args, name, stop)
    except Exception as error:
        from .errors import explain, interruption

        cause = interruption(error)
        if cause is not None:
            return _interrupted(args, name, cause)
        paragraph = explain(error)
        if paragraph is None:
            raise
        if os.environ.get('RS4D_TRACEBACK', '0') != '0':
            traceback.print_exc()
        _tell(f'{name}: {paragraph}')
        return EXIT_USER_ERROR


def main(*words: object) -> int:
    """Run a sub-command with its arguments within Python, and return the exit code."""
    return run(parse([str(word) for word in words]))


def _interrupted(args: argparse.Namespace, name: str, stop: BaseException) -> int:
    say: str | None = 'Nothing was written.'
    if hasattr(args.command, 'interrupted'):
        say = args.command.interrupted(args)
    if say is not None:
        _tell(f'{name}: interrupted. {say}')
    return EXIT_TERMINATED if getattr(stop, 'signum', None) == signal.SIGTERM else EXIT_INTERRUPTED


def _tell(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f'\n{text}\n')
    sys.stderr.flush()
