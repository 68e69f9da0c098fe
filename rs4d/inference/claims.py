"""Who predicts into a folder at the moment: processes that share a work may, others are refused."""

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rs4d.engine.shares import Share
from rs4d.errors import UserError
from rs4d.files import FileWriteError

_SUFFIX = '.lock'


class FolderInUseError(UserError, RuntimeError):
    """Another process is predicting into the same folder."""


@contextmanager
def claimed(
    folder: Path, share: Share, work: Any, look: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Be the one process of its rank that predicts into a folder.

    Kills need no care: the system takes a dead process' locks away.

    Args:
        folder: Where journals lie; made if it is not there.
        share: Which process this is.
        work: What all processes that share the folder have in common, as JSON.
        look: Called when no other process can begin or end, before this one has left a trace.

    Raises:
        FolderInUseError: A process of the same rank, or of another work, is at it.
        FileWriteError: The folder cannot be written to.
    """
    text = json.dumps(work, sort_keys=True)
    key = hashlib.sha256(f'{share.world_size} {text}'.encode()).hexdigest()[:12]
    made = not folder.is_dir()
    own = folder / f'{share.rank}of{share.world_size}-{key}{_SUFFIX}'
    with one_at_a_time(folder, make=True):
        try:
            _require_free(folder, own)
            look()
        except UserError:
            if made and not any(folder.iterdir()):
                folder.rmdir()
            raise
        lock = _lock(own)
    try:
        yield
    finally:
        with one_at_a_time(folder):
            # After the last process the folder is gone, and may be another's by now.
            if own.exists() and os.path.samestat(os.fstat(lock), os.stat(own)):
                own.unlink()
                if not any(folder.iterdir()):
                    folder.rmdir()
        os.close(lock)


def _require_free(folder: Path, own: Path) -> None:
    """Raise where a living process holds another work's lock, or this one's."""
    begun = own.name.split('of', 1)[1]
    for path in sorted(folder.glob(f'*{_SUFFIX}')):
        shares = path.name.split('of', 1)[1] == begun and path.name != own.name
        if shares or not _is_held(path):
            continue
        raise FolderInUseError(
            f"'{folder.parent}' is being written to by {path.read_text() or 'another process'}: two "
            'would write over each other. Wait until that has ended or choose another --out; to '
            'share the same inputs, give each process its own --rank and all one --world-size.'
        )


def _is_held(path: Path) -> bool:
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _lock(path: Path) -> int:
    lock = _open(path)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        # Whom a process that is refused is told of.
        os.truncate(lock, 0)
        os.pwrite(lock, f'process {os.getpid()} on {socket.gethostname()}'.encode(), 0)
    except OSError as error:
        raise _failure(path, error) from error
    return lock


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _failure(path, error) from error


def _failure(path: Path, error: OSError) -> FileWriteError:
    return FileWriteError(
        f"'{path}' could not be written: {error.strerror or error}. Choose another place, or change "
        'who may write there.'
    )


@contextmanager
def one_at_a_time(folder: Path, make: bool = False) -> Iterator[None]:
    """Wait while another process begins, or writes the results, after which it removes the folder.

    Args:
        folder: The one that is shared.
        make: Whether it is made where it is not there; else nobody is waited for then.
    """
    lock = None
    while lock is None:
        try:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            if make:  # removed in between
                continue
            yield
            return
        except OSError as error:
            raise _failure(folder, error) from error
        fcntl.flock(lock, fcntl.LOCK_EX)
        if make and not _is_at(lock, folder):
            os.close(lock)
            lock = None
    try:
        yield
    finally:
        os.close(lock)


def _is_at(lock: int, folder: Path) -> bool:
    """Whether an open folder still has its name."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(folder))
    except FileNotFoundError:
        return False
