"""Kernel ridge regression of what biases leave of each user's ratings, with a learned item covariance as the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from scipy import linalg, sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import IntArray
from frugalrec.errors import ConfigError
from frugalrec.rating_models._baseline import Baseline, Doubles


@dataclass
class ResidualRidge(Baseline):
    """Biases, and a ridge of each user's residuals on an item covariance K: the rating model to use up to 5,000 items.

    With e the residuals of the user's rated items o, item i is expected to leave K_io (K_oo + σ²I)⁻¹ e: the mean of a
    Gaussian, given what was rated, so that missing ratings are not taken for zeros. K starts as Σ e_i e_j / (n_ij +
    ``shrinkage``) over the n_ij users who rated both, without its negative eigenvalues. Each of ``steps`` is one exact
    EM step, K ← K + K T K / users with T = Σ a aᵀ - (K_oo + σ²I)⁻¹ and a = (K_oo + σ²I)⁻¹ e (Yu, Zhu, Lafferty and
    Gong, "Fast nonparametric matrix factorization for large-scale collaborative filtering", 2009). σ² is ``noise``
    times the variance of the residuals.

    Time (items³ + Σ ratings³ of a user) × steps, memory items² floats. A known user's prediction is a sum over their
    ratings; a user without ratings gets the biases.

    >>> import numpy as np
    >>> from frugalrec.testing.data import toy_ratings
    >>> data = toy_ratings()
    >>> user, item = np.array([0, 0], np.int32), np.array([0, 3], np.int32)
    >>> ResidualRidge().fit(data).predict(user, item).shape
    (2,)
    """

    shrinkage: float = field(default=100.0, metadata={"stage": "solve", "tune": (10.0, 30.0, 100.0, 300.0)})
    noise: float = field(default=1.2, metadata={"stage": "solve", "tune": (0.6, 0.9, 1.2, 1.8)})
    steps: int = field(default=3, metadata={"stage": "solve", "tune": (0, 3, 10)})
    kernel_: Doubles = field(init=False, repr=False, compare=False)
    weights_: sparse.csr_array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("shrinkage", "noise"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.steps < 0:
            raise ConfigError(f"steps must not be negative, but is {self.steps}")

    def fit(self, dataset: Dataset) -> Self:
        """Learn biases, item covariance and a weight for each rating; raises `DataError` without ratings."""
        log = dataset.interactions
        users, items, left = self.learn_biases(log)
        shape = (log.n_users, log.n_items)
        residuals = sparse.coo_array((left, (users, items)), shape=shape).tocsr()
        times = sparse.coo_array((np.ones(len(left)), (users, items)), shape=shape).tocsr()
        residuals.data /= times.data  # several ratings of one item count as their mean
        # Ratings that the biases explain fully leave nothing to learn, but the equations must stay solvable.
        noise = max(self.noise * float(np.mean(residuals.data**2)), 1e-9)
        self.kernel_ = _covariance(residuals, self.shrinkage)
        for _ in range(self.steps):
            _improve(self.kernel_, residuals, noise)
        solved = [np.empty(0)]
        for rated, e in _rows(residuals):
            solved.append(linalg.solve(_noisy(self.kernel_, rated, noise), e, assume_a="pos"))
            charge(flops=len(rated) ** 3 / 3 + 2.0 * len(rated) ** 2)
        self.weights_ = sparse.csr_array((np.concatenate(solved), residuals.indices, residuals.indptr), shape=shape)
        return self

    def predict(self, users: IntArray, items: IntArray) -> Doubles:
        """Return float64 ``(n,)``: the rating to expect of each pair; 2 × (the user's ratings) FLOPs a pair."""
        ratings = self.expected(users, items)
        n_users, n_items = self.weights_.shape
        asked = np.flatnonzero((users >= 0) & (users < n_users) & (items >= 0) & (items < n_items))
        asked = asked[np.argsort(users[asked], kind="stable")]
        for pairs in np.split(asked, np.flatnonzero(np.diff(users[asked])) + 1):
            if len(pairs):
                begin, end = self.weights_.indptr[users[pairs[0]] :][:2]
                rated, weights = self.weights_.indices[begin:end], self.weights_.data[begin:end]
                ratings[pairs] += self.kernel_[np.ix_(items[pairs], rated)] @ weights
                charge(flops=2.0 * len(pairs) * len(rated))
        return self.clipped(ratings)


def _rows(residuals: sparse.csr_array) -> list[tuple[np.ndarray[Any, Any], Doubles]]:
    bounds = zip(residuals.indptr, residuals.indptr[1:], strict=False)
    return [(residuals.indices[a:b], residuals.data[a:b]) for a, b in bounds if b > a]


def _noisy(kernel: Doubles, rated: np.ndarray[Any, Any], noise: float) -> Doubles:
    block: Doubles = kernel[np.ix_(rated, rated)]
    block[np.diag_indices_from(block)] += noise
    return block


def _covariance(residuals: sparse.csr_array, shrinkage: float) -> Doubles:
    """Return the shrunken mean products of residuals, the nearest matrix to them without negative eigenvalues."""
    rated = residuals.copy()
    rated.data = np.ones_like(rated.data)
    kernel = (residuals.T @ residuals).toarray() / ((rated.T @ rated).toarray() + shrinkage)
    values, vectors = linalg.eigh(kernel)
    kept = values > 0
    sizes = np.diff(residuals.indptr).astype(np.float64)
    charge(flops=4.0 * float(sizes @ sizes) + 9.0 * len(kernel) ** 3 + 2.0 * len(kernel) ** 2 * int(kept.sum()))
    return np.asarray((vectors[:, kept] * values[kept]) @ vectors[:, kept].T)


def _improve(kernel: Doubles, residuals: sparse.csr_array, noise: float) -> None:
    """Take one EM step in place: a mean over users of the residuals' second moments given what each user rated."""
    change = np.zeros_like(kernel)
    rows = _rows(residuals)
    for rated, e in rows:
        # By Cholesky, which takes half of what a general inverse does and gives the lower triangle: a user's items
        # ascend, so it falls into the lower triangle of the sum.
        factor, _ = linalg.cho_factor(_noisy(kernel, rated, noise), lower=True, check_finite=False)
        weights = linalg.cho_solve((factor, True), e, check_finite=False)
        inverse, _ = linalg.lapack.dpotri(factor, lower=True)
        change[np.ix_(rated, rated)] += np.outer(weights, weights) - inverse
    change = np.tril(change)
    change += np.tril(change, -1).T
    kernel += kernel @ change @ kernel / len(rows)
    charge(flops=4.0 * len(kernel) ** 3 + float(sum(len(e) ** 3 + 5 * len(e) ** 2 for _, e in rows)))


__all__ = ["ResidualRidge"]
