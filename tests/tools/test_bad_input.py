"""What a user got wrong is one paragraph that names it, exit code 2, and nothing is written over."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

from rs4d.engine import precision

Call = Callable[..., tuple[int, str, str]]
Trained = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture
def checkpoint(trained: Trained) -> Path:
    return trained[0] / 'epoch_1.pth'


@pytest.fixture
def rejected(call: Call, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a tool, expects it to refuse, and returns the paragraph."""

    def run(name: str, *arguments: str | Path) -> str:
        code, output, paragraph = call(name, *arguments, '--work-dir', tmp_path / 'w')
        assert code == 2, output[-2000:]
        assert 'Traceback' not in output
        assert paragraph.startswith(f'{Path(name).stem}: ')
        assert not list((tmp_path / 'w').glob('*.pth'))
        return paragraph

    return run


def copied(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / 'scenes'))


def pretrained(path: Path, *more: str) -> list[str]:
    settings = ['type=Pretrained', f'checkpoint={path}', *more]
    return ['--cfg-options', *(f'model.backbone.init_cfg.{setting}' for setting in settings)]


def test_config_of_another_name(rejected: Callable[..., str]) -> None:
    message = rejected('train.py', 'configs/rs4d/rs4d-base_bbox_sdd.py')
    assert "'configs/rs4d/rs4d-base_bbox_sdd.py' does not exist" in message


def test_config_that_is_misspelt(
    rejected: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'rs4d-base_bbox_ssdd.py').touch()
    monkeypatch.chdir(tmp_path)
    message = rejected('train.py', 'configs/rs4d-base_bbox_sdd.py')
    assert 'Did you mean configs/rs4d-base_bbox_ssdd.py?' in message


