"""Items chosen by the same users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import IntArray
from frugalrec.data.shape import DataShape
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import BLOCK_BYTES, Scores, history_reasons, product, query_matrix, require_fitted
from frugalrec.recommenders._expected import ENTRY_BYTES, expected_gram, expected_product
from frugalrec.work import Expected, Stages, Work, touching

BM25_K1 = 1.2
BM25_B = 0.75


@dataclass
class ItemKnn(Scores):
    """Recommends what the users of the history's items chose as well: each of these items votes for its neighbours.

    Choose it for a model that fits in seconds and explains itself. ``feature_weighting`` says how alike two items are:
    ``none`` is the cosine between their sets of users; ``tf-idf`` is that cosine with users weighted by
    log(items / (1 + items chosen)); ``bm25`` is the inner product of BM25 weights (k1 1.2, b 0.75), which leans to
    popular items. Each item keeps its ``neighbours`` most similar ones. ``shrinkage`` multiplies a similarity that
    rests on n common users by n / (n + shrinkage). With ``half_life``, an event that many positions before the newest
    has half a vote; 0 gives all the same.

    Time: O(Σ L²) over users with L items to fit, O(L · neighbours) a query. Memory: O(items · neighbours), and blocks
    of the item × item matrix, never all of it. FLOPs to fit: 2 Σ L² for the inner products, 4 per user and item for the
    weights, and with shrinkage 2 Σ L² again for the common users and 3 per pair; a query takes 2 per history item and
    neighbour.
    Papers: Sarwar et al. 2001; Bell & Koren 2007 (shrinkage); Robertson & Zaragoza 2009 (BM25).

    >>> from frugalrec.testing.data import checkerboard
    >>> data = checkerboard(8)
    >>> ItemKnn(neighbours=3).fit(data).recommend([data.query(5)], k=1)[0].items.tolist()
    [5]
    """

    feature_weighting: Literal["none", "tf-idf", "bm25"] = field(
        default="bm25", metadata={"tune": ("tf-idf", "bm25"), "stage": "accumulate"}
    )
    neighbours: int = field(default=100, metadata={"tune": (20, 100, 1000), "stage": "accumulate"})
    shrinkage: float = field(default=0.0, metadata={"tune": (0.0, 10.0), "stage": "accumulate"})
    half_life: float = field(default=0.0, metadata={"tune": (0.0, 1.5, 4.0, 12.0), "stage": "score"})
    n_items_: int = field(init=False, repr=False, compare=False)
    similarity_: sparse.csr_array = field(init=False, repr=False, compare=False)

    def fit(self, dataset: Dataset) -> Self:
        """Find each item's nearest neighbours."""
        chosen = dataset.interactions.matrix()
        weighted = _weighted(chosen, self.feature_weighting)
        chosen_by, weighted_by = chosen.T.tocsr(), weighted.T.tocsr()
        activity = np.diff(chosen.indptr)
        products = 2.0 * float(np.square(activity, dtype=np.float64).sum())
        charge(flops=4.0 * chosen.nnz + products * (2.0 if self.shrinkage > 0 else 1.0))

        def nearest(rows: slice) -> sparse.csr_array:
            pairs = weighted_by[rows] @ weighted
            if self.shrinkage > 0:
                trust = chosen_by[rows] @ chosen
                trust.data /= trust.data + self.shrinkage
                pairs = sparse.csr_array(pairs.multiply(trust))
                charge(flops=3.0 * trust.nnz)
            return largest_of_rows(pairs, rows.start, self.neighbours)

        blocks = [nearest(rows) for rows in _blocks(chosen_by, activity)]
        self.similarity_ = sparse.csr_array(sparse.vstack(blocks, format="csr"))
        self.n_items_ = dataset.n_items
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: the votes of the history."""
        require_fitted(self, "similarity_")
        return product(query_matrix(queries, self.n_items_, self.half_life), self.similarity_)

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take for data of ``shape``."""
        n, chosen, products = shape.items, shape.n_chosen, shape.squares
        cells = shape.filled(products)
        twice = 2.0 if self.shrinkage > 0 else 1.0
        flops = 4.0 * chosen + 2.0 * products * twice + (3.0 * cells if self.shrinkage > 0 else 0.0)
        kept = min(float(self.neighbours) * n, cells)
        held = 8.0 * kept
        # A block's rows are chosen by how many pairs they have at most.
        block = cells * min(1.0, BLOCK_BYTES / 16 / max(1.0, min(products, n * n)))
        # Both tables by user and by item, a copy of a block's rows, its pairs; what is kept of blocks, and of all.
        # Shrunk pairs come beside those and their common users.
        pairs = (24.0 if self.shrinkage > 0 else 8.0) * block
        peak = (28.0 + 8.0 * block / max(cells, 1.0)) * chosen + max(pairs + held, 2.0 * held)
        work = (
            *expected_gram(chosen, products, cells, n) * int(twice),
            Work("rows", n, max(1.0, cells / n)),
            Work("events", 2.0 * shape.n_events, shape.n_events),
            Work("stream", 40.0 * cells, 8.0 * block),
            touching(8.0 * twice * block),
        )
        met = kept / n
        flops_a_query = 2.0 * shape.mean_distinct * met

        def scored(*, alone: bool) -> Expected:
            product = expected_product(shape.mean_distinct, met, n, n, alone=alone)
            own = (Work("query", 1.0, ENTRY_BYTES * shape.mean_distinct * met, "item-knn"),) if alone else ()
            return Expected((*own, *product), flops_a_query, 0.0, 0.0, 8.0 * n, 0.0, 1.5)

        spread = 1.15 if self.shrinkage > 0 else 1.0
        fit = Expected(work, flops, 0.0, 0.0, peak, held, spread)
        return Stages(fit, scored(alone=True), scored(alone=False))

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the history items whose votes weighed most for each item."""
        require_fitted(self, "similarity_")
        history = query_matrix([query], self.n_items_, self.half_life)
        votes = self.similarity_[history.indices].toarray()[:, items]
        return history_reasons("history", history.indices, history.data[:, None] * votes)


def _weighted(chosen: sparse.csr_array, weighting: str) -> sparse.csr_array:
    """Return the user × item matrix with weights whose inner products are the similarities of items."""
    n_items = chosen.shape[1]
    users = np.repeat(np.arange(chosen.shape[0]), np.diff(chosen.indptr))
    choosers = np.bincount(chosen.indices, minlength=n_items).astype(np.float64)
    weights = np.ones(chosen.nnz)
    if weighting != "none":
        # A user who chose nearly everything says nothing; below zero the logarithm would make them speak again.
        weights *= np.log(n_items / (1.0 + np.diff(chosen.indptr))).clip(min=0.0)[users]
    if weighting == "bm25":
        length = 1.0 - BM25_B + BM25_B * choosers / max(choosers.mean(), 1.0 / n_items)
        weights *= ((BM25_K1 + 1.0) / (BM25_K1 * length + 1.0))[chosen.indices]
    else:
        norms = np.sqrt(np.bincount(chosen.indices, weights**2, minlength=n_items))
        weights /= np.where(norms > 0, norms, 1.0)[chosen.indices]
    return sparse.csr_array((weights.astype(np.float32), chosen.indices, chosen.indptr), shape=chosen.shape)


def _blocks(chosen_by: sparse.csr_array, activity: np.ndarray[Any, Any]) -> Iterator[slice]:
    """Yield runs of items whose pairs fit into a block (16 bytes a pair, at most one a chooser's other item)."""
    n_items = chosen_by.shape[0]
    chosen = np.flatnonzero(np.diff(chosen_by.indptr))
    meetings = np.zeros(n_items, dtype=np.int64)
    # As narrow as they are: there are as many of these as events.
    met = activity.astype(np.int32)[chosen_by.indices]
    if len(chosen):
        meetings[chosen] = np.add.reduceat(met, chosen_by.indptr[chosen], dtype=np.int64)
    pairs = np.concatenate([[0], np.cumsum(np.minimum(meetings, n_items))])
    start = 0
    while start < n_items:
        stop = int(np.searchsorted(pairs, pairs[start] + BLOCK_BYTES // 16, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop


def largest_of_rows(pairs: sparse.csr_array, first: int, k: int) -> sparse.csr_array:
    """Keep the ``k`` largest positive entries of each row, the item's own aside; row 0 belongs to item ``first``."""
    room = int(np.minimum(np.diff(pairs.indptr), k).sum())
    kept_items, kept = np.empty(room, dtype=pairs.indices.dtype), np.empty(room, dtype=pairs.dtype)
    # The wider of both types is what a table is kept with.
    offsets, end = np.zeros(pairs.shape[0] + 1, dtype=np.int32 if room < 2**31 else np.int64), 0
    for row, (start, stop) in enumerate(zip(pairs.indptr[:-1], pairs.indptr[1:], strict=True)):
        items, similarities = pairs.indices[start:stop], pairs.data[start:stop]
        other = (items != first + row) & (similarities > 0)
        items, similarities = items[other], similarities[other]
        if len(items) > k:
            best = np.argpartition(similarities, len(items) - k)[len(items) - k :]
            items, similarities = items[best], similarities[best]
        order, begin, end = np.argsort(items), end, end + len(items)
        kept_items[begin:end], kept[begin:end] = items[order], similarities[order]
        offsets[row + 1] = end
    return sparse.csr_array((kept[:end], kept_items[:end], offsets), shape=pairs.shape)


__all__ = ["ItemKnn"]
