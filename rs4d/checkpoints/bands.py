"""Weights that were trained on three bands, in a model that takes another number."""

from collections.abc import MutableMapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

RGB = 3


def inflate(weight: Tensor, num_bands: int) -> Tensor:
    """Give a convolution of red, green and blue another number of bands.

    The first three of more bands are red, green and blue, and the others start at zero: with red, green
    and blue the convolution gives what it gave before, whatever the others hold. One band or two share
    the sum of the three: shown the same grey in all of its bands, it gives what it gave for grey.

    Args:
        weight: (out, 3, height, width).
        num_bands: How many bands there are to be.

    Returns:
        (out, num_bands, height, width).
    """
    if num_bands < RGB:
        return weight.sum(1, keepdim=True).div(num_bands).repeat(1, num_bands, 1, 1)
    others = weight.new_zeros(weight.shape[0], num_bands - RGB, *weight.shape[2:])
    return torch.cat([weight, others], 1)


def inflate_bands(weights: MutableMapping[str, Any], module: nn.Module, source: str) -> None:
    """Inflate what of a module's convolutions a file has for three bands, in place, and log it.

    Args:
        weights: Tensors by the module's own names.
        module: Will take the weights.
        source: The file, for the log.
    """
    for name, own in module.named_parameters():
        stored = weights.get(name)
        if not isinstance(stored, Tensor) or stored.dim() != 4 or own.dim() != 4:
            continue
        others_agree = own.shape[0] == stored.shape[0] and own.shape[2:] == stored.shape[2:]
        num_bands = own.shape[1]
        if others_agree and stored.shape[1] == RGB != num_bands:
            weights[name] = inflate(stored, num_bands)
            how = 'the others start at zero' if num_bands > RGB else 'their sum is shared'
            print_log(
                f"'{name}' has 3 bands in '{source}' and {num_bands} here: the first three are taken "
                f'for red, green and blue, {how}.',
                logger='current',
            )
