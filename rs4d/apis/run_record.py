"""What stands beside the figures of a test: data, training, cost, machine and commit."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.models.detectors.base import BaseDetector
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from rs4d.analysis.complexity import count_complexity, input_shape
from rs4d.config import inner_datasets
from rs4d.engine.hooks.test_cost_hook import TestCostHook
from rs4d.engine.provenance import origin

# Of a training's record in its checkpoint.
_TRAINING = ('minutes', 'machines', 'processes', 'images', 'batch_size', 'memory_mb', 'commit')


def describe_run(runner: Runner, cost: TestCostHook) -> dict[str, Any]:
    """Say all that a table of results has beside AP.

    Args:
        runner: That has tested a checkpoint.
        cost: The hook that has measured it.

    Returns:
        ``data`` (of each data set its type and the names of its annotation file and of the folder of
        that), ``epochs``, ``iterations``, ``seed``; ``training`` (minutes, machines, memory and so on,
        if the checkpoint says so), ``model`` (parameters, and of a detector the multiply-adds at an
        input size) and ``test`` (command, images, seconds an image, memory, machine, commit, versions).
    """
    meta: dict[str, Any] = dict(getattr(runner, 'loaded_meta', {}))
    sets = inner_datasets(runner.cfg.test_dataloader.dataset)
    data = [dict(type=one['type'], **_annotations(one)) for one in sets]
    trained = meta.get('training') or {}
    return dict(
        data=data,
        epochs=meta.get('epoch'),
        iterations=meta.get('iter'),
        seed=meta.get('seed'),
        training={key: trained[key] for key in _TRAINING if key in trained},
        model=_cost_of_model(runner),
        test=dict(command=_command()) | cost.cost() | origin(),
    )


def _annotations(dataset: Mapping[str, Any]) -> dict[str, str]:
    """Name the annotation file of a data set, and its folder: files of many sets are called alike."""
    root = dataset.get('data_root')
    file = Path(root if isinstance(root, str) else '', dataset.get('ann_file') or '')
    named = [name for name in file.absolute().parts[1:-1] if name != 'annotations']
    return dict(annotations=file.name, folder=named[-1] if named and file.name else '')


def _command() -> str:
    """The command of this process, without the folder of its program."""
    return ' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _cost_of_model(runner: Runner) -> dict[str, Any]:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    said: dict[str, Any] = dict(parameters=sum(part.numel() for part in model.parameters()))
    if isinstance(model, BaseDetector):
        height, width = input_shape(runner.cfg)
        try:
            counted = count_complexity(model, (height, width), 'model')
        except (
            Exception
        ) as error:  # any model may be tested, and a count is no reason to lose a test
            runner.logger.warning(
                f'The multiply-adds of the {type(model).__name__} could not be counted: {error}'
            )
        else:
            said |= dict(multiply_adds=counted.multiply_adds, input_size=f'{width}x{height}')
    return said
