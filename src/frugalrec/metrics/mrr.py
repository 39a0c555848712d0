"""Mean reciprocal rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Judged
from frugalrec.metrics._at_k import AtK


@dataclass(frozen=True)
class ReciprocalRank(AtK):
    """1 / rank of the best relevant item, 0 beyond k; for requests that one good answer satisfies.

    >>> from frugalrec.metrics import ranks_of
    >>> ReciprocalRank()(ranks_of(np.array([[0.9, 0.5, 0.1]]), [np.array([1, 2], dtype=np.int32)])).tolist()
    [0.5]
    """

    def __call__(self, judged: Judged) -> FloatArray:
        """Return float64 ``(n,)`` in [0, 1], NaN for a query without relevant items."""
        answered = judged.n_relevant > 0
        value = np.full(len(judged), np.nan)
        best = judged.ranks[judged.offsets[:-1][answered]]
        value[answered] = np.where(best <= self.k, 1.0 / best, 0.0)
        return value


__all__ = ["ReciprocalRank"]
