"""Published files: all that predicting takes travels along, and nothing of this machine."""

import json
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import create_autospec

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from inference.conftest import CLASSES, checkpoint  # noqa: F401 - a fixture
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from safetensors.torch import save_file

from rs4d.apis import Predictor, load_config, load_encoder
from rs4d.checkpoints.published import read_published
from rs4d.cli import main
from rs4d.errors import UserError

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def header_of(path):
    """By the format's definition rather than by the library: a length, then JSON."""
    content = path.read_bytes()
    (length,) = struct.unpack('<Q', content[:8])
    return json.loads(content[8 : 8 + length])['__metadata__']


def assert_same(found, expected):
    assert len(found) == len(expected) > 5
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.array_equal(found.masks, expected.masks)
    assert found.class_names == expected.class_names


def test_a_detector_in_one_file(checkpoint, tmp_path, capsys):  # noqa: F811
    target = tmp_path / 'houses.safetensors'
    assert main('push', checkpoint, target) == 0
    assert 'Detector of 2 classes' in capsys.readouterr().out
    said = header_of(target)
    assert said['format'] == 'pt'
    ours = json.loads(said['rs4d'])
    assert ours['classes'] == list(CLASSES)
    for word in ('ann_file', 'data_root', 'work_dir', 'optim_wrapper', str(checkpoint.parent)):
        assert word not in ours['config']
    alone = Predictor(None, target, 'cpu', score_thr=0.0)
    whole = Predictor(None, checkpoint, 'cpu', score_thr=0.0)
    assert alone.side == whole.side
    assert_same(alone.predict(IMAGE), whole.predict(IMAGE))
    # Once more from the result, and not over it without leave.
    assert main('push', target, tmp_path / 'again.safetensors') == 0
    assert main('push', checkpoint, target) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert main('push', checkpoint, target, '--overwrite') == 0


def test_by_a_folder(checkpoint, tmp_path, capsys, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert main('push', checkpoint, 'shared/houses') == 0
    card = Path('shared/houses/README.md')
    assert 'house, pool' in card.read_text()
    card.write_text('mine')
    assert main('push', checkpoint, 'shared/houses', '--overwrite') == 0
    assert card.read_text() == 'mine'
    assert main('pull', 'shared/houses') == 0
    assert 'detector, house, pool' in capsys.readouterr().out
    pulled = Path('houses.safetensors')
    assert pulled.read_bytes() == Path('shared/houses/model.safetensors').read_bytes()
    assert main('pull', 'shared/houses') == 2
    assert main('pull', 'shared/houses', '--out', 'x.pth') == 2
    assert main('pull', 'shared/none') == 2
    assert 'Traceback' not in capsys.readouterr().err


def test_names_with_dots(checkpoint, tmp_path, capsys, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert main('push', checkpoint, 'roofs.v2') == 0
    assert main('pull', 'roofs.v2') == 0
    assert Path('roofs.v2.safetensors').is_file()
    assert main('pull', 'roofs.v2/model.safetensors') == 0
    assert Path('model.safetensors').is_file()
    assert main('push', checkpoint, 'roofs.pth') == 2
    assert 'ends in .safetensors' in capsys.readouterr().err
    assert not Path('roofs.pth').exists()


def test_a_config_that_goes_on_from_ours(tmp_path):
    """MMEngine marks its parts with our scope; in a new process nothing else has asked for it."""
    config = tmp_path / 'mine.py'
    config.write_text(
        "_base_ = 'rs4d::rs4d/rs4d-tiny_light_rgbn.py'\nmetainfo = dict(classes=('house',))\n"
        'model = dict(backbone=dict(arch=dict(num_layers=2), out_indices=1))\n'
    )
    cfg = load_config(config, {})
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=('house',)))
    assert "_scope_='rs4d'" in meta['cfg']
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'x.pth')
    assert main('push', tmp_path / 'x.pth', tmp_path / 'x.safetensors') == 0
    ask = (
        'import sys; from rs4d.apis import Predictor; p = Predictor(None, sys.argv[1], "cpu"); '
        'assert p.classes == ("house",) and p.loader.bands == (1, 2, 3, 4)'
    )
    subprocess.run([sys.executable, '-c', ask, tmp_path / 'x.safetensors'], check=True)


def test_a_config_of_another_model(checkpoint, tmp_path, capsys):  # noqa: F811
    for option in ('num_classes=7', 'model.backbone.arch.num_layers=3'):
        key, value = option.split('=')
        text = torch.load(checkpoint, weights_only=True)['meta']['cfg']
        config = tmp_path / 'other.py'
        config.write_text(text.replace(f'{key.split(".")[-1]}=2', f'{key.split(".")[-1]}={value}'))
        assert config.read_text() != text
        target = tmp_path / 'x.safetensors'
        assert main('push', checkpoint, target, '--config', config) == 2
        assert 'Use the config that the checkpoint was trained with' in capsys.readouterr().err
        assert not target.exists()


