"""A whole prediction: inputs in, files out, resumable, by one process or several."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rs4d.engine.shares import Share
from rs4d.errors import UserError, some
from rs4d.files import PART, FileWriteError, make_folder, refuse_existing, write_text
from rs4d.geo.raster_file import file_of, is_local

from .claims import claimed, one_at_a_time
from .inputs import InputError
from .joining import Found, join
from .journal import Journal, is_begun, read_entries, require_settings
from .outputs import NAME, Origin, expected_files, require_formats, write_outputs
from .scene import Detector, Limit, Scene, predict_tiles

FOLDER, DONE = '.unfinished', '.finished'
"""Where journals lie in the output folder until all is done, and while they are removed."""


@dataclass(frozen=True)
class Options:
    """How inputs are predicted.

    Attributes:
        out: Folder of the results.
        formats: What is written, of ``outputs.FORMATS``.
        size: Side of a window.
        overlap: What neighbouring windows share, at least the size of the largest object.
        batch_size: Windows that go through the model at once.
        simplify: By how many pixels outlines may change to have fewer corners.
        whole: Predict every input as a whole.
        overwrite: Start anew, over earlier results.
    """

    out: Path
    formats: Sequence[str] = ('gpkg',)
    size: int = 512
    overlap: int = 128
    batch_size: int = 1
    simplify: float = 0.0
    whole: bool = False
    overwrite: bool = False


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        scenes: How many inputs were predicted.
        objects: How many objects were found in them.
        failures: Why others were not, a sentence each.
        warnings: What the results should be read with.
        files: What was written; None as long as other processes have not done their share.
    """

    scenes: int = 0
    objects: int = 0
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: list[Path] | None = None


Progress = Callable[[Scene, float, int], None]


def predict_inputs(
    detector: Detector,
    paths: Sequence[str],
    options: Options,
    origin: Origin,
    settings: Mapping[str, Any],
    share: Share | None = None,
    begin: Callable[[float, float], None] = lambda total, done: None,
    progress: Progress = lambda scene, area, objects: None,
) -> Outcome:
    """Predict this process' share of the tiles of all inputs; the last process writes the results.

    Args:
        detector: What finds objects.
        paths: Of the inputs.
        options: How.
        origin: Where results come from.
        settings: What decides, besides the options and the scene, what is found; a journal of others is
            not gone on with.
        share: Which of several processes this is.
        begin: Called once with all square kilometres of the share, and those that are done already.
        progress: Called for each batch with its scene, its square kilometres and its objects.

    Raises:
        InputError: None of the inputs can be read.
        JournalError: The folder has an unfinished prediction with other settings.
        UserError: Results are there already, or cannot be written.
    """
    share = share or Share()
    folder = options.out / FOLDER
    make_folder(options.out, '--out')
    shutil.rmtree(options.out / DONE, ignore_errors=True)

    def look() -> None:
        if options.overwrite:
            if share.world_size == 1:
                _remove_begun(folder)
        elif not any(folder.glob('*/*')):
            refuse_existing(*expected_files(options.out, options.formats))

    with claimed(folder, share, _work_of(paths, options, settings), look):
        return _predict(detector, paths, options, origin, settings, share, begin, progress)


def _predict(
    detector: Detector,
    paths: Sequence[str],
    options: Options,
    origin: Origin,
    settings: Mapping[str, Any],
    share: Share,
    begin: Callable[[float, float], None],
    progress: Progress,
) -> Outcome:
    """Do what `predict_inputs` promises, in a folder that is this process'."""
    folder = options.out / FOLDER
    outcome = Outcome()
    scenes = _open(detector, paths, options, outcome)
    require_formats(options.formats, scenes)
    work = [_Work(scene, folder, options, settings) for scene in scenes]
    todo = [item.missing(share) for item in work]
    areas = [item.scene.pixel_area for item in work]
    total = sum(
        area * item.pixels(list(_part(item.scene, share)))
        for area, item in zip(areas, work, strict=True)
    )
    left = sum(area * item.pixels(rows) for area, item, rows in zip(areas, work, todo, strict=True))
    begin(total, total - left)
    for item, numbers, area in zip(work, todo, areas, strict=True):
        try:
            with item.journal(share) as journal:
                entries = predict_tiles(detector, item.scene, numbers, options.batch_size)
                for entry in entries:
                    journal.add(entry)
                    progress(item.scene, area * item.pixels(entry.tiles), len(entry.pieces))
        except FileWriteError:
            raise
        except UserError as error:
            item.fail(share, str(error))
    with one_at_a_time(folder):
        if folder.is_dir():
            _finish(work, detector, options, origin, outcome)
        else:  # by another process
            outcome.files = expected_files(options.out, options.formats)
    return outcome


