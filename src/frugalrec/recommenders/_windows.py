"""Histories as rows of tokens, cut into windows for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from frugalrec.data.dataset import Query
from frugalrec.data.interactions import Interactions
from frugalrec.torch_training import Rows


class Windows:
    """Stretches of at most ``length`` events of one user that together hold every event exactly once.

    Where a history is cut is drawn anew by each `cut`, so that over the epochs an event is predicted from short and
    from long stretches of what came before it, at every position.
    """

    def __init__(self, log: Interactions, length: int) -> None:
        self.items, self.start, self.length = log.item, log.n_items, length
        offsets = np.asarray(log.offsets, dtype=np.int64)
        active = np.diff(offsets) > 0
        self._firsts, self._lasts = offsets[:-1][active], offsets[1:][active]

    def cut(self, rng: np.random.Generator) -> int:
        """Cut all histories and return into how many windows.

        A window ends where a history does, or 1 to ``length`` events before that; from there on backwards all are full.
        """
        length, sizes = self.length, self._lasts - self._firsts
        # A history that fits into one window stays whole.
        newest = np.where(sizes > length, rng.integers(1, length + 1, len(sizes)), sizes)
        counts = 1 + -(-(sizes - newest) // length)
        owner = np.repeat(np.arange(len(sizes)), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        first = self._lasts[owner] - newest[owner] - place * length
        self.lasts = np.where(place == 0, self._lasts[owner], first + length)
        self.firsts = np.maximum(first, self._firsts[owner])
        self.begins = self.firsts == self._firsts[owner]
        return len(self.firsts)

    def places(self, rows: Rows) -> Rows:
        """Return the rows of the log that each window holds, ``(n, widest)``, -1 beyond its end."""
        place = self.firsts[rows, None] + np.arange(int((self.lasts[rows] - self.firsts[rows]).max()))
        return np.where(place < self.lasts[rows, None], place, -1)

    def batch(self, rows: Rows) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
        """Return what stands before each event (the start before the first) and the events, -1 beyond the end."""
        place = self.places(rows)
        inside = place >= 0
        before = np.where(inside, place - 1, -1)
        before[self.begins[rows], 0] = -1
        tokens = np.where(before >= 0, self.items[before], self.start).astype(np.int64)
        targets = np.where(inside, self.items[place], -1).astype(np.int64)
        return tokens, targets


def tokens_of(queries: Sequence[Query], known: np.ndarray[Any, np.dtype[np.bool_]], length: int) -> tuple[Rows, Rows]:
    """Return the newest ``length`` tokens of each query, filled up on the right, and where each ends.

    Tokens are the history's items of which something is ``known`` ``(n_items,)``, behind the start ``n_items``.
    """
    start = len(known)
    rows = [np.concatenate([[start], q.history[known[q.history]]])[-length:] for q in queries]
    ends = np.array([len(row) - 1 for row in rows], dtype=np.int64)
    tokens = np.full((len(rows), int(ends.max(initial=0)) + 1), start, dtype=np.int64)
    for row, history in enumerate(rows):
        tokens[row, : len(history)] = history
    return tokens, ends


__all__ = ["Windows", "tokens_of"]
