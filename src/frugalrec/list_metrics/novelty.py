"""Novelty as self-information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Lists
from frugalrec.list_metrics._averages import mean_over_lists


@dataclass(frozen=True)
class Novelty:
    """How surprising the items of a list are, in bits: the mean of -log2((events + 1) / (users + 1)) in training.

    An item that everybody met gives 0, an item that nobody met log2(users + 1). An item with more events than there are
    users gives 0. Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", 2010, with
    one event and one user added, so that items without events count.

    >>> items = np.array([[0, 1]], dtype=np.int32)
    >>> Novelty()(Lists(items, np.array([3, 0]), n_users=3, vectors=None, histories=[])).tolist()
    [1.0]
    """

    def __call__(self, lists: Lists) -> FloatArray:
        """Return float64 ``(n,)``, bits, NaN for an empty list."""
        known = np.minimum(lists.popularity, lists.n_users)
        return mean_over_lists(lists, np.log2((lists.n_users + 1.0) / (known + 1.0)))


__all__ = ["Novelty"]
