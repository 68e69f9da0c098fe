"""Weights that others named, by timm's names."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from rs4d.checkpoints import CheckpointMismatchError, part_of

_RADIO = 'radio_model.model.patch_generator.embedder.weight'
# DINOv3's layers in transformers, below `layer.<i>.`, and in timm.
_DINOV3_LAYERS = {
    'norm1.': 'norm1.',
    'norm2.': 'norm2.',
    'attention.o_proj.': 'attn.proj.',
    'layer_scale1.lambda1': 'gamma_1',
    'layer_scale2.lambda1': 'gamma_2',
    # Of the gated MLPs, what is gated and the gate.
    'mlp.gate_proj.': 'mlp.fc1_g.',
    'mlp.down_proj.': 'mlp.fc2.',
}
_DINOV3_OUTSIDE = {
    'embeddings.cls_token': 'cls_token',
    'embeddings.register_tokens': 'reg_token',
    'embeddings.patch_embeddings.': 'patch_embed.proj.',
}


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Give weights timm's names and shapes, by timm's own function of that name if there is one.

    Args:
        state_dict: Weights as timm, those whom timm follows, ``efficientnet_pytorch``, or, of DINOv3,
            ``transformers`` name them.
        model: The whole timm model.

    Returns:
        Weights by the model's names, those that it does not have with the names they came with.

    Raises:
        CheckpointMismatchError: The model could take the weights, but would compute something else.
    """
    if '_conv_stem.weight' in state_dict:
        return _efficientnet_to_timm_names(state_dict, model)
    if 'embeddings.register_tokens' in state_dict and 'layer.0.norm1.weight' in state_dict:
        return _dinov3_to_timm_names(state_dict, model)
    if 'storage_tokens' in state_dict:
        state_dict = _without_zero_biases(state_dict, model)
    if _RADIO in state_dict and not hasattr(model, 'embeds'):
        raise CheckpointMismatchError(
            'These are weights of C-RADIO, whose positions are stored for 128x128 patches and '
            "resampled for each image. Of timm's two variants of each model only those that begin with "
            'naflexvit_ do so: set model_name to one of them, such as '
            "'naflexvit_so400m_patch16_radio_v4'."
        )
    # Of a whole SAM 2, timm has the encoder without its neck.
    state_dict = part_of(state_dict, 'image_encoder.trunk') or state_dict
    theirs = getattr(inspect.getmodule(type(model)), 'checkpoint_filter_fn', None)
    return state_dict if theirs is None else theirs(state_dict, model)


def _dinov3_to_timm_names(state_dict: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Rename DINOv3 as ``transformers`` has it; queries, keys and values become one matrix."""
    gated = any('.mlp.gate_proj.' in name for name in state_dict)
    layers = dict(_DINOV3_LAYERS, **{'mlp.up_proj.': 'mlp.fc1_x.' if gated else 'mlp.fc1.'})
    renamed: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        if name == 'embeddings.mask_token' or '.attention.k_proj.' in name:
            continue  # of the pre-training alone; taken together with the queries
        _, number, inner = (*name.split('.', 2), '', '')[:3]
        place = f'blocks.{number}.'
        if not name.startswith('layer.'):
            renamed[_replace_start(name, _DINOV3_OUTSIDE)] = value
        elif inner == 'attention.q_proj.weight':
            parts = [name.replace('.q_proj.', f'.{part}_proj.') for part in 'qkv']
            renamed[f'{place}attn.qkv.weight'] = torch.cat([state_dict[part] for part in parts])
        elif inner in ('attention.q_proj.bias', 'attention.v_proj.bias'):
            renamed[f'{place}attn.{inner[10]}_bias'] = value
        elif inner != 'attention.v_proj.weight':
            renamed[place + _replace_start(inner, layers)] = value
    return _without_zero_biases(renamed, model)


def _without_zero_biases(state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Leave out the biases of DINOv3's queries and values where the model has none.

    They are zero in most of Meta's files, so timm has variants without them. Others stay, and are
    refused as something that the model does not know.
    """
    names = model.state_dict().keys()
    if any(name.endswith('attn.q_bias') for name in names):
        return state_dict
    ends = ('attn.qkv.bias', 'attn.q_bias', 'attn.v_bias')
    kept = {}
    for name, value in state_dict.items():
        mask = state_dict.get(f'{name}_mask')  # that of the keys is not used
        used = value if mask is None else value[mask.nan_to_num(0.0) != 0]
        if not name.endswith(ends):
            kept[name] = value
        elif used.any():
            # By a name that timm's own function would not leave out in silence.
            kept[f'{name} (not zero; the variants of DINOv3 with _qkvb have it)'] = value
    return kept


def _replace_start(name: str, starts: dict[str, str]) -> str:
    for theirs, ours in starts.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _efficientnet_to_timm_names(state_dict: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Rename EfficientNet weights: a flat list of blocks becomes timm's stages of blocks."""
    outside = {
        '_conv_stem': 'conv_stem',
        '_bn0': 'bn1',
        '_conv_head': 'conv_head',
        '_bn1': 'bn2',
        '_fc': 'classifier',
    }
    plain = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}
    inverted = {
        '_expand_conv': 'conv_pw',
        '_bn0': 'bn1',
        '_depthwise_conv': 'conv_dw',
        '_bn1': 'bn2',
        '_project_conv': 'conv_pwl',
        '_bn2': 'bn3',
    }
    places = [f'{i}.{j}' for i, stage in enumerate(model.blocks) for j in range(len(stage))]
    renamed = {}
    for key, value in state_dict.items():
        layer, *rest = key.split('.')
        if layer != '_blocks':
            renamed['.'.join([outside.get(layer, layer), *rest])] = value
            continue
        number, layer, *rest = rest
        names = inverted if f'_blocks.{number}._expand_conv.weight' in state_dict else plain
        place = places[int(number)] if int(number) < len(places) else f'_blocks.{number}'
        renamed['.'.join(['blocks', place, names.get(layer, layer), *rest])] = value
    return renamed
