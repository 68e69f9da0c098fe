"""Every data set of stage 1 gives samples from SA-1B's tars as they come, with and without a cache."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from generated_data import datasets_of, write_data
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from reduced_configs import CONFIGS, names

from rs4d.config import load_config
from rs4d.distillation.teacher_cache import (
    CacheHeader,
    TeacherCacheWriter,
    describe_images,
    image_key,
)
from rs4d.distillation.teacher_cache.header import pixel_transforms

LEAVES = sorted((CONFIGS / 'distill').glob('*.py'))
MAPS = dict(embedding=[2, 4, 4])


def write_cache(datasets: list[Mapping[str, Any]]) -> None:
    """Embeddings for the images of data sets, of which nothing but their being there is looked at."""
    pipeline = datasets[0]['pipeline']
    pixels = pixel_transforms(pipeline)
    size = list(pixels[-1]['size'])
    header = CacheHeader({}, {}, describe_images(pixels), '0', 'float32', size, MAPS)
    writer = TeacherCacheWriter(pipeline[0]['cache_dir'])
    writer.start(header)
    for cfg in datasets:
        dataset = DATASETS.build(dict(cfg, pipeline=pixels))
        for index in range(len(dataset)):
            key = image_key(dataset.get_data_info(index), [pipeline[0]['data_root']])
            writer.add(key, dict(embedding=torch.ones(2, 4, 4)), dataset[index]['img_shape'])
    writer.flush()
    writer.close()


@pytest.mark.parametrize('path', LEAVES, ids=names)
def test_data_sets_read_tars(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('RS4D_DATA_ROOT', 'data')
    monkeypatch.setenv('RS4D_CACHE_ROOT', 'cache')
    cfg = load_config(path)
    write_data(cfg)
    (archive,) = Path('data').rglob('sa_000000.tar')
    assert not list(archive.parent.rglob('*.jpg'))
    with DefaultScope.overwrite_default_scope('mmdet'):
        cached = [d for d in datasets_of(cfg) if d['pipeline'][0]['type'] == 'LoadTeacherEmbedding']
        assert bool(cached) == ('teacher_cache' in cfg.model)
        if cached:
            assert cached[0]['pipeline'][0]['cache_dir'] == cfg.model.teacher_cache
            write_cache(cached[:-1])  # test is val
        from_tars = 0
        for settings in datasets_of(cfg):
            dataset = DATASETS.build(settings)
            sample = dataset[0]
            from_tars += 'shard' in dataset.get_data_info(0)
            assert max(sample['inputs'].shape) == max(cfg.image_size)
            assert ('teacher_embedding' in sample['data_samples']) == bool(cached)
    assert from_tars
