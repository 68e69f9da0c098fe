"""Which query is to find which object, and how far its mask is from the object's."""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.ops import point_sample
from mmdet.models.utils import get_uncertain_point_coords_with_randomness
from mmengine.structures import InstanceData
from torch import Tensor

# Masks that are drawn and averaged together.
_MASKS_AT_ONCE = 16
# Beyond it a logit costs no more: what is not finite has to be matched, to be reported as a loss.
_LARGEST_LOGIT = 1e4


class Truth(NamedTuple):
    """The objects of an image.

    Attributes:
        labels: Their classes (G,).
        coarse: Which share of each cell of the coarse masks they cover (G, h, w), float32.
        masks: MMDetection's masks.
        input_shape: Height and width in pixels of the input.
    """

    labels: Tensor
    coarse: Tensor
    masks: Any
    input_shape: tuple[int, int]

    def full(self, objects: Tensor) -> Tensor:
        """Draw objects (N,) at the input's size, (N, H, W) of 0 and 1."""
        return _draw(self.masks[objects.cpu().numpy()], self.input_shape, objects.device)


class Match(NamedTuple):
    """Queries (N,) of an image and the object of each (N,)."""

    queries: Tensor
    objects: Tensor


def read_truth(
    objects: InstanceData, input_shape: tuple[int, int], coarse_shape: tuple[int, int]
) -> Truth:
    """Prepare the objects of an image, whose masks may end where its padding begins.

    Args:
        objects: Has ``labels`` and ``masks``.
        input_shape: Height and width in pixels of the input.
        coarse_shape: Height and width of the coarse masks.
    """
    masks, device = objects.masks, objects.labels.device
    coarse = [torch.zeros(0, *coarse_shape, device=device)]
    for start in range(0, len(masks), _MASKS_AT_ONCE):
        part = masks[np.arange(start, min(start + _MASKS_AT_ONCE, len(masks)))]
        drawn = _draw(part, input_shape, device).float()
        coarse.append(F.adaptive_avg_pool2d(drawn, coarse_shape))
    return Truth(objects.labels, torch.cat(coarse), masks, input_shape)


def _draw(masks: Any, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Draw MMDetection's masks with nothing in the padding, (N, *shape)."""
    drawn = masks.to_tensor(torch.uint8, device)
    height, width = drawn.shape[-2:]
    return F.pad(drawn, (0, shape[1] - width, 0, shape[0] - height))


@torch.no_grad()
def match(assigner: Any, scores: Tensor, masks: Tensor, truth: Truth) -> Match:
    """Assign the objects of an image to its queries, one to one.

    Args:
        assigner: MMDetection's ``HungarianAssigner``.
        scores: Class logits (Q, C + 1), float32.
        masks: Coarse masks' logits (Q, h, w), float32.
        truth: The objects; where they are more than queries, some get none.
    """
    scores, masks = (
        x.nan_to_num(nan=0.0).clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT) for x in (scores, masks)
    )
    assigned = assigner.assign(
        InstanceData(scores=scores, masks=masks.flatten(1)),
        InstanceData(labels=truth.labels, masks=truth.coarse.flatten(1)),
    ).gt_inds
    queries = (assigned > 0).nonzero()[:, 0]
    return Match(queries, assigned[queries] - 1)


def at_points(
    logits: Tensor, truth: Tensor, num_points: int, oversample: float, importance: float
) -> tuple[Tensor, Tensor]:
    """Compare masks at points, most of them where they are least sure (Kirillov et al., CVPR 2020).

    Args:
        logits: (N, h, w), N at least 1.
        truth: (N, H, W) over the same area, from 0 to 1.
        num_points: Points P a mask.
        oversample: Points that are looked at for each that is taken.
        importance: Share of the points that are the least sure of those looked at.

    Returns:
        Logits and truth there, (N, P), float32.
    """
    logits, truth = logits[:, None].float(), truth[:, None].float()
    with torch.no_grad():
        points = get_uncertain_point_coords_with_randomness(
            logits, None, num_points, oversample, importance
        )
        # An object that the image's border cuts does not fade there.
        targets = point_sample(truth, points, padding_mode='border')[:, 0]
    return point_sample(logits, points, padding_mode='border')[:, 0], targets
