"""Whether the order of rows can be one of time."""

from __future__ import annotations

import numpy as np

from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import IntArray, Interactions
from frugalrec.data.sources._report import tied

FEWEST_PAIRS = 20
"""Fewer rows of users with items that others had before say nothing."""

MOST = 0.99
"""The share of pairs of rows that are alike from which on all are taken to be."""


def timeless(log: Interactions) -> bool:
    """Return whether times do not tell events of a user apart: there are none, or hardly two of them differ."""
    pairs = len(log) - int(np.count_nonzero(np.diff(log.offsets)))
    return log.timestamp is None or tied(log) >= MOST * pairs


def rows_go_by_item(user: IntArray, item: IntArray, items: IdMap) -> bool:
    """Return whether the rows of each user are in one order of items.

    So it is in tables sorted by item, or by user and then by item: what comes next in them says nothing of what people
    did, yet is easily learned. Codes of items must follow first appearance. Time O(rows log rows).
    """
    order = np.argsort(user, kind="stable")
    same_user = user[order[1:]] == user[order[:-1]]
    before, after = order[:-1][same_user], order[1:][same_user]
    # A new item has the highest code so far in any order, so only items met in an earlier row tell.
    appeared, first = np.unique(item, return_index=True)
    first_row = np.zeros(len(items), dtype=np.int64)
    first_row[appeared] = first
    known = (first_row[item[after]] < after) & (item[before] != item[after])
    one, other = item[before[known]], item[after[known]]
    if len(one) < FEWEST_PAIRS:
        return False
    rising = [float(np.mean(rank[one] < rank[other])) for rank in (np.arange(len(items)), items.ranks)]
    return max(rising) >= MOST or min(rising) <= 1 - MOST


__all__ = ["rows_go_by_item", "timeless"]
