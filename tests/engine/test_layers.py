"""The engine runs any model of MMDetection, so it knows none of this package's."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rs4d.engine

ENGINE = Path(rs4d.engine.__file__).parent
# rs4d.visualization looks into the distillers.
ABOVE = ('models', 'visualization', 'apis')


def imported(file: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, relative ones among them."""
    package = ('rs4d', 'engine', *file.relative_to(ENGINE).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = '.'.join([*base, *filter(None, [node.module])])
            yield from (f'{module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('file', sorted(ENGINE.rglob('*.py')), ids=lambda file: file.name)
def test_the_engine_imports_nothing_above_it(file: Path) -> None:
    above = [f'rs4d.{name}' for name in ABOVE]
    wrong = [m for m in imported(file) if any(f'{m}.'.startswith(f'{name}.') for name in above)]
    assert not wrong
