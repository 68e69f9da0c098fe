"""Parts take images as users have them, whatever order of the bands their model takes."""

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from rs4d.errors import ConfigError
from rs4d.export.checking import compare_maps
from rs4d.export.parts import build_part

MEAN, STD = [10.0, 100.0, 200.0], [20.0, 40.0, 80.0]


def model_of(**preprocessor) -> nn.Module:
    """A model of one layer with an image preprocessor."""
    model = nn.Module()
    model.data_preprocessor = MODELS.build(dict(mean=MEAN, std=STD, **preprocessor))
    bands = model.data_preprocessor.mean.numel()
    model.backbone = nn.Conv2d(bands, 2, 4, stride=4)
    return model


@pytest.mark.parametrize('kind', ['DetDataPreprocessor', 'BandsDataPreprocessor'])
@pytest.mark.parametrize('turns', [True, False])
@pytest.mark.parametrize('blue_first', [True, False])
def test_red_comes_first(kind: str, turns: bool, blue_first: bool) -> None:
    model = model_of(type=kind, bgr_to_rgb=turns)
    part = build_part(model, 'encoder', blue_first)
    (image,) = part.example(8, 8, batch=2)
    loaded = image.flip(1) if blue_first else image
    expected = model.data_preprocessor(dict(inputs=list(loaded), data_samples=None))['inputs']
    torch.testing.assert_close(part.normalise(image), expected)
    # By hand: what is subtracted from red.
    red_first = turns == blue_first
    assert part.in_input_order(part.mean) == (MEAN if red_first else MEAN[::-1])


def test_a_preprocessor_that_does_more_is_refused() -> None:
    class Brighter(nn.Module):
        def forward(self, data, training=False):
            return dict(inputs=torch.stack(data['inputs']) * 2)

    model = model_of(type='DetDataPreprocessor')
    model.data_preprocessor = Brighter()
    with pytest.raises(ConfigError, match='Brighter, does something else to images'):
        build_part(model, 'encoder')


@pytest.mark.parametrize(
    'wrong',
    [
        lambda first, second: [first, second * float('nan')],
        lambda first, second: [first, second + 0.01 * second.abs().max()],
        lambda first, second: [first, second[:, :1]],
        lambda first, second: [first],
    ],
    ids=['NaN', 'one map differs', 'another shape', 'a map lacks'],
)
def test_a_wrong_map_is_seen(wrong) -> None:
    model = model_of(type='DetDataPreprocessor', bgr_to_rgb=True)
    encoder = model.backbone
    model.backbone = Twice(encoder)
    part = build_part(model, 'encoder')
    inputs = part.example(8, 8)
    assert compare_maps(part, lambda image: list(part(image)), inputs).error == 0
    agreement = compare_maps(part, lambda image: wrong(*part(image)), inputs)
    assert not agreement.error <= 1e-4


class Twice(nn.Module):
    """An encoder of two maps."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.layer(image), self.layer(image) - 1
