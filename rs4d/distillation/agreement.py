"""How well two feature maps agree, image by image, over the part that is image and not padding."""

import torch.nn.functional as F
from torch import Tensor


def normalised_l1(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Sum of absolute differences over the sum of the teacher's absolute values, ‖s - t‖₁ / ‖t‖₁.

    Args:
        student: (B, C, H, W).
        teacher: (B, C, H, W).
        valid: 1 where a cell counts and 0 where not, (B, 1, H, W).

    Returns:
        One value an image, (B,): 0 for equal maps, 1 for a student that is zero everywhere.
    """
    difference = ((student - teacher).abs() * valid).sum(dim=(1, 2, 3))
    size = (teacher.abs() * valid).sum(dim=(1, 2, 3))
    return difference / size.clamp_min(1e-12)


def mean_cosine(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Cosine similarity of the channel vectors of each cell, averaged over the cells that count.

    Args:
        student: (B, C, H, W).
        teacher: (B, C, H, W).
        valid: 1 where a cell counts and 0 where not, (B, 1, H, W).

    Returns:
        One value an image between -1 and 1, (B,).
    """
    cosine = F.cosine_similarity(student, teacher, dim=1)[:, None]
    return (cosine * valid).sum(dim=(1, 2, 3)) / valid.sum(dim=(1, 2, 3)).clamp_min(1)
