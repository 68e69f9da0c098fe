"""The slow tests of configs run where they are asked for by their marker."""

import pytest

MARKER = 'slow_configs'


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line('markers', f'{MARKER}: every config trains; run by make test-configs')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if MARKER in config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker(MARKER)]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
