"""How many OpenMP threads there are and how they wait; to be said before PyTorch is imported."""

import math
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path, PurePosixPath

_CGROUPS = Path('/sys/fs/cgroup')
_OWN_CGROUPS = Path('/proc/self/cgroup')


def set_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let idle threads sleep soon, and start no more than a quota of CPU time feeds.

    By default they spin for long, which costs nothing on a quiet machine and, where something else
    runs on the same cores, makes everything several times as slow. PyTorch takes a thread for each
    core that the process may run on, but knows nothing of a container's quota, under which its threads
    wait for one that is not let run. Data loaders' workers take no core away: they need one to
    three hundredths of what a training step takes on CPUs.

    Args:
        environment: Changed in place. What it says of waiting or of the number of threads stays.
    """
    if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'} & environment.keys():
        environment['GOMP_SPINCOUNT'] = '10000'
    quota = min(_quotas(), default=math.inf)
    if quota < _cores():
        environment.setdefault('OMP_NUM_THREADS', str(math.ceil(quota)))


def _cores() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas() -> Iterator[float]:
    """The CPUs that each control group around this process grants it, where one limits them."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(':', 2)
        if not controllers:
            roots, files = ('', 'unified'), ['cpu.max']
        elif 'cpu' in controllers.split(','):
            roots, files = ('cpu', controllers), ['cpu.cfs_quota_us', 'cpu.cfs_period_us']
        else:
            continue
        # In a container the path may be that outside of it, of which only the root is to be seen.
        own = PurePosixPath(path.lstrip('/'))
        for folder in {_CGROUPS / root / group for root in roots for group in (own, *own.parents)}:
            numbers = _numbers(folder, files)
            if len(numbers) == 2 and min(numbers) > 0:
                yield numbers[0] / numbers[1]


def _numbers(folder: Path, files: list[str]) -> list[int]:
    """Quota and period in microseconds; a quota of ``max`` or -1 is none."""
    try:
        words = ' '.join((folder / file).read_text() for file in files).split()
    except OSError:
        return []
    return [int(word) for word in words if word != 'max']
