"""A reranker that is asked only where it is likely to help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Ranking
from frugalrec.data.interactions import FloatArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import Matrix, Recommender, Reranker, TextEncoder
from frugalrec.rerankers._expected import (
    FOUND,
    UNKNOWN_FOUND,
    expected_item_texts,
    expected_practice,
    stages_of,
    width_of,
)
from frugalrec.rerankers._features import item_facts, item_vectors, profile
from frugalrec.rerankers._order import standard
from frugalrec.rerankers._practice import Practice, practise, reranked, unfitted
from frugalrec.rerankers.distilled import Distilled
from frugalrec.work import Expected, Stages, Work

TAIL = 0.8
"""Items beyond those that take this share of the events are the tail."""

FOLDS = 5
SURE = 1.64  # standard errors: 95% on one side
SEEN = "see what reranking gains"
RIDGES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


@dataclass
class Gated:
    """Asks ``reranker`` for a ``share`` of the requests, those where it is expected to gain most; the others keep the
    order they came in, or get a copy's. Choose it where a reranker has been shown to pay, and costs too much to be
    asked every time.

    `fit` holds out the ``tail`` last events of users, fits ``retriever`` (the recommender whose lists it will be given)
    and ``reranker`` on the rest, and sees what reranking ``requests`` lists does to NDCG@``cutoff``. A ridge regression
    then predicts that gain from the request: how long its history is; how far the first candidate stands from the
    second and from the rest, the entropy of the scores; how popular candidates are, how many are of the tail; and,
    with an ``encoder``, how alike their texts are to the history's, how that varies and how it agrees with the scores.
    The threshold is what a ``share`` of these requests exceeds, and at least 0: where a loss is expected nobody is
    asked. Nor is anybody where the regression cannot tell who gains: those whom regressions on other requests would
    have chosen must have gained, `SURE` standard errors from nothing.

    ``otherwise = "student"`` gives all others the order of a `Distilled` copy, which learns from what the reranker made
    of those lists (``dimension`` principal axes of ``encoder``). The regression then predicts what asking gains
    over the copy, on lists ordered by a copy that learned from the other half of the users. `gain` and `student_gain`
    say what reranker and copy brought on held-out requests: where they are alike, ``share = 0`` is what to pay.

    The gain itself is small and noisy, and most lists do not hold the answer: `gain` says what asking everybody would
    have brought on those held out, with its standard error. The reranker is not fitted again with the events held out.
    Time: the reranker's on those of ``requests`` lists that hold the answer, once, and on a ``share`` of the requests
    from then on.

    >>> from frugalrec.recommenders.popularity import Popularity
    >>> from frugalrec.rerankers.likelihood import Likelihood
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.llms import UnigramModel
    >>> data = checkerboard(30)  # titles are "even square" and "odd square", and people keep to one
    >>> gate = Gated(Likelihood(UnigramModel(), blend=1.0), Popularity()).fit(data)
    >>> gate.gain[0] > 0.5
    True
    """

    reranker: Reranker
    retriever: Recommender
    share: float = 0.2
    encoder: TextEncoder | None = None
    half_life: float = 3.0
    cutoff: int = 10
    requests: int = 1000
    tail: int = 1
    otherwise: Literal["input", "student"] = "input"
    dimension: int = 32
    seed: int = 0
    depth: int = field(init=False, repr=False)
    student: Reranker | None = field(default=None, init=False, repr=False, compare=False)
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    popularity_: FloatArray = field(init=False, repr=False, compare=False)
    tail_: FloatArray = field(init=False, repr=False, compare=False)
    weights_: FloatArray = field(init=False, repr=False, compare=False)
    ranges_: FloatArray = field(init=False, repr=False, compare=False)
    threshold_: float = field(init=False, repr=False, compare=False)
    gain_: tuple[float, float] = field(init=False, repr=False, compare=False)
    student_gain_: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share must be from 0 (nobody) to 1 (everybody), not {self.share}")
        for name in ("cutoff", "requests", "tail", "dimension"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.half_life <= 0:
            raise ConfigError(f"half_life must be above 0, not {self.half_life}")
        self.depth = self.reranker.depth
        if self.otherwise == "student":
            if self.encoder is None:
                raise ConfigError('otherwise = "student" needs an encoder', hint="the student reads vectors of items")
            self.student = Distilled(
                unfitted(self.reranker), self.retriever, self.encoder,
                depth=self.depth, dimension=self.dimension, half_life=self.half_life, requests=self.requests,
                seed=self.seed,
            )  # fmt: skip
        elif self.otherwise != "input":
            raise ConfigError(f"otherwise must be 'input' or 'student', not {self.otherwise!r}")

    def fit(self, dataset: Dataset) -> Self:
        """Fit the reranker, see what it gains on held-out requests, and learn to predict that."""
        lists = practise(
            dataset, self.retriever, self.depth, requests=self.requests, tail=self.tail, seed=self.seed
        )  # fmt: skip
        self.reranker.fit(lists.earlier)
        return self.learn(dataset, lists, reranked(self.reranker, _told(lists), SEEN))

    def learn(self, dataset: Dataset, lists: Practice, after: Sequence[Ranking]) -> Self:
        """Learn from ``lists`` alone, for a reranker that is fitted already and has not seen their answers.

        ``after``: what it made of those that hold the answer, in their order. The others gain nothing whatever is done,
        so that it is spared them.
        """
        told = _told(lists)
        self.vectors_ = item_vectors(dataset, self.encoder)
        self.popularity_ = item_facts(lists.earlier)[:, 0]
        events = np.sort(lists.earlier.interactions.popularity)[::-1]
        needed = int(np.searchsorted(np.cumsum(events), TAIL * events.sum()))
        least = events[min(needed, len(events) - 1)] if len(events) else 0
        self.tail_ = (lists.earlier.interactions.popularity < max(least, 1)).astype(np.float64)
        before, asked = self._ndcg(told, told.rankings), self._ndcg(told, after)
        instead = before
        if isinstance(self.student, Distilled):
            instead = self._ndcg(told, self._copied(self.student, dataset, told, after))
            self.student.copy(dataset, told, after)
        gains, copied, left = np.zeros((3, len(lists)))
        rows = lists.places >= 0
        gains[rows], copied[rows], left[rows] = asked - before, instead - before, asked - instead
        self.gain_, self.student_gain_ = _mean_and_error(gains), _mean_and_error(copied)
        features = self._features(lists.queries, lists.rankings)
        self.weights_, foreseen = _regression(features, left, np.random.default_rng(self.seed))
        nothing = np.zeros((2, features.shape[1]))
        self.ranges_ = np.stack([features.min(axis=0), features.max(axis=0)]) if len(features) else nothing
        predicted = _with_ones(features) @ self.weights_
        self.threshold_ = max(0.0, float(np.quantile(predicted, 1.0 - self.share))) if len(predicted) else 0.0
        chosen = left[(foreseen > 0) & (foreseen >= np.quantile(foreseen, 1.0 - self.share))] if len(left) else left
        mean, error = _mean_and_error(chosen)
        if mean <= SURE * error:
            self.threshold_ = float("inf")
        return self

    @property
    def gain(self) -> tuple[float, float]:
        """What reranking every held-out request gained in NDCG, and the standard error of that."""
        self._require_fitted()
        return self.gain_

    @property
    def student_gain(self) -> tuple[float, float]:
        """What the student's order of every held-out request gained in NDCG, and the standard error; 0 without one."""
        self._require_fitted()
        return self.student_gain_

    def expected(self, shape: DataShape) -> Stages:
        """Return what a fit takes: the retriever's and the reranker's, the copies of a student, and the regressions.

        Of a request nothing is known but where everybody or nobody is asked: whether the gate opens, the data say. So
        they do how many lists hold the answer, which alone are reranked in a fit: within a factor of `UNKNOWN_FOUND`.
        """
        width = width_of(self.encoder)
        if width is None:
            return Stages()
        practised = expected_practice(shape, self.retriever, self.depth, requests=self.requests, tail=self.tail)
        lists, found = practised.lists, FOUND * practised.lists
        reranker = stages_of(self.reranker, practised.earlier)
        reranked_lists = replace(reranker.in_batch.times(found), spread=UNKNOWN_FOUND * reranker.in_batch.spread)
        fit = practised.took + reranker.fit + reranked_lists + expected_item_texts(shape, width, words=False)
        if isinstance(self.student, Distilled):
            copied = self.student.expected_copy(shape, practised, FOUND / 2)
            fit += copied + copied + self.student.expected(practised.earlier).score.times(found)
            fit += self.student.expected_copy(shape, practised, FOUND)
        columns = 10.0 if width else 7.0
        examples = lists * ((FOLDS - 1.0) * len(RIDGES) + 1.0) if lists >= 2 * FOLDS else 0.0
        described = 12.0 * practised.length + 2.0 * practised.length * width
        described += 2.0 * practised.history * width
        flops = lists * described + 2.0 * examples * columns * (columns + 1)
        work = (Work("query", lists), Work("stream", 60.0 * examples * columns, 8.0 * lists * columns))
        fit += Expected(work, flops, 0.0, 0.0, 40.0 * lists * columns, 0.0)
        if self.share not in (0.0, 1.0):
            return Stages(fit)
        otherwise = Expected.nothing() if self.student is None else stages_of(self.student, shape).score
        return Stages(fit, otherwise + stages_of(self.reranker, shape).score if self.share else otherwise)

    def predicted(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> FloatArray:
        """Return what reranking is expected to gain in NDCG, float64 ``(n,)``."""
        self._require_fitted()
        # Beyond what was practised on, a straight line knows nothing.
        features = np.clip(self._features(queries, rankings), *self.ranges_)
        charge(flops=2.0 * features.size)
        return _with_ones(features) @ self.weights_

    def asks(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return for which requests the reranker would be asked, bool ``(n,)``."""
        if self.share in (0.0, 1.0):
            return np.full(len(queries), self.share == 1.0)
        return np.asarray(self.predicted(queries, rankings) > self.threshold_, dtype=bool)

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        """Return rankings of the chosen requests reordered by the reranker, all others as they came.

        Raises `NotFittedError` before ``fit``.
        """
        self._require_fitted()
        found = list(rankings) if self.student is None else self.student.rerank(queries, rankings)
        rows = np.flatnonzero(self.asks(queries, rankings)).tolist()
        after = self.reranker.rerank([queries[i] for i in rows], [rankings[i] for i in rows]) if rows else []
        for row, ranking in zip(rows, after, strict=True):
            found[row] = ranking
        return found

    def _require_fitted(self) -> None:
        if not hasattr(self, "weights_"):
            raise NotFittedError("the reranker 'gated' was used before fit", hint="call fit(dataset) first")

    def _copied(self, student: Distilled, dataset: Dataset, lists: Practice, after: Sequence[Ranking]) -> list[Ranking]:
        """Return each list as a student orders it that learned from the other half of the users."""
        users = np.random.default_rng([self.seed, 2]).permutation(np.unique(lists.owners))
        first = np.isin(lists.owners, users[: len(users) // 2])
        found = list(lists.rankings)
        for mine in (first, ~first):
            rows, others = np.flatnonzero(mine), np.flatnonzero(~mine)
            pupil = unfitted(student).copy(dataset, lists.take(others), [after[i] for i in others.tolist()])
            part = lists.take(rows)
            for row, ranking in zip(rows, pupil.rerank(part.queries, part.rankings), strict=True):
                found[row] = ranking
        return found

    def _ndcg(self, lists: Practice, rankings: Sequence[Ranking]) -> FloatArray:
        """Return the NDCG of each of ``rankings``; all hold the answers of ``lists``."""
        found = np.zeros(len(lists))
        for row, (old, new, place) in enumerate(zip(lists.rankings, rankings, lists.places, strict=True)):
            moved = int(np.flatnonzero(new.items == old.items[place])[0])
            found[row] = 1.0 / np.log2(2.0 + moved) if moved < self.cutoff else 0.0
        return found

    def _features(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> FloatArray:
        rows = [self._described(query, ranking) for query, ranking in zip(queries, rankings, strict=True)]
        return np.array(rows).reshape(len(rows), 10 if self.vectors_.shape[1] else 7)

    def _described(self, query: Query, ranking: Ranking) -> list[float]:
        items = ranking.items[: self.depth]
        if len(items) < 2:
            return [0.0] * (10 if self.vectors_.shape[1] else 7)
        scores = standard(ranking.scores[: self.depth])
        chances = np.exp(scores - scores.max())
        chances /= chances.sum()
        found = [
            float(np.log1p(len(query.history))),
            float(scores[0] - scores[1]),
            float(scores[0]),
            float(-(chances * np.log(chances)).sum()),
            float(self.popularity_[items].mean()),
            float(self.popularity_[items[0]] - self.popularity_[items].mean()),
            float(self.tail_[items].mean()),
        ]
        charge(flops=12.0 * len(items))
        if self.vectors_.shape[1]:
            alike = self.vectors_[items] @ profile(query.history, self.vectors_, self.half_life)
            charge(flops=2.0 * len(items) * self.vectors_.shape[1])
            found += [float(alike.mean()), float(alike.std()), float(np.mean(standard(alike) * scores))]
        return found


def _told(lists: Practice) -> Practice:
    return lists.take(np.flatnonzero(lists.places >= 0))


def _mean_and_error(gains: FloatArray) -> tuple[float, float]:
    return (float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))) if len(gains) else (0.0, 0.0)


def _with_ones(features: FloatArray) -> FloatArray:
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)


def _regression(features: FloatArray, gains: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return ridge weights on ``(1, features)``, and what is predicted of each request by those of other requests.

    The ridge, on standardised features, is the best in cross-validation. Fewer than two examples a fold teach nothing:
    all weights are 0.
    """
    if len(features) < 2 * FOLDS:
        return np.zeros(features.shape[1] + 1), np.zeros(len(gains))
    folds = rng.permutation(len(features)) % FOLDS
    guesses: dict[float, FloatArray] = {}
    for ridge in RIDGES:
        guesses[ridge] = np.empty(len(gains))
        for fold in range(FOLDS):
            out = folds == fold
            guesses[ridge][out] = _with_ones(features[out]) @ _ridge(features[~out], gains[~out], ridge)
    best = min(RIDGES, key=lambda ridge: float(np.square(guesses[ridge] - gains).sum()))
    return _ridge(features, gains, best), guesses[best]


def _ridge(features: FloatArray, gains: FloatArray, ridge: float) -> FloatArray:
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    X = np.where(deviation > 1e-9, (features - mean) / np.where(deviation > 1e-9, deviation, 1.0), 0.0)
    weights = np.linalg.solve(X.T @ X + ridge * np.eye(X.shape[1]), X.T @ (gains - gains.mean()))
    weights = np.where(deviation > 1e-9, weights / np.where(deviation > 1e-9, deviation, 1.0), 0.0)
    charge(flops=2.0 * X.size * (X.shape[1] + 1))
    return np.concatenate([[gains.mean() - weights @ mean], weights])


__all__ = ["Gated"]
