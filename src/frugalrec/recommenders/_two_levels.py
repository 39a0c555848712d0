"""Item vectors in two levels: their signs in memory, a byte a dimension on disk, of which a request reads few rows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse

from frugalrec.cost import charge
from frugalrec.data.dataset import Query
from frugalrec.data.interactions import IntArray
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders._text import unit_rows

Bytes = np.ndarray[Any, np.dtype[np.int8]]
Bits = np.ndarray[Any, np.dtype[np.uint8]]

ROW_FLOPS = 5.0
"""FLOPs a dimension for a row that is read: 3 to make it a unit vector, 2 for its product."""

BLOCK_ROWS = 1 << 14
"""So many rows are made bytes at once."""

LOOK_UP, READ = 3.0, 5.0
"""A look-up, and a byte that is read, take as long as so many products with rows that are gathered."""

SIGNS: Matrix = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) - 1.0
"""What each byte says of eight dimensions, ``(256, 8)``: 1 where a bit is set, else -1."""


@dataclass(frozen=True)
class TwoLevels:
    """Unit vectors of n items in d dimensions: 1/32 of their floats in memory, 1/4 in a file.

    ``signs``: uint8 ``(⌈d/8⌉, n)``, a bit a dimension. ``stored``: int8 ``(n, d)``, mapped from a file; the largest of
    a row is ±127. ``mute``: codes of items whose vector is zero, for a bit has no third value.

    Its ways of answering, by bits and then in full for the best, are the rescoring of Yamada et al. (2021). A request
    takes ⌈d/8⌉ look-ups an item, each the product of a byte's signs with eight dimensions of the profile.
    """

    signs: Bits
    stored: Bytes
    mute: IntArray

    @classmethod
    def of(cls, vectors: Matrix) -> Self:
        """Keep ``vectors`` (float32, unit rows, or zeros); their file is one that nobody else sees.

        It takes no name, so that it is gone with the last array that is mapped from it, however the process ends.
        """
        n, dim = vectors.shape
        signs = np.empty((-(-dim // 8), n), dtype=np.uint8)
        with tempfile.TemporaryFile(prefix="frugalrec-") as file:
            for start in range(0, n, BLOCK_ROWS):
                block = vectors[start : start + BLOCK_ROWS]
                signs[:, start : start + BLOCK_ROWS] = np.packbits(block > 0, axis=1).T
                largest = np.abs(block).max(axis=1, keepdims=True)
                file.write(np.rint(block * (127.0 / np.where(largest > 0, largest, 1.0))).astype(np.int8).tobytes())
            file.flush()
            stored: Bytes = np.memmap(file, np.int8, "r", shape=(n, dim))
        charge(flops=4.0 * vectors.size)
        return cls(signs, stored, np.flatnonzero(~vectors.any(axis=1)).astype(np.int32))

    def read(self, items: IntArray) -> Matrix:
        """Return the unit vectors of ``items`` from the file, float32 ``(len(items), d)``."""
        return unit_rows(np.asarray(self.stored)[items].astype(np.float32))

    def sums(self, histories: sparse.csr_array) -> Matrix:
        """Return ``histories @ vectors``, float32 ``(n_queries, d)``; each query reads the rows of its own history."""
        found = np.zeros((histories.shape[0], self.stored.shape[1]), dtype=np.float32)
        for row in range(len(found)):
            part = slice(histories.indptr[row], histories.indptr[row + 1])
            found[row] = histories.data[part] @ self.read(histories.indices[part])
        return found

    def score(self, queries: Sequence[Query], profiles: Matrix, rescored: int) -> Matrix:
        """Return float32 ``(n_queries, n)``: the products of ``profiles`` with the vectors, nearly.

        Those of the ``rescored`` items that are best by signs, among those that may be recommended to the query, are
        the products with the rows read; all others are products with signs, scaled by what fits those best.
        """
        n, dim = self.stored.shape
        rescored = min(rescored, n)
        scores = np.empty((len(queries), n), dtype=np.float32)
        for row, query in enumerate(queries):
            near = self._by_signs(profiles[row], scores[row])
            allowed = mask_scores(near[None], [query])[0]
            best = np.sort(np.argpartition(allowed, n - rescored)[n - rescored :]).astype(np.int32)
            exact, guessed = self.read(best) @ profiles[row], near[best]
            near *= max(float(exact @ guessed), 0.0) / max(float(guessed @ guessed), 1e-12)
            near[best] = exact
        charge(flops=len(queries) * flops_of_request(n, dim, rescored))
        return scores

    def _by_signs(self, profile: Matrix, total: Matrix) -> Matrix:
        """Write the product of ``profile`` with each item's signs to ``total`` ``(n,)``, and return it."""
        filled = np.zeros((len(self.signs), 8), dtype=np.float32)
        filled.reshape(-1)[: len(profile)] = profile
        found = np.empty_like(total)
        total[:] = 0.0
        for table, bits in zip(filled @ SIGNS.T, self.signs, strict=True):
            np.take(table, bits, out=found, mode="clip")  # a byte is never out of range; this spares a copy
            total += found
        total[self.mute] = 0.0
        return total


def flops_of_request(n: float, dim: int, rescored: float) -> float:
    """Return the FLOPs of a profile's scores.

    For w = ⌈dim/8⌉ bytes an item: 4096 w for what each byte means, n w look-ups added up and n products scaled; 5
    ``dim`` + 4 a row that is read.
    """
    width = -(-dim // 8)
    return 4096.0 * width + n * (width + 1.0) + min(rescored, n) * (ROW_FLOPS * dim + 4.0)


__all__ = ["LOOK_UP", "READ", "ROW_FLOPS", "Bits", "Bytes", "TwoLevels", "flops_of_request"]
