"""Whether a config that came with a file names parts that are known, and nothing else of Python."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS, TASK_UTILS, TRANSFORMS, WEIGHT_INITIALIZERS, Registry

from rs4d.errors import ConfigError

# What MMDetection finds by name in mmcv.ops instead of in a registry.
_OPERATORS = frozenset({'nms', 'soft_nms', 'RoIAlign', 'RoIPool', 'SimpleRoIAlign', 'PrRoIPool'})
# What `stretch` may be, which no registry builds: rs4d.geo.stretch.STRETCHES.
STRETCHES = frozenset({'linear', 'percentile', 'db', 'statistics'})
# What passes one of its settings to Python's eval.
_EVALUATING = frozenset({'CameraMotionCompensation'})


def require_known_types(part: Any, source: str) -> None:
    """Raise unless every ``type`` in a part of a config is the name of something registered.

    MMEngine imports what it does not find under a name, and calls it: ``type='subprocess.call'`` would
    run a program.

    Args:
        part: What is to be built, nested.
        source: Where it came from, for the message.

    Raises:
        ConfigError: It names something else.
    """
    trees = [list(_tree(root)) for root in (MODELS, TASK_UTILS, TRANSFORMS, WEIGHT_INITIALIZERS)]
    registries = [registry for tree in trees for registry in tree]
    for registry in registries:
        registry.import_from_location()
    known = _OPERATORS.union(*(registry.module_dict for registry in registries)) - _EVALUATING
    scopes = {registry.scope for registry in registries}
    for key, name in _names(part):
        scope, _, rest = name.rpartition('.')
        if key == '_scope_' and name in scopes:
            continue
        if key == 'type' and rest in known and (not scope or scope in scopes):
            continue
        raise ConfigError(
            f"The config in '{source}' is refused: its {key} '{name}' is nothing that is registered, "
            'and MMEngine would import and call whatever Python finds under that name; nothing of it '
            'was run. If you trust it, import the module that registers it, and name the config.'
        )


def _tree(registry: Registry) -> Iterator[Registry]:
    yield registry
    for child in registry.children.values():
        yield from _tree(child)


def _names(part: Any) -> Iterator[tuple[str, str]]:
    if isinstance(part, Mapping):
        for key in ('type', '_scope_'):
            if isinstance(part.get(key), str):
                yield key, part[key]
        stretch = part.get('stretch')
        if isinstance(stretch, Mapping) and stretch.get('type') in STRETCHES:
            part = {**part, 'stretch': [value for key, value in stretch.items() if key != 'type']}
        part = list(part.values())
    if isinstance(part, Sequence) and not isinstance(part, str):
        for inner in part:
            yield from _names(inner)
