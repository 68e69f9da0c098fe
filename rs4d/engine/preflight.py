"""Checks before training and testing, so that no time is spent on what cannot end well."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint
from torch import nn

from rs4d.checkpoints import trained_classes
from rs4d.checkpoints.checks import check_checkpoint, check_pretrained
from rs4d.config import classes_of_file, dataset_classes, inner_datasets, is_class_head
from rs4d.errors import ConfigError, InputSizeError, Problems, UserError, some
from rs4d.files import make_folder

from .random_state import kept_random_state

# Enough to meet images of other sizes without reading the set.
_SAMPLES = 4
# Warm-ups that a training has at least, unless it is told of, and that it had better have.
_WARMUPS, _ENOUGH_WARMUPS = 3, 10


def check_work_dir(cfg: Config, overwrite: bool = False) -> None:
    """Raise if a training would overwrite the checkpoints of an earlier one without leave.

    Raises:
        ConfigError: The folder holds checkpoints.
        FileWriteError: It cannot be written to.
    """
    make_folder(cfg.work_dir, '--work-dir')
    folder = Path(cfg.work_dir)
    found = sorted(file.name for file in folder.glob('*.pth'))
    if found and not cfg.get('resume') and not overwrite:
        more = ' and others' if len(found) > 3 else ''
        raise ConfigError(
            f"The work dir '{folder}' holds the checkpoints of an earlier training "
            f'({", ".join(found[:3])}{more}), which a new one would overwrite. Continue it with '
            '--resume, choose another --work-dir, or give --overwrite if they are not needed.'
        )


def choose_resume(cfg: Config, resume: str | None) -> None:
    """Set ``resume`` and ``load_from`` of a training to what it starts from.

    Args:
        cfg: Changed in place.
        resume: A checkpoint, ``'auto'`` for the newest one in the work dir if there is one, or None
            to leave the choice to the config.
    """
    if resume is not None and resume != 'auto':
        cfg.resume, cfg.load_from = True, resume
    elif resume == 'auto' or (cfg.get('resume') and cfg.get('load_from') is None):
        latest = find_latest_checkpoint(cfg.work_dir) if Path(cfg.work_dir).is_dir() else None
        if latest is not None and not Path(latest).is_file():
            # The name was noted from another working directory, or the folder was moved.
            latest = str(Path(cfg.work_dir) / Path(latest).name)
        cfg.resume = latest is not None
        if latest is not None:
            cfg.load_from = latest
        else:
            print_log(
                f"There is no checkpoint to resume from in '{cfg.work_dir}'; the training starts "
                'from the beginning.',
                logger='current',
            )


def check_training(runner: Runner) -> None:
    """Check the checkpoints and the data of a training, whose runner and loops are built.

    Raises:
        UserError: Whatever is wrong, all in one: a checkpoint or an input size does not fit, the
            heads' classes are not the data's, a file of the data is missing or something else.
    """
    cfg, model = runner.cfg, _unwrapped(runner.model)
    problems = Problems()
    with kept_random_state():
        with problems.noted():
            check_pretrained(model)
        with problems.noted():
            _check_weight_decay(cfg)
        if cfg.get('load_from'):
            resume = bool(cfg.get('resume'))
            with problems.noted():
                source = '--resume' if resume else 'load_from'
                check_checkpoint(model, cfg.load_from, source, complete=resume)
            if resume:
                with problems.noted():
                    _check_same_classes(cfg)
        for split in ('train', 'val'):
            if cfg.get(f'{split}_dataloader') is not None:
                _check_data(runner, model, split, problems)
    problems.raise_all()
    warn_of_few_steps(cfg, runner.train_loop.max_iters)


def warn_of_few_steps(cfg: Config, steps: int) -> None:
    """Tell of a training that ends about where its warm-up does, as those of small data sets may."""
    schedulers = cfg.get('param_scheduler') or []
    if isinstance(schedulers, dict):
        schedulers = [schedulers]
    warmup = max(
        (x.get('end', 0) for x in schedulers if x['type'] == 'LinearLR' and not x.get('by_epoch')),
        default=0,
    )
    if steps < _WARMUPS * warmup:
        print_log(
            f'The training has {steps} steps, and the learning rate rises for the first {warmup}: too '
            f'few to learn much. Give it about {_ENOUGH_WARMUPS * warmup}: more epochs (--cfg-options '
            'max_epochs=...), or smaller batches (train_batch_size=2).',
            logger='current',
            level=logging.WARNING,
        )


def _check_same_classes(cfg: Config) -> None:
    """A training that goes on with another order of its classes would give objects wrong names."""
    for trained, classes in _other_classes(cfg, 'train'):
        raise ConfigError(
            f"The checkpoint '{cfg.load_from}' was trained with the classes {trained}, but the data "
            f'set has {classes}, or has them in another order. Resume with the data that the '
            'training began with, or name the classes in their order by --classes or metainfo.'
        )


def _check_tested_classes(cfg: Config) -> None:
    """Labels are numbers: a test would score one class as another without a word."""
    for trained, classes in _other_classes(cfg, 'test'):
        start = (
            f"The checkpoint '{cfg.load_from}' was trained with the classes {trained}, but the test "
            f'data set has {classes}'
        )
        moved = [
            n for n, name in enumerate(classes) if name in trained and trained.index(name) != n
        ]
        if moved or len(trained) != len(classes):
            raise ConfigError(
                f"{start}: the model's labels would stand for other classes. Name those of the "
                'checkpoint in their order, by metainfo=dict(classes=(...)) of the data set.'
            )
        print_log(
            f'{start}. What it finds of the one is scored as the other.',
            logger='current',
            level=logging.WARNING,
        )


def _check_scored_file(cfg: Config) -> None:
    """Say in the words of a user what the data set would say in those of its config."""
    trained = trained_classes(cfg.load_from) if Path(cfg.load_from).is_file() else ()
    scope = cfg.get('default_scope', 'mmdet')
    for settings in inner_datasets(cfg.test_dataloader.dataset) if trained else ():
        if dataset_classes(settings, scope) != trained:
            continue
        try:
            own = classes_of_file(settings, scope)
        except FileNotFoundError:
            continue  # building the data set says so, with all else that is wrong
        lacking = [name for name in trained if name not in own]
        beyond = [name for name in own if name not in trained]
        if own and lacking:
            train = f' To find {", ".join(beyond)}, train on it: rs4d train.' if beyond else ''
            raise ConfigError(
                f"The model of '{cfg.load_from}' finds {', '.join(trained)}; "
                f"'{settings['ann_file']}' has the categories {', '.join(own)}, and lacks "
                f'{", ".join(lacking)}. To score the model on this file, rename the categories that '
                'mean the same, and add those of which it shows no object; or name another file, by '
                f'--val.{train}'
            )


def _other_classes(cfg: Config, split: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The checkpoint's classes and a data set's, wherever they are not the same."""
    trained = trained_classes(cfg.load_from) if Path(cfg.load_from).is_file() else ()
    scope = cfg.get('default_scope', 'mmdet')
    for settings in inner_datasets(cfg[f'{split}_dataloader'].dataset) if trained else ():
        classes = dataset_classes(settings, scope)
        if classes and classes != trained:
            yield trained, classes


