"""Items without events get the scores that their text predicts, placed among the others by what a place is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
from scipy import linalg
from scipy.optimize import minimize

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Explains, Matrix, Recommender, TextEncoder
from frugalrec.recommenders._base import (
    BLOCK_BYTES,
    LISTED_REASONS,
    Scores,
    mask_scores,
    query_matrix,
    reads_words,
    require_fitted,
    top_k,
)
from frugalrec.recommenders._expected import expected_of, expected_text_space, width_of
from frugalrec.recommenders._text import TextSpace, encode_items, unit_rows
from frugalrec.work import Expected, Stages, Work

Mask = np.ndarray[Any, np.dtype[np.bool_]]
DEPTH = 50
"""How many items of each list the worth of a score is learned from."""
KNOTS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
"""Quantiles of the listed scores between which the logarithm of the worth is linear."""
LEAST_SLOPE = 1e-3
"""A curve rises at least this much from knot to knot, so that it can be followed back to a score."""
STEPS = 201
"""How many additions to the worth of cold items the rehearsal tries."""
GUESSED_STEPS = 60.0
"""How often the regression behind a curve is expected to be evaluated; at most about 200 times."""
DISCOUNTS = 1.0 / np.log2(np.arange(2, 12))


@dataclass
class TextMapping(Scores):
    """Wraps a recommender, and gives its cold items (no events in training) the scores that their text predicts.

    A ridge regression on text vectors E predicts what the member says of warm items, and of the history x besides, and
    reads off cold ones: r = m + (s - m + h·(max s - m)·x) E (EᵀE + ρI)⁻¹ E_coldᵀ, with m the median score. For linear
    members and h = 0 this equals predicting their weights. History items stay in, since what a member says of them
    tells most about the user's taste; ``history`` (h) adds what they read like themselves, which counts for much where
    events are few.

    Predicted scores shrink, so they cannot be compared with true ones. Therefore ``fit`` acts a launch out: it takes
    all events of some items away, and a tenth of the others, fits the member to the rest, and learns how much NDCG@10 a
    warm and a cold item of a given score are worth: curves that rise with the score, for cold items one with their
    cosine with the history's texts too, and how both depend on the length of the history. In a list sorted by worth,
    each item gets the place that pays most. ``warm_loss`` is the share of the NDCG@10 among warm items that may be
    given up for cold ones, as measured in that rehearsal; ``trade_`` keeps what other shares would take, so changing it
    needs no other fit. Warm items keep their scores and their order.

    Choose it when new items must be shown, and how much that may cost is to be said in advance; a small ``warm_loss``
    buys few places. As many items are taken away as there are cold ones with text, at least ``launched`` and at most
    three times that share of the warm ones. Where nothing can be learned the predicted scores stand as they are.

    Time: two fits of the member, the encoder's, O(n d²) for n items of dimension d, and scores of ``max_users`` users;
    a query takes the member's and 2nd FLOPs. Memory: the member's, twice n d floats and, while fitting, at most 256 MB
    of scores. Papers: Gantner et al., 2010 (attribute-to-feature mappings); Robertson, 1977 (ranking by probability).

    >>> from frugalrec.recommenders.item_knn import ItemKnn
    >>> from frugalrec.testing.data import toy_dataset
    >>> from frugalrec.testing.encoders import HashEncoder
    >>> data = toy_dataset(cold=2)
    >>> model = TextMapping(ItemKnn(), HashEncoder(), warm_loss=0.1).fit(data)
    >>> len(model.recommend([data.query(0)], k=3)[0])
    3
    """

    member: Recommender
    encoder: TextEncoder
    ridge: float = field(default=10.0, metadata={"stage": "solve", "tune": (3.0, 10.0, 30.0, 100.0)})
    whitening: float = field(default=0.7, metadata={"stage": "solve", "tune": (0.3, 0.7)})
    history: float = field(default=1.0, metadata={"stage": "solve", "tune": (0.3, 1.0, 3.0)})
    warm_loss: float = field(default=0.01, metadata={"stage": "score"})
    launched: float = field(default=0.1, metadata={"stage": "accumulate"})
    max_users: int = field(default=2000, metadata={"stage": "accumulate"})
    seed: int = 0
    n_items_: int = field(init=False, repr=False, compare=False)
    cold_: IntArray = field(init=False, repr=False, compare=False)
    warm_: Mask = field(init=False, repr=False, compare=False)
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    projection_: Matrix = field(init=False, repr=False, compare=False)
    curves_: FloatArray = field(init=False, repr=False, compare=False)
    activity_: FloatArray = field(init=False, repr=False, compare=False)
    trade_: FloatArray = field(init=False, repr=False, compare=False)

    scores_cold_items = True

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a setting outside its range."""
        if self.ridge <= 0:
            raise ConfigError(f"ridge must be above 0, not {self.ridge}")
        if self.history < 0:
            raise ConfigError(f"history must be at least 0, not {self.history}")
        if not 0 <= self.warm_loss < 1:
            raise ConfigError(f"warm_loss must be at least 0 and below 1, not {self.warm_loss}")
        if not 0 < self.launched <= 0.3:
            raise ConfigError(f"launched must be above 0 and at most 0.3, not {self.launched}")
        if self.max_users < 1:
            raise ConfigError(f"max_users must be at least 1, not {self.max_users}")

    @property
    def reads_words(self) -> bool:  # type: ignore[override]
        """Whether the member reads a request's words."""
        return reads_words(self.member)

    def fit(self, dataset: Dataset) -> Self:
        """Rehearse a launch, if there are cold items, then fit the member to all events."""
        encoded = encode_items(dataset.catalog, self.encoder)
        self.vectors_ = TextSpace.fit(encoded, self.whitening).project(encoded)
        self.n_items_ = dataset.n_items
        self.curves_, self.activity_ = np.zeros((3, 2, len(KNOTS))), np.zeros((2, 2))
        self.trade_ = np.zeros((2, 0))
        warm: Mask = np.asarray(dataset.interactions.popularity > 0)
        described: Mask = np.asarray(self.vectors_.any(axis=1))
        if (described & ~warm).any() and (described & warm).sum() > 1:
            self._rehearse(dataset, warm, described)
        self.member.fit(dataset)
        self._map(warm)
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: the member's scores, and predicted ones for cold items."""
        require_fitted(self, "projection_")
        scores = np.array(self.member.score(queries), dtype=np.float32)
        predicted = self._predicted(scores, queries, self.cold_)
        if self.trade_.size and predicted.size:
            lengths = np.array([len(np.unique(q.history)) for q in queries])
            worth = self._worth([predicted, self._alike(queries, self.cold_)], lengths) + self._boost()
            worth -= (_activity(lengths) @ self.activity_[0])[:, None]
            predicted = _follow(worth, self.curves_[0, ::-1])
        scores[:, self.cold_] = predicted
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take; how many steps the curves of the rehearsal take is a guess."""
        dim, parts = width_of(self.encoder), expected_of(self.member, shape)
        if dim is None or parts is None:
            return Stages()
        n, d, cold = shape.items, float(dim), shape.items - shape.n_warm
        mapping = (Work("gemm-f64", n * d * d, d), Work("factor-f64", d**3 / 3, d), Work("gemm-f64", 2 * n * d * d, d))
        mapped = Expected(mapping, 3.0 * n * d * d + d**3 / 3, 0.0, 0.0, 16.0 * n * d, 8.0 * n * d)

        def said(new: float, alone: bool) -> Expected:
            flops = 2.0 * d * (n + new) + 2.0 * d * (shape.mean_distinct + new)
            moved = Work("stream", 8.0 * n * d, 1 << 26) if alone else Work("gemm-f32", flops, d)
            return Expected((moved, Work("rank", n, n)), flops, 0.0, 0.0, 16.0 * n, 0.0)

        fit = expected_text_space(shape, dim, self.whitening) + mapped + parts.fit
        if cold and shape.n_warm and shape.n_texts:
            users = min(float(self.max_users), max(1.0, BLOCK_BYTES // (16 * n)), shape.n_users)
            launched = float(np.clip(cold, self.launched * shape.n_warm, 3 * self.launched * shape.n_warm))
            # A listed item has a feature for each step of its curves, two of the user's, and a constant.
            sides = ((self.launched, shape.n_warm - launched, 1), (launched / shape.n_warm, launched, 2))
            cells = users * sum(
                # Only users who chose something of a side tell what it is worth.
                -math.expm1(-share * shape.mean_history) * min(float(DEPTH), items) * (curves * (len(KNOTS) - 1) + 3)
                for share, items, curves in sides
            )
            steps = (Work("stream", 32.0 * cells * GUESSED_STEPS),)
            learned = Expected(steps, 4.0 * cells * GUESSED_STEPS, 0.0, 0.0, 16.0 * cells, 0.0)
            judged = (parts.in_batch + said(launched, alone=False)).times(users)
            held = Expected((Work("touch", 40.0 * users * n),), 0.0, 0.0, 0.0, 40.0 * users * n, 0.0)
            fit = replace(fit + mapped + parts.fit + judged + learned + held, spread=max(parts.fit.spread, 3.0))
        held_bytes = (parts.fit.held_bytes or 0.0) + 8.0 * n * d
        return Stages(
            replace(fit, held_bytes=held_bytes), parts.score + said(cold, True), parts.in_batch + said(cold, False)
        )

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the member's reasons; for a cold item, history that reads like it, and reasons for what lifts it."""
        require_fitted(self, "projection_")
        if not isinstance(self.member, Explains):
            return [() for _ in items]
        scores = np.asarray(self.member.score([query]))
        if not self.warm_.any():
            return self.member.explain(query, items)
        middle, width = self._middle(scores)
        said = np.where(self.warm_, scores[0] - middle[0], 0.0)
        met = self.history * width[0, 0] * query_matrix([query], self.n_items_).toarray()[0]
        reasons: list[tuple[Reason, ...]] = []
        for item, own in zip(items, self.member.explain(query, items), strict=True):
            if self.warm_[item]:
                reasons.append(own)
                continue
            near = self.vectors_[item] @ self.projection_
            size = max(float(np.abs(said * near).sum() + np.abs(met * near).sum()), 1e-12)
            alike = _largest(met * near)
            found = [Reason("text", float(met[i] * near[i] / size), int(i)) for i in alike]
            lifted = _largest(said * near)
            for i, given in zip(lifted, self.member.explain(query, lifted), strict=True):
                found += [replace(reason, share=float(said[i] * near[i] / size) * reason.share) for reason in given]
            reasons.append(tuple(sorted(found, key=lambda reason: -reason.share)[:LISTED_REASONS]))
        return reasons

    def _map(self, warm: Mask) -> None:
        """Solve the ridge regression from text to anything that warm items have. n d² + d³/3 + 2 n d² FLOPs."""
        E = np.where(warm[:, None], self.vectors_, 0).astype(np.float64)
        n, d = E.shape
        factor = linalg.cho_factor(E.T @ E + self.ridge * np.eye(d), lower=True)
        self.projection_ = linalg.cho_solve(factor, E.T).astype(np.float32)
        self.warm_, self.cold_ = warm, np.flatnonzero(~warm).astype(np.int32)
        charge(flops=3.0 * n * d * d + d**3 / 3)

    def _predicted(self, scores: Matrix, queries: Sequence[Query], items: IntArray) -> Matrix:
        """Return the scores of ``items`` that ``scores`` of the warm ones and the texts suggest."""
        if not self.warm_.any() or not len(items):
            return np.zeros((len(scores), len(items)), dtype=np.float32)
        middle, width = self._middle(scores)
        said = (scores - middle) @ self.projection_.T
        said += self.history * width * (query_matrix(queries, self.n_items_) @ self.projection_.T)
        d = len(self.projection_)
        charge(flops=2.0 * len(scores) * d * (self.n_items_ + len(items)))
        return np.asarray(middle + said @ self.vectors_[items].T, dtype=np.float32)

    def _middle(self, scores: Matrix) -> tuple[Matrix, Matrix]:
        """Return the median score of warm items, and how far the largest lies above it, ``(n, 1)`` each."""
        warm = scores[:, self.warm_]
        middle = np.median(warm, axis=1, keepdims=True).astype(np.float32)
        return middle, warm.max(axis=1, keepdims=True) - middle

    def _alike(self, queries: Sequence[Query], items: IntArray) -> Matrix:
        """Return the cosines of the texts of ``items`` with the histories' mean texts."""
        histories = query_matrix(queries, self.n_items_)
        charge(flops=2.0 * self.vectors_.shape[1] * (histories.nnz + len(queries) * len(items)))
        return unit_rows(histories @ self.vectors_) @ self.vectors_[items].T

    def _worth(self, scores: Sequence[Matrix], lengths: np.ndarray[Any, Any]) -> FloatArray:
        """Return the logarithm of what items are worth, up to a constant.

        A warm item has its score, a cold one its predicted score and its cosine with the history's texts.
        """
        cold = len(scores) > 1
        active = _activity(lengths) @ self.activity_[int(cold)]
        curves = self.curves_[1:] if cold else self.curves_[:1]
        parts = [_follow(values, curve) for values, curve in zip(scores, curves, strict=True)]
        return np.asarray(sum(parts) + active[:, None], dtype=np.float64)

    def _boost(self) -> float:
        """Return the largest addition to the log worth of cold items that costs at most ``warm_loss``."""
        boosts, losses = self.trade_
        last = max(int(np.searchsorted(losses, self.warm_loss, side="right")) - 1, 0)
        if last == len(losses) - 1:
            return float(boosts[last])
        part = (self.warm_loss - losses[last]) / (losses[last + 1] - losses[last])
        return float(boosts[last] + part * (boosts[last + 1] - boosts[last]))

    def _rehearse(self, dataset: Dataset, warm: Mask, described: Mask) -> None:
        """Learn the curves and the boost from items whose events are taken away."""
        rng = np.random.default_rng(self.seed)
        eligible = np.flatnonzero(warm & described)
        wanted = np.clip((described & ~warm).sum(), self.launched * len(eligible), 3 * self.launched * len(eligible))
        launched = np.zeros(self.n_items_, dtype=bool)
        launched[rng.permutation(eligible)[: max(1, int(wanted))]] = True
        events = dataset.interactions
        new = launched[events.item]
        held = (rng.random(len(events)) < self.launched) & ~new
        kept = ~held & ~new
        earlier = dataset.with_interactions(events.take(kept))
        self._map(earlier.interactions.popularity > 0)
        # Only what nobody has met any more is compared; items that lost their last event by lot are left out.
        relevant = np.where(new | (held & self.warm_[events.item]))[0]
        users = np.unique(events.user[relevant])
        users = users[np.diff(earlier.interactions.offsets)[users] > 0]
        room = max(1, BLOCK_BYTES // (16 * self.n_items_))
        users = np.sort(rng.permutation(users)[: min(self.max_users, room)])
        if not len(users):
            return
        self.member.fit(earlier)
        queries = [earlier.query(int(user)) for user in users]
        truth = np.zeros((len(users), self.n_items_), dtype=bool)
        at = np.searchsorted(users, events.user[relevant]).clip(max=len(users) - 1)
        mine = users[at] == events.user[relevant]
        truth[at[mine], events.item[relevant][mine]] = True
        lengths = np.array([len(np.unique(q.history)) for q in queries])
        scores = np.asarray(self.member.score(queries))
        allowed = np.isfinite(mask_scores(scores, queries))
        known = np.where(allowed & self.warm_, scores, -np.inf)
        guessed = np.full_like(scores, -np.inf)
        guessed[:, launched] = self._predicted(scores, queries, np.flatnonzero(launched).astype(np.int32))
        alike = np.zeros_like(scores)
        alike[:, launched] = self._alike(queries, np.flatnonzero(launched).astype(np.int32))
        sides = [_listed([known], truth & self.warm_), _listed([guessed, alike], truth & launched)]
        learned = [_worth_curves(side, _activity(lengths)) for side in sides]
        if learned[0] is None or learned[1] is None:
            return
        self.curves_ = np.stack([*learned[0][0], *learned[1][0]])
        self.activity_ = np.stack([learned[0][1], learned[1][1]])
        # The best by worth come first, as they will in lists; of warm items they did already.
        worths = [-np.sort(-self._worth(side.scores, lengths), axis=1) for side in sides]
        order = np.argsort(-self._worth(sides[1].scores, lengths), axis=1, kind="stable")
        sides[1] = replace(sides[1], chosen=np.take_along_axis(sides[1].chosen, order, axis=1))
        self.trade_ = self._trade(sides, worths)

    def _trade(self, sides: Sequence[_Side], worths: Sequence[FloatArray]) -> FloatArray:
        """Return additions to the log worth of cold items, and the share of warm NDCG@10 each costs, ``(2, STEPS)``."""
        size = len(DISCOUNTS)
        chosen = np.hstack([side.chosen[:, :size] for side in sides])
        warm, cold = (worth[:, :size] for worth in worths)
        is_warm = np.arange(chosen.shape[1]) < warm.shape[1]
        scale = np.divide(1.0, sides[0].ideal, out=np.zeros(len(chosen)), where=sides[0].ideal > 0)
        finite = np.concatenate([worth[np.isfinite(worth)] for worth in (warm, cold)])
        boosts = np.linspace(-1.0, 1.0, STEPS) * (float(np.ptp(finite)) + 1.0)
        reached = np.empty(STEPS)
        for step, boost in enumerate(boosts):
            order = np.argsort(-np.hstack([warm, cold + boost]), axis=1, kind="stable")[:, :size]
            hits = np.take_along_axis(chosen & is_warm, order, axis=1)
            reached[step] = scale @ (hits @ DISCOUNTS[: order.shape[1]])
        return np.stack([boosts, np.maximum.accumulate(1.0 - reached / max(float(reached[0]), 1e-12))])


@dataclass(frozen=True)
class _Side:
    """The best warm, or cold, items of each user by the first of ``scores``, and whether they were ``chosen``.

    Each is ``(n, depth)``; a place without an item has first score -inf. ``ideal`` ``(n,)`` is the DCG@10 of a perfect
    list, 0 where there was nothing to find.
    """

    scores: list[Matrix]
    chosen: Mask
    ideal: FloatArray


def _largest(terms: FloatArray) -> IntArray:
    """Return where the largest terms above 0 are, at most as many as an explanation lists."""
    largest = np.argsort(-terms, kind="stable")[:LISTED_REASONS].astype(np.int32)
    return largest[terms[largest] > 0]


def _listed(scores: Sequence[Matrix], truth: Mask) -> _Side:
    items, first = top_k(scores[0], DEPTH)
    at = np.maximum(items, 0)
    chosen = np.take_along_axis(truth, at, axis=1) & (items >= 0)
    best = np.concatenate([[0.0], np.cumsum(DISCOUNTS)])
    others = [np.take_along_axis(other, at, axis=1) for other in scores[1:]]
    return _Side([first, *others], chosen, best[np.minimum(truth.sum(axis=1), len(DISCOUNTS))])


def _worth_curves(side: _Side, activity: FloatArray) -> tuple[list[FloatArray], FloatArray] | None:
    """Return a curve for each score (knots; log worth) and the weights of ``activity``; None where nothing was chosen.

    Poisson regression of each item's part of the user's NDCG (1 / ideal where chosen) on the scores, piecewise linear
    and rising in each, and on activity. The curves add up; the first one has the constant.
    """
    rows = np.flatnonzero(side.ideal > 0)
    there = np.isfinite(side.scores[0][rows])
    worth = (side.chosen[rows] / side.ideal[rows, None])[there]
    if not worth.any():
        return None
    knots = []
    steps = []
    for scores in (given[rows][there].astype(np.float64) for given in side.scores):
        found = np.quantile(scores, KNOTS)
        smallest = 1e-6 * max(float(np.abs(found).max()), 1e-6)
        found += smallest * np.arange(len(found))  # no two are equal
        steps += [np.clip((scores - low) / (high - low), 0, 1) for low, high in pairwise(found[:-1])]
        steps.append(np.maximum((scores - found[-2]) / (found[-1] - found[-2]), 0))
        knots.append(found)
    others = np.repeat(activity[rows], there.sum(axis=1), axis=0)
    features = np.column_stack([*steps, others, np.ones(len(worth))])
    mean = worth.mean()
    target = features.T @ (worth / mean) / len(worth)
    penalty = np.full(features.shape[1], 1e-4)
    penalty[-1] = 0.0

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        expected = np.exp(np.minimum(features @ weights, 30.0))
        charge(flops=4.0 * features.size)
        value = float(expected.mean() - target @ weights + 0.5 * penalty @ weights**2)
        return value, features.T @ expected / len(expected) - target + penalty * weights

    bounds = [(LEAST_SLOPE, None)] * len(steps) + [(None, None)] * (features.shape[1] - len(steps))
    start = np.zeros(features.shape[1])
    start[: len(steps)] = 0.01
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200}).x
    rises = np.split(weights[: len(steps)], len(knots))
    heights = [np.concatenate([[0.0], np.cumsum(rise)]) for rise in rises]
    heights[0] += np.log(mean) + weights[-1]
    return [np.stack(pair) for pair in zip(knots, heights, strict=True)], weights[len(steps) : -1]


def _follow(values: np.ndarray[Any, Any], curve: FloatArray) -> Any:
    """Return the heights of ``curve`` (x; y) at ``values``; beyond its ends it goes on as straight lines."""
    x, y = curve
    inside = np.interp(values, x, y)
    below = (y[1] - y[0]) / (x[1] - x[0]) * np.minimum(values - x[0], 0.0)
    above = (y[-1] - y[-2]) / (x[-1] - x[-2]) * np.maximum(values - x[-1], 0.0)
    return inside + below + above


def _activity(lengths: np.ndarray[Any, Any]) -> FloatArray:
    """Return what of a history's length the worth depends on, ``(n, 2)``."""
    logs = np.log1p(lengths.astype(np.float64)) / 5.0
    return np.column_stack([logs, 5.0 * logs**2])


__all__ = ["TextMapping"]
