"""The selective scan and its fused forms: tensors in, tensors out; nothing here knows of models.

`README.md` in this folder has the mathematics, the engines, and where to add one.
"""

from .interface import (
    bidirectional_conv_silu,
    bidirectional_selective_scan,
    exported_blocks,
    in_place_mixer,
    selective_scan,
)
from .registry import (
    Engine,
    EngineStatus,
    ScanEngineError,
    added_engine,
    available_engines,
    choose_engine,
    use_engine,
)
from .workspace import MixerWeights, Workspace

__all__ = [
    'Engine',
    'EngineStatus',
    'MixerWeights',
    'ScanEngineError',
    'Workspace',
    'added_engine',
    'available_engines',
    'bidirectional_conv_silu',
    'bidirectional_selective_scan',
    'choose_engine',
    'exported_blocks',
    'in_place_mixer',
    'selective_scan',
    'use_engine',
]
