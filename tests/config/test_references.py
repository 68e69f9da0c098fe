"""References between settings, followed once everything is merged."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from rs4d.config import load_config, resolve
from rs4d.errors import ConfigError


class TwoClasses(BaseDataset):
    METAINFO = dict(classes=('ship', 'plane'))


@pytest.fixture(autouse=True)
def _registered() -> None:
    DATASETS.register_module(module=TwoClasses, force=True)


def resolved(**settings: Any) -> Config:
    cfg = Config(settings | dict(default_scope='mmengine'))
    resolve(cfg)
    return cfg


def test_values_take_the_place_of_references() -> None:
    cfg = resolved(
        max_epochs=12,
        root='data/',
        steps=['${max_epochs}', dict(end='${max_epochs}')],
        pair=('${steps.1.end}', 3),
        file='${root}val_${max_epochs}.json',
        again='${steps}',
        first='${again.0}',
    )
    assert cfg.steps == [12, dict(end=12)]
    assert cfg.pair == (12, 3)
    assert cfg.file == 'data/val_12.json'
    assert cfg.again == cfg.steps
    assert cfg.again is not cfg.steps
    assert cfg.first == 12


def test_resolving_twice_is_resolving_once() -> None:
    cfg = resolved(a='${b}', b=[1, 2], words='no reference: $5 {x}')
    once = cfg.to_dict()
    resolve(cfg)
    assert cfg.to_dict() == once
    assert cfg.words == 'no reference: $5 {x}'


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(model=dict(stride='${backbone.patch}'), backbone=dict()),
            r"model\.stride refers to 'backbone\.patch', but backbone has no 'patch'",
        ),
        (dict(model='${max_epoch}', max_epochs=3), r"Did you mean 'max_epochs'\?"),
        (dict(model='${b.2}', b=[1]), 'b has no .2.* It has 1 items'),
        (dict(model='${b}', b='${c}', c='${b}'), 'refers to itself: b -> c -> b'),
        (dict(model=dict(b='${model}')), 'refers to itself: model -> model'),
        (dict(model='x${b}', b=[1]), r'model puts \$\{b\} into a text'),
        (dict(image_size=(1, 2, 3)), 'image_size is .* width and height'),
        (dict(image_size='large'), "image_size is 'large'"),
    ],
    ids=str,
)
def test_a_reference_that_leads_nowhere_is_said(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(**settings)


@pytest.mark.parametrize(
    ('size', 'pair'), [(64, (64, 64)), ([384, 320], (384, 320)), ((384, 320), (384, 320))]
)
def test_image_size_is_width_and_height(size: Any, pair: tuple[int, int]) -> None:
    cfg = resolved(
        image_size=size, scale='${image_size}', img_size=('${image_size.1}', '${image_size.0}')
    )
    assert cfg.image_size == cfg.scale == pair
    assert cfg.img_size == pair[::-1]


WRAPPED = dict(
    type='RepeatDataset',
    dataset=dict(type='ConcatDataset', datasets=[dict(type='TwoClasses'), dict(type='TwoClasses')]),
)


@pytest.mark.parametrize(
    ('dataset', 'count'),
    [
        (dict(type='TwoClasses'), 2),
        (dict(type='TwoClasses', metainfo=dict()), 2),
        (dict(type='TwoClasses', metainfo=dict(classes=('a', 'b', 'c'))), 3),
        (dict(type='${kind}', metainfo='${metainfo}'), 4),
        (WRAPPED, 2),
    ],
    ids=str,
)
def test_classes_are_those_of_the_data_set(dataset: dict[str, Any], count: int) -> None:
    settings: dict[str, Any] = dict(
        num_classes=None,
        kind='TwoClasses',
        metainfo=dict(classes=tuple('abcd')),
        train_dataloader=dict(dataset=dataset),
        heads=[dict(num_classes='${num_classes}')] * 3,
    )
    assert [head.num_classes for head in resolved(**settings).heads] == [count] * 3
    settings['num_classes'] = 7
    assert [head.num_classes for head in resolved(**settings).heads] == [7] * 3


def test_unknown_classes_are_said() -> None:
    dataset = dict(type='BaseDataset')
    with pytest.raises(ConfigError, match=r'BaseDataset names none.* Set num_classes, or metainfo'):
        resolved(num_classes=None, train_dataloader=dict(dataset=dataset))


def test_what_nothing_runs_may_refer_to_nothing() -> None:
    """A config that lists an encoder's file and has another backbone and neck."""
    cfg = resolved(neck=[dict(stride='${model.patch}')], model=dict(neck='${other}'), other=3)
    assert cfg.model.neck == 3


def test_options_come_before_references(tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text("size = 8\npipeline = [dict(scale='${size}'), dict(a=1)]\n")
    (tmp_path / 'leaf.py').write_text(
        "_base_ = './base.py'\nsize = 16\ntrain = dict(pipeline='${pipeline}', size='${size}')\n"
        "test = dict(pipeline='${pipeline}')\n"
    )
    cfg = load_config(tmp_path / 'leaf.py')
    assert cfg.train.pipeline == cfg.test.pipeline == [dict(scale=16), dict(a=1)]
    # Where an option goes through a reference, the place gets a copy of its own.
    cfg = load_config(tmp_path / 'leaf.py', {'size': 32, 'train.pipeline.1.a': 2, 'test.key': 3})
    assert cfg.train == dict(pipeline=[dict(scale=32), dict(a=2)], size=32)
    assert cfg.test == dict(pipeline=[dict(scale=32), dict(a=1)], key=3)
    # What is written to the work dir is what ran.
    cfg.dump(tmp_path / 'dumped.py')
    assert load_config(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


def test_options_reach_through_references_within_references(tmp_path: Path) -> None:
    (tmp_path / 'leaf.py').write_text(
        "flip = dict(prob=0.5)\npipeline = ['${flip}', dict(a=1)]\nshort = '${pipeline}'\n"
        "train = dict(data=dict(pipeline='${short}'))\ntest = dict(pipeline='${pipeline}')\n"
    )
    cfg = load_config(tmp_path / 'leaf.py', {'train.data.pipeline.0.prob': 0.1})
    assert cfg.train.data.pipeline == [dict(prob=0.1), dict(a=1)]
    assert cfg.test.pipeline == cfg.short == [dict(prob=0.5), dict(a=1)]
