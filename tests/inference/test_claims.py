"""Two processes at one folder: those of one work share it, others are refused by one sentence."""

import multiprocessing

import geopandas
import numpy as np
import pytest
from inference.oracle import Oracle, truth, write_scene
from inference.test_scene import ORIGIN, _objects

from rs4d.engine.shares import Share
from rs4d.files import ExistingFileError
from rs4d.inference.claims import FolderInUseError
from rs4d.inference.running import FOLDER, Options, predict_inputs


class _Waiting(Oracle):
    """Says when it has begun, and goes on when it is told."""

    def __init__(self, begun, go_on):
        super().__init__()
        self._begun, self._go_on = begun, go_on

    def infer(self, prepared):
        self._begun.set()
        assert self._go_on.wait(30)
        return super().infer(prepared)


def _predict(path, out, detector=None, share=None, **changes):
    options = dict(size=64, overlap=24, batch_size=3) | changes
    detector = detector or Oracle()
    return predict_inputs(detector, [str(path)], Options(out, **options), ORIGIN, {}, share)


@pytest.fixture
def running(tmp_path):
    """A function that starts a prediction which waits in its first batch, and one that ends it."""
    fork = multiprocessing.get_context('fork')
    begun, go_on = fork.Event(), fork.Event()
    processes = []

    def start(*args, **kwargs):
        process = fork.Process(
            target=_predict, args=(*args, _Waiting(begun, go_on)), kwargs=kwargs, daemon=True
        )
        process.start()
        processes.append(process)
        assert begun.wait(30)

    def end():
        go_on.set()
        for process in processes:
            process.join(30)
        return [process.exitcode for process in processes]

    yield start, end
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.parametrize('overwrite', [False, True])
def test_another_process_is_refused(tmp_path, running, overwrite):
    start, end = running
    ids = _objects(np.random.default_rng(3))
    scene = write_scene(tmp_path / 'scene.tif', ids)
    other = write_scene(tmp_path / 'other.tif', np.full((64, 64), 2, np.uint16))
    out = tmp_path / 'out'
    start(scene, out)
    # The same work, another scene whose process would remove the first one's journal, other shares.
    for path, share in ((scene, None), (other, None), (scene, Share(1, 2))):
        with pytest.raises(FolderInUseError, match=r"out' is being written to by process \d+ on"):
            _predict(path, out, share=share, overwrite=overwrite)
    assert end() == [0]
    layer = geopandas.read_file(out / 'predictions.gpkg')
    assert len(layer) == len(truth(ids))
    assert [file.name for file in out.iterdir()] == ['predictions.gpkg']


def test_shares_of_other_settings_are_refused(tmp_path, running):
    start, end = running
    scene = write_scene(tmp_path / 'scene.tif', _objects(np.random.default_rng(3)))
    start(scene, tmp_path / 'out', share=Share(0, 2))
    with pytest.raises(FolderInUseError, match='one --world-size'):
        _predict(scene, tmp_path / 'out', share=Share(0, 2))
    with pytest.raises(FolderInUseError):
        _predict(scene, tmp_path / 'out', share=Share(1, 2), simplify=1)
    assert _predict(scene, tmp_path / 'out', share=Share(1, 2)).files is None
    assert end() == [0]
    assert (tmp_path / 'out' / 'predictions.gpkg').is_file()


def test_a_dead_process_refuses_nobody(tmp_path, running):
    start, _ = running
    ids = _objects(np.random.default_rng(3))
    scene, out = write_scene(tmp_path / 'scene.tif', ids), tmp_path / 'out'
    start(scene, out)
    (process,) = multiprocessing.active_children()
    process.kill()
    process.join()
    assert list((out / FOLDER).glob('*.lock'))
    assert _predict(scene, out).objects == len(truth(ids))


def test_who_is_refused_leaves_nothing(tmp_path):
    scene = write_scene(tmp_path / 'scene.tif', np.full((64, 64), 2, np.uint16))
    _predict(scene, tmp_path / 'out')
    with pytest.raises(ExistingFileError):
        _predict(scene, tmp_path / 'out')
    assert [file.name for file in (tmp_path / 'out').iterdir()] == ['predictions.gpkg']
