"""What recommenders made of other recommenders share: scores made comparable, summed, and cold items placed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Query, Reason
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.interfaces import Explains, Matrix, Recommender
from frugalrec.recommenders._base import BLOCK_BYTES, LISTED_REASONS, Scores, mask_scores, reads_words, require_fitted

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Fused(Scores):
    """Base of weighted sums of members' scores; ``fit`` must set ``n_items_`` and ``warm_`` (items with events).

    A member without weight is not asked. Cold items are placed by the members that score them, where those have weight.
    """

    members: tuple[Recommender, ...]
    warm_: Mask

    @abstractmethod
    def _weights(self) -> tuple[float, ...]:
        """Return one weight a member."""

    @property
    def reads_words(self) -> bool:  # type: ignore[override]
        """Whether a member reads a request's words."""
        return any(reads_words(member) for member in self.members)

    def _comparable(self, member: int, scores: Matrix, reference: Mask) -> Matrix:
        """Return the scores of the member at that place on the scale that all members share."""
        return standardised(scores, reference)

    def score(self, queries: Sequence[Query]) -> Matrix:
        """Return float32 ``(n_queries, n_items)``: the members' fused scores."""
        require_fitted(self, "warm_")
        weighted = [
            (row, member, weight)
            for row, (member, weight) in enumerate(zip(self.members, self._weights(), strict=True))
            if weight > 0
        ]
        placing = sum(scores_cold_items(member) for _, member, _ in weighted)
        fused = np.empty((len(queries), self.n_items_), dtype=np.float32)
        # About ten arrays of this shape are alive at once.
        rows = max(1, BLOCK_BYTES // (40 * max(1, self.n_items_)))
        for start in range(0, len(queries), rows):
            block = queries[start : start + rows]
            warm, cold, reference = self._masks(block)
            place = np.zeros(warm.shape, dtype=np.float32)
            total = np.zeros(warm.shape, dtype=np.float32)
            for row, member, weight in weighted:
                scores = member.score(block)
                total += weight * self._comparable(row, scores, reference)
                charge(flops=2.0 * scores.size)
                if not scores_cold_items(member) or not cold.any():
                    continue
                if placing == 1:
                    place = scores  # nothing is added to it, so that its scale does not matter
                else:
                    place += weight * standardised(scores, reference)
                    charge(flops=2.0 * scores.size)
            if placing and cold.any():
                _insert(total, place, warm, cold)
            fused[start : start + rows] = total
        return fused

    def explain(self, query: Query, items: IntArray) -> list[tuple[Reason, ...]]:
        """Return the members' reasons, each weighed by its member's part of the fused score; the same one is one."""
        require_fitted(self, "warm_")
        _, _, reference = self._masks([query])
        parts = np.zeros((len(self.members), len(items)))
        for row, (member, weight) in enumerate(zip(self.members, self._weights(), strict=True)):
            parts[row] = weight * self._comparable(row, member.score([query]), reference)[0, items]
            if not scores_cold_items(member):
                parts[row, ~self.warm_[items]] = 0.0
        sizes = np.abs(parts).sum(axis=0)
        shares = np.divide(parts, sizes, out=np.zeros_like(parts), where=sizes > 0)
        reasons: list[dict[Reason, float]] = [{} for _ in items]
        for member, share in zip(self.members, shares, strict=True):
            if isinstance(member, Explains):
                for found, part, given in zip(reasons, share, member.explain(query, items), strict=True):
                    for reason in given:
                        same = replace(reason, share=0.0)
                        found[same] = found.get(same, 0.0) + float(part) * reason.share
        whole = [[replace(reason, share=share) for reason, share in found.items()] for found in reasons]
        return [tuple(sorted(found, key=lambda reason: -reason.share)[:LISTED_REASONS]) for found in whole]

    def _masks(self, queries: Sequence[Query]) -> tuple[Mask, Mask, Mask]:
        """Return which warm and which cold items may be recommended, and the warm ones to compare members on.

        Where no warm item may be, the cold ones are compared among themselves and none is left to place.
        """
        allowed = np.isfinite(mask_scores(np.zeros((len(queries), self.n_items_), dtype=np.float32), queries))
        warm, cold = allowed & self.warm_, allowed & ~self.warm_
        known = warm.any(axis=1, keepdims=True)
        return warm, cold & known, np.where(known, warm, allowed)


def scores_cold_items(member: Recommender) -> bool:
    return bool(getattr(member, "scores_cold_items", False))


def standardised(scores: Matrix, reference: Mask) -> Matrix:
    """Return ``scores`` with mean 0 and deviation 1 over each row's ``reference`` items; constant rows become zeros."""
    mean = _means(scores, reference).astype(np.float32)
    deviation = deviations(scores, reference)[:, None]
    charge(flops=2.0 * scores.size)
    varied = deviation > 0
    return np.where(varied, (scores - mean) / np.where(varied, deviation, 1.0), 0.0).astype(np.float32)


def deviations(scores: Matrix, reference: Mask) -> FloatArray:
    """Return the deviation of each row over its ``reference`` items, float64 ``(n,)``; 0 for constant rows."""
    n = np.maximum(np.count_nonzero(reference, axis=1), 1)
    mean = _means(scores, reference)
    centred = scores - mean.astype(np.float32)
    deviation = np.sqrt(np.sum(np.square(centred), axis=1, dtype=np.float64, where=reference) / n)
    charge(flops=4.0 * scores.size)
    # Scores closer together than float32 can tell are constant, whatever their rounding errors say.
    return np.where(deviation > 1e-6 * np.abs(mean[:, 0]), deviation, 0.0)


def _means(scores: Matrix, reference: Mask) -> FloatArray:
    n = np.maximum(np.count_nonzero(reference, axis=1, keepdims=True), 1)
    return np.asarray(np.sum(scores, axis=1, keepdims=True, dtype=np.float64, where=reference) / n)


def _insert(fused: Matrix, place: Matrix, warm: Mask, cold: Mask) -> None:
    """Give each cold item, in place, the fused score found where ``place`` puts it among the warm ones."""
    counts = np.count_nonzero(warm, axis=1)
    last = np.float32(np.inf)
    rungs, ladders = np.sort(np.where(warm, place, last), axis=1), np.sort(np.where(warm, fused, last), axis=1)
    for row in np.flatnonzero(cold.any(axis=1)):
        rung, ladder = rungs[row, : counts[row]], ladders[row, : counts[row]]
        items = np.flatnonzero(cold[row])
        own = place[row, items]
        order = np.argsort(own)  # neighbours are looked for side by side
        items, own = items[order], own[order]
        below = (np.searchsorted(rung, own, side="left") + np.searchsorted(rung, own, side="right")) / 2
        at = np.clip(below - 0.5, 0.0, len(ladder) - 1)
        under = at.astype(np.intp)
        over = np.minimum(under + 1, len(ladder) - 1)
        scale = ladder.std() / rung.std() if rung[0] < rung[-1] else 0.0
        beyond = scale * np.maximum(own - rung[-1], 0.0)
        fused[row, items] = ladder[under] + (at - under) * (ladder[over] - ladder[under]) + beyond


__all__ = ["Fused", "Mask", "deviations", "scores_cold_items", "standardised"]
