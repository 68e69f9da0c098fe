"""Parameters and multiply-adds of any encoder or detector, by one counter.

`rs4d flops --help` says what is counted and what is left out.

Products and scans are counted, not carried out: their results are zeros of the right shape.

A whole detector keeps as many boxes as its config allows, whatever the weights find: scores are not
thresholded and no box suppresses another.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from rs4d.config.portable import forget_checkpoints
from rs4d.errors import ConfigError
from rs4d.models.backbones.encoder import input_bands
from rs4d.ops import Engine, added_engine

Scope = Literal['backbone', 'model']


@torch.library.custom_op('rs4d::selective_scan', mutates_args=())
def _scan(u: Tensor, A: Tensor, D: Tensor | None) -> Tensor:
    """Stand for a scan of inputs (S, B, L, D): it is counted, and nothing else."""
    return u.new_zeros(u.shape[1:])


@_scan.register_fake
def _(u, A, D):
    return u.new_empty(u.shape[1:])


def _scan_flops(
    u_shape: tuple[int, ...],
    a_shape: tuple[int, int],
    d_shape: tuple[int] | None,
    *args: Any,
    **kwargs: Any,
) -> int:
    """Count 9 B L D N FLOPs of a scan's direction, and 2 B L D for the skip."""
    return math.prod(u_shape) * (9 * a_shape[1] + (0 if d_shape is None else 2))


_CUSTOM: Mapping[Any, Callable[..., int]] = {torch.ops.rs4d.selective_scan: _scan_flops}
_COUNTED = Engine(lambda u, delta, A, B, C, D, *_, **kwargs: _scan(u, A, D))


@dataclass(frozen=True)
class Complexity:
    """What a model costs for one image.

    Attributes:
        parameters: Number of parameters.
        trainable_parameters: Those that get a gradient.
        multiply_adds: Of one forward pass.
        by_operator: Multiply-adds of each operator, the costliest first.
    """

    parameters: int
    trainable_parameters: int
    multiply_adds: int
    by_operator: dict[str, int]

    @property
    def flops(self) -> int:
        """Floating point operations: two for a multiply-add."""
        return 2 * self.multiply_adds


