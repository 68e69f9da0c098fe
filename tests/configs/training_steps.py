"""Two steps of training and a prediction of a reduced config, and what has to come out of them."""

import re
from typing import Any

import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from rs4d.models.part_checks import check_parts


def batch(cfg: Config, split: str, count: int) -> dict[str, Any]:
    """The first samples of a split, through the config's own pipeline."""
    dataset = DATASETS.build(dict(cfg[f'{split}_dataloader'].dataset, indices=count))
    return pseudo_collate([dataset[i] for i in range(count)])


def noise(counts: list[int], size: int = 128) -> dict[str, Any]:
    """Images of noise, each with so many objects of the first class."""
    data = demo_mm_inputs(
        len(counts),
        [[3, size, size]] * len(counts),
        num_items=counts,
        num_classes=2,
        with_mask=True,
    )
    for sample in data['data_samples']:
        sample.gt_instances.labels.zero_()
        # The original image is of the same size, not of a random one.
        sample.set_metainfo(dict(ori_shape=(size, size), scale_factor=(1.0, 1.0)))
    return data


def build(cfg: Config) -> tuple[nn.Module, OptimWrapper]:
    """Build the model of a config, ready to train, and its optimizer."""
    assert not cfg.get('find_unused_parameters', False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        check_parts(model)
        model.init_weights()
        return model.train(), build_optim_wrapper(model, cfg.optim_wrapper)


def train(
    model: nn.Module, optim_wrapper: OptimWrapper, data: dict[str, Any]
) -> dict[str, Tensor | None]:
    """Take one step; returns the gradients that it was taken with, each of which has to be there."""
    gradients: dict[str, Tensor | None] = {}

    def look(*_: Any) -> None:
        for name, value in model.named_parameters():
            if value.requires_grad:
                gradients[name] = None if value.grad is None else value.grad.clone()

    handle = optim_wrapper.optimizer.register_step_pre_hook(look)
    with DefaultScope.overwrite_default_scope('mmdet'):
        logs = model.train_step(data, optim_wrapper)
    handle.remove()
    assert all(torch.isfinite(value).all() for value in logs.values()), logs
    assert gradients
    # What has none stops DistributedDataParallel; no config asks it to look for such.
    assert [name for name, grad in gradients.items() if grad is None] == []
    return gradients


def predict(model: nn.Module, data: dict[str, Any]) -> list[Any]:
    """Predict, with a look at the shapes; reduced configs keep every score, so there are objects."""
    with torch.no_grad(), DefaultScope.overwrite_default_scope('mmdet'):
        results = model.eval().test_step(data)
    for result in results:
        found = result.pred_instances
        assert len(found.scores) > 0
        assert len(found.scores) == len(found.labels) == len(found.bboxes) == len(found.masks)
        assert tuple(found.masks.shape[-2:]) == tuple(result.ori_shape)
        assert set(found.labels.tolist()) <= {0}
    return results


def assert_trains_and_predicts(cfg: Config, of_levels: str = '$^') -> None:
    """Take two steps on a real image of each config's data and predict one.

    Parameters whose names match ``of_levels`` belong to one level, and may have a gradient of zero.
    """
    model, optim_wrapper = build(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        data, unseen = batch(cfg, 'train', 2), batch(cfg, 'val', 1)
    reached: set[str] = set()
    gradients: dict[str, Tensor | None] = {}
    for _ in range(2):
        gradients = train(model, optim_wrapper, data)
        reached |= {name for name, grad in gradients.items() if grad is not None and grad.any()}
    zero = [n for n in gradients if n not in reached and not re.match(of_levels, n)]
    assert zero == []
    predict(model, unseen)