def test_more_classes_than_the_model_has(checkpoint, tmp_path, capsys):  # noqa: F811
    content = torch.load(checkpoint, weights_only=True)
    content['meta']['dataset_meta']['classes'] = ('house', 'pool', 'ship')
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(UserError, match='names 3 classes'):
        Predictor(None, tmp_path / 'x.pth', 'cpu')
    assert main('push', tmp_path / 'x.pth', tmp_path / 'x.safetensors') == 2
    assert 'nobody knows which label' in capsys.readouterr().err


def test_an_encoder(checkpoint, tmp_path, capsys):  # noqa: F811
    target = tmp_path / 'encoder.safetensors'
    assert main('push', checkpoint, target, '--part', 'encoder') == 0
    backbone = Predictor(None, checkpoint, 'cpu').model.backbone
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for found, expected in zip(load_encoder(target)(images), backbone(images), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)
    with pytest.raises(UserError, match='finds no objects'):
        Predictor(None, target)
    assert main('push', checkpoint, tmp_path / 'd.safetensors') == 0
    with pytest.raises(UserError, match='holds a detector'):
        load_encoder(tmp_path / 'd.safetensors')


def test_the_encoder_of_a_distillation(tmp_path, capsys):
    small = {'model.student.arch.num_layers': 2}
    cfg = load_config('rs4d::distill/rs4d-tiny_efficientnet-lite0_images.py', small)
    with DefaultScope.overwrite_default_scope('mmdet'):
        student = MODELS.build(cfg.model.student)
    weights = {f'student.{name}': value for name, value in student.state_dict().items()}
    weights['teacher.x'] = torch.zeros(1)
    path = tmp_path / 'latest.pth'
    torch.save(dict(state_dict=weights, meta=dict(cfg=cfg.pretty_text)), path)
    assert main('push', path, tmp_path / 'e') == 0
    assert 'load_encoder' in (tmp_path / 'e' / 'README.md').read_text()
    images = torch.rand(1, 3, 256, 256)
    loaded = load_encoder(tmp_path / 'e' / 'model.safetensors')
    with torch.no_grad():
        assert torch.allclose(loaded(images)[-1], student.eval()(images)[-1], atol=1e-5)
    assert main('push', path, tmp_path / 'x', '--part', 'detector') == 2
    assert '--part encoder' in capsys.readouterr().err


def test_a_checkpoint_without_a_config(checkpoint, tmp_path, capsys):  # noqa: F811
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content['state_dict'], tmp_path / 'bare.pth')
    assert main('push', tmp_path / 'bare.pth', tmp_path / 'x') == 2
    assert '--config' in capsys.readouterr().err
    (tmp_path / 'c.py').write_text(content['meta']['cfg'])
    config = ('--config', tmp_path / 'c.py')
    assert main('push', tmp_path / 'bare.pth', tmp_path / 'x', *config) == 0
    whole = Predictor(None, checkpoint, 'cpu', score_thr=0.0).predict(IMAGE)
    found = Predictor(None, tmp_path / 'x/model.safetensors', 'cpu', score_thr=0.0).predict(IMAGE)
    assert np.array_equal(found.boxes, whole.boxes)


def test_a_header_is_not_run(tmp_path, capsys):
    made = tmp_path / 'made'
    for text in (f"model = open({str(made)!r}, 'w')", f'import os\nos.mkdir({str(made)!r})'):
        header = dict(part='detector', config=text, classes=[])
        path = tmp_path / 'evil.safetensors'
        save_file({'x': torch.zeros(1)}, path, {'rs4d': json.dumps(header)})
        with pytest.raises(UserError, match='nothing of it was run'):
            Predictor(None, path)
    save_file({'x': torch.zeros(1)}, path, {'rs4d': '{'})
    with pytest.raises(UserError, match='cannot be read as safetensors'):
        Predictor(None, path)
    save_file({'x': torch.zeros(1)}, path)
    assert main('pull', path, '--out', tmp_path / 'y.safetensors') == 2
    assert 'not written by' in capsys.readouterr().err
    assert not made.exists()


