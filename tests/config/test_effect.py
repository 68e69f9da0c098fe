"""An option that changes nothing is refused instead of being taken in silence."""

from pathlib import Path

import pytest
from mmengine.config import Config

from rs4d.config import load_config
from rs4d.config.effect import require_effect
from rs4d.config.packages import leaf_configs
from rs4d.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHIPPED = 'rs4d::rs4d/rs4d-tiny_light_coco.py'


def test_a_written_config_does_not_follow_its_settings(tmp_path: Path) -> None:
    dumped = tmp_path / 'dumped.py'
    load_config(SHIPPED).dump(dumped)
    # Values stand in all places: to take these would train, or score, on the old data at the old size.
    for name, value in (
        ('image_size', 512),
        ('data_root', 'mine'),
        ('val_annotations', 'val.json'),
        ('metainfo.classes', ('a', 'b')),
        ('max_epochs', 3),
    ):
        with pytest.raises(ConfigError, match=rf'refers to {name.split(".")[0]}, so that'):
            load_config(dumped, {name: value})
    assert load_config(SHIPPED, {'image_size': 512}).test_pipeline[1].scale == (512, 512)
    cfg = load_config(dumped, {'train_cfg.max_epochs': 3, 'dtype': 'bfloat16'})
    assert (cfg.train_cfg.max_epochs, cfg.dtype) == (3, 'bfloat16')


def test_what_the_encoder_was_copied_from() -> None:
    with pytest.raises(ConfigError, match='refers to encoder, so that'):
        load_config(SHIPPED, {'encoder.arch': 'base'})


@pytest.mark.parametrize(
    'path',
    [path for path in leaf_configs(ROOT) if path.parent.name == 'rs4d'],
    ids=lambda p: p.stem,
)
def test_every_detector_takes_data_of_a_users_own(path: Path) -> None:
    cfg = Config.fromfile(path)
    options = dict.fromkeys(('dataset_type', 'data_root', 'val_annotations', 'val_images'), 'x')
    require_effect(cfg, options | {'image_size': 512, 'max_epochs': 3, 'train_images': 'y'})
