"""SAMViT against transformers' SamVisionEncoder, from files laid out as Meta's."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from rs4d.checkpoints import (
    CheckpointMismatchError,
    CheckpointNotFoundError,
)
from rs4d.models.backbones import SAMViT
from rs4d.models.backbones.sam_vit import ARCHITECTURES, checkpoint_filter_fn

# 20x20 tokens: the windows of 14x14 need padding.
TINY = dict(embed_dims=32, num_layers=3, num_heads=2, global_attn_indexes=(1,), neck_dims=16)
SIZE = 320


def official_shapes(arch: dict, size: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of Meta's file, written out from the paper's architecture."""
    dim, grid, neck = arch['embed_dims'], size // 16, arch.get('neck_dims', 256)
    head = dim // arch['num_heads']
    shapes: dict[str, tuple[int, ...]] = {
        'pos_embed': (1, grid, grid, dim),
        'patch_embed.proj.weight': (dim, 3, 16, 16),
        'patch_embed.proj.bias': (dim,),
        'neck.0.weight': (neck, dim, 1, 1),
        'neck.1.weight': (neck,),
        'neck.1.bias': (neck,),
        'neck.2.weight': (neck, neck, 3, 3),
        'neck.3.weight': (neck,),
        'neck.3.bias': (neck,),
    }
    for i in range(arch['num_layers']):
        span = grid if i in arch['global_attn_indexes'] else 14
        linear = {
            'attn.qkv': (3 * dim, dim),
            'attn.proj': (dim, dim),
            'mlp.lin1': (4 * dim, dim),
            'mlp.lin2': (dim, 4 * dim),
        }
        for name, shape in linear.items():
            shapes[f'blocks.{i}.{name}.weight'] = shape
            shapes[f'blocks.{i}.{name}.bias'] = shape[:1]
        for name in ('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias'):
            shapes[f'blocks.{i}.{name}'] = (dim,)
        for axis in 'hw':
            shapes[f'blocks.{i}.attn.rel_pos_{axis}'] = (2 * span - 1, head)
    shapes = {f'image_encoder.{name}': shape for name, shape in shapes.items()}
    # The rest of SAM comes in the same file.
    shapes['prompt_encoder.no_mask_embed.weight'] = (1, 256)
    shapes['mask_decoder.iou_token.weight'] = (1, 256)
    return shapes


