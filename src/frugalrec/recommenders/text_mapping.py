"""Items without events get the places that their text, and a rehearsed launch, make them worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from scipy import linalg, sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import FloatArray, IntArray, Interactions
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Explains, Matrix, Recommender, TextEncoder
from frugalrec.recommenders._base import (
    BLOCK_BYTES,
    LISTED_REASONS,
    Scores,
    query_matrix,
    reads_words,
    require_fitted,
    top_k,
)
from frugalrec.recommenders._expected import expected_of, expected_text_space, width_of
from frugalrec.recommenders._launch import (
    DISCOUNTS,
    KNOTS,
    Mask,
    Side,
    follow_back,
    ideal_gain,
    knots_of,
    segments,
    trade,
)
from frugalrec.recommenders._text import TextSpace, encode_items, unit_rows
from frugalrec.work import Expected, Stages, Work, touching

NEIGHBOURS = 100
"""With how many warm items, those that read most like it, each cold item is compared one by one."""
SHARPNESS = 4
"""A neighbour's weight is its cosine to this power."""
LEAST_WEIGHT = 0.1
"""Added to the sum of an item's neighbours' weights, so that what no text is near to gets little."""
LEAST_RATE, LEAST_PART = 0.02, 1e-3
"""Added before logarithms are taken: to shares of neighbours, and to scores in parts of the range of the user's own."""
TERMS = 4
"""How many things an item's worth depends on besides the user."""
DEPTH = 40
"""How many cold items a user, high by any of the terms, the first of two regressions sees; the second sees ten."""
LEAST_SLOPE = 0.1
"""The log worth of a warm item rises at least this much with the logarithm of its score."""
GUESSED_STEPS = 40.0
"""How often a regression is expected to be evaluated; at most 200 times."""


