"""Run a study: many trainings that answer one question, with a table and curves at the end.

A study is a YAML file: a grid of configs, settings and seeds, each with its budget (docs/studies.md).
What is done is not done again, so that the same command goes on after any stop or kill.
Example: rs4d study rs4d::studies/corruption.yaml --jobs 2
At a tenth of its size: rs4d study rs4d::studies/corruption.yaml --scale 0.1 --jobs 2
"""

import argparse
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .common import OptionsAction, parsed_options

if TYPE_CHECKING:
    from rs4d.analysis.studies import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the study, how much of it is done, and how."""
    add = parser.add_argument
    add('study', metavar='FILE.yaml', help='the study; rs4d::studies/NAME.yaml is one of ours')
    add('--work-dir', help='default: work_dirs/studies/NAME, with the scale if that is not 1')
    add('--jobs', type=int, default=1, help='runs at a time, one thread each; default: %(default)s')
    add('--scale', type=float, default=1.0, help='multiply all budgets; default: %(default)s')
    add('--seeds', type=int, nargs='+', help="of the study's seeds, use these alone")
    add('--only', type=int, nargs='+', metavar='NUMBER', help='do these runs and write no table')
    add('--list', action='store_true', help='show the runs, their numbers and states, and end')
    add('--table', action='store_true', help='write the table of what is done, and end')
    add('--slurm', action='store_true', help='print a script of array jobs for Slurm, and end')
    add('--page', metavar='FILE.md', help='put table and curves into this page as well')
    add(
        '--record',
        metavar='FILE.json',
        type=Path,
        help='keep what is found in this file as well; what it holds is not done again',
    )
    add(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='change settings of all runs',
    )


def run(args: argparse.Namespace) -> None:
    """Do what is left to do."""
    from rs4d.analysis.studies import read_study, run_study, slurm_script
    from rs4d.errors import ConfigError

    if args.jobs < 1:
        raise ConfigError(f'--jobs {args.jobs}: there has to be one at least.')
    study = read_study(args.study, args.scale, parsed_options(args), args.seeds)
    unknown = [number for number in args.only or () if not 0 <= number < len(study.runs)]
    if unknown:
        raise ConfigError(
            f'--only {unknown[0]}: the study has the runs 0 to {len(study.runs) - 1}; --list shows '
            'them.'
        )
    folder = Path(args.work_dir or Path('work_dirs/studies') / _folder_name(study))
    if args.list:
        _list(study, folder, args.record)
    elif args.slurm:
        words = _words(args)
        for option in ('work_dir', 'record'):
            if value := getattr(args, option):
                words += [f'--{option.replace("_", "-")}', str(value)]
        print(slurm_script(study, folder, words, args.record), end='')
    elif args.table:
        _write_table(study, folder, args)
    else:
        earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            run_study(study, folder, args.jobs, args.only, _say, args.record)
        finally:
            signal.signal(signal.SIGTERM, earlier)
            if args.only is None:
                _write_table(study, folder, args)


def interrupted(args: argparse.Namespace) -> str:
    """Say what becomes of what was done."""
    return 'What was done is saved; the same command goes on.'


def _folder_name(study: 'Study') -> str:
    return study.name if study.scale == 1 else f'{study.name}_{study.scale:g}'


def _words(args: argparse.Namespace) -> list[str]:
    """The command line that does the study, wherever it is."""
    words = ['rs4d', 'study', args.study]
    if args.scale != 1:
        words += ['--scale', f'{args.scale:g}']
    if args.seeds:
        words += ['--seeds', *map(str, args.seeds)]
    if args.cfg_options:
        words += ['--cfg-options', *args.cfg_options]
    return words


def _list(study: 'Study', folder: Path, record: Path | None) -> None:
    from rs4d.analysis.studies.record import read_record
    from rs4d.analysis.studies.run_folder import RunFolder

    recorded = read_record(study, record)
    for run in study.runs:
        state: str = RunFolder(folder / run.name).state
        if state != 'done' and run.number in recorded:
            state = 'recorded'
        length = run.command
        if run.cpu_minutes:
            length = f'{run.cpu_minutes:g} CPU minutes'
        elif run.epochs:
            length = f'epochs: {run.epochs}'
        print(f'{run.number:3}  {state:8}  {run.name}  ({length})')


def _write_table(study: 'Study', folder: Path, args: argparse.Namespace) -> None:
    from rs4d.analysis.studies import write_results

    page = Path(args.page) if args.page else None
    text = write_results(study, folder, _words(args), page, args.record)
    if text is None:
        print('No run is done yet that would be a row of the table.')
    else:
        print(f'\n{text}\n\nTable: {folder}/results.md   Curves: {folder}/curves.png')


def _say(text: str) -> None:
    print(f'{time.strftime("%H:%M:%S")}  {text}', flush=True)
