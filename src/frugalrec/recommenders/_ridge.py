"""The ridge systems of the linear models: the prior, and one Cholesky factorisation for all items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from frugalrec.cost import charge
from frugalrec.errors import DataError
from frugalrec.recommenders._base import COLUMNS
from frugalrec.recommenders._statistics import Statistics, Table, tiles, transpose


@dataclass(frozen=True)
class Prior:
    """The ridge of one solve, the same for each block: Λ = λ (I + κ E Eᵀ)⁻¹ + p·diag(gram).

    ``vectors`` is E, float32 ``(n, d)``, or None for κ = 0. By Woodbury (I + κ E Eᵀ)⁻¹ = I - E (I/κ + EᵀE)⁻¹ Eᵀ.
    """

    ridge: float
    frequency_ridge: float = 0.0
    kappa: float = 0.0
    vectors: np.ndarray[Any, Any] | None = None

    def add_to(self, gram: np.ndarray[Any, Any]) -> None:
        """Add Λ to ``gram`` (dense, ``(K·n, K·n)``) in place."""
        size = len(gram)
        diagonal = np.einsum("ii->i", gram)
        diagonal *= 1.0 + self.frequency_ridge
        diagonal += self.ridge
        half = self._half()
        if half is not None:
            half = half.astype(gram.dtype)
            d, n = half.shape
            for start in range(0, size, n):
                gram[start : start + n, start : start + n] -= self.ridge * (half.T @ half)
            charge(flops=(size // n) * 2.0 * n * n * d)

    def on_parts(self) -> Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any], int], np.ndarray[Any, Any]]:
        """Return ``add(part, rows, n)``, which adds Λ's rows and columns ``rows`` to ``part`` of the gram in place."""
        half = self._half()
        if half is not None:
            half = half.astype(np.float32)

        def add(part: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], n: int) -> np.ndarray[Any, Any]:
            diagonal = np.einsum("ii->i", part)
            diagonal *= 1.0 + self.frequency_ridge
            diagonal += self.ridge
            if half is not None:
                near = half[:, rows % n]
                part -= (self.ridge * (near.T @ near) * (rows[:, None] // n == rows // n)).astype(part.dtype)
                charge(flops=2.0 * len(rows) ** 2 * len(near))
            return part

        return add

    def _half(self) -> np.ndarray[Any, Any] | None:
        """Return H, float64 ``(d, n)``, with (I + κ E Eᵀ)⁻¹ = I - HᵀH, or None for κ = 0."""
        if not self.kappa or self.vectors is None:
            return None
        E = self.vectors.astype(np.float64)
        n, d = E.shape
        inner = linalg.cholesky(E.T @ E + np.eye(d) / self.kappa, lower=True)
        charge(flops=3.0 * n * d * d + d**3 / 3)
        return np.asarray(linalg.solve_triangular(inner, E.T, lower=True))


def dense(table: Table, dtype: type[np.floating[Any]]) -> np.ndarray[Any, Any]:
    """Return a dense copy of ``table`` with element type ``dtype``."""
    return table.astype(dtype) if isinstance(table, np.ndarray) else np.asarray(table.astype(dtype).toarray())


def invert(gram: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the inverse of a symmetric positive definite matrix, which is overwritten. n³ FLOPs."""
    potrf, potri = linalg.get_lapack_funcs(("potrf", "potri"), (gram,))
    lower, info = potrf(gram.T, lower=False, overwrite_a=True, clean=False)
    check_definite(info)
    inverse, info = potri(lower, lower=False, overwrite_c=True)
    check_definite(info)
    _mirror_upper(inverse)
    charge(flops=float(len(gram)) ** 3)
    return np.asarray(inverse)


def solve(statistics: Statistics, prior: Prior, dtype: type[np.floating[Any]] = np.float64) -> np.ndarray[Any, Any]:
    """Return W = (gram + Λ)⁻¹ cross, ``(K·n, n)``: one Cholesky factorisation.

    Size³/3 FLOPs for the factor; then, with a dense cross, 2·size²·n for the substitutions; with a sparse one it is
    cheaper to complete the inverse (2/3·size³) and multiply.
    """
    cross = statistics.cross
    assert cross is not None
    gram = dense(statistics.gram, dtype)
    prior.add_to(gram)
    size, n = gram.shape[0], cross.shape[1]
    if not isinstance(cross, np.ndarray) and size**2 * n > size**3 / 3 + cross.nnz * size:
        inverse = invert(gram)
        charge(flops=2.0 * cross.nnz * size)
        left, weights = cross.T.astype(dtype).tocsr(), np.empty((size, n), dtype=dtype)
        for first in range(0, size, COLUMNS):
            # The inverse is symmetric: its rows lie in memory as its columns would. Some at a time stay in a cache.
            columns = slice(first, first + COLUMNS)
            weights[columns] = (left @ np.ascontiguousarray(inverse.T[:, columns])).T
        return weights
    potrf, potrs = linalg.get_lapack_funcs(("potrf", "potrs"), (gram,))
    factor, info = potrf(gram.T, lower=False, overwrite_a=True, clean=False)
    check_definite(info)
    if isinstance(cross, np.ndarray):
        targets = np.array(cross, dtype=dtype, order="F")
    else:
        targets = cross.astype(dtype).toarray(order="F")
    weights, info = potrs(factor, targets, lower=False, overwrite_b=True)
    check_definite(info)
    charge(flops=size**3 / 3 + 2.0 * size**2 * n)
    return row_by_row(weights)


def row_by_row(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what LAPACK wrote column by column in the other order of memory, a square table in its own memory.

    Columns would be turned round at every request.
    """
    if weights.shape[0] != weights.shape[1] or not weights.flags.f_contiguous:
        return np.ascontiguousarray(weights)
    turned = weights.T
    transpose(turned)
    return np.asarray(turned)


def check_definite(info: int) -> None:
    """Raise `DataError` unless LAPACK's ``info`` says that all went well."""
    if info:
        raise DataError(
            f"the ridge system is not positive definite (LAPACK info {info})",
            hint="raise the ridge, or check the log for infinite or missing weights",
        )


def _mirror_upper(matrix: np.ndarray[Any, Any]) -> None:
    """Copy the triangle that LAPACK fills to the other."""
    for one, mirrored in tiles(matrix):
        whole = np.triu(one) + np.triu(one, 1).T if np.shares_memory(one, mirrored) else one
        mirrored[:] = whole.T
