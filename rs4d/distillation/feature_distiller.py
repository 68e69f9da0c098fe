"""Stage 1: a student learns a frozen teacher's embedding of images without labels."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from rs4d.datasets.transforms.load_raster import NO_DATA
from rs4d.errors import ConfigError

from .encoder_maps import block_channels, encode_blocks
from .frozen_teacher import FrozenTeacher
from .losses import mean_cosine, normalised_l1
from .matches import EmbeddingMatch, FeatureMatch, adapter, resize_valid, to_grid
from .teacher_cache import EMBEDDING, describe_normalisation
from .teacher_cache.cached_teacher import CachedTeacher


@MODELS.register_module()
class FeatureDistiller(BaseModel):
    """Student sees a corrupted image, teacher the clean one; their maps are to agree.

    Source: Yang et al., IEEE TGRS 64, 2026, the distillation stage. Only the area of the image
    counts, not padding. Where the widths differ, a learned 1x1 convolution adapts the student's map;
    where the strides differ, the student's map is resampled to the teacher's grid, because the
    target should be what the teacher said and not a smoothed version of it. ``student.*`` in the
    state dict is the encoder alone; the teacher is not in the state dict.

    Args:
        student: Config of the encoder to train, returning a tuple of maps, with ``embed_dims``.
        teacher: Config of the encoder to follow, likewise.
        corruption: Config of the module that corrupts the student's input; by default `NoiseAndMask`.
        losses: What is compared, each a config by the name under which it is logged, which has
            ``loss`` in it: `EmbeddingMatch` for the last maps, `BlockMatch` for blocks against
            blocks, `AggregatedMatch` for the student's blocks through the feature aggregator. The
            default is ``dict(loss_embedding=dict(type='EmbeddingMatch'))``. An entry that is None
            is left out. The error and the schedule follow the last maps, whatever is compared.
        target_norm: Config of what the teacher's maps pass before anything is compared with them, such
            as ``dict(type='ChannelStandardisation')``. Losses, error and agreement are then of its
            results, which the student learns. None leaves the maps as they are.
        teacher_cache: Folder of embeddings that ``rs4d cache-teacher`` has written. The teacher is
            then not built, and the data set's pipeline has to load them by `LoadTeacherEmbedding`.
        teacher_dtype: In what the teacher is held and runs: ``'float32'``, or ``'float16'`` or
            ``'bfloat16'`` for half of the memory.
        teacher_bands: Which channels the teacher sees, counted from 0 as they are after the data
            preprocessor: ``(0, 1, 2)`` of four bands whose first are red, green and blue, ``(0, 0, 0)``
            of a single one. None if it sees all, as the student does.
        teacher_mean: Mean on a 0-255 scale, of the channels that the teacher sees in its order, with
            which it was trained; None if it is the data preprocessor's.
        teacher_std: Standard deviation likewise.
        data_preprocessor: Config of an ``ImgDataPreprocessor`` or of MMDetection's
            ``DetDataPreprocessor``.
        init_cfg: MMEngine's initialisation.

    Raises:
        ConfigError: If only one of ``teacher_mean`` and ``teacher_std`` is given, or they are given
            for a data preprocessor that does not normalise; if ``losses`` cannot be what it says; if
            the teacher would see another number of channels than it takes.
        TeacherCacheError: If the cache was made with another teacher or normalisation.
    """

    def __init__(
        self,
        student: dict[str, Any],
        teacher: dict[str, Any],
        corruption: dict[str, Any] | None = None,
        losses: dict[str, dict[str, Any] | None] | None = None,
        target_norm: dict[str, Any] | None = None,
        teacher_cache: str | None = None,
        teacher_dtype: str = 'float32',
        teacher_bands: Sequence[int] | None = None,
        teacher_mean: Sequence[float] | None = None,
        teacher_std: Sequence[float] | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        normalisation = None
        # Built here, since MMEngine's registry does not see MMDetection's without a default scope.
        if isinstance(data_preprocessor, dict) or data_preprocessor is None:
            normalisation = describe_normalisation(
                data_preprocessor, teacher_mean, teacher_std, teacher_bands
            )
            data_preprocessor = data_preprocessor and MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        matches = _build_matches(losses)
        self.teacher_bands = None if teacher_bands is None else tuple(teacher_bands)
        self.student_blocks = _union(match.student_blocks for match in matches.values())
        self.teacher_blocks = _union(match.teacher_blocks for match in matches.values())
        self.student = MODELS.build(student)
        self.teacher: FrozenTeacher | CachedTeacher
        if teacher_cache is None:
            self.teacher = FrozenTeacher(teacher, teacher_dtype)
        elif normalisation is None:
            raise ConfigError(
                'FeatureDistiller: with a teacher_cache, data_preprocessor has to be a config and '
                'not a module, so that it can be compared with the one that made the cache.'
            )
        else:
            self.teacher = CachedTeacher(teacher, teacher_cache, normalisation)
        self.corruption = MODELS.build(corruption or dict(type='NoiseAndMask'))
        own, its = self.student.embed_dims, self.teacher.channels(None)
        self.adapter = adapter(own, its)
        for match in matches.values():
            match.connect(lambda block: block_channels(self.student, block), self.teacher.channels)
        self.losses = nn.ModuleDict(matches)
        self.target_norm = None if target_norm is None else MODELS.build(target_norm)
        if self.target_norm is not None:
            self.target_norm.connect(self.teacher.channels, self.teacher_blocks)
        trained = any(isinstance(match, EmbeddingMatch) for match in matches.values())
        if not trained and not isinstance(self.adapter, nn.Identity):
            raise ConfigError(
                f"FeatureDistiller: the student's last map has {own} channels and the teacher's {its}, "
                'and no EmbeddingMatch in losses trains the convolution between them, which the error '
                'and the schedule need. Add one, with a small loss_weight if need be.'
            )
        self._require_bands()
        self._renormalise(teacher_mean, teacher_std)

    def init_weights(self) -> None:
        """Initialise the student, and load the teacher now, so that a missing file shows early.

        Raises:
            CheckpointNotFoundError: The teacher's checkpoint is not there.
            CheckpointMismatchError: The teacher's checkpoint is of another model.
            TeacherCacheError: The teacher's cache is not there, or of something else.
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
            inputs: Normalised images (B, bands, H, W).
            data_samples: One for each image, which say what of it counts; see :func:`valid_area`.
            mode: ``'tensor'`` for the student's maps, ``'loss'`` for :meth:`loss`, ``'predict'`` for
                :meth:`predict`.
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

        In training mode the outcome also moves the corruption's schedule. For the arguments see
        :meth:`forward`.

        Returns:
            The ``losses`` under their names, and for the log ``error`` (the normalised error of the
            last map) and the ``noise_ratio`` and ``mask_ratio`` under which it came about; all
            scalars. MMEngine adds the losses up, and logs their sum as ``loss``.
        """
        valid = valid_area(inputs, data_samples)
        targets = self.targets(inputs, data_samples, valid)
        target = targets[EMBEDDING].float()
        noise_ratio, mask_ratio = self.corruption.noise_ratio, self.corruption.mask_ratio
        with torch.no_grad():
            corrupted, masked = self.corruption(inputs, valid)
        maps = encode_blocks(self.student, corrupted, self.student_blocks)
        features = to_grid(self.adapter(maps[EMBEDDING]).float(), target)
        values = {
            name: match(maps, targets, features, valid, masked)
            for name, match in self.losses.items()
        }
        error = normalised_l1(features.detach(), target, resize_valid(valid, target)).mean()
        if self.training:
            self.corruption.schedule.update(error)
        return dict(**values, error=error, noise_ratio=noise_ratio, mask_ratio=mask_ratio)

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None
    ) -> list[BaseDataElement]:
        """Compare student and teacher, both on clean images; see :meth:`forward`.

        Returns:
            For each image its meta information and the scalars ``normalised_l1`` and ``cosine``,
            which `rs4d.evaluation.FeatureAgreement` averages.
        """
        valid = valid_area(inputs, data_samples)
        target = self.targets(inputs, data_samples, valid)[EMBEDDING].float()
        features = to_grid(self.adapter(self.student(inputs)[-1]).float(), target)
        valid_cells = resize_valid(valid, target)
        errors = normalised_l1(features, target, valid_cells)
        cosines = mean_cosine(features, target, valid_cells)
        samples = data_samples or [BaseDataElement() for _ in inputs]
        return [
            BaseDataElement(metainfo=sample.metainfo, normalised_l1=error, cosine=cosine)
            for sample, error, cosine in zip(samples, errors, cosines, strict=True)
        ]

    def targets(
        self,
        inputs: Tensor,
        data_samples: list[BaseDataElement] | None = None,
        valid: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """What the student is to say: :meth:`teacher_maps` behind ``target_norm``, if there is one.

        ``valid`` is :func:`valid_area` of the other two, where that is at hand.
        """
        maps = self.teacher_maps(inputs, data_samples)
        if self.target_norm is None:
            return maps
        return self.target_norm(maps, valid_area(inputs, data_samples) if valid is None else valid)

    def teacher_maps(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None
    ) -> dict[str, Tensor]:
        """What the teacher says of clean images, computed or from the cache; see :meth:`forward`.

        Returns:
            ``'embedding'``, the last map, and ``'block<i>'`` for the blocks that ``losses`` name.

        Raises:
            TeacherCacheError: The cache's maps should be in ``data_samples`` and are not.
        """
        if isinstance(self.teacher, CachedTeacher):
            return self.teacher.maps(data_samples, self.teacher_blocks, inputs.device)
        if self.teacher_bands is not None:
            inputs = inputs[:, list(self.teacher_bands)]
        if self.teacher_scale is not None and self.teacher_shift is not None:
            inputs = inputs * self.teacher_scale + self.teacher_shift
        return self.teacher.maps(inputs, self.teacher_blocks)

    def _require_bands(self) -> None:
        """Raise unless the teacher takes as many channels as it would see."""
        mean = getattr(self.data_preprocessor, 'mean', None)
        total = None if mean is None or mean.numel() == 1 else mean.numel()
        seen = total if self.teacher_bands is None else len(self.teacher_bands)
        takes = self.teacher.num_bands
        if self.teacher_bands is None and total in (None, 3):
            return
        beyond = total and self.teacher_bands and max(self.teacher_bands) >= total
        if beyond or (takes is not None and seen is not None and takes != seen):
            raise ConfigError(
                f'FeatureDistiller: images have {total or "some"} bands and teacher_bands is '
                f'{self.teacher_bands}, so that the teacher would see {seen}, but it takes '
                f'{takes or "some"}. Set teacher_bands to those that it knows, counted from 0, such as '
                '(0, 1, 2).'
            )

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
                raise ConfigError(
                    'FeatureDistiller: teacher_mean and teacher_std go together, and with a '
                    'data_preprocessor that has mean and std. Give all four, or neither of the '
                    "teacher's if it was trained with the data_preprocessor's."
                )
            own_mean, own_std = mean.new_tensor(teacher_mean), std.new_tensor(teacher_std)
            mean, std = mean.flatten(), std.flatten()
            if self.teacher_bands is not None and len(mean) > 1:
                mean, std = mean[list(self.teacher_bands)], std[list(self.teacher_bands)]
            scale = (std / own_std).view(1, -1, 1, 1)
            shift = ((mean - own_mean) / own_std).view(1, -1, 1, 1)
        # From the config, so not for checkpoints.
        self.register_buffer('teacher_scale', scale, persistent=False)
        self.register_buffer('teacher_shift', shift, persistent=False)


def valid_area(inputs: Tensor, data_samples: list[BaseDataElement] | None) -> Tensor:
    """Mark what of each input is image: neither padding at the right and bottom nor without data.

    Args:
        inputs: (B, C, H, W).
        data_samples: One for each image: ``img_shape`` says how much is not padding, ``gt_sem_seg``,
            where there is one, has 255 at pixels without data, as `LoadRaster` marks them. All of an
            image counts of which nothing is said.

    Returns:
        1 on the image and 0 elsewhere, (B, 1, H, W).
    """
    valid = torch.zeros_like(inputs[:, :1])
    for i in range(len(inputs)):
        sample = data_samples[i] if data_samples is not None else None
        shape = sample.get('img_shape') if sample is not None else None
        height, width = shape or inputs.shape[-2:]
        valid[i, :, :height, :width] = 1
        marks = sample.get('gt_sem_seg') if sample is not None else None
        if marks is not None:
            there = marks.sem_seg[..., :height, :width].to(valid.device) != NO_DATA
            valid[i, :, : there.shape[-2], : there.shape[-1]] *= there
    return valid


def _build_matches(losses: dict[str, dict[str, Any] | None] | None) -> dict[str, FeatureMatch]:
    """Build the entries of a distiller's ``losses``, not yet connected."""
    if losses is None:
        losses = dict(loss_embedding=dict(type='EmbeddingMatch'))
    chosen = {name: cfg for name, cfg in losses.items() if cfg is not None}
    # MMEngine adds up what has "loss" in its name, and calls the sum "loss".
    wrong = [name for name in chosen if 'loss' not in name or name == 'loss']
    if wrong or not chosen:
        raise ConfigError(
            'FeatureDistiller: losses is a dict from names to configs, such as dict(loss_embedding='
            "dict(type='EmbeddingMatch')); "
            + (f'the names {wrong} should be like loss_blocks.' if wrong else 'it has no entry.')
        )
    return {name: MODELS.build(cfg) for name, cfg in chosen.items()}


def _union(groups: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sorted({block for group in groups for block in group}))
