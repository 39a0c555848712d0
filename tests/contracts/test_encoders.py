"""What every text encoder must do, whichever it is."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frugalrec import registry
from frugalrec.cost import Ledger, with_context
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.encoders._cached import Cached
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.errors import AssetError, FrugalrecError, NotFittedError
from frugalrec.interfaces import ExpectsText, LearnsFromTexts, Matrix, TextEncoder
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.encoders import HashEncoder
from frugalrec.testing.models import tiny_bert, tiny_sentence_bert
from frugalrec.testing.servers import EmbeddingServer

NAMES = registry.names("encoder")
NEEDED: dict[str, dict[str, Any]] = {}
"""Settings without which an encoder has nothing to work with here; filled before the first test."""
TEXTS = [
    "Toy Story (1995). Animation|Children's|Comedy",
    "Heat",
    "<p>A <b>quiet</b> drama &amp; its sequel</p>",
    "Amélie; a café in Montmartre",
    "the the the",
    "!?",
    "Heat",
]
CATALOGUE = [*TEXTS[:6], "Alien", "story of a quiet café", "comedy for children"]
LONG = " ".join(f"word{i}" for i in range(100))
EMPTY = ["", "   ", "\n\t", "<br/>"]


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run an endpoint, and save small transformers, for the encoders that use such."""
    with EmbeddingServer() as server:
        NEEDED["http"] = {"url": server.url, "parameters": 1000}
        if registry.missing_extra("encoder", "transformers") is None:
            NEEDED["transformers"] = {"path": str(tiny_bert(tmp_path_factory.mktemp("bert"), [*CATALOGUE, LONG]))}
        if registry.missing_extra("encoder", "sentence-transformers") is None:
            folder = tmp_path_factory.mktemp("sentence")
            NEEDED["sentence-transformers"] = {"model": str(tiny_sentence_bert(folder, [*CATALOGUE, LONG]))}
        yield


@pytest.fixture(scope="session", autouse=True)
def loaded(surroundings: None) -> list[TextEncoder]:
    """Fetch and load what default settings need, once; keeping it here keeps it loaded for all tests."""
    usable = [name for name in NAMES if registry.missing_extra("encoder", name) is None]
    encoders = [registered(name) for name in usable]
    try:
        for encoder in encoders:
            encoder.encode(["text"])
    except AssetError as error:
        pytest.fail(f"the encoders' contract needs the default weights: {error}", pytrace=False)
    return encoders


def registered(name: str, **settings: Any) -> TextEncoder:
    """Build an encoder, with what it cannot do without, and let it learn from a catalogue if it must."""
    extra = registry.missing_extra("encoder", name)
    if extra is not None:
        pytest.skip(f"'{name}' needs the extra '{extra}'")
    encoder = unfitted(name, **settings)
    return encoder.fit(CATALOGUE) if isinstance(encoder, LearnsFromTexts) else encoder  # type: ignore[return-value]


def unfitted(name: str, **settings: Any) -> TextEncoder:
    for option, declared in registry.settings_of(registry.load("encoder", name)).items():
        if registry.kind_of(str(declared.type)) == "encoder":
            settings.setdefault(option, BagOfWords(dim=64))
    settings = {**NEEDED.get(name, {}), **settings}
    encoder: TextEncoder = registry.build("encoder", name, settings)
    return encoder


@pytest.fixture(params=[*NAMES, "the fake", "cached"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], TextEncoder]]:
    """A maker of equal encoders."""
    if request.param == "cached":
        store = ArrayCache(tmp_path / "arrays.sqlite")
        yield lambda: Cached(registered("bag-of-words"), store, batch_size=3)
        store.close()
    elif request.param == "the fake":
        yield HashEncoder
    else:
        yield lambda: registered(request.param)


@pytest.fixture
def encoder(build: Callable[[], TextEncoder]) -> TextEncoder:
    return build()


def test_satisfies_the_protocol(encoder: TextEncoder) -> None:
    assert isinstance(encoder, TextEncoder)


def test_rows_are_float32_and_of_unit_norm(encoder: TextEncoder) -> None:
    for role in typing.get_args(typing.get_type_hints(encoder.encode)["role"]):
        vectors = encoder.encode(TEXTS, role=role)
        assert vectors.dtype == np.float32
        assert vectors.ndim == 2
        assert len(vectors) == len(TEXTS)
        norms = np.linalg.norm(vectors, axis=1)
        assert np.all((np.abs(norms - 1) < 1e-5) | (norms == 0))
        assert np.all(norms[:5] > 0)


def test_texts_without_content_get_zero_rows(encoder: TextEncoder) -> None:
    vectors = encoder.encode(["Heat", *EMPTY[:3], "Alien"])
    assert not vectors[1:4].any()
    assert vectors[0].any()
    assert vectors[4].any()


@pytest.mark.parametrize("name", NAMES)
def test_markup_alone_is_no_content(name: str) -> None:
    assert not registered(name).encode(EMPTY).any()


def test_no_texts_make_no_rows_of_the_right_width(encoder: TextEncoder) -> None:
    nothing = encoder.encode([])
    assert nothing.shape == (0, encoder.encode(["Heat"]).shape[1])
    assert nothing.dtype == np.float32


