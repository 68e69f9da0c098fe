"""Checkpoints are read as data, and every load says what it loaded."""

import http.server
import logging
import pickle
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner.checkpoint import load_state_dict
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from rs4d.checkpoints import (
    CheckpointMismatchError,
    CheckpointNotFoundError,
    UnsafeCheckpointError,
    logged_load,
)
from rs4d.checkpoints.checks import check_checkpoint, check_pretrained
from rs4d.checkpoints.conversion import convert_encoder
from rs4d.checkpoints.plain_data import read_pickle
from rs4d.checkpoints.reading import WRAPPERS, read_checkpoint, state_dict_of
from rs4d.config import is_class_head
from rs4d.errors import ConfigError
from rs4d.models.backbones import RSMamba, TimmEncoder

ARCH = dict(embed_dims=8, num_layers=2, inner_dims=12, d_state=4, d_conv=3, dt_rank=2)


def encoder(**changes: Any) -> RSMamba:
    return RSMamba(**(dict(arch=ARCH, img_size=64) | changes))


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    """What is written into MMEngine's log."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A distillation's checkpoint."""
    model = encoder()
    weights = {f'student.{name}': value for name, value in model.state_dict().items()}
    weights['adapter.weight'] = torch.zeros(2)
    torch.save(dict(meta=dict(epoch=1), state_dict=weights), tmp_path / 'student.pth')
    return tmp_path / 'student.pth'


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


class Builtin(Malicious):
    def __reduce__(self) -> tuple:
        return eval, (f"open({str(self.trace)!r}, 'w')",)


class ThroughGetattr(Malicious):
    """Takes a function out of something that is allowed."""

    def __reduce__(self) -> tuple:
        return getattr, (HistoryBuffer, '__init__')


@pytest.fixture(params=[Malicious, Builtin, ThroughGetattr])
def attack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    torch.save(dict(state_dict=request.param(tmp_path / 'was_here')), tmp_path / 'evil.pth')
    yield tmp_path / 'evil.pth'
    assert not (tmp_path / 'was_here').exists()


def test_attack_would_work_without_care(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Malicious(tmp_path / 'was_here')))
    assert (tmp_path / 'was_here').exists()


def test_attack_on_each_way_in(attack: Path) -> None:
    with pytest.raises(UnsafeCheckpointError, match=r'evil\.pth.*refused.*asks for \S+,'):
        read_checkpoint(attack)
    with pytest.raises(UnsafeCheckpointError):
        CheckpointLoader.load_checkpoint(str(attack))
    with pytest.raises(UnsafeCheckpointError):
        load_checkpoint(encoder(), str(attack))
    with pytest.raises(UnsafeCheckpointError):
        check_checkpoint(encoder(), str(attack), 'load_from', complete=True)
    for prefix in (None, 'student.'):
        init = dict(type='Pretrained', checkpoint=str(attack), prefix=prefix)
        with pytest.raises(UnsafeCheckpointError):
            encoder(init_cfg=init).init_weights()
    with pytest.raises(UnsafeCheckpointError):
        TimmEncoder('resnet18', checkpoint=str(attack)).init_weights()


@pytest.mark.parametrize('prefix', ['torchvision://', 'open-mmlab://', 'mmcls://'])
def test_a_model_that_is_not_in_the_zoo(prefix: str) -> None:
    with pytest.raises(CheckpointNotFoundError, match=f"'{prefix}vgg999' cannot be had.*no such"):
        CheckpointLoader.load_checkpoint(f'{prefix}vgg999')


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address at which the test's folder is served, and a download folder of its own."""
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'downloads'))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_address[1]}'
        server.shutdown()


def test_download(served: str, student: Path) -> None:
    content = CheckpointLoader.load_checkpoint(f'{served}/student.pth')
    expected = torch.load(student, weights_only=True)['state_dict']
    assert content['state_dict'].keys() == expected.keys()
    with pytest.raises(CheckpointNotFoundError, match=r'gone\.pth.*404'):
        CheckpointLoader.load_checkpoint(f'{served}/gone.pth')


def test_download_of_an_attack(served: str, attack: Path) -> None:
    with pytest.raises(UnsafeCheckpointError):
        CheckpointLoader.load_checkpoint(f'{served}/evil.pth')


def test_logs_of_mmengine_are_data(tmp_path: Path) -> None:
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    torch.save(dict(message_hub=dict(log_scalars={'loss': buffer})), tmp_path / 'x.pth')
    found = read_checkpoint(tmp_path / 'x.pth')['message_hub']['log_scalars']['loss']
    assert found.mean() == 2.0
    assert found.statistics('max') == 3.0


