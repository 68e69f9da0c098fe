"""Work done by a process of its own, which may have fewer rights or less room than this one."""

import multiprocessing
import os
import resource
from collections.abc import Callable
from typing import Any

NOBODY = 65534


def _work(end: Any, work: Callable[[], Any]) -> None:
    try:
        end.send(work())
    except Exception as error:
        end.send(error)


def _apart(work: Callable[[], Any], seconds: float = 60) -> Any:
    """What a function returns, or the error that it raises, in a process of its own."""
    fork = multiprocessing.get_context('fork')
    mine, other = fork.Pipe(duplex=False)
    process = fork.Process(target=_work, args=(other, work), daemon=True)
    process.start()
    other.close()
    try:
        # The end of the pipe, too, where the process ends without a word.
        return mine.recv() if mine.poll(seconds) else TimeoutError(f'{seconds} s')
    finally:
        process.kill()
        process.join()


def as_nobody(work: Callable[[], Any]) -> Any:
    """Work without the rights of root, where this process has them."""

    def limited() -> Any:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return work()

    return _apart(limited)


def with_small_files(size: int, work: Callable[[], Any]) -> Any:
    """Work where no file takes more than so many bytes, as on a disk that is full."""

    def limited() -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return work()

    return _apart(limited)
