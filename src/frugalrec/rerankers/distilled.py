"""A linear model that copies a reranker, so that what the reranker costs leaves the request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.interactions import FloatArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import Matrix, Recommender, Reranker, TextEncoder
from frugalrec.rerankers._expected import (
    Practised,
    expected_features,
    expected_item_texts,
    expected_practice,
    stages_of,
    width_of,
)
from frugalrec.rerankers._features import (
    ALIKE,
    item_facts,
    item_vectors,
    item_words,
    likeness,
    on_axes,
    places_and_scores,
    profile,
)
from frugalrec.rerankers._order import reordered, standard
from frugalrec.rerankers._practice import Practice, practise, reranked, unfitted
from frugalrec.work import Expected, Stages, Work

HELD = 0.2
"""Share of the users on whom the ridge is chosen and the copy is compared with its teacher."""

RIDGES = tuple(10.0 ** np.arange(0.0, 6.5, 0.5))
SUMMED_AT_ONCE = 64
PLAIN = 4 + ALIKE
"""Features beside the forms: retrieval score, discount of the place, likeness, popularity, how that grew."""


@dataclass
class Distilled:
    """Orders candidates as a slower reranker would, as far as a linear model can; choose it to pay a teacher once.

    `fit` holds out the last event of users, fits ``teacher`` and ``retriever`` on the rest, and lets the teacher rerank
    the retriever's lists for ``requests`` of these users. Its scores, standardised within a list, are then regressed on
    what costs next to nothing: hᵀ M c with h the mean text vector of the history (items halve in weight every
    ``half_life``), c that of the candidate, both on ``dimension`` principal axes; uᵀ c; how like its words and its text
    are to the newest item's and to the recent ones'; its popularity and how that grew lately; its retrieval score and
    place. Closed form: (XᵀX + λI)⁻¹ Xᵀy, everything centred within its list, λ (on M and u alone) chosen on a fifth of
    the users, then all of them used. On a request no language model runs: vectors of items were made once by
    ``encoder``.

    `fidelity` tells how true the copy is on those held out, and how true retrieval alone would have been. What the
    teacher sees beyond that (words that matter together, an order of items, negations) is not linear in mean vectors,
    and is lost. The copy of a teacher that does not help does not help either.

    Time: the teacher's on ``requests`` lists, and O(lists · depth · dimension⁴) to solve; a request takes O(dimension ·
    (dimension + depth + history)) and the cosines of candidates and recent items. Memory: a vector and the words of an
    item; to fit, 8 bytes a cell of lists · depth × dimension². Nothing of teacher or retriever is kept. Papers: Hinton
    et al. 2015; Tang & Wang 2018 (Ranking distillation).

    >>> from frugalrec.recommenders.popularity import Popularity
    >>> from frugalrec.rerankers.likelihood import Likelihood
    >>> from frugalrec.testing.data import toy_dataset
    >>> from frugalrec.testing.encoders import HashEncoder
    >>> from frugalrec.testing.llms import UnigramModel
    >>> teacher = Likelihood(UnigramModel(), blend=1.0)
    >>> student = Distilled(teacher, Popularity(), HashEncoder(), dimension=8).fit(toy_dataset())
    >>> student.fidelity["r2"] > student.fidelity["retrieval r2"]
    True
    """

    frees_requests: ClassVar[bool] = True

    teacher: Reranker
    retriever: Recommender
    encoder: TextEncoder
    depth: int = 20
    dimension: int = 32
    half_life: float = 3.0
    requests: int = 1000
    seed: int = 0
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    whole_: Matrix = field(init=False, repr=False, compare=False)
    words_: Any = field(init=False, repr=False, compare=False)
    matrix_: FloatArray = field(init=False, repr=False, compare=False)
    bias_: FloatArray = field(init=False, repr=False, compare=False)
    weights_: FloatArray = field(init=False, repr=False, compare=False)
    ridge_: float = field(init=False, repr=False, compare=False)
    fidelity_: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("depth", "dimension", "requests"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.half_life <= 0:
            raise ConfigError(f"half_life must be above 0, not {self.half_life}")

    def fit(self, dataset: Dataset) -> Self:
        """Let the teacher rerank held-out requests, and copy it; what the teacher's fit raises comes up as it is."""
        lists = practise(dataset, self.retriever, self.depth, requests=self.requests, seed=self.seed)
        teacher = unfitted(self.teacher).fit(lists.earlier)
        return self.copy(dataset, lists, reranked(teacher, lists, "ask the teacher"))

    def copy(self, dataset: Dataset, lists: Practice, taught: Sequence[Ranking]) -> Self:
        """Learn from what a teacher made of ``lists``, in their order; those it failed on teach nothing."""
        lists, targets = _targets(lists, taught)
        self.whole_, self.words_ = item_vectors(dataset, self.encoder), item_words(dataset)
        self.vectors_ = on_axes(self.whole_, self.dimension)
        width = self.vectors_.shape[1]
        facts = item_facts(dataset)
        learnt, held = lists.parted(HELD, self.seed)
        told = dict(zip(map(id, lists.queries), targets, strict=True))
        sums = [self._sums(part, told, facts) for part in (learnt, held)]
        weights = [_solved(sums[0][0], sums[0][1], ridge) for ridge in RIDGES]
        errors = [_error(*sums[1], w) for w in weights]
        best = int(np.argmin(errors))
        self.ridge_ = float(RIDGES[best])
        self.fidelity_ = self._compared(held, told, facts, weights[best])
        found = _solved(sums[0][0] + sums[1][0], sums[0][1] + sums[1][1], self.ridge_)
        self.matrix_ = found[: width * width].reshape(width, width)
        plain = found[width * width + width :]
        self.bias_ = self.vectors_ @ found[width * width : width * width + width] + facts @ plain[-2:]
        self.weights_ = plain[:-2]
        charge(flops=2.0 * self.vectors_.size)
        return self

    @property
    def fidelity(self) -> dict[str, float]:
        """How the copy does on requests it did not learn from; raises `NotFittedError` before ``fit``.

        ``r2``: the share of the teacher's variance within lists that it explains; ``rank correlation``: Spearman's,
        mean over lists; ``same first``: how often both put the same item first. ``retrieval r2`` and ``retrieval rank
        correlation``: the same for the order before the teacher. NaN where no users could be held out.
        """
        if not hasattr(self, "fidelity_"):
            raise NotFittedError("the reranker 'distilled' was used before fit", hint="call fit(dataset) first")
        names = ("r2", "rank correlation", "same first", "retrieval r2", "retrieval rank correlation")
        return dict(zip(names, self.fidelity_, strict=True))

    def expected(self, shape: DataShape) -> Stages:
        """Return what a fit and a request take: the retriever's and the teacher's fit, its lists, and the copy.

        What a teacher that asks a language model computes is known as far as it says: in tokens.
        """
        practised = expected_practice(shape, self.retriever, self.depth, requests=self.requests)
        teacher = stages_of(self.teacher, practised.earlier)
        asked = teacher.fit + teacher.in_batch.times(practised.lists)
        return Stages(practised.took + asked + self.expected_copy(shape, practised), self._request(shape))

    def expected_copy(self, shape: DataShape, practised: Practised, share: float = 1.0) -> Expected:
        """Return what `copy` takes with a ``share`` of the practised lists; FLOPs as charged, for histories alike."""
        width = width_of(self.encoder)
        if width is None:
            return Expected()
        n, lists, m = shape.items, share * practised.lists, float(min(self.dimension, width))
        rows, size = lists * practised.length, m * m + m + PLAIN
        # Once for the sums, and for those held out once more to compare.
        looked = (1.0 + HELD) * lists
        each = expected_features(practised.history, practised.length, self.half_life, width, m)
        turned, summed = 2.0 * n * width * (width + m), 2.0 * rows * size * (size + 1)
        solved = (len(RIDGES) + 1) * size**3 / 3.0
        work = (
            Work("gemm-f32", turned, float(max(width, 1))),
            Work("eigen-f64", 9.0 * width**3, float(max(width, 1))),
            Work("gemm-f64", summed, size),
            Work("factor-f64", 2.0 * solved, size),
            Work("stream", 40.0 * rows * (1.0 + HELD) * size, 8.0 * practised.length * size),
        )
        # A block of features, its parts and their transpose; sums of both parts, and one that is being solved.
        block = 8.0 * min(lists, SUMMED_AT_ONCE) * practised.length * size
        peak = max(2.0 * block + 40.0 * size * size, 48.0 * size * size, 12.0 * n * m)
        linear = Expected(work, turned + summed + solved + 2.0 * n * m, 0.0, 0.0, peak, 4.0 * n * m)
        return expected_item_texts(shape, width) + each.times(looked) + linear

    def _request(self, shape: DataShape) -> Expected:
        width = width_of(self.encoder)
        if width is None:
            return Expected()
        m = float(min(self.dimension, width))
        flops = 2.0 * m * (m + self.depth) + (2.0 * PLAIN - 3.0) * self.depth
        features = expected_features(shape.mean_history, self.depth, self.half_life, width, m)
        return features + Expected((), flops, 0.0, 0.0, 0.0, 0.0, 1.5)

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        """Return each ranking with its first ``depth`` items reordered; raises `NotFittedError` before ``fit``."""
        if not hasattr(self, "weights_"):
            raise NotFittedError("the reranker 'distilled' was used before fit", hint="call fit(dataset) first")
        return [self._reranked(query, ranking) for query, ranking in zip(queries, rankings, strict=True)]

    def _reranked(self, query: Query, ranking: Ranking) -> Ranking:
        items = ranking.items[: self.depth]
        if len(items) < 2:
            return ranking
        taste = profile(query.history, self.vectors_, self.half_life) @ self.matrix_
        values = self._plain(query, ranking) @ self.weights_ + self.bias_[items]
        charge(flops=2.0 * len(taste) * (len(taste) + len(items)) + (2.0 * PLAIN - 3.0) * len(items))
        return reordered(ranking, values + self.vectors_[items] @ taste)

    def _plain(self, query: Query, ranking: Ranking) -> FloatArray:
        """Return what is told by the request as well as by the candidate, float64 ``(candidates, PLAIN - 2)``."""
        alike = likeness(query.history, ranking.items[: self.depth], self.words_, self.whole_, self.half_life)
        return np.concatenate([places_and_scores(ranking, self.depth), alike], axis=1)

    def _features(self, query: Query, ranking: Ranking, facts: FloatArray) -> FloatArray:
        """Return float64 ``(candidates, dimension² + dimension + PLAIN)``, centred within the list."""
        items = ranking.items[: self.depth]
        texts = self.vectors_[items].astype(np.float64)
        taste = profile(query.history, self.vectors_, self.half_life)
        pairs = (taste[None, :, None] * texts[:, None, :]).reshape(len(items), -1)
        plain = np.concatenate([self._plain(query, ranking), facts[items]], axis=1)
        features = np.concatenate([pairs, texts, plain], axis=1)
        centred: FloatArray = features - features.mean(axis=0)
        return centred

    def _sums(self, lists: Practice, told: dict[int, FloatArray], facts: FloatArray) -> tuple[Any, Any, Any]:
        """Return XᵀX, Xᵀy and yᵀy over lists."""
        width = self.vectors_.shape[1]
        size = width * width + width + PLAIN
        gram, cross, squares = np.zeros((size, size)), np.zeros(size), 0.0
        for start in range(0, len(lists), SUMMED_AT_ONCE):
            block = range(start, min(start + SUMMED_AT_ONCE, len(lists)))
            X = np.concatenate([self._features(lists.queries[i], lists.rankings[i], facts) for i in block])
            y = np.concatenate([told[id(lists.queries[i])] for i in block])
            gram += X.T @ X
            cross += X.T @ y
            squares += float(y @ y)
            charge(flops=2.0 * len(X) * size * (size + 1))
        return gram, cross, squares

    def _compared(
        self, held: Practice, told: dict[int, FloatArray], facts: FloatArray, weights: FloatArray
    ) -> tuple[float, ...]:
        of_student, of_retrieval = [], []
        for query, ranking in zip(held.queries, held.rankings, strict=True):
            y, before = told[id(query)], standard(ranking.scores[: self.depth])
            said = self._features(query, ranking, facts) @ weights
            of_student.append((_left(y, said), y @ y, _correlation(y, said), float(y.argmax() == said.argmax())))
            of_retrieval.append((y @ before, before @ before, _correlation(y, before)))
        if not held.queries:
            return (float("nan"),) * 5
        student, retrieval = np.array(of_student), np.array(of_retrieval)
        r2 = 1.0 - student[:, 0].sum() / max(student[:, 1].sum(), 1e-12)
        # What is left beside the best multiple of the retrieval score.
        explained = retrieval[:, 0].sum() ** 2 / max(retrieval[:, 1].sum(), 1e-12)
        alone = explained / max(student[:, 1].sum(), 1e-12)
        means = (student[:, 2].mean(), student[:, 3].mean(), alone, retrieval[:, 2].mean())
        return (float(r2), *map(float, means))


