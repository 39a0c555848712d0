"""Random scores: what ranking without knowing anything is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.shape import DataShape
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import Scores, require_fitted
from frugalrec.work import Expected, Stages, Work


@dataclass
class Chance(Scores):
    """Scores every item uniformly at random: the floor that every other plan must beat.

    A query's scores depend on ``seed``, its user and its history alone, so the same query gets the same answer in any
    batch. Time and memory: O(items) a query; one FLOP is charged per number drawn.

    >>> from frugalrec.data.dataset import Query
    >>> from frugalrec.testing.data import checkerboard
    >>> chance = Chance(seed=1).fit(checkerboard(6))
    >>> alone, first = chance.score([Query(user=3)])[0], chance.score([Query(user=3), Query(user=4)])[0]
    >>> bool((alone == first).all())
    True
    """

    seed: int = 0
    n_items_: int = field(init=False, repr=False, compare=False)

    def fit(self, dataset: Dataset) -> Self:
        """Learn how many items there are."""
        self.n_items_ = dataset.n_items
        charge(flops=0.0)
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)`` in [0, 1)."""
        require_fitted(self, "n_items_")
        scores = np.empty((len(queries), self.n_items_), dtype=np.float32)
        for row, query in zip(scores, queries, strict=True):
            np.random.default_rng(self._seed_of(query)).random(dtype=np.float32, out=row)
        charge(flops=float(scores.size))
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``."""
        n = shape.items
        return Stages(Expected.nothing(), Expected((Work("stream", 40.0 * n),), n, 0.0, 0.0, 4.0 * n, 0.0))

    def _seed_of(self, query: Query) -> int:
        digest = blake2b(f"{self.seed}:{query.user}:".encode(), digest_size=8)
        digest.update(np.asarray(query.history, dtype=np.int32).tobytes())
        return int.from_bytes(digest.digest(), "little")


__all__ = ["Chance"]
