"""Cost formulas of what rerankers do in a fit: practise on held-out requests, and read what is told of items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from frugalrec.data.shape import DataShape, Histogram
from frugalrec.interfaces import Expects
from frugalrec.rerankers._features import ALIKE, REMEMBERED
from frugalrec.work import Expected, Stages, Work, ranking

FOUND = 0.3
"""The share of practice lists that hold the answer: from .12 (MovieLens-100K, `Popularity`) to .8 (the toy data)."""

UNKNOWN_FOUND = 3.0
"""How far that may be off, which the shape of the data does not tell."""

BLOCK_BYTES = 256.0 * 2**20
"""Recommenders score so much at once."""

WORD_CHARACTERS = 7.7
"""A word that tells is so many characters of a text (titles and genres of MovieLens: 7.7; the toy data: 5.8)."""

COUNTER_BYTES, WORD_BYTES = 330.0, 100.0
"""What a text's counted words take before they are a table, and each of them: 1.2 MB for MovieLens-100K."""

LIST_BYTES = 1500.0
"""A query and its ranking, beside the items in it."""


@dataclass(frozen=True)
class Practised:
    """What `practise` takes: ``lists`` of about ``length`` candidates for a mean ``history``, fitted on ``earlier``."""

    took: Expected
    lists: float
    length: float
    history: float
    earlier: DataShape


def stages_of(component: Any, shape: DataShape) -> Stages:
    """Return what a component says it takes; nothing is known where it does not say."""
    return component.expected(shape) if isinstance(component, Expects) else Stages()


def width_of(encoder: Any) -> int | None:
    """Return the dimension of an encoder's vectors; 0 without an encoder, None where it does not say."""
    dim = 0 if encoder is None else getattr(encoder, "dim", None)
    return dim if isinstance(dim, int) else None


def expected_practice(shape: DataShape, retriever: Any, depth: int, *, requests: int, tail: int = 1) -> Practised:
    """Return what `practise` takes: the retriever's fit on what is left, and its lists for what is held out."""
    lengths, counts = shape.lengths
    held = float(np.minimum(tail, np.maximum(lengths - 1.0, 0.0)) @ counts)
    taken = min(held, float(requests))
    earlier = _without_newest(shape, tail, taken / held if held else 0.0, taken)
    # What the user had met before is no request.
    new = shape.n_chosen / shape.n_events if shape.n_events else 0.0
    lists = taken * new
    parts = stages_of(retriever, earlier)
    asked = (parts.in_batch + ranking("rank", shape.items)).times(lists)
    scored = 10.0 * shape.items * min(lists, max(1.0, BLOCK_BYTES / (10.0 * max(shape.items, 1.0))))
    asked = replace(asked, peak_bytes=None if asked.peak_bytes is None else max(asked.peak_bytes, scored))
    took = parts.fit + asked
    # The log without them, and the lists: the retriever itself is not kept.
    kept = 20.0 * earlier.n_events + lists * (LIST_BYTES + 12.0 * depth)
    if took.peak_bytes is not None:
        took = replace(took, peak_bytes=took.peak_bytes + kept)
    history = max(0.0, shape.mean_history - (min(float(tail), shape.mean_history - 1.0) + 1.0) / 2.0)
    length = min(float(depth), max(shape.items - new * history, 0.0))
    return Practised(replace(took, held_bytes=kept), lists, length, history, earlier)


def expected_features(history: float, length: float, half_life: float, width: float, profiled: float = 0.0) -> Expected:
    """Return what the features of one list take: `likeness`, and `profile` on ``profiled`` axes."""
    recent = min(history, round(REMEMBERED * half_life))
    flops = 2.0 * length * recent * (width + 2) + 2.0 * history * profiled
    return Expected((Work("query", 1.0),), flops, 0.0, 0.0, 8.0 * length * (ALIKE + 4), 0.0)


def expected_item_texts(shape: DataShape, width: float, *, words: bool = True) -> Expected:
    """Return what `item_vectors`, `item_facts` and `item_words` take, encoding aside: that is a stage of its own."""
    n = shape.items
    texts = shape.texts or ("",)
    characters = shape.n_texts * sum(map(len, texts)) / len(texts) if words else 0.0
    cells = characters / WORD_CHARACTERS
    work = (Work("words", characters), Work("stream", 24.0 * n * width, 4.0 * n * width), Work("stream", 60.0 * n))
    held = 4.0 * n * width + 16.0 * n + 8.0 * cells
    counting = COUNTER_BYTES * n + WORD_BYTES * cells if words else 0.0
    peak = max(12.0 * n * width, 4.0 * n * width + counting) + 16.0 * shape.n_events
    return Expected(work, 4.0 * n, 0.0, 0.0, peak, held)


def _without_newest(shape: DataShape, tail: int, share: float, taken: float) -> DataShape:
    """Return the shape without the ``tail`` newest events of a ``share`` of the users, ``taken`` in all."""
    left = 1.0 - taken / shape.n_events if shape.n_events else 1.0
    values, counts = shape.popularity
    return replace(
        shape,
        lengths=_shortened(shape.lengths, tail, share),
        distinct=_shortened(shape.distinct, tail, share),
        popularity=(values * left, counts),
        repeat=shape.repeat * left,
        exact=False,
    )


def _shortened(histogram: Histogram, tail: int, share: float) -> Histogram:
    values, counts = histogram
    fewer = values - np.minimum(tail, np.maximum(values - 1.0, 0.0))
    found, places = np.unique(np.concatenate([fewer, values]), return_inverse=True)
    users = np.bincount(places, np.concatenate([share * counts, (1.0 - share) * counts]), minlength=len(found))
    return found.astype(np.float64), users.astype(np.float64)


__all__ = [
    "FOUND",
    "UNKNOWN_FOUND",
    "Practised",
    "expected_features",
    "expected_item_texts",
    "expected_practice",
    "stages_of",
    "width_of",
]
