"""Studies: many trainings that answer one question, from a small file to a table and curves."""

from .plan import Run, Study, StudyError, read_study
from .results import write_results
from .running import run_study
from .slurm import slurm_script

__all__ = [
    'Run',
    'Study',
    'StudyError',
    'read_study',
    'run_study',
    'slurm_script',
    'write_results',
]
