"""What the linear models share: they read texts, add up sums over users, and solve."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import Interactions
from frugalrec.data.shards import ShardedLog
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.recommenders._base import Scores
from frugalrec.recommenders._sharded import accumulated, accumulated_from
from frugalrec.recommenders._statistics import Statistics
from frugalrec.recommenders._text import encode_items
from frugalrec.usage import give_back_memory


class Linear(Scores):
    """Base of models solved from sums over users, so that users can be added and taken out again exactly.

    `fit` is ``read`` (texts), ``accumulate`` (sums) and ``solve`` (weights); another ridge redoes the last alone.
    The sums are made in shards of users by the executor in force (`frugalrec.executors`).
    """

    encoder: TextEncoder | None
    _encoded: Matrix

    @property
    def scores_cold_items(self) -> bool:  # type: ignore[override]
        """Whether items without events get scores that mean something: with text, they do."""
        return self.encoder is not None

    def fit(self, dataset: Dataset) -> Self:
        """Learn from the events and the item texts of ``dataset``."""
        self.read(dataset.catalog)
        statistics = accumulated(self, dataset.interactions)
        give_back_memory()  # what sums were made of in pieces may be larger than they are
        return self.solve(statistics)

    def read(self, catalog: Catalog) -> Self:
        """Encode the item texts, if there is an encoder."""
        self.n_items_ = len(catalog)
        if self.encoder is not None:
            self._encoded = encode_items(catalog, self.encoder)
        return self

    @abstractmethod
    def accumulate(self, interactions: Interactions) -> Statistics:
        """Return the sums over the users of ``interactions``; the sums of disjoint users add up."""

    def accumulate_part(self, interactions: Interactions) -> Statistics:
        """Return sums that others will be added to: they may leave to `Statistics.whole` what can be done once."""
        return self.accumulate(interactions)

    def accumulate_shards(self, log: ShardedLog) -> Statistics:
        """Return the sums over the users of a log on disk, by the executor in force.

        Each worker holds one shard at a time. The catalogue to ``read`` is one of ``log.items``, in that order.
        """
        return accumulated_from(self, log)

    @abstractmethod
    def solve(self, statistics: Statistics) -> Self:
        """Learn the weights from ``statistics``; raises `NotFittedError` before ``read``."""
