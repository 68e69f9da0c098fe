"""One page that tells of test runs: figures, errors, pictures, and what changed between them."""

from .page import write_report
from .runs import Run, read_runs

__all__ = ['Run', 'read_runs', 'write_report']