@pytest.fixture
def official(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    torch.manual_seed(0)
    weights = {name: torch.randn(s) * 0.2 for name, s in official_shapes(TINY, SIZE).items()}
    path = tmp_path / 'sam_vit_tiny.pth'
    torch.save(weights, path)
    return path, weights


class Sum(nn.Module):
    """Something to train behind an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        return self.weight * sum(x.mean() for x in maps)


def build(**kwargs: object) -> SAMViT:
    model = MODELS.build(dict(type='SAMViT', arch=TINY, img_size=SIZE) | kwargs)
    model.init_weights()
    return model.eval()


def transformers_encoder(weights: dict[str, Tensor], size: int) -> SamVisionEncoder:
    config = SamVisionConfig(
        hidden_size=TINY['embed_dims'],
        output_channels=TINY['neck_dims'],
        num_hidden_layers=TINY['num_layers'],
        num_attention_heads=TINY['num_heads'],
        global_attn_indexes=list(TINY['global_attn_indexes']),
        image_size=SIZE,
    )
    encoder = SamVisionEncoder(config).eval()
    renames = {
        'patch_embed.proj.': 'patch_embed.projection.',
        'blocks.': 'layers.',
        '.norm1.': '.layer_norm1.',
        '.norm2.': '.layer_norm2.',
        'neck.0.': 'neck.conv1.',
        'neck.1.': 'neck.layer_norm1.',
        'neck.2.': 'neck.conv2.',
        'neck.3.': 'neck.layer_norm2.',
    }
    state = {}
    for name, value in weights.items():
        if name.startswith('image_encoder.'):
            name = name.removeprefix('image_encoder.')
            for old, new in renames.items():
                name = name.replace(old, new)
            state[name] = value
    encoder.load_state_dict(state, strict=True)
    if size != SIZE:
        # transformers interpolates relative positions itself, and absolute ones not at all.
        grid = encoder.pos_embed.data.permute(0, 3, 1, 2)
        shape = (size // 16, size // 16)
        grid = F.interpolate(grid, shape, mode='bicubic', antialias=True)
        encoder.pos_embed.data = grid.permute(0, 2, 3, 1)
        encoder.patch_embed.image_size = (size, size)
    return encoder


@pytest.mark.parametrize('size', [SIZE, 224, 416])
@torch.no_grad()
def test_equals_transformers(official: tuple[Path, dict[str, Tensor]], size: int) -> None:
    path, weights = official
    img = torch.randn(2, 3, size, size)
    (ours,) = build(checkpoint=str(path))(img)
    theirs = transformers_encoder(weights, size)(img).last_hidden_state
    assert ours.shape == (2, 16, size // 16, size // 16)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_positions_are_resized_once_or_in_every_forward(
    official: tuple[Path, dict[str, Tensor]],
) -> None:
    path = str(official[0])
    img = torch.randn(1, 3, 224, 224)
    at_load = build(checkpoint=path, img_size=224)
    assert at_load.vit.pos_embed.shape[1] == 14
    torch.testing.assert_close(at_load(img), build(checkpoint=path)(img), rtol=1e-4, atol=1e-4)


def test_blocks_for_detection(official: tuple[Path, dict[str, Tensor]]) -> None:
    path, _ = official
    whole = build(checkpoint=str(path))
    part = build(checkpoint=str(path), out_indices=(0, -2), with_cp=True).train()
    img = torch.randn(2, 3, 320, 224)
    seen = []
    whole.vit.blocks[1].register_forward_hook(lambda *args: seen.append(args[-1]))
    whole(img)
    maps = part(img)
    assert [tuple(m.shape) for m in maps] == [(2, 32, 20, 14)] * 2
    assert (part.embed_dims, part.patch_size, len(part.vit.blocks)) == (32, 16, 2)
    torch.testing.assert_close(maps[1], seen[0].permute(0, 3, 1, 2))
    sum(m.square().mean() for m in maps).backward()
    assert [n for n, p in part.named_parameters() if p.grad is None] == []


def test_embedding_behind_the_blocks(official: tuple[Path, dict[str, Tensor]]) -> None:
    path, img = str(official[0]), torch.randn(2, 3, 224, 224)
    model = build(checkpoint=path, out_indices=(0, 1), with_embedding=True)
    *blocks, embedding = model(img)
    assert model.embed_dims == embedding.shape[1] == 16
    torch.testing.assert_close(embedding, build(checkpoint=path)(img)[0])
    expected = build(checkpoint=path, out_indices=(0, 1))(img)
    for ours, theirs in zip(blocks, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    # Each of the parts is trained by it.
    embedding.square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_frozen_stays_as_it_was_loaded(official: tuple[Path, dict[str, Tensor]]) -> None:
    model = nn.Sequential(build(checkpoint=str(official[0]), frozen=True, with_cp=True), Sum())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    assert model.training
    assert not any(module.training for module in model[0].modules())
    assert not any(p.requires_grad for p in model[0].parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.5)
    loss = model(torch.randn(1, 3, 64, 64))
    loss.backward()
    optimizer.step()
    for name, value in model[0].state_dict().items():
        assert torch.equal(value, before[f'0.{name}']), name
    assert not torch.equal(model[1].weight, before['1.weight'])
    # And one that is not frozen leaves evaluation.
    assert build().train().vit.training


@pytest.mark.parametrize('arch', ['base', 'large', 'huge'])
def test_real_sizes_have_metas_layout(arch: str) -> None:
    with torch.device('meta'):
        model = SAMViT(arch)
        file = {
            name: torch.empty(s) for name, s in official_shapes(ARCHITECTURES[arch], 1024).items()
        }
    wanted = {name: tuple(value.shape) for name, value in model.vit.state_dict().items()}
    assert {name: tuple(v.shape) for name, v in checkpoint_filter_fn(file).items()} == wanted
    millions = {'base': 89.7, 'large': 308.3, 'huge': 637.0}  # Kirillov et al., 2023
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(
        millions[arch], abs=0.1
    )


WRAPPERS = {
    'sam': lambda weights: {f'sam.{name}': value for name, value in weights.items()},
    'compiled': lambda weights: {f'_orig_mod.{name}': value for name, value in weights.items()},
    'encoder compiled': lambda weights: {
        name.replace('image_encoder.', 'image_encoder._orig_mod.'): value
        for name, value in weights.items()
    },
    'model_state_dict': lambda weights: dict(model_state_dict=weights, epoch=3),
    'Lightning': lambda weights: dict(
        state_dict={f'model.{name}': value for name, value in weights.items()}
        | {'loss.weight': torch.ones(2)},
        hyper_parameters={},
    ),
    'DataParallel': lambda weights: {f'module.model.{name}': v for name, v in weights.items()},
}


@pytest.mark.parametrize('wrapper', WRAPPERS)
@torch.no_grad()
def test_layouts_of_others(
    official: tuple[Path, dict[str, Tensor]], tmp_path: Path, wrapper: str
) -> None:
    path, weights = official
    torch.save(WRAPPERS[wrapper](weights), tmp_path / 'wrapped.pth')
    expected = build(checkpoint=str(path)).state_dict()
    for name, value in build(checkpoint=str(tmp_path / 'wrapped.pth')).state_dict().items():
        torch.testing.assert_close(value, expected[name])


@torch.no_grad()
def test_folder_of_transformers(official: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path, weights = official
    encoder = transformers_encoder(weights, SIZE)
    state = {f'vision_encoder.{name}': v.clone() for name, v in encoder.state_dict().items()}
    save_file(state | {'mask_decoder.iou_token.weight': torch.ones(1)}, tmp_path / 'x.safetensors')
    expected = build(checkpoint=str(path)).state_dict()
    for name, value in build(checkpoint=str(tmp_path)).state_dict().items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize('out_indices', [None, (0,)])
@pytest.mark.parametrize(
    'name', ['blocks.1.attn.qkv.lora_a.weight', 'blocks.2.adapter.weight', 'neck.4.weight']
)
def test_encoder_with_more_in_it_than_sams_is_refused(
    official: tuple[Path, dict[str, Tensor]], tmp_path: Path, name: str, out_indices: object
) -> None:
    _, weights = official
    path = tmp_path / 'adapted.pth'
    torch.save(weights | {f'image_encoder.{name}': torch.zeros(2)}, path)
    with pytest.raises(CheckpointMismatchError, match=rf'1 are not known.*{name}.*adapters'):
        build(checkpoint=str(path), out_indices=out_indices)


@pytest.mark.parametrize(
    'name', ['lora.weight', 'adapter.weight', 'image_encoder_adapter.blocks.0.weight']
)
def test_additions_beside_sams_parts_are_refused(
    official: tuple[Path, dict[str, Tensor]], tmp_path: Path, name: str
) -> None:
    _, weights = official
    sam = weights | {'mask_decoder.x.weight': torch.zeros(2), 'pixel_mean': torch.zeros(3, 1, 1)}
    path = tmp_path / 'adapted.pth'
    for content in (sam | {name: torch.zeros(2)}, {f'sam.{k}': v for k, v in sam.items()}):
        torch.save(content | {name: torch.zeros(2)}, path)
        with pytest.raises(
            CheckpointMismatchError, match=rf'1 are not known.*\({name}\).*adapters'
        ):
            build(checkpoint=str(path))
    torch.save(sam, path)
    build(checkpoint=str(path))


def test_weights_that_are_no_numbers_are_refused(
    official: tuple[Path, dict[str, Tensor]],
) -> None:
    path, weights = official
    weights['image_encoder.neck.0.weight'][0] = torch.nan
    torch.save(weights, path)
    with pytest.raises(
        CheckpointMismatchError, match=r'NaN.* 1 of its weights \(neck\.0\.weight\)'
    ):
        build(checkpoint=str(path))


def test_second_initialisation_keeps_what_was_loaded(
    official: tuple[Path, dict[str, Tensor]],
) -> None:
    model = build(checkpoint=str(official[0]))
    torch.nn.init.ones_(model.vit.pos_embed)
    model.init_weights()
    assert (model.vit.pos_embed == 1).all()


def test_missing_file() -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"'nowhere/sam.pth'.*Meta.*RS4D_DATA_ROOT"):
        build(checkpoint='nowhere/sam.pth')


def test_file_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / 'sam_vit_l.pth'
    torch.save({'image_encoder.pos_embed': torch.zeros(1, 64, 64, 1024)}, path)
    with pytest.raises(CheckpointMismatchError, match=r"sam_vit_l.pth.*missing.*arch='large'"):
        build(checkpoint=str(path))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'weight': torch.zeros(1)}, 'no checkpoint of SAM'),
        ([1, 2], 'no state dict'),
        (None, 'cannot be read'),
    ],
)
def test_file_that_is_something_else(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / 'file.pth'
    if content is None:
        path.write_bytes(b'<html>not found</html>')
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointMismatchError, match=message) as error:
        build(checkpoint=str(path))
    assert 'file.pth' in str(error.value)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='giant'), 'base, large, huge'),
        (dict(arch=dict(embed_dims=32)), 'num_layers'),
        (dict(img_size=1000), 'multiple of 16'),
        (dict(out_indices=(3,)), 'from 0 to 2'),
        (dict(out_indices=()), 'from 0 to 2'),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_input_that_is_no_multiple_of_a_patch() -> None:
    with pytest.raises(ValueError, match='height 100 and width 64'):
        build()(torch.zeros(1, 3, 100, 64))