def count_complexity(
    model: nn.Module, shape: tuple[int, int] = (1024, 1024), scope: Scope = 'backbone'
) -> Complexity:
    """Count parameters and multiply-adds of a model for one image.

    Args:
        model: On any device; on ``'meta'`` a backbone is counted without memory or time. A whole
            detector sorts and selects by numbers, so that only its backbone may be there.
        shape: Height and width in pixels.
        scope: ``'backbone'``: the model's ``backbone``, or a distiller's ``student``, or the model
            itself if it has neither. ``'model'``: a detector's whole prediction.

    Raises:
        ConfigError: A whole model is on the meta device.
    """
    part = encoder_of(model) if scope == 'backbone' else model
    device = _device_of(part)
    if scope == 'model' and device.type == 'meta':
        raise ConfigError(
            "A whole model cannot be counted on the device 'meta': it selects proposals by their "
            'numbers. Build it with build_for_counting, which leaves the backbone alone there.'
        )
    training = part.training
    counter = FlopCounterMode(display=False, custom_mapping=dict(_CUSTOM))
    bands = input_bands(encoder_of(model)) or 3
    image = torch.randn(1, bands, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    part.eval()
    try:
        with torch.no_grad(), _countable(), _all_instances(part), _ShapesOnly(), counter:
            _run(part, image)
    finally:
        part.train(training)
    counts = {str(op): flops // 2 for op, flops in counter.get_flop_counts()['Global'].items()}
    return Complexity(
        parameters=sum(p.numel() for p in part.parameters()),
        trainable_parameters=sum(p.numel() for p in part.parameters() if p.requires_grad),
        multiply_adds=counter.get_total_flops() // 2,
        by_operator=dict(sorted(counts.items(), key=lambda item: -item[1])),
    )


def build_for_counting(cfg: Mapping[str, Any], scope: Scope = 'backbone') -> nn.Module:
    """Build a config's model, or its encoder alone, without the weights that it would load.

    Args:
        cfg: The config's ``model``. Types are looked up in MMDetection's registries, as its configs
            do.
        scope: ``'backbone'`` or ``'model'``.

    Returns:
        An encoder on the meta device if it can be built there, or else on the CPU; a whole model on
        the CPU, the backbone of a detector as just said.
    """
    whole = deepcopy(dict(cfg))
    forget_checkpoints(whole)
    with DefaultScope.overwrite_default_scope('mmdet'):
        if scope == 'backbone':
            return _build_encoder(whole.get('backbone') or whole.get('student') or whole)
        if 'backbone' in whole:
            encoder = _build_encoder(whole['backbone'])
            whole['backbone'] = dict(type=lambda: encoder)
        return MODELS.build(whole)


def _build_encoder(cfg: dict[str, Any]) -> nn.Module:
    try:
        with torch.device('meta'):
            return MODELS.build(deepcopy(cfg))
    except (NotImplementedError, RuntimeError):
        # Some models read numbers out of tensors while they are built.
        return MODELS.build(cfg)


def input_shape(cfg: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of a config's input in pixels: its ``image_size``, or 1024 x 1024."""
    size = cfg.get('image_size', 1024)
    width, height = (size, size) if isinstance(size, int) else size
    return height, width


def bounds_detections(cfg: Mapping[str, Any]) -> bool:
    """Say whether a ``test_cfg`` bounds the number of objects before their masks are made.

    Boxes are suppressed before, queries are counted before; SOLOv2 makes masks of all that pass its
    threshold, up to ``nms_pre``.
    """
    return isinstance(cfg.get('nms'), dict) or 'nms_pre' not in cfg


def encoder_of(model: nn.Module) -> nn.Module:
    """Find the encoder: ``model.backbone``, else ``model.student``, else the model itself."""
    for name in ('backbone', 'student'):
        encoder = getattr(model, name, None)
        if isinstance(encoder, nn.Module):
            return encoder
    return model


def _run(model: nn.Module, image: Tensor) -> None:
    if not hasattr(model, 'data_preprocessor'):
        model(image)
        return
    sizes = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    metainfo = dict.fromkeys(sizes, tuple(image.shape[-2:]))
    sample = DetDataSample(metainfo=metainfo | dict(scale_factor=(1.0, 1.0)))
    with ExitStack() as stack:
        if isinstance(model, BaseDetector):
            stack.enter_context(_backbone_apart(model.backbone, image.device))
        # Without post-processing, as in the mode 'tensor', some heads leave their masks out.
        model(image, [sample], mode='predict' if isinstance(model, BaseDetector) else 'tensor')


class _ShapesOnly(TorchDispatchMode):
    """Answers what is counted with zeros: counts depend on shapes, and time on numbers."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        packet = func._overloadpacket
        if not (packet in flop_registry or packet in _CUSTOM) or tensors[0].is_meta:
            return func(*args, **(kwargs or {}))
        args, kwargs = tree_map(
            lambda x: x.to('meta') if isinstance(x, Tensor) else x, (args, kwargs or {})
        )
        device = tensors[0].device
        return tree_map(
            lambda x: torch.zeros(x.shape, dtype=x.dtype, device=device), func(*args, **kwargs)
        )


def _device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters, of those behind the backbone in a detector."""
    own = model.named_parameters()
    behind = (p for name, p in own if not name.startswith('backbone.'))
    return next(behind, next(model.parameters())).device


@contextmanager
def _backbone_apart(backbone: nn.Module, device: torch.device) -> Iterator[None]:
    """Let a backbone on the meta device be followed by random maps of the shapes that it gives."""
    if _device_of(backbone).type != 'meta':
        yield
        return
    forward = backbone.forward

    def maps(image: Tensor) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        shapes = [found.shape for found in forward(image.to('meta'))]
        return tuple(torch.randn(shape, generator=generator).to(device) for shape in shapes)

    backbone.forward = maps
    try:
        yield
    finally:
        del backbone.forward


@contextmanager
def _all_instances(model: nn.Module) -> Iterator[None]:
    """Let every head keep as many boxes as its ``test_cfg`` allows, and decode whole masks."""
    settings: list[tuple[Any, str, Any]] = [
        (module, name, getattr(module, name))
        for module in model.modules()
        for name in ('test_cfg', 'mask_margin')
        if isinstance(getattr(module, name, None), dict | float)
    ]
    for head, name, setting in settings:
        setattr(head, name, deepcopy(setting) if name == 'test_cfg' else None)
        if name == 'test_cfg':
            _keep_all(head.test_cfg)
    try:
        yield
    finally:
        for head, name, setting in settings:
            setattr(head, name, setting)


def _keep_all(cfg: dict[str, Any]) -> None:
    if isinstance(cfg.get('nms'), dict):
        cfg['nms']['iou_threshold'] = 1.0
        if 'min_bbox_size' in cfg:
            cfg['min_bbox_size'] = -1
    if 'score_thr' in cfg:
        # Where no number of objects is set before masks are made, none is kept instead.
        cfg['score_thr'] = -1.0 if bounds_detections(cfg) else float('inf')
    for value in cfg.values():
        if isinstance(value, dict):
            _keep_all(value)


@contextmanager
def _countable() -> Iterator[None]:
    """Run attention and scans by the operators that have a formula here.

    The other engines compute the same with operators of their own.
    """
    with added_engine('counted', _COUNTED), sdpa_kernel(SDPBackend.MATH):
        yield
