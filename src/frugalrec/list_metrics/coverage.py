"""Catalogue coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Lists


@dataclass(frozen=True)
class Coverage:
    """The share of the catalogue that is in at least one list; grows with the number of queries, so compare at equal n.

    >>> import numpy as np
    >>> items = np.array([[0, 1], [1, -1]], dtype=np.int32)
    >>> Coverage()(Lists(items, np.zeros(4, np.int64), n_users=2, vectors=None, histories=[])).tolist()
    [0.5]
    """

    def __call__(self, lists: Lists) -> FloatArray:
        """Return float64 ``(1,)`` in [0, 1], NaN for an empty catalogue."""
        n_items = len(lists.popularity)
        shown = len(np.unique(lists.items[lists.items >= 0]))
        return np.array([shown / n_items if n_items else np.nan])


__all__ = ["Coverage"]
