"""Broken images are counted over everything that was read, and named in the log from any rank."""

import copy
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from rs4d.datasets import ImageDecodeError, broken_images
from rs4d.datasets.broken_images import BrokenImages, warn


def read(broken: BrokenImages, number: int, every: int) -> int:
    """Read images of which every so-manyth is broken, until there are too many."""
    for i in range(number):
        if i % every == every - 1:
            try:
                broken.note_broken(i, f'{i}.jpg', ImageDecodeError('It is cut off.'))
            except ImageDecodeError:
                return i + 1
        else:
            broken.note_whole(i)
    return number


@pytest.mark.parametrize(
    ('total', 'every', 'stops_at'),
    [
        (100_000, 33, 21 * 33),  # 3 %: once there are more than 20
        (100_000, 10, 21 * 10),
        (100_000, 100, 5000),  # 1 % is allowed
        (100_000, 200, 5000),
        (1000, 33, 11 * 33),  # more than 1 % of the whole set
        (5, 2, 4),  # one is always allowed
    ],
)
def test_the_share_of_what_was_read(total: int, every: int, stops_at: int) -> None:
    broken = BrokenImages(total, total, 'data')
    assert read(broken, min(total, 5000), every) == stops_at
    assert broken.count() == (stops_at // every, stops_at)


def test_an_image_counts_once() -> None:
    broken = BrokenImages(10, 10, 'data')
    for _ in range(5):
        broken.note_broken(3, '3.jpg', ImageDecodeError('3.jpg is cut off.'))
        copy.deepcopy(broken).note_whole(4)
    assert broken.count() == (1, 2)


@pytest.mark.parametrize('rank', [0, 1])
def test_warnings_of_all_ranks_reach_the_log(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmengine.logging.logger._get_rank', lambda: rank)
    monkeypatch.setattr(broken_images, 'get_rank', lambda: rank)
    monkeypatch.setattr(MMLogger, '_instance_dict', type(MMLogger._instance_dict)())
    file = tmp_path / 'run.log'
    file.write_text('earlier\n')
    MMLogger.get_instance('run', log_file=str(file), file_mode='a')
    warn('sa_1.jpg is cut off.')
    earlier, line = file.read_text().splitlines()
    assert earlier == 'earlier'
    assert line.endswith('WARNING - ' + 'Rank 1: ' * rank + 'sa_1.jpg is cut off.')
