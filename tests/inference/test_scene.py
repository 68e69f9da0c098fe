"""Scenes with the truth in the model's place: nothing is doubled, cut or lost."""

import json
import multiprocessing
import random
import signal
import time
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from inference.oracle import CLASSES, PLACE, Oracle, truth, write_scene

from rs4d.engine.shares import Share
from rs4d.geo.outlines import mask_to_polygon
from rs4d.inference.outputs import Origin
from rs4d.inference.running import FOLDER, Options, predict_inputs
from rs4d.inference.tiles import TilePlan

ORIGIN = Origin('model.pth', 'config.py', '0')
SIZE, OVERLAP = 64, 24


def _objects(rng, height=230, width=330):
    """Objects of all kinds on background 1: on seams, larger than windows, with holes, touching."""
    ids = np.ones((height, width), np.uint16)
    number = 2
    # Larger than the overlap, and than a window; a frame around others.
    for box in ((5, 5, 100, 20), (10, 30, 30, 200), (60, 60, 170, 150), (120, 160, 210, 260)):
        top, left, bottom, right = box
        ids[top:bottom, left:right] = number
        if min(bottom - top, right - left) > 30:
            ids[top + 8 : bottom - 8, left + 8 : right - 8] = 1
        number += 1
    for _ in range(900):
        h, w = rng.integers(1, OVERLAP + 1, 2)
        row, col = rng.integers(0, height - h), rng.integers(0, width - w)
        place = ids[row : row + h, col : col + w]
        if (place != 1).any():
            continue
        shape = rng.integers(3)
        mask = np.ones((h, w), bool)
        if shape == 1:
            y, x = np.mgrid[:h, :w]
            mask = ((y - h / 2 + 0.5) / h) ** 2 + ((x - w / 2 + 0.5) / w) ** 2 <= 0.25
        elif min(h, w) > 6:
            mask[2:-2, 2:-2] = False
        place[mask] = number
        number += 1
    return ids


def _predict(path, out, detector=None, share=None, **changes):
    options = dict(size=SIZE, overlap=OVERLAP, batch_size=3) | changes
    return predict_inputs(
        detector or Oracle(), [str(path)], Options(Path(out), **options), ORIGIN, {}, share
    )


def _found(out):
    return geopandas.read_file(Path(out) / 'predictions.gpkg', layer='predictions')


def _require_same(ids, layer):
    expected = {number: mask_to_polygon(ids == number) for number in truth(ids)}
    assert len(layer) == len(expected)
    inverse = ~PLACE
    pixels = [
        shapely.transform(
            shape,
            lambda xy: (
                xy @ np.array([[inverse.a, inverse.d], [inverse.b, inverse.e]])
                + np.array([inverse.c, inverse.f])
            ),
        )
        for shape in layer.geometry
    ]
    names = dict(zip(CLASSES, (0, 1), strict=True))
    left = dict(expected)
    for shape, score, name in zip(pixels, layer['score'], layer['class'], strict=True):
        number = round((1 - score) * 1e5)
        assert number % 2 == names[name]
        shape = shapely.set_precision(shape, 0.5)
        assert shapely.equals(shape, left.pop(number))
    assert not left


@pytest.mark.parametrize('seed', range(3))
def test_nothing_is_doubled_cut_or_lost(tmp_path, seed):
    ids = _objects(np.random.default_rng(seed))
    scene = write_scene(tmp_path / 'scene.tif', ids)
    outcome = _predict(scene, tmp_path / 'out')
    assert outcome.objects == len(truth(ids)) > 60
    _require_same(ids, _found(tmp_path / 'out'))
    assert 'larger than the 24 pixels' in outcome.warnings[0]
    assert '--overlap' in outcome.warnings[0]


