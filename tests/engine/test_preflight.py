"""What a training that goes on has to share with the one that began."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from rs4d.engine.preflight import (
    _check_same_classes,
    _check_tested_classes,
    warn_of_few_steps,
)
from rs4d.errors import ConfigError


def test_a_resumed_training_has_its_classes_in_their_order(tmp_path: Path) -> None:
    categories = [dict(id=9 - n, name=name) for n, name in enumerate(('ship', 'pier'))]
    file = tmp_path / 'train.json'
    file.write_text(json.dumps(dict(images=[], annotations=[], categories=categories)))
    dataset = dict(type='CocoInsSegDataset', ann_file=str(file))
    cfg = Config(dict(train_dataloader=dict(dataset=dataset), load_from=str(tmp_path / 'a.pth')))
    for classes in (['ship', 'pier'], ('ship', 'pier'), None):
        torch.save(dict(meta=dict(dataset_meta=dict(classes=classes))), cfg.load_from)
        _check_same_classes(cfg)
    torch.save(dict(meta=dict(dataset_meta=dict(classes=('pier', 'ship')))), cfg.load_from)
    with pytest.raises(ConfigError, match=r"\('pier', 'ship'\).* has \('ship', 'pier'\)"):
        _check_same_classes(cfg)
    cfg.train_dataloader.dataset.metainfo = dict(classes=('pier', 'ship'))
    _check_same_classes(cfg)


@pytest.mark.parametrize(
    ('trained', 'refused'),
    [
        (('ship', 'pier'), False),
        (('plane', 'pier'), False),  # told in a warning
        (('pier', 'ship'), True),
        (('pier', 'plane'), True),
        (('ship',), True),
        ((), False),
    ],
)
def test_a_test_does_not_score_one_class_as_another(
    tmp_path: Path, trained: tuple[str, ...], refused: bool
) -> None:
    dataset = dict(type='CocoDataset', ann_file='', metainfo=dict(classes=('ship', 'pier')))
    cfg = Config(dict(test_dataloader=dict(dataset=dataset), load_from=str(tmp_path / 'a.pth')))
    torch.save(dict(meta=dict(dataset_meta=dict(classes=trained))), cfg.load_from)
    if refused:
        with pytest.raises(ConfigError, match='would stand for other classes'):
            _check_tested_classes(cfg)
    else:
        _check_tested_classes(cfg)


@pytest.mark.parametrize(('steps', 'told'), [(72, True), (299, True), (300, False)])
def test_a_training_that_is_all_warm_up_is_told_of(
    steps: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr('rs4d.engine.preflight.print_log', lambda text, **_: said.append(text))
    schedulers = [
        dict(type='LinearLR', by_epoch=False, begin=0, end=100),
        dict(type='CosineAnnealingLR', begin=0, end=36, by_epoch=True),
    ]
    warn_of_few_steps(Config(dict(param_scheduler=schedulers)), steps)
    assert bool(said) == told
    assert not told or f'{steps} steps' in said[0]
    warn_of_few_steps(Config({}), 1)
    assert len(said) == told