def _work_of(paths: Sequence[str], options: Options, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What processes that share a work have in common."""
    return dict(settings) | dict(
        inputs=[os.path.abspath(path) if is_local(path) else path for path in paths],
        formats=list(options.formats),
        size=options.size,
        overlap=options.overlap,
        simplify=options.simplify,
        whole=options.whole,
    )


def _remove_begun(folder: Path) -> None:
    """Remove the journals of an earlier prediction."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _open(
    detector: Detector, paths: Sequence[str], options: Options, outcome: Outcome
) -> list[Scene]:
    scenes = []
    for path in paths:
        try:
            scenes.append(
                Scene.open(path, detector.loader, options.size, options.overlap, options.whole)
            )
        except UserError as error:
            outcome.failures.append(str(error))
    if not scenes:
        raise InputError(
            outcome.failures[0]
            if len(outcome.failures) == 1
            else f'None of the {len(paths)} inputs can be read: {some(outcome.failures, 2)}'
        )
    return scenes


def _part(scene: Scene, share: Share) -> range:
    return share.part(len(scene.plan))


class _Work:
    """What is known on disk of a scene."""

    def __init__(
        self, scene: Scene, folder: Path, options: Options, settings: Mapping[str, Any]
    ) -> None:
        self.scene = scene
        path = os.path.abspath(scene.path) if is_local(scene.path) else scene.path
        key = hashlib.sha256(path.encode()).hexdigest()[:12]
        self._folder = folder / f'{scene.name[:60]}-{key}'
        self._settings = dict(settings) | dict(
            scene=path,
            file=_stamp(path),
            shape=[scene.plan.height, scene.plan.width],
            size=scene.plan.size,
            overlap=scene.plan.overlap,
        )

    def journals(self) -> list[Path]:
        """Those of all processes that there have been.

        Raises:
            JournalError: One is of other settings.
        """
        # A process may have just begun one, or been killed when it did.
        found = [path for path in sorted(self._folder.glob('*.journal')) if is_begun(path)]
        for path in found:
            require_settings(path, self._settings)
        return found

    def journal(self, share: Share) -> Journal:
        """The one that this process writes."""
        name = f'{share.rank}of{share.world_size}.journal'
        journal = Journal(self._folder / name, self._settings)
        self._failed(share).unlink(missing_ok=True)
        return journal

    def done(self) -> set[int]:
        """The tiles that some process has done."""
        return {
            tile for path in self.journals() for entry in read_entries(path) for tile in entry.tiles
        }

    def missing(self, share: Share) -> list[int]:
        """The tiles that are left to a process."""
        done = self.done()
        return [number for number in _part(self.scene, share) if number not in done]

    def fail(self, share: Share, reason: str) -> None:
        """Note that the scene cannot be predicted to its end."""
        write_text(self._failed(share), reason)

    def failure(self) -> str | None:
        """Why the scene cannot be predicted to its end, if so."""
        reasons = [path.read_text() for path in sorted(self._folder.glob('*.failed'))]
        return reasons[0] if reasons else None

    def found(self) -> tuple[list[Found], int]:
        """The objects of the scene, and how many windows show as many as the model gives at most."""
        pieces = {}
        full: set[int] = set()
        for path in self.journals():
            for entry in read_entries(path):
                by_tile: dict[int, list[Any]] = {tile: [] for tile in entry.tiles}
                for piece in entry.pieces:
                    by_tile[piece.tile].append(piece)
                # What two processes have both done counts once.
                pieces.update(by_tile)
                full.update(entry.full)
        rows = [piece for tile in sorted(pieces) for piece in pieces[tile]]
        return join(rows, self.scene.plan), len(full)

    def pixels(self, tiles: Sequence[int]) -> int:
        """How many pixels the cores of tiles have."""
        return self.scene.plan.core_pixels(tiles)

    def _failed(self, share: Share) -> Path:
        return self._folder / f'{share.rank}of{share.world_size}.failed'


