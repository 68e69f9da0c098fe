"""What of a student is compared with what of its teacher: the entries of a distiller's ``losses``.

Each is a module that names the blocks it needs, is told how wide their maps are, and gives one loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from rs4d.errors import ConfigError

from .encoder_maps import map_name

Channels = Callable[[int | None], int]
Maps = dict[str, Tensor]


class FeatureMatch(nn.Module):
    """What all comparisons share: the loss between two maps, and which cells weigh how much.

    Args:
        loss: Config of the loss between two maps.
        masked_weight: Weight of the patches that were masked in the student's input; the others
            weigh 1. It changes what counts in the mean, not its scale.

    Attributes:
        student_blocks: Blocks of the student whose maps are needed, beside the last map.
        teacher_blocks: Those of the teacher.

    Raises:
        ConfigError: If the weight is negative.
    """

    student_blocks: tuple[int, ...] = ()
    teacher_blocks: tuple[int, ...] = ()

    def __init__(self, loss: dict[str, Any] | None = None, masked_weight: float = 1.0) -> None:
        super().__init__()
        if masked_weight < 0:
            raise ConfigError(
                f'{type(self).__name__}: masked_weight={masked_weight} is negative. Use 1 for all '
                'patches alike, and more for masked ones to weigh more.'
            )
        self.masked_weight = masked_weight
        self.feature_loss = MODELS.build(loss or dict(type='FeatureLoss', kind='l1'))

    def connect(self, student: Channels, teacher: Channels) -> None:
        """Build what depends on the channels that the maps of blocks, or the last (None), have."""

    def compare(self, student: Tensor, teacher: Tensor, valid: Tensor, masked: Tensor) -> Tensor:
        """Compare two maps of the same width, to a scalar.

        Args:
            student: (B, C, h, w), resampled to the teacher's grid if it differs.
            teacher: (B, C, H, W).
            valid: 1 on the image and 0 on padding, (B, 1, height, width) of the input.
            masked: 1 where a patch was masked and 0 elsewhere, (B, 1, ., .) on any grid.
        """
        teacher = teacher.float()
        weight = resize_valid(valid, teacher)
        if self.masked_weight != 1:
            height, width = teacher.shape[-2:]
            share = F.adaptive_avg_pool2d(masked.to(weight.dtype), (height, width))
            weight = weight * (1 + (self.masked_weight - 1) * share)
        return self.feature_loss(to_grid(student.float(), teacher), teacher, weight)

    def forward(
        self, student: Maps, teacher: Maps, features: Tensor, valid: Tensor, masked: Tensor
    ) -> Tensor:
        """Compare what this entry is about, to a scalar.

        Args:
            student: The student's maps by name, ``'block<i>'``.
            teacher: The teacher's likewise, and ``'embedding'``.
            features: The student's last map, as wide as the teacher's embedding.
            valid: See :meth:`compare`.
            masked: See :meth:`compare`.
        """
        raise NotImplementedError


@MODELS.register_module()
class EmbeddingMatch(FeatureMatch):
    """The student's last map against the teacher's: the paper's loss, and the default."""

    def forward(
        self, student: Maps, teacher: Maps, features: Tensor, valid: Tensor, masked: Tensor
    ) -> Tensor:
        """Compare the last maps; see :class:`FeatureMatch`."""
        return self.compare(features, teacher[map_name(None)], valid, masked)


