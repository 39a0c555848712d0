"""A table of token vectors: what a transformer knows of words, at the price of looking them up."""

from __future__ import annotations

import hashlib
import json
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from frugalrec import assets, cost
from frugalrec.data.shape import DataShape
from frugalrec.encoders._files import digest_of, files_in, meaningless_tokens, open_tokenizer
from frugalrec.encoders._rows import unit_rows
from frugalrec.encoders._safetensors import read_safetensors
from frugalrec.errors import AssetError, ConfigError
from frugalrec.interfaces import Matrix, Role
from frugalrec.text.preparation import Preparation, prepared
from frugalrec.work import Expected, Work

FILES = ("model.safetensors", "tokenizer.json", "config.json")


@dataclass
class Static:
    """A text is the mean of its tokens' vectors, which were distilled from a transformer beforehand.

    Choose it where a transformer's vectors pay but their price does not: it is some hundred times faster, and needs no
    runtime. ``frugalrec distill`` makes one from a transformer on your own catalogue; models of model2vec (Tulkens and
    van Dongen 2024) load as they are. ``path`` is a folder with ``model.safetensors``, ``tokenizer.json`` and
    ``config.json``; without one the asset ``model`` is taken, whose 64-dimensional table knows many languages a little.
    Text beyond ``max_tokens`` is cut off. ``text`` says how a text is prepared: ``raw``, ``clean`` or ``words``.

    A text of which the table knows no token (emoji alone, say) gets a zero row. Time is O(tokens × dim) a text, of
    which splitting it into tokens takes the most; memory O(vocabulary × dim), mapped from the file. Charges
    ``tokens_in`` and ``flops``: 2 ``dim`` a token, 3 ``dim`` a text.

    >>> vectors = Static().encode(["a young cat", "a small kitten", "government bonds"])  # doctest: +SKIP
    >>> vectors.shape, bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])  # doctest: +SKIP
    ((3, 64), True)
    """

    is_language_model: ClassVar[bool] = True

    model: str = "tokenlearn-static-64"
    path: str = ""
    max_tokens: int = 512
    text: Preparation = "clean"
    _files: tuple[Path, ...] | None = field(default=None, init=False, repr=False, compare=False)
    _table: _Table | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(f"static.max-tokens must be at least 1, not {self.max_tokens}")
        prepared("", self.text)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm whatever the role; zero rows for texts without known tokens.

        Raises `AssetError` when the model cannot be had or read, `ConfigError` when its files do not fit together.
        """
        table = self._loaded()
        tokens = [table.tokens(prepared(text, self.text), self.max_tokens) for text in texts]
        read = sum(map(len, tokens))
        cost.charge(tokens_in=float(read), flops=float(table.dim * (2 * read + 3 * len(texts))))
        return unit_rows(table.sums(tokens))

    @property
    def dim(self) -> int:
        """Dimension of the vectors. Raises as `encode` does."""
        return self._loaded().dim

    def expected(self, shape: DataShape) -> Expected:
        """Return what encoding each different item text once takes, tokens counted; beyond 20,000, in a sample."""
        texts, scale = shape.sampled_texts()
        table, rows = self._loaded(), shape.distinct_texts
        tokens = scale * sum(len(table.tokens(prepared(text, self.text), self.max_tokens)) for text in texts)
        return Expected(
            (Work("encode", tokens, tokens / max(rows, 1.0), "static"),),
            table.dim * (2.0 * tokens + 3.0 * rows),
            tokens,
            0.0,
            16.0 * rows * table.dim + 60.0 * tokens,
            4.0 * rows * table.dim,
        )

    def fingerprint(self) -> str:
        """Return a hash of the files and of the settings that change vectors."""
        digests = [digest_of(file) for file in self._found()]
        settings = (self.max_tokens, self.text)
        return f"static-{hashlib.sha256(repr((digests, settings)).encode()).hexdigest()[:32]}"

    def _loaded(self) -> _Table:
        if self._table is None:
            self._table = _shared(self._found())
        return self._table

    def _found(self) -> tuple[Path, ...]:
        if self._files is None:
            if self.path:
                self._files = files_in(self.path, FILES)
            else:
                files = assets.fetch(self.model).files
                if any(name not in files for name in FILES):
                    raise ConfigError(f"static.model '{self.model}' is no static encoder: it has {sorted(files)}")
                self._files = tuple(files[name] for name in FILES)
        return self._files


class _Table:
    """Token vectors and their tokenizer. Safe to use from several threads: neither changes after loading."""

    def __init__(self, model: Path, tokenizer: Path, config: Path) -> None:
        self.tokenizer = open_tokenizer(tokenizer)
        self.meaningless = meaningless_tokens(self.tokenizer)
        arrays = read_safetensors(model)
        # model2vec's own name for the table, and that of sentence-transformers.
        vectors = next((arrays[name] for name in ("embeddings", "embedding.weight") if name in arrays), None)
        if vectors is None or vectors.ndim != 2:
            raise ConfigError(f"{model} is no static encoder: expected a table 'embeddings', found {sorted(arrays)}")
        self.vectors, self.weights, self.places = vectors, arrays.get("weights"), arrays.get("mapping")
        rows = len(vectors) if self.places is None else len(self.places)
        known = self.tokenizer.get_vocab_size()
        if rows != known or (self.weights is not None and len(self.weights) != rows):
            raise ConfigError(
                f"{tokenizer} has {known:,} tokens and {model} vectors for {rows:,}: they do not belong together",
                hint="take both files from the same model",
            )
        if self.places is not None and (self.places.min() < 0 or self.places.max() >= len(vectors)):
            raise ConfigError(f"{model}: its mapping points outside of the table")
        try:
            json.loads(config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise AssetError(f"{config}: not valid JSON: {error}", hint="fetch or export it again") from error

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    def tokens(self, text: str, limit: int) -> list[int]:
        # One at a time: the batch call starts threads of its own, whatever number was asked for.
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [id_ for id_ in ids[:limit] if id_ not in self.meaningless]

    def sums(self, tokens: Sequence[Sequence[int]]) -> Matrix:
        """Return float32 ``(n, dim)``: the weighted sums of the tokens' vectors. Their means differ in length only."""
        offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])])
        used, columns = np.unique(np.fromiter((id_ for ids in tokens for id_ in ids), np.int64), return_inverse=True)
        values = np.ones(len(columns), dtype=np.float32)
        if self.weights is not None:
            values = np.asarray(self.weights, dtype=np.float32)[used][columns]
        rows = self.vectors[used if self.places is None else self.places[used]].astype(np.float32)
        counts: Any = sparse.csr_array((values, columns, offsets), shape=(len(tokens), len(used)))
        return np.asarray(counts @ rows, dtype=np.float32)


_tables: weakref.WeakValueDictionary[tuple[Path, ...], _Table] = weakref.WeakValueDictionary()
_loading = threading.Lock()


def _shared(files: tuple[Path, ...]) -> _Table:
    with _loading:
        table = _tables.get(files)
        if table is None:
            table = _tables[files] = _Table(*files)
        return table


__all__ = ["Static"]
