"""Bases are found where MMEngine finds them, without reading what it reads for that."""

import mmengine.config.config as config
import mmengine.config.utils as utils
import pytest
from mmengine.config import Config

BASE = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'


def test_bases_are_found_without_metafiles(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = utils.load
    monkeypatch.setattr(utils, 'load', lambda path: (read.append(path), load(path))[1])
    found = Config._get_cfg_path(BASE, '')
    assert read == []
    monkeypatch.setattr(config, '_get_external_cfg_path', utils._get_external_cfg_path)
    assert Config._get_cfg_path(BASE, '') == found
    # If MMEngine alone reads none any more, the patch can go.
    assert len(read) > 50


def test_other_configs_are_found_by_metafiles() -> None:
    path, scope = Config._get_cfg_path('mmdet::solo/solo_r50_fpn_1x_coco.py', '')
    assert path.endswith('.mim/configs/solo/solo_r50_fpn_1x_coco.py')
    assert scope == 'mmdet'
