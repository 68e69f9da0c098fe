"""What is compared: blocks, the aggregator, and masked patches, against plain formulas."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from rs4d.distillation import FeatureDistiller
from rs4d.distillation.encoder_maps import block_channels, encode_blocks
from rs4d.errors import UserError

SAM = dict(
    type='SAMViT',
    arch=dict(
        embed_dims=24,
        num_layers=3,
        num_heads=2,
        global_attn_indexes=(1,),
        neck_dims=16,
        window_size=2,
    ),
    img_size=64,
)
STUDENT = dict(
    type='RSMamba', arch=dict(embed_dims=16, num_layers=4, inner_dims=24, d_state=4), img_size=64
)
EMBEDDING = dict(type='EmbeddingMatch')
BLOCKS = dict(type='BlockMatch', student_blocks=(0, 2), teacher_blocks=(1, 2))
AGGREGATED = dict(
    type='AggregatedMatch',
    student_blocks=(1, 3),
    aggregator=dict(
        type='RSFeatureAggregator', hidden_channels=8, out_channels=12, norm_cfg=dict(type='LN2d')
    ),
)


def build(**kwargs: object) -> FeatureDistiller:
    torch.manual_seed(0)
    cfg = dict(
        type='FeatureDistiller',
        student=STUDENT,
        teacher=SAM,
        corruption=dict(type='NoiseAndMask', mask_ratio=0.25, schedule=dict(type='FixedSchedule')),
    )
    model = MODELS.build(cfg | kwargs)
    model.init_weights()
    return model.train()


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_every_loss_is_logged_under_its_name_and_added_up() -> None:
    model = build(
        losses=dict(loss_embedding=EMBEDDING, loss_blocks=BLOCKS, loss_aggregated=AGGREGATED)
    )
    total, log = model.parse_losses(model(images(), mode='loss'))
    names = ['loss_embedding', 'loss_blocks', 'loss_aggregated']
    assert set(log) == {'loss', *names, 'error', 'noise_ratio', 'mask_ratio'}
    torch.testing.assert_close(total, sum(log[name] for name in names))
    total.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_student_alone_is_under_student() -> None:
    plain = build()
    model = build(
        losses=dict(loss_embedding=EMBEDDING, loss_blocks=BLOCKS, loss_aggregated=AGGREGATED)
    )
    kept = {k: v for k, v in model.state_dict().items() if k.startswith('student.')}
    assert kept.keys() == {k for k in plain.state_dict() if k.startswith('student.')}
    rest = {k.split('.')[0] for k in model.state_dict()} - {'student'}
    assert rest == {'corruption', 'losses'}


def test_blocks_are_compared_through_their_adapters() -> None:
    model = build(
        losses=dict(loss_embedding=EMBEDDING, loss_blocks=BLOCKS),
        corruption=dict(type='NoiseAndMask', noise_ratio=0.0, mask_ratio=0.0),
    )
    img = images()
    values = model(img, mode='loss')
    adapters = model.losses['loss_blocks'].adapters
    student = MODELS.build(STUDENT | dict(out_indices=(0, 2, 3)))
    student.load_state_dict(model.student.state_dict())
    own = student(img)
    theirs: list[Tensor] = []
    vit = model.teacher.encoder.vit
    for block in (1, 2):
        vit.blocks[block].register_forward_hook(lambda _, __, out: theirs.append(out))
    last = model.teacher.maps(img)['embedding']
    expected = [F.l1_loss(adapters[i](own[i]), theirs[i].permute(0, 3, 1, 2)) for i in range(2)]
    torch.testing.assert_close(values['loss_blocks'], sum(expected) / 2)
    torch.testing.assert_close(values['loss_embedding'], F.l1_loss(own[2], last))
    torch.testing.assert_close(
        values['error'],
        ((own[2] - last).abs().sum((1, 2, 3)) / last.abs().sum((1, 2, 3))).mean(),
    )


def test_the_aggregated_map_is_compared_with_the_embedding() -> None:
    model = build(losses=dict(loss_aggregated=AGGREGATED)).eval()
    seen: list[Tensor] = []
    model.adapter.register_forward_hook(lambda _, __, out: seen.append(out))
    model.losses['loss_aggregated'].projection.register_forward_hook(
        lambda _, __, out: seen.append(out)
    )
    img = images()
    values = model(img, mode='loss')
    assert len(seen) == 2
    torch.testing.assert_close(
        values['loss_aggregated'], F.l1_loss(seen[1], model.teacher.maps(img)['embedding'])
    )
    # The error is the last map's, also where that is not what is trained.
    target = model.teacher.maps(img)['embedding']
    size = target.abs().sum((1, 2, 3))
    error = ((seen[0] - target).abs().sum((1, 2, 3)) / size).mean()
    torch.testing.assert_close(values['error'], error)


def test_the_aggregator_keeps_the_names_of_stage_2() -> None:
    model = build(losses=dict(loss_aggregated=AGGREGATED))
    neck = MODELS.build(AGGREGATED['aggregator'] | dict(in_channels=16, num_inputs=2))
    prefix = 'losses.loss_aggregated.aggregator.'
    state = {
        k.removeprefix(prefix): v for k, v in model.state_dict().items() if k.startswith(prefix)
    }
    neck.load_state_dict(state)


@pytest.mark.parametrize('weight', [0.0, 3.0])
def test_masked_patches_weigh_as_said(weight: float) -> None:
    model = build(losses=dict(loss_embedding=EMBEDDING | dict(masked_weight=weight)))
    masks: list[Tensor] = []
    maps: list[Tensor] = []
    model.corruption.register_forward_hook(lambda _, __, out: masks.append(out[1]))
    model.student.register_forward_hook(lambda _, __, out: maps.append(out[-1]))
    img = images()
    value = model(img, mode='loss')['loss_embedding']
    weights = torch.where(masks[0] > 0, weight, 1.0)
    assert (masks[0] > 0).sum() == 2 * 4  # a quarter of 16 patches
    difference = (maps[0] - model.teacher.maps(img)['embedding']).abs().mean(1, keepdim=True)
    torch.testing.assert_close(value, (difference * weights).sum() / weights.sum())


def test_a_mask_finer_than_the_teachers_cells_counts_by_its_share() -> None:
    match = MODELS.build(EMBEDDING | dict(masked_weight=3.0))
    student, teacher = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 2.0]]]])
    valid, masked = torch.ones(1, 1, 32, 64), torch.zeros(1, 1, 2, 4)
    masked[0, 0, 0, 0] = 1  # a quarter of the first cell
    value = match.compare(student, teacher, valid, masked)
    assert value.item() == pytest.approx((1.5 * 1 + 1 * 2) / 2.5)


def test_padding_does_not_count_in_any_loss() -> None:
    from mmengine.structures import BaseDataElement

    model = build(
        losses=dict(loss_embedding=EMBEDDING, loss_blocks=BLOCKS, loss_aggregated=AGGREGATED),
        corruption=dict(type='NoiseAndMask', noise_ratio=0.0, mask_ratio=0.0),
    ).eval()
    samples = [BaseDataElement(metainfo=dict(img_shape=(32, 64))) for _ in range(2)]
    before = model.loss(images(), samples)
    # Cells of the padding, after the networks have run.
    maps = model.teacher.maps

    def other_padding(*args: object) -> dict[str, Tensor]:
        found = {name: value.clone() for name, value in maps(*args).items()}
        for value in found.values():
            value[:, :, 2:] = 9
        return found

    model.teacher.maps = other_padding
    after = model.loss(images(), samples)
    for name in before:
        torch.testing.assert_close(after[name], before[name])


def test_sams_maps_are_those_of_its_blocks() -> None:
    torch.manual_seed(0)
    whole = MODELS.build(SAM).eval()
    parts = MODELS.build(SAM | dict(out_indices=(0, 2))).eval()
    parts.vit.load_state_dict(whole.vit.state_dict(), strict=False)
    img = images()
    with torch.no_grad():
        maps = encode_blocks(whole, img, (2, 0))
        expected = parts(img)
        torch.testing.assert_close(maps['embedding'], whole(img)[0])
    torch.testing.assert_close(maps['block0'], expected[0])
    torch.testing.assert_close(maps['block2'], expected[1])
    assert block_channels(whole, 2) == maps['block2'].shape[1]


def test_a_timm_teachers_levels() -> None:
    timm_teacher = dict(type='TimmEncoder', model_name='resnet18', out_indices=(2, 3))
    model = build(
        teacher=timm_teacher,
        losses=dict(
            loss_embedding=EMBEDDING,
            loss_blocks=BLOCKS | dict(student_blocks=(1,), teacher_blocks=(2,)),
        ),
    )
    (conv,) = model.losses['loss_blocks'].adapters
    assert isinstance(conv, nn.Conv2d)
    assert conv.out_channels == model.teacher.maps(images(), (2,))['block2'].shape[1]
    assert set(model(images(), mode='loss')) >= {'loss_embedding', 'loss_blocks'}


@pytest.mark.parametrize(
    ('losses', 'message'),
    [
        (dict(blocks=BLOCKS), r"names \['blocks'\]"),
        (dict(loss=EMBEDDING), r"names \['loss'\]"),
        (dict(loss_embedding=None), 'no entry'),
        (dict(loss_a=BLOCKS | dict(teacher_blocks=(1,))), 'same number of blocks'),
        (dict(loss_a=BLOCKS | dict(student_blocks=(-1, 1))), 'student_blocks'),
        (dict(loss_a=AGGREGATED | dict(student_blocks=())), 'at least one block'),
        (dict(loss_a=EMBEDDING | dict(masked_weight=-1.0)), 'masked_weight=-1.0'),
        (dict(loss_a=BLOCKS | dict(teacher_blocks=(1, 7))), 'block 7.*0 to 2'),
        (dict(loss_a=BLOCKS | dict(student_blocks=(1, 9))), 'block 9.*0 to 3'),
    ],
)
def test_losses_that_cannot_be(losses: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(losses=losses)


def test_an_adapter_that_nothing_would_train() -> None:
    narrow = dict(SAM, arch=SAM['arch'] | dict(neck_dims=8))
    with pytest.raises(UserError, match='no EmbeddingMatch'):
        build(teacher=narrow, losses=dict(loss_blocks=BLOCKS))
    build(teacher=narrow, losses=dict(loss_embedding=EMBEDDING, loss_blocks=BLOCKS))
