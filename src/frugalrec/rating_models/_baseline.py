"""What all rating models share: damped biases, the range of ratings, and pairs that may name nobody known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.interactions import FloatArray, IntArray, Interactions
from frugalrec.errors import ConfigError, DataError, NotFittedError

Doubles = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Baseline:
    """Base of rating models that start from the mean and a damped bias of each user and item."""

    user_damping: float = field(default=5.0, metadata={"stage": "solve", "tune": (1.0, 2.0, 5.0, 10.0)})
    item_damping: float = field(default=2.0, metadata={"stage": "solve", "tune": (1.0, 2.0, 5.0, 10.0)})
    sweeps: int = 3
    mean_: float = field(init=False, repr=False, compare=False)
    low_: float = field(init=False, repr=False, compare=False)
    high_: float = field(init=False, repr=False, compare=False)
    user_bias_: Doubles = field(init=False, repr=False, compare=False)
    item_bias_: Doubles = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("user_damping", "item_damping"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.sweeps < 1:
            raise ConfigError(f"sweeps must be at least 1, not {self.sweeps}")

    def learn_biases(self, log: Interactions) -> tuple[IntArray, IntArray, Doubles]:
        """Learn the biases; return users, items and what the biases leave of their ratings, one an event."""
        if log.value is None or not np.isfinite(log.value).any():
            raise DataError(
                "a rating model needs ratings, and these events have none",
                hint="name the column of ratings when the data are read",
            )
        rated = np.isfinite(log.value)
        users, items = log.user[rated], log.item[rated]
        ratings = log.value[rated].astype(np.float64)
        self.mean_ = float(ratings.mean())
        self.low_, self.high_ = float(ratings.min()), float(ratings.max())
        self.user_bias_, self.item_bias_ = np.zeros(log.n_users), np.zeros(log.n_items)
        user_weight = self.user_damping + np.bincount(users, minlength=log.n_users)
        item_weight = self.item_damping + np.bincount(items, minlength=log.n_items)
        centred = ratings - self.mean_
        for _ in range(self.sweeps):
            left = centred - self.user_bias_[users]
            self.item_bias_ = np.bincount(items, weights=left, minlength=log.n_items) / item_weight
            left = centred - self.item_bias_[items]
            self.user_bias_ = np.bincount(users, weights=left, minlength=log.n_users) / user_weight
        charge(flops=float(len(ratings) * (2 + 4 * self.sweeps)))
        return users, items, centred - self.user_bias_[users] - self.item_bias_[items]

    def expected(self, users: IntArray, items: IntArray) -> Doubles:
        """Return mean + user bias + item bias, not yet clipped; a bias that nobody knows is 0."""
        if not hasattr(self, "mean_"):
            name = type(self).__name__
            raise NotFittedError(f"{name} has not been fitted", hint=f"call {name}.fit(dataset) first")
        if np.shape(users) != np.shape(items) or np.ndim(users) != 1:
            raise DataError(f"users and items must be as many, not {np.shape(users)} and {np.shape(items)}")
        charge(flops=2.0 * len(users))
        return self.mean_ + _known(self.user_bias_, users) + _known(self.item_bias_, items)

    def clipped(self, ratings: FloatArray) -> Doubles:
        """Return ``ratings`` within the range of those learned from."""
        return np.clip(ratings, self.low_, self.high_).astype(np.float64)


def _known(biases: Doubles, codes: IntArray) -> Doubles:
    known = (codes >= 0) & (codes < len(biases))
    found = np.zeros(len(codes))
    found[known] = biases[codes[known]]
    return found


__all__ = ["Baseline", "Doubles"]
