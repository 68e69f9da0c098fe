"""The checks in their order, each of which goes on whatever the others have found."""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.logging import print_log

from rs4d.analysis.benchmark.report import conditions
from rs4d.engine.provenance import commit
from rs4d.engine.provenance import machine as machine_name
from rs4d.errors import ConfigError

from .encoders import measure_encoders
from .engines import check_engines
from .findings import Finding, write_findings
from .trainings import check_trainings, train_on_ssdd


@dataclass(frozen=True)
class Setting:
    """On what the checks run, and how long.

    Attributes:
        device: ``'cuda'`` or ``'cpu'``.
        out: Folder of results, logs and work dirs.
        side: Height and width of the encoders' image in pixels.
        rounds: Turns of each encoder.
        images: Of a training on generated scenes.
        minutes: Of the training on SSDD.
    """

    device: str
    out: Path
    side: int = 1024
    rounds: int = 20
    images: int = 80
    minutes: float = 5


def _engines(setting: Setting) -> Iterator[Finding]:
    return check_engines(torch.device(setting.device))


def _encoders(setting: Setting) -> Iterator[Finding]:
    return measure_encoders(torch.device(setting.device), setting.side, setting.rounds)


def _trainings(setting: Setting) -> Iterator[Finding]:
    processes = torch.cuda.device_count() if setting.device == 'cuda' else 2
    return check_trainings(setting.out, setting.images, min(processes, 2))


def _ssdd(setting: Setting) -> Iterator[Finding]:
    return train_on_ssdd(setting.out, setting.minutes)


CHECKS: dict[str, Callable[[Setting], Iterator[Finding]]] = {
    'engines': _engines,
    'encoders': _encoders,
    'training': _trainings,
    'SSDD': _ssdd,
}


def run_checks(setting: Setting, names: tuple[str, ...] = tuple(CHECKS)) -> list[Finding]:
    """Run checks one after another; the table and ``gpu_check.json`` are written after each.

    Args:
        setting: On what.
        names: Keys of ``CHECKS``.

    Raises:
        ConfigError: PyTorch finds no such device.
    """
    if setting.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError(
            'PyTorch finds no GPU here. Install a build of PyTorch for your driver, or let the same '
            'checks run on the CPU: --device cpu.'
        )
    setting.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    machine = dict(conditions(), device=setting.device, computes_on=machine_name(), commit=commit())
    findings: list[Finding] = []
    for name in names:
        print_log(f'Checking: {name}', logger='current')
        try:
            for found in CHECKS[name](setting):
                print_log(f'{found.subject}: {found.outcome}. {found.text}', logger='current')
                findings.append(found)
        except Exception as error:
            # Whatever a new machine brings: it is a finding, and the other checks go on.
            print_log(traceback.format_exc(), logger='current')
            text = f'{type(error).__name__}: {error}'.splitlines()[0]
            findings.append(Finding(name, 'the check itself', 'failed', text))
        write_findings(findings, machine, time.perf_counter() - start, setting.out)
    return findings
