"""The prompt head: tokens, losses, choice of boxes, and whole detectors around it."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData
from small_batches import batch
from torch import Tensor, nn

from rs4d.config import resolve
from rs4d.models.detectors import PromptMaskRCNN
from rs4d.models.heads import EmbeddedPyramid, PromptMaskHead, PromptRoIHead, RoIPrompter
from rs4d.models.heads.mask_upsampling import binarise, resize, upsample_above
from rs4d.models.heads.roi_prompter import box_coverage, box_windows, token_points

WIDTH = 16


def detector_config(
    detector: str = 'PromptMaskRCNN', channels: int = WIDTH, box_prompt: bool = False, **head: Any
) -> Config:
    cfg = Config.fromfile('configs/_base_/models/mask-rcnn_small.py')
    embedding_channels = channels if detector == 'PromptMaskRCNN' else WIDTH
    cfg.merge_from_dict(
        dict(
            model=dict(
                type=detector,
                backbone=dict(_delete_=True, type='OneConvBackbone', channels=channels),
                neck=dict(
                    _delete_=True,
                    type='SimpleFPN',
                    in_channels=channels,
                    out_channels=WIDTH,
                ),
                rpn_head=dict(in_channels=WIDTH, feat_channels=WIDTH),
                roi_head=dict(
                    type='PromptRoIHead',
                    bbox_roi_extractor=dict(out_channels=WIDTH),
                    bbox_head=dict(in_channels=WIDTH, fc_out_channels=32, num_classes=2),
                    mask_roi_extractor=dict(out_channels=WIDTH),
                    mask_head=dict(
                        _delete_=True,
                        type='PromptMaskHead',
                        embedding_channels=embedding_channels,
                        box_prompt=box_prompt,
                        prompter=dict(in_channels=WIDTH, hidden_dims=32),
                    ),
                    **head,
                ),
            )
        )
    )
    cfg.num_classes = 2
    resolve(cfg)
    return cfg


def build(**kwargs: Any) -> PromptMaskRCNN:
    torch.manual_seed(0)
    return MODELS.build(detector_config(**kwargs).model)


def test_prompter_shapes_and_sine() -> None:
    feats = torch.randn(3, 8, 14, 14)
    plain = RoIPrompter(8, embed_dims=32, num_tokens=4)
    assert plain(feats).shape == (3, 4, 32)
    sine = RoIPrompter(8, embed_dims=32, num_tokens=4, sine=True)
    seen: list[Tensor] = []
    sine.mlp.register_forward_hook(lambda *args: seen.append(args[-1]))
    tokens = sine(feats)
    raw = seen[0].view(3, 4, 64)
    torch.testing.assert_close(tokens, torch.sin(raw[..., :32]) + raw[..., 32:])
    with pytest.raises(ValueError, match='num_tokens=0'):
        RoIPrompter(num_tokens=0)


def test_token_points_are_centre_and_corners() -> None:
    expected = torch.tensor([[0.5, 0.5], [1, 1], [0, 1], [0, 0], [1, 0]])
    torch.testing.assert_close(token_points(5), expected, atol=1e-6, rtol=0)
    assert token_points(1).tolist() == [[0.5, 0.5]]
    many = token_points(12)
    assert many.min() >= 0
    assert many.max() <= 1
    assert len(many.unique(dim=0)) == 12


def test_tokens_carry_the_code_of_their_points() -> None:
    head = PromptMaskHead(prompter=dict(in_channels=8, hidden_dims=16))
    sent: list[Tensor] = []
    head.decoder.register_forward_pre_hook(lambda _, args: sent.append(args[0]))
    feats, rois = torch.randn(1, 8, 14, 14), torch.tensor([[0.0, 16, 8, 48, 24]])
    embedding = torch.randn(1, 256, 4, 4)
    with torch.no_grad():
        for head.with_positions in (False, True):
            head(feats, rois, embedding, (32, 64))
        codes = (sent[1] - sent[0])[0]
        # The first token's point is the box's centre, (32, 16): the image's, too.
        torch.testing.assert_close(
            codes[0], head.decoder.encode_points(torch.tensor([0.5, 0.5])), atol=1e-5, rtol=1e-4
        )
        corner = head.decoder.encode_points(torch.tensor([48 / 64, 24 / 32]))
    torch.testing.assert_close(codes[1], corner, atol=1e-5, rtol=1e-4)


def test_box_coverage_is_the_mean_of_a_filled_box() -> None:
    """Against boxes drawn pixel by pixel and averaged over cells, one reaching over the edge."""
    boxes = torch.tensor([[3, 5, 21, 10], [0, 0, 40, 24], [-7, 12, 9, 60], [6, 6, 6, 9]])
    drawn = torch.zeros(len(boxes), 24, 40)
    for canvas, (x1, y1, x2, y2) in zip(drawn, boxes.tolist(), strict=True):
        canvas[max(y1, 0) : y2, max(x1, 0) : x2] = 1
    expected = F.avg_pool2d(drawn, 8)
    torch.testing.assert_close(box_coverage(boxes, (24, 40), (3, 5)), expected)
    # A tenth of a pixel counts for what it is.
    finer = box_coverage(torch.tensor([[1.3, 0.5, 2.8, 3.9]]), (4, 4), (2, 2))
    assert finer.sum().item() * 4 == pytest.approx(1.5 * 3.4)


def test_box_windows_are_the_cells_around_a_box() -> None:
    boxes = torch.tensor([[40.0, 20, 56, 28], [-9, -9, 3, 5], [60, 30, 64, 32], [90, 90, 99, 99]])
    windows = box_windows(boxes, 0.5, (32, 64), (4, 8))
    # 32 to 64 and 16 to 32 pixels are cells 4 to 8 and 2 to 4, and one more where there is one.
    assert windows[:3].tolist() == [[3, 1, 8, 4], [0, 0, 3, 3], [6, 2, 8, 4]]
    assert windows[3].tolist() == [7, 3, 8, 4]


def test_masks_end_a_margin_from_their_box() -> None:
    model = build().eval()
    data = batch([2])
    meta = data['data_samples'][0].metainfo
    found = {}
    with torch.no_grad():
        maps = model.extract_feat(data['inputs'])
        model.roi_head.test_cfg.mask_thr_binary = -1  # probabilities in 0 to 255
        for margin in (None, 1.0):
            model.roi_head.mask_margin = margin
            results = InstanceData(bboxes=torch.tensor([[32.0, 32, 40, 40]]))
            (results,) = model.roi_head.predict_mask(maps, [meta], [results])
            found[margin] = results.masks[0].int()
    # Cells of 16 pixels: the box and 8 pixels around touch 1 and 2; those from 0 to 3 are decoded.
    assert (found[None] - found[1.0])[:56, :56].abs().max() <= 1
    assert found[None].all()
    assert not found[1.0][66:].any()
    assert not found[1.0][:, 66:].any()


def test_box_prompt_marks_the_box_on_the_embedding() -> None:
    head = PromptMaskHead(prompter=dict(in_channels=8, hidden_dims=16), box_prompt=True)
    sent: list[Tensor] = []
    head.decoder.register_forward_pre_hook(lambda _, args: sent.extend(args[3][:2]))
    rois = torch.tensor([[0.0, 16, 0, 64, 32], [0, 0, 0, 16, 8]])
    with torch.no_grad():
        head(torch.randn(2, 8, 14, 14), rois, torch.randn(1, 256, 2, 4), (32, 64))
    ((wide, corner),), marks = sent[0].transpose(0, 1), sent[1]
    torch.testing.assert_close(marks, head.box_embed[None])
    assert not wide[:, 0].any()
    torch.testing.assert_close(wide[:, 1:], torch.ones(2, 3))
    torch.testing.assert_close(corner[0, 0], torch.tensor(0.5))
    assert not corner[1].any()
    assert not corner[:, 1:].any()


def test_loss_is_the_mean_over_instances_at_full_resolution() -> None:
    """Against PyTorch's own loss and the dice formula, with masks smaller than the padded input."""
    head = PromptMaskHead(prompter=dict(in_channels=8, hidden_dims=16))
    logits = [torch.randn(2, 8, 8), torch.randn(0, 8, 8), torch.randn(1, 8, 8)]
    truth = [(torch.rand(len(x), 30, 32) > 0.7).to(torch.uint8) for x in logits]
    losses = head.loss(logits, truth, (32, 32))
    masks = F.interpolate(torch.cat(logits)[:, None], (32, 32), mode='bilinear')[:, 0, :30]
    target = torch.cat(truth).float()
    expected = F.binary_cross_entropy_with_logits(masks, target)
    torch.testing.assert_close(losses['loss_mask'], expected)
    p, t = masks.sigmoid().flatten(1), target.flatten(1)
    dice = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    torch.testing.assert_close(losses['loss_dice'], dice.mean())
    assert 'loss_dice' not in PromptMaskHead(
        prompter=dict(in_channels=8, hidden_dims=16), loss_dice=None
    ).loss(logits, truth, (32, 32))


