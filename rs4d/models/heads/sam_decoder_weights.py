"""SAM's mask decoder and positional weights, from Meta's files or a ``transformers`` folder."""

import re
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from rs4d.models.backbones.pretrained_weights import (
    CheckpointMismatchError,
    find_checkpoint,
    read_state_dict,
)

_POSITIONS = 'positional_embedding.positional_embedding'
_NO_MASK = 'no_mask_embed.weight'

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


def read_decoder_weights(checkpoint: str) -> dict[str, Tensor]:
    """Read what :class:`~rs4d.models.heads.SAMMaskDecoder` needs of a SAM checkpoint.

    Args:
        checkpoint: Path of Meta's ``sam_vit_*.pth``, or of a folder that ``transformers`` wrote,
            with ``model.safetensors`` (in one file or several) or ``pytorch_model.bin``.

    Returns:
        Tensors by the names of :class:`~rs4d.models.heads.SAMMaskDecoder`.

    Raises:
        CheckpointNotFoundError: The file is not there, or the folder holds no weights.
        CheckpointMismatchError: A file cannot be read, or is no checkpoint of SAM.
    """
    path = Path(checkpoint)
    if path.is_dir():
        weights = _from_transformers(_read_folder(path))
    else:
        remedy = (
            "The prompt head's decoder expects SAM as Meta released it, such as "
            'sam_vit_b_01ec64.pth, or a folder that transformers wrote. Put it there, set '
            'RS4D_DATA_ROOT, or set mask_head.decoder.checkpoint in the config; None trains the '
            'decoder from random weights.'
        )
        state_dict = read_state_dict(find_checkpoint(checkpoint, remedy))
        # A file may also be a transformers folder's pytorch_model.bin.
        official = 'prompt_encoder.pe_layer.positional_encoding_gaussian_matrix' in state_dict
        weights = (_from_official if official else _from_transformers)(state_dict)
    if _POSITIONS not in weights or not any(key.startswith('decoder.') for key in weights):
        raise CheckpointMismatchError(
            f"The checkpoint '{checkpoint}' has no mask decoder with positional weights, so it is "
            'no whole SAM: an image encoder alone has none. Give a sam_vit_*.pth as Meta released '
            'it or a folder that transformers wrote for SamModel.'
        )
    return weights


def _read_folder(folder: Path) -> dict[str, Tensor]:
    shards = sorted(folder.glob('*.safetensors'))
    if not shards:
        remedy = (
            f"The folder '{folder}' has no *.safetensors either. Give a folder that "
            "SamModel.save_pretrained wrote, or Meta's sam_vit_*.pth."
        )
        return read_state_dict(find_checkpoint(str(folder / 'pytorch_model.bin'), remedy))
    state_dict = {}
    for shard in shards:
        try:
            with safe_open(shard, framework='pt') as file:
                # The image encoder in the same file is up to 2.5 GB, and not needed.
                for key in file.keys():  # noqa: SIM118 - the file is no mapping
                    if not key.startswith('vision_encoder.'):
                        state_dict[key] = file.get_tensor(key)
        except SafetensorError as error:
            raise CheckpointMismatchError(
                f"The checkpoint '{shard}' cannot be read as a file of tensors ({error}). It may be "
                'cut off or be something else; get it again.'
            ) from error
    return state_dict


def _from_transformers(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = {}
    for key, value in state_dict.items():
        if key.startswith('mask_decoder.'):
            weights[key.removeprefix('mask_')] = value
        elif key == 'prompt_encoder.no_mask_embed.weight':
            weights[_NO_MASK] = value
        elif key in (
            'shared_image_embedding.positional_embedding',
            # Tied to it; a file may hold either.
            'prompt_encoder.shared_embedding.positional_embedding',
        ):
            weights[_POSITIONS] = value
    return weights


def _from_official(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = {
        _POSITIONS: state_dict['prompt_encoder.pe_layer.positional_encoding_gaussian_matrix']
    }
    for key, value in state_dict.items():
        if key == 'prompt_encoder.no_mask_embed.weight':
            weights[_NO_MASK] = value
        elif key.startswith('mask_decoder.'):
            name = key.removeprefix('mask_')
            for pattern, replacement in _OFFICIAL_RENAMES:
                renamed = re.sub(pattern, replacement, name)
                if renamed != name:
                    # One rename a key: `layers.1` becomes `layers.0`, which must stay.
                    name = renamed
                    break
            weights[name] = value
    return weights