def _targets(lists: Practice, taught: Sequence[Ranking]) -> tuple[Practice, list[FloatArray]]:
    """Return the requests that the teacher reordered, and its standardised scores in the order before it."""
    rows, targets = [], []
    for row, (before, after) in enumerate(zip(lists.rankings, taught, strict=True)):
        if not after.degraded and len(before) > 1:
            place = {item: i for i, item in enumerate(after.items.tolist())}
            scores = np.asarray(after.scores, dtype=np.float64)
            targets.append(standard(scores[[place[item] for item in before.items.tolist()]]))
            rows.append(row)
    return lists.take(np.array(rows, dtype=np.int64)), targets


def _solved(gram: FloatArray, cross: FloatArray, ridge: float) -> FloatArray:
    """Solve with the ridge on the forms; the few plain features have so many rows that they need next to none."""
    charge(flops=len(gram) ** 3 / 3.0)
    penalties = np.full(len(gram), ridge)
    penalties[-PLAIN:] = 1.0
    return np.asarray(np.linalg.solve(gram + np.diag(penalties), cross), dtype=np.float64)


def _error(gram: FloatArray, cross: FloatArray, squares: float, weights: FloatArray) -> float:
    return float(squares - 2.0 * weights @ cross + weights @ gram @ weights)


def _left(target: FloatArray, said: FloatArray) -> float:
    return float(np.square(target - said).sum())


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Return Spearman's rank correlation, equal values in the order they come."""
    ranks = [standard(np.argsort(np.argsort(-x, kind="stable")).astype(np.float64)) for x in (a, b)]
    return float(np.mean(ranks[0] * ranks[1]))


__all__ = ["Distilled"]
