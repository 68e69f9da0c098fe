"""What every image encoder is to the rest of the package."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from rs4d.errors import ConfigError, InputSizeError


class Encoder(BaseModule):
    """An image encoder: maps of chosen blocks, with known channels and strides.

    A new encoder derives from it, sets the attributes, and implements ``forward_intermediates``; its
    file is the only one that knows its class. What knows the names of others' checkpoints is a
    function ``checkpoint_filter_fn`` beside it, as in timm.

    Attributes:
        out_indices: Blocks whose maps ``forward`` returns, counted from 0, ascending.
        map_channels: Channels of each map that ``forward`` returns.
        map_strides: Stride of each of them in pixels.
        block_channels: Channels of the map of each block that is run.
        with_embedding: ``forward`` returns the embedding behind the maps of ``out_indices``.
        size_divisor: What the sides of an input have to be multiples of.
        checkpoint: Where :meth:`init_weights` reads weights, or None.
    """

    out_indices: tuple[int, ...]
    map_channels: tuple[int, ...]
    map_strides: tuple[int, ...]
    block_channels: tuple[int, ...]
    with_embedding: bool = False
    size_divisor: int = 1
    checkpoint: str | None = None

    @property
    def embed_dims(self) -> int:
        """Channels of the last map."""
        return self.map_channels[-1]

    @property
    def patch_size(self) -> int:
        """Stride of the last map in pixels."""
        return self.map_strides[-1]

    def init_weights(self) -> None:
        """Draw weights, apply ``init_cfg``, then load ``checkpoint``; a second call does nothing.

        Raises:
            CheckpointNotFoundError: The file is not there.
            CheckpointMismatchError: The file is of another model.
        """
        if self.is_init:
            return
        self.draw_weights()
        # Before the checkpoint, because MMEngine also calls the init_weights of what is inside.
        super().init_weights()
        if self.checkpoint is not None:
            self.load_checkpoint(self.checkpoint)

    def draw_weights(self) -> None:
        """Draw what is not as it should be after construction."""

    def load_checkpoint(self, checkpoint: str) -> None:
        """Load all weights from a file that others may have written."""
        raise NotImplementedError

    def forward(self, img: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images.

        Args:
            img: (B, bands, H, W), both sides multiples of ``size_divisor``.

        Returns:
            A map (B, C, H/stride, W/stride) for each of ``out_indices``, and the embedding behind them
            if there is one.

        Raises:
            InputSizeError: The encoder does not take images of this size.
        """
        embedding, maps = self.forward_intermediates(img, self.out_indices)
        return (*maps, embedding) if self.with_embedding else tuple(maps)

    def forward_intermediates(
        self, img: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode images and keep the maps of some blocks.

        Args:
            img: As for ``forward``.
            indices: Blocks that are run, counted from 0, ascending, whether in ``out_indices`` or not.

        Returns:
            The last map that ``forward`` would return, and the map of each block.

        Raises:
            InputSizeError: The encoder does not take images of this size.
        """
        raise NotImplementedError

    def require_size(self, height: int, width: int) -> None:
        """Raise unless an input can have this size.

        Raises:
            InputSizeError: A side is no multiple of ``size_divisor``.
        """
        divisor = self.size_divisor
        if height % divisor or width % divisor:
            raise InputSizeError(
                f'{type(self).__name__} cuts its input into patches of {divisor}x{divisor} pixels, '
                f'but got height {height} and width {width}. Make both multiples of {divisor}: '
                "choose such an img_size or scale in the config, or let the model's "
                f'data_preprocessor pad with pad_size_divisor={divisor}.'
            )


def input_bands(encoder: nn.Module) -> int | None:
    """How many bands images have that an encoder takes, by its first convolution; None without one."""
    first = next((part for part in encoder.modules() if isinstance(part, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def choose_architecture(
    owner: str,
    arch: str | Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    optional: Collection[str],
) -> dict[str, Any]:
    """Look an architecture up by name, or check one that is given.

    Raises:
        ConfigError: The name is not known, or settings are missing or unknown.
    """
    required = set(known['base'])
    if isinstance(arch, str):
        if arch not in known:
            raise ConfigError(
                f'{owner}: unknown arch {arch!r}. Choose one of {", ".join(known)}, or give a dict '
                f'with {", ".join(known["base"])}.'
            )
        return dict(known[arch])
    missing, unknown = required - arch.keys(), arch.keys() - required - set(optional)
    if missing or unknown:
        raise ConfigError(
            f'{owner}: the dict arch={dict(arch)} lacks {sorted(missing)} and has the unknown keys '
            f'{sorted(unknown)}. It needs {sorted(required)} and may have {sorted(optional)}.'
        )
    return dict(arch)


def block_indices(owner: str, indices: Sequence[int] | int, count: int) -> tuple[int, ...]:
    """Count ``out_indices`` from 0, each once, ascending; negative ones count from the end.

    Raises:
        ConfigError: There is none, or one that does not exist.
    """
    indices = (indices,) if isinstance(indices, int) else tuple(indices)
    if not indices or any(not -count <= index < count for index in indices):
        raise ConfigError(
            f'{owner}: out_indices={indices} should name some of its {count} blocks or levels, from '
            f'0 to {count - 1}, or negative numbers from the end.'
        )
    return tuple(sorted({index % count for index in indices}))
