"""What a check has found, and how it is written down."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rs4d.files import write_json, write_text

Outcome = Literal['passed', 'failed', 'measured', 'not run']


@dataclass(frozen=True)
class Finding:
    """A line of the table.

    Attributes:
        check: The check's name.
        subject: What it was tried on.
        outcome: ``'passed'`` and ``'failed'`` of what has a right value, ``'measured'`` of what has
            none, ``'not run'`` of what this machine cannot do.
        text: The figure, the fault, or the reason.
    """

    check: str
    subject: str
    outcome: Outcome
    text: str


def write_findings(
    findings: Sequence[Finding], conditions: dict[str, Any], seconds: float, out: Path
) -> None:
    """Write ``gpu_check.json`` and ``gpu_check.md``."""
    lines = [f'- {key}: {value}' for key, value in conditions.items()]
    lines += [f'- seconds: {seconds:.0f}', '', '| check | of | outcome | |', '|---|---|---|---|']
    lines += [
        f'| {found.check} | {found.subject} | {found.outcome} | {found.text} |'
        for found in findings
    ]
    write_text(out / 'gpu_check.md', '\n'.join(lines) + '\n')
    record = dict(conditions, seconds=round(seconds, 1), findings=[asdict(x) for x in findings])
    write_json(out / 'gpu_check.json', record, indent=2)