def test_equal_encoders_agree(build: Callable[[], TextEncoder]) -> None:
    np.testing.assert_allclose(build().encode(TEXTS), build().encode(TEXTS), atol=1e-6)
    assert build().fingerprint() == build().fingerprint()


def test_a_vector_does_not_depend_on_its_batch(build: Callable[[], TextEncoder]) -> None:
    together = build().encode(TEXTS)
    alone = np.concatenate([build().encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(build().encode(TEXTS[::-1])[::-1], together, atol=1e-5)


def test_its_result_belongs_to_the_caller(encoder: TextEncoder) -> None:
    first = encoder.encode(TEXTS)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_allclose(encoder.encode(TEXTS), kept, atol=1e-6)


def _altered(setting: dataclasses.Field[Any], hint: Any, value: Any) -> list[Any]:
    if typing.get_origin(hint) is typing.Literal:
        return [option for option in typing.get_args(hint) if option != value]
    if hint is bool:
        return [not value]
    if hint in (int, float):
        return list({value * 2 or 1, value // 2 or 1})
    return [f"{value}x "] if hint is str else []


@pytest.mark.parametrize("name", NAMES)
def test_settings_that_change_vectors_change_the_fingerprint(name: str) -> None:
    def vectors_of(encoder: TextEncoder) -> list[Matrix]:
        return [encoder.encode([TEXTS[0], LONG], role="item"), encoder.encode([TEXTS[0]], role="query")]

    plain = registered(name)
    before = vectors_of(plain)
    hints = typing.get_type_hints(type(plain))
    seen = {plain.fingerprint()}
    for setting in registry.settings_of(type(plain)).values():
        for value in _altered(setting, hints[setting.name], getattr(plain, setting.name)):
            try:
                other = registered(name, **{setting.name: value})
                vectors = vectors_of(other)
            except FrugalrecError:  # not every value is possible: there is no such model, or folder
                continue
            if any(a.shape != b.shape or np.abs(a - b).max() > 1e-4 for a, b in zip(vectors, before, strict=True)):
                assert other.fingerprint() not in seen, f"{setting.name} = {value!r}"
                seen.add(other.fingerprint())
    assert len(seen) > 1


@pytest.mark.parametrize("name", NAMES)
def test_what_must_learn_from_texts_says_so_first(name: str) -> None:
    encoder = unfitted(name)
    if not isinstance(encoder, LearnsFromTexts):
        pytest.skip("learns nothing")
    for ask in (encoder.fingerprint, lambda: encoder.encode(["Heat"])):
        with pytest.raises(NotFittedError, match=name):
            ask()
    assert encoder.fit(CATALOGUE) is encoder
    other = unfitted(name)
    assert isinstance(other, LearnsFromTexts)
    assert other.fit(CATALOGUE[3:]).fingerprint() != encoder.fingerprint()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_charges_what_it_takes(name: str) -> None:
    encoder = registered(name)
    spent = []
    for texts in (TEXTS, TEXTS + TEXTS, EMPTY):
        ledger = Ledger()
        with ledger.span("encode"):
            encoder.encode(texts)
        spent.append(ledger.total())
    once, twice, nothing = spent
    assert once.flops is not None
    assert once.flops > 0
    assert twice.flops == pytest.approx(2 * once.flops)
    assert once.tokens_in is not None
    assert (once.tokens_in > 0) == type(encoder).is_language_model
    assert twice.tokens_in == pytest.approx(2 * once.tokens_in)
    assert nothing.tokens_in == 0


@pytest.mark.parametrize("name", NAMES)
def test_what_is_expected_is_what_is_charged(name: str) -> None:
    """Of FLOPs and tokens, to the last one or within the spread that it admits to.

    An encoder that cannot say has no `expected`, and is unknown.
    """
    encoder = registered(name)
    if not isinstance(encoder, ExpectsText):
        pytest.skip("it does not say what it takes")
    items = IdMap([f"i{k}" for k in range(len(CATALOGUE))])
    none = np.empty(0, dtype=np.int32)
    catalog = Catalog(items, {"title": CATALOGUE}, ("title",))
    log = Interactions.from_events(none, none, IdMap([]), items)
    expected = encoder.expected(DataShape.of(Dataset(log, catalog)))
    if expected.work is None:
        pytest.skip("what it is made of does not say what it takes")
    ledger = Ledger()
    with ledger.span("encode"):
        if isinstance(encoder, LearnsFromTexts):
            encoder.fit(list(dict.fromkeys(CATALOGUE)))
        vectors = encoder.encode(list(dict.fromkeys(CATALOGUE)))
    charged = ledger.entries[0].cost
    assert expected.flops == pytest.approx(charged.flops, rel=1e-9 + expected.spread - 1.0)
    assert expected.tokens_in == pytest.approx(charged.tokens_in, rel=1e-9 + expected.spread - 1.0)
    assert vectors.shape[1] == getattr(encoder, "width", encoder.dim)


@pytest.mark.parametrize("name", NAMES)
def test_charges_reach_the_ledger_from_a_thread_pool(name: str) -> None:
    encoder = registered(name)
    ledger = Ledger()
    with ledger.span("encode"), ThreadPoolExecutor(2) as pool:
        list(pool.map(with_context(encoder.encode), [TEXTS, TEXTS]))
    assert ledger.total().flops
