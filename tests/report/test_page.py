"""The page: its figures are those of the runs, it asks nobody for anything, and a browser draws it."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

pytest.importorskip('altair', reason='needs the extra report')

from rs4d.cli import main
from rs4d.errors import UserError
from rs4d.report import read_runs, write_report
from rs4d.report.figures import changes

Tests = tuple[Path, Path]


@pytest.fixture(scope='module')
def page(two_tests: Tests, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of both tests."""
    out = tmp_path_factory.mktemp('page') / 'report.html'
    write_report(read_runs(two_tests), out, resamples=200)
    return out


def test_size_and_addresses(page: Path) -> None:
    text = page.read_text()
    without = re.sub(r'<svg.*?</svg>', '', text, flags=re.DOTALL)
    assert len(without) < len(text)
    assert len(without.encode()) <= 1.5e6
    markup = re.sub(r'<script>.*?</script>', '', text, flags=re.DOTALL)
    addresses = re.findall(r'(?:src|href|action|srcset|data)\s*=\s*"([^"]*)"', markup)
    assert addresses
    assert all(address.startswith(('#', 'data:')) for address in addresses)
    assert 'url(' not in markup
    assert "default-src 'none'" in markup


def test_what_it_says(page: Path, two_tests: Tests) -> None:
    figures = write_report(read_runs(two_tests), page.with_name('again.html'), resamples=200)
    text = re.sub(r'<script>.*?</script>', '', page.read_text(), flags=re.DOTALL)
    plain = re.sub(r'\s+', ' ', html.unescape(re.sub(r'<[^>]+>', ' ', text)))
    for one in figures:
        for found in one.kinds.values():
            for score in found.scores.values():
                assert f'{100 * score.value:.1f} {100 * score.low:.1f} to' in plain
            assert f' {found.best.threshold} ' in plain
    for word in (
        'classification',
        'duplicate',
        'From better to worse',
        '-lr = 0.0004',
        '+lr = 0.001',
    ):
        assert word in plain
    # What comes from files is text.
    assert '<made up> & not real' in plain
    assert ' model: parameters 3,400,000 ' in plain
    assert ' data Made, up.json ' in plain
    specifications = re.search(r'const specifications = (\{.*\});', page.read_text())
    assert specifications is not None
    curves = {s['description'] for s in json.loads(specifications[1]).values()}
    assert {
        'mask: precision at each recall',
        'box AP of each class',
        'loss',
        'coco/segm_mAP',
    } <= curves


def test_one_run_without_masks_and_pictures(two_tests: Tests, tmp_path: Path) -> None:
    alone = tmp_path / 'alone'
    shutil.copytree(two_tests[0], alone)
    predictions = json.loads((alone / 'predictions.json').read_text())
    for found in predictions:
        del found['segmentation']
    (alone / 'predictions.json').write_text(json.dumps(predictions))
    for name in ('metrics.json', 'vis_data/config.py'):
        (alone / name).unlink()
    content = json.loads((alone / 'truth.json').read_text())
    for image in content['images']:
        image['path'] = '/gone/' + image['file_name']
    (alone / 'truth.json').write_text(json.dumps(content))
    (figures,) = write_report(read_runs([alone]), tmp_path / 'a.html', pictures=3, resamples=100)
    assert list(figures.kinds) == ['bbox']
    text = (tmp_path / 'a.html').read_text()
    assert '--images DIR' in text
    assert 'data:image/jpeg' not in text
    images = two_tests[0].parent.parent / 'imgs'
    write_report(read_runs([alone]), tmp_path / 'b.html', pictures=3, images=images, resamples=100)
    assert 'data:image/jpeg' in (tmp_path / 'b.html').read_text()


def test_figures_that_are_not_the_tests_own_are_doubted(two_tests: Tests, tmp_path: Path) -> None:
    copy = tmp_path / 'copy'
    shutil.copytree(two_tests[0], copy)
    metrics = json.loads((copy / 'metrics.json').read_text())
    (copy / 'metrics.json').write_text(json.dumps(metrics | {'coco/segm_mAP': 0.9}))
    write_report(read_runs([copy]), tmp_path / 'a.html', pictures=0, resamples=100)
    assert 'wrote 0.900 into its metrics.json' in (tmp_path / 'a.html').read_text()


def test_nothing_predicted(two_tests: Tests, tmp_path: Path) -> None:
    copy = tmp_path / 'copy'
    shutil.copytree(two_tests[0], copy)
    (copy / 'predictions.json').write_text('[]')
    runs = read_runs([two_tests[0], copy])
    figures = write_report(runs, tmp_path / 'a.html', pictures=2, resamples=100)
    assert figures[1].main.scores['AP'].value == 0
    assert np.isfinite(figures[0].main.scores['AP'].low)


