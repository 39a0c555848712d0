"""A ridge from what users chose up to a moment to all they chose afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Query, Reason
from frugalrec.data.interactions import IntArray, Interactions
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
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
from frugalrec.recommenders._base import history_reasons, query_matrix, require_fitted
from frugalrec.recommenders._expected import expected_blockwise, expected_gram, expected_solve, expected_weights
from frugalrec.recommenders._linear import Linear
from frugalrec.recommenders._ridge import Prior
from frugalrec.recommenders._statistics import DENSE_ROWS, Statistics
from frugalrec.work import Expected, Stages, Work, touching


@dataclass
class FutureRidge(Linear):
    """Predicts everything that a user will still choose, not the next item: W = (Σ x xᵀ + λI)⁻¹ Σ x yᵀ.

    Each user is cut at ``cuts`` of their events: x holds the items before, 1/√n each for n of them, and y the items
    after. A member to add to `Ease` where requests are answered by many later items, as on a split at one moment: alone
    it does worse there on MovieLens-1M. `Ease` predicts a user's items from one another whatever their order, so the
    two err differently. For the next item take ``sequential-linear``.

    Time n³ for n items and cuts · Σ L² for users of L items, memory n² floats; beyond 15,000 items (``solver`` "auto")
    blocks of items are solved on the thousand sources that explain them best. Users are added and forgotten exactly in
    the sums. FLOPs: two for each pair of items before, and before and after, a cut, and those of the solution.

    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset(n_users=50, n_items=20, seed=0)
    >>> len(FutureRidge(ridge=1.0).fit(data).recommend([data.query(0)], k=3)[0])
    3
    """

    ridge: float = field(default=300.0, metadata={"stage": "solve", "tune": (30.0, 100.0, 300.0, 1000.0)})
    cuts: tuple[float, ...] = field(default=(0.1, 0.25, 0.5, 0.75), metadata={"stage": "accumulate"})
    solver: Solver = "auto"
    encoder: TextEncoder | None = field(init=False, default=None, repr=False, compare=False)
    n_items_: int = field(init=False, repr=False, compare=False)
    weights_: Weights = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.ridge <= 0:
            raise ConfigError(f"ridge must be above 0, not {self.ridge}")
        if not self.cuts or not all(0 < cut < 1 for cut in self.cuts):
            raise ConfigError(f"cuts must be shares between 0 and 1, not {self.cuts}")
        check_solver(self.solver)

    def accumulate(self, interactions: Interactions) -> Statistics:
        """Return Σ x xᵀ and Σ x yᵀ over all cuts of all users; the sums of disjoint users add up."""
        log = interactions
        lengths = np.diff(log.offsets)
        place = np.arange(len(log)) - np.repeat(log.offsets[:-1], lengths)
        shape = (log.n_items, log.n_items)
        gram, cross = sparse.csr_array(shape), sparse.csr_array(shape)
        for cut in self.cuts:
            at = np.where(lengths > 1, np.maximum(1, np.floor(cut * lengths)), lengths)
            before = place < np.repeat(at, lengths)
            x, y = (log.take(rows).matrix().astype(np.float64) for rows in (before, ~before))
            met = x.multiply(y).astype(bool)  # an item chosen again after the cut is no news
            y = sparse.csr_array(y - y.multiply(met))
            y.eliminate_zeros()
            x.data /= np.sqrt(np.repeat(np.diff(x.indptr), np.diff(x.indptr)))
            x.data[np.repeat(np.diff(y.indptr) == 0, np.diff(x.indptr))] = 0.0  # nothing to learn from these
            gram, cross = gram + x.T @ x, cross + x.T @ y
            n, m = (np.diff(table.indptr).astype(np.float64) for table in (x, y))
            charge(flops=2.0 * float(n @ n + n @ m))
        if max(gram.nnz, cross.nnz) >= 0.1 * shape[0] ** 2 and shape[0] <= DENSE_ROWS:
            return Statistics(gram.toarray(), cross.toarray(), int(np.count_nonzero(lengths)), len(log))
        return Statistics(gram.tocsr(), cross.tocsr(), int(np.count_nonzero(lengths)), len(log))

    def solve(self, statistics: Statistics) -> Self:
        """Learn the weights from ``statistics``; cheap to repeat with another ridge."""
        require_fitted(self, "n_items_")
        self.weights_ = solve_by_size(statistics, Prior(self.ridge), np.float32, self.solver)
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``; 2 · (history items) · n_items FLOPs a query."""
        require_fitted(self, "weights_")
        return times(self._histories(queries), self.weights_)

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take; where users come back to items, users of different items stand in."""
        n, (sizes, users) = shape.items, shape.distinct
        squares = crossed = 0.0
        for cut in self.cuts:
            before = np.where(sizes > 1, np.maximum(1.0, np.floor(cut * sizes)), sizes)
            squares += float(before**2 @ users)
            crossed += float(before * (sizes - before) @ users)
        cells = [shape.filled(terms) for terms in (squares, crossed)]
        dense = max(cells) >= 0.1 * n * n and n <= DENSE_ROWS
        held = 16.0 * n * n if dense else 12.0 * sum(cells)
        work = (
            *(
                w
                for t, c in zip((squares, crossed), cells, strict=True)
                for w in expected_gram(shape.n_chosen, t, c, n)
            ),
            Work("events", 4.0 * len(self.cuts) * shape.n_events, shape.n_events),
            # Tables of one cut and of all before it become a new one.
            Work("stream", 36.0 * len(self.cuts) * sum(cells), 1 << 26),
            touching(held),
        )
        peak = 36.0 * sum(cells) + (held if dense else 0.0) + 60.0 * shape.n_chosen
        exact = shape.n_chosen == shape.n_events and dense
        sums = Expected(work, 2.0 * (squares + crossed), 0.0, 0.0, peak, held, 1.0 if exact else 1.3)
        if is_sparse(self.solver, int(n)):
            solved = expected_blockwise(shape, 1, *cells)
        else:
            solved = expected_solve(n, 1, cells[1], sparse=not dense, precision="float32", prior_dim=0)
        alone, batch = expected_weights(shape, shape.mean_distinct, dense=not is_sparse(self.solver, int(n)))
        return Stages(replace(sums + solved, held_bytes=solved.held_bytes), alone, batch)

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the history items with the largest terms in each score; exact, since a score is their sum."""
        require_fitted(self, "weights_")
        x = self._histories([query])
        return history_reasons("history", x.indices, x.data[:, None] * entries(self.weights_, x.indices, items))

    def work(self, n_items: int) -> float:
        """Return how much work fitting is, up to a constant."""
        return work(self.solver, n_items, n_items)

    def _histories(self, queries: Sequence[Query]) -> sparse.csr_array:
        x = query_matrix(queries, self.n_items_)
        lengths = np.diff(x.indptr)
        x.data = (x.data / np.sqrt(np.repeat(np.maximum(lengths, 1), lengths))).astype(np.float32)
        return x


__all__ = ["FutureRidge"]
