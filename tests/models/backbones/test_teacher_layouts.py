"""Today's teachers, loaded from random files in their authors' layouts, against other code.

The references are transformers' DINOv3, RADIO, SAM 2 and SAM 3, and timm's Hiera.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import transformers
from mmdet.registry import MODELS
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rs4d.checkpoints import CheckpointMismatchError, CheckpointNotFoundError
from rs4d.errors import ConfigError, InputSizeError
from rs4d.models.backbones import Encoder, TimmEncoder
from rs4d.models.backbones.transformers_sam import ARCHITECTURES

CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


def load(**cfg: Any) -> Encoder:
    encoder = MODELS.build(cfg)
    encoder.init_weights()
    return encoder.eval()


@torch.no_grad()
def randomise(model: nn.Module) -> Any:
    """Give every weight a say: as drawn, positions, tokens and scales would hide a wrong one."""
    torch.manual_seed(0)
    for value in model.parameters():
        value.add_(torch.randn_like(value), alpha=0.1)
    return model.eval()


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# DINOv3


def dinov3(folder: Path, biased: bool, gated: bool = False) -> nn.Module:
    """A DINOv3 of transformers', saved as on the Hub; most of Meta's have zeros for these biases."""
    model = transformers.DINOv3ViTModel(
        transformers.DINOv3ViTConfig(
            hidden_size=48,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_register_tokens=4,
            use_gated_mlp=gated,
            hidden_act='silu' if gated else 'gelu',
        )
    )
    randomise(model)
    for name, value in model.named_parameters():
        if not biased and name.endswith(('q_proj.bias', 'v_proj.bias')):
            nn.init.zeros_(value)
    model.save_pretrained(folder)
    return model


def dinov3_of_meta(folder: Path) -> Path:
    """The same weights by Meta's names, as dinov3_vitl16_pretrain_*.pth has them."""
    weights = load_file(folder / 'model.safetensors')
    meta: dict[str, Tensor] = {
        'cls_token': weights['embeddings.cls_token'],
        'storage_tokens': weights['embeddings.register_tokens'],
        'mask_token': weights['embeddings.mask_token'][0],
        'rope_embed.periods': torch.ones(6),
        'patch_embed.proj.weight': weights['embeddings.patch_embeddings.weight'],
        'patch_embed.proj.bias': weights['embeddings.patch_embeddings.bias'],
        'norm.weight': weights['norm.weight'],
        'norm.bias': weights['norm.bias'],
    }
    for i in range(2):
        ours, theirs = f'blocks.{i}.', f'layer.{i}.'
        parts = [weights[f'{theirs}attention.{part}_proj.weight'] for part in 'qkv']
        meta[f'{ours}attn.qkv.weight'] = torch.cat(parts)
        q, v = (weights[f'{theirs}attention.{part}_proj.bias'] for part in 'qv')
        # What stands in place of the keys' bias has no say: the mask is zero there.
        meta[f'{ours}attn.qkv.bias'] = torch.cat([q, torch.ones_like(q), v])
        meta[f'{ours}attn.qkv.bias_mask'] = torch.cat([q * 0 + 1, q * 0, q * 0 + 1])
        for end in ('weight', 'bias'):
            meta[f'{ours}attn.proj.{end}'] = weights[f'{theirs}attention.o_proj.{end}']
            meta[f'{ours}mlp.fc1.{end}'] = weights[f'{theirs}mlp.up_proj.{end}']
            meta[f'{ours}mlp.fc2.{end}'] = weights[f'{theirs}mlp.down_proj.{end}']
            for norm in ('norm1', 'norm2'):
                meta[f'{ours}{norm}.{end}'] = weights[f'{theirs}{norm}.{end}']
        for n in (1, 2):
            meta[f'{ours}ls{n}.gamma'] = weights[f'{theirs}layer_scale{n}.lambda1']
    path = folder / 'dinov3_vitl16_pretrain_sat493m.pth'
    torch.save(meta, path)
    return path


DINOV3 = dict(type='TimmEncoder', norm=True, model_kwargs=dict(embed_dim=48, depth=2, num_heads=2))


