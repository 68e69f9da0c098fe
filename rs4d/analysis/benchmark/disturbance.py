"""Other work on the machine while something is measured."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# Ends with the process that started it, even where that was killed.
_BUSY = 'import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass'


@contextmanager
def busy_processes(number: int) -> Iterator[list[subprocess.Popen]]:
    """Keep as many processes busy, each with one thread, as long as the block runs."""
    processes = []
    with ExitStack() as stack:
        for _ in range(number):
            process = subprocess.Popen([sys.executable, '-S', '-c', _BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        yield processes
