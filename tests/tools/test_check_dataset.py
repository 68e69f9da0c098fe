"""The tool prints all that is wrong with a config's data sets, and its exit code says how bad."""

import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

TOOL = 'analysis_tools/check_dataset.py'
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> Path:
    """A copy of the scenes that may be broken."""
    copy = Path(shutil.copytree(scenes, tmp_path / 'scenes'))
    monkeypatch.setenv('RS4D_TINY_ROOT', str(copy))
    return copy


def edit(root: Path, split: str, change: Callable[[dict[str, Any]], Any]) -> None:
    file = root / 'annotations' / f'scenes_{split}.json'
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def image_file(root: Path, split: str, number: int) -> Path:
    content = json.loads((root / 'annotations' / f'scenes_{split}.json').read_text())
    name = content['images'][number]['file_name']
    return next(root.rglob(name))


def test_whole_set(call: Call, config: str, root: Path) -> None:
    code, output, _ = call(TOOL, config)
    assert code == 0, output
    assert re.search(r'^(0 kinds of error,|Nothing was found\.)', output, re.MULTILINE)
    assert 'val, test' in output


def test_everything_is_found_at_once(call: Call, config: str, root: Path, tmp_path: Path) -> None:
    def break_train(content: dict[str, Any]) -> None:
        content['annotations'][0]['segmentation'] = [[1, 2, 3, 4]]
        content['annotations'][1]['bbox'] = [500, 500, 10, 10]
        content['images'][1]['width'] += 7
        content['categories'].append(dict(id=9, name='submarine'))

    def break_val(content: dict[str, Any]) -> None:
        content['annotations'].append(dict(content['annotations'][0]))

    first, last = image_file(root, 'train', 0), image_file(root, 'train', 3)
    image_file(root, 'val', 0).write_bytes(first.read_bytes())
    last.unlink()
    edit(root, 'train', break_train)
    edit(root, 'val', break_val)
    code, output, _ = call(TOOL, config, '--json', tmp_path / 'found.json')
    assert code == 1, output
    found = json.loads((tmp_path / 'found.json').read_text())
    by_check = {(f['check'], f['subset']): f for f in found['findings']}
    for check, subset, severity in (
        ('categories', 'train', 'error'),
        ('polygons under three points', 'train', 'error'),
        ('boxes outside', 'train', 'warning'),
        ('sizes that differ', 'train', 'error'),
        ('missing files', 'train', 'error'),
        ('duplicate ids', 'val, test', 'error'),
        ('same image in both', 'train / val, test', 'warning'),
    ):
        assert by_check[check, subset]['count'] == 1, check
        assert by_check[check, subset]['severity'] == severity
        assert check in output
    assert 'submarine' in by_check['categories', 'train']['examples'][0]
    assert last.name in by_check['missing files', 'train']['examples'][0]
    assert found['errors'] >= 5


def test_warnings_fail_only_when_asked_to(call: Call, config: str, root: Path) -> None:
    image_file(root, 'val', 0).write_bytes(image_file(root, 'train', 0).read_bytes())
    assert call(TOOL, config)[0] == 0
    assert call(TOOL, config, '--strict')[0] == 1
    code, output, _ = call(TOOL, config, '--annotations-only')
    assert code == 0
    assert 'same image' not in output


def test_missing_annotations_do_not_hide_the_rest(call: Call, config: str, root: Path) -> None:
    (root / 'annotations' / 'scenes_val.json').unlink()
    edit(root, 'train', lambda content: content['annotations'][0].update(image_id=999))
    code, output, _ = call(TOOL, config)
    assert code == 1
    assert 'missing folder or file' in output
    assert 'unknown image_id' in output


def test_config_that_is_missing(call: Call) -> None:
    code, _, paragraph = call(TOOL, 'configs/nowhere.py')
    assert code == 2
    assert paragraph.startswith('check: ')


