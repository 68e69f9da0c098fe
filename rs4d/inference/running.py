"""A whole prediction: inputs in, files out, resumable, by one process or several."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rs4d.engine.freed_memory import give_back_freed_memory
from rs4d.engine.shares import Share
from rs4d.errors import UserError, some
from rs4d.files import PART, FileWriteError, make_folder, refuse_existing
from rs4d.geo.raster_file import is_local

from .claims import claimed, one_at_a_time
from .inputs import InputError
from .joining import Found
from .outputs import NAME, Origin, expected_files, require_formats, write_outputs
from .scene import Detector, Limit, Scene, predict_tiles
from .scene_work import SceneWork

FOLDER, DONE = '.unfinished', '.finished'
"""Where journals lie in the output folder until all is done, and while they are removed."""
# Batches after which freed memory goes back: it takes milliseconds, and without it a process grows.
_TRIM_INTERVAL = 256


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
        prediction = _Prediction(detector, options, origin, settings, share)
        return prediction.run(paths, begin, progress)


class _Prediction:
    """What `predict_inputs` promises, in a folder that is this process'."""

    def __init__(
        self,
        detector: Detector,
        options: Options,
        origin: Origin,
        settings: Mapping[str, Any],
        share: Share,
    ) -> None:
        self.detector, self.options, self.origin = detector, options, origin
        self.settings, self.share = settings, share
        self.folder = options.out / FOLDER
        self.outcome = Outcome()

    def run(
        self, paths: Sequence[str], begin: Callable[[float, float], None], progress: Progress
    ) -> Outcome:
        """Predict the share, and write the results if nothing is left to others."""
        scenes = self._open(paths)
        require_formats(self.options.formats, scenes)
        work = [SceneWork(scene, self.folder, self.settings) for scene in scenes]
        todo = [item.missing(self.share) for item in work]
        total, left = 0.0, 0.0
        for item, numbers in zip(work, todo, strict=True):
            area = item.scene.pixel_area
            total += area * item.pixels(self.share.part(len(item.scene.plan)))
            left += area * item.pixels(numbers)
        begin(total, total - left)
        for item, numbers in zip(work, todo, strict=True):
            self._predict(item, numbers, progress)
        with one_at_a_time(self.folder):
            if self.folder.is_dir():
                # That of the windows, before all objects and their layer need some.
                give_back_freed_memory()
                self._finish(work)
                give_back_freed_memory()
            else:  # by another process
                self.outcome.files = expected_files(self.options.out, self.options.formats)
        return self.outcome

    def _open(self, paths: Sequence[str]) -> list[Scene]:
        scenes, options, failures = [], self.options, self.outcome.failures
        for path in paths:
            try:
                scenes.append(
                    Scene.open(
                        path, self.detector.loader, options.size, options.overlap, options.whole
                    )
                )
            except UserError as error:
                failures.append(str(error))
        if not scenes:
            raise InputError(
                failures[0]
                if len(failures) == 1
                else f'None of the {len(paths)} inputs can be read: {some(failures, 2)}'
            )
        return scenes

    def _predict(self, item: SceneWork, numbers: Sequence[int], progress: Progress) -> None:
        """Predict tiles of a scene; that it is damaged is noted, and others go on."""
        area = item.scene.pixel_area
        try:
            with item.journal(self.share) as journal:
                entries = predict_tiles(self.detector, item.scene, numbers, self.options.batch_size)
                for count, entry in enumerate(entries, 1):
                    journal.add(entry)
                    progress(item.scene, area * item.pixels(entry.tiles), len(entry.pieces))
                    if count % _TRIM_INTERVAL == 0:
                        give_back_freed_memory()
        except FileWriteError:
            raise
        except UserError as error:
            item.fail(self.share, str(error))

    def _finish(self, work: Sequence[SceneWork]) -> None:
        """Write the results if nothing is left to any process."""
        outcome, options, limit = self.outcome, self.options, self.detector.limit
        failures = [item.failure() for item in work]
        for item, failure in zip(work, failures, strict=True):
            if failure is None and len(item.done()) < len(item.scene.plan):
                return
        outcome.failures += [failure for failure in failures if failure is not None]
        whole = [item for item, failure in zip(work, failures, strict=True) if failure is None]
        if not whole:
            raise InputError(
                f'None of the inputs can be read to its end: {some(outcome.failures, 2)}'
            )
        results = []
        for item in whole:
            found, full = item.found()
            results.append((item.scene, found))
            outcome.warnings += _too_large(item.scene, found)
            if limit and full:
                outcome.warnings.append(_too_many(item.scene, full, limit))
        for part in options.out.glob(f'{NAME}*{PART}*'):
            # Of an earlier process that was killed in this place.
            part.unlink()
        outcome.files = write_outputs(
            options.out,
            results,
            self.detector.classes,
            options.formats,
            self.origin,
            options.simplify,
            self.detector.loader,
        )
        outcome.scenes = len(whole)
        outcome.objects = sum(len(found) for _, found in results)
        if not outcome.failures:
            # Gone at once for other processes, and after a kill in between.
            shutil.rmtree(self.folder.rename(self.folder.with_name(DONE)))


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


def fingerprint(checkpoint: str, config: Any) -> dict[str, str]:
    """What a model is known by: checksums of its weights and of its config."""
    digest = hashlib.sha256()
    with open(os.path.expanduser(checkpoint), 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    text = json.dumps(config, sort_keys=True, default=str)
    settings = hashlib.sha256(text.encode()).hexdigest()
    return dict(checkpoint=digest.hexdigest()[:16], config=settings[:16])
