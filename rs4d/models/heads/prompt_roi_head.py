"""A RoI head whose masks come from prompts to SAM's decoder."""

from typing import Any

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi, get_box_tensor, scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor

from rs4d.errors import ConfigError

from .embedded_pyramid import EmbeddedPyramid
from .mask_upsampling import binarise


@MODELS.register_module()
class PromptRoIHead(StandardRoIHead):
    """MMDetection's RoI head with a :class:`~rs4d.models.heads.PromptMaskHead`.

    Masks are decoded over the encoder's last map where the detector hands it over
    (:class:`~rs4d.models.detectors.PromptMaskRCNN`), and over a level of the neck under any other
    two-stage detector.

    Args:
        max_masks_per_image: Positive boxes of an image whose masks are decoded in training. Where
            there are more, a random choice is made that takes a box of every object before a second
            one of any. Memory grows with it.
        mask_margin: How far a mask may reach beyond its box in testing, as a share of the box's sides;
            what is further away than that and a cell is not decoded, and empty. With 1, no pixel is
            lost of an object whose own box has an IoU above 0.5 with the predicted one. None, the
            default, decodes every mask on the whole image.
        embedding_level: The neck's level that stands in for the embedding, counted from the finest:
            2 is stride 16 where the finest is stride 4.
        **kwargs: MMDetection's ``StandardRoIHead``. ``mask_roi_extractor`` is required: its
            ``output_size`` is the prompter's ``roi_size``, 14.

    Raises:
        ConfigError: If ``max_masks_per_image`` is not positive or there is no ``mask_roi_extractor``.
    """

    def __init__(
        self,
        max_masks_per_image: int = 20,
        mask_margin: float | None = None,
        embedding_level: int = 2,
        **kwargs: Any,
    ) -> None:
        if max_masks_per_image < 1:
            raise ConfigError(
                f'PromptRoIHead: max_masks_per_image={max_masks_per_image} should be at least 1.'
            )
        if kwargs.get('mask_roi_extractor') is None:
            raise ConfigError(
                'PromptRoIHead needs a mask_roi_extractor: prompts are made of larger RoI features '
                '(14x14) than boxes are. See configs/_base_/models/prompt.py.'
            )
        super().__init__(**kwargs)
        self.max_masks_per_image = max_masks_per_image
        self.mask_margin = mask_margin
        self.embedding_level = embedding_level

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[Any],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict[str, Any]:
        """Decode masks of positive boxes and compare them with the truth.

        Args:
            x: The detector's maps, finest first.
            sampling_results: For each image, the sampled boxes and their objects.
            bbox_feats: The box branch's features, not used.
            batch_gt_instances: For each image, the objects, with ``masks``.

        Returns:
            ``loss_mask``, a dict of losses; MMDetection's name for it.
        """
        chosen = [self._choose(result.pos_assigned_gt_inds) for result in sampling_results]
        boxes = [
            get_box_tensor(result.pos_priors)[keep]
            for result, keep in zip(sampling_results, chosen, strict=True)
        ]
        height, width = self._input_shape(x)
        if not any(len(b) for b in boxes):
            # One mask that counts for nothing: every parameter gets a gradient in every batch.
            roi = x[0].new_tensor([[0, 0, 0, width, height]], dtype=torch.float)
            return dict(loss_mask=self.mask_head.zero_loss(self._decode(x, roi)))
        logits = self._decode(x, bbox2roi(boxes)).split([len(b) for b in boxes])
        targets = [
            _true_masks(gt.masks, result.pos_assigned_gt_inds[keep])
            for gt, result, keep in zip(batch_gt_instances, sampling_results, chosen, strict=True)
        ]
        return dict(loss_mask=self.mask_head.loss(logits, targets, (height, width)))

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict[str, Any]],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Add masks to predicted boxes.

        Args:
            x: The detector's maps, finest first.
            batch_img_metas: For each image, its shapes and scale.
            results_list: For each image, ``bboxes`` at the input's size; changed in place.
            rescale: Bring boxes and masks to the size of the original image.

        Returns:
            ``results_list``, each with ``masks`` (N_i, H_i, W_i).
        """
        input_shape = self._input_shape(x)
        embedding = self._embedding(x)
        threshold = self.test_cfg.mask_thr_binary
        for i, (results, meta) in enumerate(zip(results_list, batch_img_metas, strict=True)):
            boxes = get_box_tensor(results.bboxes)
            rois = torch.cat([boxes.new_full((len(boxes), 1), i), boxes], dim=1)
            shape = meta['ori_shape' if rescale else 'img_shape'][:2]
            dtype = torch.bool if threshold >= 0 else torch.uint8
            masks = torch.empty((len(rois), *shape), dtype=dtype, device=rois.device)
            if len(rois):
                # One at a time, as a mask at the image's size is large.
                decoded = self._decode(x, rois, embedding, self.mask_margin)
                for j, logits in enumerate(decoded.split(1)):
                    masks[j] = binarise(logits, input_shape, meta, threshold, rescale)[0]
            results.masks = masks
            if rescale:
                factors = [1 / factor for factor in meta['scale_factor']]
                results.bboxes = scale_boxes(results.bboxes, factors)
        return results_list

    def _mask_forward(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        pos_inds: Tensor | None = None,
        bbox_feats: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Decode masks of boxes for MMDetection's forward without post-processing."""
        return dict(mask_preds=self._decode(x, rois))

    def _decode(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        embedding: Tensor | None = None,
        margin: float | None = None,
    ) -> Tensor:
        roi_feats = self.mask_roi_extractor(x[: self.mask_roi_extractor.num_inputs], rois)
        if embedding is None:
            embedding = self._embedding(x)
        return self.mask_head(roi_feats, rois, embedding, self._input_shape(x), margin)

    def _embedding(self, x: tuple[Tensor, ...]) -> Tensor:
        found = x.embedding if isinstance(x, EmbeddedPyramid) else x[self.embedding_level]
        return self.mask_head.embed(found)

    def _input_shape(self, x: tuple[Tensor, ...]) -> tuple[int, int]:
        """Return the height and width in pixels that the maps cover, padding included."""
        stride = self.mask_roi_extractor.featmap_strides[0]
        return x[0].shape[-2] * stride, x[0].shape[-1] * stride

    def _choose(self, objects: Tensor) -> Tensor:
        """Choose boxes to decode by the index of each one's object; returns their positions."""
        order = torch.randperm(len(objects), device=objects.device)
        if len(objects) <= self.max_masks_per_image:
            return order
        shuffled = objects[order]
        # How many boxes of the same object come before: 0 is an object's first box.
        same = (shuffled[:, None] == shuffled[None]).tril(-1)
        return order[same.sum(1).argsort(stable=True)[: self.max_masks_per_image]]


def _true_masks(masks: Any, objects: Tensor) -> Tensor:
    """Return the true mask (N, H, W) of each object, drawing each object once."""
    needed, positions = objects.unique(return_inverse=True)
    drawn = masks[needed.cpu().numpy()].to_tensor(torch.uint8, objects.device)
    return drawn[positions]
