"""Nearest neighbours among training states: what came next whenever somebody had nearly the same recent history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import Scores, require_fitted
from frugalrec.work import Expected, Stages, Work

HORIZON = 5
NEWEST_OF_QUERY = 8
NEWEST_OF_STATE = 5
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class StateKnn(Scores):
    """Recommends what followed the most similar moments in other users' histories; nothing is trained.

    A state is the ``reach`` newest items at one moment, weighing 2^(-lag / half_life) · (f + (1 - f)·2^(-Δt / gap
    half-life)) with f = ``late_share`` where times are known. The cosine of the query's state with every training state
    that shares one of its newest items is estimated from those, the ``pool`` best are compared in full, and the
    ``neighbours`` best vote, by similarity to the power of ``sharpness``, for the five items that followed, the j-th
    counting 2^(-j / target_half_life), j from 0. An item met twice within reach counts twice in a training state.
    Choose it beside a linear model where users walk the same paths, as through the pages of one site. After V-SKNN
    (Ludewig & Jannach, 2018), with states inside a history for sessions.

    Time: O(events · reach) to fit; a query costs the events of its newest items and ``pool`` · ``reach``. Memory: the
    log. FLOPs: 3 for each lag of each state to fit; 2 per estimated pair and 3 for each lag of the pool to score.

    >>> from frugalrec.testing.data import checkerboard
    >>> data = checkerboard(8)
    >>> len(StateKnn(neighbours=5).fit(data).recommend([data.query(5)], k=1)[0])
    1
    """

    neighbours: int = field(default=200, metadata={"stage": "score", "tune": (100, 200, 400)})
    sharpness: float = field(default=5.0, metadata={"stage": "score", "tune": (3.0, 5.0, 8.0)})
    half_life: float = field(default=10.0, metadata={"stage": "accumulate", "tune": (3.0, 10.0)})
    gap_half_life: float = 60.0
    late_share: float = 0.3
    reach: int = 30
    pool: int = 1000
    target_half_life: float = 1.0
    n_items_: int = field(init=False, repr=False, compare=False)
    item_: IntArray = field(init=False, repr=False, compare=False)
    times_: FloatArray | None = field(init=False, repr=False, compare=False)
    starts_: Rows = field(init=False, repr=False, compare=False)
    ends_: Rows = field(init=False, repr=False, compare=False)
    norms_: FloatArray = field(init=False, repr=False, compare=False)
    by_item_: Rows = field(init=False, repr=False, compare=False)
    bounds_: Rows = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("neighbours", "half_life", "gap_half_life", "reach", "pool", "target_half_life"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.late_share <= 1:
            raise ConfigError(f"late_share must be between 0 and 1, not {self.late_share}")

    def fit(self, dataset: Dataset) -> Self:
        """Keep the log, the norm of every state, and where each item occurs."""
        log = dataset.interactions
        lengths = np.diff(log.offsets)
        self.item_, self.times_ = log.item, log.timestamp
        self.starts_ = np.repeat(log.offsets[:-1], lengths)
        self.ends_ = np.repeat(log.offsets[1:], lengths)
        self.by_item_ = np.argsort(log.item, kind="stable")
        self.bounds_ = np.concatenate([[0], np.cumsum(log.popularity)])
        squares = np.zeros(len(log))
        every = np.arange(len(log))
        for lag in range(self.reach):
            states = every[every - self.starts_ >= lag]
            squares[states] += self._weight(lag, self._ages(states, states - lag)) ** 2
        self.norms_ = np.sqrt(squares)
        charge(flops=3.0 * len(log) * self.reach)
        self.n_items_ = dataset.n_items
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: votes, Σ_j 2^(-j / target_half_life) in all."""
        require_fitted(self, "n_items_")
        scores = np.zeros((len(queries), self.n_items_), dtype=np.float32)
        discounts = np.exp2(-np.arange(HORIZON) / self.target_half_life)
        charge(flops=0.0)
        for row, query in enumerate(queries):
            states, similarity = self._nearest(query)
            votes = similarity**self.sharpness
            if not votes.sum() > 0:
                continue
            votes /= votes.sum()
            for j, discount in enumerate(discounts):
                there = states + 1 + j < self.ends_[states]
                np.add.at(scores[row], self.item_[states[there] + 1 + j], votes[there] * discount)
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting takes for data of ``shape``; what a query meets, only the log knows."""
        events = shape.n_events
        flops = 3.0 * events * self.reach
        fit = Expected((Work("states", events * self.reach),), flops, 0.0, 0.0, 110.0 * events, 44.0 * events)
        return Stages(fit)

    def _nearest(self, query: Query) -> tuple[Rows, FloatArray]:
        """Return the most similar training states that have a future (rows of the log) and their cosines."""
        history = query.history[-self.reach :]
        mine = np.zeros(self.n_items_)
        ages = None if query.times is None or self.times_ is None else query.times[-1:] - query.times[-self.reach :]
        np.add.at(mine, history, self._weight(np.arange(len(history))[::-1], ages))
        newest = np.unique(history[-NEWEST_OF_QUERY:])
        found = [self.by_item_[self.bounds_[i] : self.bounds_[i + 1]] for i in newest]
        events = np.concatenate([np.empty(0, dtype=np.int64), *found])
        candidates, terms = [], []
        for lag in range(min(NEWEST_OF_STATE, self.reach)):
            older = events[events + lag + 1 < self.ends_[events]]
            candidates.append(older + lag)
            terms.append(mine[self.item_[older]] * self._weight(lag, self._ages(older + lag, older)))
        states, owner = np.unique(np.concatenate(candidates), return_inverse=True)
        if not len(states):
            return states, np.empty(0)
        estimate = np.bincount(owner, weights=np.concatenate(terms)) / self.norms_[states]
        charge(flops=2.0 * len(owner))
        states = states[_best(estimate, self.pool)]
        lags = np.arange(self.reach)[:, None]
        known = lags <= (states - self.starts_[states])[None, :]
        older = np.where(known, states[None, :] - lags, states[None, :])
        weights = self._weight(lags, self._ages(states[None, :], older))
        cosines = np.where(known, mine[self.item_[older]] * weights, 0.0).sum(axis=0)
        cosines /= self.norms_[states] * np.linalg.norm(mine)
        charge(flops=3.0 * older.size)
        kept = _best(cosines, self.neighbours)
        return states[kept], np.clip(cosines[kept], 0.0, None)

    def _ages(self, newer: Rows, older: Rows) -> FloatArray | None:
        return None if self.times_ is None else self.times_[newer] - self.times_[older]

    def _weight(self, lag: Any, ages: FloatArray | None) -> Any:
        by_lag = np.exp2(-np.asarray(lag) / self.half_life)
        if ages is None:
            return by_lag
        recent = np.exp2(-np.maximum(ages, 0.0) / self.gap_half_life)
        return by_lag * (self.late_share + (1.0 - self.late_share) * recent)


def _best(values: FloatArray, k: int) -> Rows:
    """Return where the ``k`` largest values stand, equal ones by position, in ascending order of position."""
    return np.sort(np.argsort(-values, kind="stable")[:k])


__all__ = ["StateKnn"]
