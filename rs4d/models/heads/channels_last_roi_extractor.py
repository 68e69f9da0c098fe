"""RoI features gathered from channels-last maps."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class ChannelsLastRoIExtractor(SingleRoIExtractor):
    """MMDetection's ``SingleRoIExtractor`` of ``RoIAlign``, with its arguments and numbers.

    On a CPU a feature is taken for what it is: a weighted sum of cells, each a row of as many numbers
    as there are channels. The weights of a box are the same for all channels, a sum reads each cell
    once, forwards and backwards, and rows lie together where maps are channels-last. Everything else is
    the parent's.
    """

    def forward(
        self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Take the features of boxes.

        Args:
            feats: Maps (B, C, H_i, W_i), finest first.
            rois: (N, 5): the image of the box in the batch, then x1, y1, x2, y2 in pixels.
            roi_scale_factor: Enlarge the boxes by it, or None.

        Returns:
            (N, C, height, width) of the ``RoIAlign``, channels-last on a CPU.
        """
        layer = self.roi_layers[0]
        if (
            feats[0].device.type != 'cpu'
            or (layer.pool_mode, layer.aligned, layer.use_torchvision) != ('avg', True, False)
            or torch.compiler.is_compiling()
            or torch.jit.is_tracing()
        ):
            return super().forward(feats, rois, roi_scale_factor)
        rois = rois.detach().float()
        levels = self.map_roi_levels(rois, len(feats))
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        height, width = layer.output_size
        found = feats[0].new_zeros(len(rois), height, width, self.out_channels)
        for level, (x, layer) in enumerate(zip(feats, self.roi_layers, strict=True)):
            own = (levels == level).nonzero()[:, 0]
            if len(own):
                found[own] = align(
                    x, rois[own], (height, width), layer.spatial_scale, layer.sampling_ratio
                ).to(found)
            else:
                # A gradient of 0, which DistributedDataParallel asks of every level.
                found = found + x[:0].sum()
        return found.permute(0, 3, 1, 2)


class _Axis(NamedTuple):
    """What the bins of boxes take of the cells along one axis: ``span`` cells from ``first`` on."""

    first: Tensor  # (N, bins)
    span: Tensor  # (N,)
    weights: Tensor  # (N, bins, the largest span)


def align(
    x: Tensor, rois: Tensor, size: tuple[int, int], scale: float, sampling_ratio: int
) -> Tensor:
    """Compute ``RoIAlign`` (He et al., ICCV 2017) with averages and aligned corners.

    Args:
        x: A map (B, C, H, W), best channels-last.
        rois: (N, 5), N at least 1: the image, then x1, y1, x2, y2 in pixels.
        size: Bins of a box, (height, width).
        scale: Cells a pixel.
        sampling_ratio: Samples of a bin along each axis; 0 for as many as a bin has cells, rounded up.

    Returns:
        (N, height, width, C), float32.
    """
    cells = x.permute(0, 2, 3, 1).float()
    height, width, channels = cells.shape[1:]
    left, top, right, bottom = (rois[:, 1:] * scale - 0.5).unbind(1)
    rows = _along(top, bottom, size[0], height, sampling_ratio)
    columns = _along(left, right, size[1], width, sampling_ratio)

    # One sum a bin, of all pairs of its rows and columns; the boxes have different numbers of them.
    bins = size[0] * size[1]
    pairs = rows.span * columns.span
    box = torch.arange(len(rois)).repeat_interleave(bins * pairs)
    lengths = pairs.repeat_interleave(bins)
    starts = lengths.cumsum(0) - lengths
    rank = torch.arange(len(box)) - starts[::bins][box]
    bin_, pair = _divide(rank, pairs[box])
    row_bin, column_bin = _divide(bin_, torch.tensor(size[1]))
    row, column = _divide(pair, columns.span[box])
    weights = rows.weights[box, row_bin, row] * columns.weights[box, column_bin, column]
    # Weights behind the last cell are 0.
    row = (rows.first[box, row_bin] + row).clamp_(max=height - 1)
    column = (columns.first[box, column_bin] + column).clamp_(max=width - 1)
    index = (rois[box, 0].long() * height + row) * width + column
    sums = F.embedding_bag(
        index, cells.reshape(-1, channels), starts, mode='sum', per_sample_weights=weights
    )
    return sums.view(len(rois), *size, channels)


def _along(first: Tensor, last: Tensor, bins: int, cells: int, sampling_ratio: int) -> _Axis:
    """Sum the samples of each bin, (N, bins) a box, into weights of the cells that they lie between."""
    side = (last - first)[:, None, None] / bins
    samples = torch.full_like(side, sampling_ratio) if sampling_ratio > 0 else side.ceil()
    steps = torch.arange(int(samples.max().clamp(min=1)))
    bin_ = torch.arange(bins)[:, None]
    count = samples.clamp(min=1)
    at = first[:, None, None] + bin_ * side + (steps + 0.5) * side / count
    # Samples more than a cell outside count as 0, those less far as the cell at the edge.
    share = ((steps < samples) & (at >= -1) & (at <= cells)) / count
    at = at.clamp(0, cells - 1)
    low = at.floor()
    upper = at - low
    start = low[..., :1]
    offset = (low - start).long()
    last_step = (samples.long() - 1).clamp(min=0).expand(-1, bins, -1)
    span = offset.gather(2, last_step).amax((1, 2)) + 2
    weights = first.new_zeros(len(first), bins, int(offset.max()) + 2)
    weights.scatter_add_(2, offset, share * (1 - upper)).scatter_add_(2, offset + 1, share * upper)
    return _Axis(start[..., 0].long(), span, weights)


def _divide(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Quotient and rest of integers."""
    quotient = a.div(b, rounding_mode='floor')
    return quotient, a - quotient * b
