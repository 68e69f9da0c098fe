"""SAM's decoder against transformers' whole SamModel, from files laid out as Meta's."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor
from transformers import SamConfig, SamModel, SamVisionConfig

from rs4d.checkpoints import (
    CheckpointMismatchError,
    CheckpointNotFoundError,
)
from rs4d.errors import ConfigError
from rs4d.models.heads import SAMMaskDecoder, shared_decoding
from rs4d.models.heads.sam_mask_decoder import DensePrompt

MLPS = ('iou_prediction_head', *(f'output_hypernetworks_mlps.{i}' for i in range(4)))


def official_names() -> dict[str, tuple[tuple[int, ...], str]]:
    """Meta's names, their shapes, and transformers' names, written out one by one.

    From the paper's appendix: two-way blocks of width 256 with 8 heads, cross attention at half that
    width, MLPs of 2048, two transposed convolutions, and three-layer MLPs for masks and quality.
    """
    names: dict[str, tuple[tuple[int, ...], str]] = {
        'prompt_encoder.pe_layer.positional_encoding_gaussian_matrix': (
            (2, 128),
            'shared_image_embedding.positional_embedding',
        ),
        'prompt_encoder.no_mask_embed.weight': ((1, 256), 'prompt_encoder.no_mask_embed.weight'),
        'mask_decoder.iou_token.weight': ((1, 256), 'mask_decoder.iou_token.weight'),
        'mask_decoder.mask_tokens.weight': ((4, 256), 'mask_decoder.mask_tokens.weight'),
        'mask_decoder.output_upscaling.0.weight': (
            (256, 64, 2, 2),
            'mask_decoder.upscale_conv1.weight',
        ),
        'mask_decoder.output_upscaling.0.bias': ((64,), 'mask_decoder.upscale_conv1.bias'),
        'mask_decoder.output_upscaling.1.weight': ((64,), 'mask_decoder.upscale_layer_norm.weight'),
        'mask_decoder.output_upscaling.1.bias': ((64,), 'mask_decoder.upscale_layer_norm.bias'),
        'mask_decoder.output_upscaling.3.weight': (
            (64, 32, 2, 2),
            'mask_decoder.upscale_conv2.weight',
        ),
        'mask_decoder.output_upscaling.3.bias': ((32,), 'mask_decoder.upscale_conv2.bias'),
    }

    def linear(old: str, new: str, rows: int, columns: int) -> None:
        names[f'mask_decoder.{old}.weight'] = ((rows, columns), f'mask_decoder.{new}.weight')
        names[f'mask_decoder.{old}.bias'] = ((rows,), f'mask_decoder.{new}.bias')

    def norm(old: str, new: str) -> None:
        for kind in ('weight', 'bias'):
            names[f'mask_decoder.{old}.{kind}'] = ((256,), f'mask_decoder.{new}.{kind}')

    def attention(name: str, width: int) -> None:
        for part in ('q_proj', 'k_proj', 'v_proj'):
            linear(f'transformer.{name}.{part}', f'transformer.{name}.{part}', width, 256)
        linear(f'transformer.{name}.out_proj', f'transformer.{name}.out_proj', 256, width)

    for i in range(2):
        attention(f'layers.{i}.self_attn', 256)
        attention(f'layers.{i}.cross_attn_token_to_image', 128)
        attention(f'layers.{i}.cross_attn_image_to_token', 128)
        for k in range(1, 5):
            norm(f'transformer.layers.{i}.norm{k}', f'transformer.layers.{i}.layer_norm{k}')
        mlp = f'transformer.layers.{i}.mlp'
        linear(f'{mlp}.lin1', f'{mlp}.lin1', 2048, 256)
        linear(f'{mlp}.lin2', f'{mlp}.lin2', 256, 2048)
    attention('final_attn_token_to_image', 128)
    norm('transformer.norm_final_attn', 'transformer.layer_norm_final_attn')
    for mlp in MLPS:
        linear(f'{mlp}.layers.0', f'{mlp}.proj_in', 256, 256)
        linear(f'{mlp}.layers.1', f'{mlp}.layers.0', 256, 256)
        linear(f'{mlp}.layers.2', f'{mlp}.proj_out', 4 if mlp == MLPS[0] else 32, 256)
    return names


@pytest.fixture(scope='module')
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = official_names().items()
    return {
        name: torch.randn(shape, generator=generator) * (0.1 if len(shape) > 1 else 0.3)
        for name, (shape, _) in names
    }


@pytest.fixture(scope='module')
def official(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('sam') / 'sam_vit_tiny.pth'
    # The rest of SAM comes in the same file.
    others = {
        'image_encoder.pos_embed': torch.zeros(1, 4, 4, 8),
        'prompt_encoder.point_embeddings.0.weight': torch.zeros(1, 256),
        'prompt_encoder.not_a_point_embed.weight': torch.zeros(1, 256),
        'prompt_encoder.mask_downscaling.0.weight': torch.zeros(4, 1, 2, 2),
    }
    torch.save(weights | others, path)
    return path


@pytest.fixture(scope='module')
def sam(weights: dict[str, Tensor]) -> SamModel:
    """Return transformers' model with the same weights and a one-layer image encoder."""
    vision = SamVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, mlp_dim=32, image_size=256
    )
    prompt = dict(image_size=256, image_embedding_size=16)
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt)
    model = SamModel(config).eval()
    state = {new: weights[old] for old, (_, new) in official_names().items()}
    tied = 'prompt_encoder.shared_embedding.positional_embedding'
    state[tied] = state['shared_image_embedding.positional_embedding']
    result = model.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert not [key for key in result.missing_keys if key.startswith('mask_decoder.')]
    return model


