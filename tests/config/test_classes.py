"""The classes of annotation files come into the config, the same for all of its data sets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from rs4d.config import load_config, resolve
from rs4d.datasets import AnnotationError, DatasetNotFoundError
from rs4d.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Return a writer of an annotation file that has these categories."""

    def write(name: str, *classes: str) -> str:
        categories = [dict(id=50 - 7 * n, name=name) for n, name in enumerate(classes)]
        file = tmp_path / name
        file.write_text(json.dumps(dict(images=[], annotations=[], categories=categories)))
        return str(file)

    return write


def dataset(file: str, **settings: Any) -> dict[str, Any]:
    return dict(type='CocoInsSegDataset', ann_file=file) | settings


def resolved(
    train: Any, val: Any = None, trained: tuple[str, ...] = (), **settings: Any
) -> tuple[int, list[Any]]:
    """The number of classes, and those of the data sets."""
    cfg = Config(
        dict(
            num_classes=None,
            head=dict(num_classes='${num_classes}'),
            train_dataloader=dict(dataset=train),
            val_dataloader=dict(dataset=val) if val else None,
        )
        | settings
    )
    resolve(cfg, trained)
    first = cfg.train_dataloader.dataset
    sets = [*(first.get('datasets') or [first]), *([cfg.val_dataloader.dataset] if val else [])]
    return cfg.head.num_classes, [s.get('metainfo', {}).get('classes') for s in sets]


def test_all_data_sets_have_the_classes_of_the_first_file(write: Callable[..., str]) -> None:
    train, val = write('a', 'ship', 'pier', 'tank'), write('b', 'tank', 'ship', 'pier')
    classes = ('ship', 'pier', 'tank')
    assert resolved(dataset(train), dataset(val)) == (3, [classes] * 2)
    both = dict(type='ConcatDataset', datasets=[dataset(train), dataset(val)])
    assert resolved(both, dataset(val)) == (3, [classes] * 3)
    assert resolved(dict(type='RepeatDataset', times=2, dataset=dataset(val)))[0] == 3
    # Resolving what is resolved reads no file.
    assert resolved(dataset('gone', metainfo=dict(classes=classes)), dataset(train))[0] == 3


def test_files_of_other_classes_are_refused(write: Callable[..., str]) -> None:
    train, more, less = write('a', 'x', 'y'), write('b', 'y', 'x', 'z'), write('c', 'y')
    other = write('d', 'y', 'w')
    for file, said in (
        (more, 'has z beyond them'),
        (less, 'lacks x'),
        (other, 'has w beyond them and lacks x'),
    ):
        with pytest.raises(ConfigError, match=said):
            resolved(dataset(train), dataset(file))
    # Chosen by name, those of both.
    chosen = dict(metainfo=dict(classes=('y',)))
    assert resolved(dataset(train, **chosen), dataset(less)) == (1, [('y',)] * 2)


def test_a_trained_model_knows_its_classes(write: Callable[..., str]) -> None:
    train, trained = write('a', 'x', 'y'), ('y', 'x')
    assert resolved(dataset(train), dataset(train), trained) == (2, [trained] * 2)
    assert resolved(dataset(''), dataset(train), trained) == (2, [trained] * 2)
    # What a config or a type names stands.
    named = dataset(train, metainfo=dict(classes=('x',)))
    assert resolved(named, None, trained) == (1, [('x',)])
    assert resolved(dict(type='SSDDInsSegDataset', ann_file=train), None, trained)[0] == 1


def test_without_a_file_there_is_a_model_to_look_at(write: Callable[..., str]) -> None:
    assert resolved(dataset(''), dataset('')) == (1, [None, None])
    assert resolved(dataset(''), dataset(write('a', 'x', 'y'))) == (2, [('x', 'y')] * 2)


def test_files_that_are_missing_or_broken(write: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match='gone'):
        resolved(dataset(str(tmp_path / 'gone')))
    (tmp_path / 'bad').write_text('{')
    with pytest.raises(AnnotationError, match='not valid JSON'):
        resolved(dataset(str(tmp_path / 'bad')))
    # Of the others, all that is wrong is said when they are built.
    assert resolved(dataset(write('a', 'x')), dataset(str(tmp_path / 'gone')))[0] == 1


def test_a_file_that_has_changed_is_read_anew(write: Callable[..., str]) -> None:
    assert resolved(dataset(write('a', 'x', 'y')))[0] == 2
    assert resolved(dataset(write('a', 'x', 'y', 'zzz')))[0] == 3


@pytest.mark.parametrize('name', ['rs4d-tiny_light_coco', 'rs4d-base_prompt_ssdd'])
def test_heads_follow_the_file(name: str, write: Callable[..., str]) -> None:
    file = write('a', *'vwxyz')
    options = dict(dataset_type='CocoInsSegDataset', data_root='')
    options |= dict(train_annotations=file, val_annotations=file)
    cfg = load_config(CONFIGS / 'rs4d' / f'{name}.py', options)
    assert cfg.model.roi_head.mask_head.get('num_classes', 5) == 5
    assert cfg.num_classes == 5
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.metainfo.classes == tuple('vwxyz')
