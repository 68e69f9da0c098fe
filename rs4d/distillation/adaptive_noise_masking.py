"""Noise and masks on the student's input, as strong as the student can bear.

That the student sees a noisy and masked image and the teacher the clean one is the paper's (Yang et
al., IEEE TGRS 64, 2026), as are the ratios. Its adaptive rule is not public; the rule here is ours.
"""

from typing import Literal, overload

import torch
from mmdet.registry import MODELS
from mmengine.dist import all_reduce
from torch import Tensor, nn

SCHEDULES = ('adaptive', 'linear', 'fixed')


@MODELS.register_module()
class AdaptiveNoiseMasking(nn.Module):
    """Corrupt images by Gaussian noise and by dropping patches, under a controller.

    Both ratios are their ceilings times a difficulty between 0 and 1. ``adaptive``: with e the
    moving average of the student's normalised error and e₀ its value after warm-up, difficulty =
    clip((e₀ - e) / (e₀ - target_error), 0, 1): corruption grows as the student gets good, and
    recedes where it no longer follows. ``linear``: from 0 after warm-up to 1 at ``ramp_iters``.
    ``fixed``: 1 throughout.

    The controller's state is in buffers, so that a checkpoint carries it and a resumed run goes on
    where it stopped. The state is averaged over ranks, which therefore stay in step.

    Args:
        noise_ratio: Ceiling of the noise's standard deviation over the image's own, per channel.
        mask_ratio: Ceiling of the share of patches that is dropped.
        patch_size: Side of a patch in pixels.
        schedule: ``'adaptive'``, ``'linear'`` or ``'fixed'``.
        warmup_iters: Iterations without corruption (not for ``fixed``); e₀ is taken at their end.
        ramp_iters: Iteration at which ``linear`` reaches its ceilings.
        momentum: Weight of a new error in the moving average. Until 1/momentum iterations have
            passed, the average is the plain mean.
        target_error: Normalised error at which ``adaptive`` reaches its ceilings.

    Raises:
        ValueError: If an argument is out of its range.
    """

    num_updates: Tensor
    error_average: Tensor
    initial_error: Tensor

    def __init__(
        self,
        noise_ratio: float = 0.2,
        mask_ratio: float = 0.2,
        patch_size: int = 16,
        schedule: str = 'adaptive',
        warmup_iters: int = 1000,
        ramp_iters: int = 10000,
        momentum: float = 0.01,
        target_error: float = 0.25,
    ) -> None:
        super().__init__()
        complaints = [
            (schedule in SCHEDULES, f'schedule={schedule!r} is none of {", ".join(SCHEDULES)}'),
            (noise_ratio >= 0, f'noise_ratio={noise_ratio} is negative'),
            (0 <= mask_ratio < 1, f'mask_ratio={mask_ratio} is not in [0, 1)'),
            (patch_size > 0, f'patch_size={patch_size} is not positive'),
            (warmup_iters >= 1, f'warmup_iters={warmup_iters} is below 1'),
            (
                schedule != 'linear' or ramp_iters > warmup_iters,
                f'ramp_iters={ramp_iters} does not lie behind warmup_iters={warmup_iters}',
            ),
            (0 < momentum <= 1, f'momentum={momentum} is not in (0, 1]'),
            (target_error >= 0, f'target_error={target_error} is negative'),
        ]
        wrong = [text for fine, text in complaints if not fine]
        if wrong:
            raise ValueError(
                f'AdaptiveNoiseMasking: {"; ".join(wrong)}. Correct the corruption dict of the '
                "distiller's config."
            )
        self.max_noise_ratio = noise_ratio
        self.max_mask_ratio = mask_ratio
        self.patch_size = patch_size
        self.schedule = schedule
        self.warmup_iters = warmup_iters
        self.ramp_iters = ramp_iters
        self.momentum = momentum
        self.target_error = target_error
        self.register_buffer('num_updates', torch.zeros((), dtype=torch.long))
        self.register_buffer('error_average', torch.zeros(()))
        self.register_buffer('initial_error', torch.zeros(()))

    @property
    def difficulty(self) -> Tensor:
        """Between 0, a clean image, and 1, both ratios at their ceilings; a scalar."""
        if self.schedule == 'fixed':
            return torch.ones_like(self.error_average)
        if self.schedule == 'linear':
            progress = (self.num_updates - self.warmup_iters) / (
                self.ramp_iters - self.warmup_iters
            )
            return progress.to(self.error_average.dtype).clamp(0, 1)
        # A student that was at the target when warm-up ended gets the full corruption.
        way_to_go = (self.initial_error - self.target_error).clamp_min(1e-6)
        gained = (self.initial_error - self.error_average).clamp_min(0)
        at_target = self.error_average <= self.target_error
        difficulty = torch.where(at_target, 1.0, (gained / way_to_go).clamp(0, 1))
        return torch.where(self.num_updates < self.warmup_iters, 0.0, difficulty)

    @property
    def noise_ratio(self) -> Tensor:
        """The noise ratio in force; a scalar."""
        return self.max_noise_ratio * self.difficulty

    @property
    def mask_ratio(self) -> Tensor:
        """The mask ratio in force; a scalar."""
        return self.max_mask_ratio * self.difficulty

    @overload
    def forward(self, img: Tensor, valid: Tensor, with_mask: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(
        self, img: Tensor, valid: Tensor, with_mask: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self, img: Tensor, valid: Tensor, with_mask: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Corrupt normalised images at the ratios in force.

        Args:
            img: (B, C, H, W), zero meaning the data set's mean colour; sides multiples of
                ``patch_size``.
            valid: 1 on the image and 0 on padding, (B, 1, H, W).
            with_mask: Whether to tell which patches were dropped.

        Returns:
            A new tensor (B, C, H, W). Of each image's patches (those with any image in them) exactly
            the rounded share is zero; padding is as it was. With ``with_mask`` also a map
            (B, 1, H/patch_size, W/patch_size), 1 where a patch was dropped and 0 elsewhere.

        Raises:
            ValueError: If a side is not a multiple of ``patch_size``.
        """
        noisy = img + valid * self.noise_ratio * _channel_std(img, valid) * torch.randn_like(img)
        kept = self._kept_patches(valid)
        size = self.patch_size
        corrupted = noisy * kept.repeat_interleave(size, 2).repeat_interleave(size, 3)
        return (corrupted, 1 - kept) if with_mask else corrupted

    @torch.no_grad()
    def update(self, error: Tensor) -> None:
        """Tell the controller how the student did.

        Args:
            error: Normalised error of this iteration on this rank, a scalar. A value that is not
                finite, as mixed precision may give before its scale has settled, counts as an
                iteration and leaves the average alone.
        """
        error = error.detach().to(self.error_average.dtype).clone()
        all_reduce(error, op='mean')
        self.num_updates += 1
        weight = (1 / self.num_updates).clamp_min(self.momentum)
        moved = torch.lerp(self.error_average, error, weight.to(error.dtype))
        self.error_average.copy_(torch.where(error.isfinite(), moved, self.error_average))
        warm = self.num_updates <= self.warmup_iters
        self.initial_error.copy_(torch.where(warm, self.error_average, self.initial_error))

    def _kept_patches(self, valid: Tensor) -> Tensor:
        """1 where a patch is kept and 0 where it is dropped, (B, 1, H/patch, W/patch)."""
        size = self.patch_size
        batch, _, height, width = valid.shape
        if height % size or width % size:
            raise ValueError(
                f'AdaptiveNoiseMasking drops patches of {size}x{size} pixels, but got images of '
                f'height {height} and width {width}. Pad or scale them to multiples of {size} in the '
                "data set's pipeline."
            )
        has_image = nn.functional.max_pool2d(valid, size).flatten(1) > 0
        count = (self.mask_ratio * has_image.sum(1)).round()
        # Patches in random order, those of padding last; the first `count` are dropped.
        order = torch.rand(has_image.shape, device=valid.device).masked_fill(~has_image, 2.0)
        rank = order.argsort(1).argsort(1)
        kept = (rank >= count[:, None]).to(valid.dtype)
        return kept.view(batch, 1, height // size, width // size)


def _channel_std(img: Tensor, valid: Tensor) -> Tensor:
    """Standard deviation of each image's channels over its valid pixels, (B, C, 1, 1)."""
    count = valid.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    mean = (img * valid).sum(dim=(2, 3), keepdim=True) / count
    return ((img - mean).square().mul(valid).sum(dim=(2, 3), keepdim=True) / count).sqrt()
