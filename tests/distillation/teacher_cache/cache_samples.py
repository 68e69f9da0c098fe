"""Small random maps, and what they would be of."""

import torch
from torch import Tensor

from rs4d.distillation.teacher_cache import CacheHeader

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=[32, 32])]


def make_header(**changes: object) -> CacheHeader:
    parts = dict(
        teacher=dict(type='SAMViT', arch='base', checkpoint='sam.pth'),
        normalisation=dict(mean=[1.0, 2.0, 3.0]),
        pipeline=PIPELINE,
        weights='0' * 64,
        precision='float32',
        image_size=[32, 32],
        maps=dict(embedding=[4, 2, 2], block1=[6, 2, 2]),
    )
    return CacheHeader(**(parts | changes))


def make_maps(key: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(sum(key.encode()))
    return {
        name: torch.randn(shape, generator=generator) for name, shape in make_header().maps.items()
    }
