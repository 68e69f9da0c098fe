"""The slow tests of configs run where they are asked for by their marker; data for the others."""

from pathlib import Path

import pytest
from generated_data import write_data
from reduced_configs import CONFIGS

from rs4d.config import load_config

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


@pytest.fixture
def ssdd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have configs read SSDD: the real one where it is, else a generated one in its place."""
    cfg = load_config(CONFIGS / 'rs4d/rs4d-base_bbox_ssdd.py')
    if Path(cfg.train_dataloader.dataset.data_root).is_dir():
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('RS4D_DATA_ROOT', 'data')
    write_data(load_config(CONFIGS / 'rs4d/rs4d-base_bbox_ssdd.py'))
