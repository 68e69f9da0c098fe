"""The corruption measured, and its schedules against their formulas."""

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from rs4d.distillation import AdaptiveSchedule, CorruptionSchedule, NoiseAndMask
from rs4d.errors import UserError

FIXED = dict(type='FixedSchedule')


def build(**kwargs: object) -> NoiseAndMask:
    return MODELS.build(dict(type='NoiseAndMask') | kwargs)


def adaptive(**kwargs: object) -> AdaptiveSchedule:
    return MODELS.build(dict(type='AdaptiveSchedule') | kwargs)


def follow(schedule: CorruptionSchedule, errors: list[float]) -> list[float]:
    found = []
    for error in errors:
        schedule.update(torch.tensor(error))
        found.append(float(schedule.difficulty))
    return found


def images(batch: int = 3, size: int = 128) -> tuple[Tensor, Tensor]:
    """Images of different contrast in every channel, the second one two thirds padding."""
    torch.manual_seed(0)
    scale = torch.rand(batch, 3, 1, 1) + 0.5
    img = torch.randn(batch, 3, size, size) * scale + 2
    valid = torch.ones(batch, 1, size, size)
    valid[1, :, size // 2 :] = 0
    valid[1, :, :, 90:] = 0
    return img * valid, valid


def test_noise_is_a_share_of_each_images_own_std() -> None:
    img, valid = images()
    noise = build(noise_ratio=0.3, mask_ratio=0, schedule=FIXED)(img, valid)[0] - img
    for i in range(len(img)):
        inside = valid[i, 0].bool()
        for channel in range(3):
            expected = 0.3 * img[i, channel][inside].std().item()
            assert noise[i, channel][inside].std().item() == pytest.approx(expected, rel=0.05)
        assert noise[i][:, ~inside].abs().sum() == 0


@pytest.mark.parametrize('ratio', [0.1, 0.2, 0.33])
def test_mask_drops_an_exact_share_of_the_patches_with_image(ratio: float) -> None:
    img, valid = images()
    out, _ = build(noise_ratio=0, mask_ratio=ratio, schedule=FIXED)(img, valid)
    patches = out.unfold(2, 16, 16).unfold(3, 16, 16).abs().sum((1, 4, 5))
    dropped = [int((p == 0).sum()) for p in patches]
    # 8x8 patches; of the second image 4 rows of 6 have image in them.
    padding = [0, 64 - 24, 0]
    wanted = [round(ratio * (64 - p)) for p in padding]
    assert [d - p for d, p in zip(dropped, padding, strict=True)] == wanted
    kept = out != 0
    torch.testing.assert_close(out[kept], img[kept])


def test_the_mask_that_is_told_is_the_one_that_was_used() -> None:
    img, valid = images()
    out, masked = build(noise_ratio=0.1, mask_ratio=0.3, schedule=FIXED)(img, valid)
    assert masked.shape == (3, 1, 8, 8)
    has_image = valid.unfold(2, 16, 16).unfold(3, 16, 16).sum((4, 5)) > 0
    dropped = out.unfold(2, 16, 16).unfold(3, 16, 16).abs().sum((1, 4, 5))[:, None] == 0
    assert torch.equal(masked.bool(), dropped & has_image)
    assert masked.sum((1, 2, 3)).tolist() == [19, 7, 19]


def test_masks_differ_from_image_to_image_and_time_to_time() -> None:
    img = torch.ones(2, 3, 128, 128)
    corruption = build(noise_ratio=0, schedule=FIXED)
    first, second = (corruption(img, torch.ones(2, 1, 128, 128))[0] for _ in range(2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_a_clean_image_passes_before_warm_up_ends() -> None:
    img, valid = images()
    torch.testing.assert_close(build()(img, valid)[0], img)


def by_the_rule(errors: list[float], warmup: int, momentum: float, target: float) -> list[float]:
    """The adaptive rule in plain Python."""
    average, start, result = 0.0, None, []
    for step, error in enumerate(errors, 1):
        weight = max(momentum, 1 / step)
        average += weight * (error - average)
        if step <= warmup:
            start = average
        if step < warmup:
            result.append(0.0)
        elif average <= target:
            result.append(1.0)
        else:
            gained = (start - average) / max(start - target, 1e-6)
            result.append(min(max(gained, 0.0), 1.0))
    return result


@pytest.mark.parametrize(
    'errors',
    [
        [1.0, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1],
        [1.0, 1.0, 0.9, 0.5, 0.5, 0.9, 1.5, 2.0, 3.0],  # recedes when the student falls back
        [0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.5, 0.9],  # at the target from the start
    ],
)
def test_adaptive_schedule(errors: list[float]) -> None:
    schedule = dict(type='AdaptiveSchedule', warmup_iters=4, momentum=0.3, target_error=0.25)
    corruption = build(noise_ratio=0.2, mask_ratio=0.4, schedule=schedule)
    found = follow(corruption.schedule, errors)
    assert found == pytest.approx(by_the_rule(errors, 4, 0.3, 0.25), abs=1e-5)
    assert float(corruption.noise_ratio) == pytest.approx(0.2 * found[-1])
    assert float(corruption.mask_ratio) == pytest.approx(0.4 * found[-1])


def test_linear_and_fixed_schedules() -> None:
    linear = MODELS.build(dict(type='LinearSchedule', warmup_iters=2, ramp_iters=6))
    assert float(linear.difficulty) == 0
    assert follow(linear, [0.9] * 7) == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1])
    assert follow(MODELS.build(FIXED), [0.9] * 3) == [1, 1, 1]


def by_progress(errors: list[float], warmup: int, ramp: int, momentum: float) -> float:
    """The rule of progress in plain Python."""
    level, fast, slow = 0.0, errors[0], errors[0]
    for number, error in enumerate(errors, 1):
        fast += max(1 / number, momentum) * (error - fast)
        slow += max(1 / number, momentum / 4) * (error - slow)
        if number > warmup:
            level = min(max(level + (1 if fast < slow else -1) / ramp, 0), 1)
    return level


@pytest.mark.parametrize(
    ('errors', 'least', 'most'),
    [
        (torch.linspace(1, 0.6, 60).tolist(), 0.9, 1),  # gets on, however far it is from perfect
        ([*torch.linspace(1, 0.6, 40), *torch.linspace(0.6, 0.9, 40)], 0, 0.6),  # is lost
        ([0.8] * 60, 0, 0),  # learns nothing
    ],
)
def test_progress_schedule(errors: list[float], least: float, most: float) -> None:
    schedule = MODELS.build(
        dict(type='ProgressSchedule', warmup_iters=10, ramp_iters=40, momentum=0.2)
    )
    errors = [float(error) for error in errors]
    found = follow(schedule, errors)
    assert found[:10] == [0] * 10
    assert found[-1] == pytest.approx(by_progress(errors, 10, 40, 0.2), abs=1e-6)
    assert least <= found[-1] <= most


BAD = [float('nan'), float('inf'), float('-inf')]


@pytest.mark.parametrize('before', [[], [0.8, 0.6]])
def test_an_error_that_is_not_finite_does_not_count(before: list[float]) -> None:
    """Wherever it comes, all is as if it had not come."""
    after = [0.9, 0.7, 0.3]
    clean, disturbed = (adaptive(warmup_iters=3, momentum=0.3) for _ in range(2))
    follow(clean, before + after)
    follow(disturbed, before + BAD * 3 + after)
    assert disturbed.state_dict() == clean.state_dict()
    assert int(clean.num_updates) == len(before + after)


def test_errors_that_are_not_finite_before_the_first_good_one() -> None:
    schedule = adaptive(warmup_iters=8)
    assert follow(schedule, [float('nan')] * 8 + [0.9]) == [0] * 9
    assert float(schedule.error_average) == pytest.approx(0.9)
    linear = MODELS.build(dict(type='LinearSchedule', warmup_iters=0, ramp_iters=10))
    assert follow(linear, [float('nan')] * 8 + [0.9])[-1] == pytest.approx(0.1)


def test_ranks_agree_on_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [0.9, 0.5]

    def all_reduce(value: Tensor, op: str) -> None:
        assert op == 'mean'
        value.fill_(sum(ranks) / len(ranks))

    monkeypatch.setattr('rs4d.distillation.schedules.all_reduce', all_reduce)
    schedule, mine = adaptive(), torch.tensor(ranks[0])
    schedule.update(mine)
    assert float(schedule.error_average) == pytest.approx(0.7)
    assert float(mine) == pytest.approx(0.9)  # what the log shows is left alone


@pytest.mark.parametrize('kind', ['AdaptiveSchedule', 'ProgressSchedule'])
def test_state_survives_a_checkpoint(kind: str) -> None:
    errors = torch.linspace(1, 0.3, 12).tolist()
    settings = dict(type=kind, warmup_iters=3, momentum=0.2)
    whole, first, second = (build(schedule=settings) for _ in range(3))
    follow(whole.schedule, errors)
    follow(first.schedule, errors[:5])
    second.load_state_dict(first.state_dict())
    follow(second.schedule, errors[5:])
    assert 0 < float(whole.mask_ratio) == float(second.mask_ratio)


@pytest.mark.parametrize(
    ('kind', 'kept'),
    [
        ('AdaptiveSchedule', ['num_updates', 'error_average', 'initial_error']),
        ('LinearSchedule', ['num_updates']),
        ('FixedSchedule', ['num_updates']),
    ],
)
def test_checkpoints_of_when_they_were_one_module(kind: str, kept: list[str]) -> None:
    old = dict(
        num_updates=torch.tensor(7),
        error_average=torch.tensor(0.5),
        initial_error=torch.tensor(0.75),
    )
    model = torch.nn.ModuleDict(dict(corruption=build(schedule=dict(type=kind))))
    model.load_state_dict({f'corruption.{name}': value for name, value in old.items()})
    assert model.state_dict() == {f'corruption.schedule.{name}': old[name] for name in kept}


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='NoiseAndMask', noise_ratio=-0.1), 'noise_ratio=-0.1'),
        (dict(type='NoiseAndMask', mask_ratio=20), 'mask_ratio=20'),
        (dict(type='LinearSchedule', warmup_iters=10, ramp_iters=10), 'ramp_iters=10'),
        (dict(type='AdaptiveSchedule', warmup_iters=0, momentum=0), 'warmup_iters=0, momentum=0'),
        (dict(type='ProgressSchedule', ramp_iters=0), 'ramp_iters=0'),
    ],
)
def test_bad_arguments(cfg: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MODELS.build(cfg)


def test_input_that_is_no_multiple_of_a_patch() -> None:
    with pytest.raises(UserError, match='height 40 and width 32'):
        build()(torch.zeros(1, 3, 40, 32), torch.ones(1, 1, 40, 32))
