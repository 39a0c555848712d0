"""What would have been recommended if something had not been chosen: one question asked again without one item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from frugalrec.data.dataset import Query
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.interfaces import Recommender


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """Where ``item`` would stand without ``without`` in the history (codes). Ranks begin at 1; equals average."""

    item: int
    without: int
    rank: float
    rank_without: float


def counterfactuals(
    recommender: Recommender, query: Query, items: IntArray, without: Sequence[int] | None = None
) -> list[list[Counterfactual]]:
    """Return, for each of ``items``, its rank without each of ``without`` (all of the history by default).

    Those that matter most come first. Ranks are among what may be recommended; the item left out of the history stays
    out of the ranking too, so that a rank changes only because of what the model makes of the rest. Works with any
    recommender; one scoring of the catalogue for each item left out, in one batch.

    >>> from frugalrec.recommenders.ease import Ease
    >>> from frugalrec.testing.data import checkerboard
    >>> data = checkerboard(6)
    >>> ((first, *_),) = counterfactuals(Ease().fit(data), data.query(0), np.array([0], dtype=np.int32))
    >>> (first.rank, first.rank_without)
    (1.0, 1.0)
    """
    left_out = list(dict.fromkeys(int(code) for code in (query.history if without is None else without)))
    queries = [query, *(_without(query, code) for code in left_out)]
    scores = np.asarray(recommender.score(queries), dtype=np.float64)
    allowed = _allowed(query, scores.shape[1])
    ranks = np.stack([_ranks(row, allowed, items) for row in scores])
    found = []
    for column, item in enumerate(items):
        each = [
            Counterfactual(int(item), code, float(ranks[0, column]), float(ranks[place, column]))
            for place, code in enumerate(left_out, start=1)
        ]
        found.append(sorted(each, key=lambda c: c.rank - c.rank_without))
    return found


def _without(query: Query, code: int) -> Query:
    kept = query.history != code
    return replace(query, history=query.history[kept], times=None if query.times is None else query.times[kept])


def _allowed(query: Query, n_items: int) -> np.ndarray:
    allowed = np.zeros(n_items, dtype=bool)
    allowed[query.candidates if query.candidates is not None else slice(None)] = True
    if not query.repeats:
        allowed[query.history] = False
    allowed[query.exclude] = False
    return allowed


def _ranks(scores: FloatArray, allowed: np.ndarray, items: IntArray) -> FloatArray:
    others = np.sort(scores[allowed])
    above = len(others) - np.searchsorted(others, scores[items], side="right")
    level = len(others) - np.searchsorted(others, scores[items], side="left") - above
    return np.asarray(above + (np.maximum(level, 1) + 1) / 2, dtype=np.float64)


__all__ = ["Counterfactual", "counterfactuals"]
