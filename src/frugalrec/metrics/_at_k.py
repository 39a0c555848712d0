"""What metrics with a cut-off share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Judged


@dataclass(frozen=True)
class AtK:
    """A metric that looks at the first ``k`` places of a ranking."""

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k must be at least 1, not {self.k}")

    def hits(self, judged: Judged) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which relevant items are in the top k, one flag a rank.

        Tied items may share a rank of at most k and yet be more than k; only k of them have room.
        """
        hits: np.ndarray[Any, np.dtype[np.bool_]] = (judged.ranks <= self.k) & (place_among_relevant(judged) <= self.k)
        return hits


def place_among_relevant(judged: Judged) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return 1 for a query's best ranked relevant item, 2 for the next, and so on, one number a rank."""
    return np.arange(1, len(judged.ranks) + 1) - np.repeat(judged.offsets[:-1], judged.n_relevant)


def quotient(part: FloatArray, whole: np.ndarray[Any, Any]) -> FloatArray:
    """Return ``part / whole`` as float64, NaN where ``whole`` is 0."""
    value = np.full(len(part), np.nan)
    np.divide(part, whole, out=value, where=whole > 0)
    return value
