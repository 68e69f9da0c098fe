"""Numbers of a config that a training fails on, some of them only after its first epoch."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from rs4d.errors import ConfigError

from .references import follow

_WHOLE = {
    **{f'train_cfg.{name}': 1 for name in ('max_epochs', 'max_iters', 'val_interval')},
    **{f'{split}_dataloader.batch_size': 1 for split in ('train', 'val', 'test')},
    **{f'{split}_dataloader.num_workers': 0 for split in ('train', 'val', 'test')},
    'optim_wrapper.accumulative_counts': 1,
}
_REAL = {'optim_wrapper.optimizer.lr': 0}


def check_numbers(cfg: Config) -> None:
    """Raise if epochs, intervals, batch sizes or the learning rate cannot be what they are.

    Raises:
        ConfigError: Some cannot; all of them are named.
    """
    if problems := ' '.join(_problems(cfg)):
        raise ConfigError(problems)


def _problems(cfg: Config) -> Iterator[str]:
    for path, least in {**_WHOLE, **_REAL}.items():
        try:
            value: Any = follow(cfg._cfg_dict, path)
        except ConfigError:
            continue
        whole = path in _WHOLE
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None or (number and value >= least and (not whole or value % 1 == 0)):
            continue
        kind = 'a whole number' if whole else 'a number'
        yield f"The config's {path} is {value!r}; it has to be {kind}, {least} or more."
