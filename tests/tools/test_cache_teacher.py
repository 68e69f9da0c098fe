"""The teacher's embeddings on disk, from the command line to a training step."""

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from training_process import start, wait

from rs4d.config import load_config
from rs4d.distillation.teacher_cache import TeacherCacheError, TeacherCacheReader, verify_cache

Call = Callable[..., tuple[int, str, str]]
CONFIG = str(Path(__file__).with_name('distill_config.py'))
TOOL = 'cache_teacher.py'
COUNT = 20


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty noisy images of different shapes; the cache will be in the folder beside them."""
    random = np.random.default_rng(0)
    for i in range(COUNT):
        folder = tmp_path / 'images' / f'sa_{i % 2:06d}'
        folder.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (6, 5 + i % 3, 3), dtype=np.uint8)
        img = cv2.resize(coarse, (60 + 10 * (i % 3), 72), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f'sa_{i}.jpg'), img)
    monkeypatch.setenv('RS4D_TINY_CACHE', str(tmp_path / 'cache'))
    return tmp_path


@pytest.fixture
def tool(place: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The tools, with the images as their data."""
    monkeypatch.setenv('RS4D_TINY_ROOT', str(place / 'images'))
    return call


@pytest.fixture(scope='module')
def first_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that asks for a cache leaves it for the others."""
    return tmp_path_factory.mktemp('cached') / 'cache'


@pytest.fixture
def filled(tool: Call, place: Path, first_cache: Path) -> Call:
    """The tools, with a cache of all images, which are the same in every test."""
    if not first_cache.exists():
        assert tool(TOOL, CONFIG)[0] == 0
        shutil.copytree(place / 'cache', first_cache)
    else:
        shutil.copytree(first_cache, place / 'cache')
    return tool


def read_config(**model: object) -> Config:
    cfg = load_config(CONFIG)
    cfg.merge_from_dict(dict(model=model))
    return cfg


def build(cfg: Config) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        return model.train()


def batches(cfg: Config, split: str = 'train') -> list[dict]:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return list(Runner.build_dataloader(cfg[f'{split}_dataloader'], seed=0))


def test_teacher_and_cache_give_the_same_loss(filled: Call, place: Path) -> None:
    cached = read_config()
    live = read_config(teacher_cache=None)
    models = build(live), build(cached)
    models[1].load_state_dict(models[0].state_dict())
    for first, second in zip(batches(live), batches(cached), strict=True):
        losses = []
        for model, batch in zip(models, (first, second), strict=True):
            torch.manual_seed(7)
            losses.append(model(**model.data_preprocessor(batch, True), mode='loss'))
        assert set(losses[0]) == set(losses[1])
        for name, value in losses[0].items():
            # Half precision has 11 bits.
            torch.testing.assert_close(losses[1][name], value, rtol=2**-11, atol=0, msg=name)
            assert value > 0
    for batch in batches(cached, 'val'):
        figures = [m.eval().val_step(dict(batch))[0].normalised_l1 for m in models]
        torch.testing.assert_close(figures[1], figures[0], rtol=2**-11, atol=0)


def test_with_a_cache_there_is_no_teacher(
    filled: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached, live = read_config(), read_config(teacher_cache=None)
    built = []
    original = MODELS.get('TimmEncoder').__init__
    monkeypatch.setattr(
        MODELS.get('TimmEncoder'),
        '__init__',
        lambda self, *args, **kwargs: (built.append(self), original(self, *args, **kwargs))[1],
    )
    build(cached)
    assert built == []
    build(live)
    assert len(built) == 1


def test_a_training_from_the_cache(filled: Call, place: Path) -> None:
    code, output, _ = filled(
        'train.py',
        CONFIG,
        '--work-dir',
        place / 'w',
        '--cfg-options',
        'train_dataloader.num_workers=2',
    )
    assert code == 0, output[-2000:]
    log = next((place / 'w').rglob('scalars.json')).read_text()
    for name in ('loss', 'loss_embedding', 'loss_blocks', 'error', 'agreement/normalised_l1'):
        assert f'"{name}"' in log


def test_progress_and_verification(tool: Call, place: Path) -> None:
    code, output, _ = tool(TOOL, CONFIG, '--images-per-shard', '6', '--num-workers', '2')
    assert code == 0
    assert f'{COUNT}/{COUNT} [' in output
    assert 'which is complete' in output
    code, output, _ = tool(TOOL, CONFIG, '--verify')
    assert code == 0
    assert f'is whole: {COUNT} images' in output
    shard = sorted((place / 'cache').glob('*.safetensors'))[1]
    data = bytearray(shard.read_bytes())
    data[-100] ^= 4
    shard.write_bytes(data)
    code, output, last = tool(TOOL, CONFIG, '--verify')
    assert code == 2
    assert f'{shard.name} is damaged' in output
    assert 'Delete the shards' in last
    # As the message says.
    shard.unlink()
    code, output, _ = tool(TOOL, CONFIG)
    assert code == 0
    assert f'{COUNT - 6} of them in the cache' in output
    assert tool(TOOL, CONFIG, '--verify')[0] == 0


def start_filling(place: Path, log: Path, *flags: object, **environment: str) -> BaseProcess:
    """Start the tool in a process of its own."""
    folders = dict(
        RS4D_TINY_ROOT=str(place / 'images'), RS4D_TINY_CACHE=os.environ['RS4D_TINY_CACHE']
    )
    return start([CONFIG, *flags], folders | environment, log, command='cache-teacher')


def test_ranks_side_by_side(place: Path) -> None:
    logs = [place / f'{rank}.log' for rank in range(2)]
    processes = [
        start_filling(place, log, '--images-per-shard', 2, WORLD_SIZE='2', RANK=str(rank))
        for rank, log in enumerate(logs)
    ]
    codes = [wait(process, log) for process, log in zip(processes, logs, strict=True)]
    outputs = [log.read_text() for log in logs]
    assert codes == [0, 0], outputs
    # They share a terminal, in which one bar is enough.
    assert [('in the cache' in text, 'images/s]' in text) for text in outputs] == [
        (True, True),
        (False, False),
    ]
    assert 'Rank 1 of 2 has done its part' in outputs[1]
    assert verify_cache(place / 'cache') == []
    reader = TeacherCacheReader(place / 'cache')
    assert len(reader) == COUNT
    assert all(f'sa_{i % 2:06d}/sa_{i}.jpg' in reader for i in range(COUNT))
    assert len({p.name[:9] for p in (place / 'cache').glob('*.safetensors')}) == 2


def test_a_kill_loses_and_doubles_nothing(tool: Call, place: Path) -> None:
    log = place / 'killed.log'
    process = start_filling(place, log, '--images-per-shard', 1, '--batch-size', 1)
    deadline = time.monotonic() + 90
    while len(list((place / 'cache').glob('*.safetensors'))) < 3 and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    assert wait(process, log) == -signal.SIGKILL, log.read_text()
    found = len(list((place / 'cache').glob('*.safetensors')))
    assert found < COUNT
    code, output, _ = tool(TOOL, CONFIG)
    assert code == 0
    assert f'{found} of them in the cache' in output
    assert tool(TOOL, CONFIG, '--verify')[0] == 0
    assert len(TeacherCacheReader(place / 'cache')) == COUNT


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('model.teacher.model_name=tf_efficientnet_lite1', 'the teacher .*model_name'),
        ('model.teacher_mean=[1.0,1.0,1.0]', 'the normalisation .*teacher_mean'),
        ('model.data_preprocessor.bgr_to_rgb=False', 'the normalisation .*bgr_to_rgb'),
    ],
)
def test_another_teacher_is_refused_before_training(
    filled: Call, place: Path, option: str, words: str
) -> None:
    code, _, last = filled('train.py', CONFIG, '--work-dir', place / 'w', '--cfg-options', option)
    assert code == 2
    assert re.search(words, last)
    assert 'the pipeline' not in last


def test_another_pipeline_is_refused(filled: Call, place: Path) -> None:
    cfg = read_config()
    cfg.train_dataloader.dataset.pipeline[0].transforms[1].scale = (48, 48)
    with pytest.raises(TeacherCacheError, match=r'the pipeline.*64.*48') as raised:
        batches(cfg)
    assert 'the teacher (' not in str(raised.value)


def test_a_cache_that_is_not_there(tool: Call, place: Path) -> None:
    code, _, last = tool('train.py', CONFIG, '--work-dir', place / 'w')
    assert code == 2
    assert 'no cache of teacher embeddings' in last
    assert 'rs4d cache-teacher' in last


def random_config(place: Path, transform: str) -> Path:
    path = place / 'random.py'
    path.write_text(
        f'_base_ = {CONFIG!r}\n'
        f'flipped = [dict(type="LoadImageFromFile"), {transform}]\n'
        'train_dataloader = dict(dataset=dict(pipeline=flipped))\n'
        'val_dataloader = dict(dataset=dict(pipeline=flipped))\n'
    )
    return path


def test_random_transforms_are_refused(tool: Call, place: Path) -> None:
    path = random_config(place, 'dict(type="RandomFlip", prob=0.5)')
    code, _, last = tool(TOOL, path)
    assert code == 2
    assert 'other pixels' in last
    # One whose name does not tell.
    path = random_config(place, 'dict(type="Corrupt", corruption="gaussian_noise")')
    path.write_text(
        path.read_text().replace('Corrupt", corruption="gaussian_noise"', 'FlickerOfTest"')
        + 'custom_imports = dict(imports=["flicker_of_test"], allow_failed_imports=False)\n'
    )
    (place / 'flicker_of_test.py').write_text(
        'import numpy as np\n'
        'from mmdet.registry import TRANSFORMS\n'
        '@TRANSFORMS.register_module(force=True)\n'
        'class FlickerOfTest:\n'
        '    def __call__(self, results):\n'
        '        results["img"] = results["img"] + np.random.randint(0, 99, (), dtype=np.uint8)\n'
        '        return results\n'
    )
    sys.path.insert(0, str(place))
    try:
        code, _, last = tool(TOOL, path)
    finally:
        sys.path.remove(str(place))
    assert code == 2
    assert 'other pixels' in last
    assert not (place / 'cache').exists()


def test_train_and_val_by_different_pipelines(tool: Call, place: Path) -> None:
    path = place / 'two.py'
    path.write_text(
        f'_base_ = {CONFIG!r}\n'
        'val_dataloader = dict(dataset=dict(pipeline=[dict(type="LoadImageFromFile")]))\n'
    )
    code, _, last = tool(TOOL, path)
    assert code == 2
    assert 'different transforms' in last


def test_images_of_different_sizes_are_refused(tool: Call, place: Path) -> None:
    path = random_config(place, 'dict(type="Resize", scale=(64, 64), keep_ratio=True)')
    code, _, last = tool(TOOL, path)
    assert code == 2
    assert 'Bring all images to one size' in last


UNCHECKED = (
    '--cfg-options',
    'train_dataloader.dataset.num_header_checks=0',
    'val_dataloader.dataset.num_header_checks=0',
)


def broken_image(place: Path, key: str = 'sa_000001/sa_19.jpg') -> tuple[Path, bytes, str]:
    path = place / 'images' / key
    content = path.read_bytes()
    path.write_bytes(b'nothing')
    return path, content, key


def test_too_many_broken_images_stop_it(tool: Call, place: Path) -> None:
    """One of twenty is more than one in a hundred, and known before all have been read."""
    path, content, key = broken_image(place, 'sa_000000/sa_12.jpg')
    code, output, last = tool(TOOL, CONFIG, *UNCHECKED)
    assert code == 2
    assert 'Skipped:' in output
    assert f'1 of the 20 images could not be read, more than 1%: {key}' in last
    done = len(TeacherCacheReader(place / 'cache'))
    assert 0 < done < COUNT - 1
    # Known from the beginning now, and tried again only when asked to.
    code, output, last = tool(TOOL, CONFIG, *UNCHECKED)
    assert code == 2
    assert 'Skipped:' not in output
    assert 'delete skipped-rank*.jsonl' in last
    path.write_bytes(content)
    (place / 'cache' / 'skipped-rank00000.jsonl').unlink()
    assert tool(TOOL, CONFIG, *UNCHECKED)[0] == 0
    assert tool(TOOL, CONFIG, '--verify')[0] == 0
    assert len(TeacherCacheReader(place / 'cache')) == COUNT


def test_a_broken_image_is_skipped_and_known(
    tool: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('rs4d.distillation.teacher_cache.filling.MAX_SKIPPED', 0.06)
    path, content, key = broken_image(place)
    code, output, _ = tool(TOOL, CONFIG, *UNCHECKED)
    assert code == 0
    assert 'is complete but for 1 that could not be read' in output.replace(', which', '')
    code, output, _ = tool(TOOL, CONFIG, '--verify', *UNCHECKED)
    assert code == 0
    assert f'1 of 20 images could not be read when the cache was made and are not in it: {key}' in (
        output
    )
    assert 'is whole: 19 images' in output
    code, output, _ = tool(TOOL, CONFIG, *UNCHECKED)
    assert code == 0
    assert '1 known to be unreadable; rank 0 of 1 encodes 0' in output
    assert 'Skipped:' not in output

    # Trained without it, whether the image is still broken or has been mended since.
    for state in (b'nothing', content):
        path.write_bytes(state)
        code, output, _ = tool(
            'train.py', CONFIG, '--work-dir', place / 'w', '--overwrite', *UNCHECKED
        )
        assert code == 0, output[-2000:]
        assert output.count('Another one takes its place (1 broken of') == 1
        assert key in output

    (place / 'cache' / 'skipped-rank00000.jsonl').unlink()
    assert tool(TOOL, CONFIG, *UNCHECKED)[0] == 0
    assert len(TeacherCacheReader(place / 'cache')) == COUNT


def test_only_a_broken_image_is_left(
    tool: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('rs4d.distillation.teacher_cache.filling.MAX_SKIPPED', 0.06)
    broken_image(place)
    assert tool(TOOL, CONFIG, *UNCHECKED)[0] == 0
    (place / 'cache' / 'skipped-rank00000.jsonl').unlink()
    code, output, _ = tool(TOOL, CONFIG, '--verify', *UNCHECKED)
    assert code == 2
    assert '1 of 20 images are missing' in output
    # Nothing says what the maps are like, and it is noted all the same.
    assert tool(TOOL, CONFIG, *UNCHECKED)[0] == 0
    assert tool(TOOL, CONFIG, '--verify', *UNCHECKED)[0] == 0


def test_ctrl_c_writes_what_is_ready(
    tool: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rs4d.distillation.teacher_cache.filling import TeacherEncoder

    original, calls = TeacherEncoder.__call__, []

    def interrupted(self: TeacherEncoder, images: list) -> list:
        calls.append(len(images))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, images)

    monkeypatch.setattr(TeacherEncoder, '__call__', interrupted)
    code, _, last = tool(TOOL, CONFIG, '--batch-size', '1')
    assert code == 130
    assert 'the same command goes on' in last
    assert len(TeacherCacheReader(place / 'cache')) == 3
    assert tool(TOOL, CONFIG)[0] == 0
    assert len(TeacherCacheReader(place / 'cache')) == COUNT


def joined_config(place: Path, *roots: str) -> Path:
    path = place / 'joined.py'
    parts = ', '.join(
        f'dict(type="SA1BDataset", data_root={str(place / "images" / root)!r}, pipeline=pipeline)'
        for root in roots
    )
    path.write_text(
        f'_base_ = {CONFIG!r}\n'
        'pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(64, 64))]\n'
        'train_dataloader = dict(dataset=dict('
        f'_delete_=True, type="ConcatDataset", datasets=[{parts}]))\n'
    )
    return path


def test_data_sets_that_are_joined(tool: Call, place: Path) -> None:
    path = joined_config(place, 'sa_000000', 'sa_000001')
    code, output, _ = tool(TOOL, path, '--splits', 'train')
    assert code == 0, output[-1000:]
    reader = TeacherCacheReader(place / 'cache')
    assert len(reader) == COUNT
    assert 'sa_3.jpg' in reader


def test_two_images_of_one_name(tool: Call, place: Path) -> None:
    (place / 'images' / 'sa_000000' / 'sa_1.jpg').write_bytes(
        (place / 'images' / 'sa_000000' / 'sa_0.jpg').read_bytes()
    )
    path = joined_config(place, 'sa_000000', 'sa_000001')
    code, _, last = tool(TOOL, path, '--splits', 'train')
    assert code == 2
    assert "the same name 'sa_1.jpg'" in last


def test_a_disk_that_is_too_small(tool: Call, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr('shutil.disk_usage', lambda path: usage(10**6, 10**6 - 1000, 1000))
    code, _, last = tool(TOOL, CONFIG)
    assert code == 2
    assert 'GiB free' in last
    assert not list((place / 'cache').glob('*.safetensors'))


def test_the_header_says_what_made_it(filled: Call, place: Path) -> None:
    content = json.loads((place / 'cache' / 'header.json').read_text())
    assert content['teacher']['model_name'] == 'tf_efficientnet_lite0'
    assert content['image_size'] == [64, 64]
    assert [t['type'] for t in content['pipeline']] == [
        'LoadImageFromFile',
        'Resize',
        'PadKeepingShape',
    ]
    assert str(place) not in json.dumps(content)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (('--rank', '2', '--world-size', '2'), 'ranks are counted from 0'),
        (('--batch-size', '0'), '--batch-size 0'),
        (('--splits', 'holdout'), 'no holdout_dataloader'),
    ],
)
def test_options_that_cannot_be(tool: Call, options: tuple[str, ...], words: str) -> None:
    code, _, last = tool(TOOL, CONFIG, *options)
    assert code == 2
    assert words in last


def test_a_config_of_stage_2(call: Call, config: str, tmp_path: Path) -> None:
    code, _, last = call(TOOL, config, '--out', tmp_path)
    assert code == 2
    assert 'FeatureDistiller' in last or 'other pixels' in last
