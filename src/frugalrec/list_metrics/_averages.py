"""Averages over the items of each list."""

from __future__ import annotations

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Lists


def mean_over_lists(lists: Lists, worth: FloatArray) -> FloatArray:
    """Return the mean of ``worth`` ``(n_items,)`` over each list: float64 ``(n,)``, NaN for an empty list."""
    shown = lists.items >= 0
    totals = np.where(shown, worth[lists.items], 0.0).sum(axis=1)
    means = np.full(len(totals), np.nan)
    np.divide(totals, shown.sum(axis=1), out=means, where=shown.any(axis=1))
    return means