def test_a_header_calls_nothing_but_parts_of_models(tmp_path):
    """MMEngine imports and calls what it does not find in a registry; mmcv evaluates names of nms."""
    made = tmp_path / 'made'
    call = f"type='os.mkdir', name={str(made)!r}"
    python = f"type='subprocess.call', args=['touch', {str(made)!r}]"
    evaluated = f'type={f"open({str(made)!r}, chr(119))"!r}'
    models = [
        f'dict({python})',
        f'dict({call})',
        f"dict(type='MaskRCNN', test_cfg=dict(rcnn=dict(nms=dict({evaluated}))))",
        "dict(type='MaskRCNN', _scope_='antigravity')",
        "dict(type='MaskRCNN', neck=[dict(type='antigravity')])",
        "dict(type='MaskRCNN', cmc=dict(type='CameraMotionCompensation', warp_mode='print()'))",
    ]
    pairs = [(model, "type='Resize'") for model in models] + [("dict(type='MaskRCNN')", python)]
    path = tmp_path / 'evil.safetensors'
    for model, step in pairs:
        data = f'test_dataloader = dict(dataset=dict(pipeline=[dict({step})]))'
        header = dict(part='detector', config=f'model = {model}\n{data}', classes=['a'])
        save_file({'x': torch.zeros(1)}, path, {'rs4d': json.dumps(header)})
        with pytest.raises(UserError, match='nothing that is registered'):
            Predictor(None, path)
    header = dict(part='encoder', config=f'encoder = dict({python})', classes=[])
    save_file({'x': torch.zeros(1)}, path, {'rs4d': json.dumps(header)})
    with pytest.raises(UserError, match='nothing that is registered'):
        load_encoder(path)
    assert not made.exists()


@pytest.mark.parametrize('wrong', [dict(config=5), dict(classes='ship'), dict(part=['detector'])])
def test_a_header_of_other_kinds(tmp_path, wrong):
    header = dict(part='detector', config='', classes=[]) | wrong
    save_file({'x': torch.zeros(1)}, tmp_path / 'x.safetensors', {'rs4d': json.dumps(header)})
    with pytest.raises(UserError, match='does not write'):
        read_published(tmp_path / 'x.safetensors')


class _Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a download asks for."""

    content = b''

    def do_HEAD(self) -> None:
        self._answer(b'')

    def do_GET(self) -> None:
        self._answer(self.content)

    def _answer(self, body: bytes) -> None:
        known = self.path == '/me/houses/resolve/v1/model.safetensors'
        self.send_response(200 if known else 404)
        for name, value in {
            'ETag': '"abc"',
            'X-Repo-Commit': '1' * 40,
            'Content-Length': len(self.content),
        }.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body if known else b'')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(checkpoint, tmp_path, monkeypatch):  # noqa: F811
    assert main('push', checkpoint, tmp_path / 'm') == 0
    content = (tmp_path / 'm' / 'model.safetensors').read_bytes()
    server = HTTPServer(('127.0.0.1', 0), type('Hub', (_Hub,), dict(content=content)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}'
    monkeypatch.setattr(constants, 'ENDPOINT', url)
    template = f'{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.chdir(tmp_path)
    yield content
    server.shutdown()
    server.server_close()


def test_from_the_hub(hub, capsys):
    assert main('pull', 'hf://me/houses@v1') == 0
    assert 'rs4d predict houses.safetensors' in capsys.readouterr().out
    assert Path('houses.safetensors').read_bytes() == hub
    assert main('pull', 'hf://me/flats@v1') == 2
    assert "'hf://me/flats@v1', says" in capsys.readouterr().err
    assert main('pull', 'hf://flats') == 2
    assert 'no address on the Hub' in capsys.readouterr().err


def test_to_the_hub(checkpoint, monkeypatch, capsys):  # noqa: F811
    # With the client's own signatures.
    api = create_autospec(huggingface_hub.HfApi, instance=True)
    api.file_exists.return_value = False
    api.upload_folder.return_value.commit_url = 'https://hub/me/houses/commit/1'
    sent = []
    api.upload_folder.side_effect = lambda **said: (
        sent.append(sorted(file.name for file in Path(said['folder_path']).iterdir()))
        or api.upload_folder.return_value
    )
    monkeypatch.setattr(huggingface_hub, 'HfApi', lambda: api)
    assert main('push', checkpoint, 'hf://me/houses', '--private') == 0
    assert 'https://hub/me/houses/commit/1' in capsys.readouterr().out
    assert sent == [['README.md', 'model.safetensors']]
    api.create_repo.assert_called_once_with('me/houses', private=True, exist_ok=True)
    api.file_exists.return_value = True
    assert main('push', checkpoint, 'hf://me/houses') == 0
    assert api.upload_folder.call_args.kwargs['allow_patterns'] == ['model.safetensors']
