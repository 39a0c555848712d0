"""Hashed words: vectors without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from frugalrec import cost
from frugalrec.data.shape import DataShape
from frugalrec.encoders._bags import CELLS, bags_of, expected_peak, expected_rows, projection
from frugalrec.encoders._rows import unit_rows
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix, Role
from frugalrec.text.preparation import telling
from frugalrec.text.stop_words import StopWords, stop_words
from frugalrec.text.words import Segmentation, words
from frugalrec.work import Expected, Work

_VERSION = 1  # goes up when cleaning, segmentation or stop words change vectors


@dataclass
class BagOfWords:
    """Texts are alike when they share words: the baseline that text vectors of a language model must beat.

    Choose it for texts in which names and genres say it all, in any language, or when nothing may be downloaded. A word
    counts 1 + log(times); Chinese, Japanese, Korean and Thai go in by pairs of characters, or Chinese by the words of a
    dictionary (``segmentation``, with the ``chinese`` extra). Each word has 8 cells of
    ``dim`` and a sign in each, drawn from its hash (the sparse Johnson-Lindenstrauss transform of Kane and Nelson
    2014), so cosines are those of the word counts give or take 1/√dim. There is no inverse document frequency, for a
    vector must not depend on what else is encoded (`Bm25` learns one from the catalogue); instead stop words are left
    out (unless a text has no others), and models that centre and whiten vectors discount the directions that many texts
    share. ``stop_words``: some 150 English ones, 2,000 English and Chinese ones (``iso``, same extra), or none.

    Time is O(words + dim) a text, memory O(n × dim). Charges ``flops``: 2 a non-zero and word, 3 ``dim`` a text to
    scale it. Uses no tokens.

    >>> a, b, c = BagOfWords().encode(["Space opera", "An opera in space", "Western"])
    >>> round(float(a @ b), 3), abs(float(a @ c)) < 0.2
    (1.0, True)
    """

    is_language_model: ClassVar[bool] = False

    dim: int = 512
    segmentation: Segmentation = "pairs"
    stop_words: StopWords = "short"

    def __post_init__(self) -> None:
        if self.dim < CELLS or self.dim % CELLS:
            raise ConfigError(f"bag-of-words.dim must be a positive multiple of {CELLS}, not {self.dim}")
        # What these need is asked for now, not in the middle of a run.
        words("字", self.segmentation)
        stop_words(self.stop_words)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm whatever the role; a text without words gets a zero row."""
        bags = bags_of(texts, self._read)
        weighted = bags.matrix(1.0 + np.log(bags.counts))
        vectors: Matrix = (weighted @ projection(bags.vocabulary, self.dim)).toarray()
        cost.charge(flops=float(2 * CELLS * len(bags.columns) + 3 * self.dim * len(texts)))
        return unit_rows(vectors)

    def expected(self, shape: DataShape) -> Expected:
        """Return what encoding each different item text once takes; beyond 100,000 texts, from a sample of them."""
        texts, scale = shape.sampled_texts()
        bags = bags_of(texts, self._read)
        entries = scale * len(bags.columns)
        # A sample of the texts has fewer of the words, by about the root of its share (Heaps' law).
        drawn = len(bags.vocabulary) * scale**0.5
        characters = scale * sum(map(len, texts))
        rows = shape.distinct_texts
        return Expected(
            (Work("words", characters), Work("vocabulary", drawn), *expected_rows(rows, self.dim)),
            2.0 * CELLS * entries + 3.0 * self.dim * rows,
            0.0,
            0.0,
            expected_peak(rows, self.dim, entries, drawn),
            4.0 * rows * self.dim,
        )

    def fingerprint(self) -> str:
        """Return a string that names the method's version and its settings."""
        return f"bag-of-words-{_VERSION}-{self.dim}-{self.segmentation}-{self.stop_words}"

    def _read(self, text: str) -> list[str]:
        return telling(text, segmentation=self.segmentation, stops=self.stop_words)


__all__ = ["BagOfWords"]
