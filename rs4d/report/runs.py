"""The test runs of a report: what was scored, with what, and how it was trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs4d.errors import ConfigError
from rs4d.evaluation import Kind, RecordedTest, RecordedTestError, find_test, read_test
from rs4d.visualization import TrainingRun, read_run


@dataclass(frozen=True)
class Run:
    """A test and its training.

    Attributes:
        name: Its title in the report.
        test: What the test left.
        config: The config's text, if it is there.
        training: The curves of the training whose checkpoint was tested, if they are there.
    """

    name: str
    test: RecordedTest
    config: str | None
    training: TrainingRun | None


def read_runs(paths: Sequence[str | Path], names: Sequence[str] | None = None) -> list[Run]:
    """Read runs that were scored on the same truth.

    Args:
        paths: A test's folder each, or a work dir, of which the newest test is taken.
        names: Their titles; by default the shortest ends of their paths that tell them apart.

    Raises:
        UserError: A test is missing or damaged, names do not fit, or the truths differ.
    """
    folders = [find_test(path) for path in paths]
    if len(set(map(Path.resolve, folders))) < len(folders):
        raise ConfigError(
            f'The same test is named twice: {", ".join(map(str, folders))}. Name tests that differ, '
            'by their folders: WORK_DIR/TIME_OF_START.'
        )
    titles = list(names) if names else _names(folders)
    if len(titles) != len(folders) or len(set(titles)) < len(titles):
        raise ConfigError(
            f'--names has {len(titles)} titles ({", ".join(titles)}) for {len(folders)} runs; give '
            'each run one of its own.'
        )
    runs = [_read(folder, title) for folder, title in zip(folders, titles, strict=True)]
    for run in runs[1:]:
        _require_same_truth(runs[0].test, run.test)
    return runs


def kinds_of(runs: Sequence[Run]) -> tuple[Kind, ...]:
    """Return what all runs can be scored by, masks first."""
    return ('segm', 'bbox') if all(run.test.has_masks for run in runs) else ('bbox',)


def _names(folders: Sequence[Path]) -> list[str]:
    """Name tests by work dirs if these differ, or else by as much of their paths as is needed."""
    parts = [folder.resolve().parts[1:] for folder in folders]
    work_dirs = [part[-2] if len(part) > 1 else part[-1] for part in parts]
    if len(set(work_dirs)) == len(work_dirs):
        return work_dirs
    longest = max(map(len, parts))
    for count in range(1, longest + 1):
        names = ['/'.join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _read(folder: Path, name: str) -> Run:
    test = read_test(folder)
    configs = [folder / 'vis_data' / 'config.py', folder / 'config.py']
    text = next((file.read_text(encoding='utf-8') for file in configs if file.is_file()), None)
    return Run(name, test, text, _training(test, name))


def _training(test: RecordedTest, name: str) -> TrainingRun | None:
    """Read the curves from beside the checkpoint, or from the work dir that the test was in."""
    checkpoint = test.metrics.get('checkpoint')
    places = [Path(checkpoint).parent] if isinstance(checkpoint, str) else []
    for place in (*places, test.folder.parent):
        if any(place.glob('*/vis_data/scalars.json')):
            return read_run(place, name)
    return None


def _require_same_truth(first: RecordedTest, other: RecordedTest) -> None:
    if _content(first) != _content(other):
        raise RecordedTestError(
            f"'{first.folder}' and '{other.folder}' were scored on different truths: images, classes "
            'or instances differ. Test both on the same annotation file.'
        )


def _content(test: RecordedTest) -> tuple[Any, ...]:
    """All of a truth that figures depend on."""
    truth = test.truth
    images = {
        key: (image.get('file_name'), image['height'], image['width'])
        for key, image in truth.imgs.items()
    }
    names = {key: category['name'] for key, category in truth.cats.items()}
    fields = ('image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'segmentation')
    instances = [[entry.get(field) for field in fields] for entry in truth.anns.values()]
    return images, names, instances
