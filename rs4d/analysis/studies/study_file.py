"""Reading a study's YAML so that nothing in it is lost or taken for something else."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from rs4d.config.packages import find_config
from rs4d.errors import UserError


class StudyError(UserError, ValueError):
    """A study's file, or what has been run of it, is not what it should be."""


class _Loader(yaml.SafeLoader):
    """PyYAML's, with two traps closed: a key that stands twice, and 1e-3, which would be a text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Read a mapping, each of whose keys may stand once."""
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.YAMLError(f"'{twice}' stands twice{node.start_mark}")
        return mapping


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$'),
    list('-+.0123456789'),
)


def read_yaml(path: str) -> dict[str, Any]:
    """Read a study's file.

    Args:
        path: The file, or ``rs4d::studies/NAME.yaml`` for one that rs4d brings.

    Raises:
        StudyError: It is not there, or no YAML.
    """
    file = Path(find_config(path))
    try:
        content = yaml.load(file.read_text(encoding='utf-8'), _Loader)
    except OSError as error:
        raise StudyError(f"The study '{file}' cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        text = ' '.join(str(error).split())
        raise StudyError(f"The study '{file}' is not valid YAML: {text}. Correct it.") from error
    if not isinstance(content, dict):
        raise StudyError(f"The study '{file}' is no mapping with 'title', 'seeds' and 'steps'.")
    return content


def take(
    part: object, place: str, known: Collection[str], needed: Collection[str] = ()
) -> dict[str, Any]:
    """Return a mapping of a study's file whose keys are all known.

    Raises:
        StudyError: It is no mapping, has an unknown key, or lacks one that is needed.
    """
    if not isinstance(part, Mapping):
        raise StudyError(f'{place} should be a mapping of {", ".join(known)}, not {part!r}.')
    unknown = [str(key) for key in part if key not in known]
    if unknown:
        raise StudyError(
            f'{place} has {", ".join(unknown)}, which nothing reads; it takes {", ".join(known)}.'
        )
    missing = [key for key in needed if key not in part]
    if missing:
        raise StudyError(f'{place} lacks {", ".join(missing)}. Add it.')
    return dict(part)
