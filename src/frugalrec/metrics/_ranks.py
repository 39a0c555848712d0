"""Scores, or lists, and the truth → where the relevant items ended up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.errors import DataError
from frugalrec.interfaces import Judged, Ranking

FEW = 10
"""So many relevant items of a query are ranked by counting what is above each; more, by sorting all scores once."""


def ranks_of(scores: FloatArray, relevant: Sequence[IntArray]) -> Judged:
    """Return where the relevant items rank among all scored ones; O(n) a query and relevant item, O(n log n) at most.

    ``scores``: ``(n_queries, n_items)``, -inf for items that may not be recommended; those are no candidates, and a
    relevant one among them gets rank infinity: it is never a hit. Items with equal scores share their average rank.
    ``relevant``: distinct item codes a query. Raises `DataError` on NaN, +inf, or a code outside the columns.

    >>> import numpy as np
    >>> ranks_of(np.array([[0.9, 0.1, 0.1, -np.inf]]), [np.array([0, 2], dtype=np.int32)]).ranks.tolist()
    [1.0, 2.5]
    """
    _check_lengths("score rows", len(scores), relevant)
    offsets, items = _flat(relevant)
    n_items = scores.shape[1]
    if len(items) and (items.min() < 0 or items.max() >= n_items):
        raise DataError(f"relevant item codes must be in 0 … {n_items - 1}, found {items.min()} … {items.max()}")
    ranks = np.empty(len(items), dtype=np.float64)
    n_candidates = np.zeros(len(scores), dtype=np.int64)
    for query, row in enumerate(scores):
        highest = row.max(initial=-np.inf)  # NaN where there is one
        if n_items and not highest < np.inf:
            raise DataError(
                f"a score of query {query} is {highest}: scores must be finite, or -inf for an item that is masked",
                hint="find out why the model returns it; a ranking by such scores means nothing",
            )
        n_candidates[query] = np.count_nonzero(row > -np.inf)
        found = row[items[offsets[query] : offsets[query + 1]]]
        if len(found) <= FEW:
            above = np.array([np.count_nonzero(row > score) for score in found], dtype=np.float64)
            average = above + [(np.count_nonzero(row == score) + 1) / 2 for score in found]
        else:
            ordered = np.sort(row)
            below, up_to = ordered.searchsorted(found, side="left"), ordered.searchsorted(found, side="right")
            average = n_items + 0.5 - (below + up_to) / 2
        ranks[offsets[query] : offsets[query + 1]] = np.sort(np.where(found > -np.inf, average, np.inf))
    return Judged(ranks=ranks, offsets=offsets, n_candidates=n_candidates)


def ranks_in_lists(
    rankings: Sequence[Ranking], relevant: Sequence[IntArray], n_candidates: int | np.ndarray[Any, Any]
) -> Judged:
    """Return where the relevant items rank in lists that were cut off; O(total length × log) for all queries together.

    An item that is not in its list has rank infinity. Neighbours with equal scores share their average rank; ties
    between the end of a list and what was cut off cannot be seen. ``n_candidates``: how many items were ranked, one
    number or one a query. ``relevant``: distinct item codes a query. Raises `DataError` on a score that is not finite.

    >>> import numpy as np
    >>> ranking = Ranking(items=np.array([7, 3], dtype=np.int32), scores=np.array([0.9, 0.1]))
    >>> ranks_in_lists([ranking], [np.array([3, 5], dtype=np.int32)], n_candidates=10).ranks.tolist()
    [2.0, inf]
    """
    _check_lengths("rankings", len(rankings), relevant)
    offsets, items = _flat(relevant)
    list_offsets, listed = _flat([ranking.items for ranking in rankings])
    scores = np.concatenate([np.empty(0), *(ranking.scores for ranking in rankings)])
    if len(scores) != len(listed):
        raise DataError(f"rankings hold {len(listed)} items and {len(scores)} scores")
    list_of = np.repeat(np.arange(len(rankings)), np.diff(list_offsets))
    if not np.isfinite(scores).all():
        where = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise DataError(f"a score in the ranking of query {list_of[where]} is {scores[where]}, not a finite number")
    position = np.arange(len(listed)) - list_offsets[list_of] + 1.0
    starts_group = np.ones(len(listed), dtype=bool)
    starts_group[1:] = (list_of[1:] != list_of[:-1]) | (scores[1:] != scores[:-1])
    group = np.cumsum(starts_group) - 1
    average = (np.bincount(group, weights=position) / np.bincount(group))[group] if len(group) else position
    query_of = np.repeat(np.arange(len(relevant)), np.diff(offsets))
    width = 1 + max(int(listed.max(initial=0)), int(items.max(initial=0)))
    keys = list_of * width + listed
    by_key = np.argsort(keys)
    wanted = query_of * width + items
    at = np.minimum(keys.searchsorted(wanted, sorter=by_key), len(keys) - 1)
    ranks = np.full(len(items), np.inf)
    if len(keys):
        found = by_key[at]
        ranks = np.where(keys[found] == wanted, average[found], np.inf)
    ranks = ranks[np.lexsort((ranks, query_of))]
    counts = np.broadcast_to(np.asarray(n_candidates, dtype=np.int64), (len(rankings),)).copy()
    return Judged(ranks=ranks, offsets=offsets, n_candidates=counts)


def _flat(codes: Sequence[IntArray]) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return ``(offsets, all codes one after another)``."""
    offsets = np.concatenate([[0], np.cumsum([len(c) for c in codes])]).astype(np.int64)
    return offsets, np.concatenate([np.empty(0, dtype=np.int64), *codes]).astype(np.int64)


def _check_lengths(what: str, n: int, relevant: Sequence[IntArray]) -> None:
    if n != len(relevant):
        raise DataError(f"there are {n} {what} and the relevant items of {len(relevant)} queries")
