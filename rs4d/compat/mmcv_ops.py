"""The ops of MMDetection's heads without mmcv's compiled extension.

Installing mmcv from PyPI gives its Python part only. MMDetection imports ``mmcv.ops``, and that
imports the compiled module ``mmcv._ext``. Where it is missing, `ensure_mmcv_ops` puts a module in
its place that computes the ops that RS4D's models need with torchvision and PyTorch, and answers
every other op with an error that says what to install.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
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
    """Non-maximum suppression with the signature of mmcv's compiled op.

    Args:
        boxes: Corners x1, y1, x2, y2 in pixels, (N, 4).
        scores: One score a box, (N,).
        iou_threshold: Boxes that overlap a better one by more are dropped.
        offset: 1 if x2 and y2 are the last pixels inside of the box, else 0.

    Returns:
        Indices of the boxes kept, best score first, (K,).
    """
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torchvision.ops.nms(boxes, scores, iou_threshold)


def _check_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise MissingMMCVOpError(_remedy('roi_align with pool_mode="max"'))


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``output`` (N, C, aligned_height, aligned_width) with average-pooled RoI features.

    Args:
        input: Feature map (B, C, H, W).
        rois: Index in the batch and corners in the image's pixels, (N, 5).
        output: The result, written in place.
        argmax_y: Used by the maximum mode alone.
        argmax_x: Used by the maximum mode alone.
        aligned_height: Bins down.
        aligned_width: Bins across.
        spatial_scale: From the image's pixels to the map's, 1 / stride.
        sampling_ratio: Samples a bin and axis; 0 means as many as the bin has pixels.
        pool_mode: 1 is average; the maximum (0) is not available.
        aligned: Shift by half a pixel.

    Raises:
        MissingMMCVOpError: If the maximum mode is asked for.
    """
    _check_average(pool_mode)
    output.copy_(
        torchvision.ops.roi_align(
            input,
            rois,
            (aligned_height, aligned_width),
            spatial_scale,
            sampling_ratio,
            aligned,
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``grad_input`` (B, C, H, W) with the gradient of `roi_align_forward`.

    Args:
        grad_output: Gradient of the RoI features, (N, C, aligned_height, aligned_width).
        rois: As in the forward.
        argmax_y: Used by the maximum mode alone.
        argmax_x: Used by the maximum mode alone.
        grad_input: The result, written in place.
        aligned_height: As in the forward.
        aligned_width: As in the forward.
        spatial_scale: As in the forward.
        sampling_ratio: As in the forward.
        pool_mode: As in the forward.
        aligned: As in the forward.

    Raises:
        MissingMMCVOpError: If the maximum mode is asked for.
    """
    _check_average(pool_mode)
    # torchvision's kernel for CPUs knows no bfloat16.
    dtype = torch.float32 if grad_output.device.type == 'cpu' else grad_output.dtype
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output.to(dtype),
            rois.to(dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


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

    def __init__(self) -> None:
        super().__init__(EXTENSION, __doc__)
        # MMEngine calls importlib.util.find_spec on it when it collects the environment, and that
        # refuses a module without a spec.
        self.__spec__ = ModuleSpec(EXTENSION, loader=None)
        self.nms = nms
        self.roi_align_forward = roi_align_forward
        self.roi_align_backward = roi_align_backward
        self.sigmoid_focal_loss_forward = torch_ops.sigmoid_focal_loss_forward
        self.sigmoid_focal_loss_backward = torch_ops.sigmoid_focal_loss_backward
        self.ms_deform_attn_forward = torch_ops.ms_deform_attn_forward
        self.ms_deform_attn_backward = torch_ops.ms_deform_attn_backward

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
    if isinstance(loaded, TorchvisionOps):
        return 'torchvision'
    if loaded is not None:
        return 'compiled'
    mmcv = importlib.import_module('mmcv')
    if importlib.util.find_spec(EXTENSION) is not None:
        try:
            importlib.import_module(EXTENSION)
        except ImportError as error:
            print_log(
                f"mmcv's compiled ops are installed but do not load ({error}); they were probably "
                "built for another PyTorch. rs4d uses torchvision's NMS and RoIAlign instead.",
                logger='current',
                level=30,
            )
        else:
            return 'compiled'
    stand_in = TorchvisionOps()
    sys.modules[EXTENSION] = stand_in
    mmcv._ext = stand_in  # type: ignore[attr-defined]
    return 'torchvision'
