"""MMEngine's text of a config: the same content is formatted once.

A run asks for it five times before its first step, for log, work dir and visualizer, and again for each
checkpoint, and formatting takes a quarter to half of a second each time.
"""

import functools

from mmengine.config import Config


def format_configs_once() -> None:
    """Patch ``Config.pretty_text``, which keeps the text that it made last."""
    original = Config.pretty_text.fget
    kept: dict[str, str] = {}

    @functools.wraps(original)
    def pretty_text(config: Config) -> str:
        content = f'{config._format_python_code} {config.to_dict()}'
        if content not in kept:
            text = original(config)
            kept.clear()
            kept[content] = text
        return kept[content]

    Config.pretty_text = property(pretty_text)
