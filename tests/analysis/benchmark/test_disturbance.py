"""Processes that keep a machine busy, and end."""

import os
import time

from rs4d.analysis.benchmark.disturbance import busy_processes


def test_they_are_busy_and_end_with_the_block() -> None:
    before = os.times().children_user
    with busy_processes(2) as processes:
        assert len(processes) == 2
        time.sleep(0.5)
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)
    assert os.times().children_user > before + 0.05
