"""The query head: matching, losses, what is decoded, and whole detectors around it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from small_batches import batch
from torch import Tensor, nn

from rs4d.config import resolve
from rs4d.errors import ConfigError
from rs4d.models.detectors import PromptQueryDetector
from rs4d.models.heads import InstanceMask2FormerHead, PromptQueryHead, QueryPrompter
from rs4d.models.heads.prompt_query_head import QueryStep, mean_probability
from rs4d.models.heads.query_targets import Truth, at_points, match, read_truth

WIDTH = 16
QUERIES = 12


def detector_config(channels: int = WIDTH, **head: Any) -> Config:
    cfg = Config.fromfile('configs/_base_/models/query_small.py')
    attention = dict(embed_dims=32, num_heads=4)
    feed_forward = dict(embed_dims=32, feedforward_channels=64)
    layer = dict(self_attn_cfg=attention, ffn_cfg=feed_forward)
    cfg.merge_from_dict(
        dict(
            model=dict(
                backbone=dict(_delete_=True, type='OneConvBackbone', channels=channels),
                neck=dict(
                    _delete_=True,
                    type='SimpleFPN',
                    in_channels=channels,
                    out_channels=WIDTH,
                    out_strides=(4, 8, 16, 32),
                ),
                bbox_head=dict(
                    feat_channels=32,
                    out_channels=32,
                    pixel_decoder=dict(
                        encoder=dict(num_layers=1, layer_cfg=layer),
                        positional_encoding=dict(num_feats=16),
                    ),
                    transformer_decoder=dict(
                        num_layers=2, layer_cfg=dict(layer, cross_attn_cfg=attention)
                    ),
                    positional_encoding=dict(num_feats=16),
                    **head,
                ),
                train_cfg=dict(num_points=512),
                test_cfg=dict(score_thr=0.0),
            )
        )
    )
    cfg.merge_from_dict(dict(width=WIDTH, embed_dims=channels, num_classes=2, num_queries=QUERIES))
    resolve(cfg)
    return cfg


def build(**kwargs: Any) -> PromptQueryDetector:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(detector_config(**kwargs).model)
    model.bbox_head.init_weights()
    return model


def count_decoded(model: PromptQueryDetector) -> list[int]:
    """A list that grows by the number of prompts of each call of SAM's decoder."""
    seen: list[int] = []
    model.bbox_head.decoder.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    return seen


def test_prompter_shapes_and_sine() -> None:
    queries = torch.randn(3, 8)
    assert QueryPrompter(8, embed_dims=32, num_tokens=4, sine=False)(queries).shape == (3, 4, 32)
    sine = QueryPrompter(8, embed_dims=32, num_tokens=4)
    raw = sine.mlp(queries).view(3, 4, 64)
    torch.testing.assert_close(sine(queries), torch.sin(raw[..., :32]) + raw[..., 32:])
    with pytest.raises(ConfigError, match='QueryPrompter: num_tokens=0'):
        QueryPrompter(num_tokens=0)


