"""A detector or an encoder as one safetensors file, with its config and classes in the header."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from safetensors.torch import save
from torch import Tensor

from rs4d.config.portable import detector_config, encoder_config
from rs4d.config.stored import config_from_text
from rs4d.errors import ConfigError
from rs4d.files import refuse_existing, write_bytes, write_text

from .checks import check_weights, require_classes
from .errors import CheckpointMismatchError
from .reading import SAFETENSORS, read_checkpoint, read_header, state_dict_of, trained_classes

WEIGHTS, CARD = f'model{SAFETENSORS}', 'README.md'
"""The names of a model and of what is said about it, in a folder and on the Hub."""

# Endings of files of weights that are no safetensors.
_OTHERS = ('.pth', '.pt', '.ckpt', '.bin', '.onnx', '.pt2')

PARTS = ('detector', 'encoder')


@dataclass(frozen=True)
class Published:
    """What a published file says of itself.

    Attributes:
        part: ``'detector'`` or ``'encoder'``.
        config: What builds it, as text that is read as data: ``model``, ``test_dataloader`` and
            ``dtype`` of a detector, ``encoder`` of an encoder.
        classes: Names of a detector's labels, in their order.
        origin: The file that it was made of.
        version: Of RS4D.
    """

    part: str
    config: str
    classes: tuple[str, ...]
    origin: str
    version: str


def publish(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    part: str | None = None,
    config: Config | None = None,
    version: str = '',
    overwrite: bool = False,
) -> Published:
    """Write the weights of a checkpoint, and what predicting with them takes, into one file.

    Paths, addresses and schedules of the config stay behind.

    Args:
        source: A checkpoint of a training, or a published file.
        target: ``*.safetensors``; or a folder, for ``model.safetensors`` and a ``README.md``, which is
            left as it is if it is there.
        part: ``'detector'`` or ``'encoder'``; by default the detector, and of a distillation the
            encoder.
        config: The config that it was trained with, if the checkpoint does not hold it.
        version: Of RS4D, for the header.
        overwrite: Whether an existing file may be replaced.

    Returns:
        What the file says.

    Raises:
        UserError: The source cannot be read, holds no config, lacks what was asked for, or is not of
            the config; or the target is there or cannot be written.
    """
    source, target = Path(source), Path(target)
    if target.suffix in _OTHERS:
        raise ConfigError(
            f"The target '{target}' looks like a file of another kind: name a file that ends in "
            f'{SAFETENSORS}, or a folder.'
        )
    file = target if target.suffix == SAFETENSORS else target / WEIGHTS
    if not overwrite:
        refuse_existing(file)
    content = read_checkpoint(source)
    weights = state_dict_of(content, source)
    cfg = config or _stored_config(content, source)
    classes = trained_classes(source)
    if part is None:
        part = 'encoder' if 'student' in (cfg.get('model') or {}) else 'detector'
    if part == 'encoder':
        small, start = encoder_config(cfg)
        weights = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        classes = ()
        if not weights:
            raise CheckpointMismatchError(
                f"The checkpoint '{source}' has no weights of an encoder under '{start}'."
            )
    else:
        small = detector_config(cfg, classes)
    _require_fit(small, part, weights, classes, source)
    said = Published(part, small.pretty_text, classes, source.name, version)
    plain = {name: value.detach().contiguous().clone() for name, value in weights.items()}
    # Other programs take the framework from the key format.
    header = {'format': 'pt', 'rs4d': json.dumps(vars(said))}
    write_bytes(file, save(plain, header))
    if file is not target and not (target / CARD).exists():
        write_text(target / CARD, _card(said))
    return said


def read_published(path: str | os.PathLike[str]) -> Published:
    """Read what a published file says of itself.

    Raises:
        CheckpointMismatchError: It is no such file.
        CheckpointNotFoundError: It is not there.
    """
    header = read_header(Path(path))
    names = Published.__dataclass_fields__.keys()
    if not {'part', 'config', 'classes'} <= header.keys():
        raise CheckpointMismatchError(
            f"'{path}' does not say in its header how it is built, so it was not written by `rs4d "
            'push`. Give the config and the checkpoint by themselves.'
        )
    said: dict[str, Any] = {name: header.get(name, '') for name in names}
    texts = all(isinstance(said[name], str) for name in names - {'classes'})
    if not texts or said['part'] not in PARTS or not isinstance(said['classes'], list):
        raise CheckpointMismatchError(
            f"'{path}' has a header that `rs4d push` does not write: part is one of "
            f'{", ".join(PARTS)}, classes a list, and all else text. Get it again, or the config and '
            'the checkpoint by themselves.'
        )
    return Published(**{**said, 'classes': tuple(map(str, said['classes']))})


def _require_fit(
    cfg: Config, part: str, weights: Mapping[str, Tensor], classes: Sequence[str], source: Path
) -> None:
    """Raise unless what is said builds the model whose weights these are."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.encoder if part == 'encoder' else cfg.model)
    check_weights(model, weights, str(source), 'the arguments', complete=True)
    require_classes(model, classes, source)


def _stored_config(content: Any, source: Path) -> Config:
    text = (content.get('meta') or {}).get('cfg') if isinstance(content, Mapping) else None
    if not isinstance(text, str):
        raise ConfigError(
            f"The checkpoint '{source}' does not hold its config. Name the one that it was trained "
            'with by --config.'
        )
    return config_from_text(text, str(source))


def _card(said: Published) -> str:
    classes = f'\nClasses: {", ".join(said.classes)}.\n' if said.classes else ''
    if said.part == 'detector':
        use = f'```bash\nrs4d predict {WEIGHTS} scene.tif --out found\n```'
    else:
        lines = f"from rs4d.apis import load_encoder\n\nencoder = load_encoder('{WEIGHTS}')"
        use = f'```python\n{lines}\n```'
    return (
        '---\nlibrary_name: rs4d\npipeline_tag: image-segmentation\ntags: [remote-sensing, '
        f'instance-segmentation, mamba]\n---\n\n# {said.part.capitalize()} of RS4D\n{classes}\n'
        f'The config is in the header of `{WEIGHTS}`; nothing else is needed:\n\n{use}\n\n'
        'Not said by a program: what it was trained on, how well it does, and its licence.\n'
    )
