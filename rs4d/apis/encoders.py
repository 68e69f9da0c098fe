"""A published encoder as a module."""

import os

from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from rs4d.checkpoints import load_all
from rs4d.checkpoints.published import read_published
from rs4d.checkpoints.reading import read_checkpoint
from rs4d.config.known_types import require_known_types
from rs4d.config.stored import config_from_text
from rs4d.errors import ConfigError
from rs4d.models.backbones import Encoder


def load_encoder(path: str | os.PathLike[str]) -> Encoder:
    """Build the encoder that a file of ``rs4d push --part encoder`` holds, with its weights.

    Args:
        path: ``*.safetensors``; read as data.

    Returns:
        The encoder, in evaluation mode on the CPU.

    Raises:
        UserError: The file is missing, damaged, or holds something else.

    Example:
        >>> from rs4d.apis import load_encoder
        >>> encoder = load_encoder('encoder.safetensors')
        >>> (embedding,) = encoder(images)  # (B, 3, H, W), normalised
    """
    said, name = read_published(path), os.fspath(path)
    if said.part != 'encoder':
        raise ConfigError(
            f"'{name}' holds a {said.part}: give it to Predictor, or push its encoder."
        )
    cfg = config_from_text(said.config, name)
    require_known_types(cfg.get('encoder'), name)
    with DefaultScope.overwrite_default_scope('mmdet'):
        encoder = MODELS.build(cfg.encoder)
    load_all(encoder, read_checkpoint(name)['state_dict'], name)
    return encoder.eval()
