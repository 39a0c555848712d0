"""Language models behind an HTTP endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from frugalrec.cost import charge, with_context
from frugalrec.data.interactions import FloatArray
from frugalrec.endpoint import Endpoint, UnansweredError
from frugalrec.errors import ConfigError, DataError
from frugalrec.llms._json import parsed
from frugalrec.spending import Purchase, purchase

OVERHEAD_TOKENS = 32
"""Tokens that a chat format may put around a prompt, at most."""

PROBE = "The capital of France is"
"""A text that most models go on with a word that they are sure of, and would not write twice."""

PROBE_NATS = 1.0
"""How far apart a word's log-probabilities may be, written and read: more than kernels round by, less than luck."""


@dataclass
class Http:
    """A language model at an OpenAI-compatible endpoint (a provider, vLLM, llama.cpp's server, …); choose it for models
    that this machine cannot run, and mind that every token has a price.

    ``url`` is the base, such as ``http://localhost:8000/v1``; ``model`` the name it goes by there and on the price
    sheet. ``api`` "chat" sends a prompt as a user's message, "completions" as it is. The key is read from the
    environment variable ``api_key_variable``, never from a plan. What fails with 408, 429 or 5xx, or in transit, is
    tried ``tries`` times in all, with random growing pauses or as long as the server says; at most
    ``requests_per_minute`` begin (0: no limit), ``parallel`` at a time. ``stream`` reads an answer as it is written, so
    that a slow one is not cut off by ``timeout_seconds``.

    Tokens are those that the endpoint reports as used, cached ones included; where it reports none, they are estimated
    from the bytes, from above. A call's price (`frugalrec.spending`) is reserved before it is made. With ``price =
    "unknown"`` there is no price, and every sum is unknown. `loglikelihoods` needs "completions" with ``echo`` and
    ``logprobs``, which few endpoints offer; others get a clear error. FLOPs are unknown.

    Time and memory are the endpoint's.

    >>> Http(url="http://localhost:8000/v1", model="small").generate(["One, two,"], max_tokens=4)  # doctest: +SKIP
    [' three, four']
    """

    url: str
    model: str
    api: Literal["chat", "completions"] = "chat"
    api_key_variable: str = "OPENAI_API_KEY"
    system: str = ""
    timeout_seconds: float = 60.0
    tries: int = 5
    requests_per_minute: float = 0.0
    parallel: int = 4
    stream: bool = False
    json_mode: Literal["json-schema", "json-object"] = "json-schema"
    price: Literal["", "unknown"] = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _lock_scores: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _scores_hold: bool = field(default=False, init=False, repr=False, compare=False)
    _opened: Endpoint | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"url must begin with http:// or https:// and name a host, not '{self.url}'")
        if not self.model:
            raise ConfigError("model must be the name that the endpoint knows, not empty")
        for name in ("tries", "parallel"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.timeout_seconds > 0:
            raise ConfigError(f"timeout_seconds must be above 0, not {self.timeout_seconds}")
        if self.requests_per_minute < 0:
            raise ConfigError(f"requests_per_minute must be at least 0, not {self.requests_per_minute}")
        if self.price not in ("", "unknown"):
            raise ConfigError(f"price must be left out or 'unknown', not '{self.price}'")

    def generate(self, prompts: Sequence[str], *, max_tokens: int = 128, stop: Sequence[str] = ()) -> list[str]:
        """Return one completion a prompt, as likely as the endpoint knows (temperature 0), cut at the first ``stop``.

        Raises `AssetError` when the endpoint does not answer, `ConfigError` when it refuses, `DataError` for nonsense,
        `BudgetError` at the spend cap.
        """
        if max_tokens < 1:
            return ["" for _ in prompts]
        return self._all(prompts, {}, max_tokens, [s for s in stop if s])

    def generate_json(self, prompts: Sequence[str], schema: Mapping[str, Any], *, max_tokens: int = 256) -> list[Any]:
        """Return one value a prompt that is an instance of ``schema``, which the endpoint is asked to keep to.

        It is checked here whatever the endpoint promised; raises `DataError` when it is none.
        """
        form: dict[str, Any] = {"type": "json_object", "schema": dict(schema)}
        if self.json_mode == "json-schema":
            described = {"name": "answer", "strict": True, "schema": dict(schema)}
            form = {"type": "json_schema", "json_schema": described}
        texts = self._all(prompts, {"response_format": form}, max_tokens, [])
        return [parsed(text, schema) for text in texts]

    def loglikelihoods(self, prefix: str, continuations: Sequence[str]) -> FloatArray:
        """Return float64 ``(n,)``: log P(continuation | prefix), summed over its tokens; 0 for an empty continuation.

        The prefix is sent with every continuation; whether it is computed once is up to the endpoint, and paid as it
        reports. A token that straddles the border counts for the continuation. Raises `ConfigError` where the endpoint
        does not tell log-probabilities of a prompt, or tells wrong ones: before the first call a word that it writes is
        scored again as a part of a prompt.
        """
        if self.api != "completions":
            raise ConfigError(
                f"the chat protocol does not tell how likely a text is ('{self.model}')",
                hint='set api = "completions", if the endpoint has it with echo and logprobs',
            )
        sums = np.zeros(len(continuations))
        if any(continuations):
            self._check_scores()
        asked = [i for i, each in enumerate(continuations) if each]
        with ThreadPoolExecutor(self.parallel) as pool:
            calls = [pool.submit(with_context(self._scored), prefix, continuations[i]) for i in asked]
            for i, call in zip(asked, calls, strict=True):
                sums[i] = call.result()
        return sums

    def count_tokens(self, text: str) -> int:
        """Return an upper bound, for only the endpoint knows: no token of ``text`` is shorter than a byte.

        A quarter of the bytes is nearer the truth for English; a reservation must not be too small.
        """
        return len(text.encode("utf-8", "replace"))

    def fingerprint(self) -> str:
        """Return a hash of the settings that answers depend on. A provider may change what stands behind a name."""
        parts = (self.url, self.model, self.api, self.system, self.json_mode)
        return f"http-{sha256(repr(parts).encode()).hexdigest()[:16]}"

    def _all(self, prompts: Sequence[str], extra: Mapping[str, Any], max_tokens: int, stop: list[str]) -> list[str]:
        if len(prompts) <= 1 or self.parallel == 1:
            return [self._completed(prompt, extra, max_tokens, stop) for prompt in prompts]
        with ThreadPoolExecutor(self.parallel) as pool:
            calls = [pool.submit(with_context(self._completed), p, extra, max_tokens, stop) for p in prompts]
            try:
                return [call.result() for call in calls]
            except BaseException:
                for call in calls:
                    call.cancel()  # what has not begun must not be paid for
                raise

    def _completed(self, prompt: str, extra: Mapping[str, Any], max_tokens: int, stop: list[str]) -> str:
        body: dict[str, Any] = {"model": self.model, "max_tokens": max_tokens, "temperature": 0, **extra}
        if stop:
            body["stop"] = stop[:4]  # as many as the protocol allows; all are looked for below
        if self.api == "chat":
            messages = [{"role": "system", "content": self.system}] if self.system else []
            body["messages"] = [*messages, {"role": "user", "content": prompt}]
            path = "chat/completions"
        else:
            body["prompt"] = f"{self.system}\n\n{prompt}" if self.system else prompt
            path = "completions"
        bound = self.count_tokens(self.system) + self.count_tokens(prompt) + OVERHEAD_TOKENS
        with self._bought(bound, max_tokens) as bought:
            text, usage = self._streamed(path, body) if self.stream else self._read(self._endpoint.post(path, body))
            self._settle(bought, usage, prompt, text)
        return text[: min((text.find(s) for s in stop if s in text), default=len(text))]

    def _read(self, answer: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"] if self.api == "chat" else choice["text"]
        except (KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise DataError(
                f"'{self.model}' answered without a text: {str(dict(answer))[:160]}", hint="is it a text model?"
            )
        return text, answer.get("usage") or {}

    def _streamed(self, path: str, body: dict[str, Any]) -> tuple[str, Mapping[str, Any]]:
        pieces: list[str] = []
        usage: dict[str, Any] = {}

        def take(event: dict[str, Any]) -> None:
            usage.update(event.get("usage") or {})
            for choice in event.get("choices") or ():
                piece = (choice.get("delta") or {}).get("content") if self.api == "chat" else choice.get("text")
                if piece:
                    pieces.append(piece)

        self._endpoint.stream(path, {**body, "stream_options": {"include_usage": True}}, take)
        return "".join(pieces), usage

    def _check_scores(self) -> None:
        """Compare how likely the endpoint finds a word when it writes it and when it reads it: some are off by one."""
        with self._lock_scores:
            if self._scores_hold:
                return
            body = {"model": self.model, "prompt": PROBE, "max_tokens": 1, "temperature": 0, "logprobs": 1}
            with self._bought(self.count_tokens(PROBE) + OVERHEAD_TOKENS, 1) as bought:
                answer = self._endpoint.post("completions", body)
                self._settle(bought, answer.get("usage") or {}, PROBE, "")
            try:
                choice = answer["choices"][0]
                told = choice["logprobs"]
                word, written = str(choice["text"]), float(told["token_logprobs"][0])
                # At temperature 0 what is written is the likeliest, so none of those listed beside it may be likelier.
                likeliest = max([written, *((told.get("top_logprobs") or [{}])[0] or {}).values()])
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise self._untold() from error
            read = self._scored(PROBE, word)
            if word and max(abs(read - written), likeliest - written) > PROBE_NATS:
                raise ConfigError(
                    f"{self.url} tells wrong log-probabilities of a prompt: {word!r} has {written:.2f} when it is "
                    f"written and {read:.2f} when it is read, and the likeliest word {likeliest:.2f}",
                    hint="use a local model, such as the llm 'llama-cpp', where texts are scored",
                )
            self._scores_hold = True

    def _untold(self) -> ConfigError:
        return ConfigError(
            f"{self.url} does not tell how likely the words of a prompt are (echo with logprobs)",
            hint="use a local model, such as the llm 'llama-cpp', where texts are scored",
        )

    def _scored(self, prefix: str, continuation: str) -> float:
        body = {
            "model": self.model, "prompt": prefix + continuation, "max_tokens": 1, "temperature": 0, "echo": True,
            "logprobs": 1,
        }  # fmt: skip
        with self._bought(self.count_tokens(prefix + continuation) + OVERHEAD_TOKENS, 1) as bought:
            answer = self._endpoint.post("completions", body)
            self._settle(bought, answer.get("usage") or {}, prefix + continuation, "")
        try:
            told = answer["choices"][0]["logprobs"]
            offsets, values = told["text_offset"], told["token_logprobs"]
            tokens = told["tokens"]
            end = len(prefix) + len(continuation)
            chosen = [
                value
                for token, offset, value in zip(tokens, offsets, values, strict=True)
                if offset < end and offset + len(token) > len(prefix)
            ]
            return float(sum(value for value in chosen if value is not None))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._untold() from error

    @contextmanager
    def _bought(self, tokens_in: int, tokens_out: int) -> Iterator[Purchase]:
        with purchase(self.model, tokens_in=tokens_in, tokens_out=tokens_out, price=self.price) as bought:
            try:
                yield bought
            except (ConfigError, UnansweredError) as error:
                if not getattr(error, "worked", False):
                    bought.release()  # turned away before anything was computed
                raise

    def _settle(self, bought: Purchase, usage: Mapping[str, Any], prompt: str, text: str) -> None:
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        tokens_in = float(self.count_tokens(prompt) if read is None else read)
        tokens_out = float(self.count_tokens(text) if written is None else written)
        charge(tokens_in=tokens_in - cached, tokens_cached=cached, tokens_out=tokens_out, flops=None)
        bought.settle(tokens_in=tokens_in, tokens_out=tokens_out, tokens_cached=float(cached))

    @property
    def _endpoint(self) -> Endpoint:
        with self._lock:
            if self._opened is None:
                self._opened = Endpoint(
                    self.url,
                    key=os.environ.get(self.api_key_variable, "") if self.api_key_variable else "",
                    timeout_seconds=self.timeout_seconds,
                    tries=self.tries,
                    requests_per_minute=self.requests_per_minute,
                )
            return self._opened


__all__ = ["Http"]
