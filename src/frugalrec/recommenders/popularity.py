"""The items most users chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import IntArray
from frugalrec.data.shape import DataShape
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import Scores, require_fitted
from frugalrec.work import Expected, Stages, Work

DAY_SECONDS = 86_400.0


@dataclass
class Popularity(Scores):
    """Recommends what most users chose, whoever asks: the baseline that is always in the table.

    With ``half_life_days`` an event of that age counts half as much as the newest one in training; without timestamps
    (or at 0) all count 1. ``counts`` scores by the sum of these weights (``raw``) or by log(1 + sum), which ranks the
    same and sits better beside other members of a hybrid. Choose it when most traffic is anonymous.

    Time: O(events) to fit, O(items) a query; memory: O(items). FLOPs: one per event, four more when events are
    weighted by age, and one per item where ``counts`` is ``log``; a query copies the scores, which costs none.

    >>> from frugalrec.data.dataset import Query
    >>> from frugalrec.testing.data import toy_dataset
    >>> dataset = toy_dataset(n_users=20, n_items=10)
    >>> popularity = Popularity().fit(dataset)
    >>> int(popularity.recommend([Query()], k=1)[0].items[0]) == int(dataset.interactions.popularity.argmax())
    True
    """

    half_life_days: float = field(default=0.0, metadata={"tune": (0.0, 30.0, 90.0, 365.0), "stage": "accumulate"})
    counts: Literal["log", "raw"] = "log"
    n_items_: int = field(init=False, repr=False, compare=False)
    scores_: Matrix = field(init=False, repr=False, compare=False)
    choosers_: np.ndarray[Any, np.dtype[np.int64]] = field(init=False, repr=False, compare=False)
    n_users_: int = field(init=False, repr=False, compare=False)

    def fit(self, dataset: Dataset) -> Self:
        """Sum up the events of each item."""
        events = dataset.interactions
        weights = None
        if self.half_life_days > 0 and events.timestamp is not None and len(events):
            ages = (events.timestamp.max() - events.timestamp) / DAY_SECONDS
            weights = np.exp2(-ages / self.half_life_days)
        sums = np.bincount(events.item, weights, minlength=dataset.n_items)
        # Logarithms of a large catalogue take longer than all else that a request does.
        self.scores_ = (np.log1p(sums) if self.counts == "log" else sums).astype(np.float32)
        self.choosers_ = np.diff(events.matrix().tocsc().indptr).astype(np.int64)
        self.n_users_ = int(np.count_nonzero(np.diff(events.offsets)))
        self.n_items_ = dataset.n_items
        logarithms = dataset.n_items if self.counts == "log" else 0
        charge(flops=len(events) * (1.0 if weights is None else 5.0) + logarithms)
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: the same row for everybody."""
        require_fitted(self, "scores_")
        charge(flops=0.0)
        return np.tile(self.scores_, (len(queries), 1))

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``."""
        weighted = self.half_life_days > 0 and shape.has_times
        n, events = shape.items, shape.n_events
        fit = Expected(
            (Work("events", events, shape.n_events), Work("stream", 40.0 * n)),
            events * (5.0 if weighted else 1.0) + (n if self.counts == "log" else 0.0),
            0.0,
            0.0,
            events * (34.0 if weighted else 18.0) + shape.users * 8.0,
            12.0 * n,
        )
        return Stages(fit, Expected((Work("stream", 4.0 * n),), 0.0, 0.0, 0.0, 4.0 * n, 0.0))

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return how many of the training users chose each item."""
        require_fitted(self, "scores_")
        return [
            (Reason("popularity", 1.0, words=f"{self.choosers_[item]:,} of {self.n_users_:,} users chose it"),)
            for item in items
        ]


__all__ = ["Popularity"]
