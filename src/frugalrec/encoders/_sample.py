"""Vectors of a few texts as an exported graph computed them where it was made, kept in it, to be compared elsewhere.

Processors that clip sums of bytes give other vectors for a graph from one that does not, and say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from frugalrec.encoders._rows import unit_rows
from frugalrec.interfaces import Matrix

SAMPLE = "frugalrec.sample"
"""What the sample is called among the metadata of an ONNX file."""

SAMPLE_TEXTS = (
    "A red cotton shirt with short sleeves", "How to cook rice", "Batteries AA, 12 pack", "Paris, a love story (1962)",
)  # fmt: skip
"""Read by the model's own tokenizer; whatever it makes of them, the same tokens are compared."""

LEAST_AGREEMENT = 0.9995
"""Of All-MiniLM, 1 minus the lowest cosine is up to .0001 between ways to add up that do not clip, and .001 to .004
where sums are clipped."""

Pooled = Callable[[Sequence[Sequence[int]]], Matrix]
"""From the tokens of texts to a vector each."""


def sampled(tokens: Sequence[Sequence[int]], pooled: Pooled) -> str:
    """Return the vectors of ``tokens`` as text that goes into the file."""
    vectors = unit_rows(pooled(tokens))
    return json.dumps({"tokens": [list(ids) for ids in tokens], "vectors": np.round(vectors, 5).tolist()})


def agreement(sample: str, pooled: Pooled) -> float:
    """Return the lowest cosine between vectors of a ``sample`` and the same ones computed here."""
    kept = json.loads(sample)
    found, there = unit_rows(pooled(kept["tokens"])), unit_rows(np.asarray(kept["vectors"], dtype=np.float32))
    return float((found * there).sum(axis=1).min())


__all__ = ["LEAST_AGREEMENT", "SAMPLE", "SAMPLE_TEXTS", "agreement", "sampled"]
