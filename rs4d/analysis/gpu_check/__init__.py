"""Whether everything works on a machine's GPU, and how fast: what `rs4d gpu-check` runs."""

from .checks import CHECKS, Setting, run_checks
from .findings import Finding

__all__ = ['CHECKS', 'Finding', 'Setting', 'run_checks']