def _finish(
    work: Sequence[_Work],
    detector: Detector,
    options: Options,
    origin: Origin,
    outcome: Outcome,
) -> None:
    """Write the results if nothing is left to any process."""
    folder = options.out / FOLDER
    failures = [item.failure() for item in work]
    for item, failure in zip(work, failures, strict=True):
        if failure is None and len(item.done()) < len(item.scene.plan):
            return
    outcome.failures += [failure for failure in failures if failure is not None]
    whole = [item for item, failure in zip(work, failures, strict=True) if failure is None]
    if not whole:
        raise InputError(f'None of the inputs can be read to its end: {some(outcome.failures, 2)}')
    results = []
    for item in whole:
        found, full = item.found()
        results.append((item.scene, found))
        outcome.warnings += _too_large(item.scene, found)
        if detector.limit and full:
            outcome.warnings.append(_too_many(item.scene, full, detector.limit))
    for part in options.out.glob(f'{NAME}*{PART}*'):
        # Of an earlier process that was killed in this place.
        part.unlink()
    outcome.files = write_outputs(
        options.out,
        results,
        detector.classes,
        options.formats,
        origin,
        options.simplify,
        detector.loader,
    )
    outcome.scenes = len(whole)
    outcome.objects = sum(len(found) for _, found in results)
    if not outcome.failures:
        # Gone at once for other processes, and after a kill in between.
        shutil.rmtree(folder.rename(folder.with_name(DONE)))


def _too_large(scene: Scene, found: Sequence[Found]) -> list[str]:
    """A warning where objects are larger than what windows share."""
    plan = scene.plan
    if not plan.size or len(plan) == 1:
        return []
    sides = [max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (one.polygon.bounds for one in found)]
    large = [side for side in sides if side > plan.overlap]
    if not large:
        return []
    need = int(max(large)) + 1
    joined = sum(one.joined > 1 for one in found)
    size = f' --size {2 * need}' if need > plan.size // 2 else ''
    return [
        f"'{scene.path}': {len(large)} objects are larger than the {plan.overlap} pixels that windows "
        f'share, the largest {need - 1} pixels, and {joined} were put together of pieces. With '
        f'--overlap {need}{size} each would be seen as a whole.'
    ]


def _too_many(scene: Scene, full: int, limit: Limit) -> str:
    """A warning where windows hold more objects than the model may give."""
    return (
        f"'{scene.path}': {full} of {len(scene.plan)} windows show {limit.count} objects, as many as "
        f'the model gives of one image, and may have more. See them by --cfg-options '
        f'{limit.setting}={4 * limit.count}, or by a smaller --size.'
    )


def _stamp(path: str) -> list[int] | None:
    """What changes with a file."""
    file = file_of(path)
    if file is None:
        return None
    status = os.stat(file)
    return [status.st_size, status.st_mtime_ns]


def fingerprint(checkpoint: str, config: Any) -> dict[str, str]:
    """What a model is known by: checksums of its weights and of its config."""
    digest = hashlib.sha256()
    with open(os.path.expanduser(checkpoint), 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    text = json.dumps(config, sort_keys=True, default=str)
    settings = hashlib.sha256(text.encode()).hexdigest()
    return dict(checkpoint=digest.hexdigest()[:16], config=settings[:16])
