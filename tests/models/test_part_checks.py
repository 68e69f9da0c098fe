"""Parts that do not fit each other are told before anything runs."""

from pathlib import Path
from typing import Any

import pytest
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from torch import nn

from rs4d.config import load_config
from rs4d.errors import ConfigError
from rs4d.models.part_checks import check_parts

CONFIGS = Path(__file__).parents[2] / 'configs'
SMALL = dict(embed_dims=192, num_layers=6, inner_dims=32)


def build(name: str, **changes: Any) -> nn.Module:
    options = {f'model.{key}': value for key, value in changes.items()}
    cfg = load_config(CONFIGS / f'{name}_ssdd.py', options)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


def tiny(**changes: Any) -> nn.Module:
    return build('rs4d/rs4d-tiny_bbox', **{'backbone.arch': SMALL}, **changes)


def test_what_agrees_passes() -> None:
    check_parts(tiny())
    check_parts(nn.Linear(1, 1))
    # Configs take the neck's stride from the encoder.
    check_parts(tiny(**{'backbone.patch_size': 16}))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'neck.1.in_stride': 16},
            r'neck\[1\] \(SimpleFPN\): in_stride is 16.*neck\[0\].* has stride 8',
        ),
        ({'backbone.out_indices': (3, 5)}, r'neck\[0\].*in_channels.*RSMamba.*\(192, 192\)'),
        ({'neck.0.in_channels': 96}, r'in_channels is \(96, 96, 96\).*192'),
        ({'neck.0.in_indices': (0, 1, 3)}, r'in_indices=\(0, 1, 3\).*gives 3 maps'),
        ({'neck.1.in_channels': 64}, r'neck\[1\].*\(64,\).*\(128,\)'),
        (
            {'neck.1.out_strides': (8, 16, 32, 64, 128)},
            r'rpn_head: strides.*\(8, 16, 32, 64, 128\)',
        ),
        ({'rpn_head.anchor_generator.strides': [8, 16, 32, 64, 128]}, r'rpn_head: strides is \(8'),
        (
            {'roi_head.bbox_roi_extractor.featmap_strides': [8, 16, 32]},
            r'bbox_roi_extractor\.featmap_strides is \(8, 16, 32\).*\(4, 8, 16\)',
        ),
        ({'rpn_head.in_channels': 64}, r'rpn_head\.in_channels is 64.*128'),
        ({'roi_head.mask_roi_extractor.out_channels': 64}, r'out_channels is 64.*128'),
    ],
)
def test_what_differs_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_parts(tiny(**changes))


@pytest.mark.parametrize(
    ('name', 'head'), [('prompt', 'roi_head.mask_head'), ('query', 'bbox_head')]
)
def test_prompts_are_decoded_over_a_map_of_the_width_that_was_said(name: str, head: str) -> None:
    check_parts(build(f'rs4d/rs4d-tiny_{name}', **{'backbone.arch': SMALL}))
    changes = {'backbone.arch': SMALL, f'{head}.embedding_channels': 256}
    message = rf'{head}\.embedding_channels is 256.*RSMamba.*192 channels'
    with pytest.raises(ConfigError, match=message):
        check_parts(build(f'rs4d/rs4d-tiny_{name}', **changes))


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        ('solov2', {'mask_head.strides': [8, 8, 16, 32, 64]}, r'mask_head\.strides.*16, 32, 32\)'),
        ('condinst', {'bbox_head.strides': [4, 8, 16, 32, 64]}, r'bbox_head: strides is \(4'),
        (
            'mask2former',
            {'panoptic_head.pixel_decoder.strides': [8, 16, 32, 64]},
            r'pixel_decoder\.strides is \(8, 16, 32, 64\).*\(4, 8, 16, 32\)',
        ),
        (
            'query',
            {'bbox_head.pixel_decoder.strides': [4, 8, 16, 32, 128]},
            r'pixel_decoder\.strides is \(4, 8, 16, 32, 128\).*\(4, 8, 16, 32, 64\)',
        ),
        (
            'mask2former',
            {'panoptic_head.in_channels': [256, 512, 256, 256]},
            r'pixel_decoder: in_channels is \(256, 512, 256, 256\)',
        ),
    ],
)
def test_single_stage_heads(name: str, changes: dict[str, Any], message: str) -> None:
    check_parts(build(f'rs4d/rs4d-base_{name}'))
    with pytest.raises(ConfigError, match=message):
        check_parts(build(f'rs4d/rs4d-base_{name}', **changes))


def test_pyramid_of_timms_maps_under_mmdetections_neck() -> None:
    backbone = dict(type='TimmEncoder', model_name='resnet18', out_indices=(1, 2, 3, 4))
    neck = dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=256, num_outs=5)
    changes = {'backbone': dict(_delete_=True, **backbone), 'neck': dict(_delete_=True, **neck)}
    check_parts(build('baselines/mask-rcnn_r50', **changes))
    changes['backbone'] = dict(changes['backbone'], out_indices=(0, 1, 2, 3))
    with pytest.raises(ConfigError, match=r'neck \(FPN\): in_channels.*\(64, 64, 128, 256\)'):
        check_parts(build('baselines/mask-rcnn_r50', **changes))


def test_bands_that_are_normalised_are_those_that_the_encoder_takes() -> None:
    own = dict(type='BandsDataPreprocessor', mean=[1] * 5, std=[1] * 5, bgr_to_rgb=False)
    changes: dict[str, Any] = {f'data_preprocessor.{key}': value for key, value in own.items()}
    with pytest.raises(ConfigError, match=r'normalises 5 bands.*takes 3.*in_channels=5'):
        check_parts(tiny(**changes))
    check_parts(tiny(**changes, **{'backbone.in_channels': 5}))
