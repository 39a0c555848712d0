"""Several recommenders as one, their scores made comparable first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Query, Reason
from frugalrec.data.interactions import IntArray
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Explains, Matrix, Recommender
from frugalrec.recommenders._base import BLOCK_BYTES, LISTED_REASONS, Scores, mask_scores, require_fitted

RANK_OFFSET = 60.0
"""What reciprocal-rank fusion adds to a rank, so that the first few do not decide alone."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass
class Hybrid(Scores):
    """Recommends by a weighted sum of its members' scores, made comparable for each query first.

    Choose it to join what users chose (collaborative members) with what items are (text members). ``z-score`` gives
    each member mean 0 and deviation 1 over the items that may be recommended; a member that scores them all alike adds
    nothing. ``reciprocal-rank`` sums 1 / (60 + rank), equal scores sharing their average rank: coarser, and safe with
    members whose scores are wild. ``weights`` default to 1; members beyond the last weight take that one.

    Items without training events (cold ones) cannot be compared directly: collaborative members score them at their
    floor, which would drown what the text says. So the members that can score them (``scores_cold_items``) place each
    cold item among the warm ones, and it gets the fused score of that place: better than a tenth of the warm items by
    text alone means better than a tenth of them in the end. Beyond the best warm item, the distance is kept, in warm
    deviations. Warm items keep their order, so the accuracy among them stays that of the fusion.

    Time: the members', and O(items) a query (O(items log items) for ranks or cold items). Memory: the members', and
    blocks of scores. FLOPs a query beside the members': per item and member 8 for ``z-score`` and 5 for
    ``reciprocal-rank`` (comparisons are not counted), and 8 more for members that place cold items. Paper: Cormack,
    Clarke & Buettcher 2009.

    >>> from frugalrec.recommenders.content import Content
    >>> from frugalrec.recommenders.item_knn import ItemKnn
    >>> from frugalrec.testing.data import checkerboard
    >>> from frugalrec.testing.encoders import HashEncoder
    >>> data = checkerboard(8)
    >>> hybrid = Hybrid((ItemKnn(), Content(HashEncoder())), weights=(1.0, 0.5)).fit(data)
    >>> hybrid.recommend([data.query(5)], k=1)[0].items.tolist()
    [5]
    """

    members: tuple[Recommender, ...]
    weights: tuple[float, ...] = field(
        default=(1.0,), metadata={"tune": ((1.0, 0.1), (1.0, 0.3), (1.0, 1.0)), "stage": "score"}
    )
    method: Literal["z-score", "reciprocal-rank"] = field(
        default="z-score", metadata={"tune": ("z-score", "reciprocal-rank"), "stage": "score"}
    )
    n_items_: int = field(init=False, repr=False, compare=False)
    warm_: Mask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise `ConfigError` for fewer than two members, more weights than members, or a weight below 0."""
        if len(self.members) < 2:
            raise ConfigError(f"a hybrid needs at least two members, not {len(self.members)}")
        if not 0 < len(self.weights) <= len(self.members):
            raise ConfigError(f"a hybrid of {len(self.members)} members got {len(self.weights)} weights")
        if min(self.weights) < 0:
            raise ConfigError(f"weights of a hybrid must be at least 0, not {min(self.weights)}")
        self.scores_cold_items = any(_scores_cold_items(member) for member in self.members)

    def fit(self, dataset: Dataset) -> Self:
        """Fit every member."""
        for member in self.members:
            member.fit(dataset)
        self.warm_ = dataset.interactions.popularity > 0
        self.n_items_ = dataset.n_items
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: the members' fused scores."""
        require_fitted(self, "warm_")
        fused = np.empty((len(queries), self.n_items_), dtype=np.float32)
        # About ten arrays of this shape are alive at once.
        rows = max(1, BLOCK_BYTES // (40 * max(1, self.n_items_)))
        for start in range(0, len(queries), rows):
            block = queries[start : start + rows]
            warm, cold, reference = self._masks(block)
            place = np.zeros(warm.shape, dtype=np.float32)
            total = np.zeros(warm.shape, dtype=np.float32)
            for member, weight in zip(self.members, self._weights(), strict=True):
                scores = member.score(block)
                total += weight * self._comparable(scores, reference)
                charge(flops=2.0 * scores.size)
                if _scores_cold_items(member) and cold.any():
                    place += weight * _standardised(scores, reference)
                    charge(flops=2.0 * scores.size)
            if self.scores_cold_items and cold.any():
                _insert(total, place, warm, cold)
            fused[start : start + rows] = total
        return fused

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the members' reasons, each weighed by its member's part of the fused score."""
        require_fitted(self, "warm_")
        _, _, reference = self._masks([query])
        parts = np.zeros((len(self.members), len(items)))
        for row, (member, weight) in enumerate(zip(self.members, self._weights(), strict=True)):
            parts[row] = weight * self._comparable(member.score([query]), reference)[0, items]
            if not _scores_cold_items(member):
                parts[row, ~self.warm_[items]] = 0.0
        sizes = np.abs(parts).sum(axis=0)
        shares = np.divide(parts, sizes, out=np.zeros_like(parts), where=sizes > 0)
        reasons: list[list[Reason]] = [[] for _ in items]
        for member, share in zip(self.members, shares, strict=True):
            if isinstance(member, Explains):
                for found, part, given in zip(reasons, share, member.explain(query, items), strict=True):
                    found.extend(replace(reason, share=float(part) * reason.share) for reason in given)
        return [tuple(sorted(found, key=lambda reason: -reason.share)[:LISTED_REASONS]) for found in reasons]

    def _weights(self) -> tuple[float, ...]:
        return self.weights + self.weights[-1:] * (len(self.members) - len(self.weights))

    def _masks(self, queries: Sequence[Query]) -> tuple[Mask, Mask, Mask]:
        """Return which warm and which cold items may be recommended, and the warm ones to compare members on.

        Where no warm item may be, the cold ones are compared among themselves and none is left to place.
        """
        allowed = np.isfinite(mask_scores(np.zeros((len(queries), self.n_items_), dtype=np.float32), queries))
        warm, cold = allowed & self.warm_, allowed & ~self.warm_
        known = warm.any(axis=1, keepdims=True)
        return warm, cold & known, np.where(known, warm, allowed)

    def _comparable(self, scores: Matrix, reference: Mask) -> Matrix:
        return _standardised(scores, reference) if self.method == "z-score" else _reciprocal_ranks(scores, reference)


def _scores_cold_items(member: Recommender) -> bool:
    return bool(getattr(member, "scores_cold_items", False))


def _standardised(scores: Matrix, reference: Mask) -> Matrix:
    """Return ``scores`` with mean 0 and deviation 1 over each row's ``reference`` items; constant rows become zeros."""
    n = np.maximum(np.count_nonzero(reference, axis=1, keepdims=True), 1)
    mean = np.sum(scores, axis=1, keepdims=True, dtype=np.float64, where=reference) / n
    centred = scores - mean.astype(np.float32)
    deviation = np.sqrt(np.sum(np.square(centred), axis=1, keepdims=True, dtype=np.float64, where=reference) / n)
    # Scores closer together than float32 can tell are constant, whatever their rounding errors say.
    varied = deviation > 1e-6 * np.abs(mean)
    charge(flops=6.0 * scores.size)
    return np.where(varied, centred / np.where(varied, deviation, 1.0), 0.0).astype(np.float32)


def _reciprocal_ranks(scores: Matrix, reference: Mask) -> Matrix:
    """Return 1 / (60 + rank) among each row's ``reference`` items; all others rank last together."""
    fused = np.empty(scores.shape, dtype=np.float32)
    for row, ranked in enumerate(np.where(reference, scores, -np.inf)):
        order = np.argsort(-ranked)
        found = ranked[order]
        starts = np.flatnonzero(np.concatenate([[True], found[1:] != found[:-1]]))
        stops = np.append(starts[1:], len(found))
        fused[row, order] = np.repeat(1.0 / (RANK_OFFSET + (starts + stops + 1) / 2), stops - starts)
    charge(flops=3.0 * scores.size)
    return fused


def _insert(fused: Matrix, place: Matrix, warm: Mask, cold: Mask) -> None:
    """Give each cold item, in place, the fused score found where ``place`` puts it among the warm ones."""
    for row in np.flatnonzero(cold.any(axis=1)):
        rungs, ladder = np.sort(place[row, warm[row]]), np.sort(fused[row, warm[row]])
        own = place[row, cold[row]]
        below = (np.searchsorted(rungs, own, side="left") + np.searchsorted(rungs, own, side="right")) / 2
        scale = ladder.std() / rungs.std() if rungs[0] < rungs[-1] else 0.0
        beyond = scale * np.maximum(own - rungs[-1], 0.0)
        fused[row, cold[row]] = np.interp(below - 0.5, np.arange(len(ladder)), ladder) + beyond


__all__ = ["Hybrid"]
