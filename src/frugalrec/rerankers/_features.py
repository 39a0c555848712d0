"""What can be said of a request and its candidates without a language model."""

from __future__ import annotations

import numpy as np

from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset, Ranking
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.rerankers._order import standard

NEWEST = 0.1
"""The share of all events that counts as recent."""


def item_facts(dataset: Dataset) -> FloatArray:
    """Return float64 ``(n_items, 2)``: log(1 + events), and how that grew lately: log-share of the newest tenth."""
    log = dataset.interactions
    order = np.arange(len(log)) if log.timestamp is None else np.argsort(log.timestamp, kind="stable")
    newest = log.item[order[int(len(log) * (1 - NEWEST)) :]]
    recent = np.bincount(newest, minlength=dataset.n_items)
    grown = np.log((1.0 + recent) / (1.0 + NEWEST * log.popularity))
    charge(flops=4.0 * dataset.n_items)
    return np.stack([np.log1p(log.popularity), grown], axis=1)


def item_vectors(dataset: Dataset, encoder: TextEncoder | None, dimension: int = 0) -> Matrix:
    """Return centred text vectors, float32 ``(n_items, dim)``, of unit norm; no columns without an encoder.

    ``dimension`` keeps so many principal axes, scaled so that a vector's mean squared norm is ``dimension``.
    """
    if encoder is None:
        return np.zeros((dataset.n_items, 0), dtype=np.float32)
    vectors = encoder.encode(dataset.catalog.texts(), role="item")
    known = np.linalg.norm(vectors, axis=1, keepdims=True) > 0
    centred = np.where(known, vectors - vectors.sum(axis=0) / max(1, int(known.sum())), 0.0)
    if dimension:
        _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        centred = centred @ axes[:, ::-1][:, :dimension]
        charge(flops=2.0 * centred.shape[0] * vectors.shape[1] * (vectors.shape[1] + centred.shape[1]))
        scale = np.sqrt(centred.shape[1] / max(float(np.square(centred).sum(axis=1).mean()), 1e-12))
        return np.asarray(centred * scale, dtype=np.float32)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(norms, 1e-12), dtype=np.float32)


def profile(history: IntArray, vectors: Matrix, half_life: float) -> FloatArray:
    """Return ``(dim,)``: the mean vector of ``history``, where items halve in weight every ``half_life``."""
    if not len(history):
        return np.zeros(vectors.shape[1])
    weights = np.exp2(-np.arange(len(history))[::-1] / half_life)
    charge(flops=2.0 * len(history) * vectors.shape[1])
    return np.asarray(weights @ vectors[history] / weights.sum(), dtype=np.float64)


def places_and_scores(ranking: Ranking, depth: int) -> FloatArray:
    """Return float64 ``(candidates, 2)``: the retrieval score within its list, and the discount of its place."""
    scores = standard(ranking.scores[:depth])
    return np.stack([scores, 1.0 / np.log2(2.0 + np.arange(len(scores)))], axis=1)


__all__ = ["NEWEST", "item_facts", "item_vectors", "places_and_scores", "profile"]
