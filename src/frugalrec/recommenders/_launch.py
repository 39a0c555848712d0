"""What items of a rehearsed launch were worth: the regression behind `TextMapping`, and what places cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import minimize

from frugalrec.cost import charge
from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import Matrix

Mask = np.ndarray[Any, np.dtype[np.bool_]]
STEPS = 401
"""How many additions to the worth of cold items are tried."""
KNOTS = (0.05, 0.2, 0.5, 0.8, 0.95)
"""Quantiles of the listed scores at which the slope of a warm item's log worth changes."""
DISCOUNTS = 1.0 / np.log2(np.arange(2, 12))


@dataclass(frozen=True)
class Side:
    """Listed items of the users of a rehearsal, and which of them were ``chosen``.

    ``terms`` is ``(n, depth, t)``, what is ``known`` of the user ``(n, u)``, ending in 1, ``chosen`` and ``there``
    ``(n, depth)``. ``ideal`` ``(n,)`` is the DCG@10 of a perfect list, 0 where there was nothing to find.
    """

    terms: Matrix
    known: FloatArray
    chosen: Mask
    there: Mask
    ideal: FloatArray

    @classmethod
    def joined(cls, parts: Sequence[Side]) -> Side:
        """Return the users of all ``parts``."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def worth(self, weights: FloatArray) -> FloatArray:
        """Return the logarithm of what each item is worth, -inf where there is none."""
        t = self.terms.shape[2]
        return np.where(self.there, self.terms @ weights[:t] + (self.known @ weights[t:])[:, None], -np.inf)

    def best(self, weights: FloatArray) -> Side:
        """Return each user's ten most worth."""
        order = np.argsort(-self.worth(weights), axis=1, kind="stable")[:, : len(DISCOUNTS)]
        terms = np.take_along_axis(self.terms, order[:, :, None], axis=1)
        chosen, there = (np.take_along_axis(which, order, axis=1) for which in (self.chosen, self.there))
        return Side(terms, self.known, chosen, there, self.ideal)

    def regression(self, least: float) -> FloatArray | None:
        """Return weights of terms, at least ``least``, and of what is known of users; None where nothing was chosen.

        Poisson regression of each item's part of the user's NDCG (1 / ideal where chosen), its logarithm linear.
        """
        rows = np.flatnonzero(self.ideal > 0)
        there = self.there[rows]
        worth = (self.chosen[rows] / self.ideal[rows, None])[there]
        if not worth.any():
            return None
        known = np.repeat(self.known[rows], there.sum(axis=1), axis=0)
        features = np.column_stack([self.terms[rows][there].astype(np.float64), known])
        spread = np.where(features.std(axis=0) > 1e-9, features.std(axis=0), 1.0)
        shift = np.append(features.mean(axis=0)[:-1], 0.0)  # the last one is the constant
        features = (features - shift) / spread
        mean = worth.mean()
        target = features.T @ (worth / mean) / len(worth)
        penalty = np.append(np.full(features.shape[1] - 1, 1e-3), 0.0)

        def loss(weights: FloatArray) -> tuple[float, FloatArray]:
            expected = np.exp(np.minimum(features @ weights, 30.0))
            charge(flops=4.0 * features.size)
            value = float(expected.mean() - target @ weights + 0.5 * penalty @ weights**2)
            return value, features.T @ expected / len(expected) - target + penalty * weights

        t = self.terms.shape[2]
        bounds = [(least * scale, None) for scale in spread[:t]] + [(None, None)] * (features.shape[1] - t)
        start = np.array([0.1 if i < t else 0.0 for i in range(features.shape[1])])
        weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200}).x / spread
        weights[-1] += np.log(mean) - shift @ weights
        return np.asarray(weights)


def trade(warm: Side, warm_worth: FloatArray, cold: Side, cold_worth: FloatArray) -> FloatArray:
    """Return additions to the log worth of cold items, and the share of warm NDCG@10 each costs, ``(2, STEPS)``.

    Warm items are in the order of their lists; of cold ones at most ten a user are given.
    """
    size = len(DISCOUNTS)
    order = np.argsort(-cold_worth, axis=1, kind="stable")
    cold_worth = np.take_along_axis(cold_worth, order, axis=1)
    is_warm = np.arange(warm_worth.shape[1] + cold_worth.shape[1]) < warm_worth.shape[1]
    chosen = np.hstack([warm.chosen, np.zeros(cold_worth.shape, dtype=bool)])
    scale = np.divide(1.0, warm.ideal, out=np.zeros(len(chosen)), where=warm.ideal > 0)
    finite = np.concatenate([worth[np.isfinite(worth)] for worth in (warm_worth, cold_worth)])
    boosts = np.linspace(-1.0, 1.0, STEPS) * (float(np.ptp(finite)) + 1.0)
    reached = np.empty(STEPS)
    for step, boost in enumerate(boosts):
        places = np.argsort(-np.hstack([warm_worth, cold_worth + boost]), axis=1, kind="stable")[:, :size]
        hits = np.take_along_axis(chosen, places, axis=1) & is_warm[places]
        reached[step] = scale @ (hits @ DISCOUNTS[: places.shape[1]])
    return np.stack([boosts, np.maximum.accumulate(1.0 - reached / max(float(reached[0]), 1e-12))])


def knots_of(values: np.ndarray[Any, Any]) -> FloatArray:
    """Return the quantiles of ``values`` at which a curve bends, no two equal."""
    found = np.quantile(values.astype(np.float64), KNOTS)
    return np.asarray(found + 1e-6 * max(float(np.abs(found).max()), 1.0) * np.arange(len(found)))


def segments(values: np.ndarray[Any, Any], knots: FloatArray) -> FloatArray:
    """Return how far ``values`` go in each stretch between ``knots``; the parts of ``(…, len(knots) + 1)`` add up."""
    inside = [np.clip(values - low, 0.0, high - low) for low, high in pairwise(knots)]
    ends = np.minimum(values, knots[0]), np.maximum(values - knots[-1], 0.0)
    return np.stack([ends[0], *inside, ends[1]], axis=-1)


def follow_back(heights: FloatArray, knots: FloatArray, slopes: FloatArray) -> FloatArray:
    """Return the values whose `segments`, times ``slopes`` above 0, add up to ``heights``."""
    bends = segments(knots, knots) @ slopes
    inside = np.interp(heights, bends, knots)
    below = np.minimum(heights - bends[0], 0.0) / slopes[0]
    return np.asarray(inside + below + np.maximum(heights - bends[-1], 0.0) / slopes[-1])


def ideal_gain(truth: Mask) -> FloatArray:
    best = np.concatenate([[0.0], np.cumsum(DISCOUNTS)])
    return np.asarray(best[np.minimum(truth.sum(axis=1), len(DISCOUNTS))])


__all__ = ["DISCOUNTS", "KNOTS", "Mask", "Side", "follow_back", "ideal_gain", "knots_of", "segments", "trade"]
