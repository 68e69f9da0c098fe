"""Generated remote-sensing-like scenes with exact instance masks."""

from .generator import CLASSES, Scene, generate_scene
from .writer import ensure_scenes

__all__ = ['CLASSES', 'Scene', 'ensure_scenes', 'generate_scene']
