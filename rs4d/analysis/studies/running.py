"""Running a study: so many runs at a time, each a process of rs4d's own commands with one thread."""

import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from typing import Any

import torch

from rs4d.engine.hooks.cpu_clock_hook import CLOCK, TRIAL
from rs4d.engine.provenance import commit, machine, processor_name, versions
from rs4d.files import FileWriteError, write_text
from rs4d.visualization import last_validation, read_run

from ..processes import COMMAND, last_line, plain_environment
from .plan import Run, Study
from .record import left_to_do
from .run_folder import RunFolder
from .settings import config_text, filled, merged
from .study_file import StudyError

# How often processes are looked after.
_INTERVAL_S = 0.2
_TRIAL_STEPS = 10
# More than any trial takes.
_TRIAL_EPOCHS = 10_000
_TERMINATED = 143

# A sub-command with its words, and the exit codes with which it may end.
_Command = tuple[list[str], tuple[int, ...]]


def run_study(
    study: Study,
    folder: Path,
    jobs: int = 1,
    only: Sequence[int] | None = None,
    say: Callable[[str], None] = lambda text: None,
    record: Path | None = None,
) -> None:
    """Do what is left to do of a study, and wait for what other processes do of it.

    What follows a run that is done is begun before other runs, so that there is a row of the table as
    soon as can be.

    Args:
        study: The study.
        folder: Its work dir.
        jobs: How many runs there are at a time.
        only: Numbers of runs that are done, whether recorded or not; all by default.
        say: Is told what begins and ends.
        record: A file of what has been done elsewhere, which is not done again.

    Raises:
        StudyError: Runs have failed, after all others have been done; or one of ``only`` follows one
            that is not done; or the record is of other settings.
    """
    left = left_to_do(study, folder, record)
    wanted = left if only is None else [run for run in study.runs if run.number in only]
    _StudyRunner(study, folder, wanted, say).run(jobs)


