"""Every config reads, composes, and builds its model."""

import ast
import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from generated_data import leaf_datasets
from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, VISBACKENDS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from reduced_configs import CONFIGS, LEAVES, names, nodes

from rs4d.config import load_config

BASELINES = (
    'mask-rcnn_r50',
    'cascade-mask-rcnn_r50',
    'mask2former_r50',
    'solov2_r50',
    'condinst_r50',
    'rtmdet-ins_r50',
    'mask-rcnn_sam-vit-b',
    'mask2former_sam-vit-b',
    'rsprompter-query_sam-vit-b',
    'rsprompter-anchor_sam-vit-b',
)
# Beside the baselines.
BACKBONES = ('r50_prompt', 'swin-t_bbox', 'swin-t_prompt', 'vit-tiny_bbox', 'vit-tiny_prompt')
HEADS = (
    'bbox',
    'prompt',
    'query',
    'cascade',
    'light',
    'mask2former',
    'solov2',
    'condinst',
    'rtmdet-ins',
)


# Parameters of models that were built, by their configs: data sets of as many classes share one.
BUILT: dict[str, int] = {}


@functools.cache
def read(path: Path) -> Config:
    """A config, which is parsed once for all tests; none of them changes it."""
    return load_config(path)


def test_the_families_are_complete() -> None:
    found = {names(path) for path in LEAVES}
    for size, teacher in (('base', 'b'), ('large', 'l'), ('huge', 'h')):
        assert f'distill/rs4d-{size}_sam-vit-{teacher}_sa1b.py' in found
        for data in ('ssdd', 'whu', 'nwpu'):
            assert f'rs4d/rs4d-{size}_bbox_{data}.py' in found
            assert f'rs4d/rs4d-{size}_prompt_{data}.py' in found
    for data in ('ssdd', 'whu', 'nwpu'):
        assert {f'baselines/{name}_{data}.py' for name in BASELINES} <= found
        assert {f'rs4d/rs4d-base_{head}_{data}.py' for head in HEADS} <= found
        assert f'rs4d/rs4d-tiny_light_{data}.py' in found
        assert f'rs4d/rs4d-tiny_query_{data}.py' in found
    assert {f'backbones/{name}_ssdd.py' for name in BACKBONES} <= found


def test_the_prompt_head_has_one_set_of_losses() -> None:
    losses = {
        names(path): (model.roi_head.mask_head.loss_mask, model.roi_head.mask_head.loss_dice)
        for path in LEAVES
        if (model := read(path).model).type == 'PromptMaskRCNN'
    }
    assert {'rs4d/rs4d-huge_prompt_whu.py', 'demo/rs4d-tiny_prompt_scenes.py'} <= losses.keys()
    assert 'baselines/rsprompter-anchor_sam-vit-b_nwpu.py' in losses
    first = losses['rs4d/rs4d-tiny_prompt_ssdd.py']
    assert {name: found for name, found in losses.items() if found != first} == {}
    assert first[0].loss_weight == 20 * first[1].loss_weight


def test_the_box_is_marked_where_the_decoder_is_untrained() -> None:
    """SAM's weights have never seen the mark; a decoder without them is lost without it."""
    marked = {}
    for path in LEAVES:
        head = read(path).model.get('roi_head', {}).get('mask_head', {})
        if head.get('type') == 'PromptMaskHead':
            checkpoint = head.get('decoder', {}).get('checkpoint')
            marked[names(path)] = head.get('box_prompt', False), checkpoint is None
    assert {mark for mark, _ in marked.values()} == {False, True}
    assert {name for name, (mark, untrained) in marked.items() if mark != untrained} == set()


def test_sam_is_frozen_as_published() -> None:
    for name in BASELINES:
        model = read(CONFIGS / f'baselines/{name}_ssdd.py').model
        if model.backbone.type == 'SAMViT':
            assert model.backbone.frozen, name
        if 'rsprompter' in name:
            head = model.get('roi_head', {}).get('mask_head') or model.bbox_head
            assert head.decoder.checkpoint
            assert not head.decoder.get('frozen', False)
    assert model.type == 'PromptMaskRCNN'
    assert model.backbone.with_embedding
    assert model.roi_head.mask_head.embedding_channels == 256


