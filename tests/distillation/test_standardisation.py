"""Standardised targets against NumPy's mean and deviation over all cells that count."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.runner import Runner
from test_feature_distiller import MEAN, STD, build, runner_config, sample
from torch import Tensor

from rs4d.distillation import ChannelStandardisation, standardisation
from rs4d.distillation.teacher_cache import (
    CacheHeader,
    TeacherCacheError,
    describe_normalisation,
)
from rs4d.distillation.teacher_cache.header import describe_teacher
from rs4d.errors import UserError

PREPROCESSOR = dict(mean=MEAN, std=STD, bgr_to_rgb=True)
LOSSES = dict(
    loss_cosine=dict(
        type='EmbeddingMatch', loss=dict(type='FeatureLoss', kind='cosine', loss_weight=0.9)
    ),
    loss_smooth_l1=dict(
        type='EmbeddingMatch', loss=dict(type='FeatureLoss', kind='smooth_l1', loss_weight=0.1)
    ),
)


def norm(channels: int = 4, **kwargs: object) -> ChannelStandardisation:
    module = MODELS.build(dict(type='ChannelStandardisation') | kwargs)
    module.connect(lambda block: channels if block is None else 2, (1,))
    return module.train()


def batch(seed: int, size: int = 3) -> tuple[dict[str, Tensor], Tensor]:
    """Maps at two grids, with channels of very different sizes, and which pixels count."""
    generator = torch.Generator().manual_seed(seed)
    scale, shift = torch.tensor([1e-3, 1.0, 40.0, 1e3]), torch.tensor([5.0, 0.0, -700.0, 3e4])
    maps = torch.randn(size, 4, 4, 4, generator=generator) * scale[:, None, None]
    block = torch.randn(size, 2, 2, 2, generator=generator)
    valid = torch.ones(size, 1, 64, 64)
    valid[0, :, :, 32:] = 0
    return dict(embedding=maps + shift[:, None, None], block1=block), valid


def cells(maps: list[Tensor], valid: list[Tensor], stride: int) -> np.ndarray:
    """All vectors that count, (N, C)."""
    found = [
        value[i, :, y, x].double().numpy()
        for value, area in zip(maps, valid, strict=True)
        for i in range(len(value))
        for y in range(value.shape[2])
        for x in range(value.shape[3])
        if area[i, 0, y * stride, x * stride]
    ]
    return np.stack(found)


def test_the_definition() -> None:
    module = norm(num_batches=3)
    seen = [batch(seed, size) for seed, size in ((0, 3), (1, 1), (2, 4))]
    for count in (1, 2, 3):
        maps, valid = seen[count - 1]
        found = module(maps, valid)
        for name, stride in (('embedding', 16), ('block1', 32)):
            known = cells([m[name] for m, _ in seen[:count]], [v for _, v in seen[:count]], stride)
            mean, std = known.mean(0), known.std(0)
            # The first channel hardly varies: a thousandth of the root of the mean variance is more.
            std = np.maximum(std, 1e-3 * np.sqrt((std**2).mean()))
            expected = (maps[name].double().numpy() - mean[:, None, None]) / std[:, None, None]
            np.testing.assert_allclose(found[name].numpy(), expected, rtol=2e-4, atol=2e-4)
    later, valid = batch(3)
    before = copy.deepcopy(module.state_dict())
    module(later, valid)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_only_training_learns_and_nothing_is_no_change() -> None:
    module = norm().eval()
    maps, valid = batch(0)
    for name, value in module(maps, valid).items():
        torch.testing.assert_close(value, maps[name], rtol=0, atol=0)
    assert int(module.statistics['embedding'].num_batches) == 0
    trained = module.train()(maps, valid)
    again = module.eval()(maps, valid)
    assert not again['embedding'].equal(maps['embedding'])
    torch.testing.assert_close(again['embedding'], trained['embedding'], rtol=0, atol=0)


def test_maps_that_are_no_numbers_or_all_padding_do_not_count() -> None:
    module = norm()
    maps, valid = batch(0)
    module(dict(maps, embedding=maps['embedding'].clone().fill_(torch.inf)), valid)
    assert int(module.statistics['embedding'].num_batches) == 0
    module(maps, torch.zeros_like(valid))
    assert int(module.statistics['embedding'].num_batches) == 0
    # What lies on padding has no say, whatever it is.
    wild = dict(maps, embedding=maps['embedding'].clone())
    wild['embedding'][0, :, :, 2:] = torch.inf
    module(wild, valid)
    other = norm()
    other(maps, valid)
    found, expected = module.statistics['embedding'], other.statistics['embedding']
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.squares, expected.squares)


def test_a_constant_channel_and_constant_maps() -> None:
    module = norm()
    maps, valid = batch(0)
    maps['embedding'][:, 1] = 3.0
    assert (module(maps, valid)['embedding'][:, 1] == 0).all()
    constant = norm()
    assert (
        constant(dict(embedding=torch.full((1, 4, 4, 4), 7.0)), valid[1:2])['embedding'] == 0
    ).all()


def test_ranks_are_one_process_with_all_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, valid = batch(0, 4)
    alone = norm()
    alone(maps, valid)
    barrier, parts = Barrier(2), []

    def all_reduce(value: Tensor) -> None:
        parts.append(value.clone())
        barrier.wait()
        value.copy_(parts[0] + parts[1])
        if barrier.wait() == 0:
            parts.clear()
        barrier.wait()

    monkeypatch.setattr(standardisation, 'all_reduce', all_reduce)
    ranks = [norm(), norm()]

    def run(rank: int) -> None:
        rows = slice(3 * rank, 3 + rank)  # three images and one
        ranks[rank](dict(embedding=maps['embedding'][rows]), valid[rows])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    for module in ranks:
        for name, value in module.statistics['embedding'].named_buffers():
            expected = getattr(alone.statistics['embedding'], name)
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4, msg=name)


def test_losses_error_and_agreement_are_of_the_standardised_target() -> None:
    clean = dict(type='NoiseAndMask', noise_ratio=0.0, mask_ratio=0.0)
    teacher = dict(type='PatchTeacher', embed_dims=24)
    model = build(
        teacher=teacher,
        corruption=clean,
        losses=LOSSES,
        target_norm=dict(type='ChannelStandardisation'),
    )
    img = torch.randn(2, 3, 64, 64)
    img[1, :, 32:] = 0
    samples = [sample(64, 64), sample(32, 64)]
    found = model(img, samples, mode='loss')
    target = model.teacher.maps(img)['embedding']
    features = model.adapter(model.student(img)[0])
    t = torch.cat([target[0].flatten(1), target[1, :, :2].flatten(1)], 1).T
    s = torch.cat([features[0].flatten(1), features[1, :, :2].flatten(1)], 1).T
    t = (t - t.mean(0)) / t.std(0, correction=0)
    cosine = F.cosine_similarity(s, t)
    torch.testing.assert_close(found['loss_cosine'], 0.9 * (1 - cosine).mean())
    torch.testing.assert_close(found['loss_smooth_l1'], 0.1 * F.smooth_l1_loss(s, t))
    errors = [(s[i] - t[i]).abs().sum() / t[i].abs().sum() for i in (slice(16), slice(16, None))]
    torch.testing.assert_close(found['error'], sum(errors) / 2)
    results = model.eval()(img, samples, mode='predict')
    torch.testing.assert_close(results[1].normalised_l1, errors[1].detach())
    torch.testing.assert_close(results[0].cosine, cosine[:16].mean().detach())
    keys = {key.partition('.')[0] for key in model.state_dict()}
    assert keys == {'student', 'adapter', 'corruption', 'target_norm'}
    assert {name.partition('.')[0] for name, _ in model.named_parameters()} == {
        'student',
        'adapter',
    }


def test_maps_of_blocks_are_standardised_each_for_itself() -> None:
    student = dict(
        type='RSMamba',
        arch=dict(embed_dims=16, num_layers=2, inner_dims=24, d_state=4),
        img_size=64,
    )
    blocks = dict(type='BlockMatch', student_blocks=(0,), teacher_blocks=(1,))
    model = build(
        teacher=student,
        losses=dict(loss_embedding=dict(type='EmbeddingMatch'), loss_blocks=blocks),
        target_norm=dict(type='ChannelStandardisation'),
    )
    model(torch.randn(2, 3, 64, 64), mode='loss')['loss_blocks'].backward()
    targets = model.targets(torch.randn(2, 3, 64, 64))
    assert set(targets) == set(model.target_norm.statistics) == {'embedding', 'block1'}


def test_a_run_that_is_resumed_while_it_learns_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, 'randn_like', torch.zeros_like)
    monkeypatch.setattr(torch, 'rand', lambda shape, **kwargs: torch.zeros(shape))

    def runner(name: str, until: int, **kwargs: object) -> Runner:
        cfg = runner_config(tmp_path / name, until, **kwargs)
        cfg.model.target_norm = dict(type='ChannelStandardisation', num_batches=3)
        cfg.model.losses = LOSSES
        cfg.optim_wrapper.optimizer.lr = 0.1
        return Runner.from_cfg(cfg)

    whole = runner('whole', 2)
    whole.train()
    for until in (1, 2):  # of two batches each; three are learned from
        part = runner('parts', until, resume=until == 2)
        part.model.teacher = whole.model.teacher
        part.train()
    state = part.model.state_dict()
    assert int(state['target_norm.statistics.embedding.num_batches']) == 3
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_no_batch_at_all() -> None:
    with pytest.raises(UserError, match='num_batches=0 should be at least 1'):
        norm(num_batches=0)


def test_a_cache_gives_the_same_training_and_knows_the_teachers_settings(tmp_path: Path) -> None:
    teacher = dict(
        type='TimmEncoder',
        model_name='vit_large_patch16_dinov3',
        norm=True,
        model_kwargs=dict(embed_dim=24, depth=1, num_heads=1),
    )
    cfg = dict(
        teacher=teacher,
        teacher_mean=[109.65, 104.805, 75.48],
        teacher_std=[54.315, 39.78, 36.465],
        losses=LOSSES,
        target_norm=dict(type='ChannelStandardisation'),
        corruption=dict(type='NoiseAndMask', noise_ratio=0.0, mask_ratio=0.0),
    )
    live = build(**cfg)
    CacheHeader(
        teacher=describe_teacher(teacher),
        normalisation=describe_normalisation(PREPROCESSOR, cfg['teacher_mean'], cfg['teacher_std']),
        pipeline=[],
        weights='0',
        precision='float32',
        image_size=[64, 64],
        maps=dict(embedding=[24, 4, 4]),
    ).write(tmp_path)
    cached = build(**cfg, teacher_cache=str(tmp_path))
    cached.load_state_dict(live.state_dict())
    for seed in range(2):
        torch.manual_seed(seed)
        img = torch.randn(2, 3, 64, 64)
        samples = [sample(64, 64), sample(48, 64)]
        maps = live.teacher_maps(img)['embedding'].half()
        for one, value in zip(samples, maps, strict=True):
            one.set_data(dict(teacher_embedding=value))
        found, expected = (m(img, samples, mode='loss') for m in (cached, live))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0.01, atol=1e-4, msg=name)
    state = cached.state_dict()
    for name, value in live.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0.01, atol=1e-3, msg=name)
    for change in (dict(teacher=dict(teacher, norm=False)), dict(teacher_mean=[127.5] * 3)):
        with pytest.raises(TeacherCacheError, match=r'norm.*in the config|teacher_mean'):
            build(**cfg | change, teacher_cache=str(tmp_path))
