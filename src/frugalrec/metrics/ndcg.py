"""Normalised discounted cumulative gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Judged
from frugalrec.metrics._at_k import AtK, quotient


@dataclass(frozen=True)
class NDCG(AtK):
    """Hits in the top k, each worth 1 / log2(1 + rank), as a share of the best possible; the default choice.

    Gains are binary; the ideal holds min(number relevant, k) hits. Järvelin and Kekäläinen, "Cumulated gain-based
    evaluation of IR techniques", 2002, with the discount of Burges et al., 2005.

    >>> from frugalrec.metrics import ranks_of
    >>> NDCG(k=10)(ranks_of(np.array([[0.9, 0.5, 0.1]]), [np.array([1], dtype=np.int32)])).round(4).tolist()
    [0.6309]
    """

    def __call__(self, judged: Judged) -> FloatArray:
        """Return float64 ``(n,)`` in [0, 1], NaN for a query without relevant items."""
        gained = judged.sums(np.where(self.hits(judged), 1.0 / np.log2(1.0 + judged.ranks), 0.0))
        most = int(min(self.k, judged.n_relevant.max(initial=0)))
        ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, most + 2)))])
        best = ideal[np.minimum(judged.n_relevant, self.k)]
        return quotient(gained, best)


__all__ = ["NDCG"]