def respelt(path: Path, old: str, new: str) -> None:
    """Change how a checkpoint names a module."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, value in content.items():
            if name.endswith('data.pkl'):
                assert old.encode() in value
                value = value.replace(old.encode(), new.encode())
            archive.writestr(name, value)


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_numpy_of_either_version_is_data(tmp_path: Path, module: str) -> None:
    kinds = ('bool', 'u1', 'i8', 'f2', 'f4', 'c8', '<U3')
    arrays = [np.array([0, 1, 1]).astype(kind) for kind in kinds]
    numbers = [np.float64(0.5), np.int32(3), np.bool_(True), np.float32(2)]
    torch.save(dict(arrays=arrays, numbers=numbers), tmp_path / 'x.pth')
    own = np.float64(0).__reduce__()[0].__module__
    respelt(tmp_path / 'x.pth', own, module)
    found = read_checkpoint(tmp_path / 'x.pth')
    for value, expected in zip(found['arrays'], arrays, strict=True):
        assert value.dtype == expected.dtype
        assert np.array_equal(value, expected)
    assert found['numbers'] == numbers
    assert [type(value) for value in found['numbers']] == [type(value) for value in numbers]


@pytest.mark.parametrize('module', ['builtins', '__builtin__'])
@pytest.mark.parametrize('numpy', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_empty_arrays_are_data(tmp_path: Path, module: str, numpy: str) -> None:
    torch.save(dict(boxes=np.zeros((0, 4))), tmp_path / 'x.pth')
    respelt(tmp_path / 'x.pth', np.float64(0).__reduce__()[0].__module__, numpy)
    respelt(tmp_path / 'x.pth', '__builtin__', module)
    assert read_checkpoint(tmp_path / 'x.pth')['boxes'].shape == (0, 4)


@pytest.mark.parametrize('dtype', ['object', 'i4,f4'])
def test_arrays_of_objects_are_named(tmp_path: Path, dtype: str) -> None:
    torch.save(dict(boxes=np.zeros(2, dtype)), tmp_path / 'x.pth')
    with pytest.raises(CheckpointMismatchError, match=r'x\.pth.*objects or records'):
        read_checkpoint(tmp_path / 'x.pth')


def test_weights_that_are_no_numbers_are_refused_on_each_way_in(student: Path) -> None:
    model = encoder()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    name = next(name for name, value in weights.items() if value.is_floating_point())
    weights[name].view(-1)[0] = torch.nan
    torch.save(dict(state_dict=weights, meta={}), student)
    said = rf'student\.pth.*NaN.* 1 of its weights \({name}\)'
    with pytest.raises(CheckpointMismatchError, match=said), logged_load(model, str(student)):
        load_checkpoint(model, str(student))
    with pytest.raises(CheckpointMismatchError, match=said):
        check_checkpoint(model, str(student), 'load_from', complete=True)
    with pytest.raises(CheckpointMismatchError, match=said):
        encoder(init_cfg=dict(type='Pretrained', checkpoint=str(student))).init_weights()


def test_a_program_is_refused_without_advice_to_run_it(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), str(tmp_path / 'x.pth'))
    with pytest.raises(UnsafeCheckpointError, match='TorchScript') as info:
        read_checkpoint(tmp_path / 'x.pth')
    assert 'weights_only' not in str(info.value)


@pytest.mark.parametrize(
    ('start', 'key'),
    [
        ('', None),
        ('module.', 'state_dict'),
        ('model.', 'state_dict'),
        ('sam.', 'model'),
        ('model.sam.', 'model_state_dict'),
        ('_orig_mod.module.', None),
        ('model._orig_mod.', 'state_dict'),
    ],
)
def test_wrapped_layouts(start: str, key: str | None) -> None:
    weights = {f'{start}neck.{i}': torch.ones(1) for i in range(2)}
    # Lightning's files may have more than the model.
    content = {'loss.weight': torch.ones(1), **weights}
    found = state_dict_of(content if key is None else {key: content, 'epoch': 3}, 'x', WRAPPERS)
    assert set(found) == {'neck.0', 'neck.1', 'loss.weight'}


def test_a_name_that_only_looks_like_a_wrapper_stays() -> None:
    weights = {'weight': torch.zeros(1), 'model.weight': torch.ones(1)}
    assert state_dict_of(weights, 'x', WRAPPERS) == weights
    assert 'model.a' in state_dict_of({'module.model.a': torch.ones(1)}, 'x')


@pytest.mark.parametrize('content', [torch.ones(1), {}, dict(state_dict={}), [1]])
def test_a_file_without_weights(content: object) -> None:
    with pytest.raises(CheckpointMismatchError, match=r"'x\.pth' holds no state dict"):
        state_dict_of(content, 'x.pth')


def test_a_pickle_of_plain_data(tmp_path: Path) -> None:
    boxes = torch.arange(8.0).reshape(2, 4)
    plain = [dict(img_id=1, boxes=boxes[:, :2], rle=dict(size=[2, 2], counts=b'04'), a=np.ones(2))]
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        (tmp_path / 'x.pkl').write_bytes(pickle.dumps(plain, protocol=protocol))
        (found,) = read_pickle(tmp_path / 'x.pkl')
        assert torch.equal(found['boxes'], boxes[:, :2])
        assert found['rle'] == plain[0]['rle']
        assert np.array_equal(found['a'], np.ones(2))
    (tmp_path / 'x.pkl').write_bytes(b'')
    with pytest.raises(CheckpointMismatchError, match='cut off'):
        read_pickle(tmp_path / 'x.pkl')


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')  # not what PyTorch writes
@pytest.mark.parametrize('kind', [Malicious, Builtin])
def test_a_pickle_that_runs_code(tmp_path: Path, kind: type[Malicious]) -> None:
    bomb = pickle.dumps(kind(tmp_path / 'was_here'))
    nested = b'ctorch.storage\n_load_from_bytes\n' + b'B' + len(bomb).to_bytes(4, 'little') + bomb
    for content in (bomb, b'\x80\x03' + nested + b'\x85R.'):
        (tmp_path / 'x.pkl').write_bytes(content)
        with pytest.raises(CheckpointMismatchError) as info:
            read_pickle(tmp_path / 'x.pkl')
        assert 'weights_only' not in str(info.value)
    assert not (tmp_path / 'was_here').exists()


@pytest.mark.parametrize('content', [b'', b'no checkpoint', None])
def test_broken_file_is_not_called_unsafe(student: Path, content: bytes | None) -> None:
    whole = student.read_bytes()
    student.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(CheckpointMismatchError, match=r'student\.pth.*cut off') as info:
        read_checkpoint(student)
    assert not isinstance(info.value, UnsafeCheckpointError)
    assert '\n' not in str(info.value)


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
def test_report_counts_what_fits(load: Any, log: list[logging.LogRecord]) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith('1.num')}
    del weights['0.bias']
    weights['other'] = torch.zeros(1)
    with logged_load(model, 'x.pth') as report:
        load(model, weights, strict=False)
    assert report.missing == ['0.bias']
    assert report.unexpected == ['other']
    assert sorted(report.loaded) == sorted({*weights} - {'other'})
    text = log[-1].getMessage()
    assert 'Loaded 7 of the 8 weights of Sequential' in text
    assert '1 missing (0.bias); 1 unexpected (other)' in text
    assert log[-1].levelno == logging.WARNING
    with logged_load(model, 'x.pth'):
        load(model, model.state_dict(), strict=False)
    assert log[-1].levelno == logging.INFO
    assert not model._load_state_dict_pre_hooks


def test_report_of_other_shapes(log: list[logging.LogRecord]) -> None:
    model = nn.Linear(2, 3)
    with logged_load(model, 'x.pth'):
        load_state_dict(model, dict(weight=torch.zeros(3, 3), bias=torch.zeros(3)))
    assert '1 of another shape (weight)' in log[-1].getMessage()


def test_init_cfg_logs_and_refuses_what_loads_nothing(
    student: Path, log: list[logging.LogRecord]
) -> None:
    init = dict(type='Pretrained', checkpoint=str(student), prefix='student.')
    model = encoder(init_cfg=init)
    model.init_weights()
    expected = torch.load(student, weights_only=True)['state_dict']
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[f'student.{name}'])
    count = len(expected) - 1
    said = [record.getMessage() for record in log]
    assert any(f'Loaded {count} of the {count} weights of RSMamba' in text for text in said)
    for prefix, says in ((None, 'loads no weight of RSMamba'), ('teacher', 'student')):
        model = encoder(init_cfg=init | dict(prefix=prefix))
        with pytest.raises(CheckpointMismatchError, match=says):
            model.init_weights()


def test_timm_encoder_logs(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    model = TimmEncoder('resnet18', out_indices=(1,))
    torch.save({**model.model.state_dict(), 'fc.bias': torch.zeros(3)}, tmp_path / 'resnet.pth')
    TimmEncoder(
        'resnet18', out_indices=(1,), checkpoint=str(tmp_path / 'resnet.pth')
    ).init_weights()
    text = log[-1].getMessage()
    assert 'weights of ResNet' in text
    assert '0 missing; 1 unexpected (fc.bias)' in text


@pytest.mark.parametrize('prefix', [None, 'student.'])
def test_safetensors_encoder_is_loaded(student: Path, tmp_path: Path, prefix: str | None) -> None:
    target = tmp_path / 'encoder.safetensors'
    convert_encoder(student, target)
    model = encoder(init_cfg=dict(type='Pretrained', checkpoint=str(target), prefix=prefix))
    check_pretrained(model)
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    model.init_weights()
    with safe_open(target, framework='pt') as file:
        for name, value in model.state_dict().items():
            assert torch.equal(value, file.get_tensor(name)), name


def test_safetensors_encoder_fits_another_input_size(student: Path, tmp_path: Path) -> None:
    target = tmp_path / 'encoder.safetensors'
    convert_encoder(student, target)
    init = dict(type='Pretrained', checkpoint=str(target))
    model = encoder(img_size=96, init_cfg=init)
    model.init_weights()
    assert model.pos_embed.shape == (1, 36, 8)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (dict(arch=ARCH | dict(num_layers=3)), r'layers\.2\.'),
        (dict(arch=ARCH | dict(d_state=8)), r'A_log.*should be \(12, 8\) but is \(12, 4\)'),
        (dict(patch_size=8), r'patch_embed.*\(8, 3, 8, 8\) but is \(8, 3, 16, 16\)'),
    ],
)
def test_safetensors_of_another_architecture(
    student: Path, tmp_path: Path, changes: dict, says: str
) -> None:
    target = tmp_path / 'encoder.safetensors'
    convert_encoder(student, target)
    init = dict(type='Pretrained', checkpoint=str(target))
    with pytest.raises(ConfigError, match=says):
        check_pretrained(encoder(**changes, init_cfg=init))


def test_safetensors_with_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    model = encoder()
    save_file({f'student.{k}': v for k, v in model.state_dict().items()}, path)
    other = encoder(init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='student.'))
    other.init_weights()
    assert torch.equal(other.layers[1].D, model.layers[1].D)


class Head(nn.Module):
    """Layers that count classes, as different heads have them, and one that counts queries."""

    def __init__(self, num_classes: int, queries: int = 5, width: int = 4) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_base_priors = 3
        self.cls_embed = nn.Linear(width, num_classes + 1)
        self.rtm_cls = nn.ModuleList([nn.Conv2d(width, 3 * num_classes, 1)])
        self.fc_reg = nn.Linear(width, 4 * num_classes)
        self.query_feat = nn.Embedding(queries, width)


class Detector(nn.Module):
    def __init__(self, **settings: int) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.bbox_head = nn.ModuleList([Head(**settings), Head(**settings)])
        self.level_embed = nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize(('own', 'found'), [(1, 4), (4, 1), (5, 80)])
def test_other_classes_are_no_other_size(tmp_path: Path, own: int, found: int) -> None:
    torch.save(Detector(num_classes=found).state_dict(), tmp_path / 'x.pth')
    model = Detector(num_classes=own)
    path = str(tmp_path / 'x.pth')
    check_checkpoint(model, path, 'load_from', complete=False)
    with pytest.raises(ConfigError, match='of another size'):
        check_checkpoint(model, path, '--resume', complete=True)


@pytest.mark.parametrize('change', [dict(queries=7), dict(width=5)])
def test_other_sizes_are_not_taken_for_classes(tmp_path: Path, change: dict) -> None:
    torch.save(Detector(num_classes=3, **change).state_dict(), tmp_path / 'x.pth')
    with pytest.raises(ConfigError, match='of another size'):
        check_checkpoint(Detector(num_classes=2), str(tmp_path / 'x.pth'), 'x', complete=False)


@pytest.mark.parametrize('name', ['roi_head.bbox_head.1', 'model.bbox_head', 'panoptic_head'])
def test_heads_that_classify(name: str) -> None:
    assert is_class_head(name)


@pytest.mark.parametrize('name', ['', '0', 'rpn_head', 'roi_head.semantic_head', 'bbox_head.0.fc'])
def test_parts_that_do_not_classify(name: str) -> None:
    assert not is_class_head(name)


@pytest.mark.parametrize('start', ['model.', 'module.student.', '_orig_mod.'])
def test_a_wrapped_encoder_is_loaded(student: Path, tmp_path: Path, start: str) -> None:
    weights = {f'{start}{k}': v for k, v in encoder().state_dict().items()}
    torch.save(weights, tmp_path / 'wrapped.pth')
    prefix = 'student.' if 'student' in start else None
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'wrapped.pth'), prefix=prefix)
    model = encoder(init_cfg=init)
    check_pretrained(model)
    model.init_weights()
    assert torch.equal(model.state_dict()['layers.1.D'], weights[f'{start}layers.1.D'])
