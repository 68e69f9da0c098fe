"""A student of many bands and a teacher that knows some of them; pixels without data."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import Tensor, nn

from rs4d.distillation import FeatureDistiller
from rs4d.distillation.feature_distiller import valid_area
from rs4d.distillation.teacher_cache import describe_normalisation
from rs4d.errors import ConfigError
from rs4d.visualization.distillation_picture import draw_distillation, view_distillation

STUDENT = dict(
    type='RSMamba', arch=dict(embed_dims=16, num_layers=2, inner_dims=24, d_state=4), img_size=64
)
MEAN, STD = [10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]


@MODELS.register_module(force=True)
class SeeingTeacher(BaseModule):
    """Keeps what it was shown."""

    embed_dims = 16

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 16, 16)
        self.seen: list[Tensor] = []

    def forward(self, img: Tensor) -> tuple[Tensor]:
        self.seen.append(img)
        return (self.layer(img),)


def build(bands: int = 4, **kwargs: object) -> FeatureDistiller:
    torch.manual_seed(0)
    cfg = dict(
        type='FeatureDistiller',
        student=dict(STUDENT, in_channels=bands),
        teacher=dict(type='SeeingTeacher'),
        data_preprocessor=dict(type='BandsDataPreprocessor', mean=MEAN[:bands], std=STD[:bands]),
    )
    model = MODELS.build(cfg | kwargs)
    model.init_weights()
    return model.train()


def pixels(bands: int) -> Tensor:
    return 255 * torch.rand(2, bands, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(('bands', 'chosen'), [(4, (0, 1, 2)), (4, (3, 0, 1)), (1, (0, 0, 0))])
def test_the_teacher_sees_the_bands_that_it_knows(bands: int, chosen: tuple[int, ...]) -> None:
    own = dict(teacher_mean=[5.0, 6.0, 7.0], teacher_std=[2.0, 3.0, 4.0])
    model = build(bands, teacher_bands=chosen, **own)
    raw = pixels(bands)
    data = model.data_preprocessor(dict(inputs=list(raw)), True)
    losses = model(data['inputs'], mode='loss')
    model.parse_losses(losses)[0].backward()
    expected = (raw[:, list(chosen)] - torch.tensor([5.0, 6, 7])[:, None, None]) / torch.tensor(
        [2.0, 3, 4]
    )[:, None, None]
    torch.testing.assert_close(model.teacher.encoder.seen[0], expected, atol=1e-4, rtol=1e-5)
    first = model.student.patch_embed.projection.weight
    assert first.grad.abs().sum((0, 2, 3)).count_nonzero() == bands
    (view, _) = view_distillation(model, data['inputs'], None)
    shown = raw[0, :3] if bands == 4 else raw[0].expand(3, -1, -1)
    assert torch.equal(torch.from_numpy(view.image).permute(2, 0, 1), shown.round().byte())
    assert draw_distillation([view]).shape[2] == 3


@pytest.mark.parametrize('chosen', [None, (0, 1), (1, 2, 4)])
def test_what_the_teacher_does_not_take_is_refused(chosen: tuple[int, ...] | None) -> None:
    with pytest.raises(ConfigError, match='Set teacher_bands'):
        build(teacher_bands=chosen)


def test_pixels_without_data_do_not_count() -> None:
    marks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    marks[:, :32] = 255
    samples = [DetDataSample(metainfo=dict(img_shape=(64, 48))) for _ in range(2)]
    samples[1].gt_sem_seg = PixelData(sem_seg=marks)
    inputs = torch.randn(2, 4, 64, 64)
    valid = valid_area(inputs, samples)[:, 0]
    assert valid[0].sum() == 64 * 48
    assert valid[1].sum() == 32 * 48
    assert not valid[1, :32].any()
    model = build(teacher_bands=(0, 1, 2)).eval()
    before = model.predict(inputs, samples)[1].normalised_l1
    other = inputs.clone()
    # The student's state carries what it has seen, so that its embedding may change; the teacher's not.
    other[1, :, :, 48:] = 9
    assert torch.isfinite(before)
    target = model.teacher_maps(other, samples)['embedding']
    same = model.teacher_maps(inputs, samples)['embedding']
    assert torch.equal(target[..., :3], same[..., :3])


def test_a_cache_knows_the_bands() -> None:
    cfg = dict(type='BandsDataPreprocessor', mean=MEAN, std=STD)
    plain = describe_normalisation(cfg)
    assert 'teacher_bands' not in plain
    assert describe_normalisation(cfg, teacher_bands=(2, 1, 0)) != plain
