"""Remembers log-probabilities and texts, so that a question is paid for once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from frugalrec import cost
from frugalrec.data.interactions import FloatArray
from frugalrec.errors import ConfigError
from frugalrec.interfaces import ArrayStore, Bounded, ConstrainedModel, LanguageModel


@dataclass
class CachedLanguageModel:
    """A language model that asks ``store`` before it asks ``model``; its numbers are those of ``model``, to the bit.

    What is remembered is each text written, and a whole call of `loglikelihoods`, since a model's numbers may depend on
    what else is in the call. Keys are hashes of the model's fingerprint and all that was asked: nothing needs to be
    invalidated. A call found again is charged at its first price as reused (`cost.charge_reused`), and its tokens as
    ``tokens_cached``. Everything else goes to ``model``. A call costs 8 bytes a continuation and some 300 of its own.
    """

    model: LanguageModel
    store: ArrayStore

    def loglikelihoods(self, prefix: str, continuations: Sequence[str]) -> FloatArray:
        """Return float64 ``(n,)``, as the model would."""
        asked = json.dumps([self.model.fingerprint(), prefix, *continuations])
        key = sha256(asked.encode()).hexdigest()
        found = self.store.get([key])
        if key in found:
            halves, price = found[key]
            cost.charge_reused(price)
            cost.charge(flops=0.0, tokens_cached=price.tokens_in or 0.0)
            return halves.view(np.float64)
        # The span is a child of the ambient one, which therefore gets every charge as well.
        with cost.Ledger().span("read") as span:
            fresh = self.model.loglikelihoods(prefix, continuations)
        assert span.entry is not None
        # The store keeps float32; a float64 goes in as its two halves, so that none of it is lost.
        halves = np.ascontiguousarray(fresh, dtype=np.float64).view(np.float32)
        self.store.put({key: (halves, span.entry.cost)})
        return fresh

    def generate(self, prompts: Sequence[str], *, max_tokens: int = 128, stop: Sequence[str] = ()) -> list[str]:
        """Return what the model writes, each prompt asked once and then remembered."""

        def ask(asked: list[str]) -> list[str]:
            return self.model.generate(asked, max_tokens=max_tokens, stop=stop)

        return self._texts(prompts, ["generate", max_tokens, *stop], ask)

    def generate_json(self, prompts: Sequence[str], schema: Mapping[str, Any], *, max_tokens: int = 256) -> list[Any]:
        """Return what the model writes within ``schema``; raises `ConfigError` when it cannot be held to one."""
        model = self.model
        if not isinstance(model, ConstrainedModel):
            raise ConfigError(
                f"{type(model).__name__} cannot be held to a schema", hint="use the llm 'llama-cpp' or 'http'"
            )

        def ask(asked: list[str]) -> list[str]:
            return [json.dumps(value) for value in model.generate_json(asked, schema, max_tokens=max_tokens)]

        found = self._texts(prompts, ["json", max_tokens, json.dumps(schema, sort_keys=True)], ask)
        return [json.loads(text) for text in found]

    def _texts(
        self, prompts: Sequence[str], how: Sequence[str | int], ask: Callable[[list[str]], list[str]]
    ) -> list[str]:
        """Return the answers to ``prompts``, from the store or by ``ask``; what fails is not remembered."""
        asked = [json.dumps([self.model.fingerprint(), *how, prompt]) for prompt in prompts]
        keys = [sha256(each.encode()).hexdigest() for each in asked]
        found = self.store.get(list(dict.fromkeys(keys)))
        texts: dict[str, str] = {}
        for key, (codes, price) in found.items():
            # The store keeps float32; a byte fits into one exactly.
            texts[key] = codes.astype(np.uint8).tobytes().decode()
            cost.charge_reused(price)
            cost.charge(flops=0.0, tokens_cached=price.tokens_in or 0.0)
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in texts}
        if missing:
            with cost.Ledger().span("write") as span:
                fresh = ask(list(missing.values()))
            assert span.entry is not None
            share = span.entry.cost / len(missing)
            for key, text in zip(missing, fresh, strict=True):
                texts[key] = text
                codes = np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.float32)
                self.store.put({key: (codes, share)})
        return [texts[key] for key in keys]

    def count_tokens(self, text: str) -> int:
        """Return the model's number of tokens of ``text``."""
        return self.model.count_tokens(text)

    @property
    def context(self) -> int | None:
        """Tokens that one call of the model may hold, where it says so."""
        return self.model.context if isinstance(self.model, Bounded) else None

    def fingerprint(self) -> str:
        """Return the fingerprint of the model: where a number is kept does not change it."""
        return self.model.fingerprint()


__all__ = ["ArrayStore", "CachedLanguageModel"]
