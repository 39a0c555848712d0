"""What all recommenders share: histories as matrices, masking, and the best k of a score matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Query, Ranking, Reason
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import Matrix

BLOCK_BYTES = 256 * 2**20
"""How much memory one block of an intermediate result may take."""

REUSED = 4
"""Rows of a dense table that are met so many times on average are worth copying in parts that fit a cache."""

COLUMNS = 256

LISTED_REASONS = 3
"""How many history items an explanation names."""


class Scores(ABC):
    """Base of recommenders that score the whole catalogue: `recommend` comes with it.

    ``fit`` must set ``n_items_``. ``scores_cold_items`` tells whether items without training events get scores that
    mean something, as they do from text; a collaborative model gives them all the same floor. ``reads_words`` tells
    whether a request's free text changes the scores, so that people without a history can say what they want.
    """

    scores_cold_items: bool = False
    reads_words: bool = False
    n_items_: int

    @abstractmethod
    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``, higher is better, finite, nothing masked.

        Raises `NotFittedError` before ``fit``.
        """

    def recommend(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Return at most ``k`` items a query, best first, equal scores by item code.

        Items of the history (unless the query allows repeats), excluded items and, where the query names candidates,
        everything else are left out. Raises `NotFittedError` before ``fit`` and `ConfigError` for ``k`` below 1.
        """
        require_fitted(self, "n_items_")
        # Scores, their masked copy (float32 each) and comparisons of them are alive at once.
        rows = max(1, BLOCK_BYTES // (10 * max(1, self.n_items_)))
        rankings: list[Ranking] = []
        for start in range(0, len(queries), rows):
            block = queries[start : start + rows]
            items, scores = top_k(mask_scores(self.score(block), block), k)
            lengths = np.count_nonzero(items >= 0, axis=1)
            rankings.extend(
                Ranking(items[i, :length].copy(), scores[i, :length].copy()) for i, length in enumerate(lengths)
            )
        return rankings


def reads_words(recommender: object) -> bool:
    """Return whether the scores of ``recommender`` depend on a request's free text, as far as it says so."""
    return bool(getattr(recommender, "reads_words", False))


def require_fitted(component: object, attribute: str) -> None:
    """Raise `NotFittedError` naming the class of ``component`` unless ``attribute`` has been learned."""
    if not hasattr(component, attribute):
        name = type(component).__name__
        raise NotFittedError(f"{name} has not been fitted", hint=f"call {name}.fit(dataset) first")


def query_matrix(queries: Sequence[Query], n_items: int, half_life: float = 0.0) -> sparse.csr_array:
    """Return the histories as float32 CSR ``(n_queries, n_items)``.

    An event ``d`` positions before the newest one weighs ``2^(-d / half_life)``, or 1 when ``half_life`` is 0; an item
    that occurs more than once counts at its newest position.
    """
    if len(queries) == 1:
        return _history_row(queries[0].history, n_items, half_life)
    lengths = np.fromiter((len(q.history) for q in queries), dtype=np.int64, count=len(queries))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = _joined([q.history for q in queries])
    weights = np.ones(len(items), dtype=np.float32)
    if half_life > 0:
        lags = np.repeat(offsets[1:], lengths) - 1 - np.arange(len(items))
        weights = np.exp2(-lags / half_life).astype(np.float32)
    matrix = sparse.csr_array((weights, items, offsets), shape=(len(queries), n_items))
    matrix.sort_indices()
    return _without_repeats(matrix)


def _history_row(history: IntArray, n_items: int, half_life: float) -> sparse.csr_array:
    """Return `query_matrix` of one query: a request by itself is mostly overhead, and this has half of it."""
    items, lags = np.unique(history[::-1], return_index=True)
    weights = np.exp2(-lags / half_life).astype(np.float32) if half_life > 0 else np.ones(len(items), dtype=np.float32)
    row = sparse.csr_array((weights, items, np.array([0, len(items)], dtype=np.int32)), shape=(1, n_items))
    row.has_canonical_format = True
    return row


def product(left: sparse.csr_array, right: sparse.csr_array) -> Matrix:
    """Return ``left @ right`` as a dense float32 matrix and charge two FLOPs for each pair of entries that meet."""
    pairs = float(np.diff(right.indptr)[left.indices].sum())
    charge(flops=2.0 * pairs)
    left = as_wide(left, right)
    cells = right.shape[0] * right.shape[1]
    # A dense row costs a twelfth of a sparse one per entry; making the rows dense must pay off over the batch.
    worth_it = 12 * pairs > left.nnz * right.shape[1] and left.nnz > right.shape[0]
    if worth_it and 4 * cells <= BLOCK_BYTES:
        return np.asarray(left @ right.toarray(), dtype=np.float32)
    return np.asarray((left @ right).toarray(), dtype=np.float32)


def as_wide(left: sparse.csr_array, right: sparse.csr_array) -> sparse.csr_array:
    """Return ``left`` with indices of the type that those of ``right``, the larger table, have.

    Where they differ, scipy copies the table with the narrower ones, whole, at every product.
    """
    wide = right.indptr.dtype
    if left.indptr.dtype == wide:
        return left
    return sparse.csr_array((left.data, left.indices.astype(wide), left.indptr.astype(wide)), shape=left.shape)


def gathered(left: sparse.csr_array, table: np.ndarray[Any, Any]) -> Matrix:
    """Return ``left @ table`` of a sparse and a dense table of one type, in float32."""
    if left.nnz < REUSED * len(table):
        return np.asarray(left @ table, dtype=np.float32)
    # Each row is met many times: some columns at a time, the rows stay in a cache.
    found = np.empty((left.shape[0], table.shape[1]), dtype=np.float32)
    for first in range(0, table.shape[1], COLUMNS):
        columns = slice(first, first + COLUMNS)
        found[:, columns] = left @ np.ascontiguousarray(table[:, columns])
    return found


def mask_scores(scores: Matrix, queries: Sequence[Query]) -> Matrix:
    """Return a float32 copy of ``scores`` with -inf for every item that may not be recommended to its query."""
    masked = np.array(scores, dtype=np.float32)
    for row, query in enumerate(queries):
        if query.candidates is not None:
            allowed = masked[row, query.candidates]
            masked[row] = -np.inf
            masked[row, query.candidates] = allowed
    barred = [*(q.exclude if q.repeats else q.history for q in queries), *(q.exclude for q in queries)]
    rows = np.tile(np.arange(len(queries)), 2)
    masked[np.repeat(rows, [len(items) for items in barred]), _joined(barred)] = -np.inf
    return masked


def top_k(scores: Matrix, k: int) -> tuple[IntArray, Matrix]:
    """Return codes (int32) and scores (float32) of the best ``k`` items of each row, best first, equal scores by code.

    Both are ``(n, min(k, n_items))``; rows with fewer items above -inf end in -1 and -inf. Raises `ConfigError` for
    ``k`` below 1.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1, not {k}")
    n, n_items = scores.shape
    k = min(k, n_items)
    best = np.full((n, k), -1, dtype=np.int32)
    found = np.full((n, k), -np.inf, dtype=np.float32)
    if best.size == 0:
        return best, found
    floor = _floor_of_best(scores, k)
    # Over a table with two axes, np.nonzero takes ten times as long.
    rows, items = np.divmod(np.flatnonzero(scores > floor[:, None]), n_items)
    # Where fewer than k lie above the floor, the rest lie on it.
    missing = k - np.bincount(rows, minlength=n)
    short = np.flatnonzero((missing > 0) & (floor > -np.inf))
    level = [np.flatnonzero(scores[row] == floor[row])[: missing[row]] for row in short]
    rows = np.concatenate([rows, np.repeat(short, missing[short])])
    items = np.concatenate([items, *level])
    values = scores[rows, items]
    order = np.lexsort((items, -values, rows))
    rows, items, values = rows[order], items[order], values[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < k
    best[rows[kept], place[kept]] = items[kept]
    found[rows[kept], place[kept]] = values[kept]
    return best, found


def _floor_of_best(scores: Matrix, k: int) -> FloatArray:
    """Return, for each row, a value that at least ``k`` of its scores reach and few exceed.

    The k-th largest among the maxima of disjoint groups of items is one. It takes one pass over the scores, whereas a
    partition of rows in which most scores are equal, as sparse models give them, takes many times as long.
    """
    n, n_items = scores.shape
    n_groups = min(n_items, max(8 * k, 256))
    whole = n_items // n_groups * n_groups
    maxima = scores[:, :whole].reshape(n, -1, n_groups).max(axis=1)
    rest = maxima[:, : n_items - whole]
    np.maximum(rest, scores[:, whole:], out=rest)
    return np.asarray(np.partition(maxima, n_groups - k, axis=1)[:, n_groups - k])


def history_reasons(
    kind: str, history: IntArray, contributions: FloatArray, *, words: str = "", said: FloatArray | None = None
) -> list[tuple[Reason, ...]]:
    """Return, for each column of ``contributions``, what contributed most to that score, the largest share first.

    ``contributions`` is ``(n_history, n_explained)``; ``said`` ``(n_explained,)`` is what the request's own ``words``
    contributed. A share is a contribution's part of all that moved the score, up or down, so that it stays sensible for
    scores near zero.
    """
    said = np.zeros(contributions.shape[1]) if said is None else said
    sizes = np.abs(contributions).sum(axis=0) + np.abs(said)
    reasons: list[tuple[Reason, ...]] = []
    for column, word, size in zip(contributions.T, said, sizes, strict=True):
        largest = np.argsort(-column, kind="stable")[:LISTED_REASONS]
        found = [Reason(kind, float(column[i] / size), int(history[i])) for i in largest if column[i] > 0]
        if word > 0:
            found.append(Reason("text", float(word / size), words=f"matches “{words.strip()}”"))
        reasons.append(tuple(sorted(found, key=lambda reason: -reason.share)))
    return reasons


def _joined(parts: Sequence[IntArray]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.concatenate([np.empty(0, dtype=np.int32), *parts]).astype(np.int32, copy=False)


def _without_repeats(matrix: sparse.csr_array) -> sparse.csr_array:
    """Merge equal indices of sorted rows into the largest of their weights."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    first = np.ones(matrix.nnz, dtype=bool)
    first[1:] = (rows[1:] != rows[:-1]) | (matrix.indices[1:] != matrix.indices[:-1])
    if first.all():
        return matrix
    starts = np.flatnonzero(first)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[starts], minlength=matrix.shape[0]))])
    weights = np.maximum.reduceat(matrix.data, starts)
    return sparse.csr_array((weights, matrix.indices[starts], offsets), shape=matrix.shape)


__all__ = [
    "BLOCK_BYTES",
    "COLUMNS",
    "LISTED_REASONS",
    "Scores",
    "as_wide",
    "gathered",
    "history_reasons",
    "mask_scores",
    "product",
    "query_matrix",
    "reads_words",
    "require_fitted",
    "top_k",
]
