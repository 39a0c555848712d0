"""What users with a similar history chose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import IntArray
from frugalrec.data.shape import DataShape
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import BLOCK_BYTES, Scores, product, query_matrix, require_fitted, top_k
from frugalrec.recommenders._expected import ENTRY_BYTES, expected_product
from frugalrec.work import Expected, Stages, Work


@dataclass
class UserKnn(Scores):
    """Recommends what the ``neighbours`` training users with the most similar history chose.

    Similarity is the cosine between the query's history and a training user's; a neighbour votes with similarity to the
    ``power``. The asking user's own training history is no neighbour. With ``half_life``, an event that many positions
    before the query's newest counts half in the comparison; 0 counts all alike. Choose it for few users with rich
    histories: it learns nothing ahead, so strangers and new events cost no refit, but every query reads the whole log.

    Time: O(events) to fit; a query meets each training user of each of its items. Memory: O(events), and blocks of
    queries × users. FLOPs: none to fit; a query takes 2 per history item and training user of it, 2 per history item
    and 2 per training user for the cosines, 1 per neighbour for the power, and 2 per neighbour and item of theirs.
    Paper: Resnick et al. 1994 (for ratings).

    >>> from frugalrec.testing.data import checkerboard
    >>> data = checkerboard(8)
    >>> UserKnn(neighbours=3).fit(data).recommend([data.query(5)], k=1)[0].items.tolist()
    [5]
    """

    neighbours: int = field(default=100, metadata={"tune": (30, 100, 300), "stage": "score"})
    power: float = field(default=1.0, metadata={"tune": (1.0, 3.0), "stage": "score"})
    half_life: float = field(default=0.0, metadata={"tune": (0.0, 2.0, 5.0), "stage": "score"})
    n_items_: int = field(init=False, repr=False, compare=False)
    chosen_: sparse.csr_array = field(init=False, repr=False, compare=False)
    chosen_by_: sparse.csr_array = field(init=False, repr=False, compare=False)

    def fit(self, dataset: Dataset) -> Self:
        """Keep who chose what, by user and by item."""
        self.chosen_ = dataset.interactions.matrix()
        self.chosen_by_ = self.chosen_.T.tocsr()
        self.n_items_ = dataset.n_items
        charge(flops=0.0)
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: the votes of the neighbours."""
        require_fitted(self, "chosen_")
        scores = np.empty((len(queries), self.n_items_), dtype=np.float32)
        # A similarity is an entry of a sparse matrix (12 bytes) before it is one of a dense one (4).
        rows = max(1, BLOCK_BYTES // (16 * max(1, self.chosen_.shape[0])))
        for start in range(0, len(queries), rows):
            votes = self._votes(queries[start : start + rows])
            scores[start : start + rows] = product(votes, self.chosen_)
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``."""
        users = shape.users
        fit = Expected(
            (Work("events", shape.n_events, shape.n_events),),
            0.0,
            0.0,
            0.0,
            18.0 * shape.n_events,
            16.0 * shape.n_chosen,
        )
        read, met = shape.choosers()
        kept = min(float(self.neighbours), users)
        voted = kept * shape.mean_distinct
        # Neighbours have longer histories than the average user, shorter ones than the user of an average event.
        theirs = math.sqrt(shape.squares / max(shape.n_users, 1.0))
        flops = 2.0 * read + 2.0 * shape.mean_distinct + 2.0 * users + kept + 2.0 * voted

        def scored(*, alone: bool) -> Expected:
            row = read / max(shape.mean_distinct, 1.0)
            compared = expected_product(shape.mean_distinct, row, shape.items, users, alone=alone, filled=met * users)
            asked = expected_product(kept, theirs, users, shape.items, alone=alone)
            own = (Work("query", 1.0, ENTRY_BYTES * (read + kept * theirs), "user-knn"),) if alone else ()
            # Picking the best neighbours takes longer where more users share an item with the query.
            picked = Work("compare", users, max(1.0, 1000.0 * met)), Work("compare-query", 0.0 if alone else 1.0)
            work = (*own, *compared, *asked, *picked)
            return Expected(work, flops, 0.0, 0.0, 40.0 * users, 0.0, 1.5)

        return Stages(fit, scored(alone=True), scored(alone=False))

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return how many of the neighbours chose each item."""
        require_fitted(self, "chosen_")
        neighbours = self._votes([query]).indices
        choosers = np.bincount(self.chosen_[neighbours].indices, minlength=self.n_items_)
        total = len(neighbours)
        return [
            (Reason("neighbours", 1.0, words=f"{choosers[i]:,} of {total:,} users with a similar history chose it"),)
            if choosers[i]
            else ()
            for i in items
        ]

    def _votes(self, queries: Sequence[Query]) -> sparse.csr_array:
        """Return the neighbours' votes, ``(n_queries, n_training_users)``."""
        histories = query_matrix(queries, self.n_items_, self.half_life)
        norms = np.sqrt(histories.multiply(histories).sum(axis=1))
        similarity = product(histories, self.chosen_by_)
        similarity /= np.maximum(norms, np.finfo(np.float32).tiny)[:, None]
        similarity /= np.sqrt(np.maximum(np.diff(self.chosen_.indptr), 1)).astype(np.float32)
        for row, query in enumerate(queries):
            if query.user is not None and 0 <= query.user < similarity.shape[1]:
                similarity[row, query.user] = 0.0
        users, found = top_k(similarity, self.neighbours)
        found = np.where(found > 0, found, 0.0).astype(np.float32) ** self.power
        charge(flops=2.0 * histories.nnz + 2.0 * similarity.size + users.size)
        offsets = np.arange(len(queries) + 1) * users.shape[1]
        votes = sparse.csr_array((found.ravel(), users.ravel(), offsets), shape=similarity.shape)
        votes.eliminate_zeros()
        return votes


__all__ = ["UserKnn"]
