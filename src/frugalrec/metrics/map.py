"""Mean average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Judged
from frugalrec.metrics._at_k import AtK, place_among_relevant, quotient


@dataclass(frozen=True)
class AveragePrecision(AtK):
    """The precision at each hit of the top k, averaged; for several relevant items whose order counts.

    Divided by min(number relevant, k), the hits that there is room for, so a perfect list scores 1. TREC's ``map_cut``
    divides by the number relevant: the two agree where that is at most k.

    >>> from frugalrec.metrics import ranks_of
    >>> AveragePrecision()(ranks_of(np.array([[0.9, 0.5, 0.1]]), [np.array([0, 2], dtype=np.int32)])).round(4).tolist()
    [0.8333]
    """

    def __call__(self, judged: Judged) -> FloatArray:
        """Return float64 ``(n,)`` in [0, 1], NaN for a query without relevant items."""
        precisions = judged.sums(np.where(self.hits(judged), place_among_relevant(judged) / judged.ranks, 0.0))
        return quotient(precisions, np.minimum(judged.n_relevant, self.k))


__all__ = ["AveragePrecision"]
