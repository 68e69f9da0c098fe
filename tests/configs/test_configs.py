"""Every config reads, composes, and builds its model."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from mmengine.config import Config

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


def names(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def datasets(cfg: Config) -> list[Config]:
    """The data sets of a loader, those of a concatenation one by one."""
    return cfg.datasets if cfg.type == 'ConcatDataset' else [cfg]


def test_the_families_are_complete() -> None:
    found = {names(path) for path in LEAVES}
    for size, teacher in (('base', 'b'), ('large', 'l'), ('huge', 'h')):
        assert f'distill/rs4d-{size}_sam-vit-{teacher}_sa1b.py' in found
        for data in ('ssdd', 'whu', 'nwpu'):
            assert f'rs4d/rs4d-{size}_bbox_{data}.py' in found
    for data in ('ssdd', 'whu', 'nwpu'):
        assert f'baselines/mask-rcnn_r50_{data}.py' in found
        assert f'baselines/mask-rcnn_sam-vit-b_{data}.py' in found


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_config_builds_its_model(path: Path) -> None:
    cfg = Config.fromfile(path)
    # On the meta device a ViT-H costs neither memory nor time.
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) > 1e6


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_config_names_what_is_registered(path: Path) -> None:
    cfg = Config.fromfile(path)
    for split in ('train', 'val', 'test'):
        for dataset in datasets(cfg[f'{split}_dataloader'].dataset):
            assert DATASETS.get(dataset.type) is not None
            for transform in dataset.pipeline:
                assert TRANSFORMS.get(transform.type) is not None, transform.type
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            assert METRICS.get(metric.type) is not None
    for hook in cfg.get('custom_hooks', []):
        assert HOOKS.get(hook.type) is not None


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_classes_of_head_and_data_agree(path: Path) -> None:
    cfg = Config.fromfile(path)
    heads = re.findall(r"'num_classes': (\d+)", str(cfg.model.get('roi_head', {})))
    for dataset in datasets(cfg.train_dataloader.dataset):
        classes = len(DATASETS.get(dataset.type).METAINFO.get('classes', ()))
        assert all(int(n) == classes for n in heads), (heads, classes)


@pytest.mark.parametrize('path', sorted(CONFIGS.rglob('*.py')), ids=names)
def test_no_absolute_path(path: Path) -> None:
    assert not re.findall(r"""['"](/[a-z]+|[A-Z]:\\|~/)""", path.read_text())


def test_leaf_configs_are_short() -> None:
    lengths = {names(path): len(path.read_text().splitlines()) for path in LEAVES}
    assert {name: n for name, n in lengths.items() if n > 40} == {}


def test_data_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    path = CONFIGS / 'rs4d' / 'rs4d-base_bbox_ssdd.py'
    monkeypatch.delenv('RS4D_DATA_ROOT', raising=False)
    assert Config.fromfile(path).train_dataloader.dataset.data_root == 'data/SSDD/'
    monkeypatch.setenv('RS4D_DATA_ROOT', 'elsewhere')
    assert Config.fromfile(path).train_dataloader.dataset.data_root == 'elsewhere/SSDD/'
