"""Orders made for earlier requests, given again to requests like them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from frugalrec.cost import Cost, Ledger, charge, charge_reused
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import Matrix, Reranker, TextEncoder
from frugalrec.rerankers._expected import stages_of, width_of
from frugalrec.rerankers._order import reordered, standard
from frugalrec.work import Expected, Stages, Work


@dataclass
class SemanticCache:
    """Asks ``reranker`` only where no earlier request had nearly the same history and candidates; else takes its order.

    Choose it in front of a reranker that is dear, where the same people come back before anything has changed, or many
    people do the same. Where every request follows a new event it does not pay: on MovieLens none had the same ten
    candidates as an earlier one near it, and with looser settings an order taken over is no nearer to the model's than
    that of retrieval (benchmarks/README.md).

    A history is the mean of the item vectors of its last ``history_length`` items, the mean of the catalogue taken off
    first: no text is encoded for a request, and the order of a history does not count. An earlier request will do if
    the cosine of the two is at least ``threshold``, its free text is the same, and it had at least the share
    ``overlap`` of these candidates. Candidates that it had change places among themselves, into its order; one that it
    did not have keeps the place where retrieval put it, since nobody compared it with the others.

    An order taken over is marked ``reused`` and counted in ``hits``, one made in ``misses``; its first price is charged
    as reused, its tokens as ``tokens_cached``. What came back ``degraded`` is not kept. The ``size`` newest are. `fit`
    forgets them all, since another fit means other candidates. What is passed on from one person to another is an order
    of candidates, never a history. Scores are places, in the units of retrieval, whether made or taken over.

    Cost: a request costs O(size × dimension) on top of what a miss takes. How often it hits depends on the traffic, so
    `expected`, and the trial of a plan, count every request as a miss. Memory: O(size × (dimension + depth)), and the
    item vectors. Where ``encoder`` is the one of the recommender, vectors are computed once for both.

    >>> from frugalrec.encoders.bag_of_words import BagOfWords
    >>> from frugalrec.rerankers.likelihood import Likelihood
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.llms import UnigramModel
    >>> data = checkerboard(8)  # titles are "even square" and "odd square"
    >>> retrieved = Ranking(np.array([2, 5, 7], dtype=np.int32), np.array([3.0, 2.0, 1.0]))
    >>> cache = SemanticCache(Likelihood(UnigramModel(), blend=1.0), BagOfWords()).fit(data)
    >>> for user in (1, 3):  # both like odd squares
    ...     (found,) = cache.rerank([data.query(user)], [retrieved])
    ...     print(found.items.tolist(), found.reused)
    [5, 7, 2] False
    [5, 7, 2] True
    """

    reranker: Reranker
    encoder: TextEncoder
    threshold: float = 0.95
    overlap: float = 1.0
    history_length: int = 10
    size: int = 1_000
    hits: int = field(default=0, init=False, compare=False)
    misses: int = field(default=0, init=False, compare=False)
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _kept: list[_Kept] = field(default_factory=list, init=False, repr=False, compare=False)
    _histories: Matrix = field(init=False, repr=False, compare=False)
    _next: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("history_length", "size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not -1 <= self.threshold <= 1:
            raise ConfigError(f"threshold must be a cosine, from -1 to 1, not {self.threshold}")
        if not 0 < self.overlap <= 1:
            raise ConfigError(f"overlap must be above 0 and at most 1, not {self.overlap}")

    @property
    def depth(self) -> int:
        """How many candidates the reranker looks at."""
        return self.reranker.depth

    def fit(self, dataset: Dataset) -> Self:
        """Fit the reranker, take the item vectors and forget all orders."""
        self.reranker.fit(dataset)
        vectors = self.encoder.encode(dataset.catalog.texts(), role="item")
        known = vectors.any(axis=1, keepdims=True)
        self.vectors_ = _unit(np.where(known, vectors - vectors.sum(axis=0) / max(1, int(known.sum())), 0.0))
        with self._lock:
            self._kept, self._next, self.hits, self.misses = [], 0, 0, 0
        return self

    def expected(self, shape: DataShape) -> Stages:
        """Return what the reranker takes, every request a miss, with the item vectors and a look at a full cache."""
        width = width_of(self.encoder)
        if width is None:
            return Stages()
        inner, size = stages_of(self.reranker, shape), 4.0 * shape.items * width
        # The encoder's vectors, the mean taken off, and two copies on the way to unit length, of which one stays.
        vectors = Expected((Work("stream", 6.0 * size, size),), 0.0, 0.0, 0.0, 4.0 * size, size)
        kept = 4.0 * self.size * width
        look = Expected((Work("query", 1.0), Work("scan", kept, kept)), 2.0 * self.size * width, 0.0, 0.0, kept, 0.0)
        return Stages(inner.fit + vectors, look + inner.score, look + inner.in_batch)

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        """Return each ranking in the order of an earlier one like it, or of the reranker.

        Raises `NotFittedError` before ``fit``.
        """
        if not hasattr(self, "vectors_"):
            raise NotFittedError("the reranker 'semantic-cache' was used before fit", hint="call fit(dataset) first")
        return [self._reranked(query, ranking) for query, ranking in zip(queries, rankings, strict=True)]

    def _reranked(self, query: Query, ranking: Ranking) -> Ranking:
        items = ranking.items[: self.depth]
        history = _unit(self.vectors_[query.history[-self.history_length :]].sum(axis=0, keepdims=True))[0]
        if len(items) < 2 or not history.any():
            return self.reranker.rerank([query], [ranking])[0]
        found = self._like(history, query.text, items)
        if found is not None:
            charge_reused(found.price)
            charge(flops=0.0, tokens_cached=found.price.tokens_in or 0.0)
            return replace(_placed(ranking, items, found.places), reused=True)
        # The span is a child of the ambient one, which therefore gets every charge as well.
        with Ledger().span("rerank") as span:
            (fresh,) = self.reranker.rerank([query], [ranking])
        if fresh.degraded:
            return fresh
        assert span.entry is not None
        places = {int(item): place for place, item in enumerate(fresh.items[: self.depth])}
        self._keep(history, _Kept(query.text, places, span.entry.whole))
        return _placed(ranking, items, places)

    def _like(self, history: FloatArray, text: str, items: IntArray) -> _Kept | None:
        """Return the nearest earlier request that will do, and count it; None where there is none."""
        with self._lock:
            if self._kept:
                cosines = self._histories[: len(self._kept)] @ history
                charge(flops=2.0 * len(self._kept) * len(history))
                for i in np.argsort(-cosines, kind="stable"):
                    kept = self._kept[int(i)]
                    # Rounding must not part a history from itself.
                    if cosines[i] < self.threshold - 1e-6:
                        break
                    known = sum(int(item) in kept.places for item in items)
                    if kept.text == text and known >= max(2.0, self.overlap * len(items)):
                        self.hits += 1
                        return kept
            self.misses += 1
            return None

    def _keep(self, history: FloatArray, kept: _Kept) -> None:
        with self._lock:
            if not self._kept:
                self._histories = np.zeros((self.size, len(history)), dtype=np.float32)
            self._kept[self._next : self._next + 1] = [kept]
            self._histories[self._next] = history
            self._next = (self._next + 1) % self.size


@dataclass(frozen=True, slots=True)
class _Kept:
    """An order that was made: the place of each candidate, what was asked with it, and its first price."""

    text: str
    places: dict[int, int]
    price: Cost


def _placed(ranking: Ranking, items: IntArray, places: dict[int, int]) -> Ranking:
    """Return ``ranking`` with those of ``items`` that have places in the order of these, among themselves."""
    known = [i for i, item in enumerate(items) if int(item) in places]
    order = np.arange(len(items))
    order[known] = sorted(known, key=lambda i: places[int(items[i])])
    values = np.empty(len(items))
    values[order] = -np.arange(len(items))
    return reordered(ranking, standard(values))


def _unit(vectors: FloatArray) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 1e-6, vectors / np.maximum(lengths, 1e-6), 0.0).astype(np.float32)


__all__ = ["SemanticCache"]
