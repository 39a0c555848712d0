"""What every split shares: building a fold from event masks, and checking settings."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from frugalrec.data.dataset import Fold, Query
from frugalrec.data.interactions import FloatArray, IntArray, Interactions
from frugalrec.errors import ConfigError, DataError

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Fractions = tuple[float, float, float]
ColdUsers = Literal["drop", "keep"]


def fold_of(
    log: Interactions,
    history: Mask,
    held: Mask,
    *,
    trained: Mask,
    repeats: bool = False,
    cold_users: ColdUsers = "drop",
    timed: bool = True,
) -> tuple[Fold, dict[str, int]]:
    """Return one request for each user with events in ``held``, and the count of where those events went.

    ``history`` and ``held`` mark events ``(n,)``; ``trained`` marks users with events in train ``(n_users,)``, the only
    ones whose queries carry a user code. Of ``held``, events with an item of the user's history are left out (a model
    may not return it) unless ``repeats``; of several events with the same item the first one stays. ``timed``: the
    history is older than the held-out events, so that a moment of the request exists.

    The counts: ``relevant`` events stayed, ``dropped_seen``, ``dropped_repeated`` and ``dropped_cold`` did not; they
    add up to the events of ``held``. ``cold_users`` is the number of users without history.
    """
    rows = np.flatnonzero(held)
    keys = log.user.astype(np.int64) * log.n_items + log.item
    counts = {"dropped_seen": 0}
    if not repeats:
        # Keys almost ascend, which a sort and a binary search profit from; `np.isin` takes 20 times as long.
        met = np.sort(keys[history])
        fresh = met.searchsorted(keys[rows], side="left") == met.searchsorted(keys[rows], side="right")
        counts["dropped_seen"] = int(len(rows) - fresh.sum())
        rows = rows[fresh]
    first = np.sort(np.unique(keys[rows], return_index=True)[1])
    counts["dropped_repeated"] = len(rows) - len(first)
    rows = rows[first]
    history_sizes = np.bincount(log.user[history], minlength=log.n_users)
    cold = history_sizes[log.user[rows]] == 0
    counts["cold_users"] = len(np.unique(log.user[rows[cold]]))
    counts["dropped_cold"] = 0
    if cold_users == "drop":
        counts["dropped_cold"] = int(cold.sum())
        rows = rows[~cold]
    counts["relevant"] = len(rows)
    history_ends = np.cumsum(history_sizes)
    return _fold(log, history, history_ends - history_sizes, history_ends, rows, trained, repeats, timed), counts


def _fold(
    log: Interactions,
    history: Mask,
    history_starts: np.ndarray[Any, Any],
    history_ends: np.ndarray[Any, Any],
    rows: np.ndarray[Any, Any],
    trained: Mask,
    repeats: bool,
    timed: bool,
) -> Fold:
    users, starts = np.unique(log.user[rows], return_index=True)
    ends = np.append(starts, len(rows))[1:]
    items: IntArray = log.item[history]
    times = None if log.timestamp is None else log.timestamp[history]
    held_items: IntArray = log.item[rows]
    held_values: FloatArray | None = None if log.value is None else log.value[rows]
    moments = None if log.timestamp is None or not timed else log.timestamp[rows[starts]].tolist()
    queries: list[Query] = []
    relevant: list[IntArray] = []
    values: list[FloatArray] | None = None if held_values is None else []
    bounds = zip(
        users.tolist(),
        history_starts[users].tolist(),
        history_ends[users].tolist(),
        starts.tolist(),
        ends.tolist(),
        trained[users].tolist(),
        strict=True,
    )
    for i, (user, begin, end, first, stop, known) in enumerate(bounds):
        queries.append(
            Query(
                history=items[begin:end],
                times=None if times is None else times[begin:end],
                user=user if known else None,
                now=None if moments is None else moments[i],
                repeats=repeats,
            )
        )
        relevant.append(held_items[first:stop])
        if values is not None and held_values is not None:
            values.append(held_values[first:stop])
    return Fold(queries=queries, relevant=relevant, values=values)


def users_of(log: Interactions, events: Mask) -> Mask:
    """Return which users have an event in ``events``, shape ``(n_users,)``."""
    has_events = np.zeros(log.n_users, dtype=bool)
    has_events[log.user[events]] = True
    return has_events


def check_fractions(fractions: Fractions) -> None:
    """Raise `ConfigError` unless ``fractions`` are three shares above 0 that sum to 1."""
    if len(fractions) != 3 or not all(f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"fractions must be three shares above 0 that sum to 1, not {fractions!r}",
            hint="write train, validation and test shares, as in fractions = [0.8, 0.1, 0.1]",
        )


def check_not_empty(kind: str, train_events: int, validation: Fold, test: Fold, *, hint: str) -> None:
    """Raise `DataError` when a part of the split came out empty: nothing could be learned, chosen or reported."""
    for part, size in (("train", train_events), ("validation", len(validation)), ("test", len(test))):
        if not size:
            raise DataError(f"the {kind} split leaves nothing for {part}", hint=hint)
