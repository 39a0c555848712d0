"""Rankings put into a new order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from frugalrec.data.dataset import Ranking
from frugalrec.data.interactions import FloatArray


def reordered(ranking: Ranking, values: FloatArray) -> Ranking:
    """Return ``ranking`` with its first ``len(values)`` items by ``values``, best first; equal ones keep their order.

    ``values`` are in deviations of the old scores. New scores are in the units of the old, and start one deviation
    above the best old one, so that every item that was looked at ranks above all others.
    """
    depth = len(values)
    order = np.argsort(-values, kind="stable")
    retrieved = np.asarray(ranking.scores, dtype=np.float64)
    unit = float(retrieved[:depth].std()) or 1.0
    lifted = retrieved[0] + unit * (1.0 + values[order] - values.min())
    reasons = ranking.reasons
    return replace(
        ranking,
        items=np.concatenate([ranking.items[:depth][order], ranking.items[depth:]]),
        scores=np.concatenate([lifted, retrieved[depth:]]),
        reasons=None if reasons is None else tuple(reasons[i] for i in order) + reasons[depth:],
    )


def standard(values: FloatArray) -> FloatArray:
    """Return z-scores; values that are all the same say nothing and become 0."""
    centred: FloatArray = np.asarray(values, dtype=np.float64) - np.mean(values)
    spread = centred.std()
    return centred / spread if spread > 1e-12 * max(1.0, float(np.abs(values).max())) else np.zeros_like(centred)
