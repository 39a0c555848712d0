"""The sequential linear model: ridge regression from decayed histories to what comes next, with text as a prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Query, Reason
from frugalrec.data.interactions import IntArray, Interactions
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, DataError
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.recommenders._approximate import (
    Solver,
    Weights,
    check_solver,
    entries,
    is_sparse,
    solve_by_size,
    times,
    work,
)
from frugalrec.recommenders._base import history_reasons, require_fitted
from frugalrec.recommenders._expected import (
    expected_blockwise,
    expected_encoded,
    expected_solve,
    expected_states,
    expected_text_space,
    expected_weights,
    is_dense,
    width_of,
)
from frugalrec.recommenders._linear import Linear
from frugalrec.recommenders._ridge import Prior
from frugalrec.recommenders._statistics import Decay, Statistics, accumulate_states
from frugalrec.recommenders._text import TextSpace, encode_queries
from frugalrec.work import Expected, Stages, Work

_FAINT = 1e-3  # history items that weigh less than this share of the newest one do not move a ranking


@dataclass
class SequentialLinear(Linear):
    """Closed-form next-item model: the strongest quality per unit of compute for logs with an order.

    Each user state is the history under several half-lives stacked (positions, and seconds where ``gap_half_life`` is
    set and the log has timestamps); W = (G + Λ)⁻¹ C maps it to what users did next. ``encoder`` brings in item text
    twice: as a prior on W (``text_prior``) and as a similarity term, so that items nobody has touched get scores. The
    text is encoded once an item; no language model runs at request time.

    Time: pairs of events within reach, plus one Cholesky of (blocks · items)³/3 FLOPs, and (blocks · items)² floats.
    Beyond 15,000 blocks · items (``solver`` "auto") blocks of items are solved on the thousand sources that explain
    them best, each at the same cost; the sums still grow with the pairs. Users are added and forgotten exactly in the
    sums: ``solve(statistics - accumulate(user))`` equals a refit to rounding, with sparse weights as far as a block's
    sources stay the same.

    Scores are x W + (text_weight / ridge) · x_text E Eᵀ. Ridge from stacked recency-weighted histories follows
    EASE (Steck, 2019) in form and SLIST (Choi et al., 2021, eq. 8) in weighting by recency.

    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset(n_users=50, n_items=20, seed=0)
    >>> model = SequentialLinear(half_lives=(1.5,), ridge=1.0).fit(data)
    >>> len(model.recommend([data.query(0)], k=3)[0])
    3
    """

    # In the order in which tuning tries them: what a second block of states costs is eight times one, so it comes last.
    ridge: float = field(default=100.0, metadata={"stage": "solve", "tune": (10.0, 30.0, 100.0, 300.0)})
    encoder: TextEncoder | None = None
    text_weight: float = field(
        default=4.0, metadata={"stage": "score", "tune": (0.0, 1.0, 2.0, 4.0, 6.0, 10.0, 20.0), "text": True}
    )
    text_half_life: float = field(default=2.0, metadata={"stage": "score", "tune": (1.0, 2.0, 4.0), "text": True})
    whitening: float = field(default=0.7, metadata={"stage": "solve", "tune": (0.3, 0.7), "text": True})
    text_prior: float = field(default=0.0, metadata={"stage": "solve", "tune": (0.0, 2.0), "text": True})
    frequency_ridge: float = field(default=0.0, metadata={"stage": "solve", "tune": (0.0, 0.05)})
    target_half_life: float = field(default=1.0, metadata={"stage": "accumulate", "tune": (1.0, 2.0)})
    reversed_weight: float = field(default=0.0, metadata={"stage": "accumulate", "tune": (0.0, 0.3)})
    half_lives: tuple[float, ...] = field(
        default=(3.0,), metadata={"stage": "accumulate", "tune": ((3.0,), (1.5, 15.0))}
    )
    gap_half_life: float = field(default=0.0, metadata={"stage": "accumulate", "tune": (0.0, 60.0)})
    precision: Literal["float32", "float64"] = "float32"
    solver: Solver = "auto"
    n_items_: int = field(init=False, repr=False, compare=False)
    weights_: Weights = field(init=False, repr=False, compare=False)
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    mean_: Matrix = field(init=False, repr=False, compare=False)
    transform_: Matrix | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.half_lives and not self.gap_half_life:
            raise ConfigError("sequential-linear needs at least one half-life")
        for name in ("ridge", "target_half_life"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if any(h <= 0 for h in self.half_lives):
            raise ConfigError(f"half_lives must all be above 0, not {self.half_lives}")
        check_solver(self.solver)

    @property
    def reads_words(self) -> bool:  # type: ignore[override]
        """Whether a request's words count: with text of some weight, they do."""
        return self.encoder is not None and self.text_weight > 0

    def accumulate(self, interactions: Interactions) -> Statistics:
        """Return the sums over the users of ``interactions``; sums of disjoint users add up."""
        return self.accumulate_part(interactions).whole()

    def accumulate_part(self, interactions: Interactions) -> Statistics:
        """Return the sums with one half of the symmetric table."""
        if self.gap_half_life and interactions.timestamp is None:
            raise DataError(
                "gap_half_life needs timestamps, and this log has none", hint="set gap_half_life = 0 in the plan"
            )
        settings = self._decays(), self.target_half_life
        statistics = accumulate_states(interactions, *settings, upper=True)
        if self.reversed_weight:
            backwards = accumulate_states(_reversed(interactions), *settings, upper=True).scaled(self.reversed_weight)
            n_users, n_events = statistics.n_users, statistics.n_events
            statistics = replace(statistics.plus(backwards, overwrite=True), n_users=n_users, n_events=n_events)
        return statistics

    def solve(self, statistics: Statistics) -> Self:
        """Learn the weights from ``statistics``; cheap to repeat with another ridge."""
        require_fitted(self, "n_items_")
        if self.encoder is not None:
            space = TextSpace.fit(self._encoded, self.whitening)
            self.mean_, self.transform_ = space.mean, space.transform
            self.vectors_ = space.project(self._encoded)
        prior = Prior(self.ridge, self.frequency_ridge, self.text_prior, self.vectors_ if self.encoder else None)
        dtype = np.float32 if self.precision == "float32" else np.float64
        self.weights_ = solve_by_size(statistics, prior, dtype, self.solver)
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``; 2 · (history items in reach) · n_items FLOPs a query."""
        require_fitted(self, "weights_")
        states = decayed_histories(queries, self._decays(), self.n_items_)
        scores = times(states, self.weights_)
        if self.encoder is not None and self.text_weight:
            profile = self._text_profiles(queries)
            scores += (self.text_weight / self.ridge) * (profile @ self.vectors_.T)
            charge(flops=2.0 * profile.shape[0] * profile.shape[1] * self.n_items_)
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``; unknown where times are needed and not there."""
        dim, decays = width_of(self.encoder), self._decays()
        found = expected_states(shape, decays, passes=2 if self.reversed_weight else 1)
        if dim is None or found is None:
            return Stages()
        sums, filled, cells = found
        n, K = shape.items, len(decays)
        text = expected_text_space(shape, dim, self.whitening) if dim else Expected.nothing()
        sparse = is_sparse(self.solver, int(K * n))
        if sparse:
            solved = expected_blockwise(shape, K, filled, cells, prior_dim=dim if self.text_prior else 0)
        else:
            solved = expected_solve(
                n, K, cells, sparse=not is_dense(shape, decays), precision=self.precision,
                prior_dim=dim if self.text_prior else 0,
            )  # fmt: skip
        reaches = [-np.log2(_FAINT) * d.half_life if d.unit == "positions" else 0.0 for d in decays]
        seen = sum(shape.mean_reached(float(reach)) for reach in reaches)
        read = 4.0 * n * dim if self.text_weight else 0.0
        asked = Work("state", 1.0, read, "text") if read else Work("state", 1.0)
        score, batch = expected_weights(shape, seen, dense=not sparse, asked=asked)
        if any(d.unit == "seconds" for d in decays):
            # How many items lie within seconds of the newest, only the queries know.
            score, batch = (replace(part, spread=max(part.spread, 1.5)) for part in (score, batch))
        if read:
            flops = 2.0 * n * dim
            score += Expected((Work("scan", read, read),), flops, 0.0, 0.0, 8.0 * n, 0.0)
            batch += Expected((Work("gemm-f32", flops, dim),), flops, 0.0, 0.0, 8.0 * n, 0.0)
        held = (solved.held_bytes or 0.0) + 8.0 * n * dim
        # What was encoded is there already; the allocator keeps what was used in passing.
        beside = (text.peak_bytes or 0.0) - 4.0 * n * dim
        fit = expected_encoded(shape, dim) + sums + replace(text, held_bytes=beside) + solved
        return Stages(replace(fit, held_bytes=held), score, batch)

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the history items, and the request's words, with the largest terms in each score: it is their sum."""
        require_fitted(self, "weights_")
        history = np.unique(query.history)
        terms = np.zeros((len(history), len(items)))
        states = decayed_histories([query], self._decays(), self.n_items_).tocoo()
        block, item = np.divmod(states.coords[1], self.n_items_)
        rows = np.searchsorted(history, item)
        np.add.at(terms, rows, states.data[:, None] * entries(self.weights_, block * self.n_items_ + item, items))
        said = np.zeros(len(items))
        if self.encoder is not None and self.text_weight:
            recent = decayed_histories([query], [Decay(self.text_half_life, "positions")], self.n_items_).tocoo()
            E, scale = self.vectors_, self.text_weight / self.ridge
            near = scale * recent.data[:, None] * (E[recent.coords[1]] @ E[items].T)
            np.add.at(terms, np.searchsorted(history, recent.coords[1]), near)
            said = scale * (self._words([query]) @ E[items].T)[0]
        return history_reasons("history", history.astype(np.int32), terms, words=query.text, said=said)

    def work(self, n_items: int) -> float:
        """Return how much work fitting is, up to a constant."""
        return work(self.solver, len(self._decays()) * n_items, n_items)

    def _decays(self) -> list[Decay]:
        decays = [Decay(h, "positions") for h in self.half_lives]
        return [*decays, Decay(self.gap_half_life, "seconds")] if self.gap_half_life else decays

    def _text_profiles(self, queries: Sequence[Query]) -> Matrix:
        recent = decayed_histories(queries, [Decay(self.text_half_life, "positions")], self.n_items_)
        profiles: Matrix = recent @ self.vectors_
        return profiles + self._words(queries) if any(q.text for q in queries) else profiles

    def _words(self, queries: Sequence[Query]) -> Matrix:
        assert self.encoder is not None
        asked = encode_queries([q.text for q in queries], self.encoder, len(self.mean_))
        return TextSpace(self.mean_, self.transform_).project(asked)


