"""Detectors from image to detections as graphs of tensors, with what MMDetection does in Python.

Numbers of candidates, proposals and detections are those that a config allows at most, so that shapes
are known: what is not there has a score of 0. A box below the least score cannot suppress one above,
so that it may stay until the end.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torchvision
from mmdet.models.dense_heads import RPNHead, RTMDetHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import MaskRCNN
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules import DeltaXYWHBBoxCoder, DistancePointBBoxCoder
from torch import Tensor, nn

from rs4d.errors import ConfigError
from rs4d.models.detectors import OneStageMaskRCNN
from rs4d.models.heads import BoxMaskRoIHead


def detector_part(model: Any) -> nn.Module:
    """Make a module of a detector: normalised image and its size to boxes, scores, labels, masks.

    It takes an image (1, bands, H, W) and the height and width of what of it is not padding, (2,), and
    returns boxes (N, 4) in pixels as x1, y1, x2, y2, scores (N,), the best first and 0 where there is no
    detection, labels (N,), and the masks in the boxes as probabilities (N, side, side).

    Raises:
        ConfigError: A detector of this kind cannot be exported as a whole.
    """
    roi_head = getattr(model, 'roi_head', None)
    if type(model) is OneStageMaskRCNN and type(roi_head) is BoxMaskRoIHead:
        _require_one_stage(model)
        return _OneStage(model)
    if type(model) is MaskRCNN and type(roi_head) is StandardRoIHead:
        _require_two_stage(model)
        return _TwoStage(model)
    heads = '' if roi_head is None else f' with {type(roi_head).__name__}'
    part = 'encoder+neck' if getattr(model, 'with_neck', False) else 'encoder'
    raise ConfigError(
        f'{type(model).__name__}{heads} cannot be exported as a whole; the bbox and light detectors '
        f'can. Export its --part {part}.'
    )


def _require_one_stage(model: Any) -> None:
    head = model.bbox_head
    _require(
        {
            f'model.bbox_head={type(head).__name__}': isinstance(head, RTMDetHead)
            and _is_own(head, BaseDenseHead, 'predict_by_feat', '_predict_by_feat_single'),
            'model.bbox_head.loss_cls': getattr(head, 'use_sigmoid_cls', False)
            and not getattr(head.loss_cls, 'custom_cls_channels', False),
            'model.bbox_head.bbox_coder': _clips(head, DistancePointBBoxCoder),
        }
        | _settings('model.test_cfg', head.test_cfg)
        | _mask_branch(model.roi_head)
    )


def _require_two_stage(model: Any) -> None:
    rpn, roi_head = model.rpn_head, model.roi_head
    head, extractor = roi_head.bbox_head, roi_head.bbox_roi_extractor
    _require(
        {
            f'model.rpn_head={type(rpn).__name__}': isinstance(rpn, RPNHead)
            and _is_own(rpn, RPNHead, 'predict_by_feat', '_predict_by_feat_single'),
            'model.rpn_head.bbox_coder': _clips(rpn, DeltaXYWHBBoxCoder),
            f'model.roi_head.bbox_head={type(head).__name__}': isinstance(head, BBoxHead)
            and _is_own(head, BBoxHead, 'predict_by_feat', '_predict_by_feat_single')
            and head.with_cls
            and head.with_reg,
            'model.roi_head.bbox_head.loss_cls': not getattr(head, 'custom_cls_channels', True),
            'model.roi_head.bbox_head.bbox_coder': _clips(head, DeltaXYWHBBoxCoder),
            'model.roi_head.bbox_roi_extractor': _aligns(extractor),
            'model.roi_head.shared_head': not roi_head.with_shared_head,
            'model.test_cfg.rpn.nms.class_agnostic': not _agnostic(rpn.test_cfg),
        }
        | _settings('model.test_cfg.rpn', rpn.test_cfg)
        | _settings('model.test_cfg.rcnn', roi_head.test_cfg)
        | _mask_branch(roi_head)
    )


def _require(can_be: Mapping[str, bool]) -> None:
    """Raise if the graph would do something else than a setting says.

    Raises:
        ConfigError: It would, with the names of the settings.
    """
    others = [name for name, known in can_be.items() if not known]
    if others:
        raise ConfigError(
            f'{", ".join(others)}: the model cannot be exported as a whole with this, because the graph '
            'would do something else. Change it by --cfg-options (suppression is of the type nms, with '
            'iou_threshold, and max_per_img is above 0), or export --part encoder+neck.'
        )


def _is_own(head: Any, kind: type, *names: str) -> bool:
    """Whether a head does what is written anew below as ``kind`` does it."""
    return all(getattr(type(head), name) is getattr(kind, name) for name in names)


def _settings(where: str, settings: Any) -> dict[str, bool]:
    nms = settings.get('nms') or {}
    known = {'type', 'iou_threshold', 'split_thr', 'class_agnostic'}
    plain = nms.get('type', 'nms') == 'nms' and 'iou_threshold' in nms and nms.keys() <= known
    said = ', '.join(f'{key}={value!r}' for key, value in nms.items())
    return {
        f'{where}.nms=dict({said})': plain,
        f'{where}.max_per_img={settings.get("max_per_img")}': settings.get('max_per_img', -1) > 0,
    }


def _mask_branch(roi_head: Any) -> dict[str, bool]:
    head = roi_head.mask_head
    return {
        f'model.roi_head.mask_head={type(head).__name__}': isinstance(head, FCNMaskHead)
        and _is_own(head, FCNMaskHead, 'predict_by_feat', '_predict_by_feat_single', 'forward'),
        'model.roi_head.mask_roi_extractor': _aligns(roi_head.mask_roi_extractor),
    }


def _clips(head: Any, kind: Any) -> bool:
    """Whether a head's boxes are made by a coder of this kind, which clips them to the image."""
    coder = getattr(head, 'bbox_coder', None)
    return type(coder) is kind and bool(getattr(coder, 'clip_border', False))


