"""What the checks of data sets find: all of it, counted, with examples, as text or JSON."""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ERROR = 'error'
WARNING = 'warning'
_MAX_EXAMPLES = 5


@dataclass
class Finding:
    """One kind of fault in one data set, or between two.

    Attributes:
        severity: ``'error'`` makes AP 0 or -1, or stops the run; ``'warning'`` does not.
        check: A short name, such as ``'boxes outside'``.
        subset: The data set in the config: ``'train'``, ``'val, test'`` or ``'train / val'``.
        count: How often it was found.
        meaning: What it does, and what to do, as sentences.
        examples: The first few.
    """

    severity: str
    check: str
    subset: str
    count: int
    meaning: str
    examples: list[str] = field(default_factory=list)

    @property
    def fatal(self) -> bool:
        """Whether a training should not start."""
        return self.severity == ERROR

    def sentence(self) -> str:
        """The finding as running text."""
        shown = f' ({_listed(self.examples, self.count)})' if self.examples else ''
        return f'{self.check}: {self.count}{shown}. {self.meaning}'


class Findings:
    """Collects findings of one data set by kind.

    Args:
        subset: The data set in the config.
        kinds: From a check's name to its severity and its meaning.
    """

    def __init__(self, subset: str, kinds: Mapping[str, tuple[str, str]]) -> None:
        self._subset = subset
        self._kinds = kinds
        self._found: dict[str, Finding] = {}

    def add(self, check: str, example: str = '') -> None:
        """Count one case of a kind, and say where it is."""
        finding = self._found.get(check)
        if finding is None:
            severity, meaning = self._kinds[check]
            finding = Finding(severity, check, self._subset, 0, meaning)
            self._found[check] = finding
        finding.count += 1
        if example and len(finding.examples) < _MAX_EXAMPLES:
            finding.examples.append(example)

    def add_all(self, check: str, cases: Iterable[Any], describe: Callable[[Any], str]) -> None:
        """Count many cases of a kind; ``describe`` says of one where it is."""
        for number, case in enumerate(cases):
            self.add(check, describe(case) if number < _MAX_EXAMPLES else '')

    def all(self) -> list[Finding]:
        """Return all findings, in the order in which their first case was met."""
        return list(self._found.values())


@dataclass
class Subset:
    """What a checked data set holds.

    Attributes:
        name: Where the config has it: ``'train'``, ``'val, test'``.
        type: Its class.
        source: Its annotation file, or its folders.
        images: How many images it has.
        instances: How many instances of the config's classes, None without labels.
        without_instances: How many images have none, None without labels.
        classes: The config's classes.
    """

    name: str
    type: str
    source: str
    images: int = 0
    instances: int | None = None
    without_instances: int | None = None
    classes: list[str] = field(default_factory=list)


@dataclass
class DatasetReport:
    """Everything that was found in a config's data sets."""

    subsets: list[Subset] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def num_errors(self) -> int:
        """How many kinds of fault would ruin or stop a run."""
        return sum(finding.fatal for finding in self.findings)

    @property
    def num_warnings(self) -> int:
        """How many kinds of fault a run survives."""
        return len(self.findings) - self.num_errors

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return dict(
            subsets=[asdict(subset) for subset in self.subsets],
            findings=[asdict(finding) for finding in self.findings],
            errors=self.num_errors,
            warnings=self.num_warnings,
        )

    def __str__(self) -> str:
        rows = [['data set', 'type', 'images', 'instances', 'without', 'classes', 'source']]
        for s in self.subsets:
            counts = ['-' if n is None else str(n) for n in (s.instances, s.without_instances)]
            classes = str(len(s.classes)) if s.classes else '-'
            rows.append([s.name, s.type, str(s.images), *counts, classes, s.source])
        lines = _table(rows)
        if self.findings:
            order = sorted(self.findings, key=lambda finding: not finding.fatal)
            found = [['severity', 'check', 'data set', 'count', 'examples']]
            found += [
                [f.severity, f.check, f.subset, str(f.count), _listed(f.examples, f.count)]
                for f in order
            ]
            lines += ['', *_table(found), '']
            meanings = {f.check: f.meaning for f in order}
            for check, meaning in meanings.items():
                lines += textwrap.wrap(f'{check}: {meaning}', 100, subsequent_indent='    ')
        total = f'{self.num_errors} kinds of error, {self.num_warnings} of warning.'
        return '\n'.join([*lines, '', total if self.findings else 'Nothing was found.'])


def _listed(examples: Sequence[str], count: int) -> str:
    return ', '.join(examples[:3]) + (', ...' if count > 3 and examples else '')


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ['  '.join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return [lines[0], '-' * min(max(map(len, lines)), 100), *lines[1:]]
