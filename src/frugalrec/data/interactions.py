"""Who did what, when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal, get_args

import numpy as np
from scipy import sparse

from frugalrec.data.ids import IdMap
from frugalrec.errors import DataError

IntArray = np.ndarray[Any, np.dtype[np.int32]]
FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
Ties = Literal["file", "item-id", "random"]


@dataclass(frozen=True)
class Interactions:
    """Events in canonical order: by user, then time, then (at equal times) the order of ``ties``.

    ``user`` and ``item`` are int32 codes into ``users`` and ``items``, shape ``(n,)``; ``value`` (float32) and
    ``timestamp`` (float64, seconds since the epoch) are ``None`` where the log has none. Build it with `from_events`.
    """

    user: IntArray
    item: IntArray
    users: IdMap
    items: IdMap
    value: FloatArray | None = None
    timestamp: FloatArray | None = None

    @classmethod
    def from_events(
        cls,
        user: IntArray,
        item: IntArray,
        users: IdMap,
        items: IdMap,
        *,
        value: FloatArray | None = None,
        timestamp: FloatArray | None = None,
        ties: Ties = "file",
        seed: int = 0,
    ) -> Interactions:
        """Sort events (in file order) into canonical order.

        ``ties`` orders events of one user with the same timestamp: ``file`` keeps the order of the rows, ``item-id``
        sorts by the items' ids (`IdMap.ranks`), ``random`` shuffles with ``seed``. Without timestamps the order of rows
        is that of events.
        """
        n = len(user)
        for name, column in (("item", item), ("value", value), ("timestamp", timestamp)):
            if column is not None and len(column) != n:
                raise DataError(f"column '{name}' has {len(column)} rows, 'user' has {n}")
        user = np.ascontiguousarray(user, dtype=np.int32)
        item = np.ascontiguousarray(item, dtype=np.int32)
        if n and (user.min() < 0 or user.max() >= len(users) or item.min() < 0 or item.max() >= len(items)):
            raise DataError("an event's user or item code is outside its id map")
        order = _order(user, item, items, timestamp, ties, seed)
        return cls(
            user=user[order],
            item=item[order],
            users=users,
            items=items,
            value=None if value is None else np.asarray(value, dtype=np.float32)[order],
            timestamp=None if timestamp is None else np.asarray(timestamp, dtype=np.float64)[order],
        )

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        """Number of users in the id map, those without events included."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items in the id map, cold items included."""
        return len(self.items)

    @cached_property
    def offsets(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Where each user's events start, ``(n_users + 1,)``: user ``u`` owns rows ``offsets[u]:offsets[u+1]``."""
        counts = np.bincount(self.user, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def popularity(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Number of events of each item, shape ``(n_items,)``."""
        return np.bincount(self.item, minlength=self.n_items).astype(np.int64)

    @cached_property
    def first_meetings(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether an event is the first of its user with its item, shape ``(n,)``."""
        first = np.zeros(len(self), dtype=bool)
        first[np.unique(self.user.astype(np.int64) * self.n_items + self.item, return_index=True)[1]] = True
        return first

    def events_of(self, user: int) -> slice:
        """Return the rows of the user with code ``user``, oldest first."""
        return slice(int(self.offsets[user]), int(self.offsets[user + 1]))

    def sequences(self) -> Iterator[tuple[int, IntArray]]:
        """Yield ``(user code, item codes oldest first)`` for every user with events."""
        for user in np.flatnonzero(np.diff(self.offsets)):
            yield int(user), self.item[self.events_of(int(user))]

    def matrix(self) -> sparse.csr_array:
        """Return the binary user × item matrix (float32 CSR): 1 where the user has at least one event with the item."""
        ones = np.ones(len(self), dtype=np.float32)
        matrix = sparse.coo_array((ones, (self.user, self.item)), shape=(self.n_users, self.n_items)).tocsr()
        matrix.data[:] = 1.0
        return matrix

    def take(self, rows: np.ndarray[Any, Any]) -> Interactions:
        """Return the events at ``rows`` (a mask, or ascending indices); id maps stay as they are."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            value=None if self.value is None else self.value[rows],
            timestamp=None if self.timestamp is None else self.timestamp[rows],
        )

    def without_users(self, users: IntArray) -> Interactions:
        """Return the events of everybody but ``users`` (codes); id maps stay as they are."""
        return self.take(~np.isin(self.user, users))

    def fingerprint(self) -> str:
        """Return a short hash of the events, their order and their ids."""
        digest = sha256()
        columns = (self.user, self.item, self.value, self.timestamp)
        parts = [b"" if column is None else np.ascontiguousarray(column).tobytes() for column in columns]
        parts += ["\x00".join(m.ids.tolist()).encode("utf-8", "surrogatepass") for m in (self.users, self.items)]
        for part in parts:
            digest.update(f"{len(part)}:".encode())  # so that no part can pass for the end of the one before
            digest.update(part)
        return digest.hexdigest()[:16]


def _order(
    user: IntArray, item: IntArray, items: IdMap, timestamp: FloatArray | None, ties: Ties, seed: int
) -> np.ndarray[Any, np.dtype[np.intp]]:
    if ties not in get_args(Ties):
        raise DataError(f"ties must be 'file', 'item-id' or 'random', not '{ties}'")
    if timestamp is None:
        return np.argsort(user, kind="stable")
    if ties == "file":
        return np.lexsort((timestamp, user))  # stable: what is equal stays in the order of the rows
    tiebreak = items.ranks[item] if ties == "item-id" else np.random.default_rng(seed).permutation(len(user))
    return np.lexsort((tiebreak, timestamp, user))
