"""Hit rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Judged
from frugalrec.metrics._at_k import AtK


@dataclass(frozen=True)
class HitRate(AtK):
    """1 when any relevant item is in the top k, else 0; for one answer a query, where it equals recall.

    >>> from frugalrec.metrics import ranks_of
    >>> judged = ranks_of(np.array([[0.9, 0.5, 0.1]]), [np.array([1, 2], dtype=np.int32)])
    >>> HitRate(k=1)(judged).tolist(), HitRate(k=2)(judged).tolist()
    ([0.0], [1.0])
    """

    def __call__(self, judged: Judged) -> FloatArray:
        """Return float64 ``(n,)`` of 0 and 1, NaN for a query without relevant items."""
        any_hit = judged.sums(self.hits(judged).astype(np.float64)) > 0
        return np.where(judged.n_relevant > 0, any_hit, np.nan)


__all__ = ["HitRate"]
