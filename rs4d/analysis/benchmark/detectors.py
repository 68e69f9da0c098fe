"""Detectors of configs with random weights, and the steps of them that are measured."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from rs4d.analysis.complexity import (
    bounds_detections,
    encoder_of,
    forget_checkpoints,
    input_shape,
)
from rs4d.config import load_config
from rs4d.config.effect import OptionWithoutEffectError
from rs4d.errors import ConfigError
from rs4d.models.backbones.encoder import input_bands

from .stopwatch import Stopwatch

Mode = Literal['predict', 'train']
PRECISIONS: Mapping[str, torch.dtype | None] = {'float32': None, 'bf16': torch.bfloat16}

# Which attribute's method is which part of a prediction. Two-stage detectors have an rpn_head and a
# roi_head, one-stage ones a bbox_head, a mask_head or both, or a roi_head of masks alone, Mask2Former
# the panoptic ones.
_PREDICTING = (
    ('backbone', 'forward', 'encoder'),
    ('neck', 'forward', 'neck'),
    ('rpn_head', 'predict', 'proposals'),
    ('bbox_head', 'predict', 'proposals'),
    ('roi_head', 'predict', 'heads'),
    ('roi_head', 'predict_mask', 'heads'),
    ('mask_head', 'predict', 'heads'),
    ('panoptic_head', 'predict', 'heads'),
    ('panoptic_fusion_head', 'predict', 'post-processing'),
)
# Methods of heads, wherever they are but in the RPN, that are parts of their own within those:
# suppression, thresholds and masks at the image's size, and the decoding of masks by RTMDet and for
# learned queries.
_WITHIN_HEADS = (
    ('predict_by_feat', 'post-processing'),
    ('binarise', 'post-processing'),
    ('_mask_predict_by_feat_single', 'heads'),
    ('decode_masks', 'heads'),
)
PARTS: Mapping[Mode, tuple[str, ...]] = {
    'predict': ('encoder', 'neck', 'proposals', 'heads', 'post-processing', 'rest'),
    'train': ('forward', 'backward', 'optimizer', 'rest'),
}


@dataclass(frozen=True)
class Workload:
    """What a step of a detector works on.

    Attributes:
        mode: A prediction, of one image, or a training step.
        side: Height and width of an image in pixels; None for what the config says.
        batch_size: Images of a training step.
        instances: Objects of an image in training.
        detections: Objects that are found in an image, whatever the weights.
    """

    mode: Mode
    side: int | None = None
    batch_size: int = 1
    instances: int = 20
    detections: int = 100


def read_detector(config: str, work: Workload) -> Config:
    """Read a detector's config for a workload, without the weights that it would load.

    Raises:
        ConfigError: There is nothing to train in it, or see `load_config`.
    """
    cfg = load_config(config)
    if work.side is not None and 'image_size' in cfg:
        # Where no part refers to it, the model is as it is, and the images have that side all the same.
        with suppress(OptionWithoutEffectError):
            cfg = load_config(config, dict(image_size=work.side))
    if work.mode == 'train' and 'optim_wrapper' not in cfg:
        raise ConfigError(
            f"The config '{config}' has no optim_wrapper, so there is nothing to train."
        )
    forget_checkpoints(cfg.model)
    if work.mode == 'predict':
        _limit_detections(cfg.model.get('test_cfg') or {}, work.detections)
    return cfg


class DetectorSteps:
    """A detector with random weights on images of noise, on the CPU.

    In a prediction, scores and boxes are computed as ever, and then other boxes take the place of
    those decoded, the same for every detector: random weights would put them anywhere, of any size,
    and masks cost by the size of their boxes.

    Attributes:
        model: The detector.
        shape: Height and width of its images in pixels.
        detections: Objects found by the last prediction.
    """

    def __init__(self, cfg: Config, work: Workload) -> None:
        self.shape = (work.side, work.side) if work.side else input_shape(cfg)
        self.detections: int | None = None
        self._dtype: torch.dtype | None = None
        self._step = self._train if work.mode == 'train' else self._predict
        self._watch = Stopwatch()
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.model: Any = MODELS.build(cfg.model)
            if not isinstance(self.model, BaseDetector):
                raise ConfigError(
                    f'The model of {cfg.filename} is a {type(self.model).__name__} and no detector. '
                    'Encoders are measured by `rs4d benchmark encoders`.'
                )
            bands = input_bands(encoder_of(self.model)) or 3
            self._forward = self.model.forward
            self.model.forward = self._forward_in_precision
            if work.mode == 'train':
                self.model.train()
                with _quiet():
                    self._optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
                self._data = make_batch(self.shape, work.instances, work.batch_size, bands)
                self._watch.watch(self.model, 'forward', 'forward')
                self._watch.watch(self._optim_wrapper, 'backward', 'backward')
                self._watch.watch(self._optim_wrapper, 'step', 'optimizer')
            else:
                self.model.eval()
                self._data = make_batch(self.shape, 0, 1, bands)
                _place_boxes(self.model, self.shape)
                self._watch_prediction()

    def step(self, precision: str) -> dict[str, float]:
        """Predict or train once, and return the seconds of each part.

        Args:
            precision: A key of ``PRECISIONS``; any but float32 is autocast.
        """
        self._dtype = PRECISIONS[precision]
        return self._watch.measure(self._step)

    def _forward_in_precision(self, *args: Any, **kwargs: Any) -> Any:
        """Run the detector in autocast, or without where the config has it."""
        dtype = self._dtype
        with torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None):
            return self._forward(*args, **kwargs)

    def _predict(self) -> None:
        with torch.no_grad():
            (found,) = self.model.test_step(self._data)
        self.detections = len(found.pred_instances)

    def _train(self) -> None:
        self.model.train_step(self._data, self._optim_wrapper)

    def _watch_prediction(self) -> None:
        for name, method, part in _PREDICTING:
            owner = getattr(self.model, name, None)
            if hasattr(owner, method):
                self._watch.watch(owner, method, part)
        for name, module in self.model.named_modules():
            for method, part in _WITHIN_HEADS:
                if hasattr(module, method) and not name.startswith('rpn_head'):
                    self._watch.watch(module, method, part)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out MMEngine's line on each parameter that has settings of its own."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def make_batch(
    shape: tuple[int, int], instances: int, batch_size: int, bands: int = 3
) -> dict[str, list]:
    """Make what a data loader gives: images of noise with rectangles of the first class.

    Args:
        shape: Height and width in pixels.
        instances: Objects of an image.
        batch_size: Images.
        bands: Bands of an image.
    """
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(batch_size):
        boxes = _random_boxes(instances, shape, generator)
        masks = torch.zeros(instances, *shape, dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(
            bboxes=boxes,
            labels=torch.zeros(instances, dtype=torch.long),
            masks=BitmapMasks(masks.numpy(), *shape),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    size = (batch_size, bands, *shape)
    images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
    return dict(inputs=list(images), data_samples=samples)


def _random_boxes(number: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw boxes (N, 4) with sides of 5 to 20 % of the image's."""
    sides = torch.tensor(shape[::-1])
    corners = torch.rand(number, 2, generator=generator) * sides * 0.8
    sizes = sides * (0.05 + 0.15 * torch.rand(number, 2, generator=generator))
    return torch.cat([corners, corners + sizes], dim=1)


def _limit_detections(cfg: dict[str, Any], number: int) -> None:
    """Let a detector keep as many detections, in place, of whatever score."""
    for key, value in cfg.items():
        if isinstance(value, dict) and key not in ('rpn', 'nms'):
            _limit_detections(value, number)
    for key in ('max_per_img', 'max_per_image'):
        if key in cfg:
            cfg[key] = number
    if 'score_thr' in cfg and bounds_detections(cfg):
        cfg['score_thr'] = -1.0


def _place_boxes(model: nn.Module, shape: tuple[int, int]) -> None:
    """Let all heads decode the same boxes, after the work of decoding their own."""
    drawn: dict[int, Tensor] = {}

    def instead_of(decode: Any) -> Any:
        def decoded(*args: Any, **kwargs: Any) -> Tensor:
            boxes = decode(*args, **kwargs)
            number = boxes.numel() // 4
            if number not in drawn:
                drawn[number] = _random_boxes(number, shape, torch.Generator().manual_seed(0))
            return drawn[number].to(boxes).view_as(boxes)

        return decoded

    coders = {
        id(coder): coder for m in model.modules() if (coder := getattr(m, 'bbox_coder', None))
    }
    for coder in coders.values():
        coder.decode = instead_of(coder.decode)
