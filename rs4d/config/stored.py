"""A config as a checkpoint holds it: Python's text, read as data and never run."""

import ast
from typing import Any

from mmengine.config import Config

from rs4d.errors import ConfigError


def config_from_text(text: str, source: str) -> Config:
    """Read a config that MMEngine has written, whose values are literals and ``dict(...)``.

    Args:
        text: Lines such as ``model = dict(type='MaskRCNN')``.
        source: Where it stands, for messages.

    Raises:
        ConfigError: It is no such text, or would have to be run.
    """
    settings: dict[str, Any] = {}
    try:
        for line in ast.parse(text).body:
            if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
                raise ValueError(f'line {line.lineno} is no setting')
            settings[line.targets[0].id] = _value(line.value)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"The config in '{source}' cannot be read as data ({error}); nothing of it was run. Name "
            'the config that it was trained with.'
        ) from error
    # What a checkpoint names is not imported.
    settings.pop('custom_imports', None)
    return Config(settings)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=keywords) if len(args) < 2:
            # Keys that are no names stand in braces.
            first = dict(_value(args[0])) if args else {}
            return first | {_name(keyword): _value(keyword.value) for keyword in keywords}
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_value(key): _value(value) for key, value in pairs if key is not None}
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case _:
            return ast.literal_eval(node)


def _name(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError('a dict is spread into another')
    return keyword.arg
