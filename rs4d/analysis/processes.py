"""The commands of rs4d as processes of their own."""

import sys
from pathlib import Path

COMMAND = (sys.executable, '-m', 'rs4d_command')
"""What starts ``rs4d`` with the interpreter that runs; a sub-command and its words follow."""


def last_line(output: Path) -> str:
    """The last line of a file of output that says something; it is where errors say what is wrong."""
    lines = output.read_text(encoding='utf-8', errors='replace').split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), 'no output')
