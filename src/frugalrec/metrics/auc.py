"""Area under the ROC curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Judged
from frugalrec.metrics._at_k import quotient


@dataclass(frozen=True)
class AUC:
    """The chance that a relevant item is ranked above an irrelevant one, ties counting half; looks at whole rankings.

    The Mann–Whitney statistic over the candidates of each query. Relevant items of infinite rank (masked, or missing
    from a list that was cut off) lose to every candidate, so that on such lists the value is a lower bound.

    >>> from frugalrec.metrics import ranks_of
    >>> AUC()(ranks_of(np.array([[0.9, 0.5, 0.1]]), [np.array([1], dtype=np.int32)])).tolist()
    [0.5]
    """

    def __call__(self, judged: Judged) -> FloatArray:
        """Return float64 ``(n,)`` in [0, 1], NaN for a query without relevant or without irrelevant items."""
        ranked = np.isfinite(judged.ranks)
        n_ranked = judged.sums(ranked.astype(np.float64))
        n_irrelevant = judged.n_candidates - n_ranked
        below = n_ranked * judged.n_candidates - judged.sums(np.where(ranked, judged.ranks, 0.0))
        won = below - n_ranked * (n_ranked - 1) / 2
        return quotient(won, judged.n_relevant * n_irrelevant)


__all__ = ["AUC"]
