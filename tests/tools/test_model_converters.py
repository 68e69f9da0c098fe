"""Encoders go from the authors' files into ours and back, and into safetensors."""

import json
import resource
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rs4d.models.backbones import RSMamba

Call = Callable[..., tuple[int, str, str]]
ARCH = dict(embed_dims=8, num_layers=2, inner_dims=12, d_state=4, d_conv=3, dt_rank=2)


def published(start: str = '') -> dict[str, Tensor]:
    """A student file as the authors write theirs, spelt out rather than taken from our class."""
    e, i, s, c, r = (ARCH[k] for k in ('embed_dims', 'inner_dims', 'd_state', 'd_conv', 'dt_rank'))
    shapes: dict[str, tuple[int, ...]] = {
        'pos_embed': (1, 16, e),
        'patch_embed.projection.weight': (e, 3, 16, 16),
        'patch_embed.projection.bias': (e,),
    }
    for norm in ('pre_norm', 'ln1'):
        shapes |= {f'{norm}.weight': (e,), f'{norm}.bias': (e,)}
    for block in range(ARCH['num_layers']):
        names = {
            'in_proj.weight': (2 * i, e),
            'conv1d.weight': (i, 1, c),
            'conv1d.bias': (i,),
            'x_proj.weight': (r + 2 * s, i),
            'dt_proj.weight': (i, r),
            'dt_proj.bias': (i,),
            'A_log': (i, s),
            'D': (i,),
            'out_proj.weight': (e, i),
        }
        shapes |= {f'layers.{block}.{name}': shape for name, shape in names.items()}
    return {start + name: torch.randn(shape) for name, shape in shapes.items()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize('start', ['', 'module.'])
@pytest.mark.parametrize('key', [None, 'state_dict', 'model'])
def test_there_and_back(call: Call, tmp_path: Path, start: str, key: str | None) -> None:
    theirs = published(start)
    torch.save(theirs if key is None else {key: theirs}, tmp_path / 'theirs.pth')
    ours, back = tmp_path / 'ours.pth', tmp_path / 'back.pth'
    code, output, _ = call('model_converters/authors2rs4d.py', tmp_path / 'theirs.pth', ours)
    assert code == 0, output
    assert '"num_layers": 2' in output
    plain = {name.removeprefix(start): value for name, value in theirs.items()}
    assert_same(load(ours), {f'student.{k}': v for k, v in plain.items()})
    flag = ['--module'] if start else []
    code, output, _ = call('model_converters/rs4d2authors.py', ours, back, *flag)
    assert code == 0, output
    assert_same(load(back), theirs)


def test_result_is_what_stage_2_reads(call: Call, tmp_path: Path) -> None:
    theirs = published('module.')
    torch.save(theirs, tmp_path / 'theirs.pth')
    call('model_converters/authors2rs4d.py', tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'), prefix='student.')
    model = RSMamba(ARCH, img_size=64, init_cfg=init)
    model.init_weights()
    assert_same(model.state_dict(), {k.removeprefix('module.'): v for k, v in theirs.items()})


@pytest.mark.parametrize('start', ['student.', 'backbone.', ''])
def test_safetensors_of_any_checkpoint(call: Call, tmp_path: Path, start: str) -> None:
    weights = {**published(start), 'head.weight': torch.zeros(2)} if start else published()
    torch.save(dict(state_dict=weights), tmp_path / 'x.pth')
    target = tmp_path / 'x.safetensors'
    code, output, _ = call('model_converters/encoder2safetensors.py', tmp_path / 'x.pth', target)
    assert code == 0, output
    # By the format's definition rather than by the library: a length, then JSON.
    content = target.read_bytes()
    (length,) = struct.unpack('<Q', content[:8])
    header = json.loads(content[8 : 8 + length])
    ours = json.loads(header.pop('__metadata__')['rs4d'])
    assert ours['type'] == 'RSMamba'
    assert ours['arch'] == ARCH
    assert (ours['patch_size'], ours['in_channels'], ours['num_positions']) == (16, 3, 16)
    assert {start + name for name in header} == {k for k in weights if k != 'head.weight'}
    back = tmp_path / 'back.pth'
    assert call('model_converters/rs4d2authors.py', target, back)[0] == 0
    weights.pop('head.weight', None)
    assert_same(load(back), {k.removeprefix(start): v for k, v in weights.items()})


@pytest.fixture
def refused(call: Call, tmp_path: Path) -> Callable[..., str]:
    def run(weights: dict | None, *arguments: str, target: str = 'y.pth') -> str:
        if weights is not None:
            torch.save(weights, tmp_path / 'x.pth')
        tool = 'model_converters/authors2rs4d.py'
        code, output, paragraph = call(tool, tmp_path / 'x.pth', tmp_path / target, *arguments)
        assert code == 2, output
        assert 'Traceback' not in output
        return paragraph

    return run


def test_what_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    assert 'no checkpoint' in refused(None)
    assert 'no RSMamba encoder' in refused(dict(weight=torch.zeros(2)))
    lacking = published()
    del lacking['layers.1.D']
    assert '1 weights are missing (layers.1.D)' in refused(lacking)
    both = published('student.') | published('average.')
    assert '--prefix' in refused(both)
    assert 'should end in .pth' in refused(published(), target='y.bin')
    assert not (tmp_path / 'y.pth').exists()
    (tmp_path / 'y.pth').write_bytes(b'mine')
    assert '--overwrite' in refused(published())
    assert (tmp_path / 'y.pth').read_bytes() == b'mine'


def test_prefix_chooses(call: Call, tmp_path: Path) -> None:
    first, second = published('student.'), published('average.')
    torch.save(first | second, tmp_path / 'x.pth')
    tool = 'model_converters/rs4d2authors.py'
    assert call(tool, tmp_path / 'x.pth', tmp_path / 'y.pth', '--prefix', 'average')[0] == 0
    assert_same(load(tmp_path / 'y.pth'), {k[len('average.') :]: v for k, v in second.items()})


def test_file_that_runs_code(refused: Callable[..., str], tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / 'was_here',)

    assert 'refused' in refused(dict(state_dict=Malicious()))
    assert not (tmp_path / 'was_here').exists()


@pytest.mark.parametrize(
    ('tool', 'name'),
    [
        ('authors2rs4d', 'y.pth'),
        ('authors2rs4d', 'y.safetensors'),
        ('rs4d2authors', 'y.pth'),
        ('encoder2safetensors', 'y.safetensors'),
    ],
)
def test_a_full_disk(call: Call, tmp_path: Path, tool: str, name: str) -> None:
    torch.save(published(), tmp_path / 'x.pth')
    target = tmp_path / name
    target.write_bytes(b'earlier')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        code, output, paragraph = call(
            f'model_converters/{tool}.py', tmp_path / 'x.pth', target, '--overwrite'
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2, output
    assert f"'{target}' could not be written: File too large" in paragraph
    assert target.read_bytes() == b'earlier'
    assert sorted(file.name for file in tmp_path.iterdir()) == ['x.pth', name]