def test_queries_look_where_mask2formers_do() -> None:
    """MMDetection resizes every coarse mask; here the features are, of which masks are products."""
    head: Any = build().bbox_head
    queries, features = torch.randn(2, QUERIES, 32), torch.randn(2, 32, 24, 32)
    with torch.no_grad():
        step, _, outside = head._forward_head(queries, features, (6, 8))
        scores, masks, expected = InstanceMask2FormerHead._forward_head(
            head, queries, features, (6, 8)
        )
    torch.testing.assert_close(step.scores, scores)
    torch.testing.assert_close(step.coarse_masks(1), masks[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        step.coarse_masks(1, torch.tensor([7, 2])), masks[1, [7, 2]], rtol=1e-4, atol=1e-4
    )
    assert outside.shape == expected.shape
    # Rounding decides where a logit is 0.
    assert (outside != expected).float().mean() < 1e-3
    assert 0.1 < expected.float().mean() < 0.9


@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
def test_truth_is_the_share_of_cells_and_ends_with_the_image(kind: str) -> None:
    """Masks of 40 x 60 pixels in an input that is padded to 48 x 64."""
    objects = batch([20], size=(40, 60), kind=kind)['data_samples'][0].gt_instances
    truth = read_truth(objects, (48, 64), (12, 16))
    drawn = objects.masks.to_tensor(torch.float32, 'cpu')
    padded = F.pad(drawn, (0, 4, 0, 8))
    torch.testing.assert_close(truth.coarse, F.avg_pool2d(padded, 4))
    some = torch.tensor([17, 3, 3])
    assert torch.equal(truth.full(some), padded[some].to(torch.uint8))
    assert torch.equal(truth.labels, objects.labels)
    nothing = batch([0], size=(40, 60), kind=kind)['data_samples'][0].gt_instances
    assert read_truth(nothing, (48, 64), (12, 16)).coarse.shape == (0, 12, 16)


def planted() -> tuple[Any, Tensor, Tensor, Truth]:
    """Return four queries, of which 2 and 0 say what the objects 0 and 1 are, and an assigner."""
    cfg = detector_config().model.train_cfg.assigner
    coarse = torch.zeros(2, 8, 8)
    coarse[0, :3, :3] = coarse[1, 4:, 4:] = 1
    masks = torch.full((4, 8, 8), -5.0)
    masks[2], masks[0] = 10 * coarse[0] - 5, 10 * coarse[1] - 5
    truth = Truth(torch.tensor([1, 0]), coarse, None, (32, 32))
    return TASK_UTILS.build(cfg), torch.zeros(4, 3), masks, truth


def test_objects_are_matched_with_queries_that_show_them() -> None:
    assigner, scores, masks, truth = planted()
    found = match(assigner, scores, masks, truth)
    assert (found.queries.tolist(), found.objects.tolist()) == ([0, 2], [1, 0])
    # Masks alike, classes decide.
    masks[3], scores[3, 1] = masks[2], 5.0
    assert match(assigner, scores, masks, truth).queries.tolist() == [0, 3]
    few = match(assigner, scores[:1], masks[:1], truth)
    assert (few.queries.tolist(), few.objects.tolist()) == ([0], [1])
    none = truth._replace(labels=truth.labels[:0], coarse=truth.coarse[:0])
    assert len(match(assigner, scores, masks, none).queries) == 0


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_what_is_not_finite_is_matched_too(value: float) -> None:
    """So that the loss shows it, and the step is left out, instead of an error that ends a training."""
    assigner, scores, masks, truth = planted()
    masks[1:3], scores[3] = value, value
    assert len(match(assigner, scores, masks, truth).queries) == 2


def test_a_batch_that_is_not_finite_has_such_a_loss() -> None:
    data = batch([2])
    data['inputs'].fill_(float('nan'))
    model = build().train()
    assert not torch.isfinite(model.parse_losses(model(**data, mode='loss'))[0])


def test_points_are_where_masks_are_unsure() -> None:
    torch.manual_seed(0)
    columns = torch.linspace(-31, 31, 32)
    logits = columns.expand(2, 16, 32)
    truth = (columns.repeat_interleave(2) > 0).expand(2, 32, 64).to(torch.uint8)
    found, targets = at_points(logits, truth, 400, 3.0, 0.75)
    assert found.shape == targets.shape == (2, 400)
    # Of points that are spread evenly a tenth were as near to the edge.
    assert 0.6 < (found.abs() < 8).float().mean() < 0.95
    away = found.abs() > 2
    torch.testing.assert_close(targets[away], (found[away] > 0).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
@pytest.mark.parametrize('counts', [[0], [0, 0], [1], [0, 3, 1]], ids=str)
def test_every_parameter_gets_a_gradient(counts: list[int], kind: str) -> None:
    model = build().train()
    loss, parts = model.parse_losses(model(**batch(counts, kind=kind), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    names = ('loss_cls', 'loss_coarse_mask', 'loss_coarse_dice')
    layers = ('d0.', 'd1.', '')
    expected = {f'{layer}{name}' for layer in layers for name in names}
    assert parts.keys() == expected | {'loss', 'loss_mask', 'loss_dice'}
    for name, value in parts.items():
        assert bool(value > 0) is (any(counts) or name.endswith(('loss_cls', 'loss'))), name
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    assert not [name for name, p in trained if p.grad is None]
    if any(counts):
        zero = [name for name, p in trained if not p.grad.any()]
        # It moves deformable attention, whose weights for that begin at 0.
        assert zero == ['bbox_head.pixel_decoder.level_encoding.weight']


def test_losses_are_those_of_pytorch_where_every_point_is_alike() -> None:
    """Masks that are the same everywhere have the same loss at any points."""
    head: Any = build().bbox_head
    logits = torch.tensor([0.5, -2.0])[:, None, None].expand(2, 8, 8)
    truth = torch.tensor([1, 0])[:, None, None].expand(2, 16, 16)
    loss_mask, loss_dice = head._compare(logits, truth)
    flat = logits[:, 0, 0], truth[:, 0, 0].float()
    torch.testing.assert_close(loss_mask, 5 * F.binary_cross_entropy_with_logits(*flat))
    p, t, n = logits[:, 0, 0].sigmoid(), flat[1], head.num_points
    dice = 1 - (2 * n * p * t + 1) / (n * p + n * t + 1)
    torch.testing.assert_close(loss_dice, 5 * dice.mean())


def test_batch_of_none_one_and_four_hundred_trains_and_predicts() -> None:
    model = build(max_masks_per_image=3).train()
    seen = count_decoded(model)
    data = batch([0, 1, 400])
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    # Of 12 queries with an object each, in one call with those of the other images.
    assert seen == [4]
    with torch.no_grad():
        results = model.eval()(**data, mode='predict')
    for result in results:
        found = result.pred_instances
        assert len(found.scores) == len(found.labels) == len(found.bboxes) == len(found)
        assert found.masks.shape[1:] == (48, 64)
        assert found.masks.dtype == torch.bool
        assert set(found.labels.tolist()) <= {0, 1}


def test_queries_below_the_threshold_are_not_decoded() -> None:
    model = build().eval()
    seen = count_decoded(model)
    head: Any = model.bbox_head
    data = batch([0, 0])
    with torch.no_grad():
        steps = head(model.extract_feat(data['inputs']))
        best = steps[-1].scores.softmax(-1)[..., :-1].amax(-1)
        head.test_cfg = dict(head.test_cfg, score_thr=float(best.median()))
        above = (best >= best.median()).sum(1)
        results = model(**data, mode='predict')
        assert seen == above.tolist()
        assert all(len(r.pred_instances) <= 2 * n for r, n in zip(results, above, strict=True))
        head.test_cfg = dict(head.test_cfg, score_thr=1.0)
        for result in model(**data, mode='predict'):
            assert result.pred_instances.masks.shape == (0, 48, 64)
            assert result.pred_instances.bboxes.shape == (0, 4)


def test_objects_are_those_of_mask2former() -> None:
    """Scores, classes, boxes and masks of MMDetection's fusion head, given the decoded masks."""
    model = build().eval()
    head: Any = model.bbox_head
    torch.manual_seed(1)
    masks = F.interpolate(torch.randn(1, QUERIES, 6, 8), scale_factor=8, mode='bicubic')[0] * 3
    masks[4] = -1.0
    scores = torch.randn(1, QUERIES, 3) * 2
    step = QueryStep(scores, *[torch.zeros(1)] * 3)
    head.decode_masks = lambda step, image, queries, embedding: masks[queries]
    meta = dict(img_shape=(48, 64), ori_shape=(48, 64))
    found = head.predict_by_feat(step, 0, torch.zeros(1), (48, 64), meta, rescale=True)
    fusion = MaskFormerFusionHead(2, 0, test_cfg=dict(max_per_image=QUERIES))
    theirs = fusion.instance_postprocess(scores[0], masks)
    order = theirs.scores.argsort(descending=True)
    assert len(found) == len(theirs) == QUERIES
    torch.testing.assert_close(found.scores, theirs.scores[order], rtol=1e-5, atol=1e-6)
    seen = found.scores > 0
    assert torch.equal(found.labels[seen], theirs.labels[order][seen])
    assert torch.equal(found.masks[seen], theirs.masks[order][seen])
    torch.testing.assert_close(found.bboxes[seen], theirs.bboxes[order][seen])
    # Nothing to be seen of the query whose mask is empty.
    head.test_cfg = dict(head.test_cfg, score_thr=0.01)
    kept = head.predict_by_feat(step, 0, torch.zeros(1), (48, 64), meta, rescale=True)
    assert torch.equal(kept.scores, found.scores[found.scores >= 0.01])


def test_padding_has_no_part_in_scores_and_masks() -> None:
    head: Any = build().eval().bbox_head
    logits = torch.full((QUERIES, 16, 16), -9.0)
    logits[:, 4:8, 2:6] = 2.0
    logits[:, 12:] = 9.0  # in the padding
    meta = dict(img_shape=(48, 64), ori_shape=(96, 128))
    quality = mean_probability(logits, (64, 64), meta, 0.5)
    torch.testing.assert_close(quality, torch.tensor(2.0).sigmoid().expand(QUERIES))
    head.decode_masks = lambda step, image, queries, embedding: logits[queries]
    step = QueryStep(torch.zeros(1, QUERIES, 3), *[torch.zeros(1)] * 3)
    found = head.predict_by_feat(step, 0, torch.zeros(1), (64, 64), meta, rescale=True)
    # The lowest rows touch the padding, which bilinear resizing lets through for half a cell.
    inner = found.masks[:, :90]
    ys, xs = inner[0].nonzero(as_tuple=True)
    around = torch.tensor([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    assert (around - torch.tensor([16, 32, 48, 64])).abs().max() <= 3
    assert found.masks.shape == (QUERIES, 96, 128)
    smaller = head.predict_by_feat(step, 0, torch.zeros(1), (64, 64), meta, rescale=False)
    assert smaller.masks.shape == (QUERIES, 48, 64)
    # A cell that leaves no pixel has no score either.
    logits[:] = -9.0
    logits[:, 5, 5] = 0.1
    nothing = head.predict_by_feat(step, 0, torch.zeros(1), (64, 64), meta, rescale=True)
    assert not nothing.masks.any()
    assert not nothing.scores.any()


def test_company_does_not_change_masks() -> None:
    model = build().eval()
    data = batch([0, 0])

    def predict(images: list[int]) -> list[InstanceData]:
        samples = [data['data_samples'][i] for i in images]
        maps = model.extract_feat(data['inputs'][images])
        return model.bbox_head.predict(maps, samples)

    with torch.no_grad():
        together = predict([0, 1])
        alone = predict([0]) + predict([1])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.scores, b.scores, rtol=1e-4, atol=1e-5)
        assert (a.masks != b.masks).float().mean() < 1e-3


def test_forward_without_post_processing() -> None:
    model = build()
    for training, count in ((True, 3), (False, 1)):
        with torch.no_grad():
            steps = model.train(training)(**batch([2]), mode='tensor')
        assert [step.scores.shape for step in steps] == [(1, QUERIES, 3)] * count
        assert steps[-1].coarse_masks(0).shape == (QUERIES, 24, 32)


@pytest.mark.parametrize('counts', [[2, 0], [0]])
def test_mixed_precision_trains_and_predicts(counts: list[int]) -> None:
    model = build().train()
    data = batch(counts)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        assert len(model.eval()(**data, mode='predict')[0].pred_instances) > 0


def test_learns_one_image() -> None:
    """From random weights, queries find the objects, and the decoder shows them."""
    torch.manual_seed(0)
    model = build().train()
    data = batch([3], size=(64, 64))
    truth = data['data_samples'][0].gt_instances
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(60):
        loss, parts = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(float(parts['loss_dice']))
    assert min(history[-5:]) < 0.4 * history[0], history
    with torch.no_grad():
        samples = model.eval().predict(data['inputs'], data['data_samples'], rescale=False)
    found = samples[0].pred_instances
    masks = found.masks[:3].flatten(1).float()
    drawn = truth.masks.to_tensor(torch.float32, 'cpu').flatten(1)
    common = masks @ drawn.T
    ious = common / (masks.sum(1)[:, None] + drawn.sum(1) - common)
    assert ious.amax(0).min() > 0.5, ious


def test_decoder_loads_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(detector_config().model)
    loaded: list[bool] = []
    monkeypatch.setattr(model.bbox_head.decoder, 'init_weights', lambda: loaded.append(True))
    model.init_weights()
    assert loaded


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match='max_masks_per_image=0'):
        PromptQueryHead(max_masks_per_image=0)
    model = build()
    pyramid = model.extract_feat(torch.randn(1, 3, 64, 64))
    with pytest.raises(ConfigError, match="type='PromptQueryDetector'"):
        model.bbox_head.loss(tuple(pyramid), [])
    pyramid.embedding = torch.zeros(1, 7, 4, 4)
    with pytest.raises(ConfigError, match=r'embedding_channels=7'):
        model.bbox_head.predict(pyramid, [])
