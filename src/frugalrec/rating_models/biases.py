"""Ratings from averages: some users are generous, some items are liked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import IntArray
from frugalrec.rating_models._baseline import Baseline, Doubles


@dataclass
class Biases(Baseline):
    """Mean + damped user bias + damped item bias (Koren, 2009): the baseline every rating model has to beat.

    A bias is the sum of what is left of the ratings over their number plus the damping; items first, then users, as
    often as ``sweeps`` says (Koren, Bell and Volinsky, "Matrix factorization techniques", 2009, eq. 3, solved one side
    at a time). Predictions stay within the range of the ratings learned from.

    Time O(ratings × sweeps), memory O(users + items).

    >>> import numpy as np
    >>> from frugalrec.testing.data import toy_ratings
    >>> model = Biases().fit(toy_ratings())
    >>> strangers = model.predict(np.array([-1], np.int32), np.array([-1], np.int32))
    >>> bool(strangers[0] == model.mean_)
    True
    """

    def fit(self, dataset: Dataset) -> Self:
        """Learn the biases; raises `DataError` when the events carry no ratings."""
        self.learn_biases(dataset.interactions)
        return self

    def predict(self, users: IntArray, items: IntArray) -> Doubles:
        """Return float64 ``(n,)``: the rating to expect of each pair; codes outside the data have no bias."""
        return self.clipped(self.expected(users, items))


__all__ = ["Biases"]