def _check_weight_decay(cfg: Config) -> None:
    """MMEngine fails without a word of advice where there is no decay to multiply."""
    wrapper = cfg.get('optim_wrapper') or {}
    multipliers = [key for key in wrapper.get('paramwise_cfg') or {} if 'decay_mult' in key]
    if multipliers and (wrapper.get('optimizer') or {}).get('weight_decay') is None:
        raise ConfigError(
            f'optim_wrapper.paramwise_cfg has {some(multipliers)}, which multiplies a weight decay, '
            'but optim_wrapper.optimizer has none. Add weight_decay=0.0 or another value to it.'
        )


def check_testing(runner: Runner) -> None:
    """Check the checkpoint, ``load_from``, and the data of a test, like :func:`check_training`.

    Raises:
        UserError: Whatever is wrong, all in one.
    """
    model = _unwrapped(runner.model)
    problems = Problems()
    with kept_random_state():
        with problems.noted():
            check_checkpoint(model, runner.cfg.load_from, 'the command line', complete=True)
            _check_tested_classes(runner.cfg)
        with problems.noted():
            _check_scored_file(runner.cfg)
            _check_data(runner, model, 'test', problems)
    problems.raise_all()


def _check_data(runner: Runner, model: nn.Module, split: str, problems: Problems) -> None:
    """Note what is wrong with the classes, the files and the sizes of a data set."""
    with problems.noted():
        _check_classes(runner.cfg, model, split)
    with problems.noted():
        _check_samples(runner, model, split)


