"""The table of results is what tests wrote, and the rows of other runs stay."""

import json

import pytest

from rs4d.analysis.config_matrix import NONE
from rs4d.analysis.results_table import BEGIN, END, HEADER, read_table, render
from rs4d.apis.run_record import _annotations
from rs4d.cli import main

METRICS = {
    'coco/bbox_mAP': 0.5731,
    'coco/bbox_mAP_50': 0.9114,
    'coco/segm_mAP': 0.5779,
    'coco/segm_mAP_50': 0.9082,
    'config': '/somewhere/configs/rs4d/rs4d-tiny_light_ssdd.py',
    'run': {
        'data': [{'type': 'SSDDInsSegDataset', 'annotations': 'val.json'}],
        'epochs': 36,
        'seed': 0,
        'training': {
            'minutes': 58.94,
            'machines': ['2 threads, X'],
            'memory_mb': 900,
            'commit': 'ab',
        },
        'test': {'seconds_an_image': 0.04321, 'memory_mb': 700, 'commit': 'cd'},
    },
}
CELLS = [
    *('rs4d-tiny_light_ssdd', 'SSDD', '36', '0', '0.573', '0.911', '0.578', '0.908'),
    *('58.9', '2 threads, X', '0.0432', '900 / 700', 'ab'),
]


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / 'metrics.json'
    path.write_text(json.dumps(METRICS))
    return path


def test_the_row_of_a_run(metrics, capsys):
    assert main('results', metrics.parent) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert [cell.strip() for cell in last.strip('|').split('|')] == CELLS


def test_what_is_not_known_is_a_dash(tmp_path, capsys):
    path = tmp_path / 'metrics.json'
    path.write_text(json.dumps({'coco/bbox_mAP': 0.5, 'config': 'c.py'}))
    assert main('results', path) == 0
    cells = capsys.readouterr().out.splitlines()[-1].strip('| ').split(' | ')
    assert (cells[0], cells[4], set(cells[6:11])) == ('c', '0.500', {NONE})


def test_a_run_takes_the_place_of_its_earlier_one(metrics, tmp_path, capsys):
    page = tmp_path / 'results.md'
    other = ['other', *CELLS[1:]]
    old = [*CELLS[:4], *['0'] * 9]
    page.write_text(f'Before\n\n{BEGIN}\n\n{render([old, other])}\n\n{END}\n\nAfter\n')
    assert main('results', metrics, '--write', page) == 0
    assert read_table(page.read_text(), page) == [CELLS, other]
    text = page.read_text()
    assert text.startswith('Before\n')
    assert text.endswith('\nAfter\n')
    metrics.write_text(json.dumps(METRICS | {'run': METRICS['run'] | {'seed': 1}}))
    assert main('results', metrics, '--write', page) == 0
    assert len(read_table(page.read_text(), page)) == 3


def test_own_sets_are_told_apart(metrics, tmp_path, capsys):
    """By --data all are of one type, with files that are all called val.json."""
    page = tmp_path / 'results.md'
    page.write_text(f'{BEGIN}\n\n{render([])}\n\n{END}\n')
    for folder in ('roofs', 'ships|2', 'roofs'):
        one = dict(type='CocoInsSegDataset', annotations='val.json', folder=folder)
        metrics.write_text(json.dumps(METRICS | {'run': METRICS['run'] | {'data': [one]}}))
        assert main('results', metrics, '--write', page) == 0
    rows = read_table(page.read_text(), page)
    assert [row[1] for row in rows] == ['roofs/val.json', 'ships&#124;2/val.json']
    # Of tests before folders were noted.
    one = dict(type='CocoInsSegDataset')
    metrics.write_text(json.dumps(METRICS | {'run': METRICS['run'] | {'data': [one]}}))
    capsys.readouterr()
    assert main('results', metrics) == 0
    assert '| your own |' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        (dict(data_root='', ann_file='/data/roofs/val.json'), ('val.json', 'roofs')),
        (dict(data_root='/d/ships/', ann_file='annotations/val.json'), ('val.json', 'ships')),
        (dict(data_root='/d/ships'), ('ships', 'd')),
        (dict(), ('', '')),
    ],
)
def test_what_tells_sets_apart(dataset, expected):
    found = _annotations(dataset)
    assert (found['annotations'], found['folder']) == expected


def test_refused(metrics, tmp_path, capsys):
    bad = tmp_path / 'bad.json'
    for text in ('{', '[]', '{"run": []}', '{"config": "c", "run": {"data": [1]}}'):
        bad.write_text(text)
        assert main('results', bad) == 2
        assert 'cannot be read as the metrics' in capsys.readouterr().err
    assert main('results', tmp_path / 'absent') == 2
    page = tmp_path / 'page.md'
    for text, sentence in (('', 'two lines'), (f'{BEGIN}\n|a|\n|-|\n|b|\n{END}', '1 cells')):
        page.write_text(text)
        assert main('results', metrics, '--write', page) == 2
        assert sentence in capsys.readouterr().err
        assert page.read_text() == text
    assert len(HEADER) == len(CELLS)


def test_a_page_with_a_mark_twice_is_left_as_it_is(metrics, tmp_path):
    page = tmp_path / 'results.md'
    table = render([])
    for text in (
        f'{BEGIN}\n{table}\nwords\n{BEGIN}\n{table}\n{END}\n',
        f'{END}\n{BEGIN}\n{table}\n{END}\n',
    ):
        page.write_text(text)
        assert main('results', metrics, '--write', page) == 2
        assert page.read_text() == text


def test_runs_that_do_not_say_their_seed_do_not_replace_each_other(metrics, tmp_path, capsys):
    page = tmp_path / 'results.md'
    page.write_text(f'{BEGIN}\n{END}\n')
    files = []
    for number in (0.1, 0.2):
        files.append(tmp_path / f'{number}.json')
        files[-1].write_text(json.dumps({'coco/bbox_mAP': number, 'config': 'c.py'}))
    assert main('results', *files, '--write', page) == 0
    assert main('results', *files, '--write', page) == 0
    assert [row[4] for row in read_table(page.read_text(), page)] == ['0.100', '0.200']
    text = page.read_text()
    assert main('results', metrics, metrics.parent, '--write', page) == 2
    assert 'name one of them' in capsys.readouterr().err
    assert page.read_text() == text
