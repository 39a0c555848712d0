"""Nearest neighbours among training states: what came next whenever somebody had nearly the same recent history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import Scores, as_wide, history_reasons, require_fitted
from frugalrec.work import Expected, Stages, Work

HORIZON = 5
NEWEST_OF_QUERY = 8
NEWEST_OF_STATE = 5
QUERIES_AT_ONCE = 64
STRETCH = 1 << 17  # states of the log that are estimated together: what a product of them writes to stays in a cache
SAMPLED = 16
MOST_RECALLED = 20_000
"""Queries whose nearest states are kept, where they are: 16 bytes for each of the pool."""
States = np.ndarray[Any, np.dtype[np.int64]]


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
    pool: int = 500
    target_half_life: float = 1.0
    n_items_: int = field(init=False, repr=False, compare=False)
    item_: IntArray = field(init=False, repr=False, compare=False)
    times_: FloatArray | None = field(init=False, repr=False, compare=False)
    past_: IntArray = field(init=False, repr=False, compare=False)
    future_: IntArray = field(init=False, repr=False, compare=False)
    norms_: FloatArray = field(init=False, repr=False, compare=False)
    newest_: sparse.csr_array = field(init=False, repr=False, compare=False)
    recalled: dict[int, tuple[Query, States, FloatArray]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name in ("neighbours", "half_life", "gap_half_life", "reach", "pool", "target_half_life"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.late_share <= 1:
            raise ConfigError(f"late_share must be between 0 and 1, not {self.late_share}")

    def fit(self, dataset: Dataset) -> Self:
        """Keep the log, the norm of every state, and which states hold an item among their newest."""
        log = dataset.interactions
        lengths = np.diff(log.offsets)
        position = np.arange(len(log)) - np.repeat(log.offsets[:-1], lengths)
        # The row of a state in windows over the padded log ends at that state; what lies before its user is masked.
        padding = np.zeros(self.reach - 1)
        self.item_ = np.concatenate([padding.astype(np.int32), log.item])
        self.times_ = None if log.timestamp is None else np.concatenate([padding, log.timestamp])
        self.past_ = np.minimum(position, self.reach - 1).astype(np.int32)
        self.future_ = np.minimum(np.repeat(lengths, lengths) - 1 - position, HORIZON).astype(np.int32)
        squares = np.zeros(len(log))
        found: list[tuple[States, IntArray, FloatArray]] = []
        for lag in range(self.reach):
            states = np.flatnonzero(self.past_ >= lag)
            ages = None if log.timestamp is None else log.timestamp[states] - log.timestamp[states - lag]
            weights = np.broadcast_to(self._weight(lag, ages), states.shape)
            squares[states] += weights**2
            if lag < NEWEST_OF_STATE:
                known = self.future_[states] > 0
                found.append((states[known], log.item[states[known] - lag], weights[known]))
        self.norms_ = np.sqrt(squares).astype(np.float32)
        columns, rows, values = (np.concatenate(part) for part in zip(*found, strict=True))
        found.clear()  # five entries a state: what is not needed any more goes before the next table is made
        values = (values / self.norms_[columns]).astype(np.float32)
        # A block of rows for each stretch of the log: row s · n_items + i tells which states of stretch s hold item i.
        n_stretches = max(1, -(-len(log) // STRETCH))
        shape = (n_stretches * dataset.n_items, min(STRETCH, len(log)))
        wide = np.int32 if shape[0] < 2**31 else np.int64
        cells = ((rows + columns // STRETCH * dataset.n_items).astype(wide), (columns % STRETCH).astype(wide))
        del rows, columns
        self.newest_ = sparse.coo_array((values, cells), shape=shape).tocsr()
        charge(flops=3.0 * len(log) * self.reach)
        self.n_items_ = dataset.n_items
        if self.recalled is not None:
            self.recalled = {}
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: votes, Σ_j 2^(-j / target_half_life) in all.

        While ``recalled`` is a dict, what is near to a query is found once a fit: how many of these vote, and how
        sharply, asks for nothing new.
        """
        require_fitted(self, "n_items_")
        scores = np.zeros((len(queries), self.n_items_), dtype=np.float32)
        for row, (states, cosines) in enumerate(self._pools(queries)):
            kept = self._voters(cosines)
            voted, weights, _ = self._votes(states[kept], cosines[kept])
            scores[row] = np.bincount(voted, weights=weights, minlength=self.n_items_)
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``; how many states share an item is a guess."""
        events = shape.n_events
        entries = events + shape.pairs(1, NEWEST_OF_STATE - 1)
        held = 24.0 * events + 8.0 * entries
        peak = 40.0 * events + 44.0 * entries
        fit = Expected((Work("states", events * self.reach),), 3.0 * events * self.reach, 0.0, 0.0, peak, held)
        met = min(float(NEWEST_OF_QUERY), shape.mean_history) * shape.mean_popularity * NEWEST_OF_STATE
        compared = float(self.pool) * self.reach
        work = (Work("query", 2.0), Work("sparse-product", met), Work("states", 4.0 * compared))
        score = Expected(work, 2.0 * met + 3.0 * compared, 0.0, 0.0, 40.0 * compared, 0.0, 2.5)
        return Stages(fit, score)

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the history items through which the voters are near: a vote is shared out by the terms of its cosine.

        The terms of all history items sum to the score.
        """
        require_fitted(self, "n_items_")
        ((states, terms, cosines),) = self._nearest([query])
        kept = self._voters(cosines)
        states, terms, cosines = states[kept], terms[kept], cosines[kept]
        history = np.unique(query.history)
        contributions = np.zeros((len(history), len(items)))
        voted, weights, voter = self._votes(states, cosines)
        where = {int(item): place for place, item in enumerate(items)}
        for item, weight, state in zip(voted.tolist(), weights.tolist(), voter.tolist(), strict=True):
            if item in where:
                shared = np.flatnonzero(terms[state])
                met = self.item_[states[state] + shared]
                share = terms[state, shared] / terms[state, shared].sum()
                np.add.at(contributions[:, where[item]], np.searchsorted(history, met), weight * share)
        return history_reasons("history", history.astype(np.int32), contributions)

    def _votes(self, states: States, cosines: FloatArray) -> tuple[States, FloatArray, States]:
        """Return the items that the neighbours vote for, the weight of each vote, and who cast it (a row of states)."""
        votes = cosines**self.sharpness
        total = votes.sum()
        if not total > 0:
            states, votes = states[:0], votes[:0]
        else:
            votes = votes / total
        after = np.arange(HORIZON)
        known = after < self.future_[states][:, None]
        voter, step = np.nonzero(known)
        discounts = np.exp2(-after / self.target_half_life)
        charge(flops=2.0 * len(voter))
        return self.item_[self.reach + states[voter] + step], votes[voter] * discounts[step], voter

    def _voters(self, cosines: FloatArray) -> States:
        """Return where those that vote stand in a pool."""
        return np.sort(_largest(cosines, self.neighbours))

    def _pools(self, queries: Sequence[Query]) -> Iterator[tuple[States, FloatArray]]:
        """Yield the pool of each query and its cosines, from memory where they are there."""
        known = self.recalled
        if known is None:
            yield from ((states, cosines) for states, _, cosines in self._nearest(queries))
            return
        new = [query for query in queries if id(query) not in known]
        if len(known) + len(new) > MOST_RECALLED:
            known = {id(query): known[id(query)] for query in queries if id(query) in known}
        for query, (states, _, cosines) in zip(new, self._nearest(new), strict=True):
            known[id(query)] = (query, states, cosines)  # the query is held: its identity is taken while it is here
        yield from (known[id(query)][1:] for query in queries)

    def _nearest(self, queries: Sequence[Query]) -> Iterator[tuple[States, FloatArray, FloatArray]]:
        """Yield for each query its pool: the likely nearest states that have a future (rows of the log, ascending).

        With them come the terms of their cosines, ``(n, reach)`` from the oldest item to the newest, and the cosines.
        """
        recent = sliding_window_view(self.item_, self.reach)
        lags = np.arange(self.reach)[::-1]
        by_lag = np.exp2(-lags / self.half_life).astype(np.float32)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            block = queries[start : start + QUERIES_AT_ONCE]
            mine = [self._state(query) for query in block]
            estimates = as_wide(self._newest_of(block, mine), self.newest_) @ self.newest_
            charge(flops=2.0 * estimates.nnz)
            n_stretches = estimates.shape[0] // len(block)
            for row, weights in enumerate(mine):
                bounds = estimates.indptr[row * n_stretches : (row + 1) * n_stretches + 1]
                likely = bounds[0] + _largest(estimates.data[bounds[0] : bounds[-1]], self.pool)
                stretch = np.searchsorted(bounds, likely, side="right") - 1
                states = np.sort(STRETCH * stretch + estimates.indices[likely])
                terms = weights.take(recent[states])
                terms *= by_lag
                young = np.flatnonzero(self.past_[states] < self.reach - 1)
                terms[young] *= lags <= self.past_[states[young], None]
                if self.times_ is not None:
                    # Few of the items are the query's: the ages of the others are not looked at.
                    row_of, place = np.divmod(np.flatnonzero(terms != 0.0), self.reach)
                    at = states[row_of]
                    ages = self.times_[at + (self.reach - 1)] - self.times_[at + place]
                    terms[row_of, place] *= self._recency(ages.astype(np.float32))
                size = float(np.linalg.norm(weights))
                cosines = terms.sum(axis=1) / (self.norms_[states] * (size or 1.0))
                charge(flops=3.0 * terms.size)
                yield states, terms, np.clip(cosines, 0.0, None).astype(np.float64)

    def _state(self, query: Query) -> Matrix:
        """Return the query's own state, float32 ``(n_items,)``."""
        history = query.history[-self.reach :]
        mine = np.zeros(self.n_items_, dtype=np.float32)
        ages = None if query.times is None or self.times_ is None else query.times[-1:] - query.times[-self.reach :]
        np.add.at(mine, history, self._weight(np.arange(len(history))[::-1], ages))
        return mine

    def _newest_of(self, queries: Sequence[Query], states: Sequence[Matrix]) -> sparse.csr_array:
        """Return the part of ``states`` on the newest items, a row for each stretch of the log of each query, CSR."""
        n_rows = self.newest_.shape[0]
        first = np.arange(0, n_rows, self.n_items_)[:, None]
        newest = [np.unique(query.history[-NEWEST_OF_QUERY:]) for query in queries]
        lengths = np.repeat([len(items) for items in newest], len(first))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.concatenate([(first + items).ravel() for items in newest])
        weights = [np.tile(state[few], len(first)) for state, few in zip(states, newest, strict=True)]
        return sparse.csr_array((np.concatenate(weights), rows, offsets), shape=(len(lengths), n_rows))

    def _weight(self, lag: Any, ages: FloatArray | None) -> Any:
        by_lag = np.exp2(-np.asarray(lag) / self.half_life)
        if ages is None:
            return by_lag
        return by_lag * self._recency(ages)

    def _recency(self, ages: Any) -> Any:
        """Return f + (1 - f)·2^(-Δt / gap half-life) of ages in seconds; younger than 0 counts as 0."""
        return self.late_share + (1.0 - self.late_share) * np.exp2(-np.maximum(ages, 0.0) / self.gap_half_life)


def _largest(values: FloatArray, k: int) -> States:
    """Return where the ``k`` largest values stand, in no order."""
    if k >= len(values):
        return np.arange(len(values))
    kept = np.arange(len(values))
    if len(values) > SAMPLED * k:
        # What a sample says is likely among the largest is enough, wherever that is at least k of them.
        sample = values[::SAMPLED]
        place = len(sample) - min(len(sample), 2 * (k // SAMPLED + 1))
        if len(likely := np.flatnonzero(values >= np.partition(sample, place)[place])) >= k:
            kept = likely
    return kept[np.argpartition(-values[kept], k - 1)[:k]]


__all__ = ["StateKnn"]