@pytest.mark.parametrize('data', ['ssdd', 'whu', 'nwpu'])
def test_baselines_share_data_and_schedule(data: str) -> None:
    """What is compared differs in its model alone."""

    def rest(path: str) -> dict[str, Any]:
        cfg = read(CONFIGS / path)
        loops = (
            'train_cfg',
            'val_cfg',
            'test_cfg',
            'param_scheduler',
            'auto_scale_lr',
            'randomness',
        )
        suffixes = ('_dataloader', '_evaluator', '_wrapper', '_hooks', *loops)
        return {key: value for key, value in cfg.items() if key.endswith(suffixes)}

    compared = [f'baselines/{name}_{data}.py' for name in BASELINES]
    compared += [f'rs4d/rs4d-base_{head}_{data}.py' for head in HEADS]
    compared += [f'backbones/{name}_ssdd.py' for name in BACKBONES if data == 'ssdd']
    for path in compared:
        # The two heads of the paper have schedules of their own on NWPU; queries follow prompts.
        head = 'prompt' if 'prompt' in path or 'query' in path else 'bbox'
        ours = rest(f'rs4d/rs4d-base_{head}_{data}.py')
        assert {'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg'} <= set(ours)
        assert rest(path) == ours, path


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_config_builds_its_model(path: Path) -> None:
    settings = copy.deepcopy(read(path).model)
    key = str(settings)
    if key not in BUILT:
        # On the meta device a ViT-H costs neither memory nor time; a Swin reads numbers out of tensors.
        swin = settings.get('backbone', {}).get('type') == 'SwinTransformer'
        with DefaultScope.overwrite_default_scope('mmdet'), torch.device('cpu' if swin else 'meta'):
            model = MODELS.build(settings)
        BUILT[key] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert BUILT[key] > 1e6


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_config_names_what_is_registered(path: Path) -> None:
    cfg = read(path)
    for split in ('train', 'val', 'test'):
        for dataset in leaf_datasets(cfg[f'{split}_dataloader'].dataset):
            assert DATASETS.get(dataset.type) is not None
            for transform in dataset.pipeline:
                assert TRANSFORMS.get(transform.type) is not None, transform.type
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            assert METRICS.get(metric.type) is not None
    for hook in [*cfg.get('custom_hooks', []), *cfg.default_hooks.values()]:
        assert HOOKS.get(hook.type) is not None, hook.type
    for backend in cfg.visualizer.vis_backends:
        assert VISBACKENDS.get(backend.type) is not None, backend.type


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_every_training_can_be_watched(path: Path) -> None:
    cfg = read(path)
    hooks = {hook.type for hook in [*cfg.get('custom_hooks', []), *cfg.default_hooks.values()]}
    assert {'ProgressHook', 'ThroughputHook', 'LoggerHook'} <= hooks
    assert ('EmbeddingVisualizationHook' in hooks) == (cfg.model.type == 'FeatureDistiller')
    backends = [backend.type for backend in cfg.visualizer.vis_backends]
    assert backends == ['LocalVisBackend', 'TensorBoardBackend']


def class_counts(model: Config) -> Iterator[int]:
    """Every number of classes that a model's config states, in whichever way."""
    for node in nodes(model):
        if 'num_classes' in node:
            yield node['num_classes']
        if 'num_things_classes' in node:
            yield node['num_things_classes'] + node['num_stuff_classes']


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_classes_of_head_and_data_agree(path: Path) -> None:
    cfg = read(path)
    heads = list(class_counts(cfg.model))
    assert heads or cfg.model.type == 'FeatureDistiller'
    for dataset in leaf_datasets(cfg.train_dataloader.dataset):
        # One where a file, which is not there yet, says them.
        classes = len(DATASETS.get(dataset.type).METAINFO.get('classes', ())) or 1
        assert all(n == classes for n in heads), (heads, classes)