def build(checkpoint: Path | None, **kwargs: object) -> SAMMaskDecoder:
    source = None if checkpoint is None else str(checkpoint)
    decoder = MODELS.build(dict(type='SAMMaskDecoder', checkpoint=source) | kwargs)
    decoder.init_weights()
    return decoder.eval()


def prompt_inputs(sam: SamModel, embedding: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Return the arguments of transformers' decoder for tokens without a mask as a prompt."""
    with torch.no_grad():
        _, dense = sam.prompt_encoder(None, None, None, None)
        positions = sam.get_image_wide_positional_embeddings()
    return dict(
        image_embeddings=embedding,
        image_positional_embeddings=positions.repeat(len(embedding), 1, 1, 1),
        sparse_prompt_embeddings=tokens,
        dense_prompt_embeddings=dense.repeat(len(embedding), 1, 1, 1),
    )


def test_official_file_gives_every_output_of_transformers(official: Path, sam: SamModel) -> None:
    decoder = build(official)
    torch.manual_seed(1)
    embedding, tokens = torch.randn(2, 256, 16, 16), torch.randn(2, 3, 5, 256)
    with torch.no_grad():
        positions = decoder.image_positions(16, 16)
        torch.testing.assert_close(positions, sam.get_image_wide_positional_embeddings())
        inputs = prompt_inputs(sam, embedding, tokens)
        # All four masks and all four qualities, the unused ones too.
        for multimask in (False, True):
            theirs = sam.mask_decoder(multimask_output=multimask, **inputs)
            ours = decoder.decoder(multimask_output=multimask, **inputs)
            for a, b in zip(ours[:2], theirs[:2], strict=True):
                assert b.abs().max() > 1e-3
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        # And what the head asks for: instances of several images in one batch, in any order.
        expected = sam.mask_decoder(multimask_output=False, **inputs)[0][:, :, 0]
        image_ids = torch.tensor([1, 0, 0, 1])
        logits = decoder(
            torch.stack([tokens[1, 2], tokens[0, 0], tokens[0, 1], tokens[1, 0]]),
            embedding,
            image_ids,
        )
    expected = torch.stack([expected[1, 2], expected[0, 0], expected[0, 1], expected[1, 0]])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def in_their_words(decoder: SAMMaskDecoder, *args: Tensor) -> Tensor:
    """Decode with ``transformers``' own forward, which copies the image for every prompt."""
    tokens, embedding, image_ids, coverage, mark = args
    positions = decoder.image_positions(*embedding.shape[-2:]).expand(len(tokens), -1, -1, -1)
    dense = decoder.no_mask_embed.weight + coverage[..., None] * mark
    return decoder.decoder(
        embedding[image_ids], positions, tokens[:, None], dense.permute(0, 3, 1, 2), False
    )[0][:, 0, 0]


def test_marks_are_dense_prompts_of_transformers(official: Path, sam: SamModel) -> None:
    """SAM takes one map a prompt on top of the embedding; here it is a vector where a box is."""
    decoder = build(official)
    torch.manual_seed(1)
    embedding, tokens = torch.randn(2, 256, 16, 16), torch.randn(2, 1, 5, 256)
    coverage, mark = torch.rand(2, 16, 16), torch.randn(256)
    inputs = prompt_inputs(sam, embedding, tokens)
    with torch.no_grad():
        plain = sam.mask_decoder(multimask_output=False, **inputs)[0][:, 0, 0]
        inputs['dense_prompt_embeddings'] = (
            inputs['dense_prompt_embeddings'] + coverage[:, None] * mark[:, None, None]
        )
        expected = sam.mask_decoder(multimask_output=False, **inputs)[0][:, 0, 0]
        dense = DensePrompt(coverage[:, None], mark[None])
        logits = decoder(tokens[:, 0], embedding, torch.tensor([0, 1]), dense)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits, plain, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('meta_names', [True, False])
def test_masks_are_prompts_as_in_transformers(
    meta_names: bool, weights: dict[str, Tensor], sam: SamModel, tmp_path: Path
) -> None:
    """Against SAM's whole prompt encoder, with masks of the size that it expects and of another."""
    layers = dict(enumerate(('conv1', 'layer_norm1', '', 'conv2', 'layer_norm2', '', 'conv3')))
    theirs = sam.prompt_encoder.mask_embed.state_dict()
    torch.manual_seed(2)
    for value in theirs.values():
        value.normal_()
    start, names = 'prompt_encoder.mask_embed', {new: new for new in layers.values()}
    if meta_names:
        start, names = 'prompt_encoder.mask_downscaling', {v: str(k) for k, v in layers.items()}
    own = {
        f'{start}.{names[name]}.{kind}': value
        for (name, kind), value in ((key.split('.'), value) for key, value in theirs.items())
    }
    torch.save(weights | own, tmp_path / 'sam.pth')
    decoder = build(tmp_path / 'sam.pth', mask_prompt=True)
    embedding, tokens = torch.randn(2, 256, 16, 16), torch.randn(2, 1, 5, 256)
    masks = torch.randn(2, 64, 64) * 5
    inputs = prompt_inputs(sam, embedding, tokens)
    with torch.no_grad():
        _, inputs['dense_prompt_embeddings'] = sam.prompt_encoder(None, None, None, masks[:, None])
        expected = sam.mask_decoder(multimask_output=False, **inputs)[0][:, 0, 0]
        dense = decoder.encode_masks(masks, (16, 16))
        logits = decoder(tokens[:, 0], embedding, torch.tensor([0, 1]), dense)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
        larger = masks.repeat_interleave(2, 1).repeat_interleave(2, 2)
        again = decoder.encode_masks(larger, (16, 16))
    # The mean of four equal pixels is each of them.
    torch.testing.assert_close(again.shares, dense.shares, rtol=1e-4, atol=1e-4)
    assert not decoder.no_mask_embed.weight.requires_grad
    assert all(p.requires_grad for p in decoder.mask_embed.parameters())


def test_masks_are_no_prompts_unless_asked_for(official: Path) -> None:
    with pytest.raises(ConfigError, match='mask_prompt=True'):
        build(None).encode_masks(torch.zeros(1, 8, 8), (2, 2))
    with pytest.raises(CheckpointMismatchError, match=r'are missing.*mask_embed'):
        build(official, mask_prompt=True)


@pytest.mark.parametrize('cells', [100, 4096])
def test_sharing_changes_neither_masks_nor_gradients(
    cells: int, official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several prompts at once and one at a time, with gradients and in place without them."""
    monkeypatch.setattr(shared_decoding, '_CELLS_AT_ONCE', cells)
    monkeypatch.setattr(shared_decoding, '_CELLS_UPSCALED_AT_ONCE', cells)
    size = 12, 20
    decoder = build(official).double()
    torch.manual_seed(1)
    inputs = [torch.randn(3, 5, 256), torch.randn(2, 256, *size), torch.rand(3, *size)]
    tokens, embedding, coverage, mark = (x.double() for x in (*inputs, torch.randn(256)))
    image_ids = torch.tensor([1, 0, 1])
    found = []

    def ours(*args: Tensor) -> Tensor:
        *others, coverage, mark = args
        return decoder(*others, DensePrompt(coverage[:, None], mark[None]))

    for decode in (ours, lambda *args: in_their_words(decoder, *args)):
        leaves = [x.clone().requires_grad_() for x in (tokens, embedding, mark)]
        logits = decode(leaves[0], leaves[1], image_ids, coverage, leaves[2])
        trained = [*leaves, *(p for p in decoder.parameters() if p.requires_grad)]
        found.append([logits.detach(), *torch.autograd.grad(logits.square().mean(), trained)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)
    with torch.no_grad():
        before = embedding.clone()
        logits = ours(tokens, embedding, image_ids, coverage, mark)
        alone = ours(tokens[1:2], embedding, image_ids[1:2], coverage[1:2], mark)
    torch.testing.assert_close(logits, found[0][0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(alone, logits[1:2], rtol=1e-9, atol=1e-9)
    assert torch.equal(embedding, before)


def test_windows_of_masks_are_those_of_whole_masks() -> None:
    decoder = build(None)
    torch.manual_seed(1)
    args = torch.randn(3, 5, 256), torch.randn(2, 256, 6, 9), torch.tensor([1, 0, 1])
    windows = torch.tensor([[0, 0, 9, 6], [2, 1, 5, 3], [8, 5, 9, 6]])
    with torch.no_grad():
        whole = decoder(*args)
        parts = decoder(*args, windows=windows)
    for mask, part, (left, top, right, bottom) in zip(whole, parts, 4 * windows, strict=True):
        expected = torch.full_like(mask, -100)
        expected[top:bottom, left:right] = mask[top:bottom, left:right]
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-4)


def test_half_precision_is_close(official: Path) -> None:
    decoder = build(official)
    torch.manual_seed(1)
    tokens, embedding = torch.randn(2, 5, 256), torch.randn(1, 256, 12, 12)
    dense = DensePrompt(torch.rand(2, 1, 12, 12), torch.randn(1, 256))
    args = tokens, embedding, torch.tensor([0, 0]), dense
    with torch.no_grad():
        exact = decoder(*args)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            logits = decoder(*args)
    assert logits.dtype == torch.bfloat16
    assert (logits - exact).norm() < 2e-2 * exact.norm()
    assert decoder(tokens[:0], embedding, torch.tensor([], dtype=torch.long)).shape == (0, 48, 48)


def test_every_weight_arrives(official: Path, weights: dict[str, Tensor]) -> None:
    loaded = sum(p.double().sum() for p in build(official).state_dict().values())
    torch.testing.assert_close(loaded, sum(w.double().sum() for w in weights.values()))
    assert len(build(official).state_dict()) == len(weights)


def test_decoder_with_more_in_it_than_sams_is_refused(official: Path, tmp_path: Path) -> None:
    weights = torch.load(official) | {'mask_decoder.hf_token.weight': torch.zeros(1, 256)}
    torch.save(dict(state_dict={f'model.{k}': v for k, v in weights.items()}), tmp_path / 'hq.pth')
    with pytest.raises(CheckpointMismatchError, match=r'1 are not known.*hf_token'):
        build(tmp_path / 'hq.pth')
    torch.save(torch.load(official) | {'lora.weight': torch.zeros(2)}, tmp_path / 'lora.pth')
    with pytest.raises(CheckpointMismatchError, match=r'1 are not known.*lora\.weight'):
        build(tmp_path / 'lora.pth')


def test_second_initialisation_keeps_what_was_loaded(official: Path) -> None:
    decoder = build(official)
    torch.nn.init.ones_(decoder.no_mask_embed.weight)
    decoder.init_weights()
    assert (decoder.no_mask_embed.weight == 1).all()


@pytest.mark.parametrize('layout', ['folder', 'shards', 'bin'])
def test_transformers_folder(layout: str, official: Path, sam: SamModel, tmp_path: Path) -> None:
    if layout == 'bin':
        torch.save(sam.state_dict(), tmp_path / 'pytorch_model.bin')
    else:
        sam.save_pretrained(tmp_path, max_shard_size='2MB' if layout == 'shards' else '5GB')
        files = list(tmp_path.glob('*.safetensors'))
        assert (len(files) > 1) == (layout == 'shards')
    ours, theirs = build(tmp_path).state_dict(), build(official).state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


def test_positions_hold_at_any_size_and_under_autocast() -> None:
    decoder = build(None)
    positions = decoder.image_positions(6, 9)
    assert positions.shape == (1, 256, 6, 9)
    x, y = torch.tensor((4 + 0.5) / 9), torch.tensor((2 + 0.5) / 6)
    matrix = decoder.positional_embedding.positional_embedding
    phase = 2 * torch.pi * (2 * torch.stack([x, y]) - 1) @ matrix
    expected = torch.cat([phase.sin(), phase.cos()])
    torch.testing.assert_close(positions[0, :, 2, 4], expected, rtol=1e-4, atol=1e-4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.testing.assert_close(decoder.image_positions(6, 9), positions)


@pytest.mark.parametrize('frozen', [False, True])
def test_trained_or_frozen(frozen: bool) -> None:
    decoder = build(None, frozen=frozen).train()
    tokens = torch.randn(2, 5, 256, requires_grad=True)
    embedding = torch.randn(1, 256, 4, 4, requires_grad=True)
    decoder(tokens, embedding, torch.tensor([0, 0])).square().mean().backward()
    trained = {name for name, p in decoder.named_parameters() if p.requires_grad}
    with_grad = {name for name, p in decoder.named_parameters() if p.grad is not None}
    assert trained == with_grad
    assert bool(trained) is not frozen
    assert tokens.grad.any()
    assert embedding.grad.any()


def test_what_is_trained_by_default() -> None:
    idle = {name for name, p in build(None).named_parameters() if not p.requires_grad}
    prefixes = (
        'positional_embedding.',
        'decoder.iou_prediction_head.',
        *(f'decoder.output_hypernetworks_mlps.{i}.' for i in (1, 2, 3)),
    )
    assert all(any(name.startswith(prefix) for name in idle) for prefix in prefixes)
    assert all(name.startswith(prefixes) for name in idle)


def test_activation_checkpointing_changes_nothing() -> None:
    decoder = build(None).train()
    again = build(None, with_cp=True).train()
    again.load_state_dict(decoder.state_dict())
    tokens, embedding = torch.randn(3, 5, 256), torch.randn(2, 256, 4, 6)
    grads = []
    for model in (decoder, again):
        prompt = tokens.clone().requires_grad_()
        model(prompt, embedding, torch.tensor([0, 1, 1])).square().mean().backward()
        grads.append([prompt.grad, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))


def test_missing_file_names_file_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r'nowhere\.pth.*decoder\.checkpoint') as info:
        build(tmp_path / 'nowhere.pth')
    assert '\n' not in str(info.value)
    with pytest.raises(CheckpointNotFoundError, match=r'pytorch_model\.bin.*save_pretrained'):
        build(tmp_path)


def test_wrong_files_are_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    encoder_only = tmp_path / 'encoder.pth'
    torch.save({'image_encoder.pos_embed': torch.zeros(1)}, encoder_only)
    with pytest.raises(CheckpointMismatchError, match=r'encoder\.pth.*no mask decoder'):
        build(encoder_only)
    lacking = tmp_path / 'lacking.pth'
    torch.save({k: v for k, v in weights.items() if 'norm_final' not in k}, lacking)
    with pytest.raises(
        CheckpointMismatchError, match=r'lacking\.pth.*2 of \d+ weights are missing'
    ):
        build(lacking)
    other = tmp_path / 'other.pth'
    torch.save(weights | {'mask_decoder.iou_token.weight': torch.zeros(1, 128)}, other)
    with pytest.raises(
        CheckpointMismatchError, match=r'iou_token\.weight is \(1, 128\).*\(1, 256\)'
    ):
        build(other)
    damaged = tmp_path / 'damaged'
    damaged.mkdir()
    (damaged / 'model.safetensors').write_bytes(b'not tensors at all')
    with pytest.raises(CheckpointMismatchError, match=r'model\.safetensors.*cannot be read'):
        build(damaged)
