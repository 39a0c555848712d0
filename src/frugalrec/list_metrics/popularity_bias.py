"""Popularity bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Lists
from frugalrec.list_metrics._averages import mean_over_lists


@dataclass(frozen=True)
class PopularityBias:
    """How popular the items of a list are: the mean, over the list, of the share of the catalogue that is less popular.

    Items of equal popularity count half, so a list drawn at random scores 0.5 on average, whatever the catalogue. This
    is the average recommendation popularity of Yin et al., "Challenging the long tail recommendation", 2012, with
    percentiles for event counts, which one blockbuster would drown.

    >>> items = np.array([[0], [1]], dtype=np.int32)
    >>> PopularityBias()(Lists(items, np.array([9, 1]), n_users=9, vectors=None, histories=[])).tolist()
    [0.75, 0.25]
    """

    def __call__(self, lists: Lists) -> FloatArray:
        """Return float64 ``(n,)`` in (0, 1), NaN for an empty list."""
        _, level, at_level = np.unique(lists.popularity, return_inverse=True, return_counts=True)
        less_popular = np.cumsum(at_level) - at_level
        percentile = (less_popular + at_level / 2) / len(lists.popularity)
        return mean_over_lists(lists, percentile[level])


__all__ = ["PopularityBias"]
