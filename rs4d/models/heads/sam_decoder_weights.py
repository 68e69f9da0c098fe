"""SAM's mask decoder and positional weights, from Meta's files or a ``transformers`` folder."""

import re

from torch import Tensor

from rs4d.checkpoints import CheckpointMismatchError, additions_to_sam, part_of, read_weights

_OFFICIAL_POSITIONS = 'pe_layer.positional_encoding_gaussian_matrix'

# Meta's names, below `mask_decoder.`, as patterns; what no pattern matches keeps its name.
_OFFICIAL_RENAMES = (
    (r'\bnorm(\d)\.', r'layer_norm\1.'),
    (r'\bnorm_final_attn\.', 'layer_norm_final_attn.'),
    (r'\boutput_upscaling\.0\.', 'upscale_conv1.'),
    (r'\boutput_upscaling\.1\.', 'upscale_layer_norm.'),
    (r'\boutput_upscaling\.3\.', 'upscale_conv2.'),
    # Every MLP of the decoder's outputs has three layers.
    (r'(mlps\.\d+|iou_prediction_head)\.layers\.0\.', r'\1.proj_in.'),
    (r'(mlps\.\d+|iou_prediction_head)\.layers\.1\.', r'\1.layers.0.'),
    (r'(mlps\.\d+|iou_prediction_head)\.layers\.2\.', r'\1.proj_out.'),
)
# Meta's layers that make a prompt of a mask, below `prompt_encoder.mask_downscaling.`.
_OFFICIAL_MASK_LAYERS = {
    '0': 'conv1',
    '1': 'layer_norm1',
    '3': 'conv2',
    '4': 'layer_norm2',
    '6': 'conv3',
}


def read_decoder_weights(checkpoint: str, mask_prompt: bool = False) -> dict[str, Tensor]:
    """Read what :class:`~rs4d.models.heads.SAMMaskDecoder` needs of a SAM checkpoint.

    Args:
        checkpoint: Path of Meta's ``sam_vit_*.pth``, or of a file or folder that ``transformers``
            wrote.
        mask_prompt: Read the layers that make a prompt of a mask, too.

    Returns:
        Tensors by the names of :class:`~rs4d.models.heads.SAMMaskDecoder`, and what SAM does not have.

    Raises:
        CheckpointNotFoundError: The file is not there, or the folder holds no weights.
        CheckpointMismatchError: A file cannot be read, or is no checkpoint of SAM.
    """
    remedy = (
        "The prompt head's decoder expects SAM as Meta released it, such as sam_vit_b_01ec64.pth, or "
        'a folder that SamModel.save_pretrained wrote. Put it there, set RS4D_DATA_ROOT, or set '
        'mask_head.decoder.checkpoint in the config; None trains the decoder from random weights.'
    )
    state_dict = read_weights(checkpoint, remedy)
    decoder = part_of(state_dict, 'mask_decoder')
    prompts = part_of(state_dict, 'prompt_encoder')
    shared = part_of(state_dict, 'shared_image_embedding')
    positions = prompts.get(_OFFICIAL_POSITIONS)
    if positions is not None:
        decoder = {_from_official(name): value for name, value in decoder.items()}
    else:
        # Tied in transformers; a file may hold either.
        positions = shared.get(
            'positional_embedding', prompts.get('shared_embedding.positional_embedding')
        )
    if positions is None or not decoder:
        raise CheckpointMismatchError(
            f"The checkpoint '{checkpoint}' has no mask decoder with positional weights, so it is "
            'no whole SAM: an image encoder alone has none. Give a sam_vit_*.pth as Meta released '
            'it or a folder that transformers wrote for SamModel.'
        )
    weights = {f'decoder.{name}': value for name, value in decoder.items()}
    weights['positional_embedding.positional_embedding'] = positions
    if 'no_mask_embed.weight' in prompts:
        weights['no_mask_embed.weight'] = prompts['no_mask_embed.weight']
    if mask_prompt:
        for name, value in part_of(prompts, 'mask_downscaling').items():
            layer, _, kind = name.partition('.')
            weights[f'mask_embed.{_OFFICIAL_MASK_LAYERS.get(layer, layer)}.{kind}'] = value
        for name, value in part_of(prompts, 'mask_embed').items():
            weights[f'mask_embed.{name}'] = value
    return weights | additions_to_sam(state_dict)


def _from_official(name: str) -> str:
    for pattern, replacement in _OFFICIAL_RENAMES:
        renamed = re.sub(pattern, replacement, name)
        if renamed != name:
            # One rename a key: `layers.1` becomes `layers.0`, which must stay.
            return renamed
    return name
