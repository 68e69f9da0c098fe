"""One mask from SAM's decoder for each learned query that finds an object."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures.mask import mask2bbox
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn

from rs4d.errors import ConfigError

from .embedded_pyramid import EmbeddedPyramid
from .instance_mask2former_head import InstanceMask2FormerHead
from .mask_upsampling import binarise
from .query_prompter import QueryPrompter
from .query_targets import Match, Truth, at_points, match, read_truth
from .sam_mask_decoder import EMBED_DIMS, embedding_projection


class QueryStep(NamedTuple):
    """What is known of the queries after a layer of their decoder.

    Attributes:
        scores: Class logits (B, Q, C + 1), the last of them "no object".
        queries: The queries (B, Q, D).
        kernels: What the map of features is multiplied with to get a query's coarse mask (B, Q, E).
        features: That map (B, E, h, w).
    """

    scores: Tensor
    queries: Tensor
    kernels: Tensor
    features: Tensor

    def coarse_masks(self, image: int, queries: Tensor | slice = slice(None)) -> Tensor:
        """Compute the coarse masks of queries of an image: logits (N, h, w)."""
        kernels, features = self.kernels[image, queries], self.features[image]
        return (kernels @ features.flatten(1)).unflatten(1, features.shape[1:])


@MODELS.register_module()
class PromptQueryHead(InstanceMask2FormerHead):
    """Masks over the whole image, one for each learned query that finds an object.

    After RSPrompter-query (Chen et al., "RSPrompter", IEEE TGRS 2024): Mask2Former's decoder gives each
    query a class and a coarse mask, by which queries and objects are matched. A matched query is turned
    into tokens that ask SAM's mask decoder, over the encoder's embedding, with the coarse mask as a
    dense prompt. It stands under :class:`~rs4d.models.detectors.PromptQueryDetector`.

    In training the masks of matched queries are decoded, in testing those of queries that may pass the
    threshold.

    Args:
        embedding_channels: Channels of the embedding; if they are not SAM's 256, a 1x1 convolution
            makes them so.
        prompter: Arguments of :class:`~rs4d.models.heads.QueryPrompter`.
        decoder: Config of :class:`~rs4d.models.heads.SAMMaskDecoder`, by default with random weights
            and ``mask_prompt``.
        max_masks_per_image: Matched queries of an image whose masks are decoded in training, at random
            where there are more. Memory grows with it.
        norm_cfg: MMCV's normalisation behind the convolution of the embedding.
        train_cfg: ``assigner``, and ``num_points``, ``oversample_ratio`` and
            ``importance_sample_ratio`` of the points at which masks are compared.
        test_cfg: ``score_thr``, ``max_per_img`` and ``mask_thr_binary``.
        **kwargs: As for :class:`~rs4d.models.heads.InstanceMask2FormerHead`.

    Raises:
        ConfigError: If ``max_masks_per_image`` is not positive.
    """

    def __init__(
        self,
        embedding_channels: int = EMBED_DIMS,
        prompter: dict[str, Any] | None = None,
        decoder: dict[str, Any] | None = None,
        max_masks_per_image: int = 20,
        norm_cfg: dict[str, Any] = dict(type='LN2d'),  # noqa: B006 - a config, never written
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if max_masks_per_image < 1:
            raise ConfigError(
                f'PromptQueryHead: max_masks_per_image={max_masks_per_image} should be at least 1.'
            )
        if train_cfg is not None:
            # Mask2Former's head asks for one; queries are matched without.
            train_cfg = dict(train_cfg, sampler=dict(type='MaskPseudoSampler'))
        super().__init__(train_cfg=train_cfg, test_cfg=test_cfg, **kwargs)
        width = self.decoder_embed_dims
        self.cls_embed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.num_classes + 1)
        )
        self.embedding_channels = embedding_channels
        self.project = embedding_projection(embedding_channels, norm_cfg)
        self.prompter = QueryPrompter(width, EMBED_DIMS, **(prompter or {}))
        self.decoder = MODELS.build(decoder or dict(type='SAMMaskDecoder', mask_prompt=True))
        self.max_masks_per_image = max_masks_per_image

    def init_weights(self) -> None:
        """Initialise the queries' part as Mask2Former's; the decoder loads its checkpoint."""
        super().init_weights()
        self.decoder.init_weights()

    def forward(self, x: tuple[Tensor, ...], batch_data_samples: Any = None) -> list[QueryStep]:
        """Run the queries over a pyramid.

        Args:
            x: The neck's maps, finest first.
            batch_data_samples: Not used; MMDetection's heads have it.

        Returns:
            What is known of the queries, in training before the first layer and behind each, in
            testing behind the last.
        """
        # It collects what _forward_head returns, whatever that is.
        steps: list[QueryStep] = super().forward(x, batch_data_samples)[0]
        return steps if self.training else steps[-1:]

    def _forward_head(
        self, decoder_out: Tensor, mask_feature: Tensor, attn_mask_target_size: tuple[int, int]
    ) -> tuple[QueryStep, None, Tensor]:
        """Describe the queries, and say where in the next map each of them may not look."""
        queries = self.transformer_decoder.post_norm(decoder_out)
        step = QueryStep(self.cls_embed(queries), queries, self.mask_embed(queries), mask_feature)
        with torch.no_grad():
            # As the resized coarse masks, which are products with the features, for less work.
            seen = F.interpolate(
                mask_feature, attn_mask_target_size, mode='bilinear', align_corners=False
            )
            outside = step.kernels @ seen.flatten(2) < 0
        return step, None, outside.repeat_interleave(self.num_heads, 0)

    def loss(self, x: tuple[Tensor, ...], batch_data_samples: list) -> dict[str, Tensor]:
        """Compute the losses of classes and coarse masks after every layer, and of masks in the end.

        Args:
            x: The detector's maps, an :class:`~rs4d.models.heads.EmbeddedPyramid`.
            batch_data_samples: For each image, its objects.

        Returns:
            ``loss_cls``, ``loss_coarse_mask`` and ``loss_coarse_dice``, after the layer ``i`` as
            ``d<i>.loss_cls`` and so on; ``loss_mask`` and ``loss_dice``.
        """
        embedding, input_shape = self._embedding(x), self._input_shape(x)
        steps = self(x)
        coarse_shape = steps[0].features.shape[-2:]
        truths = [
            read_truth(sample.gt_instances, input_shape, coarse_shape)
            for sample in batch_data_samples
        ]
        losses: dict[str, Tensor] = {}
        for layer, step in enumerate(steps):
            prefix = f'd{layer}.' if step is not steps[-1] else ''
            found, coarse, matches = self._loss_of_step(step, truths)
            losses |= {f'{prefix}{name}': loss for name, loss in found.items()}
        return losses | self._loss_of_masks(steps[-1], coarse, matches, truths, embedding)

    def _loss_of_step(
        self, step: QueryStep, truths: list[Truth]
    ) -> tuple[dict[str, Tensor], list[Tensor], list[Match]]:
        """Match queries and objects; returns the coarse masks of the matched ones, too."""
        scores = step.scores.float()
        labels = torch.full_like(scores[..., 0], self.num_classes, dtype=torch.long)
        coarse, matches = [], []
        for image, truth in enumerate(truths):
            masks = step.coarse_masks(image).float()
            with torch.autocast(masks.device.type, enabled=False):
                found = match(self.assigner, scores[image], masks, truth)
            labels[image, found.queries] = truth.labels[found.objects]
            coarse.append(masks[found.queries])
            matches.append(found)
        weights = scores.new_tensor(self.class_weight)
        loss_cls = self.loss_cls(
            scores.flatten(0, 1), labels.flatten(), avg_factor=weights[labels].sum()
        )
        targets = [truth.coarse[m.objects] for truth, m in zip(truths, matches, strict=True)]
        loss_mask, loss_dice = self._compare(torch.cat(coarse), torch.cat(targets))
        losses = dict(loss_cls=loss_cls, loss_coarse_mask=loss_mask, loss_coarse_dice=loss_dice)
        return losses, coarse, matches

    def _loss_of_masks(
        self,
        step: QueryStep,
        coarse: list[Tensor],
        matches: list[Match],
        truths: list[Truth],
        embedding: Tensor,
    ) -> dict[str, Tensor]:
        """Decode masks of matched queries and compare them with the truth."""
        queries, prompts, targets, image_ids = [], [], [], []
        for image, (found, masks, truth) in enumerate(zip(matches, coarse, truths, strict=True)):
            chosen = torch.randperm(len(masks), device=masks.device)[: self.max_masks_per_image]
            queries.append(step.queries[image, found.queries[chosen]])
            prompts.append(masks[chosen])
            targets.append(truth.full(found.objects[chosen]))
            image_ids.append(torch.full_like(chosen, image))
        if not any(map(len, prompts)):
            # One mask that counts for nothing: every parameter gets a gradient in every batch.
            any_query = torch.zeros(1, dtype=torch.long, device=embedding.device)
            logits = self._decode(
                step.queries[any_query, 0], step.coarse_masks(0, any_query), embedding, any_query
            )[:0]
        else:
            logits = self._decode(
                torch.cat(queries), torch.cat(prompts), embedding, torch.cat(image_ids)
            )
        loss_mask, loss_dice = self._compare(logits, torch.cat(targets))
        return dict(loss_mask=loss_mask, loss_dice=loss_dice)

    def _compare(self, logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both losses of masks (N, h, w), means over those of all processes; 0 for none."""
        count = reduce_mean(logits.new_tensor(float(len(logits)), dtype=torch.float)).clamp(min=1)
        if len(logits) == 0:
            return logits.float().sum(), logits.float().sum()
        found, targets = at_points(
            logits, truth, self.num_points, self.oversample_ratio, self.importance_sample_ratio
        )
        points = count * self.num_points
        loss_mask = self.loss_mask(found.flatten(), targets.flatten(), avg_factor=points)
        return loss_mask, self.loss_dice(found, targets, avg_factor=count)

    def predict(
        self, x: tuple[Tensor, ...], batch_data_samples: list, rescale: bool = True
    ) -> list[InstanceData]:
        """Find objects.

        Args:
            x: The detector's maps, an :class:`~rs4d.models.heads.EmbeddedPyramid`.
            batch_data_samples: What is known of each image.
            rescale: Give boxes and masks in pixels of the original image.

        Returns:
            For each image ``scores``, in descending order, ``labels``, ``masks`` (N, H, W) and the
            ``bboxes`` (N, 4) around them.
        """
        embedding, input_shape = self._embedding(x), self._input_shape(x)
        (step,) = self(x)
        return [
            self.predict_by_feat(step, image, embedding, input_shape, sample.metainfo, rescale)
            for image, sample in enumerate(batch_data_samples)
        ]

    def predict_by_feat(
        self,
        step: QueryStep,
        image: int,
        embedding: Tensor,
        input_shape: tuple[int, int],
        img_meta: dict[str, Any],
        rescale: bool,
    ) -> InstanceData:
        """Decode the masks of an image's best queries.

        A score is a class's probability times the mask's mean probability where the object is, as in
        Mask2Former, so that no mask is needed to see that a query stays below the threshold. That of an
        empty mask is 0.

        Args:
            step: What is known of the queries of the batch.
            image: The image in the batch.
            embedding: What the decoder works on (B, 256, h, w).
            input_shape: Height and width in pixels that the maps cover.
            img_meta: Has ``img_shape`` and ``ori_shape``.
            rescale: Give boxes and masks in pixels of the original image.
        """
        settings = self.test_cfg
        # All queries of one class, then those of the next: a query may be found as several.
        scores = step.scores[image].float().softmax(-1)[:, :-1].T.flatten()
        scores, order = scores.sort(descending=True, stable=True)
        keep = scores[: settings['max_per_img']] >= settings['score_thr']
        scores, order = (x[: len(keep)][keep] for x in (scores, order))
        labels = order // self.num_queries
        queries, of_query = (order % self.num_queries).unique(return_inverse=True)
        logits = self.decode_masks(step, image, queries, embedding)
        shape = img_meta['ori_shape' if rescale else 'img_shape'][:2]
        masks = torch.empty((len(queries), *shape), dtype=torch.bool, device=logits.device)
        threshold = settings['mask_thr_binary']
        # One at a time, as a mask at the image's size is large in float32.
        for i, mask in enumerate(masks):
            mask[:] = binarise(logits[i : i + 1], input_shape, img_meta, threshold, rescale)[0]
        # A cell that is just above the threshold may leave no pixel above it.
        quality = mean_probability(logits, input_shape, img_meta, threshold) * masks.flatten(1).any(
            1
        )
        scores, best = (scores * quality[of_query]).sort(descending=True)
        keep = scores >= settings['score_thr']
        scores, best = scores[keep], best[keep]
        chosen = of_query[best]
        return InstanceData(
            bboxes=mask2bbox(masks)[chosen],
            scores=scores,
            labels=labels[best],
            masks=masks[chosen],
        )

    def decode_masks(
        self, step: QueryStep, image: int, queries: Tensor, embedding: Tensor
    ) -> Tensor:
        """Decode the masks of queries (N,) of an image: logits (N, 4h, 4w)."""
        return self._decode(
            step.queries[image, queries],
            step.coarse_masks(image, queries),
            embedding,
            torch.full_like(queries, image),
        )

    def _decode(
        self, queries: Tensor, coarse: Tensor, embedding: Tensor, image_ids: Tensor
    ) -> Tensor:
        dense = None
        if self.decoder.mask_prompt:
            # Coarse masks have losses of their own.
            dense = self.decoder.encode_masks(coarse.detach(), embedding.shape[-2:])
        return self.decoder(self.prompter(queries), embedding, image_ids, dense)

    def _embedding(self, x: tuple[Tensor, ...]) -> Tensor:
        if not isinstance(x, EmbeddedPyramid):
            raise ConfigError(
                "PromptQueryHead works on the encoder's last map, which the detector has to hand over: "
                "set model.type='PromptQueryDetector' in the config."
            )
        if x.embedding.shape[1] != self.embedding_channels:
            raise ConfigError(
                f'PromptQueryHead was built for an embedding of {self.embedding_channels} channels but '
                f'got {x.embedding.shape[1]}. Set bbox_head.embedding_channels='
                f'{x.embedding.shape[1]} in the config: the channels of the last map of the backbone.'
            )
        embedding: Tensor = self.project(x.embedding)
        return embedding

    def _input_shape(self, x: tuple[Tensor, ...]) -> tuple[int, int]:
        """Return the height and width in pixels that the maps cover, padding included."""
        stride = self.pixel_decoder.strides[0]
        return x[0].shape[-2] * stride, x[0].shape[-1] * stride


def mean_probability(
    logits: Tensor, input_shape: tuple[int, int], img_meta: dict[str, Any], threshold: float
) -> Tensor:
    """Say how sure masks are of what they show: the mean probability of its cells.

    Args:
        logits: (N, h, w).
        input_shape: Height and width in pixels that the logits cover.
        img_meta: Has ``img_shape``, the part of the input that is no padding.
        threshold: Probability from which on a cell belongs to the object.

    Returns:
        (N,), float32; 0 for an empty mask.
    """
    height, width = (
        -(-length * cells // whole)
        for length, cells, whole in zip(
            img_meta['img_shape'][:2], logits.shape[-2:], input_shape, strict=True
        )
    )
    probabilities = logits[:, :height, :width].flatten(1).float().sigmoid()
    inside = probabilities >= threshold
    return (probabilities * inside).sum(1) / inside.sum(1).clamp(min=1)
