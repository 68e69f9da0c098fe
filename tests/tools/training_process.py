"""Commands in processes of their own, most of them trainings, which may be killed at a chosen moment.

The processes are forked from a server that has imported everything, so that each starts at once.
"""

import json
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


def start(
    arguments: Sequence[object],
    environment: dict[str, str],
    output: Path,
    prepare: Callable[[], None] | None = None,
    command: str = 'train',
) -> BaseProcess:
    """Start a command of ``rs4d``; ``prepare`` is called in its process before."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['rs4d', 'mmdet.models', 'mmdet.evaluation'])
    words = [command, *map(str, arguments)]
    process = context.Process(target=_work, args=(words, environment, str(output), prepare))
    process.start()
    return process


def run(
    arguments: Sequence[object],
    environment: dict[str, str],
    output: Path,
    prepare: Callable[[], None] | None = None,
) -> int:
    """Train to the end, whichever it is, and return the exit code; -9 after SIGKILL."""
    return wait(start(arguments, environment, output, prepare), output)


class Kill:
    """Kills the process in the step, the write of a checkpoint, or the validation of a number."""

    def __init__(
        self, where: str, number: int, signum: int = signal.SIGKILL, rank: int = 0
    ) -> None:
        self.where, self.number, self.signum, self.rank = where, number, signum, rank

    def __call__(self) -> None:
        from mmengine.fileio import LocalBackend
        from mmengine.model import BaseModel
        from mmengine.runner import ValLoop

        owner, name = {
            'step': (BaseModel, 'parse_losses'),
            'write': (LocalBackend, 'put'),
            'validation': (ValLoop, 'run_iter'),
        }[self.where]
        original = getattr(owner, name)

        def counted(*args: object, **kwargs: object) -> object:
            self.number -= 1
            if self.number == 0 and int(os.environ.get('RANK', 0)) == self.rank:
                if self.where == 'write':
                    Path(str(args[2])).write_bytes(bytes(args[1])[:1000])
                os.kill(os.getpid(), self.signum)
            return original(*args, **kwargs)

        setattr(owner, name, counted)


class FullDisk:
    """Lets no checkpoint be written whole after some; logs still fit."""

    def __init__(self, writes: int) -> None:
        self.writes = writes

    def __call__(self) -> None:
        import resource

        from mmengine.fileio import LocalBackend

        original = LocalBackend.put

        def counted(*args: object, **kwargs: object) -> object:
            self.writes -= 1
            limit = resource.getrlimit(resource.RLIMIT_FSIZE)
            if self.writes < 0:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
            try:
                return original(*args, **kwargs)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)

        setattr(LocalBackend, 'put', counted)  # noqa: B010 - a method


class Poison:
    """Makes the loss of some steps, on one rank, no number."""

    def __init__(self, steps: Sequence[int], rank: int = 0) -> None:
        self.steps, self.rank, self.count = steps, rank, 0

    def __call__(self) -> None:
        from mmengine.model import BaseModel

        original = BaseModel.parse_losses

        def poisoned(*args: object) -> tuple:
            loss, log = original(*args)
            self.count += 1
            if self.count in self.steps and int(os.environ.get('RANK', 0)) == self.rank:
                loss = loss * float('nan')
            return loss, log

        setattr(BaseModel, 'parse_losses', poisoned)  # noqa: B010 - a method


class Record:
    """Writes down what each rank sees and has become, a line of JSON for each step."""

    def __init__(self, folder: Path, *others: Callable[[], None]) -> None:
        self.folder, self.others = folder, others

    def __call__(self) -> None:
        from rs4d.engine import ResumableTrainLoop

        for other in self.others:
            other()
        file = self.folder / f'rank{os.environ.get("RANK", 0)}.jsonl'
        original = ResumableTrainLoop.run_iter

        def recorded(loop: ResumableTrainLoop, idx: int, batch: dict) -> None:
            original(loop, idx, batch)
            model = getattr(loop.runner.model, 'module', loop.runner.model)
            line = dict(
                epoch=loop.epoch,
                images=[sample.img_id for sample in batch['data_samples']],
                flips=[sample.flip for sample in batch['data_samples']],
                weights=sum(p.detach().double().sum().item() for p in model.parameters()),
                controller={k: v.item() for k, v in model.corruption.state_dict().items()},
                noise=float(model.corruption.noise_ratio),
            )
            with file.open('a') as out:
                out.write(json.dumps(line) + '\n')

        setattr(ResumableTrainLoop, 'run_iter', recorded)  # noqa: B010 - a method


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def run_ranks(
    number: int,
    arguments: Sequence[object],
    environment: dict[str, str],
    output: Path,
    prepare: Callable[[], None] | None = None,
) -> list[int]:
    """Train in several processes, as torchrun starts them, and return their exit codes."""
    shared = dict(
        environment,
        WORLD_SIZE=str(number),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(free_port()),
    )
    processes = []
    for rank in range(number):
        variables = dict(shared, RANK=str(rank), LOCAL_RANK=str(rank))
        log = output.with_suffix(f'.{rank}.log')
        processes.append(start([*arguments, '--launcher', 'pytorch'], variables, log, prepare))
    return [wait(process, output) for process in processes]


def wait(process: BaseProcess, output: Path) -> int:
    """Return the exit code of a process, once it has ended."""
    process.join(120)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f'see {output}')
    return process.exitcode


def _work(
    words: list[str],
    environment: dict[str, str],
    output: str,
    prepare: Callable[[], None] | None,
) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    os.chdir(ROOT)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if prepare is not None:
        prepare()
    from rs4d.cli import main

    sys.exit(main(*words))
