"""Losses between a student's and a teacher's feature maps, and how well the two agree."""

import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from rs4d.errors import ConfigError

KINDS = ('l1', 'smooth_l1', 'mse', 'cosine')


@MODELS.register_module()
class FeatureLoss(nn.Module):
    """Mean difference of two feature maps over the cells that count.

    Args:
        kind: ``'l1'`` (the paper's), ``'smooth_l1'``, ``'mse'``, or ``'cosine'``, one minus the
            cosine similarity of each cell's channel vectors.
        beta: Where smooth L1 turns from quadratic to linear.
        loss_weight: Factor on the result.

    Raises:
        ConfigError: If ``kind`` is none of these.
    """

    def __init__(self, kind: str = 'l1', beta: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ConfigError(
                f'FeatureLoss: unknown kind {kind!r}. Choose one of {", ".join(KINDS)}.'
            )
        self.kind = kind
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
        """Compare two maps (B, C, H, W); ``valid`` (B, 1, H, W) is 1 where a cell counts, else 0.

        Returns:
            A scalar: the mean over all cells that count, of all images, and over channels.
        """
        if self.kind == 'l1':
            difference = (student - teacher).abs()
        elif self.kind == 'smooth_l1':
            difference = F.smooth_l1_loss(student, teacher, reduction='none', beta=self.beta)
        elif self.kind == 'mse':
            difference = (student - teacher).square()
        else:
            difference = 1 - F.cosine_similarity(student, teacher, dim=1)[:, None]
        count = valid.sum().clamp_min(1) * difference.shape[1]
        return self.loss_weight * (difference * valid).sum() / count


def normalised_l1(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Sum of absolute differences over the sum of the teacher's absolute values, ‖s - t‖₁ / ‖t‖₁.

    The arguments are those of :meth:`FeatureLoss.forward`.

    Returns:
        One value an image, (B,): 0 for equal maps, 1 for a student that is zero everywhere.
    """
    difference = ((student - teacher).abs() * valid).sum(dim=(1, 2, 3))
    size = (teacher.abs() * valid).sum(dim=(1, 2, 3))
    return difference / size.clamp_min(1e-12)


def mean_cosine(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Cosine similarity of the channel vectors of each cell that counts, averaged, (B,)."""
    cosine = F.cosine_similarity(student, teacher, dim=1)[:, None]
    return (cosine * valid).sum(dim=(1, 2, 3)) / valid.sum(dim=(1, 2, 3)).clamp_min(1)
