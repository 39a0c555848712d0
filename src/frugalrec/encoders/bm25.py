"""Hashed words that count the more, the fewer texts of the catalogue have them: no language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar, Literal, Self

import numpy as np

from frugalrec import cost
from frugalrec.data.interactions import FloatArray
from frugalrec.data.shape import DataShape
from frugalrec.encoders._bags import CELLS, Bags, bags_of, draw, expected_peak, expected_rows, projection
from frugalrec.encoders._rows import unit_rows
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import Matrix, Role
from frugalrec.text.preparation import telling
from frugalrec.text.stop_words import StopWords, stop_words
from frugalrec.text.words import Segmentation, words
from frugalrec.work import Expected, Work

_VERSION = 1  # goes up when cleaning, segmentation or stop words change vectors
_BUCKETS = 1 << 17  # words that meet in one count as one: with 20,000 words, 1 in 7 meets another


@dataclass
class Bm25:
    """Texts are alike when they share words that few others have: BM25 or TF-IDF weights learned from the catalogue.

    The baseline of text retrieval, and the stronger of the two bags of words where texts are long. ``bm25`` weighs a
    word by its inverse document frequency log(1 + (N - n + ½) / (n + ½)) times count·(k1 + 1) / (count + k1·(1 - b +
    b·length / mean length)) (Robertson and Zaragoza 2009, equation 3.15); ``tf-idf`` by (1 + log count)·(1 + log((1 +
    N) / (1 + n))). Rows have unit norm, so the product of two is a cosine, not BM25's own sum. A word that no text of
    the catalogue has counts as the rarest. Words go into cells as in `BagOfWords`, which see for ``dim``,
    ``segmentation`` and ``stop_words``.

    Time is O(words + dim) a text, to learn and to encode; memory O(n × dim) and 512 KiB for frequencies. Charges
    ``flops``: 2 a non-zero and word, 3 ``dim`` a text to scale it. Uses no tokens.

    >>> texts = ["Crime story in Rome", "Crime story in Oslo", "Love story in Rome"]
    >>> rome, oslo, love = Bm25().fit(texts).encode(texts)
    >>> bool(rome @ oslo > 0.1), bool(oslo @ love < rome @ love)
    (True, True)
    """

    is_language_model: ClassVar[bool] = False

    dim: int = 512
    weighting: Literal["bm25", "tf-idf"] = "bm25"
    k1: float = 1.2
    b: float = 0.75
    segmentation: Segmentation = "pairs"
    stop_words: StopWords = "short"
    frequencies_: Matrix = field(init=False, repr=False, compare=False)
    n_texts_: int = field(init=False, repr=False, compare=False)
    mean_length_: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.dim < CELLS or self.dim % CELLS:
            raise ConfigError(f"bm25.dim must be a positive multiple of {CELLS}, not {self.dim}")
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise ConfigError(f"bm25 needs k1 of at least 0 and b between 0 and 1, not {self.k1} and {self.b}")
        if self.weighting not in ("bm25", "tf-idf"):
            raise ConfigError(f"bm25.weighting must be 'bm25' or 'tf-idf', not {self.weighting!r}")
        words("字", self.segmentation)
        stop_words(self.stop_words)

    def fit(self, texts: Sequence[str]) -> Self:
        """Count in how many of ``texts`` each word occurs; a text without words counts as none."""
        bags = self._bags(texts)
        buckets = _buckets(bags)
        self.frequencies_ = np.bincount(buckets[bags.columns], minlength=_BUCKETS).astype(np.float32)
        lengths = bags.lengths
        self.n_texts_ = int(np.count_nonzero(lengths))
        self.mean_length_ = float(lengths.sum() / max(1, self.n_texts_))
        cost.charge(flops=float(len(bags.columns)))
        return self

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm whatever the role; a text without words gets a zero row.

        Raises `NotFittedError` before `fit`.
        """
        self._require_fitted()
        bags = self._bags(texts)
        weights = self._weights(bags)
        vectors: Matrix = (bags.matrix(weights) @ projection(bags.vocabulary, self.dim)).toarray()
        cost.charge(flops=float(2 * CELLS * len(bags.columns) + 3 * self.dim * len(texts)))
        return unit_rows(vectors)

    def expected(self, shape: DataShape) -> Expected:
        """Return what learning from and encoding each different item text once takes; beyond 20,000, from a sample."""
        texts, scale = shape.sampled_texts()
        bags = self._bags(texts)
        entries, drawn = scale * len(bags.columns), len(bags.vocabulary) * scale**0.5
        characters, rows = scale * sum(map(len, texts)), shape.distinct_texts
        return Expected(
            (Work("words", 2.0 * characters), Work("vocabulary", drawn), *expected_rows(rows, self.dim)),
            (1.0 + 2.0 * CELLS) * entries + 3.0 * self.dim * rows,
            0.0,
            0.0,
            expected_peak(rows, self.dim, entries, drawn) + 4.0 * _BUCKETS,
            4.0 * rows * self.dim,
        )

    def fingerprint(self) -> str:
        """Return a hash of the settings and of what was learned; raises `NotFittedError` before `fit`."""
        self._require_fitted()
        settings = (_VERSION, self.dim, self.weighting, self.k1, self.b, self.segmentation, self.stop_words)
        learned = (self.n_texts_, self.mean_length_)
        digest = sha256(repr((settings, learned)).encode())
        digest.update(np.ascontiguousarray(self.frequencies_).tobytes())
        return f"bm25-{digest.hexdigest()[:32]}"

    def _weights(self, bags: Bags) -> FloatArray:
        n = self.n_texts_
        having = self.frequencies_[_buckets(bags)].astype(np.float64)[bags.columns]
        if self.weighting == "tf-idf":
            return np.asarray((1.0 + np.log(bags.counts)) * (1.0 + np.log((1.0 + n) / (1.0 + having))))
        rarity = np.log1p((n - having + 0.5).clip(min=0.0) / (having + 0.5))
        share = np.repeat(bags.lengths / max(self.mean_length_, 1.0), np.diff(bags.offsets))
        room = self.k1 * (1.0 - self.b + self.b * share)
        return np.asarray(rarity * bags.counts * (self.k1 + 1.0) / (bags.counts + room), dtype=np.float64)

    def _bags(self, texts: Sequence[str]) -> Bags:
        return bags_of(texts, self._read)

    def _read(self, text: str) -> list[str]:
        return telling(text, segmentation=self.segmentation, stops=self.stop_words)

    def _require_fitted(self) -> None:
        if not hasattr(self, "frequencies_"):
            raise NotFittedError("'bm25' has learned from no catalogue yet", hint="call fit(texts) first")


def _buckets(bags: Bags) -> Any:
    return np.array([draw(word)[0] % _BUCKETS for word in bags.vocabulary], dtype=np.int64)


__all__ = ["Bm25"]
