"""Candidates reordered by a few numbers of each, weighed by what was chosen before: no language model on requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.interactions import FloatArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import Matrix, Recommender, TextEncoder
from frugalrec.rerankers._expected import (
    FOUND,
    UNKNOWN_FOUND,
    expected_features,
    expected_item_texts,
    expected_practice,
    width_of,
)
from frugalrec.rerankers._features import (
    ALIKE,
    item_facts,
    item_vectors,
    item_words,
    likeness,
    places_and_scores,
)
from frugalrec.rerankers._order import reordered
from frugalrec.rerankers._practice import conditional_logit, practise
from frugalrec.work import Expected, Stages, Work

STEPS = 27.0
"""About how often the solver looks at the lists: 22 to 38 times on MovieLens-100K and the toy data."""


@dataclass
class Linear:
    """Reorders candidates by a weighted sum of what is known of each; choose it as what a language model must beat.

    A candidate has a retrieval score (within its list), the discount of its place, its popularity and how that grew in
    the newest tenth of the events (logarithms), and, with an ``encoder``, the cosine of its text with that of the
    history, whose items halve in weight every ``half_life``. `fit` holds out the ``tail`` last events of users, asks
    ``retriever`` for candidates before each, and learns the weights under which the answers are most likely
    (conditional logit, McFadden 1974; ``ridge`` is in lists). In a plan, ``retriever = { plan = "its name" }``.

    Time: the retriever's fit, and O(lists · depth) a step of the solver; a request takes the cosines of candidates and
    recent items. Memory: a vector and the words of an item. An encoder reads the catalogue once.

    >>> from frugalrec.recommenders.popularity import Popularity
    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset()
    >>> linear = Linear(Popularity()).fit(data)
    >>> linear.rerank([data.query(0)], Popularity().fit(data).recommend([data.query(0)], 5))[0].degraded
    False
    """

    retriever: Recommender
    depth: int = 20
    encoder: TextEncoder | None = None
    half_life: float = 3.0
    requests: int = 5000
    tail: int = 5
    ridge: float = 1.0
    seed: int = 0
    facts_: FloatArray = field(init=False, repr=False, compare=False)
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    words_: Any = field(init=False, repr=False, compare=False)
    weights_: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("depth", "requests", "tail"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("half_life", "ridge"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")

    def fit(self, dataset: Dataset) -> Self:
        """Learn the weights on held-out events; with nothing to learn from they are 0, and orders stay."""
        lists = practise(
            dataset, self.retriever, self.depth, requests=self.requests, tail=self.tail, seed=self.seed
        )  # fmt: skip
        self.vectors_, self.words_ = item_vectors(dataset, self.encoder), item_words(dataset)
        self.facts_ = item_facts(lists.earlier)
        held = lists.take(np.flatnonzero(lists.places >= 0))
        features = [self._features(*each) for each in zip(held.queries, held.rankings, strict=True)]
        self.weights_ = conditional_logit(features, held.places, ridge=self.ridge)
        self.facts_ = item_facts(dataset)
        return self

    def expected(self, shape: DataShape) -> Stages:
        """Return what a fit and a request take; a fit is mostly the retriever's.

        How many lists will hold the answer the shape does not tell, nor how often the solver will look at them: within
        a factor of `UNKNOWN_FOUND`.
        """
        width = width_of(self.encoder)
        if width is None:
            return Stages()
        practised = expected_practice(shape, self.retriever, self.depth, requests=self.requests, tail=self.tail)
        lists, cells = FOUND * practised.lists, practised.length * (4 + ALIKE)
        each = expected_features(practised.history, practised.length, self.half_life, width)
        cube = 8.0 * lists * cells
        # The cube and the lists that it is made of, and what a step makes of one column.
        learnt = Expected(
            (Work("stream", STEPS * 3.0 * cube, cube),), STEPS * 4.0 * lists * cells, 0.0, 0.0, 3.0 * cube, 0.0,
            UNKNOWN_FOUND,
        )  # fmt: skip
        facts = Expected((Work("stream", 60.0 * shape.items),), 4.0 * shape.items, 0.0, 0.0, 0.0, 0.0)
        fit = practised.took + expected_item_texts(shape, width) + each.times(lists) + learnt + facts
        request = expected_features(shape.mean_history, self.depth, self.half_life, width)
        weighing = Expected((), 2.0 * self.depth * (4 + ALIKE), 0.0, 0.0, 0.0, 0.0, 1.5)
        return Stages(fit, request + weighing)

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        """Return each ranking with its first ``depth`` items reordered; raises `NotFittedError` before ``fit``."""
        if not hasattr(self, "weights_"):
            raise NotFittedError("the reranker 'linear' was used before fit", hint="call fit(dataset) first")
        found = []
        for query, ranking in zip(queries, rankings, strict=True):
            if min(len(ranking), self.depth) > 1 and len(self.weights_):
                values = self._features(query, ranking) @ self.weights_
                charge(flops=2.0 * len(values) * len(self.weights_))
                ranking = reordered(ranking, values)
            found.append(ranking)
        return found

    def _features(self, query: Query, ranking: Ranking) -> FloatArray:
        items = ranking.items[: self.depth]
        alike = likeness(query.history, items, self.words_, self.vectors_, self.half_life)
        return np.concatenate([places_and_scores(ranking, self.depth), self.facts_[items], alike], axis=1)


__all__ = ["Linear"]
