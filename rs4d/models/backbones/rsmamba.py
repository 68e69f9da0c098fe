"""RSMamba: a bidirectional state space image encoder.

The encoder of "Efficient Remote Sensing Instance Segmentation with Linear-Time State Space Distilled
Visual Foundation Models" (Yang et al., IEEE TGRS 64, 2026): patches in raster order, Mamba mixers
(Gu and Dao, 2023) run over the sequence in both directions with the same weights, one pre-norm for
all blocks, and SAM's neck width, so that its embedding compares with SAM's without a projection.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils.checkpoint import checkpoint

from rs4d.errors import ConfigError
from rs4d.ops import Workspace, exported_blocks

from .conv_stem import ConvStem
from .encoder import Encoder, block_indices, choose_architecture
from .mamba_mixer import BidirectionalMambaMixer

ARCHITECTURES: dict[str, dict[str, int]] = {
    'small': dict(embed_dims=256, num_layers=16, inner_dims=512),
    'base': dict(embed_dims=256, num_layers=24, inner_dims=512),
    'large': dict(embed_dims=256, num_layers=28, inner_dims=640),
    'huge': dict(embed_dims=256, num_layers=32, inner_dims=640),
}


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens.

    Args:
        in_channels: Channels of the image.
        embed_dims: Channels of a token.
        patch_size: Side of a patch in pixels.
    """

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, embed_dims, patch_size, stride=patch_size)

    def forward(self, img: Tensor) -> tuple[list[Tensor], Tensor]:
        """Map an image (B, in_channels, H, W) to no finer maps and (B, embed_dims, H/patch, W/patch)."""
        return [], self.projection(img)


