"""The selective scan: one definition, several engines, one dispatcher."""

from .interface import selective_scan
from .registry import EngineStatus, ScanEngineError, available_engines, choose_engine, use_engine

__all__ = [
    'EngineStatus',
    'ScanEngineError',
    'available_engines',
    'choose_engine',
    'selective_scan',
    'use_engine',
]