@pytest.mark.parametrize('path', sorted(CONFIGS.rglob('*.py')), ids=names)
def test_no_absolute_path(path: Path) -> None:
    assert not re.findall(r"""['"](/[a-z]+|[A-Z]:\\|~/)""", path.read_text())


def test_data_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    path = CONFIGS / 'rs4d' / 'rs4d-base_bbox_ssdd.py'
    monkeypatch.delenv('RS4D_DATA_ROOT', raising=False)
    assert load_config(path).train_dataloader.dataset.data_root == 'data/SSDD/'
    monkeypatch.setenv('RS4D_DATA_ROOT', 'elsewhere')
    assert load_config(path).train_dataloader.dataset.data_root == 'elsewhere/SSDD/'


def bases(path: Path) -> list[Path]:
    """The files of the project that a config names in ``_base_``; MMDetection's are outside."""
    assigned = [
        node.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_'
    ]
    named = ast.literal_eval(assigned[0]) if assigned else []
    named = [named] if isinstance(named, str) else named
    return [(path.parent / name).resolve() for name in named if '::' not in name]


def levels(path: Path) -> int:
    return 1 + max(map(levels, bases(path)), default=0)


def test_at_most_three_levels() -> None:
    assert {names(path): levels(path) for path in LEAVES if levels(path) > 3} == {}


def test_every_base_is_used() -> None:
    used: set[Path] = set()
    todo = list(LEAVES)
    while todo:
        found = [base for base in bases(todo.pop()) if base not in used]
        used.update(found)
        todo += found
    assert set((CONFIGS / '_base_').rglob('*.py')) == used


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_a_leaf_says_what_differs(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 22
    assert not re.findall('num_classes|pipeline|param_scheduler|dataloader', text)


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_nothing_is_left_to_resolve(path: Path) -> None:
    cfg = read(path)
    assert '${' not in str(cfg.to_dict())
    assert cfg.runner_type == 'AtomicRunner'
    assert cfg.train_cfg.type == 'ResumableTrainLoop'
    assert cfg.optim_wrapper.type == 'SkippingOptimWrapper'
    hooks = {hook.type for hook in cfg.default_hooks.values()}
    assert {'ResumableCheckpointHook', 'NonFiniteLossHook'} <= hooks


@pytest.mark.parametrize(
    'name',
    [
        'rs4d/rs4d-base_prompt_whu',
        'rs4d/rs4d-tiny_bbox_ssdd',
        'demo/rs4d-tiny_bbox_scenes',
        'distill/rs4d-base_sam-vit-b_sa1b_cached',
        'distill/rs4d-tiny_efficientnet-lite0_mixed',
    ],
)
def test_one_setting_changes_the_input_size(name: str) -> None:
    """A width and a height, in the transforms' order and in the encoder's."""
    cfg = load_config(CONFIGS / f'{name}.py', dict(image_size=(384, 320)))
    sizes = [
        node[key]
        for node in nodes(cfg.to_dict())
        for key in ('scale', 'crop_size', 'size')
        if 'type' in node and key in node
    ]
    assert len(sizes) > 4
    assert set(sizes) == {(384, 320)}
    encoder = cfg.model.get('backbone') or cfg.model.student
    assert encoder.type != 'RSMamba' or encoder.img_size == (320, 384)


def test_one_setting_changes_the_epochs_and_the_classes() -> None:
    for name in ('rs4d/rs4d-base_cascade_nwpu', 'rs4d/rs4d-tiny_bbox_ssdd'):
        cfg = load_config(CONFIGS / f'{name}.py', dict(max_epochs=12, num_classes=3))
        assert cfg.train_cfg.max_epochs == 12
        assert cfg.param_scheduler[1].end == cfg.param_scheduler[1].T_max == 12
        assert set(class_counts(cfg.model)) == {3}
    own = {'metainfo.classes': ('a', 'b', 'c')}
    cfg = load_config(CONFIGS / 'rs4d/rs4d-base_cascade_ssdd.py', own)
    assert [head.num_classes for head in cfg.model.roi_head.bbox_head] == [3, 3, 3]
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.metainfo.classes == ('a', 'b', 'c')
