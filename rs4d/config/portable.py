"""What of a config a trained model needs elsewhere: no paths of this machine, no schedule."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from mmengine.config import Config

from rs4d.errors import ConfigError

from .data_sets import inner_datasets


def forget_checkpoints(cfg: Any) -> None:
    """Remove from a config, in place, what would load weights."""
    if isinstance(cfg, dict):
        for key in ('checkpoint', 'init_cfg'):
            if key in cfg:
                cfg[key] = None
    for value in cfg.values() if isinstance(cfg, dict) else cfg:
        if isinstance(value, dict | list | tuple):
            forget_checkpoints(value)


def prediction_pipeline(cfg: Config) -> list[dict[str, Any]]:
    """The steps by which a config prepares images that it predicts, without annotations.

    Raises:
        ConfigError: The config has none.
    """
    for loader in ('test_dataloader', 'val_dataloader'):
        for dataset in inner_datasets(cfg.get(loader, {}).get('dataset', [])):
            steps = [
                step for step in dataset.get('pipeline', []) if 'Annotations' not in step['type']
            ]
            if steps:
                return steps
    raise ConfigError(
        f"The config '{cfg.filename}' has no test_dataloader.dataset.pipeline, which says how images "
        'are given to the model.'
    )


def detector_config(cfg: Config, classes: Sequence[str]) -> Config:
    """What predicting with a detector takes: the model, the pipeline of a test, and the classes.

    Args:
        cfg: The config that it was trained with.
        classes: Names of its labels, if they are known.

    Raises:
        ConfigError: The config describes no detector.
    """
    model = cfg.get('model')
    if not isinstance(model, Mapping) or 'student' in model:
        raise ConfigError(
            f"The config '{cfg.filename}' describes no detector but a distillation; its encoder can "
            'be had with --part encoder.'
        )
    model = deepcopy(Config(dict(model=model))).model
    forget_checkpoints(model)
    dataset = dict(
        type='CocoInsSegDataset',
        metainfo=dict(classes=tuple(classes)),
        pipeline=prediction_pipeline(cfg),
    )
    settings = dict(
        default_scope='mmdet',
        dtype=cfg.get('dtype', 'float32'),
        model=model,
        test_dataloader=dict(batch_size=1, dataset=dataset),
    )
    return Config(settings)


def encoder_config(cfg: Config) -> tuple[Config, str]:
    """What building a trained encoder takes, and how its weights' names start.

    Args:
        cfg: The config of a distillation or of a detector.

    Returns:
        A config with ``encoder``, and ``'student.'`` or ``'backbone.'``.

    Raises:
        ConfigError: The config has neither.
    """
    model = cfg.get('model') or {}
    for name in ('student', 'backbone'):
        if name in model:
            encoder = deepcopy(Config(dict(encoder=model[name])))
            forget_checkpoints(encoder.encoder)
            return encoder, f'{name}.'
    raise ConfigError(f"The config '{cfg.filename}' has no model.student and no model.backbone.")
