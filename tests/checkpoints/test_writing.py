"""A checkpoint is whole or absent, and its predecessor stays until then."""

import errno
from pathlib import Path

import pytest

from rs4d.checkpoints import CheckpointWriteError, remove_unfinished, written_whole


def test_a_file_replaces_the_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / 'a.pth'
    target.write_text('old')
    with written_whole(target) as part:
        part.write_text('new')
        assert target.read_text() == 'old'
    assert target.read_text() == 'new'
    assert [file.name for file in tmp_path.iterdir()] == ['a.pth']


def test_a_folder_replaces_the_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / 'a.pth'
    for ranks in (3, 2):
        with written_whole(target) as part:
            part.mkdir()
            for rank in range(ranks):
                (part / f'rank{rank}.pth').write_text(str(ranks))
    assert sorted(file.read_text() for file in target.iterdir()) == ['2', '2']
    assert [file.name for file in tmp_path.iterdir()] == ['a.pth']


@pytest.mark.parametrize('shared', [False, True])
def test_a_full_disk(tmp_path: Path, shared: bool) -> None:
    target = tmp_path / 'a.pth'
    target.write_text('old')
    with (  # noqa: PT012 - the write is what fails
        pytest.raises(CheckpointWriteError, match=r"a\.pth' could not be written: No space"),
        written_whole(target) as part,
    ):
        if shared:
            part.mkdir()
            part = part / 'rank0.pth'
        part.write_text('ne')
        raise OSError(errno.ENOSPC, 'No space left on device')
    assert target.read_text() == 'old'
    assert [file.name for file in tmp_path.iterdir()] == ['a.pth']


def test_a_write_that_did_not_happen(tmp_path: Path) -> None:
    with pytest.raises(CheckpointWriteError, match='No such file'), written_whole(tmp_path / 'a'):
        pass


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / 'a.pth') as part:
        part.write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    (tmp_path / 'a.pth').write_text('whole')
    (tmp_path / 'b.pth.part').write_text('hal')
    (tmp_path / 'c.pth.part').mkdir()
    (tmp_path / 'c.pth.part' / 'rank0.pth').write_text('hal')
    remove_unfinished(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ['a.pth']
