"""Measuring encoders, the scan's engines and training steps."""

from .peers import HuggingFaceRSMamba
from .timing import Spread, interleave, ratio, spread

__all__ = ['HuggingFaceRSMamba', 'Spread', 'interleave', 'ratio', 'spread']
