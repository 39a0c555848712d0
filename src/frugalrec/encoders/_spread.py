"""Encoding by the executor in force: each worker loads the encoder once and reads its part of the texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frugalrec.executors import Arrays, Shard, current
from frugalrec.interfaces import Matrix, Role, TextEncoder

BATCH = 128
"""Texts that are encoded together, wherever it is: vectors of quantised models depend on what else is in a batch."""

BATCHES_A_WORKER = 4


def at_once() -> int:
    """Return how many texts to hand over at once: as many batches for each worker of the executor in force."""
    executor = current()
    return BATCH if executor is None or executor.workers < 2 else BATCH * BATCHES_A_WORKER * executor.workers


def encode_spread(encoder: TextEncoder, texts: Sequence[str], *, role: Role = "item") -> Matrix:
    """Return ``encoder.encode(texts)``, batch by batch on the workers of the executor in force, if it has several.

    Whatever is bought is bought here, under the cap in force, and what has collaborators leaves it to them.
    """
    executor = current()
    if executor is None or executor.workers < 2 or len(texts) <= BATCH or not _can_be_sent(encoder):
        return encoder.encode(texts, role=role)
    function = executor.remembered(f"encode {encoder.fingerprint()}", lambda: _Encode(unloaded(encoder)))
    shards = [Shard((texts[start : start + BATCH], role)) for start in range(0, len(texts), BATCH)]
    return np.concatenate([found.load()["vectors"] for found in executor.map(function, shards, stage="on workers")])


def padded(texts: Sequence[str], lengths: Sequence[int], batch_size: int) -> dict[int, int]:
    """Return how many texts are read at each length, padding included, when `Cached` hands them over.

    ``lengths``: tokens of each text. Texts come `BATCH` at a time, the longest first; ``batch_size`` of these with like
    numbers of tokens together are as long as the longest of them.
    """
    found: dict[int, int] = {}
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
    for start in range(0, len(order), BATCH):
        group = sorted(lengths[i] for i in order[start : start + BATCH])
        for first in range(0, len(group), batch_size):
            batch = group[first : first + batch_size]
            found[batch[-1]] = found.get(batch[-1], 0) + len(batch)
    return found


def _can_be_sent(encoder: Any) -> bool:
    if not dataclasses.is_dataclass(encoder) or hasattr(encoder, "price"):
        return False
    settings = [getattr(encoder, f.name) for f in dataclasses.fields(encoder) if f.init]
    return not any(hasattr(value, "encode") and not isinstance(value, str) for value in settings)


def unloaded(component: Any) -> Any:
    """Return a component with the same settings and learned state, and nothing that was loaded from files."""
    fresh = type(component)(**{f.name: getattr(component, f.name) for f in dataclasses.fields(component) if f.init})
    for name, value in vars(component).items():
        if name.endswith("_") and not name.startswith("_"):
            setattr(fresh, name, value)
    if hasattr(fresh, "inspect"):
        fresh.inspect([])  # it was shown all texts here, and need not warn again
    return fresh


@dataclass(frozen=True, eq=False)
class _Encode:
    encoder: Any

    def __call__(self, payload: tuple[list[str], Role]) -> Arrays:
        texts, role = payload
        return {"vectors": self.encoder.encode(texts, role=role)}


__all__ = ["BATCH", "at_once", "encode_spread", "padded"]