def _aligns(extractor: Any) -> bool:
    """Whether features of boxes are means of one level's map, as below."""
    return isinstance(extractor, SingleRoIExtractor) and all(
        type(layer).__name__ == 'RoIAlign' and layer.pool_mode == 'avg'
        for layer in extractor.roi_layers
    )


def _agnostic(settings: Any) -> bool:
    """Whether boxes suppress those of other classes, too."""
    return bool((settings.get('nms') or {}).get('class_agnostic', False))


def _likeliest(scores: Tensor, settings: Any) -> tuple[Tensor, Tensor]:
    """The scores (N,) of a level's candidates that are looked at, best first, and their places."""
    count, most = scores.shape[0], settings.get('nms_pre', -1)
    if not isinstance(count, torch.SymInt):
        best = scores.topk(min(most, count) if most > 0 else count)
        return best.values, best.indices
    if most <= 0:
        raise ConfigError(
            'nms_pre has to be above 0 for --dynamic, which looks at as many candidates at every size.'
        )
    # Of a size that is open it is not known if there are as many: behind the last are some of score 0.
    scores, index = torch.cat([scores, scores.new_zeros(most)]).topk(most)
    return scores, index.clamp(max=count - 1)


class _OneStage(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        head, settings = self.model.bbox_head, self.model.bbox_head.test_cfg
        maps = self.model.extract_feat(without_padding(image, size))
        scores_of, deltas_of = head(maps)
        priors_of = head.prior_generator.grid_priors(
            [scores.shape[-2:] for scores in scores_of], dtype=image.dtype, device=image.device
        )
        found = []
        for scores, deltas, priors in zip(scores_of, deltas_of, priors_of, strict=True):
            classes = head.cls_out_channels
            scores = _by_cell(scores, classes).sigmoid().flatten()
            scores, index = _likeliest(scores, settings)
            cell = index.div(classes, rounding_mode='floor')
            boxes = head.bbox_coder.decode(priors[cell], _by_cell(deltas, 4)[cell])
            found.append((_clip(boxes, size), scores, index - cell * classes))
        boxes, scores, labels = (torch.cat(x) for x in zip(*found, strict=True))
        scores = _without_small(boxes, scores, settings)
        best = _best(boxes, scores, labels, settings)
        return *best, _masks(self.model.roi_head, maps, best[0], best[2])


class _TwoStage(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        maps = self.model.extract_feat(without_padding(image, size))
        proposals, likely = self._proposals(maps, size)
        roi_head = self.model.roi_head
        head, settings = roi_head.bbox_head, roi_head.test_cfg
        features = _roi_features(roi_head.bbox_roi_extractor, maps, proposals)
        scores, deltas = head(features)
        classes = head.num_classes
        # What is no proposal is nothing.
        scores = scores.softmax(-1)[:, :classes] * (likely > 0).to(scores)[:, None]
        count = len(proposals)
        if head.reg_class_agnostic:
            boxes = head.bbox_coder.decode(proposals, deltas)
            boxes = boxes[:, None].expand(count, classes, 4).reshape(-1, 4)
        else:
            own = proposals[:, None].expand(count, classes, 4).reshape(-1, 4)
            boxes = head.bbox_coder.decode(own, deltas.reshape(-1, 4))
        labels = torch.arange(classes).expand(count, classes).reshape(-1)
        found = _best(_clip(boxes, size), scores.flatten(), labels, settings)
        return *found, _masks(roi_head, maps, found[0], found[2])

    def _proposals(self, maps: Sequence[Tensor], size: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) and scores (N,) of the RPN; levels suppress each other's boxes never."""
        head, settings = self.model.rpn_head, self.model.rpn_head.test_cfg
        scores_of, deltas_of = head(maps)
        priors_of = head.prior_generator.grid_priors(
            [scores.shape[-2:] for scores in scores_of], device=maps[0].device
        )
        found = []
        for scores, deltas, priors in zip(scores_of, deltas_of, priors_of, strict=True):
            scores = _by_cell(scores, head.cls_out_channels)
            scores = scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(-1)[:, :-1]
            scores = scores.flatten()
            scores, index = _likeliest(scores, settings)
            boxes = head.bbox_coder.decode(priors[index], _by_cell(deltas, 4)[index])
            boxes = _clip(boxes, size)
            scores = _without_small(boxes, scores, settings)
            found.append(_suppressed(boxes, scores, settings.nms.iou_threshold, len(scores)))
        boxes, scores = (torch.cat(x) for x in zip(*found, strict=True))
        scores, index = scores.topk(min(settings.max_per_img, len(scores)))
        return boxes[index], scores


def without_padding(image: Tensor, size: Tensor) -> Tensor:
    """Set what of a normalised image (1, bands, H, W) is outside of (height, width) to its mean."""
    rows = torch.arange(image.shape[2]) < size[0]
    columns = torch.arange(image.shape[3]) < size[1]
    return torch.where(rows[:, None] & columns, image, 0.0)


def _by_cell(x: Tensor, channels: int) -> Tensor:
    """Turn a map (1, anchors * channels, H, W) into rows (H * W * anchors, channels)."""
    return x[0].permute(1, 2, 0).reshape(-1, channels)


def _clip(boxes: Tensor, size: Tensor) -> Tensor:
    """Clip boxes (N, 4) to an image of (height, width)."""
    return boxes.clamp(min=0).minimum(size.flip(0).repeat(2).to(boxes))


def _without_small(boxes: Tensor, scores: Tensor, settings: Any) -> Tensor:
    """Take the score of boxes that are smaller than the settings allow."""
    least = settings.get('min_bbox_size', -1)
    if least < 0:
        return scores
    sides = boxes[:, 2:] - boxes[:, :2]
    return torch.where((sides > least).all(1), scores, 0.0)


def _suppressed(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    count: int,
    groups: Tensor | None = None,
    *,
    across: bool = False,
) -> tuple[Tensor, ...]:
    """Return the best ``count`` boxes that no better one of their group covers, and their scores.

    Where there are not as many, zeros follow; groups follow as a third one. With ``across``, boxes of
    other groups cover them as well.
    """
    moved = boxes
    if groups is not None and not across:
        moved = boxes + (groups.to(boxes) * (boxes.max() + 1))[:, None]
    # Traced programs take it for granted that two boxes or more are kept: these always are, as the last.
    apart = moved.new_tensor([[-2.0, -2.0, -1.0, -1.0], [-4.0, -4.0, -3.0, -3.0]])
    kept = torchvision.ops.nms(
        torch.cat([moved, apart]), torch.cat([scores, scores.new_tensor([-1.0, -2.0])]), threshold
    )
    # The row behind the last one is what is not there.
    kept = torch.cat([kept, torch.full((count,), len(scores))])[:count].clamp(max=len(scores))
    rows = (boxes, scores) if groups is None else (boxes, scores, groups)
    return tuple(torch.cat([x, x.new_zeros((1, *x.shape[1:]))])[kept] for x in rows)


def _best(boxes: Tensor, scores: Tensor, labels: Tensor, settings: Any) -> tuple[Tensor, ...]:
    """Return boxes, scores and labels of the detections, zeros where there are no more."""
    found = _suppressed(
        boxes,
        scores,
        settings.nms.iou_threshold,
        settings.max_per_img,
        labels,
        across=_agnostic(settings),
    )
    sure = found[1] > settings.score_thr
    return tuple(torch.where(sure[:, None] if x.dim() > 1 else sure, x, 0) for x in found)


def _masks(roi_head: Any, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
    """Return the masks in boxes (N, 4) as probabilities (N, side, side)."""
    logits = roi_head.mask_head(_roi_features(roi_head.mask_roi_extractor, maps, boxes))
    if roi_head.mask_head.class_agnostic:
        return logits[:, 0].sigmoid()
    index = labels[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return logits.gather(1, index)[:, 0].sigmoid()


def _roi_features(extractor: Any, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Take the features of boxes (N, 4), each from the map of its size, (N, C, height, width)."""
    layers = extractor.roi_layers
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    levels = extractor.map_roi_levels(rois, len(layers))
    found: Any = 0.0
    for level, (x, layer) in enumerate(zip(maps, layers, strict=False)):
        # Those of other levels become boxes of no size: how many there are of each is not known before.
        own = (levels == level)[:, None]
        features = torchvision.ops.roi_align(
            x,
            rois * own,
            layer.output_size,
            layer.spatial_scale,
            layer.sampling_ratio,
            aligned=layer.aligned,
        )
        # Of a box without size a runtime may make the mean of no samples.
        found = found + torch.where(own[..., None, None], features, 0.0)
    return found
