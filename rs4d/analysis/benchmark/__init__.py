"""Measuring: interleaved timing, peers to compare with, and tables and plots of the result."""

from .peers import HuggingFaceRSMamba
from .timing import Spread, interleave, ratio, spread

__all__ = ['HuggingFaceRSMamba', 'Spread', 'interleave', 'ratio', 'spread']