def test_folder_without_labels(call: Call, root: Path, tmp_path: Path) -> None:
    images = root / 'unlabelled'
    images.mkdir()
    for number in range(12):
        shutil.copy(image_file(root, 'train', number % 2), images / f'{number}.png')
    config = tmp_path / 'distill.py'
    config.write_text(
        "default_scope = 'mmdet'\n"
        f'data = dict(type="SA1BDataset", data_root={str(images)!r}, num_val=2)\n'
        "train_dataloader = dict(dataset=dict(data, split='train'))\n"
        "val_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset="
        "dict(data, split='val')))\n"
    )
    code, output, _ = call(TOOL, config)
    assert code == 0, output
    assert 'same image in both' in output
    (images / '3.png').write_bytes(b'')
    code, output, _ = call(TOOL, config)
    assert code == 1
    assert 'broken images' in output


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that writes images into a tar and a config whose train and val they are."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def write(images: dict[str, bytes], keep: int | None = None) -> Path:
        folder = tmp_path / 'sa1b'
        folder.mkdir()
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode='w') as archive:
            for name, data in images.items():
                member = tarfile.TarInfo(f'./{name}')
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        (folder / 'sa_000000.tar').write_bytes(file.getvalue()[:keep])
        config = tmp_path / 'distill.py'
        config.write_text(
            "default_scope = 'mmdet'\n"
            f'data = dict(type="SA1BDataset", data_root={str(folder)!r}, num_val=10)\n'
            "train_dataloader = dict(dataset=dict(data, split='train'))\n"
            "val_dataloader = dict(dataset=dict(data, split='val'))\n"
        )
        return config

    return write


def jpegs(count: int) -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 255, (count, 40, 60, 3), np.uint8)
    return {
        f'sa_{number:03d}.jpg': cv2.imencode('.jpg', image)[1].tobytes()
        for number, image in enumerate(noise)
    }


def test_members_of_tars_are_checked(
    call: Call, archives: Callable[..., Path], tmp_path: Path
) -> None:
    def found(*options: str) -> tuple[int, dict[str, int]]:
        code, _, _ = call(TOOL, config, '--json', tmp_path / 'found.json', *options)
        findings = json.loads((tmp_path / 'found.json').read_text())['findings']
        counts: dict[str, int] = {}
        for finding in findings:
            counts[finding['check']] = counts.get(finding['check'], 0) + finding['count']
        return code, counts

    images = jpegs(100)
    names = list(images)
    for name in names[:4]:
        images[name] = images[name][:-300]
    images[names[4]] = b'nothing'
    for name in names[50:]:  # in train and val, and twice in train
        images[name] = images[names[50]]
    config = archives(images)
    code, counts = found()
    assert code == 1
    assert counts['broken images'] == 1
    assert counts['same image in both'] >= 1
    assert counts['same image twice'] == 48  # but for one in each
    assert found('--decode')[1] == counts | {'broken images': 5}
    assert found('--annotations-only') == (0, {})


def test_what_a_damaged_tar_has_lost(call: Call, archives: Callable[..., Path]) -> None:
    code, output, _ = call(TOOL, archives(jpegs(100), keep=-20_000))
    assert code == 0, output
    assert re.search(r'warning +damaged tars +train', output)
    assert 'sa_000000.tar: sa_' in output
    assert 'About 1 images in them are lost' in output


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        ('configs/rs4d/rs4d-base_bbox_ssdd.py', {'same image in both': 8}),
        ('configs/rs4d/rs4d-base_bbox_nwpu.py', {}),
    ],
)
def test_real_sets(
    call: Call,
    data_root: Callable[[str], Path],
    tmp_path: Path,
    config: str,
    expected: dict[str, int],
) -> None:
    data_root('SSDD')
    data_root('NWPU')
    code, output, _ = call(TOOL, config, '--json', tmp_path / 'found.json')
    assert code == 0, output
    findings = json.loads((tmp_path / 'found.json').read_text())['findings']
    between = {f['check']: f['count'] for f in findings if ' / ' in f['subset']}
    assert between == expected
