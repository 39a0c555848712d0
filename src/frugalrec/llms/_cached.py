"""Remembers log-probabilities, so that a question is paid for once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from frugalrec import cost
from frugalrec.data.interactions import FloatArray
from frugalrec.interfaces import ArrayStore, LanguageModel


@dataclass
class CachedLanguageModel:
    """A language model that asks ``store`` before it asks ``model``; its numbers are those of ``model``, to the bit.

    What is remembered is a whole call of `loglikelihoods`, since a model's numbers may depend on what else is in the
    call. Its key is a hash of the model's fingerprint, the prefix and the continuations: nothing needs to be
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
        """Return what the model writes."""
        return self.model.generate(prompts, max_tokens=max_tokens, stop=stop)

    def count_tokens(self, text: str) -> int:
        """Return the model's number of tokens of ``text``."""
        return self.model.count_tokens(text)

    def fingerprint(self) -> str:
        """Return the fingerprint of the model: where a number is kept does not change it."""
        return self.model.fingerprint()


__all__ = ["ArrayStore", "CachedLanguageModel"]
