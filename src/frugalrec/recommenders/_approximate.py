"""Linear weights for catalogues too large for one dense system: many small ridge systems, solved block by block.

Column j of W minimises ½ wᵀ(G + Λ)w - c_jᵀw, with c_j column j of C. Here the same function is minimised over the
weights on a few hundred *sources*: targets with similar columns form a block, and a block shares the sources U that
explain its targets best, one by one (the largest c_ij² / (g_ii + λ)). Then W_UB = (G + Λ)_UU⁻¹ C_UB, one Cholesky a
block. With all rows among the sources it is the dense solution. Sparse factors of the whole inverse, as in SANSA
(Spišák et al., 2023), are the other way to go; scipy has no sparse Cholesky.

For B blocks of b targets and u sources: B·(u³/3 + 2u²b) FLOPs, u² floats beside the statistics and the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy import linalg, sparse

from frugalrec.cost import charge
from frugalrec.data.interactions import FloatArray
from frugalrec.errors import ConfigError
from frugalrec.recommenders._base import gathered, product
from frugalrec.recommenders._ridge import Prior, check_definite, solve
from frugalrec.recommenders._statistics import DENSE_ROWS, Statistics, Table

SOURCES = 1000
TARGETS = 64
KEPT = 400
"""Weights kept of each target: those that move scores most, |w_i| sqrt(g_ii)."""

AXES = 24
ROUNDS = 2

Solver: TypeAlias = Literal["auto", "dense", "sparse"]
Weights: TypeAlias = np.ndarray[Any, Any] | sparse.csr_array
Codes: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Finish: TypeAlias = Callable[[np.ndarray[Any, Any], Codes, Codes], np.ndarray[Any, Any]]


def is_sparse(solver: Solver, rows: int) -> bool:
    """Return whether a system of ``rows`` rows is solved block by block."""
    return solver == "sparse" or (solver == "auto" and rows > DENSE_ROWS)


def check_solver(solver: str) -> None:
    """Raise `ConfigError` for a word that names no solver."""
    if solver not in ("auto", "dense", "sparse"):
        raise ConfigError(f"solver must be 'auto', 'dense' or 'sparse', not '{solver}'")


def work(solver: Solver, rows: int, columns: int) -> float:
    """Return how much work solving a system of ``rows`` rows for ``columns`` targets is, up to a constant."""
    if not is_sparse(solver, rows):
        return float(rows) ** 3 / 3 + 2.0 * float(rows) ** 2 * columns
    size = min(SOURCES, rows)
    return rows / TARGETS * (float(size) ** 3 + 6.0 * size**2 * TARGETS)


def solve_by_size(
    statistics: Statistics, prior: Prior, dtype: type[np.floating[Any]], solver: Solver = "auto"
) -> Weights:
    """Return W = (G + Λ)⁻¹ C, dense, or as CSR where the system is large or ``solver`` says so."""
    if is_sparse(solver, statistics.gram.shape[0]):
        return solve_sparse(statistics, prior, dtype)
    return solve(statistics, prior, dtype)


def times(left: sparse.csr_array, weights: Weights) -> np.ndarray[Any, Any]:
    """Return ``left @ weights`` in float32; charges 2 FLOPs for each pair of entries that meet."""
    if isinstance(weights, np.ndarray):
        charge(flops=2.0 * left.nnz * weights.shape[1])
        return gathered(left.astype(weights.dtype), weights)
    return product(left.astype(weights.dtype), weights)


def entries(weights: Weights, rows: Any, columns: Any) -> np.ndarray[Any, Any]:
    """Return the weights of ``rows`` and ``columns`` as a dense table."""
    found = weights[rows]
    return np.asarray(found[:, columns]) if isinstance(found, np.ndarray) else found.toarray()[:, columns]


def solve_sparse(
    statistics: Statistics,
    prior: Prior,
    dtype: type[np.floating[Any]] = np.float32,
    *,
    sources: int = SOURCES,
    targets: int = TARGETS,
    kept: int = KEPT,
) -> sparse.csr_array:
    """Return W ≈ (G + Λ)⁻¹ C as CSR ``(K·n, n)``, at most ``kept`` weights a column; text priors are kept in full."""
    cross = statistics.cross
    assert cross is not None
    columns = sparse.csr_array(sparse.csr_array(cross).T.tocsr()).astype(dtype, copy=False)

    def finish(factor: np.ndarray[Any, Any], U: Codes, B: Codes) -> np.ndarray[Any, Any]:
        return _substitute(factor, _square(columns, B, U, dtype).T)

    return _blocks(statistics.gram, columns, prior, dtype, finish, (sources, targets, kept))


def zero_diagonal_sparse(
    gram: Table,
    prior: Prior,
    dtype: type[np.floating[Any]] = np.float32,
    *,
    text: tuple[np.ndarray[Any, Any], float, float] | None = None,
    sources: int = SOURCES,
    targets: int = TARGETS,
    kept: int = KEPT,
) -> sparse.csr_array:
    """Return the weights of EASE as CSR ``(n, n)``: each item regressed on its block's sources, its own weight 0.

    ``text`` holds unit vectors E ``(n, d)``, the ridge of the text model and the weight μ of its weights as a prior.
    """
    columns = sparse.csr_array(gram).astype(dtype)
    columns.setdiag(0.0)
    columns.eliminate_zeros()
    said = _TextWeights(*text) if text is not None else None

    def finish(factor: np.ndarray[Any, Any], U: Codes, B: Codes) -> np.ndarray[Any, Any]:
        own = np.searchsorted(U, B)
        one = np.zeros((len(U), len(B)), dtype=factor.dtype)
        one[own, np.arange(len(B))] = 1.0
        inverse = _substitute(factor, one)
        diagonal = inverse[own, np.arange(len(B))]
        if said is None:
            weights = -inverse / diagonal
        else:
            charge(flops=2.0 * len(U) ** 2 * len(B))
            drawn = _substitute(factor, said.of(U, B).astype(factor.dtype))
            weights = drawn - inverse * (1.0 + drawn[own, np.arange(len(B))]) / diagonal
        weights[own, np.arange(len(B))] = 0.0
        return np.asarray(weights)

    return _blocks(gram, columns, prior, dtype, finish, (sources, targets, kept), own=True, said=said)


class _TextWeights:
    """The weights of EASE on item vectors, any part of them: Q = (E Eᵀ + τ)⁻¹ by Woodbury, then I - Q / diag(Q)."""

    def __init__(self, vectors: np.ndarray[Any, Any], ridge: float, weight: float) -> None:
        E = vectors.astype(np.float64)
        n, d = E.shape
        inner = linalg.cholesky(E.T @ E + ridge * np.eye(d), lower=True)
        self._half = linalg.solve_triangular(inner, E.T, lower=True).T.astype(np.float32)
        self._diagonal = 1.0 - np.einsum("ij,ij->i", self._half, self._half)
        self._weight = weight
        self.vectors = vectors
        charge(flops=4.0 * n * d * d + d**3 / 3 + 2.0 * n * d)

    def of(self, U: Codes, B: Codes) -> np.ndarray[Any, Any]:
        """Return μ C_UB, ``(len(U), len(B))``."""
        found, own, column = self._times(self._half[U].T, B).T, np.searchsorted(U, B), np.arange(len(B))
        there = (own < len(U)) & (U[np.minimum(own, len(U) - 1)] == B)
        found[own[there], column[there]] = 0.0
        return np.asarray(found)

    def scaled(self, scale: FloatArray) -> np.ndarray[Any, Any]:
        """Return what `strength` needs of all items, ``(d, n)``: their half of Q, in the units of the sums."""
        return np.ascontiguousarray((self._half * scale[:, None].astype(np.float32)).T)

    def strength(self, scaled: np.ndarray[Any, Any], B: Codes) -> FloatArray:
        """Return how much each item says of the texts of B, as `strength` does for the sums; O(n · d · len(B))."""
        # A row of the catalogue for each of B: products and maxima are fastest along long rows.
        gain = self._times(scaled, B)
        gain[np.arange(len(B)), B] = 0.0
        np.square(gain, out=gain)
        most = gain.max(axis=1)
        return np.asarray((1.0 / np.where(most > 0, most, 1.0)) @ gain, dtype=np.float64)

    def _times(self, half: np.ndarray[Any, Any], B: Codes) -> np.ndarray[Any, Any]:
        """Return what columns of ``half`` say of B, a row for each; no item is kept from speaking of itself."""
        charge(flops=2.0 * half.shape[1] * len(B) * half.shape[0])
        return np.asarray((self._half[B] * (self._weight / self._diagonal[B])[:, None].astype(np.float32)) @ half)


def _blocks(
    gram: Table,
    columns: sparse.csr_array,
    prior: Prior,
    dtype: type[np.floating[Any]],
    finish: Finish,
    limits: tuple[int, int, int],
    *,
    own: bool = False,
    said: _TextWeights | None = None,
) -> sparse.csr_array:
    """Solve block by block; row j of ``columns`` is c_j. ``own``: a block's targets must be among its sources."""
    sources, targets, kept = limits
    sources = max(sources, targets)  # EASE's targets are sources too
    n, size = columns.shape
    diagonal = np.asarray(gram.diagonal(), dtype=np.float64)
    scale = 1.0 / np.sqrt(np.maximum(diagonal, 0.0) + prior.ridge)
    penalty = prior.on_parts()
    parts: list[sparse.csr_array] = []
    order = alike(columns, scale, targets, None if said is None else said.vectors)
    half = np.empty(0) if said is None else said.scaled(scale)
    for B in order:
        said_by = strength(columns[B], scale)
        if said is not None:
            said_by += said.strength(half, B)
        if own:
            said_by[B] = np.inf
        U = np.arange(size)
        if sources < size:
            U = np.sort(np.argpartition(-said_by, sources - 1)[:sources])
            U = U[said_by[U] > 0]
        if not len(U):
            parts.append(sparse.csr_array((len(B), size), dtype=dtype))
            continue
        local = penalty(_square(gram, U, U, dtype), U, n)
        weights = finish(_factor(local), U, B)
        charge(flops=len(U) ** 3 / 3 + 2.0 * len(U) ** 2 * len(B))
        parts.append(_largest(weights.T, U, np.sqrt(np.maximum(diagonal[U], 1e-12)), kept, size))
    stacked = sparse.vstack(parts, format="csr")
    parts.clear()  # as large as what they are stacked to
    stacked = stacked[np.argsort(np.concatenate(order), kind="stable")]
    return sparse.csr_array(stacked.T.tocsr())


