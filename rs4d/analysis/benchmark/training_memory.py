"""Peak memory of a whole model's training steps, measured in a process of its own."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from rs4d.analysis.complexity import forget_checkpoints
from rs4d.config import load_config
from rs4d.models.heads import PromptMaskHead

from .memory import in_fresh_process, status_mib


class TrainingMemory(NamedTuple):
    """Resident memory of a process that trained, in MiB.

    Attributes:
        libraries: Before the model was built.
        peak: The most, libraries included.
        masks: Boxes that a prompt head decoded in its last step; 0 under another head.
    """

    libraries: float
    peak: float
    masks: int


def training_memory(
    config: str | Path, side: int, instances: int, batch_size: int = 1, steps: int = 2
) -> TrainingMemory | None:
    """Train a config's model with random weights on noise with rectangles as objects, on the CPU.

    By the second step the config's optimizer has its moments.

    Args:
        config: The config of a detector.
        side: Height and width of an image in pixels.
        instances: Objects of an image.
        batch_size: Images of a step.
        steps: Steps.

    Returns:
        What was measured, or None if the process was ended for want of memory.
    """
    return in_fresh_process(_measure, str(config), side, instances, batch_size, steps)


def make_batch(side: int, instances: int, batch_size: int) -> dict[str, list]:
    """Make what a data loader gives: images of noise with rectangles of the first class."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(batch_size):
        corners = torch.rand(instances, 2, generator=generator) * side * 0.8
        sizes = side * (0.05 + 0.15 * torch.rand(instances, 2, generator=generator))
        boxes = torch.cat([corners, corners + sizes], dim=1)
        masks = torch.zeros(instances, side, side, dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
        shape = (side, side)
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(
            bboxes=boxes,
            labels=torch.zeros(instances, dtype=torch.long),
            masks=BitmapMasks(masks.numpy(), side, side),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    images = torch.randint(
        0, 256, (batch_size, 3, side, side), dtype=torch.uint8, generator=generator
    )
    return dict(inputs=list(images), data_samples=samples)


def _measure(config: str, side: int, instances: int, batch_size: int, steps: int) -> TrainingMemory:
    cfg = load_config(config)
    libraries = status_mib('VmRSS')
    decoded = [0]
    with DefaultScope.overwrite_default_scope('mmdet'):
        forget_checkpoints(cfg.model)
        model: Any = MODELS.build(cfg.model).train()
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        for module in model.modules():
            if isinstance(module, PromptMaskHead):
                module.register_forward_pre_hook(lambda _, args: decoded.append(len(args[0])))
        data = make_batch(side, instances, batch_size)
        for _ in range(steps):
            model.train_step(data, optim_wrapper)
    return TrainingMemory(libraries, status_mib('VmHWM'), decoded[-1])
