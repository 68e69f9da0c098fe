"""Predicting whole scenes: what `rs4d benchmark scenes` writes."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rs4d.errors import ConfigError
from rs4d.files import write_json
from rs4d.geo.raster import Raster
from rs4d.inference.reading import WindowReader
from rs4d.inference.scene import Detector, Scene, predict_tiles

from ..processes import COMMAND, last_line, plain_environment
from .memory import peak_of
from .report import conditions, write_table
from .timing import interleave, ratio, spread


@dataclass(frozen=True)
class SceneTurns:
    """What is measured of a scene.

    Attributes:
        size: Side of a window.
        overlap: What windows share.
        tiles: How many are predicted in a turn, at least: whole rows of windows are.
        rounds: Turns.
        warmup: Turns before those that count.
    """

    size: int
    overlap: int
    tiles: int = 64
    rounds: int = 5
    warmup: int = 1


@dataclass
class SceneRecord:
    """What was measured of a scene.

    Attributes:
        scene: Its name.
        height: In pixels.
        width: Likewise.
        windows: How many it is cut into.
        tiles: How many a turn predicts.
        seconds: Of each turn, from the file to outlines.
        model_seconds: Of each turn, the model on the same windows from memory.
        whole_seconds: Of ``rs4d predict`` on all of it, start and writing included; None where that was
            not measured.
        peak_mib: Of that process, imports included.
        objects: What it said it had found.
    """

    scene: str
    height: int
    width: int
    windows: int
    tiles: int
    seconds: list[float]
    model_seconds: list[float]
    whole_seconds: float | None = None
    peak_mib: float | None = None
    objects: str = ''


def measure_scenes(
    detector: Detector,
    paths: Sequence[str],
    turns: SceneTurns,
    out: Path,
    words: Sequence[str] | None = None,
) -> Iterator[str]:
    """Measure predictions of scenes; write a table and the records.

    Args:
        detector: What finds objects.
        paths: The scenes.
        turns: How it is measured.
        out: Folder of the records and the table.
        words: Config, checkpoint and options of ``rs4d predict``, which predicts each scene as a whole
            for its peak memory; that is left out if None.

    Yields:
        The table of what has been measured so far, after each scene.

    Raises:
        UserError: A scene cannot be read, or the command fails.
    """
    records: list[SceneRecord] = []
    for path in paths:
        record = _measure(detector, path, turns)
        if words is not None:
            _predict_whole(record, path, turns, words)
        records.append(record)
        # After each scene, so that a run that is stopped leaves what it has.
        content = dict(conditions=conditions(), records=[asdict(one) for one in records])
        write_json(out / 'scenes.json', content, indent=2)
        yield write_table(out / 'scenes.md', _table(records))


def _measure(detector: Detector, path: str, turns: SceneTurns) -> SceneRecord:
    scene = Scene.open(path, detector.loader, turns.size, turns.overlap)
    images, numbers = _windows(detector, scene, turns.tiles)

    def from_file() -> None:
        for _ in predict_tiles(detector, scene, numbers, 1):
            pass

    def from_memory() -> None:
        for image in images:
            detector.infer([detector.prepare(image)])

    steps = {'file': from_file, 'memory': from_memory}
    seconds = interleave(steps, turns.rounds, turns.warmup)
    plan = scene.plan
    sizes = (plan.height, plan.width, len(plan), len(numbers))
    return SceneRecord(scene.name, *sizes, seconds['file'], seconds['memory'])


def _windows(detector: Detector, scene: Scene, wanted: int) -> tuple[list[np.ndarray], list[int]]:
    """Rows of windows with data from the middle of a scene, and their numbers."""
    plan = scene.plan
    if not plan.size:
        raise ConfigError(
            f"'{scene.path}' is predicted as a whole. Measure a scene that is larger than a window."
        )
    rows = min(-(-wanted // plan.columns), len(plan) // plan.columns)
    first = (len(plan) // plan.columns - rows) // 2 * plan.columns
    images, numbers = [], []
    with Raster.open(scene.path) as raster:
        reader = WindowReader(raster, detector.loader, scene.orientation)
        for number in range(first, first + rows * plan.columns):
            image = reader.read(plan[number].window)
            if image is not None:
                images.append(image)
                numbers.append(number)
    if not images:
        raise ConfigError(f"The middle of '{scene.path}' has no data. Measure another scene.")
    return images, numbers


def _predict_whole(record: SceneRecord, path: str, turns: SceneTurns, words: Sequence[str]) -> None:
    """Have the command predict the scene, and watch its memory."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, 'output.log')
        command = [*COMMAND, 'predict', *words, '--out', str(Path(folder, 'found'))]
        command += ['--size', str(turns.size), '--overlap', str(turns.overlap), '--', path]
        start = time.perf_counter()
        with log.open('wb') as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=plain_environment()
            )
            record.peak_mib = peak_of(process)
        record.whole_seconds = time.perf_counter() - start
        if process.returncode:
            raise ConfigError(f"rs4d predict failed on '{path}': {last_line(log)}")
        lines = log.read_text(encoding='utf-8', errors='replace').split('\n')
        record.objects = next((line for line in lines if ' objects in ' in line), '').split(' ')[0]


def _table(records: Sequence[SceneRecord]) -> list[str]:
    heads = ['scene', 'pixels', 'windows', 'windows/s', 'of the model alone']
    heads += ['minutes for all', 'peak MiB', 'objects']
    lines = [f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for record in records:
        rate = spread([record.tiles / seconds for seconds in record.seconds])
        share = ratio(record.model_seconds, record.seconds)
        cells = [record.scene, f'{record.height} x {record.width}', str(record.windows)]
        cells += [str(rate), str(share)]
        if record.whole_seconds is None:
            cells += ['', '', '']
        else:
            cells += [f'{record.whole_seconds / 60:.1f}', f'{record.peak_mib:.0f}', record.objects]
        lines.append(f'| {" | ".join(cells)} |')
    return lines
