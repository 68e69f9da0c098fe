"""Masks brought from a map's size to an image's."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize maps (N, h, w) bilinearly, in float32, to (N, *shape)."""
    if tuple(masks.shape[-2:]) == tuple(shape):
        return masks.float()
    return F.interpolate(masks[:, None].float(), shape, mode='bilinear', align_corners=False)[:, 0]


def upsample_above(masks: Tensor, shape: tuple[int, int], level: float) -> Tensor:
    """Resize as :func:`resize` where maps may reach a level, and put less than it elsewhere.

    What is resized is a rectangle around the cells that reach the level and two cells more: the results
    that reach it are in the first one around them, and the second one keeps their neighbours right, so
    that the result may be resized once more.

    Args:
        masks: (N, h, w).
        shape: The wanted height and width; where they are no multiples of h and w, all is resized.
        level: A number.

    Returns:
        (N, *shape), float32.
    """
    height, width = masks.shape[-2:]
    (rise, below), (stretch, beside) = divmod(shape[0], height), divmod(shape[1], width)
    if below or beside:
        return resize(masks, shape)
    reached = (masks >= level).any(0)
    resized = masks.new_full((len(masks), *shape), level - 1, dtype=torch.float32)
    if reached.any():
        top, bottom = _ends(reached.any(1))
        left, right = _ends(reached.any(0))
        part = masks[:, top:bottom, left:right]
        part = resize(part, (rise * (bottom - top), stretch * (right - left)))
        resized[:, rise * top : rise * bottom, stretch * left : stretch * right] = part
    return resized


def binarise(
    logits: Tensor,
    input_shape: tuple[int, int],
    img_meta: dict[str, Any],
    threshold: float,
    rescale: bool,
) -> Tensor:
    """Bring masks to the size of an image.

    Args:
        logits: (N, h, w).
        input_shape: Height and width in pixels that the logits cover.
        img_meta: Has ``img_shape``, the part of the input that is no padding, and ``ori_shape``.
        threshold: Probability from which on a pixel belongs to the object; a negative one asks for
            probabilities in 0 to 255 instead, as MMDetection's mask heads do.
        rescale: Return masks of the original image's size, not of the resized one's.

    Returns:
        (N, H, W), bool or uint8.
    """
    height, width = img_meta['img_shape'][:2]
    level = None if threshold < 0 else float(logits.new_tensor(threshold).float().logit())
    if level is None or logits.device.type != 'cpu':
        masks = resize(logits, input_shape)
    else:
        masks = upsample_above(logits, input_shape, level)
    masks = masks[..., :height, :width]
    if rescale:
        masks = resize(masks, tuple(img_meta['ori_shape'][:2]))
    return (masks.sigmoid() * 255).to(torch.uint8) if level is None else masks >= level


def _ends(marked: Tensor) -> tuple[int, int]:
    """First and last end of what is marked along an axis, two cells wider where there are some."""
    places = marked.nonzero()
    return max(0, int(places[0]) - 2), min(len(marked), int(places[-1]) + 3)
