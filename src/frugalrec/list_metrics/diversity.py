"""Intra-list diversity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Lists

_BLOCK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Diversity:
    """How different the items of a list are: 1 - the mean cosine of its pairs; O(k × dim) a list.

    Items whose vector is zero (no text) take no part: nobody knows how different they are. Ziegler et al., "Improving
    recommendation lists through topic diversification", 2005, on item vectors instead of topics.

    >>> items = np.array([[0, 1]], dtype=np.int32)
    >>> Diversity()(Lists(items, np.zeros(2, np.int64), 1, np.eye(2, dtype=np.float32), histories=[])).tolist()
    [1.0]
    """

    def __call__(self, lists: Lists) -> FloatArray:
        """Return float64 ``(n,)`` in [0, 2], NaN without vectors or with fewer than two items that have one."""
        value = np.full(len(lists.items), np.nan)
        vectors = lists.vectors
        if vectors is None or not lists.items.size:
            return value
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        usable = (lists.items >= 0) & (squares[lists.items] > 0)
        block = max(1, _BLOCK_BYTES // max(1, lists.items.shape[1] * vectors.shape[1] * vectors.itemsize))
        for start in range(0, len(value), block):
            items, used = lists.items[start : start + block], usable[start : start + block]
            size = used.sum(axis=1)
            # The squared length of a sum of vectors holds every pair twice, and each vector with itself once.
            summed = np.where(used[:, :, None], vectors[items], 0.0).sum(axis=1, dtype=np.float64)
            alone = np.where(used, squares[items], 0.0).sum(axis=1)
            pairs = size * (size - 1.0)
            twice = np.einsum("ij,ij->i", summed, summed) - alone
            cosine = np.divide(twice, pairs, out=np.full(len(size), np.nan), where=pairs > 0)
            value[start : start + block] = 1.0 - cosine
        return value


__all__ = ["Diversity"]