@dataclass
class TextMapping(Scores):
    """Wraps a recommender, and gives its cold items (no events in training) the places that they are worth.

    Four things are known of a cold item and a user, all by text vectors E: what ridge regression reads off from what
    the member says of warm items, r = m + (s - m) E (EᵀE + ρI)⁻¹ E_coldᵀ with m the median score (for linear members
    this equals predicting their weights), seen from the user's tenth best warm item; which share of the item's nearest
    warm neighbours the user has met, each counted cosine⁴; what the member says of those; and the cosine with the mean
    of the history.

    None can be compared with a warm item's score. Therefore ``fit`` acts a launch out: it takes all events of some
    items away, and a tenth of the others, fits the member to the rest, and learns how much NDCG@10 a warm and a cold
    item are worth (Poisson regressions): the logarithm is a curve of a warm item's score and linear in the four of a
    cold one, and both depend on the length of the history. They are learned from each user's ten best alone, since the
    others get no place. In a list sorted by
    worth each item has the place that pays most. ``warm_loss`` is the share of the NDCG@10 among warm items that may be
    given up for cold ones, as measured in that rehearsal; ``trade_`` keeps what other shares would take, so changing it
    needs no other fit. Warm items keep their scores and their order.

    Choose it when new items must be shown, and how much that may cost is to be said in advance; a small ``warm_loss``
    buys few places. As many items are taken away as there are cold ones with text, at least ``launched`` and at most
    three times that share of the warm ones. Where nothing can be learned cold items get r.

    Time: two fits of the member, the encoder's, O(n d²) for n items of dimension d, and scores of ``max_users`` users;
    a query takes the member's and O(n d) FLOPs. Memory: the member's, twice n d floats and, while fitting, at most some
    256 MB of scores. Papers: Gantner et al., 2010 (attribute-to-feature mappings); Robertson, 1977 (ranking by
    probability).

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
    warm_loss: float = field(default=0.01, metadata={"stage": "score"})
    launched: float = field(default=0.1, metadata={"stage": "accumulate"})
    max_users: int = field(default=10_000, metadata={"stage": "accumulate"})
    seed: int = 0
    n_items_: int = field(init=False, repr=False, compare=False)
    cold_: IntArray = field(init=False, repr=False, compare=False)
    warm_: Mask = field(init=False, repr=False, compare=False)
    vectors_: Matrix = field(init=False, repr=False, compare=False)
    projection_: Matrix = field(init=False, repr=False, compare=False)
    neighbours_: sparse.csr_array = field(init=False, repr=False, compare=False)
    knots_: FloatArray = field(init=False, repr=False, compare=False)
    warm_weights_: FloatArray = field(init=False, repr=False, compare=False)
    cold_weights_: FloatArray = field(init=False, repr=False, compare=False)
    trade_: FloatArray = field(init=False, repr=False, compare=False)

    scores_cold_items = True

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a setting outside its range."""
        if self.ridge <= 0:
            raise ConfigError(f"ridge must be above 0, not {self.ridge}")
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
        self.knots_, self.warm_weights_, self.cold_weights_ = np.zeros(1), np.ones(5), np.ones(TERMS + 4)
        self.trade_ = np.zeros((2, 0))
        warm: Mask = np.asarray(dataset.interactions.popularity > 0)
        described: Mask = np.asarray(self.vectors_.any(axis=1))
        if (described & ~warm).any() and (described & warm).sum() > 1:
            self._rehearse(dataset, warm, described)
        self.member.fit(dataset)
        self._map(warm, np.flatnonzero(~warm))
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: the member's scores, and placed ones for cold items."""
        require_fitted(self, "projection_")
        scores = np.array(self.member.score(queries), dtype=np.float32)
        if not len(self.cold_) or not self.warm_.any():
            scores[:, self.cold_] = 0.0
            return scores
        asked = self._asked(scores, queries)
        predicted, terms = self._terms(scores, queries, asked)
        if self.trade_.size:
            worth = terms @ self.cold_weights_[:TERMS] + (asked.known @ self.cold_weights_[TERMS:])[:, None]
            predicted = asked.scores(worth + self._boost(), self.knots_, self.warm_weights_)
        scores[:, self.cold_] = predicted
        return scores

    def expected(self, shape: DataShape) -> Stages:
        """Return what fitting and scoring take; how many steps the regressions of the rehearsal take is a guess."""
        dim, parts = width_of(self.encoder), expected_of(self.member, shape)
        if dim is None or parts is None:
            return Stages()
        n, d, cold = shape.items, float(dim), shape.items - shape.n_warm
        near = float(min(NEIGHBOURS, shape.n_warm))

        def mapped(new: float) -> Expected:
            parts = (n * d * d, d**3 / 3, 2 * n * d * d, 2.0 * n * d * new)
            work = [Work("factor-f64" if i == 1 else "gemm-f64", flops, d) for i, flops in enumerate(parts)]
            held = 8.0 * n * d + 12.0 * near * new
            return Expected(tuple(work), sum(parts), 0.0, 0.0, 16.0 * n * d + 12.0 * n * new, held)

        def said(new: float, alone: bool) -> Expected:
            if not new or not shape.n_warm:
                return Expected((Work("stream", 4.0 * n, 4.0 * n),), 0.0, 0.0, 0.0, 4.0 * n, 0.0)
            dense = 2.0 * d * (n + new) + 2.0 * d * (shape.mean_distinct + new)
            flops = dense + 4.0 * near * new
            moved = Work("stream", 8.0 * n * d, 1 << 26) if alone else Work("gemm-f32", dense, d)
            listed = (Work("gather", 2.0 * near * new, 1.0), Work("rank", n, n))
            return Expected((moved, *listed), flops, 0.0, 0.0, 24.0 * n + 40.0 * new, 0.0)

        fit = expected_text_space(shape, dim, self.whitening) + mapped(cold) + parts.fit
        if cold and shape.n_warm and shape.n_texts:
            users = min(float(self.max_users), shape.n_users)
            launched = float(np.clip(cold, self.launched * shape.n_warm, 3 * self.launched * shape.n_warm))
            # What each of the three regressions sees of a user: listed items, and features of each.
            new, size = launched / shape.n_warm, len(DISCOUNTS)
            lists = ((self.launched, size, len(KNOTS) + 4), (new, DEPTH, TERMS + 4), (new, size, TERMS + 4))
            # Only users who chose something of a side tell what it is worth.
            cells = users * sum(
                -math.expm1(-share * shape.mean_history) * min(float(listed), launched) * features
                for share, listed, features in lists
            )
            steps = (Work("stream", 32.0 * cells * GUESSED_STEPS),)
            learned = Expected(steps, 4.0 * cells * GUESSED_STEPS, 0.0, 0.0, 16.0 * cells, 0.0)
            judged = (parts.in_batch + said(launched, alone=False)).times(users)
            block = min(users, float(self._rows(n, launched)))
            held = Expected((touching(40.0 * users * n),), 0.0, 0.0, 0.0, block * (20.0 * n + 60.0 * launched), 0.0)
            rehearsed = mapped(launched) + parts.fit + judged + learned + held
            fit = replace(fit + rehearsed, spread=max(parts.fit.spread, 3.0))
        held_bytes = (parts.fit.held_bytes or 0.0) + 8.0 * n * d + 12.0 * near * cold
        return Stages(
            replace(fit, held_bytes=held_bytes), parts.score + said(cold, True), parts.in_batch + said(cold, False)
        )

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the member's reasons; for a cold item, history that reads like it, and reasons for what lifts it."""
        require_fitted(self, "projection_")
        if not isinstance(self.member, Explains):
            return [() for _ in items]
        if not self.warm_.any():
            return self.member.explain(query, items)
        scores = np.asarray(self.member.score([query]), dtype=np.float32)
        asked = self._asked(scores, [query])
        history = query_matrix([query], self.n_items_).toarray()[0]
        said = np.where(self.warm_, scores[0] - asked.middle[0], 0.0)
        ridge, met, neighbour, alike = self.cold_weights_[:TERMS]
        profile = max(float(np.linalg.norm(history @ self.vectors_)), 1e-12)
        reasons: list[tuple[Reason, ...]] = []
        for item, own in zip(items, self.member.explain(query, items), strict=True):
            if self.warm_[item]:
                reasons.append(own)
                continue
            # The first-order parts of the log worth: what each history item, and each warm item's score, adds to it.
            near = self.neighbours_[[int(np.searchsorted(self.cold_, item))]].toarray()[0]
            read = history * (
                met * near / (history @ near + LEAST_RATE) + alike * (self.vectors_ @ self.vectors_[item]) / profile
            )
            through = said * (self.vectors_[item] @ self.projection_)
            part = said / asked.width[0]
            lift = ridge * through / (max(float(through.sum()), 0.0) + LEAST_PART * asked.width[0])
            lift += neighbour * part * near / (max(float(part @ near), 0.0) + LEAST_RATE)
            size = max(float(np.abs(read).sum() + np.abs(lift).sum()), 1e-12)
            found = [Reason("text", float(read[i] / size), int(i)) for i in _largest(read)]
            lifted = _largest(lift)
            for i, given in zip(lifted, self.member.explain(query, lifted), strict=True):
                found += [replace(reason, share=float(lift[i] / size) * reason.share) for reason in given]
            reasons.append(tuple(sorted(found, key=lambda reason: -reason.share)[:LISTED_REASONS]))
        return reasons

    def _map(self, warm: Mask, cold: np.ndarray[Any, Any]) -> None:
        """Solve the ridge regression from text to anything that warm items have, and find neighbours of ``cold``.

        n d² + d³/3 + 2 n d² FLOPs, and 2 n d for each cold item.
        """
        E = np.where(warm[:, None], self.vectors_, 0).astype(np.float64)
        n, d = E.shape
        factor = linalg.cho_factor(E.T @ E + self.ridge * np.eye(d), lower=True)
        self.projection_ = linalg.cho_solve(factor, E.T).astype(np.float32)
        self.warm_, self.cold_ = warm, cold.astype(np.int32)
        near = np.where(warm, (self.vectors_[cold] @ E.astype(np.float32).T).clip(min=0.0), -1.0)
        items, cosines = top_k(near.astype(np.float32), max(1, min(NEIGHBOURS, int(warm.sum()))))
        weights = np.maximum(cosines, 0.0) ** SHARPNESS
        weights /= weights.sum(axis=1, keepdims=True) + LEAST_WEIGHT
        offsets = np.arange(len(cold) + 1) * items.shape[1]
        self.neighbours_ = sparse.csr_array((weights.ravel(), items.ravel(), offsets), shape=(len(cold), n))
        charge(flops=3.0 * n * d * d + d**3 / 3 + 2.0 * n * d * len(cold))

    def _asked(self, scores: Matrix, queries: Sequence[Query]) -> _Asked:
        """Return what is known of requests, given the member's scores of all items."""
        warm = scores[:, self.warm_]
        middle = np.median(warm, axis=1, keepdims=True).astype(np.float32)
        width = np.maximum(warm.max(axis=1, keepdims=True) - middle, np.float32(1e-12))
        left = np.where(self.warm_, scores, -np.inf)
        for row, query in enumerate(queries):
            left[row, query.history] = -np.inf
        items, best = top_k(left, len(DISCOUNTS))
        lengths = np.array([len(np.unique(query.history)) for query in queries])
        logs = np.log1p(lengths.astype(np.float64)) / 5.0
        tenth = _log_part(best[:, -1:], middle, width)
        known = np.column_stack([logs, 5.0 * logs**2, tenth, np.ones(len(queries))])
        return _Asked(middle, width, tenth, known, items, best)

    def _terms(self, scores: Matrix, queries: Sequence[Query], asked: _Asked) -> tuple[Matrix, Matrix]:
        """Return the predicted scores of cold items ``(n, n_cold)``, and what their worth depends on ``(…, TERMS)``."""
        said = scores - asked.middle
        vectors = self.vectors_[self.cold_]
        predicted = asked.middle + (said @ self.projection_.T) @ vectors.T
        histories = query_matrix(queries, self.n_items_)
        alike = unit_rows(histories @ self.vectors_) @ vectors.T
        met = (self.neighbours_ @ histories.toarray().T).T
        said /= asked.width
        neighbours = (self.neighbours_ @ np.where(self.warm_, said, 0).T).T
        seen = _log_part(predicted, asked.middle, asked.width) - asked.tenth
        terms = [seen, np.log(met + LEAST_RATE), np.log(np.maximum(neighbours, 0.0) + LEAST_RATE), alike]
        d = self.vectors_.shape[1]
        flops = len(scores) * (2.0 * d * (self.n_items_ + 2 * len(vectors)) + 4.0 * self.neighbours_.nnz)
        charge(flops=flops + 2.0 * d * histories.nnz)
        return np.asarray(predicted, dtype=np.float32), np.stack(terms, axis=2).astype(np.float32)

    def _boost(self) -> float:
        """Return the largest addition to the log worth of cold items that costs at most ``warm_loss``."""
        boosts, losses = self.trade_
        last = max(int(np.searchsorted(losses, self.warm_loss, side="right")) - 1, 0)
        if last == len(losses) - 1:
            return float(boosts[last])
        part = (self.warm_loss - losses[last]) / (losses[last + 1] - losses[last])
        return float(boosts[last] + part * (boosts[last + 1] - boosts[last]))

    def _rows(self, n_items: float, n_cold: float) -> int:
        """Return how many requests of the rehearsal are scored at once."""
        return max(1, int(BLOCK_BYTES // (16 * (n_items + TERMS * n_cold))))

    def _rehearse(self, dataset: Dataset, warm: Mask, described: Mask) -> None:
        """Learn what places are worth, and how far cold items may rise, from items whose events are taken away."""
        rng = np.random.default_rng(self.seed)
        eligible = np.flatnonzero(warm & described)
        wanted = np.clip((described & ~warm).sum(), self.launched * len(eligible), 3 * self.launched * len(eligible))
        launched = np.zeros(self.n_items_, dtype=bool)
        launched[rng.permutation(eligible)[: max(1, int(wanted))]] = True
        events = dataset.interactions
        new = launched[events.item]
        held = (rng.random(len(events)) < self.launched) & ~new
        earlier = dataset.with_interactions(events.take(~held & ~new))
        # Only what nobody has met any more is compared; items that lost their last event by lot are left out.
        self._map(earlier.interactions.popularity > 0, np.flatnonzero(launched))
        relevant = np.where(new | (held & self.warm_[events.item]))[0]
        users = np.unique(events.user[relevant])
        users = users[np.diff(earlier.interactions.offsets)[users] > 0]
        users = np.sort(rng.permutation(users)[: self.max_users])
        if not len(users):
            return
        self.member.fit(earlier)
        rows = self._rows(self.n_items_, len(self.cold_))
        blocks = [users[start : start + rows] for start in range(0, len(users), rows)]
        seen = [self._seen(earlier, block, events.take(relevant)) for block in blocks]
        warm_side, cold_side = (Side.joined([pair[side] for pair in seen]) for side in (0, 1))
        knots = knots_of(warm_side.terms[warm_side.there])
        warm_side = replace(warm_side, terms=segments(warm_side.terms[:, :, 0], knots))
        learned = [warm_side.regression(LEAST_SLOPE), cold_side.regression(0.0)]
        if learned[0] is None or learned[1] is None:
            return
        cold_side = cold_side.best(learned[1])
        again = cold_side.regression(0.0)
        self.knots_, self.warm_weights_ = knots, learned[0]
        self.cold_weights_ = learned[1] if again is None else again
        self.trade_ = trade(
            warm_side, warm_side.worth(self.warm_weights_), cold_side, cold_side.worth(self.cold_weights_)
        )

    def _seen(self, earlier: Dataset, users: np.ndarray[Any, Any], later: Interactions) -> tuple[Side, Side]:
        """Return what ``users`` chose ``later`` of their ten best warm items, and of the likeliest cold ones."""
        queries = [earlier.query(int(user)) for user in users]
        truth = np.zeros((len(users), self.n_items_), dtype=bool)
        at = np.searchsorted(users, later.user).clip(max=len(users) - 1)
        mine = users[at] == later.user
        truth[at[mine], later.item[mine]] = True
        for row, query in enumerate(queries):
            truth[row, query.history] = False
        scores = np.asarray(self.member.score(queries), dtype=np.float32)
        asked = self._asked(scores, queries)
        found = np.isfinite(asked.best)
        chosen = np.take_along_axis(truth, np.maximum(asked.items, 0), axis=1) & found
        parts = _log_part(np.where(found, asked.best, asked.middle), asked.middle, asked.width)
        known = np.delete(asked.known, 2, axis=1)
        warm_side = Side(parts[:, :, None], known, chosen, found, ideal_gain(truth & self.warm_))
        _, terms = self._terms(scores, queries, asked)
        hits = truth[:, self.cold_]
        ranks = np.argsort(np.argsort(-terms, axis=1), axis=1).min(axis=2)
        order, _ = top_k(-ranks.astype(np.float32), DEPTH)
        terms = np.take_along_axis(terms, order[:, :, None], axis=1)
        chosen = np.take_along_axis(hits, order, axis=1)
        return warm_side, Side(terms, asked.known, chosen, np.ones_like(chosen), ideal_gain(hits))


@dataclass(frozen=True)
class _Asked:
    """Requests: the median of their warm scores, how far the largest lies above it, and their ten best warm items.

    ``known`` ``(n, 4)`` is what the worth of cold items takes from the user: two of the history's length, the logarithm
    of the tenth best score (``tenth``), and 1.
    """

    middle: Matrix
    width: Matrix
    tenth: Matrix
    known: FloatArray
    items: IntArray
    best: Matrix

    def worth(self, scores: Matrix, knots: FloatArray, weights: FloatArray) -> FloatArray:
        """Return the logarithm of what warm items of these scores are worth, by the curve and ``weights`` learned."""
        parts = segments(_log_part(scores, self.middle, self.width), knots) @ weights[: len(knots) + 1]
        return np.asarray(parts + self._habits(knots, weights))

    def scores(self, worth: FloatArray, knots: FloatArray, weights: FloatArray) -> Matrix:
        """Return the scores at which warm items are worth as much."""
        slopes = weights[: len(knots) + 1]
        logs = follow_back(worth - self._habits(knots, weights), knots, slopes)
        return np.asarray(self.middle + np.exp(logs.clip(-60.0, 60.0)) - LEAST_PART * self.width, dtype=np.float32)

    def _habits(self, knots: FloatArray, weights: FloatArray) -> FloatArray:
        return np.asarray((np.delete(self.known, 2, axis=1) @ weights[len(knots) + 1 :])[:, None])


def _log_part(scores: np.ndarray[Any, Any], middle: Matrix, width: Matrix) -> Any:
    """Return the logarithm of how far scores lie above the median, a small part of the range added."""
    return np.log(np.maximum(scores - middle, 0.0) + LEAST_PART * width)


def _largest(terms: FloatArray) -> IntArray:
    """Return where the largest terms above 0 are, at most as many as an explanation lists."""
    largest = np.argsort(-terms, kind="stable")[:LISTED_REASONS].astype(np.int32)
    return largest[terms[largest] > 0]


__all__ = ["TextMapping"]
