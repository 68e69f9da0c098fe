"""Measuring detectors, encoders and the scan's engines."""

from .peers import HuggingFaceRSMamba
from .timing import Spread, interleave, ratio, spread

__all__ = ['HuggingFaceRSMamba', 'Spread', 'interleave', 'ratio', 'spread']
