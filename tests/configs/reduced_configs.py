"""Any config of the project at a size that trains in a second: few blocks, small images.

Types, heads, losses, pipelines and schedules stay what they are. What shrinks is the encoders'
depth, images, batches, the boxes of an image, the widest layers and the number of epochs. Nothing is
loaded from checkpoints. Detections of any score are kept: an untrained model is sure of none.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rs4d.config import load_config
from rs4d.models.backbones import rsmamba, sam_vit

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
BLOCKS = (0, 1)
SMALL_SAMS = {
    'sam2-large': dict(
        model_type='sam2_hiera_det_model',
        hidden_size=16,
        embed_dim_per_stage=[16, 32, 64, 128],
        blocks_per_stage=[1, 1, 2, 1],
        global_attention_blocks=[3],
    ),
    'sam3': dict(
        model_type='sam3_vit_model',
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=len(BLOCKS),
        num_attention_heads=2,
        global_attn_indexes=list(BLOCKS[-1:]),
    ),
}
# Boxes and masks of an image at most, and the widest layers.
LIMITS = dict(nms_pre=200, max_per_img=50, max_per_image=50, num_points=1024, fc_out_channels=64)


def names(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All dicts in a config, outer ones first."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list | tuple):
            yield from nodes(inner)


def reduce_encoder(node: dict[str, Any], architectures: dict[str, Any], size: int) -> None:
    arch = node.get('arch', 'base')
    arch = dict(architectures[arch] if isinstance(arch, str) else arch, num_layers=len(BLOCKS))
    if 'global_attn_indexes' in arch:
        arch['global_attn_indexes'] = BLOCKS[-1:]
    node.update(arch=arch, img_size=size)
    if node.get('out_indices') is not None:
        several = isinstance(node['out_indices'], list | tuple)
        node['out_indices'] = BLOCKS if several else BLOCKS[-1]


def reduce_model(model: dict[str, Any], size: int) -> None:
    for node in nodes(model):
        kind = node.get('type')
        if kind == 'RSMamba':
            reduce_encoder(node, rsmamba.ARCHITECTURES, size)
        elif kind == 'SAMViT':
            reduce_encoder(node, sam_vit.ARCHITECTURES, size)
        elif kind == 'TimmEncoder' and re.search('dinov3|radio', node['model_name']):
            node['model_kwargs'] = dict(embed_dim=48, depth=len(BLOCKS), num_heads=2)
        elif kind == 'TimmEncoder' and isinstance(node.get('out_indices'), tuple):
            node['out_indices'] = node['out_indices'][: len(BLOCKS)]
        elif kind == 'TransformersSAM':
            node.update(arch=SMALL_SAMS[node['arch']], img_size=size)
        elif kind == 'RSFeatureAggregator' and 'num_inputs' in node:
            node['num_inputs'] = len(BLOCKS)
            if 'in_indices' in node:
                node['in_indices'] = BLOCKS
        elif kind == 'SOLOV2Head':
            node['feat_channels'] = 64
        for key, most in LIMITS.items():
            if key in node:
                node[key] = min(node[key], most)
        for key in ('score_thr', 'filter_thr'):
            if key in node:
                node[key] = 0.0
        if (node.get('sampler') or {}).get('num'):
            node['sampler']['num'] = 64
        for key in ('student_blocks', 'teacher_blocks'):
            if key in node:
                node[key] = BLOCKS
        if (node.get('init_cfg') or {}).get('type') == 'Pretrained':
            node['init_cfg'] = None
        if not str(node.get('checkpoint', 'package://')).startswith('package://'):
            node['checkpoint'] = None


def reduce_pipelines(cfg: Config, size: int) -> None:
    for node in nodes(cfg._cfg_dict):
        for key in ('scale', 'crop_size', 'size'):
            if isinstance(node.get(key), tuple) and 'type' in node:
                node[key] = (size, size)
        if 'ratio_range' in node and 'type' in node:
            node['ratio_range'] = (0.8, 1.25)  # a tenth of a small image would show nothing


def reduced_config(path: Path, size: int = 128) -> Config:
    """Read a config and make it small."""
    cfg = load_config(path)
    for split, file in dict(train='train.json', val='val.json', test='val.json').items():
        dataset = cfg[f'{split}_dataloader'].dataset
        if dataset.get('ann_file') == '':  # the command line says where the data are
            dataset.update(data_root='data/own/', ann_file=file, data_prefix=dict(img='images/'))
            if split != 'train':
                cfg[f'{split}_evaluator'].ann_file = f'data/own/{file}'
    return reduce_config(cfg, size)


def reduce_config(cfg: Config, size: int = 128) -> Config:
    """Make a config small, in place."""
    if cfg.model.get('teacher', {}).get('arch') == 'sam3':
        size = size // 112 * 112  # whole patches of 14 pixels, and of the student's 16
    reduce_model(cfg.model, size)
    reduce_pipelines(cfg, size)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    return cfg
