"""Weights of three bands in models of another number."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import load_state_dict

from rs4d.checkpoints import logged_load
from rs4d.checkpoints.checks import check_checkpoint
from rs4d.errors import UserError

ENCODERS = {
    'patches': dict(
        type='RSMamba', arch=dict(embed_dims=16, num_layers=2, inner_dims=32), img_size=64
    ),
    'stem': dict(
        type='RSMamba',
        arch=dict(embed_dims=16, num_layers=2, inner_dims=32),
        img_size=64,
        stem_channels=(8, 8, 16),
    ),
    'resnet': dict(type='ResNet', depth=18, base_channels=8, out_indices=(3,)),
}


def _built(name, bands, checkpoint=None):
    init = dict(init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint))) if checkpoint else {}
    torch.manual_seed(bands)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(ENCODERS[name] | dict(in_channels=bands) | init)
        model.init_weights()
    model.eval()
    return model


@pytest.fixture(params=sorted(ENCODERS))
def stored(request, tmp_path):
    model = _built(request.param, 3)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'rgb.pth')
    return request.param, model, tmp_path / 'rgb.pth'


@pytest.mark.parametrize('bands', [4, 13])
@torch.no_grad()
def test_with_rgb_a_model_gives_what_the_rgb_model_gives(stored, bands):
    name, model, path = stored
    image = torch.randn(2, bands, 64, 64)
    found = _built(name, bands, path)(image)
    for ours, theirs in zip(found, model(image[:, :3]), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('bands', [1, 2])
@torch.no_grad()
def test_few_bands_of_grey_are_as_grey_was(stored, bands):
    name, model, path = stored
    grey = torch.randn(2, 1, 64, 64)
    found = _built(name, bands, path)(grey.expand(-1, bands, -1, -1))
    for ours, theirs in zip(found, model(grey.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_bands_that_start_at_zero_learn(stored):
    name, _, path = stored
    model = _built(name, 5, path)
    model.train()
    sum(out.square().sum() for out in model(torch.randn(2, 5, 64, 64))).backward()
    first = next(w for w in model.parameters() if w.dim() == 4)
    assert first.shape[1] == 5
    assert not first[:, 3:].any()
    assert first.grad[:, 3:].any()


def test_a_whole_checkpoint_is_inflated_and_checked(stored):
    name, model, path = stored
    wide = _built(name, 6)
    check_checkpoint(wide, str(path), 'load_from', complete=True)
    with logged_load(wide, str(path)) as report:
        load_state_dict(wide, torch.load(path)['state_dict'], strict=False)
    assert not report.misshapen
    assert not report.missing
    first = next(k for k, w in model.state_dict().items() if w.dim() == 4)
    assert torch.equal(wide.state_dict()[first][:, :3], model.state_dict()[first])


def test_other_shapes_are_refused_as_before(stored, tmp_path):
    name, _, _ = stored
    torch.save(_built(name, 4).state_dict(), tmp_path / 'four.pth')
    with pytest.raises(UserError, match='of another size'):
        check_checkpoint(_built(name, 5), str(tmp_path / 'four.pth'), 'load_from', complete=False)
