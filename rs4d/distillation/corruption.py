"""Noise and masks on the student's input.

That the student sees a noisy and masked image and the teacher the clean one is the paper's (Yang et
al., IEEE TGRS 64, 2026), as are the ratios.
"""

from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from rs4d.errors import ConfigError, InputSizeError

from .schedules import CorruptionSchedule


@MODELS.register_module()
class NoiseAndMask(nn.Module):
    """Corrupt images by Gaussian noise and by dropping patches, as much as a schedule says.

    Both ratios are their ceilings times the schedule's difficulty.

    Args:
        noise_ratio: Ceiling of the noise's standard deviation over the image's own, per channel.
        mask_ratio: Ceiling of the share of patches that is dropped.
        patch_size: Side of a patch in pixels.
        schedule: Config of a `CorruptionSchedule`; by default an `AdaptiveSchedule`.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        noise_ratio: float = 0.2,
        mask_ratio: float = 0.2,
        patch_size: int = 16,
        schedule: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if noise_ratio < 0 or not 0 <= mask_ratio < 1 or patch_size < 1:
            raise ConfigError(
                f'NoiseAndMask: of noise_ratio={noise_ratio}, mask_ratio={mask_ratio} and '
                f'patch_size={patch_size}, the first should not be negative, the second at least 0 '
                "and below 1, the third at least 1. Correct corruption in the distiller's config."
            )
        self.max_noise_ratio = noise_ratio
        self.max_mask_ratio = mask_ratio
        self.patch_size = patch_size
        self.schedule: CorruptionSchedule = MODELS.build(schedule or dict(type='AdaptiveSchedule'))

    @property
    def noise_ratio(self) -> Tensor:
        """The noise ratio in force; a scalar."""
        return self.max_noise_ratio * self.schedule.difficulty

    @property
    def mask_ratio(self) -> Tensor:
        """The mask ratio in force; a scalar."""
        return self.max_mask_ratio * self.schedule.difficulty

    def forward(self, img: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Corrupt normalised images at the ratios in force.

        Args:
            img: (B, C, H, W), zero meaning the data set's mean colour; sides multiples of
                ``patch_size``.
            valid: 1 on the image and 0 on padding, (B, 1, H, W).

        Returns:
            A new tensor (B, C, H, W), and a map (B, 1, H/patch_size, W/patch_size), 1 where a patch
            was dropped and 0 elsewhere. Of each image's patches (those with any image in them)
            exactly the rounded share is zero; padding is as it was.

        Raises:
            InputSizeError: A side is not a multiple of ``patch_size``.
        """
        noisy = img + valid * self.noise_ratio * _channel_std(img, valid) * torch.randn_like(img)
        dropped = self._dropped_patches(valid)
        size = self.patch_size
        kept = (1 - dropped).repeat_interleave(size, 2).repeat_interleave(size, 3)
        return noisy * kept, dropped

    def _dropped_patches(self, valid: Tensor) -> Tensor:
        """1 where a patch is dropped and 0 where it is kept, (B, 1, H/patch, W/patch)."""
        size = self.patch_size
        batch, _, height, width = valid.shape
        if height % size or width % size:
            raise InputSizeError(
                f'NoiseAndMask drops patches of {size}x{size} pixels, but got images of height '
                f'{height} and width {width}. Pad or scale them to multiples of {size} in the data '
                "set's pipeline."
            )
        has_image = nn.functional.max_pool2d(valid, size).flatten(1) > 0
        count = (self.mask_ratio * has_image.sum(1)).round()
        # Patches in random order, those of padding last; the first `count` are dropped.
        order = torch.rand(has_image.shape, device=valid.device).masked_fill(~has_image, 2.0)
        rank = order.argsort(1).argsort(1)
        dropped = (rank < count[:, None]).to(valid.dtype)
        return dropped.view(batch, 1, height // size, width // size)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # Checkpoints of when corruption and schedule were one module.
        for name in ('num_updates', 'error_average', 'initial_error'):
            value = state_dict.pop(prefix + name, None)
            if value is not None and hasattr(self.schedule, name):
                state_dict[f'{prefix}schedule.{name}'] = value
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _channel_std(img: Tensor, valid: Tensor) -> Tensor:
    """Standard deviation of each image's channels over its valid pixels, (B, C, 1, 1)."""
    count = valid.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    mean = (img * valid).sum(dim=(2, 3), keepdim=True) / count
    return ((img - mean).square().mul(valid).sum(dim=(2, 3), keepdim=True) / count).sqrt()
