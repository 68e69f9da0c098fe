"""Configs say what the environment says, whatever signs are in it."""

import os
from pathlib import Path

import pytest

from rs4d.config import load_config
from rs4d.errors import ConfigError


@pytest.mark.parametrize('quote', ["'", '"'])
@pytest.mark.parametrize('folder', ["it's", 'so "called"', 'back\\slash', r'\1 \S', '数据 x'])
def test_folders_with_quotes_and_backslashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quote: str, folder: str
) -> None:
    file = tmp_path / 'a.py'
    file.write_text(f'root = {quote}{{{{$RS4D_DATA_ROOT:data}}}}/SSDD/{quote}\n')
    monkeypatch.setenv('RS4D_DATA_ROOT', folder)
    assert load_config(file).root == f'{folder}/SSDD/'
    assert os.environ['RS4D_DATA_ROOT'] == folder


def test_two_bases_that_set_the_same_are_explained(tmp_path: Path) -> None:
    for name in 'ab':
        (tmp_path / f'{name}.py').write_text('metainfo = dict()\n')
    file = tmp_path / 'leaf.py'
    file.write_text("_base_ = ['a.py', 'b.py']\n")
    with pytest.raises(ConfigError, match=r'set the same.*metainfo.*config itself'):
        load_config(file)


def test_a_class_without_its_comma_is_explained(tmp_path: Path) -> None:
    file = tmp_path / 'a.py'
    file.write_text(
        'num_classes = None\n'
        "train_dataloader = dict(dataset=dict(type='CocoDataset', metainfo=dict(classes=('tank'))))\n"
    )
    with pytest.raises(ConfigError, match=r"\('tank',\), with a comma"):
        load_config(file)
