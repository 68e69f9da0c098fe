"""What a study consists of: its runs, in order, and what each of them follows."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .settings import merged, nested, places, scaled, scaled_number
from .study_file import StudyError, read_yaml, take

_STUDY = ('title', 'about', 'seeds', 'settings', 'steps', 'figures', 'curves')
_CHOICE = ('config', 'seeds', 'epochs', 'cpu_minutes', 'includes', 'settings', 'scaled')
_STEP = ('command', *_CHOICE, 'validations', 'grid')
_COMMANDS = ('train', 'cache-teacher')


@dataclass(frozen=True)
class Run:
    """One command of a study.

    Attributes:
        number: Its place in the study, from 0; what it follows comes before it.
        step: The name of its step.
        command: ``'train'`` or ``'cache-teacher'``.
        config: The config that its own one inherits.
        settings: What its own one changes, nested; ``<...>`` for folders.
        labels: Its choice on each axis, its own and those of the runs that it follows.
        seed: Of weights and sampling.
        epochs: Its length, scaled already; None where the time decides.
        cpu_minutes: Its length in minutes of one core, scaled already; None where epochs decide.
        includes: The step whose minutes are taken off ``cpu_minutes``.
        validations: How many there are, the last at the end.
        after: The runs that it follows, by their steps.
    """

    number: int
    step: str
    command: str
    config: str
    settings: Mapping[str, Any]
    labels: Mapping[str, str]
    seed: int
    epochs: int | None = None
    cpu_minutes: float | None = None
    includes: str | None = None
    validations: int = 1
    after: 'Mapping[str, Run]' = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its folder within the study's."""
        words = [*map(file_name, self.labels.values()), f'seed{self.seed}']
        return f'{file_name(self.step)}/{"_".join(words)}'

    @property
    def fingerprint(self) -> str:
        """Tells it from one of the same name with other settings or another length."""
        length = (self.epochs, self.cpu_minutes, self.includes, self.validations)
        parents = {step: run.fingerprint for step, run in self.after.items()}
        own = [self.command, self.config, self.settings, self.seed, length, parents]
        text = json.dumps(own, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def chain(self) -> 'Iterator[Run]':
        """Itself, and all that it follows, the nearest first."""
        waiting, seen = [self], set()
        while waiting:
            run = waiting.pop(0)
            if run.number not in seen:
                seen.add(run.number)
                yield run
                waiting.extend(run.after.values())


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    Attributes:
        name: The file's, without its ending.
        file: As it was given.
        title: A few words.
        about: A paragraph, or nothing.
        scale: By which budgets are multiplied.
        runs: In an order in which they can run.
        figures: Validations' figures in the table, and how they are headed.
        curves: Those that are drawn.
    """

    name: str
    file: str
    title: str
    about: str
    scale: float
    runs: Sequence[Run]
    figures: Mapping[str, str]
    curves: Sequence[str]

    def ends(self) -> list[Run]:
        """The trainings that no other run follows: the rows of the table."""
        followed = {parent.number for run in self.runs for parent in run.after.values()}
        return [run for run in self.runs if run.number not in followed and run.command == 'train']


def file_name(words: str) -> str:
    """Words as a file may be called."""
    return re.sub(r'[^\w.-]+', '-', words).strip('-')


def read_study(
    path: str,
    scale: float = 1.0,
    options: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> Study:
    """Read a study's file and lay out its runs.

    Args:
        path: The file, or ``rs4d::studies/NAME.yaml``.
        scale: Budgets, and the settings that are to follow them, are multiplied by it.
        options: Dotted settings that stand above those of all runs.
        seeds: Those of its seeds that are used; all of them by default.

    Raises:
        StudyError: The file is not what it should be; the message says where.
    """
    if not scale > 0:
        raise StudyError(f'The scale is {scale}; it has to be above 0.')
    content = take(read_yaml(path), 'The study', _STUDY, ('title', 'steps', 'figures'))
    figures = take(content['figures'], 'figures', content['figures'] or ())
    own = _seeds(content.get('seeds', [0]), 'The study')
    chosen = [seed for seed in own if seeds is None or seed in seeds]
    if not chosen:
        raise StudyError(f'The study has the seeds {own}, and none of those that are asked for.')
    planner = _Planner(scale, nested(content.get('settings') or {}), nested(options or {}), chosen)
    steps = take(content['steps'], 'steps', content['steps'] or ())
    if not steps:
        raise StudyError("The study's 'steps' are empty. Add one with a config.")
    for name, step in steps.items():
        planner.add_step(str(name), step)
    names = [run.name for run in planner.runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise StudyError(
            f"Two runs of the study would share the folder '{twice}'. Rename a choice."
        )
    return Study(
        name=Path(path.split('::')[-1]).stem,
        file=path,
        title=str(content['title']),
        about=' '.join(str(content.get('about') or '').split()),
        scale=scale,
        runs=planner.runs,
        figures={str(key): str(value) for key, value in figures.items()},
        curves=[str(key) for key in content.get('curves') or []],
    )


class _Planner:
    """Lays out the runs, step by step."""

    def __init__(
        self,
        scale: float,
        settings: dict[str, Any],
        options: dict[str, Any],
        seeds: list[int],
    ) -> None:
        self.scale, self.settings, self.options, self.seeds = scale, settings, options, seeds
        self.runs: list[Run] = []
        self._shared: dict[str, list[int]] = {}  # the seeds of whole steps

    def add_step(self, name: str, part: object) -> None:
        """Add the runs of a step, one for each combination of choices and each seed."""
        place = f"The step '{name}'"
        if name in ('run', 'study') or name in self._shared:
            raise StudyError(f'{place} needs another name.')
        step = take(part, place, _STEP)
        command = step.get('command', 'train')
        if command not in _COMMANDS:
            raise StudyError(
                f'{place} has the command {command!r}; choose of {", ".join(_COMMANDS)}.'
            )
        own = step.get('seeds', self.seeds if command == 'train' else self.seeds[:1])
        self._shared[name] = _seeds(own, place)
        axes = take(step.get('grid') or {}, f'{place}: grid', step.get('grid') or ())
        before = len(self.runs)
        for combination in itertools.product(*(_choices(place, *axis) for axis in axes.items())):
            labels = {axis: label for axis, label, _ in combination}
            where = f'{place}, {", ".join(labels.values())}' if labels else place
            choice = self._combined(step, [choice for _, _, choice in combination], where)
            for seed in self._shared[name]:
                if choice['seeds'] is None or seed in choice['seeds']:
                    self._add_runs(name, command, labels, choice, seed, where)
        if len(self.runs) == before:
            raise StudyError(
                f'{place} has no run: no seed is left of it, or the runs that it names by <...> have '
                'other seeds or choices.'
            )

    def _combined(
        self, step: Mapping[str, Any], choices: Sequence[Mapping[str, Any]], where: str
    ) -> dict[str, Any]:
        """A step's settings with those of its choices above."""
        result: dict[str, Any] = dict(seeds=None, settings=self.settings, scaled={})
        for layer in (step, *choices):
            if {'epochs', 'cpu_minutes'} & layer.keys():
                result |= dict(epochs=None, cpu_minutes=None)
            for key in ('config', 'epochs', 'cpu_minutes', 'includes'):
                if key in layer:
                    result[key] = layer[key]
            for key in ('settings', 'scaled'):
                result[key] = merged(result[key], nested(layer.get(key) or {}))
            if 'seeds' in layer and layer is not step:
                seeds = _seeds(layer['seeds'], where)
                earlier = result['seeds']
                result['seeds'] = (
                    seeds if earlier is None else [seed for seed in earlier if seed in seeds]
                )
        if not isinstance(result.get('config'), str):
            raise StudyError(f'{where} has no config. Name one.')
        if step.get('command', 'train') == 'train':
            _require_budget(result, where)
        result['validations'] = step.get('validations', 1)
        return result

    def _add_runs(
        self,
        step: str,
        command: str,
        labels: Mapping[str, str],
        choice: Mapping[str, Any],
        seed: int,
        where: str,
    ) -> None:
        settings = merged(choice['settings'], scaled(choice['scaled'], self.scale))
        settings = merged(settings, self.options)
        named = dict.fromkeys(places(settings))
        unknown = [name for name in named if name not in ('run', 'study', *self._shared)]
        if unknown or step in named:
            raise StudyError(
                f'{where} names <{(unknown or [step])[0]}>, which is no earlier step of the study. '
                'Name an earlier one, or <run> or <study> for the folders of the run and of all.'
            )
        if choice.get('includes') and choice['includes'] not in named:
            raise StudyError(
                f"{where} includes the minutes of '{choice['includes']}', which it does not follow: "
                f'none of its settings has <{choice["includes"]}> in it.'
            )
        minutes = choice.get('cpu_minutes')
        for parents, joined in self._parents(
            [name for name in named if name in self._shared], seed, labels
        ):
            self.runs.append(
                Run(
                    number=len(self.runs),
                    step=step,
                    command=command,
                    config=choice['config'],
                    settings=settings,
                    labels=joined,
                    seed=seed,
                    epochs=choice.get('epochs') and scaled_number(choice['epochs'], self.scale),
                    cpu_minutes=minutes and minutes * self.scale,
                    includes=choice.get('includes'),
                    validations=choice['validations'],
                    after=parents,
                )
            )

    def _parents(
        self, steps: Sequence[str], seed: int, labels: Mapping[str, str]
    ) -> Iterator[tuple[dict[str, Run], dict[str, str]]]:
        """All ways in which a run can follow one run of each step, with the labels that result."""
        for runs in itertools.product(*(self._candidates(step, seed) for step in steps)):
            joined: dict[str, str] = {}
            for some in (*(run.labels for run in runs), labels):
                if any(joined.get(axis, label) != label for axis, label in some.items()):
                    break
                joined |= some
            else:
                yield dict(zip(steps, runs, strict=True)), joined

    def _candidates(self, step: str, seed: int) -> list[Run]:
        """A step's runs of a seed; those of its first one where the step as a whole lacks it."""
        own = self._shared[step]
        wanted = seed if seed in own else own[0]
        return [run for run in self.runs if run.step == step and run.seed == wanted]


def _choices(place: str, axis: object, part: object) -> list[tuple[str, str, dict[str, Any]]]:
    where = f"{place}: grid's '{axis}'"
    choices = take(part, where, part if isinstance(part, Mapping) else ())
    return [
        (str(axis), str(label), take(choice or {}, f"{where}, '{label}'", _CHOICE))
        for label, choice in choices.items()
    ]


def _seeds(part: object, place: str) -> list[int]:
    if not isinstance(part, list) or not part or not all(type(seed) is int for seed in part):
        raise StudyError(
            f'{place}: seeds are {part!r}; give a list of whole numbers, such as [0, 1].'
        )
    return list(dict.fromkeys(part))


def _require_budget(choice: Mapping[str, Any], where: str) -> None:
    epochs, minutes = choice.get('epochs'), choice.get('cpu_minutes')
    if (epochs is None) == (minutes is None):
        raise StudyError(f'{where} needs a budget: either epochs or cpu_minutes.')
    given: Any = minutes if epochs is None else epochs
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or given <= 0 or (epochs is not None and epochs % 1):
        raise StudyError(
            f'{where} has the budget {given!r}; epochs are a whole number and minutes a number, both '
            'above 0.'
        )
