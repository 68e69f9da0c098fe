"""The sub-commands that make data sets, in this process."""

import errno
import json
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from rs4d.cli import main


def test_generate_scenes(tmp_path, capsys):
    generate = partial(main, 'generate-scenes')
    args = [str(tmp_path), '--num-train', '2', '--num-val', '1', '--size', '64']
    assert generate(*args) == 0
    assert 'scenes_train.json' in capsys.readouterr().out
    assert len(list((tmp_path / 'imgs').iterdir())) == 3
    assert generate(*args, '--seed', '5') == 2
    error = capsys.readouterr().err
    assert '--overwrite' in error
    assert error.strip().count('\n') == 0
    assert generate(*args, '--seed', '5', '--overwrite') == 0
    assert generate(*args, '--num-val', '0', '--overwrite') == 2
    # A refused call leaves what is there.
    content = json.loads((tmp_path / 'annotations/scenes_val.json').read_text())
    assert content['info']['seed'] == 5


def test_whu2coco(data_root, tmp_path, capsys):
    convert = partial(main, 'convert', 'whu2coco')
    shutil.copytree(data_root('WHU'), tmp_path / 'WHU')
    assert convert(tmp_path / 'WHU', '--splits', 'val') == 0
    assert [p.name for p in (tmp_path / 'WHU/annotations').iterdir()] == ['WHU_building_val.json']
    assert convert(tmp_path / 'WHU') == 2
    assert 'WHU_building_val.json' in capsys.readouterr().err


def test_whu2coco_without_input(tmp_path, capsys):
    assert main('convert', 'whu2coco', tmp_path / 'nowhere') == 2
    assert 'nowhere' in capsys.readouterr().err


@pytest.mark.parametrize('command', ['generate-scenes', 'convert whu2coco'])
def test_a_full_disk_is_one_sentence(command, tmp_path, monkeypatch, capsys):
    for kind in ('image', 'label'):
        (tmp_path / 'train' / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f'train/{kind}/1.png'), np.zeros((8, 8), np.uint8))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    assert main(*command.split(), tmp_path) == 2
    error = capsys.readouterr().err.strip()
    assert 'disk is full' in error or 'No space left on device' in error
    assert '\n' not in error
    assert not (tmp_path / 'annotations').exists() or not list((tmp_path / 'annotations').iterdir())
