"""Precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Judged
from frugalrec.metrics._at_k import AtK


@dataclass(frozen=True)
class Precision(AtK):
    """The share of the top k that is relevant; for lists that are seen whole.

    Divided by k, also where fewer than k items were ranked, as in TREC.

    >>> from frugalrec.metrics import ranks_of
    >>> Precision(k=2)(ranks_of(np.array([[0.9, 0.5, 0.1]]), [np.array([1, 2], dtype=np.int32)])).tolist()
    [0.5]
    """

    def __call__(self, judged: Judged) -> FloatArray:
        """Return float64 ``(n,)`` in [0, 1], NaN for a query without relevant items."""
        hits = judged.sums(self.hits(judged).astype(np.float64))
        return np.where(judged.n_relevant > 0, hits / self.k, np.nan)


__all__ = ["Precision"]
