"""What a run shows in the terminal: some twenty lines of what, on what, with what and where to.

The environment, the whole config and what is set for single parameters stand in the log file.
"""

import logging
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

_FOR_THE_FILE = (
    '\n' + '-' * 60 + '\nSystem environment:',
    'Config:\n',
    'Hooks will be executed in the following order:',
    'paramwise_options -- ',
    'Distributed training is not used, all SyncBatchNorm',
)


def shorten_terminal(logger: MMLogger) -> None:
    """Keep what is for the log file off the terminal.

    Args:
        logger: A runner's, which has a handler for each.
    """
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(_is_for_the_terminal)


def _is_for_the_terminal(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_FOR_THE_FILE)


def summarise(runner: Runner) -> str:
    """Say in a few lines what is about to run.

    Args:
        runner: Built, with its loops.

    Returns:
        One line each: the model, the data, the steps, the device, and the places of what is written.
    """
    cfg, model = runner.cfg, runner.model.module if is_model_wrapper(runner.model) else runner.model
    count = sum(p.numel() for p in model.parameters()) / 1e6
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    encoder = getattr(model, 'student', getattr(model, 'backbone', model))
    lines = [
        f'config    {cfg.filename}',
        f'model     {type(model).__name__} with {type(encoder).__name__}, {count:.1f} M parameters, '
        f'{trained:.1f} M of them trained',
    ]
    for name in ('train', 'val', 'test'):
        loop = vars(runner).get(f'_{name}_loop')
        if loop is not None and not isinstance(loop, dict):
            lines.append(f'{name:<10}{_describe_data(loop.dataloader)}')
            if name == 'train':
                lines.append(f'steps     {loop.max_iters}, {loop.max_epochs} epochs')
    device = next(model.parameters()).device
    where = f'{torch.get_num_threads()} threads' if device.type == 'cpu' else _gpu(device)
    lines.append(f'device    {get_world_size()} x {device.type}, {where}')
    start = cfg.get('load_from')
    if start:
        lines.append(f'{"resume" if cfg.get("resume") else "weights":<10}{start}')
    lines.append(f'output    {runner.work_dir}')
    lines.append(f'log       {runner.log_dir}, with the whole config and the environment')
    return '\n'.join(lines)


def _describe_data(loader: Any) -> str:
    data = loader.dataset
    classes = getattr(data, 'metainfo', {}).get('classes') or ()
    named = f' of {len(classes)} classes ({", ".join(classes[:5])}{", ..." * (len(classes) > 5)})'
    return (
        f'{len(data)} images{named if classes else ""}, {type(data).__name__}, '
        f'batches of {loader.batch_sampler.batch_size}'
    )


def _gpu(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)
