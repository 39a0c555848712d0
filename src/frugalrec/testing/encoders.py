"""A text encoder that costs nothing, for tests of what uses one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import ClassVar

import numpy as np

from frugalrec.interfaces import Matrix, Role
from frugalrec.text.words import words


@dataclass
class HashEncoder:
    """A text is the sum of its words, each a fixed direction: texts that share words are alike. O(words × dim).

    >>> a, b, c = HashEncoder(dim=64).encode(["red apple", "green apple", "blue sky"])
    >>> bool(a @ b > a @ c)
    True
    """

    is_language_model: ClassVar[bool] = False

    dim: int = 16

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm; a text without words gets a zero row. Charges nothing."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            found = words(text)
            if found:
                total = np.sum([_direction(word, self.dim) for word in found], axis=0)
                vectors[row] = total / np.linalg.norm(total)
        return vectors

    def fingerprint(self) -> str:
        """Return a string that names the fake and its ``dim``."""
        return f"hash-encoder-{self.dim}"


@lru_cache(maxsize=1 << 14)
def _direction(word: str, dim: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).standard_normal(dim)


__all__ = ["HashEncoder"]
