"""Remembers vectors, so that a text is paid for once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, runtime_checkable

import numpy as np

from frugalrec import cost, progress
from frugalrec.encoders._spread import BATCH, at_once, encode_spread
from frugalrec.interfaces import ArrayStore, Matrix, Role, TextEncoder

_OVERHEAD = 8  # what a text takes however short it is, in characters


@runtime_checkable
class Inspects(Protocol):
    """An encoder that wants to see all texts before it gets them in parts."""

    def inspect(self, texts: Sequence[str]) -> None:
        """Look at ``texts``; may warn."""
        ...


@dataclass
class Cached:
    """An encoder that asks ``store`` first and encodes only what is not there; vectors are those of ``encoder``.

    A vector's key is the hash of the encoder's fingerprint, the role and the text: nothing needs to be invalidated.
    Texts are encoded once however often they occur, ``batch_size`` at a time from the longest to the shortest, and each
    batch is stored before the next begins: whatever ends a run, it loses one batch at most, and the next run goes on
    from there (with an executor in force, four batches for each of its workers). Each vector keeps its share of the
    batch's cost by length of text; when it is found again, that is charged as reused (`cost.charge_reused`) and its
    tokens as ``tokens_cached``. Reports progress as stage ``encode``.
    """

    encoder: TextEncoder
    store: ArrayStore
    batch_size: int = BATCH

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, as the encoder would."""
        if not texts:
            return self.encoder.encode(texts, role=role)
        prefix = f"{self.encoder.fingerprint()}\x00{role}\x00".encode()
        keys = {
            text: sha256(prefix + text.encode("utf-8", "surrogatepass")).hexdigest() for text in dict.fromkeys(texts)
        }
        if isinstance(self.encoder, Inspects):
            self.encoder.inspect(list(keys))
        found = self.store.get(list(keys.values()))
        if found:
            spared = _sum([price for _, price in found.values()])
            cost.charge_reused(spared)
            if spared.tokens_in:
                cost.charge(tokens_cached=spared.tokens_in)
        vectors = {key: vector for key, (vector, _) in found.items()}
        missing = sorted((text for text, key in keys.items() if key not in vectors), key=len, reverse=True)
        size = self.batch_size if self.batch_size != BATCH else at_once()
        work = np.cumsum([0.0, *(len(text) + _OVERHEAD for text in missing)])
        for start in range(0, len(missing), size):
            progress.report("encode", len(vectors), len(keys), share=float(work[start] / work[-1]))
            batch = missing[start : start + size]
            encoded, shares = self._priced(batch, role)
            fresh = {keys[text]: (vector, share) for text, vector, share in zip(batch, encoded, shares, strict=True)}
            self.store.put(fresh)
            vectors.update((key, vector) for key, (vector, _) in fresh.items())
        if missing:
            progress.report("encode", len(vectors), len(keys))
        return np.stack([vectors[keys[text]] for text in texts])

    def fingerprint(self) -> str:
        """Return the fingerprint of the encoder: where a vector is kept does not change it."""
        return self.encoder.fingerprint()

    def _priced(self, batch: Sequence[str], role: Role) -> tuple[Matrix, list[cost.Cost]]:
        # The span is a child of the ambient one, which therefore gets every charge as well.
        with cost.Ledger().span("encode") as span:
            vectors = encode_spread(self.encoder, batch, role=role)
        assert span.entry is not None
        lengths = [len(text) + 1 for text in batch]
        of_length = {length: span.entry.cost * (length / sum(lengths)) for length in set(lengths)}
        return vectors, [of_length[length] for length in lengths]


def _sum(prices: Sequence[cost.Cost]) -> cost.Cost:
    """Add up many costs; adding them in pairs would make an object for each."""
    total: dict[str, float | None] = {}
    for name in cost.AMOUNTS:
        amounts = [getattr(price, name) for price in prices]
        if any(amount is None for amount in amounts):
            total[name] = None
        else:
            total[name] = max(amounts) if name == "peak_bytes" else sum(amounts)
    return cost.Cost(**total)


__all__ = ["Cached"]
