"""Time of a call by its parts."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .timing import synchronise

REST = 'rest'


class Stopwatch:
    """Splits the time of a call among the methods that it watches.

    Time within a watched method within another one counts for the inner one alone, and time outside
    of all of them for ``'rest'``, so that the parts add up to the whole.
    """

    def __init__(self) -> None:
        self._part: str | None = None  # none is running
        self._since = 0.0
        self._seconds: dict[str, float] = defaultdict(float)

    def watch(self, owner: Any, method: str, part: str) -> None:
        """Count an object's method for a part, from now on."""
        function = getattr(owner, method)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._within(part):
                return function(*args, **kwargs)

        setattr(owner, method, timed)

    def measure(self, function: Callable[[], object]) -> dict[str, float]:
        """Call a function and return its seconds by parts."""
        self._seconds.clear()
        with self._within(REST):
            function()
        return dict(self._seconds)

    @contextmanager
    def _within(self, part: str) -> Iterator[None]:
        outer = self._part
        self._turn_to(part)
        try:
            yield
        finally:
            self._turn_to(outer)

    def _turn_to(self, part: str | None) -> None:
        synchronise()
        now = time.perf_counter()
        if self._part is not None:
            self._seconds[self._part] += now - self._since
        self._part, self._since = part, now
