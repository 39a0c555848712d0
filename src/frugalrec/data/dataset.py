"""A log and a catalogue that belong together, and folds of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from frugalrec.data.catalog import Catalog
from frugalrec.data.interactions import FloatArray, IntArray, Interactions
from frugalrec.errors import DataError

NOTHING: IntArray = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Query:
    """One request. Item references are codes of the dataset's catalogue.

    ``history`` holds the items the user met, oldest first, ``times`` their timestamps (seconds) where known, ``now``
    the time of the request. ``user`` is the training code of a known user, for models that keep something per user.
    ``text`` is free text ("slow-burn science fiction"). ``candidates``, if given, are the only items that may be
    returned; ``exclude`` must not be. Items of the history are left out unless ``repeats``.
    """

    history: IntArray = field(default_factory=lambda: NOTHING)
    times: FloatArray | None = None
    user: int | None = None
    now: float | None = None
    text: str = ""
    candidates: IntArray | None = None
    exclude: IntArray = field(default_factory=lambda: NOTHING)
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """One part of why an item was recommended: ``share`` of its score (may be negative) came from ``kind``.

    ``item`` is the code of the history item that contributed, where one did; ``words`` says it where no item does.
    """

    kind: str
    share: float
    item: int | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Item codes with scores, best first.

    ``degraded``: a stage failed or was over budget and an earlier order stands. ``reused``: the order was made for an
    earlier request like this one (`SemanticCache`).
    """

    items: IntArray
    scores: FloatArray
    reasons: tuple[tuple[Reason, ...], ...] | None = None
    degraded: bool = False
    reused: bool = False

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class Dataset:
    """Interactions and the catalogue they refer to; both use the same item codes."""

    interactions: Interactions
    catalog: Catalog
    name: str = "data"

    def __post_init__(self) -> None:
        if self.interactions.items is not self.catalog.items and self.interactions.items != self.catalog.items:
            raise DataError("interactions and catalogue number their items differently")

    @property
    def n_items(self) -> int:
        """Number of items in the catalogue, cold ones included."""
        return len(self.catalog)

    @property
    def n_users(self) -> int:
        """Number of users in the id map."""
        return self.interactions.n_users

    def with_interactions(self, interactions: Interactions) -> Dataset:
        """Return the same catalogue with other events."""
        return replace(self, interactions=interactions)

    def query(self, user: int, *, now: float | None = None, text: str = "") -> Query:
        """Return the request of a known user (a code) with all their events as history."""
        rows = self.interactions.events_of(user)
        times = self.interactions.timestamp
        return Query(
            history=self.interactions.item[rows],
            times=None if times is None else times[rows],
            user=user,
            now=now,
            text=text,
        )

    def fingerprint(self) -> str:
        """Return a short hash of events and catalogue."""
        return f"{self.interactions.fingerprint()}-{self.catalog.fingerprint()}"


@dataclass(frozen=True)
class Fold:
    """Held-out requests and what their users did next. ``relevant[i]`` are the item codes that answer ``queries[i]``.

    ``values[i]`` are the ratings given to them, where the log has ratings.
    """

    queries: Sequence[Query]
    relevant: Sequence[IntArray]
    values: Sequence[FloatArray] | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def sample(self, n: int, seed: int = 0) -> Fold:
        """Return ``n`` requests drawn without replacement (all, in order, when there are no more)."""
        if n >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), size=n, replace=False))
        return self.take(chosen)

    def take(self, rows: np.ndarray[Any, Any]) -> Fold:
        """Return the requests at ``rows`` (indices)."""
        return Fold(
            queries=[self.queries[i] for i in rows],
            relevant=[self.relevant[i] for i in rows],
            values=None if self.values is None else [self.values[i] for i in rows],
        )


@dataclass(frozen=True)
class Split:
    """What may be learned from, what settings are chosen on, and what is reported.

    Weights are fitted on ``train`` alone; ``validation`` chooses settings; ``test`` is looked at once.
    """

    kind: str
    train: Dataset
    validation: Fold
    test: Fold
    settings: Mapping[str, Any] = field(default_factory=dict)