def strength(block: sparse.csr_array, scale: FloatArray) -> FloatArray:
    """Return how much each source explains of the targets in the rows of ``block``, each target counting the same."""
    gain = (block.data * scale[block.indices]) ** 2
    rows = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    most = np.bincount(rows, gain, minlength=block.shape[0])
    share = gain / np.where(most > 0, most, 1.0)[rows]
    return np.bincount(block.indices, share, minlength=block.shape[1]).astype(np.float64)


def _square(table: Table, rows: Codes, columns: Codes, dtype: type[np.floating[Any]]) -> np.ndarray[Any, Any]:
    part = table[np.ix_(rows, columns)] if isinstance(table, np.ndarray) else table[rows][:, columns].toarray()
    return np.asarray(part, dtype=dtype)


def _factor(local: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    (potrf,) = linalg.get_lapack_funcs(("potrf",), (local,))
    factor, info = potrf(local.T, lower=False, overwrite_a=True, clean=False)
    check_definite(info)
    return np.asarray(factor)


def _substitute(factor: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    (potrs,) = linalg.get_lapack_funcs(("potrs",), (factor,))
    solution, info = potrs(factor, np.asfortranarray(right), lower=False, overwrite_b=True)
    check_definite(info)
    return np.asarray(solution)


def _largest(weights: np.ndarray[Any, Any], U: Codes, moves: FloatArray, kept: int, size: int) -> sparse.csr_array:
    """Return the rows of ``weights`` (targets × sources U) as CSR, the ``kept`` that move scores most in each."""
    b, u = weights.shape
    if u > kept:
        chosen = np.sort(np.argpartition(-np.abs(weights) * moves.astype(weights.dtype), kept - 1, axis=1)[:, :kept])
        data, indices = np.take_along_axis(weights, chosen, axis=1), U[chosen]
    else:
        data, indices = weights, np.broadcast_to(U, (b, u))
    offsets = np.arange(b + 1, dtype=np.int32) * data.shape[1]  # as wide as the indices are to be
    rows = sparse.csr_array((data.ravel(), indices.astype(np.int32).ravel(), offsets), shape=(b, size))
    rows.eliminate_zeros()
    return rows


def alike(
    columns: sparse.csr_array, scale: FloatArray, targets: int, vectors: np.ndarray[Any, Any] | None
) -> list[Codes]:
    """Return all targets in blocks of at most ``targets`` with similar columns (and texts).

    The columns' leading directions (randomised, fixed seed), halved again and again across the widest direction.
    """
    n, size = columns.shape
    if n <= targets:
        return [np.arange(n)]
    # The largest tables of all are copied here, so one copy is made, and what passes stays small.
    scaled = sparse.csr_array(
        (np.empty(columns.nnz, dtype=np.float32), columns.indices, columns.indptr), shape=columns.shape
    )
    for start, stop in pairwise([*range(0, n, 1024), n]):
        part = slice(columns.indptr[start], columns.indptr[stop])
        values = columns.data[part] * scale[columns.indices[part]]
        rows = np.repeat(np.arange(stop - start), np.diff(columns.indptr[start : stop + 1]))
        norms = np.sqrt(np.bincount(rows, values**2, minlength=stop - start))
        scaled.data[part] = values / np.where(norms > 0, norms, 1.0)[rows]
    places = np.random.default_rng(0).standard_normal((size, min(AXES, size))).astype(np.float32)
    for _ in range(ROUNDS):
        found = np.linalg.qr(scaled @ places)[0]
        places = scaled.T @ found
    places = scaled @ np.linalg.qr(places)[0]
    charge(flops=2.0 * scaled.nnz * AXES * (2 * ROUNDS + 1))
    if vectors is not None:
        axes = np.linalg.eigh(vectors.T @ vectors)[1][:, -AXES:]
        places = np.hstack([places, vectors @ axes])
    return list(_halved(places, np.arange(n), targets))


def _halved(places: np.ndarray[Any, Any], members: Codes, targets: int) -> Iterator[Codes]:
    if len(members) <= targets:
        yield np.sort(members)
        return
    inside = places[members] - places[members].mean(axis=0)
    widest = np.linalg.eigh(inside.T @ inside)[1][:, -1]
    order = members[np.argsort(inside @ widest, kind="stable")]
    # Halves of whole blocks, so that none ends up much smaller than the rest.
    blocks = -(-len(members) // targets)
    middle = len(members) * (blocks // 2) // blocks
    yield from _halved(places, order[:middle], targets)
    yield from _halved(places, order[middle:], targets)


__all__ = [
    "Solver",
    "Weights",
    "check_solver",
    "entries",
    "is_sparse",
    "solve_by_size",
    "solve_sparse",
    "times",
    "work",
    "zero_diagonal_sparse",
]
