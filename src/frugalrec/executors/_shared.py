"""Large arrays that the processes of one machine pass to each other, as files in memory where it has room."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

PASSED_BYTES = 1 << 20
"""Arrays of a result that have fewer bytes are sent, not passed on."""

_MEMORY = Path("/dev/shm")
_ROOM = 4.0  # times the size of an array must be free where it is passed on
_LARGE_BYTES = 4 << 30  # free memory that makes a file system in memory worth using; containers often have 64 MB
_PREFIX = "frugalrec-"
_LOCK = "owner.lock"
_YOUNG_SECONDS = 60.0  # before that, a folder's owner may not have got to locking it
_UNNAMED = ".unnamed"
_PLACE: ContextVar[str] = ContextVar("place", default="")


class SharedFolder:
    """A folder with a place for each thing that a worker begins; `close` deletes it.

    It is locked as long as its owner lives, so that what a killed one left in memory is found, and deleted here.
    """

    def __init__(self) -> None:
        large = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
        if large:
            _delete_orphans(_MEMORY)
            large = shutil.disk_usage(_MEMORY).free >= _LARGE_BYTES
        self._folder = tempfile.TemporaryDirectory(
            prefix=_PREFIX, dir=_MEMORY if large else None, ignore_cleanup_errors=True
        )
        self._lock = os.open(Path(self._folder.name) / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        _locked(self._lock)
        self._places: dict[int, str] = {}

    def place(self, worker: int) -> str:
        """Return a folder, not made yet, for what the worker begins now."""
        self._places[worker] = os.path.join(self._folder.name, secrets.token_hex(8))
        return self._places[worker]

    def discard(self, worker: int) -> None:
        """Delete what a worker that died or was stopped has left unfinished."""
        if worker in self._places:
            shutil.rmtree(self._places.pop(worker), ignore_errors=True)

    def close(self) -> None:
        """Delete everything; what is mapped stays readable."""
        os.close(self._lock)
        self._folder.cleanup()


@contextlib.contextmanager
def passing(place: str) -> Iterator[None]:
    """Make arrays of `zeros` inside the block in the new folder ``place``, if it is named; an error deletes it."""
    if place:
        os.mkdir(place, 0o700)
    token = _PLACE.set(place)
    try:
        yield
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    finally:
        _PLACE.reset(token)


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return zeros, and memory for them as it is written to.

    A shard that will pass them on to other processes makes them where those find them, so that nothing is copied.
    """
    place, size = _PLACE.get(), math.prod(shape) * dtype.itemsize
    if size < PASSED_BYTES or not place.startswith(str(_MEMORY)):
        return np.zeros(shape, dtype)
    # Writing to a mapped file ends the process when the file system is full, and others fill it as well.
    if shutil.disk_usage(place).free < _ROOM * size:
        return np.zeros(shape, dtype)
    with tempfile.NamedTemporaryFile(dir=place, suffix=_UNNAMED, delete=False) as file:
        return np.lib.format.open_memmap(file.name, mode="w+", dtype=dtype, shape=shape)


def leave(array: np.ndarray[Any, Any], path: Path) -> None:
    """Leave ``array`` in the file ``path``: where it is a whole file that `zeros` made, that file."""
    if isinstance(array, np.memmap) and array.filename is not None and array.flags.c_contiguous:
        file = Path(array.filename)
        if (
            file.parent == path.parent
            and file.suffix == _UNNAMED
            and array.nbytes + array.offset == os.stat(file).st_size
        ):
            os.replace(file, path)
            return
    np.save(path, array)


def _delete_orphans(root: Path) -> None:
    """Delete folders of this user whose owner lives no more. Anybody may write to ``root``: no link is followed."""
    for lock in root.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            if {lock.lstat().st_uid, lock.parent.lstat().st_uid} != {os.getuid()} or lock.parent.is_symlink():
                continue
            if time.time() - lock.lstat().st_mtime < _YOUNG_SECONDS:
                continue
            descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _locked(descriptor):
                    shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Return whether the file is locked for this process now; nothing is where locks are unknown (Windows)."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


__all__ = ["PASSED_BYTES", "SharedFolder", "leave", "passing", "zeros"]
