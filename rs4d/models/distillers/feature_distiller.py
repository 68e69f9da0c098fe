"""Stage 1: a student learns a frozen teacher's embedding of images without labels."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from .agreement import mean_cosine, normalised_l1
from .frozen_teacher import FrozenTeacher


@MODELS.register_module()
class FeatureDistiller(BaseModel):
    """Student sees a corrupted image, teacher the clean one; the last maps are to agree.

    Source: Yang et al., IEEE TGRS 64, 2026, the distillation stage. Only the area of the image
    counts, not padding. Where the widths differ, a learned 1x1 convolution adapts the student's map;
    where the strides differ, the student's map is resampled to the teacher's grid, because the
    target should be what the teacher said and not a smoothed version of it. ``student.*`` in the
    state dict is the encoder alone; the teacher is not in the state dict.

    Args:
        student: Config of the encoder to train, returning a tuple of maps, with ``embed_dims``.
        teacher: Config of the encoder to follow, likewise.
        corruption: Config of the module that corrupts the student's input.
        loss: Config of the loss between the two maps.
        teacher_mean: Mean on a 0-255 scale, channels ordered as after the data preprocessor, with
            which the teacher was trained; None if it is the data preprocessor's.
        teacher_std: Standard deviation likewise.
        data_preprocessor: Config of an ``ImgDataPreprocessor`` or of MMDetection's
            ``DetDataPreprocessor``.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: If only one of ``teacher_mean`` and ``teacher_std`` is given, or they are given
            for a data preprocessor that does not normalise.
    """

    def __init__(
        self,
        student: dict[str, Any],
        teacher: dict[str, Any],
        corruption: dict[str, Any] | None = None,
        loss: dict[str, Any] | None = None,
        teacher_mean: Sequence[float] | None = None,
        teacher_std: Sequence[float] | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        # Built here, since MMEngine's registry does not see MMDetection's without a default scope.
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        self.student = MODELS.build(student)
        self.teacher = FrozenTeacher(teacher)
        self.corruption = MODELS.build(corruption or dict(type='AdaptiveNoiseMasking'))
        self.feature_loss = MODELS.build(loss or dict(type='FeatureLoss', kind='l1'))
        widths = self.student.embed_dims, self.teacher.embed_dims
        self.adapter = nn.Identity() if widths[0] == widths[1] else nn.Conv2d(*widths, 1)
        self._renormalise(teacher_mean, teacher_std)

    def init_weights(self) -> None:
        """Initialise the student, and load the teacher now, so that a missing file shows early.

        Raises:
            CheckpointNotFoundError: The teacher's checkpoint is not there.
            CheckpointMismatchError: The teacher's checkpoint is of another model.
        """
        self.teacher.load()
        super().init_weights()

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[BaseDataElement] | None = None,
        mode: str = 'tensor',
    ) -> tuple[Tensor, ...] | dict[str, Tensor] | list[BaseDataElement]:
        """Run the student, or compare it with the teacher.

        Args:
            inputs: Normalised images (B, 3, H, W).
            data_samples: One for each image; ``img_shape`` says how much of it is not padding.
            mode: ``'tensor'`` for the student's maps, ``'loss'`` to train, ``'predict'`` to compare
                on clean images.

        Returns:
            The student's maps, the dict of :meth:`loss`, or the list of :meth:`predict`.

        Raises:
            ValueError: If the mode is none of these.
        """
        if mode == 'tensor':
            return self.student(inputs)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"FeatureDistiller: mode {mode!r} is none of 'tensor', 'loss', 'predict'.")

    def loss(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None
    ) -> dict[str, Tensor]:
        """Compare the student on corrupted images with the teacher on clean ones.

        In training mode the outcome also moves the corruption's controller.

        Args:
            inputs: Normalised images (B, 3, H, W).
            data_samples: See :meth:`forward`.

        Returns:
            ``loss``, and for the log ``error`` (the normalised error) and the ``noise_ratio`` and
            ``mask_ratio`` under which it came about; all scalars.
        """
        valid = valid_area(inputs, data_samples)
        target = self._target(inputs)
        noise_ratio, mask_ratio = self.corruption.noise_ratio, self.corruption.mask_ratio
        with torch.no_grad():
            corrupted = self.corruption(inputs, valid)
        features = self._features(corrupted, target)
        valid_cells = resize_valid(valid, target)
        loss = self.feature_loss(features, target, valid_cells)
        error = normalised_l1(features.detach(), target, valid_cells).mean()
        if self.training:
            self.corruption.update(error)
        return dict(loss=loss, error=error, noise_ratio=noise_ratio, mask_ratio=mask_ratio)

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None
    ) -> list[BaseDataElement]:
        """Compare student and teacher, both on clean images.

        Args:
            inputs: Normalised images (B, 3, H, W).
            data_samples: See :meth:`forward`.

        Returns:
            For each image its meta information and the scalars ``normalised_l1`` and ``cosine``,
            which `rs4d.evaluation.FeatureAgreement` averages.
        """
        target = self._target(inputs)
        features = self._features(inputs, target)
        valid_cells = resize_valid(valid_area(inputs, data_samples), target)
        errors = normalised_l1(features, target, valid_cells)
        cosines = mean_cosine(features, target, valid_cells)
        samples = data_samples or [BaseDataElement() for _ in inputs]
        return [
            BaseDataElement(metainfo=sample.metainfo, normalised_l1=error, cosine=cosine)
            for sample, error, cosine in zip(samples, errors, cosines, strict=True)
        ]

    def _features(self, img: Tensor, target: Tensor) -> Tensor:
        """The student's map, as wide as the teacher's and on its grid, in float32."""
        features = self.adapter(self.student(img)[-1]).float()
        if features.shape[-2:] != target.shape[-2:]:
            # Antialiased, so that every cell of a finer student map counts and gets a gradient.
            features = F.interpolate(features, target.shape[-2:], mode='bilinear', antialias=True)
        return features

    def _target(self, img: Tensor) -> Tensor:
        if self.teacher_scale is not None and self.teacher_shift is not None:
            img = img * self.teacher_scale + self.teacher_shift
        return self.teacher(img).float()

    def _renormalise(
        self, teacher_mean: Sequence[float] | None, teacher_std: Sequence[float] | None
    ) -> None:
        """Keep the affine map from the student's normalisation to the teacher's."""
        self.teacher_scale: Tensor | None
        self.teacher_shift: Tensor | None
        scale = shift = None
        if teacher_mean is not None or teacher_std is not None:
            mean = getattr(self.data_preprocessor, 'mean', None)
            std = getattr(self.data_preprocessor, 'std', None)
            if teacher_mean is None or teacher_std is None or mean is None or std is None:
                raise ValueError(
                    'FeatureDistiller: teacher_mean and teacher_std go together, and with a '
                    'data_preprocessor that has mean and std. Give all four, or neither of the '
                    "teacher's if it was trained with the data_preprocessor's."
                )
            own_mean, own_std = mean.new_tensor(teacher_mean), std.new_tensor(teacher_std)
            scale = (std.flatten() / own_std).view(1, -1, 1, 1)
            shift = ((mean.flatten() - own_mean) / own_std).view(1, -1, 1, 1)
        # From the config, so not for checkpoints.
        self.register_buffer('teacher_scale', scale, persistent=False)
        self.register_buffer('teacher_shift', shift, persistent=False)


def valid_area(inputs: Tensor, data_samples: list[BaseDataElement] | None) -> Tensor:
    """Mark the part of each input that is image and not padding at the right and bottom.

    Args:
        inputs: (B, C, H, W).
        data_samples: One for each image; without them, or without ``img_shape``, all of it counts.

    Returns:
        1 on the image and 0 on padding, (B, 1, H, W).
    """
    valid = torch.zeros_like(inputs[:, :1])
    for i in range(len(inputs)):
        sample = data_samples[i] if data_samples is not None else None
        height, width = (sample.get('img_shape') if sample is not None else None) or inputs.shape[
            -2:
        ]
        valid[i, :, :height, :width] = 1
    return valid


def resize_valid(valid: Tensor, features: Tensor) -> Tensor:
    """Mark the cells of a feature map with any image in them.

    Args:
        valid: 1 on the image and 0 on padding, (B, 1, H, W).
        features: (B, C, h, w).

    Returns:
        (B, 1, h, w), of the dtype of ``features``.
    """
    return F.adaptive_max_pool2d(valid.float(), features.shape[-2:]).to(features.dtype)
