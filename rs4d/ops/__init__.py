"""Operations on tensors; nothing here knows of models or data."""

from .fused_mamba import bidirectional_conv_silu, bidirectional_selective_scan
from .selective_scan import (
    EngineStatus,
    ScanEngineError,
    available_engines,
    choose_engine,
    selective_scan,
    use_engine,
)

__all__ = [
    'EngineStatus',
    'ScanEngineError',
    'available_engines',
    'bidirectional_conv_silu',
    'bidirectional_selective_scan',
    'choose_engine',
    'selective_scan',
    'use_engine',
]
