"""A file is whole or absent, and what was there before stays until then."""

import errno
import json
import os
import resource
from pathlib import Path

import pytest

from rs4d.files import (
    ExistingFileError,
    FileWriteError,
    make_folder,
    refuse_existing,
    remove_parts,
    write_bytes,
    write_json,
    written_whole,
)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_file_replaces_the_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / 'a.pth'
    target.write_text('old')
    with written_whole(target) as part:
        part.write_text('new')
        assert target.read_text() == 'old'
    assert target.read_text() == 'new'
    assert names(tmp_path) == ['a.pth']


def test_a_link_replaces_the_earlier_one(tmp_path: Path) -> None:
    for name in ('one', 'other'):
        with written_whole(tmp_path / 'link') as part:
            part.symlink_to(name)
    assert os.readlink(tmp_path / 'link') == 'other'


def test_a_folder_is_made(tmp_path: Path) -> None:
    write_json(tmp_path / 'deep' / 'a.json', dict(ä=[1]))
    assert json.loads((tmp_path / 'deep' / 'a.json').read_text()) == {'ä': [1]}


def test_a_full_disk(tmp_path: Path) -> None:
    target = tmp_path / 'a.pth'
    target.write_text('old')
    with (  # noqa: PT012 - the write is what fails
        pytest.raises(FileWriteError, match=r"a\.pth' could not be written: No space"),
        written_whole(target) as part,
    ):
        part.write_text('ne')
        raise OSError(errno.ENOSPC, 'No space left on device')
    assert target.read_text() == 'old'
    assert names(tmp_path) == ['a.pth']


def test_a_file_over_the_limit(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FileWriteError, match='could not be written: File too large'):
            write_bytes(tmp_path / 'a', bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not names(tmp_path)


def test_a_write_that_did_not_happen(tmp_path: Path) -> None:
    with pytest.raises(FileWriteError, match='No such file'), written_whole(tmp_path / 'a'):
        pass


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / 'a').touch()
    with pytest.raises(FileWriteError, match='could not be written'):
        write_bytes(tmp_path / 'a' / 'b', b'')


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / 'a.pth') as part:
        part.write_text(str(1 / 0))
    assert not names(tmp_path)


def test_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    for name in ('a.pth', 'b.pth.part', 'c.pth.123.part', 'd.json.part'):
        (tmp_path / name).touch()
    remove_parts(tmp_path, '*.pth')
    assert names(tmp_path) == ['a.pth', 'd.json.part']


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    refuse_existing(tmp_path / 'a')
    (tmp_path / 'b').touch()
    with pytest.raises(ExistingFileError, match=r"b' exists already.*--overwrite"):
        refuse_existing(tmp_path / 'a', tmp_path / 'b')


def test_a_folder_for_results_is_made_or_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / 'a/b', '--out')
    assert names(tmp_path / 'a') == ['b']
    make_folder(tmp_path / 'a', '--out')
    assert names(tmp_path / 'a') == ['b']
    (tmp_path / 'file').touch()
    for place in (tmp_path / 'file', tmp_path / 'file/below', tmp_path / ('long' * 100)):
        with pytest.raises(FileWriteError, match=r'Nothing can be written to .* by --out'):
            make_folder(place, '--out')
