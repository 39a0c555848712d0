"""Sums over users in shards: each executor adds up ranges of users, in the same order everywhere."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

import frugalrec
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.shards import ShardedLog
from frugalrec.executors import Arrays, Executor, Function, Shard, current
from frugalrec.recommenders._statistics import Statistics, Table

EVENTS_A_SHARD = 250_000
MOST_SHARDS = 16

_FORM = 2  # goes up when what is kept of a shard changes

Columns = tuple[np.ndarray[Any, Any] | None, ...]


def accumulated(model: Any, log: Interactions) -> Statistics:
    """Return ``model.accumulate(log)``, by the executor in force where there is one.

    Shards depend on the log alone, so any number of workers gives the same sums, bit for bit; sums in one piece differ
    from them by rounding, except where they are counts.
    """
    executor = current()
    # Sums of a part are nearly as large as those of the whole, so parts grow with the log.
    n = min(MOST_SHARDS, round(math.sqrt(len(log) / EVENTS_A_SHARD)))
    if executor is None or n < 2:
        found: Statistics = model.accumulate(log)
        return found
    bare = without_encoder(model)
    cuts = np.searchsorted(log.offsets, np.linspace(0, len(log), n + 1)[1:-1])
    users = np.concatenate([[0], cuts, [log.n_users]])
    function = _OfColumns(bare, log.items)
    shards = []
    for first, last in pairwise(users.tolist()):
        payload = _columns(log, first, last)
        shards.append(Shard(payload, _key(bare, log.n_items, *payload[1]) if executor.checkpoints else ""))
    return _whole(executor, function, shards)


def accumulated_from(model: Any, log: ShardedLog) -> Statistics:
    """Return the sums over all users of a log in shards, of which each worker holds one at a time.

    ``model`` must be `Linear`. Memory: a shard and the sums, on each worker.
    """
    executor = current()
    bare = without_encoder(model)
    function = _OfFiles(bare, log)
    places = range(log.n_shards)
    if executor is None:
        from frugalrec.executors.local import Local

        executor = Local()
    shards = [Shard(place, _key(bare, len(log.items), log.fingerprint, place)) for place in places]
    return _whole(executor, function, shards)


def _whole(executor: Executor, function: Function, shards: Sequence[Shard]) -> Statistics:
    stage = "sums over users"
    return unpacked(executor.reduce(function, added, shards, stage=stage, add_in_place=added_in_place)).whole()


@dataclass(frozen=True, eq=False)
class _OfColumns:
    model: Any
    items: IdMap

    def __call__(self, payload: tuple[int, Columns]) -> Arrays:
        n_users, (user, item, value, timestamp) = payload
        assert user is not None
        assert item is not None
        users = IdMap(np.full(n_users, "", dtype=object))  # nobody asks what they are called
        return packed(self.model.accumulate_part(Interactions(user, item, users, self.items, value, timestamp)))


@dataclass(frozen=True, eq=False)
class _OfFiles:
    model: Any
    log: ShardedLog

    def __call__(self, place: int) -> Arrays:
        return packed(self.model.accumulate_part(self.log.read(place)))


def _columns(log: Interactions, first: int, last: int) -> tuple[int, Columns]:
    rows = slice(int(log.offsets[first]), int(log.offsets[last]))
    value, timestamp = (None if column is None else column[rows] for column in (log.value, log.timestamp))
    return last - first, (log.user[rows] - np.int32(first), log.item[rows], value, timestamp)


def without_encoder(model: Any) -> Any:
    """Return a copy with the same settings that can be sent anywhere: sums do not depend on texts."""
    return dataclasses.replace(model, encoder=None) if hasattr(model, "encoder") else dataclasses.replace(model)


def _key(model: Any, *parts: Any) -> str:
    """Return what stands for the sums of one shard: the version, the settings that sums depend on, and the events."""
    settings = {
        f.name: getattr(model, f.name)
        for f in dataclasses.fields(model)
        if f.init and f.metadata.get("stage") not in ("solve", "score") and not f.name.endswith("_")
    }
    digest = sha256(repr((_FORM, frugalrec.__version__, type(model).__name__, sorted(settings.items()))).encode())
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
        digest.update(b"\x00")
    return digest.hexdigest()[:32]


def packed(statistics: Statistics) -> Arrays:
    """Return statistics as arrays of numbers."""
    counts = np.array([statistics.n_users, statistics.n_events, statistics.upper], dtype=np.int64)
    arrays: dict[str, np.ndarray[Any, Any]] = {"counts": counts, **_parts("gram", statistics.gram)}
    return arrays if statistics.cross is None else {**arrays, **_parts("cross", statistics.cross)}


def unpacked(arrays: Arrays) -> Statistics:
    """Inverse of `packed`."""
    n_users, n_events, upper = (int(count) for count in arrays["counts"])
    gram, cross = _table(arrays, "gram"), _table(arrays, "cross")
    assert gram is not None
    return Statistics(gram, cross, n_users, n_events, bool(upper))


def added(left: Arrays, right: Arrays) -> Arrays:
    """Return the sum of two packed statistics, in the first one's tables where they can be written."""
    return packed(unpacked(left).plus(unpacked(right), overwrite=True))


def added_in_place(left: Arrays, right: Arrays) -> bool:
    """Add ``right`` to ``left`` in its tables, which can be written; False where they are sparse and would grow."""
    a, b = unpacked(left), unpacked(right)
    if a.upper != b.upper or not all(isinstance(table, np.ndarray) for table in (a.gram, b.gram)):
        return False
    left["counts"][:] = packed(a.plus(b, overwrite=True))["counts"]
    return True


def _parts(name: str, table: Table) -> Mapping[str, np.ndarray[Any, Any]]:
    if isinstance(table, np.ndarray):
        return {name: table}
    shape = np.array(table.shape, dtype=np.int64)
    parts = {"data": table.data, "indices": table.indices, "indptr": table.indptr, "shape": shape}
    return {f"{name}.{part}": array for part, array in parts.items()}


def _table(arrays: Arrays, name: str) -> Table | None:
    if name in arrays:
        return arrays[name]
    if f"{name}.data" not in arrays:
        return None
    data, indices, indptr, shape = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr", "shape"))
    return sparse.csr_array((data, indices, indptr), shape=tuple(int(side) for side in shape))


__all__ = ["accumulated", "accumulated_from", "added", "packed", "unpacked"]
