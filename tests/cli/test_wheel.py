"""The wheel holds all that a user needs, without the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A compiler that writes what it is asked for.
COMPILER = '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = -o ] && echo built > "$2"; shift; done\n'
WORK = """
import os
import sys
from pathlib import Path
import rs4d
from rs4d.cli import main as run

assert 'site' in rs4d.__file__
assert run('configs') == 0
assert run('study', 'rs4d::studies/corruption.yaml', '--list') == 0
assert run('flops', 'own.py', '--shape', '64') == 0
if len(sys.argv) > 1:
    files = [f'annotations/SSDD_instances_{split}.json' for split in ('train', 'val')]
    data = ['--data', f"{os.environ['RS4D_DATA_ROOT']}/SSDD", '--train', files[0], '--val', files[1]]
    config = 'rs4d::rs4d/rs4d-tiny_light_coco.py'
    assert run('train', config, *data, '--cfg-options', *sys.argv[1:]) == 0
    assert list(Path('work_dirs/rs4d-tiny_light_coco').glob('*.pth'))
"""
OWN = """
_base_ = [
    'rs4d::_base_/models/mask-rcnn_small.py',
    'rs4d::_base_/encoders/rsmamba-tiny.py',
    'rs4d::_base_/datasets/coco_256.py',
    'rs4d::_base_/datasets/ssdd.py',
    'rs4d::_base_/default_runtime.py',
]
model = dict(backbone=_base_.encoder, neck=_base_.neck)
"""
SHORT = (
    'train_dataloader.dataset.indices=2',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'train_cfg.max_epochs=1',
    'val_cfg=None',
    'val_dataloader=None',
    'val_evaluator=None',
    'default_hooks.checkpoint.save_best=None',
)


def build(folder: Path, compiler: Path) -> Path:
    """Build a wheel of a copy of the checkout."""
    source = folder / 'source'
    source.mkdir()
    for name in ('rs4d', 'configs'):
        shutil.copytree(
            ROOT / name,
            source / name,
            symlinks=True,
            ignore=shutil.ignore_patterns('__pycache__', '*.so'),
        )
    for name in ('pyproject.toml', 'setup.py', 'MANIFEST.in', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    (source / 'tools').mkdir()
    shutil.copy(ROOT / 'tools' / 'rs4d_command.py', source / 'tools')
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    compilers = dict(CC=str(compiler), CXX=str(compiler), LDSHARED=str(compiler))
    subprocess.run(
        [*command, '-w', str(folder), str(source)], env={**os.environ, **compilers}, check=True
    )
    (wheel,) = folder.glob('*.whl')
    return wheel


def test_a_wheel_with_kernels_fits_any_python_of_its_platform(tmp_path: Path) -> None:
    compiler = tmp_path / 'compiler'
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    wheel = build(tmp_path, compiler)
    assert '-py3-none-' in wheel.name
    assert not wheel.name.endswith('-any.whl')
    assert 'rs4d/ops/_cpu_kernels.so' in zipfile.ZipFile(wheel).namelist()


def test_a_wheel_works_in_an_empty_folder(tmp_path: Path, data_root: Callable[[str], Path]) -> None:
    """Without a compiler there are no kernels, and the wheel fits any platform."""
    wheel = build(tmp_path, Path('/bin/false'))
    assert wheel.name.endswith('-py3-none-any.whl')
    zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
    empty = tmp_path / 'empty'
    empty.mkdir()
    (empty / 'own.py').write_text(OWN)
    root = data_root('SSDD').parent
    environment = {
        **os.environ,
        'PYTHONPATH': str(tmp_path / 'site'),
        'RS4D_DATA_ROOT': str(root),
        'OMP_NUM_THREADS': '1',
    }
    result = subprocess.run(
        [sys.executable, '-c', WORK, *SHORT],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-3000:]
    assert 'rs4d::rs4d/rs4d-tiny_bbox_ssdd.py' in result.stdout
    assert 'rs4d::distill/' in result.stdout
    assert '_base_' not in result.stdout.split('config ')[0]
