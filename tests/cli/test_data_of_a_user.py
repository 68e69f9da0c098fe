"""From a COCO file with ids of any kind to a trained model and its AP, by the command line alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.logging import MMLogger

from rs4d.checkpoints import trained_classes
from rs4d.cli import main
from rs4d.datasets.scenes import ensure_scenes

CONFIG = 'rs4d::rs4d/rs4d-tiny_light_coco.py'
SHORT = [
    *('image_size=64', 'max_epochs=1', 'train_batch_size=4', 'model.test_cfg.score_thr=0.0'),
    *('model.test_cfg.nms_pre=20', 'model.test_cfg.max_per_img=5'),
    *('val_evaluator.classwise=True', 'test_evaluator.classwise=True', 'num_workers=0'),
]


def renumbered(content: dict[str, Any], ids: dict[str, Any]) -> dict[str, Any]:
    """The same set with categories of these names and ids, in this order."""
    old = {entry['id']: entry['name'] for entry in content['categories']}
    annotations = [a | dict(category_id=ids[old[a['category_id']]]) for a in content['annotations']]
    categories = [dict(id=key, name=name) for name, key in ids.items()]
    return content | dict(annotations=annotations, categories=categories)


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes in the layout that ``rs4d split`` writes, with odd ids."""
    folder = tmp_path_factory.mktemp('own')
    ensure_scenes(folder, num_train=4, num_val=2, size=64, seed=0)
    for split, ids in (('train', dict(ship=7, building=3)), ('val', dict(building=100, ship=20))):
        content = json.loads((folder / f'annotations/scenes_{split}.json').read_text())
        (folder / f'{split}.json').write_text(json.dumps(renumbered(content, ids)))
    return folder


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a sub-command in an empty folder: exit code, output, last line."""
    monkeypatch.chdir(tmp_path)
    MMLogger._instance_dict.clear()

    def run(*words: object) -> tuple[int, str, str]:
        code = main(*words)
        out, err = capfd.readouterr()
        return code, out + err, err.rstrip().split('\n')[-1]

    return run


def test_train_and_test(data: Path, call: Callable[..., Any], tmp_path: Path) -> None:
    code, output, _ = call('train', CONFIG, '--data', data, '--cfg-options', *SHORT)
    assert code == 0, output[-3000:]
    work = Path('work_dirs/rs4d-tiny_light_coco')
    checkpoint = work / 'latest.pth'
    assert trained_classes(checkpoint) == ('ship', 'building')
    # The classes are the checkpoint's, whatever the order and the ids of the file that is scored.
    content = json.loads((data / 'val.json').read_text())
    (data / 'again.json').write_text(
        json.dumps(renumbered(content, dict(pier=1, ship=4, building=2)))
    )
    # What the training wrote of its config needs nothing more.
    own = work / 'rs4d-tiny_light_coco.py'
    again = [CONFIG, '--data', data, '--val', 'again.json', '--cfg-options', *SHORT]
    scores = []
    for config, *words in ([own], [*again[:1], '--out', 'out.json', '--show-dir', 'p', *again[1:]]):
        code, output, _ = call('test', config, checkpoint, *words)
        assert code == 0, output[-3000:]
        metrics = json.loads((work / 'metrics.json').read_text())
        scores.append({k: v for k, v in metrics.items() if k.startswith('coco/')})
    assert scores[0] == scores[1]
    assert {'coco/ship_precision', 'coco/building_precision'} <= scores[0].keys()
    assert 'categories left out: 1 (pier)' in output
    assert {entry['category_id'] for entry in json.loads(Path('out.json').read_text())} <= {2, 4}
    assert len(list(work.rglob('p/*'))) == 2
    # In a file of other classes none of the model's would be scored.
    for names, lacks, beyond in (
        (('ship', 'pier'), 'lacks building.', 'To find pier, train'),
        (('Ship', 'Building'), 'lacks ship, building.', 'To find Ship, Building, train'),
        (('building',), 'lacks ship.', '--val.'),
    ):
        categories = [dict(id=n, name=name) for n, name in enumerate(names)]
        marked = [
            a | dict(category_id=n % len(names)) for n, a in enumerate(content['annotations'])
        ]
        others = content | dict(categories=categories, annotations=marked)
        (data / 'others.json').write_text(json.dumps(others))
        words = ['--data', data, '--val', 'others.json', '--cfg-options', *SHORT]
        code, output, last = call('test', CONFIG, checkpoint, *words)
        assert code == 2
        assert f"The model of '{checkpoint}' finds ship, building; '" in last
        assert f"others.json' has the categories {', '.join(names)}, and {lacks}" in last
        assert beyond in last
        for word in ('metainfo', 'num_classes', 'ann_file', 'config'):
            assert word not in last, last
    # It has the data of the training in all places, so that others would not be what is scored.
    code, output, last = call('test', own, checkpoint, '--data', data, '--val', 'again.json')
    assert (code, 'the one that the training was started with' in last) == (2, True)


def test_what_is_missing_is_one_sentence(
    data: Path, call: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / 'empty.json').touch()
    bare = json.loads((data / 'val.json').read_text())
    (tmp_path / 'other.json').write_text(
        json.dumps(renumbered(bare, dict(ship=1, building=2, tank=3)))
    )
    lost = [entry | dict(file_name=f'x{entry["file_name"]}') for entry in bare['images']]
    lost[0] = bare['images'][0]
    (tmp_path / 'lost.json').write_text(json.dumps(bare | dict(images=lost)))
    for words, said in (
        ([], 'say where yours are, by --data DIR'),
        (['--data', 'nowhere'], "--data 'nowhere' is no folder"),
        (['--data', data, '--train', 'a.json'], "--train 'a.json': there is no such file"),
        (['--data', data, '--val', 'empty.json'], "empty.json' is empty"),
        (['--data', data, '--val', 'other.json'], 'has tank beyond them'),
        (['--data', data, '--val', 'lost.json'], '1 of 2 images are missing'),
    ):
        code, output, last = call('train', CONFIG, *words, '--cfg-options', *SHORT)
        assert code == 2, (words, output[-2000:])
        assert 'Traceback' not in output
        assert said in last, (words, last)
        assert last.startswith('train: ')
    code, output, last = call('test', CONFIG, 'nowhere.pth')
    assert (code, 'nowhere.pth' in last) == (2, True)


def test_an_interrupted_training_says_all_of_its_words() -> None:
    from rs4d.cli import parse
    from rs4d.cli.common import data_words

    words = ['--data', 'a', '--train', 'b.json', '--images', 'c', '--classes', 'x', 'y']
    assert data_words(parse(['train', CONFIG, *words])) == words
    assert data_words(parse(['train', CONFIG])) == []


def test_a_check_takes_the_same_words(data: Path, call: Callable[..., Any]) -> None:
    code, output, _ = call('check', CONFIG, '--data', data)
    assert code == 0, output
    assert 'CocoInsSegDataset' in output
    code, output, _ = call('check', CONFIG)
    assert code == 1
    assert 'say where yours are' in output.replace('\n    ', ' ')
