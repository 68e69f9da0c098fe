"""The commands of rs4d as processes of their own."""

import os
import sys
from pathlib import Path

COMMAND = (sys.executable, '-m', 'rs4d_command')
"""What starts ``rs4d`` with the interpreter that runs; a sub-command and its words follow."""


def plain_environment(**more: str) -> dict[str, str]:
    """This process' environment for one whose output goes into a file, with more variables.

    Lines are written at once: otherwise what was printed before an error would come behind it, and be
    the last line.
    """
    return {**os.environ, 'PYTHONUNBUFFERED': '1', **more}


def last_line(output: Path) -> str:
    """The last line of a file of output that says something; it is where errors say what is wrong."""
    lines = output.read_text(encoding='utf-8', errors='replace').split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), 'no output')
