"""RSMamba and the neck under every head: two steps and a prediction, and nothing left untrained."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from generated_data import write_data
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from reduced_configs import CONFIGS, reduced_config
from torch import Tensor, nn

HEADS = ('bbox', 'prompt', 'cascade', 'mask2former', 'solov2', 'condinst', 'rtmdet-ins')

# Parameters of one level alone; theirs are zero where no object was assigned to the level.
PER_LEVEL = {
    'condinst': r'bbox_head\.scales\.[1-9]',
    'rtmdet-ins': r'bbox_head\.((kernel|reg)_convs|rtm_kernel|rtm_reg)\.[1-9]\.',
}


@pytest.fixture
def ssdd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have configs read SSDD: the real one where it is, else a generated one in its place."""
    cfg = Config.fromfile(CONFIGS / 'rs4d/rs4d-base_bbox_ssdd.py')
    if Path(cfg.train_dataloader.dataset.data_root).is_dir():
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('RS4D_DATA_ROOT', 'data')
    write_data(Config.fromfile(CONFIGS / 'rs4d/rs4d-base_bbox_ssdd.py'))


def batch(cfg: Config, split: str, count: int) -> dict[str, Any]:
    """The first samples of a split, through the config's own pipeline."""
    dataset = DATASETS.build(dict(cfg[f'{split}_dataloader'].dataset, indices=count))
    return pseudo_collate([dataset[i] for i in range(count)])


def train(
    model: nn.Module, optim_wrapper: OptimWrapper, data: dict[str, Any]
) -> dict[str, Tensor | None]:
    """Take one step; returns the gradients that it was taken with."""
    gradients: dict[str, Tensor | None] = {}

    def look(*_: Any) -> None:
        for name, value in model.named_parameters():
            if value.requires_grad:
                gradients[name] = None if value.grad is None else value.grad.clone()

    handle = optim_wrapper.optimizer.register_step_pre_hook(look)
    logs = model.train_step(data, optim_wrapper)
    handle.remove()
    assert all(torch.isfinite(value).all() for value in logs.values()), logs
    return gradients


@pytest.mark.usefixtures('ssdd')
@pytest.mark.parametrize('head', HEADS)
def test_head_trains_and_predicts(head: str) -> None:
    set_random_seed(0)
    cfg = reduced_config(CONFIGS / f'rs4d/rs4d-base_{head}_ssdd.py')
    assert not cfg.get('find_unused_parameters', False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        model.init_weights()
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        data = batch(cfg, 'train', 2)
        model.train()
        reached: set[str] = set()
        for _ in range(2):
            gradients = train(model, optim_wrapper, data)
            # What has none stops DistributedDataParallel; no config asks it to look for such.
            assert [name for name, grad in gradients.items() if grad is None] == []
            reached |= {name for name, grad in gradients.items() if grad.any()}
        of_levels = re.compile(PER_LEVEL.get(head, '$^'))
        zero = [name for name in gradients if name not in reached and not of_levels.match(name)]
        assert zero == []
        model.eval()
        with torch.no_grad():
            (result,) = model.test_step(batch(cfg, 'val', 1))
    found = result.pred_instances
    assert len(found.scores) == len(found.labels) == len(found.bboxes) == len(found.masks)
    assert tuple(found.masks.shape[-2:]) == tuple(result.ori_shape)
    assert set(found.labels.tolist()) <= {0}
