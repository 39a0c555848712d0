"""Arrays kept between runs, in one SQLite file."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from frugalrec import assets
from frugalrec.cost import Cost
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix

T = TypeVar("T")

_SCHEMA = 1
_CREATE = """
CREATE TABLE arrays (key TEXT PRIMARY KEY, shape TEXT NOT NULL, data BLOB NOT NULL, checksum INTEGER NOT NULL,
                     price TEXT NOT NULL, used REAL NOT NULL);
CREATE INDEX arrays_used ON arrays (used);
"""
_GET = "SELECT key, shape, data, checksum, price, used FROM arrays WHERE key IN"
_PUT = "INSERT OR IGNORE INTO arrays VALUES (?, ?, ?, ?, ?, ?)"
_TOUCH = "UPDATE arrays SET used = ? WHERE key = ?"
_DELETE = "DELETE FROM arrays WHERE key = ?"
_EVICT = "DELETE FROM arrays WHERE rowid IN (SELECT rowid FROM arrays ORDER BY used, rowid LIMIT ?)"

_ASKED_AT_ONCE = 250  # a query for each key takes several times as long; SQLite has had room for 999 since ever

_TOUCH_AFTER_SECONDS = 3600.0  # finer than that, reading would mean writing
_BUSY_SECONDS = 10.0
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class ArrayCache:
    """Float32 arrays under string keys, each with the cost it was first had at. May forget; never fails, never lies.

    One SQLite file in write-ahead mode, shared by threads and processes: what `put` has returned from survives the
    process being killed. Beyond ``max_bytes`` the arrays not used for longest go. Every array carries a checksum. A
    damaged file is moved aside (``.damaged``) and begun anew; a file that cannot be written (disk full, read-only,
    locked for long) is only read from then on. Either is said in a warning, and the caller works on, uncached.

    ``path`` defaults to ``arrays.sqlite`` in frugalrec's cache folder. Get and put are O(log n) an array.

    >>> import tempfile; from pathlib import Path
    >>> cache = ArrayCache(Path(tempfile.mkdtemp()) / "arrays.sqlite")
    >>> cache.put({"a": (np.ones(3, np.float32), Cost(seconds=0.5))})
    >>> cache.get(["a", "b"])["a"][0].tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(
        self, path: Path | None = None, *, max_bytes: int = 2 << 30, clock: Callable[[], float] = time.time
    ) -> None:
        if max_bytes < 1:
            raise ConfigError(f"max_bytes must be at least 1, not {max_bytes}")
        self.path = assets.cache_dir() / "arrays.sqlite" if path is None else path
        self.max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] = (0, 0)  # the process that opened the connection, and the file's inode
        self._readable = self._writable = True

    def get(self, keys: Sequence[str]) -> dict[str, tuple[Matrix, Cost]]:
        """Return the arrays kept under ``keys`` with their first prices; absent ones are left out."""
        if not keys or not self._readable:
            return {}
        now = self._clock()

        def read(connection: sqlite3.Connection) -> tuple[dict[str, tuple[Matrix, Cost]], list[str], list[str]]:
            found: dict[str, tuple[Matrix, Cost]] = {}
            stale: list[str] = []
            broken: list[str] = []
            for start in range(0, len(keys), _ASKED_AT_ONCE):
                asked = keys[start : start + _ASKED_AT_ONCE]
                for key, *content, used in connection.execute(f"{_GET} ({', '.join('?' * len(asked))})", asked):
                    try:
                        found[key] = _decoded(*content)
                    except (TypeError, ValueError):
                        broken.append(key)
                        continue
                    if used < now - _TOUCH_AFTER_SECONDS:
                        stale.append(key)
            return found, stale, broken

        result = self._attempt(read)
        if result is None:
            return {}
        found, stale, broken = result
        if broken:
            warnings.warn(
                f"{self.path}: {len(broken)} cached arrays are damaged and will be computed again", stacklevel=2
            )
        if (stale or broken) and self._writable:

            def note(connection: sqlite3.Connection) -> None:
                connection.executemany(_TOUCH, [(now, key) for key in stale])
                connection.executemany(_DELETE, [(key,) for key in broken])

            self._attempt(note, writes=True)
        return found

    def put(self, arrays: Mapping[str, tuple[Matrix, Cost]]) -> None:
        """Keep ``arrays``, all or none; a key that is there already keeps what it has."""
        if not arrays or not self._writable:
            return
        now = self._clock()
        rows = [(key, *_encoded(array, price), now) for key, (array, price) in arrays.items()]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_PUT, rows)
            self._evict(connection)

        self._attempt(write, writes=True)

    def __len__(self) -> int:
        def count(connection: sqlite3.Connection) -> int:
            return int(connection.execute("SELECT COUNT(*) FROM arrays").fetchone()[0])

        return self._attempt(count) or 0

    def size_bytes(self) -> int:
        """Return how many bytes of the file are in use."""
        return self._attempt(_used_bytes) or 0

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._connection is not None and self._opened[0] == os.getpid():
                self._connection.close()
            self._connection = None

    def _evict(self, connection: sqlite3.Connection) -> None:
        while (used := _used_bytes(connection)) > self.max_bytes:
            n = int(connection.execute("SELECT COUNT(*) FROM arrays").fetchone()[0])
            if n == 0:
                return
            # A tenth more than needed, so that not every put has to evict.
            connection.execute(_EVICT, (max(1, int(n * (1 - 0.9 * self.max_bytes / used))),))

    def _attempt(self, action: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T | None:
        """Run ``action`` in a transaction; on a damaged file, once more on a new one. Other failures end in None."""
        with self._lock:
            for last_try in (False, True):
                try:
                    return self._transact(action, writes=writes)
                except (sqlite3.Error, OSError) as error:
                    if isinstance(error, sqlite3.Error) and _code(error) in _DAMAGED:
                        self.close()
                        if not last_try and self._move_aside():
                            continue
                    self._give_up(error, writes=writes)
                    return None
        raise AssertionError("unreachable")

    def _transact(self, action: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        connection = self._connect()
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            result = action(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite has rolled back by itself after some errors
                connection.execute("ROLLBACK")
            raise
        return result

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._opened[0] == os.getpid():
            return self._connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self._opened = os.getpid(), self.path.stat().st_ino
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last puts, never the file
            connection.execute("PRAGMA journal_size_limit = 16777216")
            if connection.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA:
                self._create(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA:  # unless another process was faster
            connection.execute("DROP TABLE IF EXISTS arrays")
            for statement in filter(str.strip, _CREATE.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")
        connection.execute("COMMIT")

    def _move_aside(self) -> bool:
        """Make room for a new file; False when that is impossible."""
        try:
            if self._opened[1] != self.path.stat().st_ino:
                return True  # another process has already put a new file there
            # The log goes first: left beside a new file, it would be played into it.
            for suffix in ("-wal", "-shm", ""):
                file = self.path.with_name(self.path.name + suffix)
                if file.exists():
                    file.replace(self.path.with_name(f"{self.path.name}.damaged{suffix}"))
        except OSError:
            return False
        warnings.warn(f"{self.path} was damaged: moved to {self.path.name}.damaged and begun anew", stacklevel=2)
        return True

    def _give_up(self, error: Exception, *, writes: bool) -> None:
        self._writable = False
        if not writes:
            self._readable = False
        warnings.warn(f"{self.path}: going on without {'storing' if writes else 'the cache'}: {error}", stacklevel=2)


def _encoded(array: Matrix, price: Cost) -> tuple[str, bytes, int, str]:
    shape, data = json.dumps(array.shape), np.ascontiguousarray(array, dtype=np.float32).tobytes()
    known = _written(price)
    return shape, data, _checksum(shape, data, known), known


@lru_cache(maxsize=4096)
def _written(price: Cost) -> str:
    # Texts of one length in one batch cost the same.
    return json.dumps({name: amount for name, amount in price.to_dict().items() if amount is not None})


def _decoded(shape: str, data: bytes, checksum: int, price: str) -> tuple[Matrix, Cost]:
    """Inverse of `_encoded`; raises `TypeError` or `ValueError` when what was kept is damaged."""
    if _checksum(shape, data, price) != checksum:
        raise ValueError("wrong checksum")
    # A copy, because an array over immutable bytes cannot be written to.
    return np.frombuffer(data, dtype=np.float32).reshape(_shape(shape)).copy(), _price(price)


@lru_cache(maxsize=256)
def _shape(text: str) -> tuple[int, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=4096)
def _price(text: str) -> Cost:
    return Cost.from_dict(json.loads(text))


def _checksum(shape: str, data: bytes, price: str) -> int:
    return zlib.crc32(data, zlib.crc32((shape + price).encode()))


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says more than is needed


__all__ = ["ArrayCache"]
