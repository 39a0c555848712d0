"""Matrix factorisation for implicit feedback, by alternating least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from scipy import linalg, sparse

from frugalrec.cost import charge, threads
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import MissingExtraError
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import Scores, history_reasons, query_matrix, require_fitted
from frugalrec.recommenders._expected import CACHED_BYTES
from frugalrec.work import Expected, Stages, Work

EXTRA = ("als", "implicit")

_LIBRARY_BYTES = 9e6

GRADIENT_STEPS = 3
"""Conjugate-gradient steps that implicit takes for each row and iteration."""


@dataclass
class Als(Scores):
    """Recommends by inner products of user and item factors, fitted with implicit's alternating least squares.

    An item of the history counts ``alpha`` times as much as one that is not. Only the item factors are kept: a query's
    factors are solved for in closed form from its history, so strangers and new events need no refit. With
    ``half_life``, an event that many positions before the newest is taken as half as wanted; 0 takes all alike. Choose
    it where the catalogue is too large for a dense item × item model. Needs the extra ``als``.

    Time, for f factors, E events and a history of L: O(iterations · (E f + (users + items) f²)) to fit,
    O(L f² + f³ + items · f) a query. Memory: O((users + items) f) to fit, O(items · f) after. FLOPs to fit, an upper
    bound (implicit stops early once a row has converged): an iteration takes, for users and for items alike, 2f² per
    row for the Gram matrix and, for each conjugate-gradient step and the first residual, 2f² per row with events and 4f
    per event. A query takes f³/3 + 2f² to solve, 2f² + 2f per history item and 2f per item to score; with ``alpha`` 1
    all queries of a batch share one matrix, so f³/3 is paid once and 2f² per history item never. Papers: Hu, Koren &
    Volinsky 2008, eq. 4; Takács, Pilászy & Tikk 2011 for the solver.

    >>> from frugalrec.testing.data import checkerboard
    >>> data = checkerboard(8)
    >>> Als(factors=4, iterations=30).fit(data).recommend([data.query(5)], k=1)[0].items.tolist()
    [5]
    """

    factors: int = field(default=64, metadata={"tune": (64, 128), "stage": "accumulate"})
    regularization: float = field(default=0.1, metadata={"tune": (0.1, 10.0), "stage": "accumulate"})
    alpha: float = field(default=1.0, metadata={"tune": (1.0, 5.0), "stage": "accumulate"})
    iterations: int = field(default=15, metadata={"stage": "accumulate"})
    half_life: float = field(default=0.0, metadata={"tune": (0.0, 3.0, 10.0), "stage": "score"})
    seed: int = field(default=0, metadata={"stage": "accumulate"})
    n_items_: int = field(init=False, repr=False, compare=False)
    item_factors_: Matrix = field(init=False, repr=False, compare=False)
    gram_: np.ndarray[Any, np.dtype[np.float64]] = field(init=False, repr=False, compare=False)

    def fit(self, dataset: Dataset) -> Self:
        """Factorise who chose what; raises `MissingExtraError` when implicit is not installed."""
        try:
            from implicit.cpu.als import AlternatingLeastSquares
        except ImportError as error:
            raise MissingExtraError.of("implicit", "als") from error
        from threadpoolctl import threadpool_limits

        chosen = dataset.interactions.matrix()
        # implicit calls BLAS from its own threads; a second layer of threads makes it many times slower.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularization,
                alpha=self.alpha,
                iterations=self.iterations,
                num_threads=threads(),
                random_state=self.seed,
            )
            model.fit(sparse.csr_matrix(chosen), show_progress=False)
        self.item_factors_ = np.ascontiguousarray(model.item_factors, dtype=np.float32)
        wide = self.item_factors_.astype(np.float64)
        self.gram_ = wide.T @ wide + self.regularization * np.eye(self.factors)
        self.n_items_ = dataset.n_items
        charge(flops=self._fit_flops(chosen))
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: inner products of the query's factors with the items'."""
        require_fitted(self, "item_factors_")
        histories = query_matrix(queries, self.n_items_, self.half_life)
        taste = np.zeros((len(queries), self.factors))
        # Of a large catalogue few items are in the histories of a request: only their factors are turned into float64.
        met, places = np.unique(histories.indices, return_inverse=True)
        weights = sparse.csr_array((histories.data, places, histories.indptr), shape=(len(queries), len(met)))
        summed = self.alpha * (weights @ self.item_factors_[met].astype(np.float64))
        if self.alpha == 1.0:
            taste = linalg.cho_solve(linalg.cho_factor(self.gram_), summed.T).T
        else:
            for row, (start, stop) in enumerate(zip(histories.indptr[:-1], histories.indptr[1:], strict=True)):
                system = self._system(histories.indices[start:stop])
                taste[row] = linalg.cho_solve(linalg.cho_factor(system, overwrite_a=True), summed[row])
        scores = np.asarray(taste.astype(np.float32) @ self.item_factors_.T)
        self._charge_queries(len(queries), histories.nnz)
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``."""
        f, n = float(self.factors), shape.items
        rows, busy = shape.users + n, shape.n_users + shape.n_warm
        flops = self._flops(rows, busy, shape.n_chosen)
        # Products with a table that stays in a cache, and a walk through the factors of what was chosen.
        squares = self._flops(rows, busy, 0.0)
        # Factors of users and items, with the log turned round as they are drawn, or the items' once more as float64.
        loading = 24.0 * shape.n_chosen + 4.0 * f * max(shape.users, n)
        peak = _LIBRARY_BYTES + 4.0 * f * (shape.users + n) + max(8.0 * f * n, loading)
        held = 4.0 * f * n + 8.0 * f * f
        # Half of the walks are through the factors of items, half through those of users.
        walked = (flops - squares) / 2
        far = sum(walked for rows in (n, shape.users) if 4.0 * f * rows > CACHED_BYTES)
        learned = (
            Work("als", squares, f),
            Work("als-events", 2.0 * walked - far, f),
            Work("als-far", far),
            Work("events", shape.n_events, shape.n_events),
        )
        fit = Expected(learned, flops, 0.0, 0.0, peak, held)
        own = 0.0 if self.alpha == 1.0 else 2 * f**2 * shape.mean_distinct
        scoring = 2 * f**2 + 2 * f * n + 2 * f * shape.mean_distinct + own
        asked = Work("query", 1.0, 4.0 * f * n, "als")
        alone = (asked, Work("scan", 4.0 * f * n, 4.0 * f * n), Work("gemm-f64", f**3 / 3 + own, f))
        batch = scoring + (0.0 if self.alpha == 1.0 else f**3 / 3)
        # Which items a batch's histories have is found by sorting them, which takes an event as long as three passes.
        met = Work("events", 3.0 * shape.mean_distinct, 1e5), Work("gather", shape.mean_distinct * f, f)
        among = (Work("gemm-f32", batch, f), Work("stream", 8.0 * n, 4.0 * n), *met)
        return Stages(
            fit,
            Expected(alone, scoring + f**3 / 3, 0.0, 0.0, 4.0 * n, 0.0),
            Expected(among, batch, 0.0, 0.0, 4.0 * n, 0.0),
        )

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the history items that contributed most to each score (Hu et al., section 5)."""
        require_fitted(self, "item_factors_")
        history = query_matrix([query], self.n_items_, self.half_life)
        wanted = (self.alpha * history.data)[:, None] * self.item_factors_[history.indices].astype(np.float64)
        solved = linalg.cho_solve(linalg.cho_factor(self._system(history.indices)), self.item_factors_[items].T)
        return history_reasons("history", history.indices, wanted @ solved)

    def _system(self, history: IntArray) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the matrix of a query's normal equations."""
        mine = self.item_factors_[history].astype(np.float64)
        return np.asarray(self.gram_ + (self.alpha - 1.0) * (mine.T @ mine))

    def _fit_flops(self, chosen: sparse.csr_array) -> float:
        rows = float(sum(chosen.shape))
        busy = float(np.count_nonzero(np.diff(chosen.indptr)) + len(np.unique(chosen.indices)))
        return self._flops(rows, busy, float(chosen.nnz))

    def _flops(self, rows: float, busy: float, chosen: float) -> float:
        f, solves = float(self.factors), GRADIENT_STEPS + 1
        return float(self.iterations) * (2 * f**2 * rows + solves * (2 * f**2 * busy + 4 * f * 2 * chosen))

    def _charge_queries(self, n_queries: int, n_history: int) -> None:
        f = float(self.factors)
        systems = 1 if self.alpha == 1.0 else n_queries
        own = 0.0 if self.alpha == 1.0 else 2 * f**2 * n_history
        scoring = n_queries * (2 * f**2 + 2 * f * self.n_items_) + 2 * f * n_history
        charge(flops=systems * f**3 / 3 + own + scoring)


__all__ = ["Als"]