@MODELS.register_module()
class RSMamba(Encoder):
    """Bidirectional Mamba image encoder with one resolution throughout.

    Args:
        arch: ``'small'``, ``'base'``, ``'large'``, ``'huge'``, or a dict with ``embed_dims``,
            ``num_layers`` and ``inner_dims``, and optionally ``d_state`` (16), ``d_conv`` (4) and
            ``dt_rank`` (16).
        img_size: Side, or height and width, in pixels for which the position embedding is learned.
            Other input sizes interpolate it.
        patch_size: Side of a patch in pixels.
        stem_channels: Channels of a :class:`ConvStem` that makes the tokens, at strides 2, 4 and so on
            up to half of ``patch_size``; its maps from stride 4 on come before those of the blocks.
            None projects each patch at once, as the paper does.
        in_channels: Channels of the image; weights for three are inflated to as many when a checkpoint
            is loaded by a config.
        out_indices: Blocks whose maps are returned, counted from 0; negative ones count from the
            end. Blocks behind the last index are not run and not trained.
        with_cp: Activation checkpointing: each block is run again in the backward pass, and only
            its input is kept.
        init_cfg: MMEngine's initialisation, such as ``dict(type='Pretrained', checkpoint=...,
            prefix='student.')`` for the student of a distillation run.

    Raises:
        ConfigError: If an argument is not one of the choices above.
    """

    def __init__(
        self,
        arch: str | dict[str, int] = 'base',
        img_size: int | tuple[int, int] = 1024,
        patch_size: int = 16,
        stem_channels: Sequence[int] | None = None,
        in_channels: int = 3,
        out_indices: Sequence[int] | int = -1,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        optional = ('d_state', 'd_conv', 'dt_rank')
        settings = choose_architecture('RSMamba', arch, ARCHITECTURES, optional)
        embed_dims = settings.pop('embed_dims')
        self.num_layers = settings.pop('num_layers')
        self.with_cp = with_cp
        self.out_indices = block_indices('RSMamba', out_indices, self.num_layers)
        self.block_channels = (embed_dims,) * (self.out_indices[-1] + 1)
        finer = tuple(stem_channels or ())[1:]
        self.map_channels = (*finer, *(embed_dims,) * len(self.out_indices))
        self.map_strides = (
            *(4 * 2**index for index in range(len(finer))),
            *(patch_size,) * len(self.out_indices),
        )
        self.size_divisor = patch_size

        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.pos_embed_size = self._grid(height, width)
        tokens = self.pos_embed_size[0] * self.pos_embed_size[1]
        self.patch_embed: PatchEmbed | ConvStem
        if stem_channels is None:
            self.patch_embed = PatchEmbed(in_channels, embed_dims, patch_size)
        else:
            self.patch_embed = ConvStem(in_channels, stem_channels, embed_dims)
            if self.patch_embed.patch_size != patch_size:
                raise ConfigError(
                    f'RSMamba: {len(stem_channels)} stem_channels make tokens of '
                    f'{self.patch_embed.patch_size} pixels, but patch_size is {patch_size}. Make them '
                    'agree.'
                )
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, embed_dims))
        self.pre_norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.layers = nn.ModuleList(
            BidirectionalMambaMixer(embed_dims, **settings) for _ in range(self.num_layers)
        )
        self.ln1 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.register_load_state_dict_pre_hook(_adapt_checkpoint)
        idle = self.layers[self.out_indices[-1] + 1 :]
        idle.requires_grad_(False)
        self.ln1.requires_grad_(len(idle) == 0)

    def draw_weights(self) -> None:
        """Draw the position embedding and scale the blocks' outputs.

        The residual stream sums ``num_layers`` outputs, so each is scaled by its inverse square
        root (GPT-2's rule, which Mamba follows).
        """
        trunc_normal_(self.pos_embed, std=0.02)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if name.endswith('out_proj.weight'):
                    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
                    weight.div_(math.sqrt(self.num_layers))

    def forward(self, img: Tensor) -> tuple[Tensor, ...]:
        """Encode images: the stem's maps, if it has any, then those of ``out_indices``."""
        finer, _, maps = self._encode(img, self.out_indices)
        return (*finer, *maps)

    def forward_intermediates(
        self, img: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode images and keep the maps of some blocks; the last block's has passed the LayerNorm."""
        return self._encode(img, indices)[1:]

    def _encode(
        self, img: Tensor, indices: Sequence[int]
    ) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        grid = self._grid(*img.shape[-2:])
        finer, tokens = self.patch_embed(img)
        x = tokens.flatten(2).transpose(1, 2)
        # Tokens after one another, as every block needs them.
        x = (x + resize_pos_embed(self.pos_embed, self.pos_embed_size, grid)).contiguous()
        tokens_of = self._run_blocks(x, {*indices, self.out_indices[-1]})
        maps = {index: x.transpose(1, 2).unflatten(2, grid) for index, x in tokens_of.items()}
        return finer, maps[self.out_indices[-1]], [maps[index] for index in indices]

    def _run_blocks(self, x: Tensor, wanted: set[int]) -> dict[int, Tensor]:
        """Return the tokens (B, L, C) behind some blocks, of which the last one is run last."""
        found = self._run_exported(x, sorted(wanted))
        if found is None:
            found, workspace = {}, Workspace()
            for index, layer in enumerate(self.layers[: max(wanted) + 1]):
                if self.with_cp and torch.is_grad_enabled():
                    x = checkpoint(self._block, layer, x, use_reentrant=False)
                else:
                    x = self._block(layer, x, workspace)  # type: ignore[arg-type]
                if index in wanted:
                    # Without gradients the next block overwrites its input.
                    kept = torch.is_grad_enabled() or index == max(wanted)
                    found[index] = x if kept else x.clone()
        if self.num_layers - 1 in found:
            found[self.num_layers - 1] = self.ln1(found[self.num_layers - 1])
        return found

    def _run_exported(self, x: Tensor, wanted: list[int]) -> dict[int, Tensor] | None:
        """Do so by one operator, where a program is exported and an engine has one."""
        mix = exported_blocks(x)
        layers: Any = self.layers[: wanted[-1] + 1]
        if mix is None or not all(layer.is_plain(self.pre_norm) for layer in layers):
            return None
        norm = self.pre_norm
        weights = [weight for layer in layers for weight in layer.weights()]
        tokens = mix(x, norm.weight, norm.bias, norm.eps, weights, wanted)
        return dict(zip(wanted, tokens, strict=True))

    def _block(
        self, layer: BidirectionalMambaMixer, x: Tensor, workspace: Workspace | None = None
    ) -> Tensor:
        if workspace is not None and layer.add_in_place(x, self.pre_norm, workspace):
            return x
        # In place: the mixer's output is needed by nobody else.
        return layer(self.pre_norm(x)).add_(x)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        self.require_size(height, width)
        return height // self.patch_size, width // self.patch_size


def resize_pos_embed(pos_embed: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Interpolate a position embedding to another grid, bicubic.

    Args:
        pos_embed: One vector for each cell in raster order, (1, h * w, C).
        size: Its grid (h, w).
        new_size: The grid wanted.

    Returns:
        (1, new h * new w, C).
    """
    # Of an image whose size an exporter leaves open, it is not known.
    if all(statically_known_true(old == new) for old, new in zip(size, new_size, strict=True)):
        return pos_embed
    grid = pos_embed.transpose(1, 2).unflatten(2, size)
    # Bicubic interpolation is not defined for half precision on every device.
    resized = F.interpolate(grid.float(), new_size, mode='bicubic', antialias=False)
    return resized.to(pos_embed.dtype).flatten(2).transpose(1, 2)


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: RSMamba) -> dict[str, Tensor]:
    """Accept the ``module.`` prefix of DataParallel and position embeddings of other square sizes.

    Args:
        state_dict: Weights by the encoder's own names, or those with the prefix.
        model: The encoder that will load them.

    Returns:
        Weights that fit the encoder, if they are of its architecture.
    """
    weights = {name.removeprefix('module.'): value for name, value in state_dict.items()}
    stored = weights.get('pos_embed')
    if stored is not None and stored.shape != model.pos_embed.shape:
        side = math.isqrt(stored.shape[1])
        if stored.shape[2] == model.embed_dims and side**2 == stored.shape[1]:
            weights['pos_embed'] = resize_pos_embed(stored, (side, side), model.pos_embed_size)
    return weights


def _adapt_checkpoint(module: RSMamba, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    own = [name for name in state_dict if name.startswith(prefix)]
    weights = {name[len(prefix) :]: state_dict.pop(name) for name in own}
    filtered = checkpoint_filter_fn(weights, module)
    state_dict.update({f'{prefix}{name}': value for name, value in filtered.items()})
