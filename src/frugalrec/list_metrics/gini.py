"""Gini coefficient of exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Lists


@dataclass(frozen=True)
class Gini:
    """How unevenly the lists spread over the catalogue: 0 shows all items equally often, near 1 shows one of many only.

    The Gini coefficient of the number of lists each item of the catalogue is in, items in none included.

    >>> items = np.array([[0], [0]], dtype=np.int32)
    >>> Gini()(Lists(items, np.zeros(4, np.int64), n_users=2, vectors=None, histories=[])).tolist()
    [0.75]
    """

    def __call__(self, lists: Lists) -> FloatArray:
        """Return float64 ``(1,)`` in [0, 1), NaN where no list holds an item."""
        n_items = len(lists.popularity)
        shown = np.sort(np.bincount(lists.items[lists.items >= 0], minlength=n_items))
        if not shown.any():
            return np.array([np.nan])
        weights = 2.0 * np.arange(1, n_items + 1) - n_items - 1
        return np.array([weights @ shown / (n_items * shown.sum())])


__all__ = ["Gini"]
