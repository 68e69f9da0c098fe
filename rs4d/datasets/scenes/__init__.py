"""Generated remote-sensing-like scenes with exact instance masks."""

from .generator import CLASSES, Scene, ensure_scenes, generate_scene

__all__ = ['CLASSES', 'Scene', 'ensure_scenes', 'generate_scene']
