"""Recommendations for all users at once, as partitioned Parquet."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frugalrec import array_files
from frugalrec.data.dataset import Dataset, Query
from frugalrec.errors import ConfigError
from frugalrec.executors import Arrays, Executor, Shard
from frugalrec.run_folder import PlanFile, load_model

if TYPE_CHECKING:
    from frugalrec.pipeline import Pipeline

USERS_A_PART = 5000

_PART = re.compile(r"part-\d{5}-([0-9a-f]{16})\.parquet")


def recommend_all(
    run: Path, dataset: Dataset, out: str, *, k: int, executor: Executor, users_a_part: int = USERS_A_PART
) -> int:
    """Write ``k`` items for every user with events to ``out``, a folder or URL, and return for how many users.

    Columns: ``user`` and ``item`` (ids), ``rank`` (from 1), ``score``; one file for ``users_a_part`` users. Each worker
    loads the model of ``run`` once. A file is there whole or not at all, so the same call goes on where one was
    cut off. Raises `ConfigError` when ``out`` holds parts of another model, other data or another ``k``, or is the
    memory of a process (``memory://``) while others do the work.
    """
    out = array_files.absolute(out)
    if executor.elsewhere:
        array_files.refuse_memory(out, "recommendations of several workers")
    key = _key(run, dataset, k, users_a_part)
    found = [match for name in array_files.names_in(out) if (match := _PART.fullmatch(name))]
    if any(match[1] != key for match in found):
        raise ConfigError(
            f"{out} holds recommendations of another model, other data or another number of items",
            hint="give another folder, or delete this one",
        )
    there = {match[0] for match in found}
    log = dataset.interactions
    active = np.flatnonzero(np.diff(log.offsets))
    shards = []
    for number, start in enumerate(range(0, len(active), users_a_part)):
        name = f"part-{number:05d}-{key}.parquet"
        if name not in there:
            shards.append(Shard((name, _histories(dataset, active[start : start + users_a_part]))))
    function = _Recommend(str(run.resolve()), out, k, dataset.catalog.items.ids)
    for _ in executor.map(function, shards, stage="users, in parts"):
        pass
    return len(active)


def _histories(dataset: Dataset, users: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """Return users, their ids, where the history of each ends, and all histories: what a worker is sent."""
    log = dataset.interactions
    lengths = np.diff(log.offsets)[users]
    rows = slice(int(log.offsets[users[0]]), int(log.offsets[users[-1] + 1]))
    times = None if log.timestamp is None else log.timestamp[rows]
    return users, log.users.ids[users], np.cumsum(lengths), log.item[rows], times


def _key(run: Path, dataset: Dataset, k: int, users_a_part: int) -> str:
    digest = sha256((run / "plan.toml").read_bytes())
    with (run / "model" / "model.npz").open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    digest.update(repr((dataset.fingerprint(), k, users_a_part)).encode())
    return digest.hexdigest()[:16]


@dataclass(eq=False)
class _Recommend:
    run: str
    out: str
    k: int
    items: np.ndarray[Any, Any]
    _pipeline: Pipeline | None = field(default=None, repr=False)
    _repeats: bool = False

    def __call__(self, payload: tuple[str, tuple[Any, ...]]) -> Arrays:
        name, (users, ids, ends, items, times) = payload
        if self._pipeline is None:
            folder = Path(self.run)
            chosen = PlanFile.read(folder / "plan.toml")
            self._pipeline, self._repeats = load_model(folder, chosen.plan, None), chosen.repeats
        bounds = zip(users.tolist(), [0, *ends[:-1].tolist()], ends.tolist(), strict=True)
        queries = [
            Query(items[first:last], None if times is None else times[first:last], user, repeats=self._repeats)
            for user, first, last in bounds
        ]
        rankings = self._pipeline.recommend(queries, self.k)
        lengths = [len(ranking) for ranking in rankings]
        columns = {
            "user": np.repeat(ids, lengths),
            "item": self.items[np.concatenate([np.empty(0, np.int32), *(r.items for r in rankings)])],
            "rank": np.concatenate([np.empty(0, np.int32), *(np.arange(1, n + 1, dtype=np.int32) for n in lengths)]),
            "score": np.concatenate([np.empty(0, np.float32), *(r.scores for r in rankings)]).astype(np.float32),
        }
        with tempfile.TemporaryDirectory(prefix="frugalrec-") as scratch:
            array_files.copy_to(Path(scratch) / name, columns)
            array_files.put(scratch, self.out)
        return {"users": np.array([len(users)])}


__all__ = ["USERS_A_PART", "recommend_all"]