def test_one_image_says_nothing_of_others(
    two_tests: Tests, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = []
    for source in two_tests:
        copies.append(shutil.copytree(source, tmp_path / source.parent.name))
        for name, key in (('truth.json', 'annotations'), ('predictions.json', None)):
            content = json.loads((copies[-1] / name).read_text())
            found = content if key is None else content[key]
            found = [one for one in found if one['image_id'] == 8]
            if key is not None:
                images = [image for image in content['images'] if image['id'] == 8]
                content |= {key: found, 'images': images}
            (copies[-1] / name).write_text(json.dumps(content if key else found))
    (copies[1] / 'predictions.json').write_text('[]')
    figures = write_report(read_runs(copies), tmp_path / 'a.html', pictures=1, resamples=100)
    first, other = (one.main for one in figures)
    assert first.scores['AP'].value > other.scores['AP'].value == 0
    assert np.isnan(first.scores['AP'].low)
    assert not changes(first, other)['AP'].certain
    assert main('report', *copies, '--resamples', 100, '--out', tmp_path / 'b.html') == 0
    printed = capsys.readouterr().out
    assert ' to ' not in printed
    assert 'no detection is right' in printed


def test_names_of_runs(two_tests: Tests) -> None:
    assert [run.name for run in read_runs(two_tests)] == ['better', 'worse']
    work_dirs = [test.parent for test in two_tests]
    assert [run.test.folder for run in read_runs(work_dirs)] == list(two_tests)
    assert [run.name for run in read_runs(two_tests, ['a', 'b'])] == ['a', 'b']
    for names in (['a'], ['a', 'a']):
        with pytest.raises(UserError, match='--names'):
            read_runs(two_tests, names)
    with pytest.raises(UserError, match='named twice'):
        read_runs([two_tests[0], two_tests[0].parent])


def test_runs_of_different_truths_are_refused(two_tests: Tests, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    shutil.copytree(two_tests[1], other)
    content = json.loads((other / 'truth.json').read_text())
    content['annotations'][0]['bbox'][0] += 1
    (other / 'truth.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match='different truths'):
        read_runs([two_tests[0], other])


def test_other_images_of_the_same_size_are_another_truth(two_tests: Tests, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    shutil.copytree(two_tests[1], other)
    content = json.loads((other / 'truth.json').read_text())
    content['images'][0]['file_name'] = 'another.jpg'
    (other / 'truth.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match='different truths'):
        read_runs([two_tests[0], other])


def test_images_of_one_name_are_not_taken_for_each_other(two_tests: Tests, tmp_path: Path) -> None:
    copy = tmp_path / 'copy'
    shutil.copytree(two_tests[0], copy)
    content = json.loads((copy / 'truth.json').read_text())
    for number, image in enumerate(content['images']):
        image |= dict(file_name=f'{number}/same.png', path='')
    (copy / 'truth.json').write_text(json.dumps(content))
    images = two_tests[0].parent.parent / 'imgs'
    shutil.copy(next(images.iterdir()), tmp_path / 'same.png')
    out = tmp_path / 'a.html'
    write_report(read_runs([copy]), out, pictures=3, images=tmp_path, resamples=100)
    assert 'data:image/jpeg' not in out.read_text()


def test_masks_alone_have_the_boxes_around_them(two_tests: Tests, tmp_path: Path) -> None:
    copy = tmp_path / 'copy'
    shutil.copytree(two_tests[0], copy)
    predictions = json.loads((copy / 'predictions.json').read_text())
    for found in predictions:
        del found['bbox']
    (copy / 'predictions.json').write_text(json.dumps(predictions))
    ours = read_runs([copy])[0].test.predictions
    for found in ours:
        rows, columns = np.nonzero(coco_mask.decode(found['segmentation']))
        x, y = columns.min(), rows.min()
        assert found['bbox'] == [x, y, columns.max() - x + 1, rows.max() - y + 1]
    found = predictions[0]['segmentation']
    empty = np.zeros((found['size'][0] + 1, found['size'][1]), np.uint8, order='F')
    found |= dict(size=list(empty.shape), counts=coco_mask.encode(empty)['counts'].decode())
    (copy / 'predictions.json').write_text(json.dumps(predictions))
    with pytest.raises(UserError, match='pixels of the whole image'):
        read_runs([copy])


def test_outlines_are_those_that_are_counted(two_tests: Tests, tmp_path: Path) -> None:
    out = tmp_path / 'a.html'
    (one,) = write_report(read_runs(two_tests[:1]), out, pictures=99, resamples=100)
    text = re.sub(r'<script>.*?</script>', '', out.read_text(), flags=re.DOTALL)
    figures = re.findall(r'<figure class="picture".*?</figure>', text, flags=re.DOTALL)
    assert figures
    # A slider with steps would round the threshold.
    assert 'step="any"' in text
    for figure in figures:
        scores = [float(score) for score in re.findall('class="wrong" data-score="(.*?)"', figure)]
        counted = re.search(r'(\d+) false<', figure)
        assert counted is not None
        assert sum(score >= one.main.best.threshold for score in scores) == int(counted[1])


def test_command(two_tests: Tests, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'report.html'
    words = ('--pictures', 1, '--resamples', 100, '--out', out)
    assert main('report', *two_tests, *words) == 0
    printed = capsys.readouterr().out
    assert 'better: segm AP 0.' in printed
    assert f'Report: {out}' in printed
    assert main('report', *two_tests, '--out', tmp_path / 'report.pdf') == 2
    assert 'end the page' in capsys.readouterr().err
    assert main('report', tmp_path) == 2
    assert 'holds no test' in capsys.readouterr().err


CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
FLAGS = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-sync',
    '--disable-background-networking',
    '--disable-component-update',
    '--enable-logging=stderr',
]


@pytest.mark.skipif(CHROMIUM is None, reason='needs Chromium')
def test_in_a_browser(page: Path, tmp_path: Path) -> None:
    """All charts are drawn, and the console has nothing to say."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f'--user-data-dir={tmp_path}', '--virtual-time-budget=20000']
    done = subprocess.run(
        [*command, '--dump-dom', page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert [line for line in done.stderr.splitlines() if 'CONSOLE' in line] == []
    drawn = re.sub(r'<script>.*?</script>', '', done.stdout, flags=re.DOTALL)
    places = re.findall(r'class="chart[ "]', drawn)
    assert len(places) == len(re.findall(r'<svg[^>]*class="marks"', drawn)) >= 10
    assert 'could not be drawn' not in drawn
    # The script has sorted the images, and shown the run that was chosen.
    missed = [int(number) for number in re.findall(r'data-missed="(\d+)"', drawn)]
    assert missed == sorted(missed, reverse=True)