@MODELS.register_module()
class BlockMatch(FeatureMatch):
    """Maps of some of the student's blocks against maps of some of the teacher's.

    Each student map passes an adapter of its own: a 1x1 convolution where the widths differ.

    Args:
        student_blocks: Blocks of the student, counted from 0.
        teacher_blocks: As many blocks of the teacher, each the target of the student's block at the
            same place.
        loss: See :class:`FeatureMatch`.
        masked_weight: See :class:`FeatureMatch`.

    Raises:
        ConfigError: If the two are empty, negative, or of different lengths.
    """

    def __init__(
        self,
        student_blocks: Sequence[int],
        teacher_blocks: Sequence[int],
        loss: dict[str, Any] | None = None,
        masked_weight: float = 1.0,
    ) -> None:
        super().__init__(loss, masked_weight)
        self.student_blocks = _require_blocks(self, 'student_blocks', student_blocks)
        self.teacher_blocks = _require_blocks(self, 'teacher_blocks', teacher_blocks)
        if len(self.student_blocks) != len(self.teacher_blocks):
            raise ConfigError(
                f'BlockMatch: student_blocks={list(student_blocks)} and teacher_blocks='
                f'{list(teacher_blocks)} are pairs, so both need the same number of blocks.'
            )

    def connect(self, student: Channels, teacher: Channels) -> None:
        """Build the adapters; see :class:`FeatureMatch`."""
        self.adapters = nn.ModuleList(
            adapter(student(own), teacher(target))
            for own, target in zip(self.student_blocks, self.teacher_blocks, strict=True)
        )

    def forward(
        self, student: Maps, teacher: Maps, features: Tensor, valid: Tensor, masked: Tensor
    ) -> Tensor:
        """Average the comparisons of the pairs; see :class:`FeatureMatch`."""
        pairs = zip(self.adapters, self.student_blocks, self.teacher_blocks, strict=True)
        values = [
            self.compare(adapt(student[map_name(own)]), teacher[map_name(target)], valid, masked)
            for adapt, own, target in pairs
        ]
        return torch.stack(values).mean()


@MODELS.register_module()
class AggregatedMatch(FeatureMatch):
    """Maps of the student's blocks, fused as in stage 2, against the teacher's embedding.

    The aggregator ends in a ReLU and an embedding has both signs, so a 1x1 convolution follows.

    Args:
        student_blocks: Blocks of the student, counted from 0, shallow to deep.
        aggregator: Config of an `RSFeatureAggregator`, whose ``in_channels`` are filled in; by default
            one with LayerNorm, as in stage 2.
        loss: See :class:`FeatureMatch`.
        masked_weight: See :class:`FeatureMatch`.

    Raises:
        ConfigError: If there is no block, or a negative one.
    """

    def __init__(
        self,
        student_blocks: Sequence[int],
        aggregator: dict[str, Any] | None = None,
        loss: dict[str, Any] | None = None,
        masked_weight: float = 1.0,
    ) -> None:
        super().__init__(loss, masked_weight)
        self.student_blocks = _require_blocks(self, 'student_blocks', student_blocks)
        self._aggregator = dict(
            aggregator or dict(type='RSFeatureAggregator', norm_cfg=dict(type='LN2d'))
        )

    def connect(self, student: Channels, teacher: Channels) -> None:
        """Build the aggregator and the convolution behind it; see :class:`FeatureMatch`."""
        widths = [student(block) for block in self.student_blocks]
        cfg = dict(out_channels=teacher(None)) | self._aggregator | dict(in_channels=widths)
        self.aggregator = MODELS.build(cfg)
        self.projection = nn.Conv2d(cfg['out_channels'], teacher(None), 1)

    def forward(
        self, student: Maps, teacher: Maps, features: Tensor, valid: Tensor, masked: Tensor
    ) -> Tensor:
        """Compare the fused map; see :class:`FeatureMatch`."""
        fused = self.aggregator([student[map_name(block)] for block in self.student_blocks])
        return self.compare(self.projection(fused), teacher[map_name(None)], valid, masked)


def adapter(student: int, teacher: int) -> nn.Module:
    """What brings a student's map to the teacher's width: a 1x1 convolution, if they differ."""
    return nn.Identity() if student == teacher else nn.Conv2d(student, teacher, 1)


def to_grid(features: Tensor, target: Tensor) -> Tensor:
    """Resample a map (B, C, h, w) to the grid of another (B, ., H, W), if it has not got it."""
    if features.shape[-2:] == target.shape[-2:]:
        return features
    # Antialiased, so that every cell of a finer student map counts and gets a gradient.
    return F.interpolate(features, target.shape[-2:], mode='bilinear', antialias=True)


def resize_valid(valid: Tensor, features: Tensor) -> Tensor:
    """Mark the cells of a map (B, C, h, w) with any image in them, (B, 1, h, w)."""
    return F.adaptive_max_pool2d(valid.float(), features.shape[-2:]).to(features.dtype)


def _require_blocks(owner: nn.Module, name: str, blocks: Sequence[int]) -> tuple[int, ...]:
    if not blocks or any(block < 0 for block in blocks):
        raise ConfigError(
            f'{type(owner).__name__}: {name}={list(blocks)} should name at least one block, counted '
            'from 0.'
        )
    return tuple(blocks)
