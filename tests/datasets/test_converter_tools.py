"""The command lines of tools/dataset_converters, in this process."""

import errno
import importlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest


def main_of(name):
    return importlib.import_module(f'rs4d.cli.{name}').main


def test_generate_scenes(tmp_path, capsys):
    main = main_of('generate_scenes')
    args = [str(tmp_path), '--num-train', '2', '--num-val', '1', '--size', '64']
    assert main(args) == 0
    assert 'scenes_train.json' in capsys.readouterr().out
    assert len(list((tmp_path / 'imgs').iterdir())) == 3
    assert main([*args, '--seed', '5']) == 2
    error = capsys.readouterr().err
    assert '--overwrite' in error
    assert error.count('\n') == 1
    assert main([*args, '--seed', '5', '--overwrite']) == 0
    assert main([*args, '--num-val', '0', '--overwrite']) == 2
    # A refused call leaves what is there.
    content = json.loads((tmp_path / 'annotations/scenes_val.json').read_text())
    assert content['info']['seed'] == 5


def test_whu2coco(data_root, tmp_path, capsys):
    main = main_of('whu2coco')
    shutil.copytree(data_root('WHU'), tmp_path / 'WHU')
    assert main([str(tmp_path / 'WHU'), '--splits', 'val']) == 0
    assert [p.name for p in (tmp_path / 'WHU/annotations').iterdir()] == ['WHU_building_val.json']
    assert main([str(tmp_path / 'WHU')]) == 2
    assert 'WHU_building_val.json' in capsys.readouterr().err


def test_whu2coco_without_input(tmp_path, capsys):
    assert main_of('whu2coco')([str(tmp_path / 'nowhere')]) == 2
    assert 'nowhere' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['generate_scenes', 'whu2coco'])
def test_a_full_disk_is_one_sentence(name, tmp_path, monkeypatch, capsys):
    for kind in ('image', 'label'):
        (tmp_path / 'train' / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f'train/{kind}/1.png'), np.zeros((8, 8), np.uint8))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    assert main_of(name)([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert 'No space left on device' in error
    assert error.count('\n') == 1
    assert not (tmp_path / 'annotations').exists() or not list((tmp_path / 'annotations').iterdir())