def decayed_histories(queries: Sequence[Query], decays: Sequence[Decay], n_items: int) -> sparse.csr_array:
    """Return the states of ``queries`` at their newest event, float32 CSR ``(n_queries, len(decays) · n_items)``.

    Without times, a block in seconds sees the newest event alone.
    """
    lengths = np.fromiter((len(q.history) for q in queries), dtype=np.int64, count=len(queries))
    row = np.repeat(np.arange(len(queries)), lengths)
    end = np.cumsum(lengths)
    item = np.concatenate([np.empty(0, dtype=np.int32), *(q.history for q in queries)]).astype(np.int64)
    lag = np.repeat(end, lengths) - 1 - np.arange(len(item))
    rows, columns, weights = [], [], []
    for k, decay in enumerate(decays):
        if decay.unit == "positions":
            distance = lag.astype(np.float64)
        else:
            distance = np.concatenate([np.empty(0), *(_ages(q) for q in queries)])
        weight = np.exp2(-distance / decay.half_life)
        kept = weight >= _FAINT
        rows.append(row[kept])
        columns.append(item[kept] + k * n_items)
        weights.append(weight[kept])
    coords = (np.concatenate(rows), np.concatenate(columns))
    shape = (len(queries), len(decays) * n_items)
    return sparse.coo_array((np.concatenate(weights).astype(np.float32), coords), shape=shape).tocsr()


def _ages(query: Query) -> np.ndarray[Any, np.dtype[np.float64]]:
    if query.times is None:
        ages = np.full(len(query.history), np.inf)
        ages[-1:] = 0.0
        return ages
    return np.asarray(query.times[-1:] - query.times, dtype=np.float64)


def _reversed(log: Interactions) -> Interactions:
    """Return the log with every user's events in reverse order, time running backwards."""
    lengths = np.diff(log.offsets)
    first = np.repeat(log.offsets[:-1], lengths)
    rows = first + np.repeat(log.offsets[1:], lengths) - 1 - np.arange(len(log))
    backwards = log.take(rows)
    return backwards if log.timestamp is None else replace(backwards, timestamp=-log.timestamp[rows])


__all__ = ["SequentialLinear"]
