"""Hashed words: vectors without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from frugalrec import cost
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix, Role
from frugalrec.text.clean import clean
from frugalrec.text.stop_words import STOP_WORDS
from frugalrec.text.words import words
from frugalrec.work import Expected, Work

_CELLS = 8  # non-zeros a word
_VERSION = 1  # goes up when cleaning, segmentation or stop words change vectors


@dataclass
class BagOfWords:
    """Texts are alike when they share words: the baseline that text vectors of a language model must beat.

    Choose it for texts in which names and genres say it all, in any language, or when nothing may be downloaded. A word
    counts 1 + log(times); Chinese, Japanese, Korean and Thai go in by pairs of characters. Each word has 8 cells of
    ``dim`` and a sign in each, drawn from its hash (the sparse Johnson-Lindenstrauss transform of Kane and Nelson
    2014), so cosines are those of the word counts give or take 1/√dim. There is no inverse document frequency, for a
    vector must not depend on what else is encoded; instead English stop words are left out (unless a text has no
    others), and models that centre and whiten vectors discount the directions that many texts share.

    Time is O(words + dim) a text, memory O(n × dim). Charges ``flops``: 2 a non-zero and word, 3 ``dim`` a text to
    scale it. Uses no tokens.

    >>> a, b, c = BagOfWords().encode(["Space opera", "An opera in space", "Western"])
    >>> round(float(a @ b), 3), abs(float(a @ c)) < 0.2
    (1.0, True)
    """

    is_language_model: ClassVar[bool] = False

    dim: int = 512

    def __post_init__(self) -> None:
        if self.dim < _CELLS or self.dim % _CELLS:
            raise ConfigError(f"bag-of-words.dim must be a positive multiple of {_CELLS}, not {self.dim}")

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm whatever the role; a text without words gets a zero row."""
        vocabulary: dict[str, int] = {}
        columns: list[int] = []
        counts: list[int] = []
        offsets = [0]
        for text in texts:
            for word, count in _counted(text).items():
                columns.append(vocabulary.setdefault(word, len(vocabulary)))
                counts.append(count)
            offsets.append(len(columns))
        bags = sparse.csr_array(
            (1.0 + np.log(np.array(counts, dtype=np.float64)), columns, offsets), shape=(len(texts), len(vocabulary))
        )
        vectors: Matrix = (bags @ self._projection(vocabulary)).toarray().astype(np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        cost.charge(flops=float(2 * _CELLS * len(columns) + 3 * self.dim * len(texts)))
        np.divide(vectors, norms, out=vectors, where=norms > 0)
        return vectors

    def expected(self, shape: DataShape) -> Expected:
        """Return what encoding each different item text once takes; beyond 20,000 texts, from a sample of them."""
        texts, scale = shape.sampled_texts()
        entries = scale * sum(len(_counted(text)) for text in texts)
        characters = scale * sum(map(len, texts))
        rows = shape.distinct_texts
        return Expected(
            (Work("words", characters), Work("stream", 40.0 * rows * self.dim)),
            2.0 * _CELLS * entries + 3.0 * self.dim * rows,
            0.0,
            0.0,
            12.0 * rows * self.dim + 100.0 * entries,
            4.0 * rows * self.dim,
        )

    def fingerprint(self) -> str:
        """Return a string that names the method's version and ``dim``."""
        return f"bag-of-words-{_VERSION}-{self.dim}"

    def _projection(self, vocabulary: dict[str, int]) -> Any:
        drawn = np.array([_draw(word) for word in vocabulary], dtype=np.int64).reshape(-1, _CELLS)
        # Each cell is drawn within its own block of dim, so that a word never hits one cell twice.
        block = self.dim // _CELLS
        cells = (drawn >> 1) % block + block * np.arange(_CELLS)
        signs = 1.0 - 2.0 * (drawn & 1)
        offsets = np.arange(len(vocabulary) + 1) * _CELLS
        return sparse.csr_array((signs.ravel(), cells.ravel(), offsets), shape=(len(vocabulary), self.dim))


def _counted(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words(clean(text)):
        counts[word] = counts.get(word, 0) + 1
    telling = {word: count for word, count in counts.items() if word not in STOP_WORDS}
    return telling or counts


@lru_cache(maxsize=1 << 16)
def _draw(word: str) -> tuple[int, ...]:
    digest = blake2b(word.encode(), digest_size=4 * _CELLS).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4))


__all__ = ["BagOfWords"]
