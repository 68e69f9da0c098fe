"""Configs say what the environment says, whatever signs are in it."""

import os
from pathlib import Path

import pytest

from rs4d.config import load_config


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
