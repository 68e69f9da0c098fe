"""What users import."""

from rs4d.analysis.complexity import Complexity, build_for_counting, count_complexity
from rs4d.config import load_config

__all__ = ['Complexity', 'build_for_counting', 'count_complexity', 'load_config']
