"""The corruption measured, and its controller against the formula."""

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from rs4d.distillation import AdaptiveNoiseMasking


def build(**kwargs: object) -> AdaptiveNoiseMasking:
    return MODELS.build(dict(type='AdaptiveNoiseMasking') | kwargs)


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
    noise = build(noise_ratio=0.3, mask_ratio=0, schedule='fixed')(img, valid) - img
    for i in range(len(img)):
        inside = valid[i, 0].bool()
        for channel in range(3):
            expected = 0.3 * img[i, channel][inside].std().item()
            assert noise[i, channel][inside].std().item() == pytest.approx(expected, rel=0.05)
        assert noise[i][:, ~inside].abs().sum() == 0


@pytest.mark.parametrize('ratio', [0.1, 0.2, 0.33])
def test_mask_drops_an_exact_share_of_the_patches_with_image(ratio: float) -> None:
    img, valid = images()
    out = build(noise_ratio=0, mask_ratio=ratio, schedule='fixed')(img, valid)
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
    out, masked = build(noise_ratio=0.1, mask_ratio=0.3, schedule='fixed')(img, valid, True)
    assert masked.shape == (3, 1, 8, 8)
    has_image = valid.unfold(2, 16, 16).unfold(3, 16, 16).sum((4, 5)) > 0
    dropped = out.unfold(2, 16, 16).unfold(3, 16, 16).abs().sum((1, 4, 5))[:, None] == 0
    assert torch.equal(masked.bool(), dropped & has_image)
    assert masked.sum((1, 2, 3)).tolist() == [19, 7, 19]


def test_masks_differ_from_image_to_image_and_time_to_time() -> None:
    img = torch.ones(2, 3, 128, 128)
    corruption = build(noise_ratio=0, schedule='fixed')
    first, second = (corruption(img, torch.ones(2, 1, 128, 128)) for _ in range(2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_a_clean_image_passes_before_warm_up_ends() -> None:
    img, valid = images()
    torch.testing.assert_close(build(warmup_iters=5)(img, valid), img)


def adaptive(errors: list[float], warmup: int, momentum: float, target: float) -> list[float]:
    """The rule in plain Python."""
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
def test_adaptive_controller(errors: list[float]) -> None:
    corruption = build(
        warmup_iters=4, momentum=0.3, target_error=0.25, noise_ratio=0.2, mask_ratio=0.4
    )
    found = []
    for error in errors:
        corruption.update(torch.tensor(error))
        found.append(float(corruption.difficulty))
        assert float(corruption.noise_ratio) == pytest.approx(0.2 * found[-1])
        assert float(corruption.mask_ratio) == pytest.approx(0.4 * found[-1])
    assert found == pytest.approx(adaptive(errors, 4, 0.3, 0.25), abs=1e-5)


def test_linear_and_fixed_schedules() -> None:
    linear = build(schedule='linear', warmup_iters=2, ramp_iters=6)
    fixed = build(schedule='fixed')
    found = []
    for _ in range(8):
        found.append(float(linear.difficulty))
        assert float(fixed.difficulty) == 1
        for corruption in (linear, fixed):
            corruption.update(torch.tensor(0.9))
    assert found == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1, 1])


def test_an_error_that_is_not_finite_leaves_the_average_alone() -> None:
    corruption = build(warmup_iters=2)
    for error in (0.8, 0.6, float('nan'), float('inf')):
        corruption.update(torch.tensor(error))
    assert float(corruption.error_average) == pytest.approx(0.7)
    assert int(corruption.num_updates) == 4


def test_ranks_agree_on_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [0.9, 0.5]

    def all_reduce(value: Tensor, op: str) -> None:
        assert op == 'mean'
        value.fill_(sum(ranks) / len(ranks))

    monkeypatch.setattr('rs4d.distillation.adaptive_noise_masking.all_reduce', all_reduce)
    corruption, mine = build(), torch.tensor(ranks[0])
    corruption.update(mine)
    assert float(corruption.error_average) == pytest.approx(0.7)
    assert float(mine) == pytest.approx(0.9)  # what the log shows is left alone


def test_state_survives_a_checkpoint() -> None:
    torch.manual_seed(0)
    errors = torch.linspace(1, 0.3, 12)
    whole, first, second = (build(warmup_iters=3, momentum=0.2) for _ in range(3))
    for error in errors:
        whole.update(error)
    for error in errors[:5]:
        first.update(error)
    second.load_state_dict(first.state_dict())
    for error in errors[5:]:
        second.update(error)
    assert float(whole.difficulty) > 0
    assert float(second.difficulty) == float(whole.difficulty)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(schedule='cosine'), 'adaptive, linear, fixed'),
        (dict(noise_ratio=-0.1), 'noise_ratio=-0.1'),
        (dict(mask_ratio=20), 'mask_ratio=20'),
        (dict(schedule='linear', warmup_iters=10, ramp_iters=10), 'ramp_iters=10'),
        (dict(warmup_iters=0, momentum=0), 'warmup_iters=0.*momentum=0'),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_input_that_is_no_multiple_of_a_patch() -> None:
    with pytest.raises(ValueError, match='height 40 and width 32'):
        build()(torch.zeros(1, 3, 40, 32), torch.ones(1, 1, 40, 32))
