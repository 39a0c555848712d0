"""EASE: linear item-to-item weights in closed form, optionally drawn towards those that item text suggests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

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
    times,
    zero_diagonal_sparse,
)
from frugalrec.recommenders._base import history_reasons, query_matrix, require_fitted
from frugalrec.recommenders._expected import (
    expected_blockwise,
    expected_gram,
    expected_text_space,
    expected_weights,
    width_of,
)
from frugalrec.recommenders._linear import Linear
from frugalrec.recommenders._ridge import Prior, dense, invert, row_by_row
from frugalrec.recommenders._statistics import DENSE_ROWS, Statistics, dtype_of
from frugalrec.recommenders._text import TextSpace
from frugalrec.work import Expected, Stages, Work, touching


@dataclass
class Ease(Linear):
    """Shallow autoencoder in closed form (Steck, 2019, eq. 8): the strong baseline for logs without an order.

    Minimises ‖X - XB‖² + λ‖B‖² with diag(B) = 0. With ``encoder``, adds μ‖B - C‖², where C is the same model fitted to
    the item text vectors (L3AE, Moon et al., 2025): B = μPC - P·diag((1 + μ diag(PC)) / diag(P)), P = (XᵀX + (λ+μ)I)⁻¹.
    ``history_half_life`` (in positions; 0 = off) weighs the newest events more when scoring. With ``activity_discount``
    a, a user of L items counts L^-a in the sums: 0 takes all events alike, 1 all users, which suits requests that are
    answered by many later items; the ridge is then some hundred times smaller for the same strength.

    Time n³ for n items, memory n² floats. Beyond 15,000 items (``solver`` "auto") blocks of items are solved on the
    thousand sources that explain them best: each block costs the same, but with text it is compared with all items
    first, n²d FLOPs in all for vectors of d. Users are added and forgotten exactly in the sums, and in the weights as
    far as a block's sources stay the same; dense weights equal a refit to rounding.

    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset(n_users=50, n_items=20, seed=0)
    >>> len(Ease(ridge=10.0).fit(data).recommend([data.query(0)], k=3)[0])
    3
    """

    ridge: float = field(default=300.0, metadata={"stage": "solve", "tune": (30.0, 100.0, 300.0, 1000.0, 3000.0)})
    history_half_life: float = field(default=0.0, metadata={"stage": "score", "tune": (0.0, 1.0, 2.0, 5.0, 15.0)})
    activity_discount: float = field(default=0.0, metadata={"stage": "accumulate"})
    encoder: TextEncoder | None = None
    text_weight: float = field(
        default=300.0, metadata={"stage": "solve", "tune": (30.0, 100.0, 300.0, 1000.0), "text": True}
    )
    text_ridge: float = field(default=10.0, metadata={"stage": "solve", "tune": (1.0, 10.0, 100.0), "text": True})
    whitening: float = field(default=0.0, metadata={"stage": "solve", "tune": (0.0, 0.3), "text": True})
    precision: Literal["float32", "float64"] = "float32"
    solver: Solver = "auto"
    n_items_: int = field(init=False, repr=False, compare=False)
    weights_: Weights = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.ridge <= 0:
            raise ConfigError(f"ridge must be above 0, not {self.ridge}")
        if not 0 <= self.activity_discount <= 1:
            raise ConfigError(f"activity_discount must be between 0 and 1, not {self.activity_discount}")
        check_solver(self.solver)

    def accumulate(self, interactions: Interactions) -> Statistics:
        """Return XᵀX of the binary user × item matrix, users discounted; the sums of disjoint users add up."""
        X = interactions.matrix().astype(dtype_of(interactions.n_items))
        per_user = np.diff(X.indptr).astype(np.float64)
        if self.activity_discount:
            weight = np.maximum(per_user, 1.0) ** (-self.activity_discount / 2)
            X.data *= np.repeat(weight, np.diff(X.indptr)).astype(X.dtype)
        product = X.T @ X
        charge(flops=2.0 * float(per_user @ per_user))
        n = interactions.n_items
        # Each cell adds the same terms in the order of the users, so that the columns of the product are its rows.
        gram = product.T.toarray() if product.nnz >= 0.1 * n * n and n <= DENSE_ROWS else product.tocsr()
        return Statistics(gram, None, int(np.count_nonzero(per_user)), len(interactions))

    def solve(self, statistics: Statistics) -> Self:
        """Learn the weights from ``statistics``; cheap to repeat with another ridge."""
        require_fitted(self, "n_items_")
        dtype = np.float32 if self.precision == "float32" else np.float64
        E: np.ndarray[Any, Any] | None = None
        if self.encoder is not None and self.text_weight:
            E = TextSpace.fit(self._encoded, self.whitening).project(self._encoded).astype(dtype)
        if is_sparse(self.solver, self.n_items_):
            text = None if E is None else (E, self.text_ridge, self.text_weight)
            prior = Prior(self.ridge + (self.text_weight if text else 0.0))
            self.weights_ = zero_diagonal_sparse(statistics.gram, prior, dtype, text=text)
            return self
        gram = dense(statistics.gram, dtype)
        if E is None:
            self.weights_ = _zero_diagonal(gram, self.ridge)
            return self
        charge(flops=2.0 * E.shape[0] ** 2 * E.shape[1])
        C = _zero_diagonal(E @ E.T, self.text_ridge)
        Prior(self.ridge + self.text_weight).add_to(gram)
        P = invert(gram)
        PC = P @ C
        charge(flops=2.0 * float(self.n_items_) ** 3)
        correction = (1.0 + self.text_weight * np.diag(PC)) / np.diag(P)
        PC *= self.text_weight
        P *= correction
        PC -= P
        self.weights_ = np.ascontiguousarray(PC, dtype=dtype)
        np.fill_diagonal(self.weights_, 0.0)
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``; 2 · (history items) · n_items FLOPs a query."""
        require_fitted(self, "weights_")
        X = query_matrix(queries, self.n_items_, self.history_half_life)
        return times(X, self.weights_)

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``."""
        dim = width_of(self.encoder) if self.text_weight else 0
        if dim is None:
            return Stages()
        n, width = shape.items, 4.0 if self.precision == "float32" else 8.0
        name = "f32" if self.precision == "float32" else "f64"
        cells = shape.filled(shape.squares)
        dense = cells >= 0.1 * n * n and n <= DENSE_ROWS
        entry = 12.0 if dtype_of(int(n)) is np.float64 else 8.0
        held = 8.0 * n * n if dense else entry * cells
        peak = (entry * cells + held if dense else 2.0 * entry * cells) + 24.0 * shape.n_chosen
        work = (
            *expected_gram(shape.n_chosen, shape.squares, cells, n),
            Work("events", shape.n_events, shape.n_events),
            # The product has columns: they become rows of a dense table, or are turned into sparse ones.
            Work("stream", (50.0 if dense else 0.0) * cells + 2 * held, 12.0 * cells),
            Work("turn-sparse", 0.0 if dense else cells),
            touching(12.0 * cells + held if dense else 24.0 * cells),
        )
        sums = Expected(work, 2.0 * shape.squares, 0.0, 0.0, peak, held, 1.0 if dense else 1.15)
        # Counting items takes 2 FLOPs a cell of each pair; whatever text adds comes on top.
        text = expected_text_space(shape, dim, self.whitening) if dim else Expected.nothing()
        text = replace(text, held_bytes=text.peak_bytes)  # the allocator keeps what was used in passing

        if is_sparse(self.solver, int(n)):
            solved = expected_blockwise(shape, 1, cells, cells, said_dim=dim)
            return Stages(
                replace(sums + text + solved, held_bytes=solved.held_bytes),
                *expected_weights(shape, shape.mean_distinct, dense=False, said=bool(dim)),
            )
        flops, steps = n**3, [Work(f"invert-{name}", n**3, n), Work("stream", 8 * width * n * n, width * n * n)]
        steps.append(touching(width * n * n))
        beside = 1.0
        if dim:
            similar = 2.0 * n * n * dim
            flops = 2.0 * n**3 + similar + 2.0 * n**3
            steps = [
                Work(f"invert-{name}", 2.0 * n**3, n),
                Work(f"gemm-{name}", 2.0 * n**3, n),
                Work(f"gemm-{name}", similar, dim),
                Work("stream", 24 * width * n * n, width * n * n),
                touching(4 * width * n * n),
            ]
            beside = 3.0
        solved = Expected(tuple(steps), flops, 0.0, 0.0, beside * width * n * n, width * n * n)
        return Stages(
            replace(sums + text + solved, held_bytes=width * n * n),
            *expected_weights(shape, shape.mean_distinct, dense=True),
        )

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the history items with the largest terms in each score; exact, since a score is their sum."""
        require_fitted(self, "weights_")
        x = query_matrix([query], self.n_items_, self.history_half_life)
        return history_reasons("history", x.indices, x.data[:, None] * entries(self.weights_, x.indices, items))


def _zero_diagonal(gram: np.ndarray[Any, Any], ridge: float) -> np.ndarray[Any, Any]:
    """Return B = I - P / diag(P), P = (gram + ridge·I)⁻¹; ``gram`` is overwritten."""
    Prior(ridge).add_to(gram)
    weights = invert(gram)
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)
    return row_by_row(weights)


__all__ = ["Ease"]
