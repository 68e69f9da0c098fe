"""The ops of MMDetection's heads without mmcv's compiled extension.

Installing mmcv from PyPI gives its Python part only. MMDetection imports ``mmcv.ops``, and that
imports the compiled module ``mmcv._ext``. Where it is missing, `ensure_mmcv_ops` puts a module in
its place that computes the ops that RS4D's models need with torchvision and PyTorch, and answers
every other op with an error that says what to install.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import torch
import torchvision
from mmengine.logging import print_log
from torch import Tensor

from rs4d.errors import UserError

from . import torch_ops

EXTENSION = 'mmcv._ext'


class MissingMMCVOpError(UserError, NotImplementedError):
    """An op of mmcv was called that exists only in its compiled extension."""


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Return the indices of the boxes (N, 4) to keep, best score first.

    ``offset`` is 1 if x2 and y2 are the last pixels inside of a box, else 0.
    """
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torchvision.ops.nms(boxes, scores, iou_threshold)


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, *argmax: Tensor, **settings: Any
) -> None:
    """Fill ``output`` (N, C, aligned_height, aligned_width) with average-pooled RoI features.

    Raises:
        MissingMMCVOpError: The maximum mode is asked for.
    """
    if settings['pool_mode'] != 1:
        raise MissingMMCVOpError(_remedy('roi_align with pool_mode="max"'))
    scale, height, width, sampling_ratio, aligned = _roi_settings(settings)
    size = (height, width)
    output.copy_(torchvision.ops.roi_align(input, rois, size, scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    **settings: Any,
) -> None:
    """Fill ``grad_input`` (B, C, H, W) with the gradient of `roi_align_forward`."""
    # torchvision's kernel for CPUs knows no bfloat16.
    dtype = torch.float32 if grad_output.device.type == 'cpu' else grad_output.dtype
    scale, height, width, *rest = _roi_settings(settings)
    grad = torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype), rois.to(dtype), scale, height, width, *grad_input.shape, *rest
    )
    grad_input.copy_(grad)


def _roi_settings(settings: dict[str, Any]) -> Iterator[Any]:
    names = ('spatial_scale', 'aligned_height', 'aligned_width', 'sampling_ratio', 'aligned')
    return (settings[name] for name in names)


def _remedy(op: str) -> str:
    return (
        f"mmcv's op '{op}' was called, but mmcv is installed without its compiled ops, and "
        'torchvision has no equal that rs4d could put in its place. Choose a model without this '
        "op, or compile mmcv's ops for the PyTorch that you have: "
        'MMCV_WITH_OPS=1 pip install --no-binary onedl-mmcv --no-build-isolation '
        '--no-cache-dir --force-reinstall --no-deps onedl-mmcv'
    )


class TorchvisionOps(ModuleType):
    """Stands in for ``mmcv._ext``; every name is there, and those without an equal raise."""

    nms = staticmethod(nms)
    roi_align_forward = staticmethod(roi_align_forward)
    roi_align_backward = staticmethod(roi_align_backward)
    sigmoid_focal_loss_forward = staticmethod(torch_ops.sigmoid_focal_loss_forward)
    sigmoid_focal_loss_backward = staticmethod(torch_ops.sigmoid_focal_loss_backward)
    ms_deform_attn_forward = staticmethod(torch_ops.ms_deform_attn_forward)
    ms_deform_attn_backward = staticmethod(torch_ops.ms_deform_attn_backward)

    def __init__(self) -> None:
        super().__init__(EXTENSION, __doc__)
        # MMEngine looks for the module when it collects the environment, and importlib refuses one
        # without a spec.
        self.__spec__ = ModuleSpec(EXTENSION, loader=None)

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith('__'):
            raise AttributeError(f'module {EXTENSION!r} has no attribute {name!r}')

        def missing_op(*args: Any, **kwargs: Any) -> NoReturn:
            raise MissingMMCVOpError(_remedy(name))

        return missing_op


def ensure_mmcv_ops() -> str:
    """Make ``mmcv.ops`` importable: with mmcv's compiled ops if they are there, else torchvision's.

    Returns:
        ``'compiled'`` or ``'torchvision'``.
    """
    loaded = sys.modules.get(EXTENSION)
    if loaded is not None:
        return 'torchvision' if isinstance(loaded, TorchvisionOps) else 'compiled'
    mmcv = importlib.import_module('mmcv')
    try:
        importlib.import_module(EXTENSION)
    except ModuleNotFoundError:
        pass
    except ImportError as error:
        print_log(
            f"mmcv's compiled ops are installed but do not load ({error}); they were probably "
            "built for another PyTorch. rs4d uses torchvision's NMS and RoIAlign instead.",
            logger='current',
            level=logging.WARNING,
        )
    else:
        return 'compiled'
    stand_in = TorchvisionOps()
    sys.modules[EXTENSION] = stand_in
    mmcv._ext = stand_in  # type: ignore[attr-defined]
    return 'torchvision'
