"""Recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Judged
from frugalrec.metrics._at_k import AtK, quotient


@dataclass(frozen=True)
class Recall(AtK):
    """The share of the relevant items that is in the top k; for queries where finding all of them counts.

    Divided by all relevant items, also where there are more than k, as in TREC.

    >>> from frugalrec.metrics import ranks_of
    >>> Recall(k=2)(ranks_of(np.array([[0.9, 0.5, 0.1]]), [np.array([1, 2], dtype=np.int32)])).tolist()
    [0.5]
    """

    def __call__(self, judged: Judged) -> FloatArray:
        """Return float64 ``(n,)`` in [0, 1], NaN for a query without relevant items."""
        return quotient(judged.sums(self.hits(judged).astype(np.float64)), judged.n_relevant)


__all__ = ["Recall"]