def test_config_that_is_not_python(rejected: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    assert str(tmp_path / 'broken.py') in rejected('train.py', tmp_path / 'broken.py')


def test_config_with_a_missing_base(rejected: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / 'lost.py').write_text("_base_ = './nowhere.py'\n")
    assert 'nowhere.py' in rejected('train.py', tmp_path / 'lost.py')


def test_option_that_is_no_option(call: Call, config: str) -> None:
    assert call('train.py', config, '--cfg-options', 'max_epochs')[0] == 2


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_missing_data_root(
    rejected: Callable[..., str],
    config: str,
    checkpoint: Path,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('RS4D_TINY_ROOT', str(tmp_path / 'absent'))
    arguments = [checkpoint] if name == 'test.py' else []
    message = rejected(name, config, *arguments)
    assert str(tmp_path / 'absent') in message


def test_missing_annotations_of_val_are_found_before_training(
    rejected: Callable[..., str],
    config: str,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = copied(scenes, tmp_path)
    monkeypatch.setenv('RS4D_TINY_ROOT', str(root))
    (root / 'annotations' / 'scenes_val.json').unlink()
    assert str(root / 'annotations' / 'scenes_val.json') in rejected('train.py', config)


def test_annotations_that_only_the_evaluator_misses(
    rejected: Callable[..., str], config: str
) -> None:
    option = 'val_evaluator.ann_file=nowhere.json'
    message = rejected('train.py', config, '--cfg-options', option)
    assert 'nowhere.json' in message
    assert 'val_evaluator' in message


def test_evaluator_of_another_set(rejected: Callable[..., str], config: str, scenes: Path) -> None:
    other = scenes / 'annotations' / 'scenes_train.json'
    message = rejected('train.py', config, '--cfg-options', f'val_evaluator.ann_file={other}')
    assert 'is not that of the data set' in message
    assert 'scenes_train.json' in message


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        ('{"images": [', 'not valid JSON'),
        ('[1, 2]', 'not COCO'),
    ],
)
def test_annotations_that_are_not_coco(
    rejected: Callable[..., str],
    config: str,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    expected: str,
) -> None:
    root = copied(scenes, tmp_path)
    monkeypatch.setenv('RS4D_TINY_ROOT', str(root))
    file = root / 'annotations' / 'scenes_val.json'
    file.write_text(content)
    message = rejected('train.py', config)
    assert str(file) in message
    assert expected in message


def test_categories_of_another_set(
    rejected: Callable[..., str],
    config: str,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = copied(scenes, tmp_path)
    monkeypatch.setenv('RS4D_TINY_ROOT', str(root))
    file = root / 'annotations' / 'scenes_train.json'
    content = json.loads(file.read_text())
    content['categories'][0]['name'] = 'submarine'
    file.write_text(json.dumps(content))
    message = rejected('train.py', config)
    assert 'submarine' in message
    assert str(file) in message


@pytest.mark.parametrize('workers', [0, 1])
def test_image_that_does_not_decode(
    call: Call,
    config: str,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    root = copied(scenes, tmp_path)
    monkeypatch.setenv('RS4D_TINY_ROOT', str(root))
    # Not looked at by the checks' samples, so that it breaks in the loop (in a worker, too).
    monkeypatch.setattr('rs4d.engine.preflight._SAMPLES', 2)
    images = json.loads((root / 'annotations' / 'scenes_train.json').read_text())['images']
    broken = root / 'imgs' / images[1]['file_name']
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    code, output, paragraph = call(
        'train.py',
        config,
        '--work-dir',
        tmp_path / 'w',
        '--cfg-options',
        f'train_dataloader.num_workers={workers}',
        'train_dataloader.dataset.num_size_checks=1',
    )
    assert code == 2, output[-2000:]
    assert broken.name in paragraph
    assert 'Traceback' not in paragraph


def test_number_of_classes(rejected: Callable[..., str], config: str) -> None:
    option = 'model.roi_head.mask_head.num_classes=7'
    message = rejected('train.py', config, '--cfg-options', option)
    assert 'model.roi_head.mask_head.num_classes=7' in message


def test_a_decay_multiplier_without_a_decay(rejected: Callable[..., str], config: str) -> None:
    message = rejected(
        'train.py',
        config,
        '--cfg-options',
        'optim_wrapper.optimizer._delete_=True',
        'optim_wrapper.optimizer.type=SGD',
        'optim_wrapper.optimizer.lr=0.1',
        'optim_wrapper.paramwise_cfg.norm_decay_mult=0.0',
    )
    assert 'norm_decay_mult' in message
    assert 'weight_decay=0.0' in message


@pytest.mark.parametrize('name', ['interval', 'iter_interval', 'max_keep_ckpts'])
@pytest.mark.parametrize('value', ['1.5', 'often'])
def test_an_interval_that_is_no_whole_number(
    rejected: Callable[..., str], config: str, name: str, value: str
) -> None:
    key = f'default_hooks.checkpoint.{name}'
    message = rejected('train.py', config, '--cfg-options', f'{key}={value}')
    assert key in message
    assert 'whole number' in message


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (
            ['optim_wrapper.optimizer._delete_=True', 'optim_wrapper.optimizer.type=SGD',
             'optim_wrapper.optimizer.lr=0.1', 'optim_wrapper.optimizer.weight_decay=0'],
            'another optimizer',
        ),
        (['param_scheduler=[]'], 'other schedules'),
    ],
)  # fmt: skip
def test_resuming_what_another_config_trained(
    rejected: Callable[..., str], config: str, checkpoint: Path, options: list[str], says: str
) -> None:
    message = rejected('train.py', config, '--resume', checkpoint, '--cfg-options', *options)
    assert says in message
    assert f'load_from={checkpoint}' in message


def test_resuming_bare_weights(
    rejected: Callable[..., str], config: str, checkpoint: Path, tmp_path: Path
) -> None:
    content = CheckpointLoader.load_checkpoint(str(checkpoint), 'cpu')
    file = tmp_path / 'bare.pth'
    torch.save(dict(state_dict=content['state_dict']), file)
    message = rejected('train.py', config, '--resume', file)
    assert 'holds no state of a training (it lacks optimizer, meta, message_hub)' in message
    del content['meta']['epoch'], content['message_hub']['resumed_keys']
    torch.save(content, file)
    message = rejected('train.py', config, '--resume', file)
    assert '(it lacks meta.epoch, message_hub.resumed_keys)' in message


def test_resuming_runs_nothing_that_a_checkpoint_brings(
    call: Call, config: str, checkpoint: Path, tmp_path: Path
) -> None:
    content = CheckpointLoader.load_checkpoint(str(checkpoint), 'cpu')
    content['meta']['config'] = f"open({str(tmp_path / 'was_here')!r}, 'w')"
    torch.save(content, tmp_path / 'evil.pth')
    words = ('train.py', config, '--resume', tmp_path / 'evil.pth', '--work-dir', tmp_path / 'w')
    code, output, _ = call(*words)
    assert code == 0, output[-2000:]
    assert not (tmp_path / 'was_here').exists()


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_weights_that_are_no_numbers(
    call: Call, config: str, checkpoint: Path, tmp_path: Path, tool: str
) -> None:
    content = CheckpointLoader.load_checkpoint(str(checkpoint), 'cpu')
    next(iter(content['state_dict'].values())).fill_(torch.nan)
    torch.save(content, tmp_path / 'nan.pth')
    words = ['--resume'] if tool == 'train.py' else []
    code, output, paragraph = call(
        tool, config, *words, tmp_path / 'nan.pth', '--work-dir', tmp_path / 'w'
    )
    assert code == 2, output[-2000:]
    assert 'NaN or infinity in 1 of its weights' in paragraph


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
@pytest.mark.parametrize('place', ['file/below', '/proc/below', '/proc'])
def test_work_dir_that_cannot_be(
    call: Call, config: str, checkpoint: Path, tmp_path: Path, tool: str, place: str
) -> None:
    (tmp_path / 'file').touch()
    words = [config] if tool == 'train.py' else [config, checkpoint]
    code, output, paragraph = call(tool, *words, '--work-dir', tmp_path / place)
    assert code == 2, output[-2000:]
    assert f"Nothing can be written to the folder '{tmp_path / place}'" in paragraph
    assert 'Choose another one by --work-dir' in paragraph


def test_memory_that_runs_out_on_a_cpu(
    rejected: Callable[..., str], config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*args: object) -> torch.Tensor:
        return torch.empty(2**46)

    monkeypatch.setattr('rs4d.models.backbones.rsmamba.RSMamba.forward', hungry)
    message = rejected('train.py', config)
    assert 'memory of this machine ran out' in message
    assert 'train_dataloader.batch_size' in message


def test_side_that_is_no_multiple_of_16_in_val_only(
    rejected: Callable[..., str], config: str
) -> None:
    pipeline = 'val_dataloader.dataset.pipeline'
    message = rejected(
        'train.py',
        config,
        '--cfg-options',
        f'{pipeline}.1.scale="(72,72)"',
        f'{pipeline}.2.size="(72,72)"',
        'model.data_preprocessor.pad_size_divisor=1',
    )
    assert '72x72' in message
    assert 'multiples of 16' in message
    assert 'val_dataloader' in message


def test_arch_that_does_not_exist(rejected: Callable[..., str], config: str) -> None:
    message = rejected('train.py', config, '--cfg-options', 'model.backbone.arch=giant')
    assert "'giant'" in message


def test_type_that_does_not_exist(rejected: Callable[..., str], config: str) -> None:
    message = rejected('train.py', config, '--cfg-options', 'model.backbone.type=RSMambo')
    assert 'RSMambo' in message


def test_amp_without_a_gpu(
    rejected: Callable[..., str], config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(precision, 'multiplies_in_bf16', lambda: False)
    assert '--amp' in rejected('train.py', config, '--amp')


def test_launcher_without_a_gpu(
    rejected: Callable[..., str], config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert '--launcher pytorch' in rejected('train.py', config, '--launcher', 'pytorch')


@pytest.mark.parametrize(
    ('name', 'flag'), [('test.py', None), ('train.py', '--resume'), ('train.py', 'load_from')]
)
def test_missing_checkpoint(
    rejected: Callable[..., str], config: str, tmp_path: Path, name: str, flag: str | None
) -> None:
    absent = tmp_path / 'absent.pth'
    arguments: list = {
        None: [absent],
        '--resume': ['--resume', absent],
        'load_from': ['--cfg-options', f'load_from={absent}'],
    }[flag]
    assert str(absent) in rejected(name, config, *arguments)


def test_missing_pretrained_encoder(
    rejected: Callable[..., str], config: str, tmp_path: Path
) -> None:
    message = rejected('train.py', config, *pretrained(tmp_path / 'absent.pth'))
    assert str(tmp_path / 'absent.pth') in message
    assert 'model.backbone.init_cfg' in message


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', None])
def test_broken_checkpoint(
    rejected: Callable[..., str],
    config: str,
    checkpoint: Path,
    tmp_path: Path,
    content: bytes | None,
) -> None:
    file = tmp_path / 'broken.pth'
    file.write_bytes(checkpoint.read_bytes()[:5000] if content is None else content)
    assert str(file) in rejected('test.py', config, file)


def test_checkpoint_that_runs_code_is_not_opened(
    rejected: Callable[..., str], config: str, tmp_path: Path
) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / 'was_here',)

    torch.save(dict(state_dict=Malicious()), tmp_path / 'evil.pth')
    assert 'evil.pth' in rejected('test.py', config, tmp_path / 'evil.pth')
    assert not (tmp_path / 'was_here').exists()


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_checkpoint_of_another_width(
    rejected: Callable[..., str], config: str, checkpoint: Path, name: str
) -> None:
    arguments = ['--resume', checkpoint] if name == 'train.py' else [checkpoint]
    message = rejected(
        name, config, *arguments, '--cfg-options', 'model.backbone.arch.inner_dims=40'
    )
    assert str(checkpoint) in message
    assert 'backbone.layers.0.A_log' in message
    assert '(40, 4)' in message
    assert '(24, 4)' in message


def test_checkpoint_of_another_depth(
    rejected: Callable[..., str], config: str, checkpoint: Path
) -> None:
    option = 'model.backbone.arch.num_layers=3'
    message = rejected('test.py', config, checkpoint, '--cfg-options', option)
    assert 'backbone.layers.2' in message


def test_pretrained_encoder_under_a_wrong_prefix(
    rejected: Callable[..., str], config: str, checkpoint: Path
) -> None:
    message = rejected('train.py', config, *pretrained(checkpoint, 'prefix=student.'))
    assert "prefix='student.'" in message
    assert 'backbone' in message


def test_pretrained_encoder_of_another_size(
    rejected: Callable[..., str], config: str, checkpoint: Path
) -> None:
    message = rejected(
        'train.py',
        config,
        *pretrained(checkpoint, 'prefix=backbone.'),
        'model.backbone.arch.inner_dims=40',
    )
    assert str(checkpoint) in message
    assert 'layers.0.A_log' in message


def test_pretrained_encoder_that_fits(
    call: Call, config: str, checkpoint: Path, tmp_path: Path
) -> None:
    code, output, _ = call(
        'train.py',
        config,
        '--work-dir',
        tmp_path,
        *pretrained(checkpoint, 'prefix=backbone.'),
        'optim_wrapper.optimizer.lr=0',
    )
    assert code == 0, output[-2000:]
    before, after = (
        CheckpointLoader.load_checkpoint(str(file), 'cpu')['state_dict']
        for file in (checkpoint, tmp_path / 'epoch_1.pth')
    )
    for name, value in before.items():
        assert not name.startswith('backbone.') or torch.equal(after[name], value), name


def test_earlier_training_is_not_overwritten(call: Call, config: str, tmp_path: Path) -> None:
    earlier = tmp_path / 'epoch_1.pth'
    earlier.write_bytes(b'precious')
    code, output, paragraph = call('train.py', config, '--work-dir', tmp_path)
    assert code == 2, output[-2000:]
    assert earlier.read_bytes() == b'precious'
    for word in (str(tmp_path), 'epoch_1.pth', '--resume', '--overwrite'):
        assert word in paragraph


def test_full_disk_keeps_the_earlier_checkpoint(
    call: Call, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmengine.fileio import LocalBackend

    earlier = tmp_path / 'epoch_1.pth'
    earlier.write_bytes(b'precious')

    def put(self: LocalBackend, obj: bytes, filepath: str) -> None:
        Path(filepath).write_bytes(obj[:100])
        raise OSError(28, 'No space left on device', str(filepath))

    monkeypatch.setattr(LocalBackend, 'put', put)
    code, output, paragraph = call('train.py', config, '--work-dir', tmp_path, '--overwrite')
    assert code == 2, output[-2000:]
    assert 'No space left on device' in paragraph
    assert str(earlier) in paragraph
    assert earlier.read_bytes() == b'precious'
    assert not list(tmp_path.glob('*.part'))


def test_a_bug_keeps_its_traceback(
    call: Call, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*args: object) -> None:
        a, b = (1, 2, 3)  # noqa: F841 - the bug

    monkeypatch.setattr('rs4d.models.backbones.rsmamba.RSMamba.forward', bug)
    with pytest.raises(ValueError, match='unpack'):
        call('train.py', config, '--work-dir', tmp_path)


def test_all_that_is_wrong_is_said_at_once(
    rejected: Callable[..., str],
    config: str,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = copied(scenes, tmp_path)
    monkeypatch.setenv('RS4D_TINY_ROOT', str(root))
    (root / 'annotations' / 'scenes_val.json').unlink()
    file = root / 'annotations' / 'scenes_train.json'
    content = json.loads(file.read_text())
    content['annotations'][0]['iscrowd'] = '0'
    content['categories'][0]['name'] = 'boat'
    file.write_text(json.dumps(content))
    options = [f'model.roi_head.{name}.num_classes=7' for name in ('bbox_head', 'mask_head')]
    options.append('model.neck.1.in_channels=8')
    absent = tmp_path / 'absent.pth'
    message = rejected('train.py', config, '--cfg-options', *options, f'load_from={absent}')
    for part in (
        *options[:2],
        'model.neck[1] (SimpleFPN): in_channels',
        str(absent),
        'malformed flags: 1',
        "do not match the config's classes",
        'scenes_val.json',
    ):
        assert part in message
    assert 'Traceback' not in message
