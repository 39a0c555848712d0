from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.encoders._cached import Cached
from frugalrec.encoders._spread import encode_spread, unloaded
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.bm25 import Bm25
from frugalrec.encoders.onnx import Onnx
from frugalrec.executors import executing
from frugalrec.executors.local import Local
from frugalrec.interfaces import Matrix, Role
from frugalrec.stores.array_cache import ArrayCache

TEXTS = [f"story {i} of valley {i % 7}" for i in range(300)]


def test_workers_give_the_same_vectors_and_the_same_costs(tmp_path: Path) -> None:
    encoder = BagOfWords(dim=64)
    found, flops = [], []
    for workers in (1, 2):
        ledger = Ledger()
        with executing(Local(workers=workers)), ledger.span("encode"):
            found.append(Cached(encoder, ArrayCache(tmp_path / f"{workers}.sqlite")).encode(TEXTS))
        flops.append(ledger.total().flops)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], encoder.encode(TEXTS))
    assert flops[0] == flops[1]


def test_what_was_learned_goes_along() -> None:
    encoder = Bm25(dim=64)
    encoder.fit(TEXTS)
    assert unloaded(encoder).fingerprint() == encoder.fingerprint()
    with executing(Local(workers=2)):
        assert np.array_equal(encode_spread(encoder, TEXTS), encoder.encode(TEXTS))


def test_what_was_loaded_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Onnx(max_tokens=64)
    encoder._network = object()  # type: ignore[assignment]
    fresh = unloaded(encoder)
    assert fresh == encoder
    assert fresh._network is None


@dataclass
class Asked:
    """Says in which process it was asked."""

    name: str = "a setting"

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        return np.full((len(texts), 1), os.getpid(), dtype=np.float32)

    def fingerprint(self) -> str:
        return "asked"


@dataclass
class Bought(Asked):
    price: str = ""


@dataclass
class Around(Asked):
    encoder: Asked = field(default_factory=Asked)


def test_workers_do_it() -> None:
    with executing(Local(workers=2)):
        pids = set(encode_spread(Asked(), TEXTS).ravel().tolist())
    assert float(np.float32(os.getpid())) not in pids


def test_what_is_bought_is_bought_here() -> None:
    with executing(Local(workers=2)):
        for encoder in (Bought(), Around()):
            assert set(encode_spread(encoder, TEXTS).ravel().tolist()) == {float(np.float32(os.getpid()))}
