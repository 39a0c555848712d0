from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.bm25 import Bm25
from frugalrec.encoders.compressed import Compressed, _dealt
from frugalrec.errors import ConfigError, NotFittedError
from frugalrec.interfaces import Matrix, Role

METHODS = ("pca", "truncate", "int8", "binary", "product", "opq")
TEXTS = [
    f"{a} {b} {c}" for a in ("red", "green", "blue") for b in "abcdefgh" for c in ("story", "film", "game", "song")
]


class Gaussian:
    """Unit vectors around a mean, a few of their directions strong: as sentence encoders give them."""

    is_language_model = True

    def __init__(self, n: int = 600, dim: int = 32) -> None:
        rng = np.random.default_rng(0)
        drawn = rng.standard_normal((n, dim)) * np.linspace(2, 0.3, dim) + 1.5
        self.vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
        self.texts = [f"t{i}" for i in range(n)]

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        dim = self.vectors.shape[1]
        rows = [self.vectors[int(text[1:])] if text else np.zeros(dim, np.float32) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), dim)

    def fingerprint(self) -> str:
        return "gaussian"


def neighbours(vectors: Matrix, queries: Matrix, k: int = 10) -> list[set[int]]:
    return [set(np.argsort(-row)[1 : k + 1].tolist()) for row in queries @ vectors.T]


def overlap(encoder: Compressed, source: Gaussian) -> float:
    mean = source.vectors.mean(axis=0)
    exact = source.vectors - mean
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = encoder.encode(source.texts)
    if encoder.method in ("int8", "truncate"):
        found = found - found.mean(axis=0)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
    a, b = neighbours(exact, exact), neighbours(found, found)
    return float(np.mean([len(x & y) / 10 for x, y in zip(a, b, strict=True)]))


@pytest.mark.parametrize(
    ("settings", "least", "bytes_a_text"),
    [
        ({"method": "int8"}, 0.93, 36),
        ({"method": "pca", "dim": 32}, 0.999, 128),
        ({"method": "pca", "dim": 16}, 0.6, 64),
        ({"method": "binary"}, 0.1, 5),
        ({"method": "product", "part": 4}, 0.4, 9),
        ({"method": "product", "part": 1}, 0.9, 33),
        ({"method": "opq", "dim": 32, "part": 4}, 0.4, 9),
        ({"method": "opq", "dim": 10, "part": 4}, 0.3, 4),
        ({"method": "truncate", "dim": 16}, 0.3, 64),
    ],
)
def test_neighbours_stay_and_bytes_go(settings: dict[str, object], least: float, bytes_a_text: int) -> None:
    source = Gaussian()
    encoder = Compressed(source, **settings).fit(source.texts)
    assert overlap(encoder, source) > least
    codes = encoder.pack(source.vectors)
    assert codes.nbytes == bytes_a_text * len(source.texts)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_read_back_is_what_encode_gives(method: str) -> None:
    encoder = Compressed(BagOfWords(64), method).fit(TEXTS)
    plain = BagOfWords(64).encode([*TEXTS, ""])
    np.testing.assert_array_equal(encoder.unpack(encoder.pack(plain)), encoder.encode([*TEXTS, ""]))
    assert not encoder.encode([""]).any()
    assert encoder.encode([]).shape == (0, encoder.encode(["red"]).shape[1])


def test_pca_keeps_products_of_centred_vectors() -> None:
    source = Gaussian(n=200, dim=8)
    encoder = Compressed(source, "pca", dim=0).fit(source.texts)
    centred = source.vectors - source.vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    found = encoder.encode(source.texts)
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-4)


def test_whitening_evens_out_the_axes() -> None:
    source = Gaussian()
    axes = [
        Compressed(source, "pca", dim=8, whitening=w).fit(source.texts).pack(source.vectors).std(axis=0)
        for w in (0.0, 1.0)
    ]
    assert axes[0].max() / axes[0].min() > 1.2
    assert axes[1].max() / axes[1].min() < 1.01


def test_binary_requests_keep_their_floats() -> None:
    source = Gaussian()
    encoder = Compressed(source, "binary").fit(source.texts)
    items = encoder.encode(source.texts)
    assert len(np.unique(np.abs(items).round(5))) == 1
    rescored = neighbours(items, encoder.encode(source.texts[:100], role="query"))
    signs = neighbours(items, items[:100])
    centred = source.vectors - source.vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    exact = neighbours(centred, centred[:100])

    def kept(found: list[set[int]]) -> float:
        return float(np.mean([len(a & b) for a, b in zip(found, exact, strict=True)]))

    assert kept(rescored) > kept(signs)


