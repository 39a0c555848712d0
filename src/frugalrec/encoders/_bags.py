"""Texts as bags of words, and words as a few signed cells of a vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy import sparse

from frugalrec.data.interactions import FloatArray
from frugalrec.encoders._spread import BATCH
from frugalrec.work import Work, touching

CELLS = 8
"""Non-zeros a word."""

REMEMBERED_WORDS = 1 << 16
BYTES_A_WORD, BYTES_A_TEXT = 600.0, 450.0


@dataclass(frozen=True)
class Bags:
    """Words of several texts: text ``i`` owns ``columns[offsets[i]:offsets[i+1]]``, places in ``vocabulary``."""

    vocabulary: dict[str, int]
    columns: list[int]
    counts: FloatArray
    offsets: list[int]

    @property
    def lengths(self) -> FloatArray:
        """How many words each text has, float64 ``(n,)``."""
        sums = np.concatenate([[0.0], np.cumsum(self.counts)])
        return np.diff(sums[self.offsets])

    def matrix(self, values: FloatArray) -> Any:
        """Return a CSR matrix ``(n, vocabulary)`` with ``values`` in place of the counts."""
        shape = (len(self.offsets) - 1, len(self.vocabulary))
        return sparse.csr_array((values, self.columns, self.offsets), shape=shape)


def bags_of(texts: Iterable[str], read: Callable[[str], Sequence[str]]) -> Bags:
    """Count the words that ``read`` finds in each text."""
    vocabulary: dict[str, int] = {}
    columns: list[int] = []
    counts: list[int] = []
    offsets = [0]
    for text in texts:
        found: dict[str, int] = {}
        for word in read(text):
            found[word] = found.get(word, 0) + 1
        columns.extend(vocabulary.setdefault(word, len(vocabulary)) for word in found)
        counts.extend(found.values())
        offsets.append(len(columns))
    return Bags(vocabulary, columns, np.array(counts, dtype=np.float64), offsets)


def projection(vocabulary: Iterable[str], dim: int) -> Any:
    """Return each word's cells, CSR ``(vocabulary, dim)`` of signs: the transform of Kane and Nelson (2014)."""
    drawn = np.array([draw(word) for word in vocabulary], dtype=np.int64).reshape(-1, CELLS)
    # Each cell is drawn within its own block of dim, so that a word never hits one cell twice.
    block = dim // CELLS
    cells = (drawn >> 1) % block + block * np.arange(CELLS)
    signs = 1.0 - 2.0 * (drawn & 1)
    offsets = np.arange(len(drawn) + 1) * CELLS
    return sparse.csr_array((signs.ravel(), cells.ravel(), offsets), shape=(len(drawn), dim))


def expected_rows(rows: float, dim: int) -> tuple[Work, ...]:
    """Return the work of making vectors dense and of unit norm."""
    cells = rows * dim
    return touching(12.0 * cells), Work("stream", 40.0 * cells, 8.0 * cells)


def expected_peak(rows: float, dim: int, entries: float, words: float) -> float:
    """Return the most memory that vectors need which are made a batch at a time and put together at the end.

    What is drawn for ``words`` is remembered; texts are looked up by their hashes.
    """
    batch = min(rows, BATCH) * (12.0 * dim + 100.0 * entries / max(rows, 1.0))
    return (8.0 * dim + BYTES_A_TEXT) * rows + batch + BYTES_A_WORD * min(words, REMEMBERED_WORDS)


@lru_cache(maxsize=REMEMBERED_WORDS)
def draw(word: str) -> tuple[int, ...]:
    """Return ``CELLS`` whole numbers below 2³² that depend on ``word`` alone."""
    digest = blake2b(word.encode(), digest_size=4 * CELLS).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4))


__all__ = ["CELLS", "Bags", "bags_of", "draw", "expected_peak", "expected_rows", "projection"]