@pytest.mark.parametrize('biased', [False, True])
@torch.no_grad()
def test_dinov3_of_meta_and_of_transformers(
    tmp_path: Path, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # timm prints the biases that its model has not got, unless they are out of its way.
    monkeypatch.setattr('builtins.print', pytest.fail)
    theirs = dinov3(tmp_path, biased)
    name = f'vit_large_patch16_dinov3{"_qkvb" if biased else ""}'
    img = torch.randn(2, 3, 96, 64)
    tokens = theirs(img).last_hidden_state[:, 5:]  # behind a class token and four registers
    expected = tokens.transpose(1, 2).unflatten(2, (6, 4))
    for file in (dinov3_of_meta(tmp_path), tmp_path):
        model = load(**DINOV3, model_name=name, checkpoint=str(file))
        assert_same(model(img)[0], expected)
    assert (model.embed_dims, model.patch_size, model.size_divisor) == (48, 16, 16)
    with pytest.raises(InputSizeError, match='patches of 16x16'):
        model(torch.randn(1, 3, 100, 64))


@torch.no_grad()
def test_dinov3_with_gated_layers(tmp_path: Path) -> None:
    theirs = dinov3(tmp_path, False, gated=True)
    name = 'vit_small_plus_patch16_dinov3'
    model = load(**DINOV3, model_name=name, checkpoint=str(tmp_path))
    img = torch.randn(1, 3, 64, 64)
    expected = theirs(img).last_hidden_state[:, 5:].transpose(1, 2).unflatten(2, (4, 4))
    assert_same(model(img)[0], expected)


def test_biases_that_a_variant_of_dinov3_would_leave_out_are_refused(tmp_path: Path) -> None:
    dinov3(tmp_path, True)
    for file in (dinov3_of_meta(tmp_path), tmp_path):
        with pytest.raises(CheckpointMismatchError, match=r'bias .*variants .*_qkvb'):
            load(**DINOV3, model_name='vit_large_patch16_dinov3', checkpoint=str(file))


@torch.no_grad()
def test_the_last_norm_is_a_choice(tmp_path: Path) -> None:
    dinov3(tmp_path, False)
    cfg = dict(DINOV3, model_name='vit_large_patch16_dinov3', checkpoint=str(tmp_path))
    plain, normed = load(**cfg | dict(norm=False)), load(**cfg)
    img = torch.randn(1, 3, 32, 32)
    last = normed.model.norm
    channels = plain(img)[0].permute(0, 2, 3, 1)
    expected = F.layer_norm(channels, (48,), last.weight, last.bias, 1e-5).permute(0, 3, 1, 2)
    assert_same(normed(img)[0], expected)
    assert not [name for name in plain.state_dict() if name.startswith('model.norm.')]
    with pytest.raises(ConfigError, match='resnet18 has no last normalisation'):
        TimmEncoder('resnet18', norm=True)


# C-RADIO

RADIO = dict(
    type='TimmEncoder',
    model_name='naflexvit_so400m_patch16_radio_v4',
    model_kwargs=dict(embed_dim=32, depth=2, num_heads=2, mlp_ratio=4.0),
)


def radio(folder: Path) -> nn.Module:
    """A C-RADIOv4 of transformers', saved by NVIDIA's names, which the Hub has."""
    model = transformers.RadioModel(
        transformers.RadioConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    )
    randomise(model)
    for name, value in model.named_parameters():
        if 'layer_scale' in name:
            nn.init.ones_(value)  # C-RADIOv4 has none
    model.save_pretrained(folder)
    file = folder / 'model.safetensors'
    weights = {name: value for name, value in load_file(file).items() if 'scale' not in name}
    # Heads for the spaces of RADIO's own teachers, which no feature depends on.
    weights['radio_model.feature_normalizer.mean'] = torch.zeros(32)
    save_file(weights, file)
    assert 'radio_model.model.patch_generator.cls_token.token' in weights
    return model


@pytest.mark.parametrize('size', [(64, 64), (96, 64), (48, 160)])
@torch.no_grad()
def test_c_radio_of_nvidia(tmp_path: Path, size: tuple[int, int]) -> None:
    theirs = radio(tmp_path)
    model = load(**RADIO, checkpoint=str(tmp_path))
    img = torch.rand(2, 3, *size)  # RADIO normalises by itself
    expected = theirs(img).features.transpose(1, 2).unflatten(2, (size[0] // 16, size[1] // 16))
    assert_same(model((img - CLIP_MEAN) / CLIP_STD)[0], expected)
    weights = load_file(tmp_path / 'model.safetensors')
    torch.testing.assert_close(weights['radio_model.input_conditioner.norm_mean'], CLIP_MEAN)
    torch.testing.assert_close(weights['radio_model.input_conditioner.norm_std'], CLIP_STD)


def test_c_radio_at_odd_sizes_and_in_the_variant_of_one_size(tmp_path: Path) -> None:
    with pytest.raises(InputSizeError, match='patches of 16x16'):
        load(**RADIO)(torch.zeros(1, 3, 100, 64))
    radio(tmp_path)
    other = dict(RADIO, model_name='vit_so400m_patch16_radio_v4', checkpoint=str(tmp_path))
    with pytest.raises(CheckpointMismatchError, match='naflexvit_'):
        load(**other)


# SAM 2

HIERA = dict(
    hidden_size=16,
    embed_dim_per_stage=[16, 32, 64, 128],
    blocks_per_stage=[1, 2, 2, 1],
    global_attention_blocks=[4],
)
SAM2 = dict(
    type='TransformersSAM', arch=dict(HIERA, model_type='sam2_hiera_det_model'), neck_dims=24
)


def sam2(folder: Path) -> nn.Module:
    """A whole SAM 2 of transformers', saved."""
    vision = transformers.Sam2VisionConfig(
        backbone_config=transformers.Sam2HieraDetConfig(**HIERA),
        backbone_channel_list=[128, 64, 32, 16],
        fpn_hidden_size=24,
    )
    small = dict(hidden_size=24)
    config = transformers.Sam2Config(
        vision_config=vision,
        prompt_encoder_config=transformers.Sam2PromptEncoderConfig(**small),
        mask_decoder_config=transformers.Sam2MaskDecoderConfig(
            hidden_size=24, num_attention_heads=2, mlp_dim=32, iou_head_hidden_dim=24
        ),
    )
    model = randomise(transformers.Sam2Model(config))
    model.save_pretrained(folder)
    return model


def sam2_of_meta(model: nn.Module, folder: Path) -> Path:
    """The same weights by Meta's names, as sam2.1_hiera_*.pt has them."""
    meta = {
        'no_mem_embed': torch.zeros(1, 1, 24),
        'sam_mask_decoder.iou_token.weight': torch.ones(1),
    }
    for name, value in model.vision_encoder.state_dict().items():
        for ours, theirs in (
            ('backbone.', 'trunk.'),
            ('patch_embed.projection.', 'patch_embed.proj.'),
            ('layer_norm', 'norm'),
            ('mlp.proj_in.', 'mlp.layers.0.'),
            ('mlp.proj_out.', 'mlp.layers.1.'),
        ):
            name = name.replace(ours, theirs)
        if name.startswith('neck.convs.'):
            _, _, number, end = name.split('.')
            name = f'neck.convs.{number}.conv.{end}'
        meta[f'image_encoder.{name}'] = value
    path = folder / 'sam2.1_hiera_tiny.pt'
    torch.save(dict(model=meta), path)
    return path


@torch.no_grad()
def test_sam2_of_meta_and_of_transformers(tmp_path: Path) -> None:
    theirs = sam2(tmp_path)
    img = torch.randn(2, 3, 128, 96)
    expected = theirs.vision_encoder(img).fpn_hidden_states[-1]
    file = sam2_of_meta(theirs, tmp_path)
    for checkpoint in (tmp_path, file):
        model = load(**SAM2, checkpoint=str(checkpoint))
        (embedding,) = model(img)
        assert embedding.shape == (2, 24, 8, 6)
        assert_same(embedding, expected)
    assert (model.embed_dims, model.patch_size) == (24, 16)
    # By timm's Hiera, and the neck as the paper has it: the fourth stage's map, laid over the third's.
    kwargs = dict(embed_dim=16, stages=(1, 2, 2, 1), global_att_blocks=(4,))
    trunk = load(
        type='TimmEncoder',
        model_name='sam2_hiera_tiny',
        model_kwargs=kwargs,
        out_indices=(2, 3),
        checkpoint=str(file),
    )
    assert trunk.map_strides == (16, 32)
    third, fourth = trunk(img)
    convs = torch.load(file)['model']
    convs = {
        k.removeprefix('image_encoder.neck.convs.'): v for k, v in convs.items() if 'neck' in k
    }
    coarse = F.conv2d(fourth, convs['0.conv.weight'], convs['0.conv.bias'])
    fine = F.conv2d(third, convs['1.conv.weight'], convs['1.conv.bias'])
    assert_same(embedding, fine + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))
    for encoder in (model, trunk):
        with pytest.raises(InputSizeError, match='32x32'):
            encoder(torch.zeros(1, 3, 144, 96))


@pytest.mark.parametrize('size', ['tiny', 'small', 'base-plus', 'large'])
def test_sizes_of_sam2_are_timms(size: str) -> None:
    settings = transformers.Sam2HieraDetConfig(
        **{k: v for k, v in ARCHITECTURES[f'sam2-{size}'].items() if k != 'model_type'}
    )
    with torch.device('meta'):
        theirs = timm.create_model(f'sam2_hiera_{size.replace("-", "_")}')
        ours = MODELS.build(dict(type='TransformersSAM', arch=f'sam2-{size}')).model.backbone
    assert [b.window_size for b in ours.blocks] == [
        max(b.window_size) if isinstance(b.window_size, tuple) else b.window_size
        for b in theirs.blocks
    ]
    assert [b.attn.num_attention_heads for b in ours.blocks] == [
        b.attn.num_heads for b in theirs.blocks
    ]
    shapes = sorted(tuple(p.shape) for p in ours.parameters())
    assert shapes == sorted(
        tuple(p.shape) for n, p in theirs.named_parameters() if not n.startswith('head.')
    )
    assert settings.layer_norm_eps == theirs.blocks[0].norm1.eps


# SAM 3

VIT = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=2,
    global_attn_indexes=[1],
    window_size=3,
    pretrain_image_size=42,
)
SAM3 = dict(
    type='TransformersSAM',
    arch=dict(VIT, model_type='sam3_vit_model'),
    img_size=112,
    neck_dims=24,
)


def sam3() -> nn.Module:
    """SAM 3's image encoder of transformers', with all levels of its neck."""
    vision = transformers.Sam3VisionConfig(
        backbone_config=transformers.Sam3ViTConfig(**VIT, image_size=112), fpn_hidden_size=24
    )
    return randomise(transformers.Sam3VisionModel(vision))


def sam3_of_meta(model: nn.Module) -> dict[str, Tensor]:
    """The same weights by Meta's names, as sam3.pt has them."""
    place = 'detector.backbone.vision_backbone.'
    weights = dict(model.state_dict())
    meta: dict[str, Tensor] = {
        'detector.backbone.language_backbone.encoder.positional_embedding': torch.zeros(3),
        'tracker.maskmem_tpos_enc': torch.zeros(3),
        f'{place}sam2_convs.2.conv_1x1.weight': torch.zeros(3),
    }
    for i in range(3):
        layer = f'backbone.layers.{i}.attention.'
        for end in ('weight', 'bias'):
            parts = [weights.pop(f'{layer}{part}_proj.{end}') for part in 'qkv']
            meta[f'{place}trunk.blocks.{i}.attn.qkv.{end}'] = torch.cat(parts)
        meta[f'{place}trunk.blocks.{i}.attn.freqs_cis'] = torch.zeros(9, 8, dtype=torch.complex64)
    for name, value in weights.items():
        if name == 'backbone.embeddings.position_embeddings':
            # One for a class token that is not there in front.
            meta[f'{place}trunk.pos_embed'] = torch.cat([torch.ones(1, 1, 32), value], 1)
            continue
        for ours, theirs in (
            ('backbone.embeddings.patch_embeddings.projection.', 'trunk.patch_embed.proj.'),
            ('backbone.layer_norm.', 'trunk.ln_pre.'),
            ('backbone.layers.', 'trunk.blocks.'),
            ('.layer_norm', '.norm'),
            ('.attention.o_proj.', '.attn.proj.'),
            ('neck.fpn_layers.0.scale_layers.0.', 'convs.0.dconv_2x2_0.'),
            ('neck.fpn_layers.0.scale_layers.2.', 'convs.0.dconv_2x2_1.'),
            ('neck.fpn_layers.1.scale_layers.0.', 'convs.1.dconv_2x2.'),
            ('neck.fpn_layers.', 'convs.'),
            ('.proj1.', '.conv_1x1.'),
            ('.proj2.', '.conv_3x3.'),
        ):
            name = name.replace(ours, theirs)
        meta[f'{place}{name}'] = value
    return meta


@torch.no_grad()
def test_sam3_of_meta_and_of_transformers(tmp_path: Path) -> None:
    theirs = sam3()
    img = torch.randn(2, 3, 112, 112)
    expected = theirs(img).fpn_hidden_states[2]  # of 4, 2, 1 and a half of the ViT's scale
    assert expected.shape == (2, 24, 8, 8)
    torch.save(dict(model=sam3_of_meta(theirs)), tmp_path / 'sam3.pt')
    weights = {f'detector_model.vision_encoder.{k}': v for k, v in theirs.state_dict().items()}
    save_file(weights, tmp_path / 'model.safetensors')
    for file in ('sam3.pt', 'model.safetensors'):
        model = load(**SAM3, checkpoint=str(tmp_path / file))
        assert_same(model(img)[0], expected)
    assert (model.embed_dims, model.patch_size, model.size_divisor) == (24, 14, 14)
    with pytest.raises(InputSizeError, match=r'112x112 pixels and got 126x112.*img_size'):
        model(torch.zeros(1, 3, 126, 112))
    with pytest.raises(InputSizeError, match='14x14'):
        model(torch.zeros(1, 3, 128, 128))


# All of them


@pytest.mark.parametrize(
    'cfg',
    [dict(DINOV3, model_name='vit_large_patch16_dinov3'), RADIO, SAM2, SAM3],
    ids=['dinov3', 'radio', 'sam2', 'sam3'],
)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision(cfg: dict, dtype: torch.dtype) -> None:
    encoder = randomise(MODELS.build(cfg))
    img = torch.randn(1, 3, *[math.lcm(encoder.size_divisor, 112 if cfg is SAM3 else 32)] * 2)
    expected = encoder(img)[-1]
    found = encoder.to(dtype)(img.to(dtype))[-1]
    assert found.dtype == dtype
    error = (found.float() - expected).norm() / expected.norm()
    assert error < (0.01 if dtype == torch.float16 else 0.08)


@pytest.mark.parametrize('cfg', [SAM2, SAM3], ids=['sam2', 'sam3'])
def test_missing_files_and_files_of_something_else(cfg: dict, tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r'gone\.pt.*RS4D_DATA_ROOT'):
        load(**cfg, checkpoint=str(tmp_path / 'gone.pt'))
    torch.save(timm.create_model('resnet18').state_dict(), tmp_path / 'resnet18.pth')
    with pytest.raises(CheckpointMismatchError, match=r'resnet18\.pth'):
        load(**cfg, checkpoint=str(tmp_path / 'resnet18.pth'))
    weights = sam3().state_dict() if cfg is SAM2 else sam2(tmp_path).vision_encoder.state_dict()
    torch.save({f'vision_encoder.{k}': v for k, v in weights.items()}, tmp_path / 'other.pt')
    with pytest.raises(CheckpointMismatchError, match=r'other\.pt.*choose the arch'):
        load(**cfg, checkpoint=str(tmp_path / 'other.pt'))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='sam4'), "unknown arch 'sam4'.*sam2-tiny"),
        (dict(arch=dict(hidden_size=8)), 'model_type=None'),
        (dict(arch=dict(SAM3['arch'], depth=3)), 'Sam3ViTConfig of transformers has no depth'),
        (dict(SAM3, img_size=100), 'img_size=100 is not a multiple of 14'),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(dict(type='TransformersSAM') | kwargs)


def test_a_transformers_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(transformers, 'Sam3VisionModel')
    monkeypatch.delitem(transformers._class_to_module, 'Sam3VisionModel')
    with pytest.raises(ConfigError, match=r'has no Sam3VisionModel.*pip install'):
        MODELS.build(SAM3)