def test_choice_takes_every_object_before_any_twice() -> None:
    head = PromptRoIHead.__new__(PromptRoIHead)
    nn.Module.__init__(head)
    head.max_masks_per_image = 6
    objects = torch.tensor([7] * 90 + [2, 3, 5] + [7] * 10)
    for _ in range(5):
        chosen = head._choose(objects)
        assert len(chosen.unique()) == 6
        assert sorted(objects[chosen].tolist()) == [2, 3, 5, 7, 7, 7]
    head.max_masks_per_image = 3
    assert len(objects[head._choose(objects)].unique()) == 3
    assert len(head._choose(objects[:2])) == 2
    assert len(head._choose(objects[:0])) == 0


@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
@pytest.mark.parametrize('counts', [[0], [0, 0], [1], [0, 3, 1]], ids=str)
def test_every_parameter_gets_a_gradient(counts: list[int], kind: str) -> None:
    model = build(box_prompt=True).train()
    loss, parts = model.parse_losses(model(**batch(counts, kind=kind), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    assert {'loss_mask', 'loss_dice'} <= parts.keys()
    assert bool(parts['loss_mask'] > 0) is any(counts)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    assert not [name for name, p in trained if p.grad is None]
    if any(counts):
        of_masks = [(name, p) for name, p in trained if name.startswith('roi_head.mask')]
        assert len(of_masks) > 100
        assert not [name for name, p in of_masks if not p.grad.any()]


def test_batch_of_none_one_and_four_hundred_trains_and_predicts() -> None:
    model = build(max_masks_per_image=3)
    seen: list[int] = []
    head = model.roi_head.mask_head
    head.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    data = batch([0, 1, 400])
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    # The positives of three images in one call, and no more than asked for.
    assert len(seen) == 1
    assert 4 <= seen.pop() <= 9

    model.eval()
    embedded = model.extract_feat(data['inputs'])
    metas = [sample.metainfo for sample in data['data_samples']]
    results = [
        InstanceData(bboxes=s.gt_instances.bboxes.clone(), labels=s.gt_instances.labels)
        for s in data['data_samples']
    ]
    boxes = [r.bboxes.clone() for r in results]
    with torch.no_grad():
        results = model.roi_head.predict_mask(embedded, metas, results, rescale=True)
    assert [tuple(r.masks.shape) for r in results] == [(n, 48, 64) for n in (0, 1, 400)]
    assert all(r.masks.dtype == torch.bool for r in results)
    assert seen == [1, 400]
    for result, before in zip(results, boxes, strict=True):
        torch.testing.assert_close(result.bboxes, before / 2)
    # The detector's own way, from the RPN's boxes.
    with torch.no_grad():
        for sample in model(**batch([0, 1]), mode='predict'):
            assert sample.pred_instances.masks.shape[1:] == (48, 64)


def test_company_does_not_change_masks() -> None:
    model = build().eval()
    data = batch([5, 4])
    metas = [sample.metainfo for sample in data['data_samples']]

    def predict(images: list[int]) -> list[Tensor]:
        maps = model.extract_feat(data['inputs'][images])
        found = [InstanceData(bboxes=data['data_samples'][i].gt_instances.bboxes) for i in images]
        model.roi_head.test_cfg.mask_thr_binary = -1  # probabilities in 0 to 255
        found = model.roi_head.predict_mask(maps, [metas[i] for i in images], found)
        return [r.masks.int() for r in found]

    with torch.no_grad():
        together = predict([0, 1])
        alone = predict([0]) + predict([1])
    for a, b in zip(together, alone, strict=True):
        assert a.shape[1:] == (96, 128)
        assert (a - b).abs().max() <= 1
    assert together[0].float().std() > 0


def test_masks_lie_where_the_logits_say() -> None:
    """Padding is cut off and the rest stretched to the original image."""
    logits = torch.full((1, 16, 16), -9.0)
    logits[:, 4:8, 2:6] = 9
    meta = dict(img_shape=(48, 32), ori_shape=(96, 64))
    masks = binarise(logits, (64, 64), meta, 0.5, rescale=True)
    assert masks.shape == (1, 96, 64)
    ys, xs = masks[0].nonzero(as_tuple=True)
    found = [int(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]
    assert np.abs(np.array(found) - [16, 32, 48, 64]).max() <= 1
    assert binarise(logits, (64, 64), meta, 0.5, rescale=False).shape == (1, 48, 32)
    assert resize(logits.half(), (16, 16)).dtype == torch.float32


@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.0])
@pytest.mark.parametrize('ori_shape', [(96, 128), (37, 51), (200, 256)])
def test_masks_resized_in_part_are_those_resized_whole(
    ori_shape: tuple[int, int], threshold: float
) -> None:
    torch.manual_seed(0)
    meta = dict(img_shape=(90, 120), ori_shape=ori_shape)
    for part in ([3, 9, 5, 13], [0, 2, 0, 1], [20, 24, 30, 32], [0, 24, 0, 32], [4, 4, 0, 32]):
        logits = torch.rand(1, 24, 32) - 1.5
        top, bottom, left, right = part
        logits[:, top:bottom, left:right] = torch.randn(1, bottom - top, right - left) * 3
        whole = resize(logits, (96, 128))[..., :90, :120]
        expected = resize(whole, ori_shape) >= torch.tensor(threshold).logit()
        found = binarise(logits, (96, 128), meta, threshold, rescale=True)
        assert torch.equal(found, expected)
    assert torch.equal(upsample_above(logits, (50, 64), 0.0), resize(logits, (50, 64)))


@pytest.mark.parametrize(('detector', 'channels'), [('MaskRCNN', 32), ('PromptMaskRCNN', 256)])
def test_embedding_comes_from_encoder_or_neck(detector: str, channels: int) -> None:
    model = build(detector=detector, channels=channels).train()
    seen: list[Tensor] = []
    embed = model.roi_head.mask_head.embed
    model.roi_head.mask_head.embed = lambda x: (seen.append(x), embed(x))[1]
    data = batch([2])
    model.parse_losses(model(**data, mode='loss'))[0].backward()
    with torch.no_grad():
        maps = model.extract_feat(data['inputs'])
        expected = maps[2] if detector == 'MaskRCNN' else model.backbone(data['inputs'])[0]
    torch.testing.assert_close(seen[0], expected)
    assert isinstance(maps, EmbeddedPyramid) is (detector == 'PromptMaskRCNN')
    assert len(maps) == 5


def test_forward_without_post_processing() -> None:
    model = build().eval()
    with torch.no_grad():
        ((scores, boxes, masks),) = model(**batch([2]), mode='tensor')
    assert len(scores) == len(boxes)
    assert masks.shape[1:] == (24, 32)  # a quarter of the input, four times the embedding


def test_mixed_precision_trains() -> None:
    model = build().train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss, _ = model.parse_losses(model(**batch([2, 0]), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)


def test_learns_one_image() -> None:
    """From random weights, the head finds the masks of the boxes that it is given."""
    torch.manual_seed(0)
    model = build().train()
    data = batch([3], size=(64, 64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(40):
        loss, parts = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(parts['loss_dice'].item())
    assert min(history[-5:]) < 0.4 * history[0], history


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match='mask_roi_extractor'):
        PromptRoIHead()
    with pytest.raises(ValueError, match='max_masks_per_image=0'):
        PromptRoIHead(max_masks_per_image=0)
    head = PromptMaskHead(prompter=dict(in_channels=8, hidden_dims=16))
    with pytest.raises(ValueError, match=r'embedding_channels=\s*64'):
        head.embed(torch.zeros(1, 64, 4, 4))