def _check_samples(runner: Runner, model: nn.Module, split: str) -> None:
    try:
        # Builds the data loader and the evaluator on first use.
        loop = getattr(runner, f'{split}_loop')
    except FileNotFoundError as error:
        if isinstance(error, UserError):
            raise
        raise ConfigError(
            f'A file that {split}_dataloader or {split}_evaluator names does not exist: {error}. '
            'Check data_root, ann_file and data_prefix in the config, and RS4D_DATA_ROOT if the '
            'paths depend on it.'
        ) from error
    loader = loop.dataloader
    if not len(loader.dataset):
        raise ConfigError(
            f'{split}_dataloader has no image left to use: all were filtered out. Check ann_file '
            'and filter_cfg (filter_empty_gt, min_size) in the config.'
        )
    for metric in loop.evaluator.metrics if split != 'train' else ():
        if hasattr(metric, 'check_dataset'):
            metric.check_dataset(loader.dataset)
    _check_sizes(model, loader, split)


def _check_classes(cfg: Config, model: nn.Module, split: str) -> None:
    heads = [(n, getattr(m, 'num_classes', None)) for n, m in model.named_modules()]
    for settings in inner_datasets(cfg[f'{split}_dataloader'].dataset):
        classes = dataset_classes(settings, cfg.get('default_scope', 'mmdet'))
        wrong = [
            f'model.{name}.num_classes={number}'
            for name, number in heads
            if is_class_head(name) and type(number) is int and number != len(classes)
        ]
        if classes and wrong:
            raise ConfigError(
                f'The data set of {split}_dataloader has {len(classes)} classes {classes}, but the '
                f'model has {", ".join(wrong)}. Set num_classes={len(classes)} there, or use the '
                'data set that the model is for.'
            )


def _check_sizes(model: Any, loader: Any, split: str) -> None:
    """Check for a few images that the encoders take the size that they come in."""
    encoders: dict[str, Any] = {}
    for name in ('backbone', 'student', 'teacher'):
        encoder = getattr(model, name, None)
        encoder = getattr(encoder, 'encoder', encoder)  # a frozen teacher holds one
        if hasattr(encoder, 'require_size'):
            encoders[name] = encoder
    last = len(loader.dataset) - 1
    for index in {i * last // (_SAMPLES - 1) for i in range(_SAMPLES)} if encoders else ():
        batch = loader.collate_fn([loader.dataset[index]])
        height, width = model.data_preprocessor(batch, split == 'train')['inputs'].shape[-2:]
        for name, encoder in encoders.items():
            try:
                encoder.require_size(height, width)
            except InputSizeError as error:
                raise ConfigError(
                    f'{split}_dataloader gives model.{name} images of {height}x{width} pixels '
                    f'(height x width, image {index} of the set). {error}'
                ) from error


def _unwrapped(model: Any) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