class _StudyRunner:
    """Looks after the processes of a study."""

    def __init__(
        self, study: Study, folder: Path, wanted: Sequence[Run], say: Callable[[str], None]
    ) -> None:
        self.study, self.folder, self.wanted, self.say = study, folder, wanted, say
        self._processes: list[Popen] = []
        self._origin = _origin()

    def run(self, jobs: int) -> None:
        """Do what is wanted, so many runs at a time."""
        waiting = sorted(self.wanted, key=lambda run: -len(list(run.chain())))
        active: dict[int, tuple[Run, Iterator[None]]] = {}
        failed: dict[str, str] = {}
        try:
            while waiting or active:
                free = jobs - len(active)
                ready = [run for run in waiting if self._is_ready(run)]
                for run in ready[: max(0, free)]:
                    waiting.remove(run)
                    active[run.number] = run, self._work(run)
                if not active:
                    break
                for run, work in list(active.values()):
                    try:
                        next(work)
                        continue
                    except StopIteration:
                        pass
                    except StudyError as error:
                        failed[run.name] = str(error)
                        self.say(f'{run.name} failed: {error}')
                    del active[run.number]
                if active:
                    time.sleep(_INTERVAL_S)
        finally:
            self._end_processes()
        self._require_all(failed, waiting)

    def _require_all(self, failed: Mapping[str, str], waiting: Sequence[Run]) -> None:
        left = f' {len(waiting)} runs follow them and were left out.' if waiting else ''
        if failed:
            raise StudyError(
                f'{len(failed)} of {len(self.wanted)} runs failed: {", ".join(failed)}.{left} The '
                f'same command tries them again. The first: {next(iter(failed.values()))}'
            )
        if waiting:
            missing = next(p for p in waiting[0].after.values() if not self._result(p))
            raise StudyError(
                f"The run {waiting[0].name} follows '{missing.name}', which is not done. Do that first."
            )

    def _is_ready(self, run: Run) -> bool:
        return all(self._result(parent) for parent in run.after.values())

    def _folder(self, run: Run) -> RunFolder:
        return RunFolder(self.folder / run.name)

    def _result(self, run: Run) -> dict[str, Any] | None:
        return self._folder(run).result()

    def _work(self, run: Run) -> Iterator[None]:
        """Do a run, a little at each step of the iterator; its errors are those of the run."""
        folder = self._folder(run)
        if folder.result() is not None:
            return
        lock = folder.lock()
        if lock is None:
            self.say(f'{run.name} is at work in another process, which is waited for')
        while lock is None:
            yield
            lock = folder.lock()
        try:
            if folder.result() is not None:
                return
            self.say(f'{run.name} {"goes on" if folder.state == "begun" else "begins"}')
            for words, codes in self._commands(run, folder):
                process = self._start(words, folder, lock)
                while process.poll() is None:
                    yield
                self._processes.remove(process)
                if process.returncode not in codes:
                    folder.fail(process.returncode)
                    raise StudyError(
                        f'rs4d {words[0]} ended with exit code {process.returncode}: '
                        f"{last_line(folder.output)} (all of it: '{folder.output}')"
                    )
            self._say_result(run, folder)
        finally:
            folder.unlock()

    def _commands(self, run: Run, folder: RunFolder) -> Iterator[_Command]:
        """The commands of a run, one after the other; what they found is noted between them."""
        config = str(folder.config)
        if run.command == 'cache-teacher':
            folder.begin(self._config(run, folder.path, {}))
            yield ['cache-teacher', config], (0,)
            folder.finish(self._origin | _identity(run))
            return
        if run.epochs is None and folder.budget() is None:
            yield from self._trial(run, folder)
        found = folder.budget() or dict(epochs=run.epochs)
        epochs = int(found['epochs'])
        folder.begin(self._config(run, folder.path, _length(run, epochs)))
        # Resumes where there is something to resume; where a kill came with the first checkpoint, its
        # remains are overwritten.
        work_dir = ['--work-dir', str(folder.path), '--resume', '--overwrite']
        yield ['train', config, *work_dir], (0,)
        validation = last_validation(folder.path)
        if validation is not None and validation[0] == epochs:
            metrics = validation[1]
        else:
            # A kill came between the last checkpoint and its validation.
            test = folder.path / 'test'
            yield (
                ['test', config, str(folder.path / 'latest.pth'), '--work-dir', str(test)],
                (0,),
            )
            metrics = _read(test / 'metrics.json')
        clock = _read(folder.path / CLOCK)
        figures = _costs(folder.path) | {
            key: value
            for key, value in metrics.items()
            if '/' in key and isinstance(value, int | float)
        }
        folder.finish(
            self._origin
            | _identity(run)
            | dict(epochs=epochs, cpu_minutes=clock['cpu_minutes'], metrics=figures)
        )

    def _trial(self, run: Run, folder: RunFolder) -> Iterator[_Command]:
        """Find out how many epochs a run's minutes are."""
        trial = RunFolder(folder.path / 'trial')
        shutil.rmtree(trial.path, ignore_errors=True)
        clock = dict(default_hooks=dict(cpu_clock=dict(trial_steps=_TRIAL_STEPS)))
        settings = merged(_length(run, _TRIAL_EPOCHS), clock)
        write_text(trial.config, self._config(run, trial.path, settings))
        words = ['train', str(trial.config), '--work-dir', str(trial.path)]
        yield words, (_TERMINATED,)
        found = _read(trial.path / TRIAL)
        assert run.cpu_minutes is not None
        minutes = run.cpu_minutes
        if run.includes is not None:
            minutes -= float((self._result(run.after[run.includes]) or {})['cpu_minutes'])
        epoch = found['cpu_seconds_per_step'] * found['steps_per_epoch'] / 60
        epochs = math.floor(minutes / epoch)
        if epochs < 1:
            raise StudyError(
                f'{minutes:.1f} minutes are less than one epoch, which takes {epoch:.1f}. Give more '
                'cpu_minutes, or a larger --scale.'
            )
        folder.write_budget(found | dict(cpu_minutes=minutes, epochs=epochs))
        shutil.rmtree(trial.path, ignore_errors=True)

    def _config(self, run: Run, own: Path, more: Mapping[str, Any]) -> str:
        """The text of a run's config, with what its length adds."""

        def folder_of(name: str) -> Path:
            if name in ('run', 'study'):
                return own if name == 'run' else self.folder
            return self.folder / run.after[name].name

        settings = merged(run.settings, more)
        return config_text(run.config, filled(settings, folder_of), RunFolder(own).config.parent)

    def _start(self, words: Sequence[str], folder: RunFolder, lock: int) -> Popen:
        # One thread: several runs side by side take less time in sum than one with several threads.
        environment = plain_environment(OMP_NUM_THREADS='1', PYTHONWARNINGS='ignore')
        try:
            with open(folder.output, 'ab') as output:
                process = Popen(
                    [*COMMAND, *words],
                    env=environment,
                    stdin=DEVNULL,
                    stdout=output,
                    stderr=STDOUT,
                    # Should this process be killed, the run stays taken until its own one ends.
                    pass_fds=(lock,),
                )
        except OSError as error:
            raise FileWriteError(f"'{folder.output}' could not be written: {error}.") from error
        self._processes.append(process)
        return process

    def _end_processes(self) -> None:
        """Have all that is at work save and leave."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def _say_result(self, run: Run, folder: RunFolder) -> None:
        result = folder.result() or {}
        metrics = result.get('metrics', {})
        figures = ', '.join(
            f'{heading} {metrics[key]:.4g}'
            for key, heading in self.study.figures.items()
            if key in metrics
        )
        minutes = f' after {result["cpu_minutes"]:.1f} CPU minutes' if metrics else ''
        done = sum(self._result(other) is not None for other in self.wanted)
        tail = f': {figures}' if figures else ''
        self.say(f'{run.name} is done{minutes} ({done} of {len(self.wanted)}){tail}')


def _origin() -> dict[str, str]:
    """On what and by what code runs are done."""
    device = machine() if torch.cuda.is_available() else f'1 thread, {processor_name()}'
    return dict(machine=device, commit=commit() or f'version {versions()["rs4d"]}')


def _identity(run: Run) -> dict[str, Any]:
    return dict(
        run=run.name,
        config=run.config,
        labels=dict(run.labels),
        seed=run.seed,
        finished=time.strftime('%Y-%m-%d %H:%M:%S'),
    )


def _length(run: Run, epochs: int) -> dict[str, Any]:
    """The settings that a run's seed and length are."""
    interval = math.ceil(epochs / run.validations)
    return dict(
        max_epochs=epochs,
        val_interval=interval,
        # Where a config has a number in the place of the reference.
        train_cfg=dict(max_epochs=epochs, val_interval=interval),
        randomness=dict(seed=run.seed),
        default_hooks=dict(cpu_clock=dict(type='CpuClockHook')),
    )


def _costs(folder: Path) -> dict[str, float]:
    """What the log says of speed and memory, under names like those of validations."""
    logged = read_run(folder).training
    median, most = statistics.median, max
    return {
        f'train/{key}': pick(logged[key][1])
        for key, pick in (('images_per_s', median), ('memory', most))
        if key in logged
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except OSError as error:
        raise StudyError(f"'{file}' is missing, which the run should have written.") from error