def test_tiles_cover_a_scene_once():
    for height, width, size, overlap in ((230, 331, 64, 24), (64, 65, 64, 0), (10, 700, 50, 49)):
        plan = TilePlan(height, width, size, overlap)
        seen = np.zeros((height, width), int)
        for number, tile in enumerate(plan):
            assert tile.number == number
            x0, y0, x1, y1 = tile.core.bounds
            seen[y0:y1, x0:x1] += 1
            left, top, right, bottom = tile.window.bounds
            # Half of the overlap around the core, but for the edges of the scene.
            assert left <= max(x0 - overlap // 2, 0)
            assert right >= min(x1 + overlap // 2, width)
            assert top <= max(y0 - overlap // 2, 0)
            assert bottom >= min(y1 + overlap // 2, height)
        assert len(plan) == number + 1
        odd = range(1, len(plan), 2)
        assert plan.core_pixels(odd) == sum(plan[n].core.height * plan[n].core.width for n in odd)
        assert (seen == 1).all()


def test_windows_without_data_are_skipped(tmp_path):
    ids = np.zeros((400, 400), np.uint16)
    ids[:60, :60] = 1
    ids[10:20, 10:20] = 2
    detector = Oracle()
    outcome = _predict(write_scene(tmp_path / 's.tif', ids), tmp_path / 'out', detector)
    assert outcome.objects == 1
    assert detector.calls == 2  # 4 windows show some of the data


def test_several_processes_write_one_file(tmp_path):
    ids = _objects(np.random.default_rng(5))
    scene = write_scene(tmp_path / 'scene.tif', ids)
    for rank in (2, 0, 1):
        outcome = _predict(scene, tmp_path / 'out', share=Share(rank, 3))
        assert (outcome.files is None) == (rank != 1)
    _require_same(ids, _found(tmp_path / 'out'))


class _Killed(Oracle):
    def __init__(self, after):
        super().__init__()
        self._after = after

    def infer(self, prepared):
        if self.calls == self._after:
            raise KeyboardInterrupt
        return super().infer(prepared)


def test_an_interrupted_prediction_goes_on(tmp_path):
    ids = _objects(np.random.default_rng(6))
    scene, out = write_scene(tmp_path / 'scene.tif', ids), tmp_path / 'out'
    calls = 0
    for after in (3, 2):
        detector = _Killed(after)
        with pytest.raises(KeyboardInterrupt):
            _predict(scene, out, detector)
        calls += detector.calls
        (journal,) = out.rglob('*.journal')
        with open(journal, 'ab') as file:  # a torn record
            file.write(journal.read_bytes()[40:90])
    detector = Oracle()
    _predict(scene, out, detector)
    assert detector.calls + calls == -(-len(TilePlan(*ids.shape, SIZE, OVERLAP)) // 3)
    _require_same(ids, _found(out))
    assert not (out / FOLDER).exists()


class _Slow(Oracle):
    def infer(self, prepared):
        time.sleep(0.02)
        return super().infer(prepared)


def test_a_killed_prediction_goes_on(tmp_path):
    ids = _objects(np.random.default_rng(7))
    scene, out = write_scene(tmp_path / 'scene.tif', ids), tmp_path / 'out'
    _predict(scene, tmp_path / 'whole')
    chance, fork = random.Random(0), multiprocessing.get_context('fork')
    sizes = []
    for _ in range(4):
        process = fork.Process(target=_predict, args=(scene, out, _Slow()))
        process.start()
        # In the midst of the work: each of them has written something when it is killed.
        before = sum(sizes[-1:])
        while (size := _journal_size(out)) <= before:
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(chance.random() * 0.06)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        sizes.append(max(size, _journal_size(out)))
    _predict(scene, out)
    _require_equal(_found(out), _found(tmp_path / 'whole'))
    assert not (out / FOLDER).exists()
    assert [file.name for file in out.iterdir()] == ['predictions.gpkg']


def _journal_size(out):
    return sum(path.stat().st_size for path in out.rglob('*.journal'))


def _require_equal(layer, other):
    """The same features in the same order, but for the time that they are of."""
    assert_geodataframe_equal(
        layer.drop(columns='date'), other.drop(columns='date'), check_less_precise=False
    )


@pytest.mark.parametrize('keep', [0, 5, 12, 60, 400, -3])
def test_a_journal_torn_anywhere_is_gone_on_with(tmp_path, keep):
    ids = _objects(np.random.default_rng(6))
    scene, out = write_scene(tmp_path / 'scene.tif', ids), tmp_path / 'out'
    with pytest.raises(KeyboardInterrupt):
        _predict(scene, out, _Killed(4))
    (journal,) = out.rglob('*.journal')
    journal.write_bytes(journal.read_bytes()[:keep])
    _predict(scene, out)
    _require_same(ids, _found(out))


def test_processes_at_the_same_time_find_what_one_finds(tmp_path):
    ids = _objects(np.random.default_rng(5))
    scene = write_scene(tmp_path / 'scene.tif', ids)
    _predict(scene, tmp_path / 'one')
    fork = multiprocessing.get_context('fork')
    processes = [
        fork.Process(target=_predict, args=(scene, tmp_path / 'two', _Slow(), Share(rank, 2)))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    _require_equal(_found(tmp_path / 'two'), _found(tmp_path / 'one'))
    assert not (tmp_path / 'two' / FOLDER).exists()


def test_other_settings_do_not_go_on(tmp_path):
    from rs4d.inference.journal import JournalError

    ids = _objects(np.random.default_rng(6))
    scene, out = write_scene(tmp_path / 'scene.tif', ids), tmp_path / 'out'
    with pytest.raises(KeyboardInterrupt):
        _predict(scene, out, _Killed(2))
    with pytest.raises(JournalError, match=r'overlap was 24 and is 20.*--overwrite'):
        _predict(scene, out, overlap=20)
    _predict(scene, out, overlap=20, overwrite=True)
    _require_same(ids, _found(out))


def test_a_rotated_scene_and_one_without_a_system(tmp_path):
    from affine import Affine

    ids = _objects(np.random.default_rng(8))
    turned = PLACE @ Affine.rotation(30)
    scene = write_scene(tmp_path / 'turned.tif', ids, transform=turned, crs=None)
    _predict(scene, tmp_path / 'out')
    layer = _found(tmp_path / 'out')
    assert layer.crs is None
    assert len(layer) == len(truth(ids))
    areas = sorted(count * 0.25 for count in truth(ids).values())
    assert np.allclose(sorted(layer.geometry.area), areas, rtol=1e-6)


def test_a_damaged_scene_does_not_stop_others(tmp_path):
    ids = _objects(np.random.default_rng(9))
    good = write_scene(tmp_path / 'good.tif', ids)
    bad = write_scene(tmp_path / 'bad.tif', ids)
    (tmp_path / 'cut.tif').write_bytes(bad.read_bytes()[:4000])
    bad.write_bytes(b'')
    paths = [str(tmp_path / name) for name in ('bad.tif', 'cut.tif', 'absent.tif', 'good.tif')]
    options = Options(tmp_path / 'out', size=SIZE, overlap=OVERLAP, formats=('gpkg', 'coco'))
    outcome = predict_inputs(Oracle(), paths, options, ORIGIN, {})
    assert outcome.scenes == 1
    assert len(outcome.failures) == 3
    _require_same(ids, _found(tmp_path / 'out'))
    results = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert len(results) == len(truth(ids))
    assert {one['file_name'] for one in results} == {str(good)}
