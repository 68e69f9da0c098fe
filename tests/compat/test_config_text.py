"""The text of a config is MMEngine's, and made once."""

from pathlib import Path

import pytest
from mmengine.config import Config
from yapf.yapflib import yapf_api

from rs4d.config import load_config


def test_a_config_is_formatted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    formatted = []
    plain = yapf_api.FormatCode
    monkeypatch.setattr(
        yapf_api, 'FormatCode', lambda *a, **k: (formatted.append(a), plain(*a, **k))[1]
    )
    cfg = load_config(Path(__file__).parents[2] / 'configs/demo/rs4d-tiny_bbox_scenes.py')
    text = cfg.pretty_text
    assert cfg.pretty_text == cfg.dump() == text
    assert len(formatted) == 1
    cfg.train_dataloader.batch_size = 77
    assert 'batch_size=77' in cfg.pretty_text
    assert 'batch_size=77' not in text

    # If MMEngine alone formats it once, the patch can go.
    formatted.clear()
    alone = Config.pretty_text.fget.__wrapped__
    assert alone(cfg) == alone(cfg) == cfg.pretty_text
    assert len(formatted) == 2
