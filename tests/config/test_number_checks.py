"""Numbers that a training would fail on are refused when the config is read."""

from pathlib import Path
from typing import Any

import pytest

from rs4d.config import load_config
from rs4d.errors import ConfigError

TINY = Path(__file__).parents[1] / 'tools' / 'tiny_config.py'


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('train_cfg.val_interval', 0),
        ('train_cfg.max_epochs', 1.5),
        ('train_cfg.max_epochs', -1),
        ('train_cfg.max_epochs', float('inf')),
        ('train_dataloader.batch_size', 0),
        ('val_dataloader.num_workers', -1),
        ('optim_wrapper.optimizer.lr', 'abc'),
        ('optim_wrapper.optimizer.lr', float('nan')),
    ],
)
def test_numbers_that_cannot_be(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"The config's {key} is {value!r}; it has to be a "):
        load_config(TINY, {key: value})


def test_numbers_are_checked_where_references_put_them() -> None:
    shipped = TINY.parents[2] / 'configs' / 'rs4d' / 'rs4d-tiny_bbox_ssdd.py'
    with pytest.raises(ConfigError, match=r'val_interval is 0.*train_dataloader.batch_size is 0'):
        load_config(shipped, {'val_interval': 0, 'train_batch_size': 0, 'lr': 'abc'})