def test_few_texts_are_kept_exactly_by_product_quantisation() -> None:
    encoder = Compressed(BagOfWords(64), "product", part=64).fit(TEXTS[:20])
    plain = BagOfWords(64).encode(TEXTS[:20])
    centred = plain - plain.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(TEXTS[:20]), centred, atol=1e-5)


def test_axes_are_dealt_out_evenly() -> None:
    spread = np.array([16.0, 8.0, 4.0, 2.0, 1.0, 0.5])
    runs = _dealt(spread, 2).reshape(3, 2)
    assert sorted(runs.ravel()) == list(range(6))
    np.testing.assert_allclose(np.prod(spread[runs], axis=1), 8.0)
    # What no axis is left for stands in the last run, which is shorter.
    assert sorted(_dealt(spread[:5], 2)) == list(range(5))
    assert len(_dealt(spread[:0], 2)) == 0


def test_runs_of_even_worth_keep_more_neighbours_in_the_same_bytes() -> None:
    source = Gaussian()
    found = [Compressed(source, "product", part=8), Compressed(source, "opq", dim=0, part=8)]
    kept = [overlap(encoder.fit(source.texts), source) for encoder in found]
    assert kept[1] > kept[0] + 0.05


def test_the_encoder_inside_learns_as_well() -> None:
    encoder = Compressed(Bm25(64), "int8")
    with pytest.raises(NotFittedError, match="bm25"):
        encoder.encode(["red"])
    assert encoder.fit(TEXTS).encode(["red"]).any()


@pytest.mark.parametrize("method", ["pca", "binary", "product", "opq"])
def test_learned_methods_say_so_before_fit(method: str) -> None:
    with pytest.raises(NotFittedError, match=method):
        Compressed(BagOfWords(64), method).encode(["red"])


@pytest.mark.parametrize("method", METHODS)
def test_a_catalogue_without_text(method: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = Compressed(BagOfWords(64), method).fit(["", "!"])
        assert not encoder.encode([""]).any()


def test_charges_by_formula() -> None:
    ledger = Ledger()
    encoder = Compressed(Gaussian(n=100, dim=8), "pca", dim=4)
    with ledger.span("fit"):
        encoder.fit([f"t{i}" for i in range(100)])
    with ledger.span("encode"):
        encoder.encode(["t1", "t2"])
    fit, encode = (entry.cost.flops for entry in ledger.entries)
    assert fit == 2 * 100 * 64 + 9 * 512
    assert encode == 2 * 2 * 8 * 4


@pytest.mark.parametrize(
    "settings", [{"method": "zip"}, {"dim": -1}, {"part": 0}, {"whitening": 1.5}], ids=lambda s: next(iter(s))
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="compressed"):
        Compressed(BagOfWords(64), **settings)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_expected_is_what_is_charged(method: Any) -> None:
    items = IdMap([f"i{k}" for k in range(len(TEXTS) + 1)])
    none = np.empty(0, dtype=np.int32)
    catalog = Catalog(items, {"title": [*TEXTS, ""]}, ("title",))
    shape = DataShape.of(Dataset(Interactions.from_events(none, none, IdMap([]), items), catalog))
    encoder = Compressed(BagOfWords(dim=64), method, dim=16)
    expected = encoder.expected(shape)
    ledger = Ledger()
    with ledger.span("encode"):
        encoder.fit([*TEXTS, ""])
        vectors = encoder.encode([*TEXTS, ""])
    charged = ledger.entries[0].cost
    # The encoder below charges for the empty text what it does not expect of a catalogue's texts.
    assert expected.flops == pytest.approx(charged.flops, rel=0.02)
    assert vectors.shape[1] == encoder.width
    assert expected.tokens_in == charged.tokens_in == 0


def test_what_an_unknown_encoder_takes_stays_unknown() -> None:
    items = IdMap(["a"])
    none = np.empty(0, dtype=np.int32)
    log = Interactions.from_events(none, none, IdMap([]), items)
    assert Compressed(Gaussian()).expected(DataShape.of(Dataset(log, Catalog(items)))).work is None
