"""Tables of measurements, below the conditions under which they were made."""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import mmdet
import timm
import torch
import transformers

import rs4d
from rs4d.engine.provenance import processor_name
from rs4d.files import write_text


def write_table(file: Path, lines: Sequence[str]) -> str:
    """Write a Markdown table below the conditions under which it was made, and return the text."""
    header = [f'- {key}: {value}' for key, value in conditions().items()]
    text = '\n'.join([*header, '', *lines])
    write_text(file, text + '\n')
    return text


def conditions() -> dict[str, str | int]:
    """Say on what and with what a record was made."""
    return dict(
        command=' '.join(['rs4d', *sys.argv[1:]]),
        processor=processor_name(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        timm=timm.__version__,
        mmdet=mmdet.__version__,
        transformers=transformers.__version__,
        rs4d=rs4d.__version__,
    )
