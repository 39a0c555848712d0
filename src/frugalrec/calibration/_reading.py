"""Encoders and language models, those whose weights are here."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Sequence
from importlib import util
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from frugalrec import assets, registry
from frugalrec.calibration._bench import Bench
from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.ids import IdMap
from frugalrec.encoders._bags import expected_rows
from frugalrec.encoders._cached import Cached
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.e5 import E5
from frugalrec.encoders.onnx import Onnx
from frugalrec.encoders.static import Static
from frugalrec.errors import ConfigError, MissingExtraError
from frugalrec.interfaces import LanguageModel, Matrix, Role, TextEncoder
from frugalrec.pipeline import Remembering
from frugalrec.recommenders._text import encode_items
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.work import Work, weights_name

_LENGTHS = (6, 16, 40, 126)
SENTENCE = "the quick brown fox jumps over a lazy dog while seven old ships sail north under silent stars "


def texts(bench: Bench) -> None:
    """Measure words, vectors that are stored or remembered, and the default encoder."""
    rng = np.random.default_rng(0)

    def titles(n: int = 1_000) -> list[str]:
        # Words of this call alone, each several times.
        fresh = int(rng.integers(0, 1 << 20))
        return [" ".join(f"{fresh:05x}{w:x}" for w in row) for row in rng.integers(0, 1 << 11, (n, 5))]

    some, encoder = titles(), BagOfWords()
    characters, dense = float(sum(map(len, some))), expected_rows(1_000.0, encoder.dim)
    bench.measure("words", 1, characters, encoder.encode, some, beside=dense)
    n_words = float(len({word for title in some for word in title.split()}))
    read = [*dense, Work("words", characters)]
    unread = (titles() for _ in count())
    drawn = deque(islice(unread, 50))  # before the clock runs

    def next_titles() -> list[str]:
        return drawn.popleft() if drawn else next(unread)

    bench.measure("vocabulary", 1, n_words, lambda: encoder.encode(next_titles()), beside=read)
    with tempfile.TemporaryDirectory() as folder:
        for dim in (64, 384, 512):
            bench.measure("store", 4 * dim, 4_000.0, lambda d=dim: _store(Path(folder), d, titles(4_000)))
            stored, asked = Cached(_Zeros(dim), ArrayCache(Path(folder) / f"{dim}")), titles(4_000)
            stored.encode(asked)
            bench.measure("fetch", 4 * dim, 4_000.0, stored.encode, asked)
            catalog = Catalog(IdMap(map(str, range(len(asked)))), {"title": asked}, ("title",))
            known = Remembering(_Zeros(dim))
            known.remember(catalog.texts())
            bench.measure("recall", 4 * dim, 4_000.0, encode_items, catalog, known)
    if not is_cached(Onnx.model):
        bench.notes.append(
            "encoder: not measured, its weights are not cached (frugalrec assets fetch all-minilm-l6-v2-int8)"
        )
        return
    model = assets.fetch(Onnx.model, offline=True).files["model.onnx"]
    bench.measure("load", 1, float(model.stat().st_size), lambda: Onnx(threads=1).encode([""]))
    for length in _LENGTHS:
        _encode(bench, length, Onnx(threads=1), "encode")


def more_encoders(bench: Bench) -> None:
    """Measure what reads texts besides the default encoder, where it is here."""
    if is_cached(Static.model):
        _encode(bench, _LENGTHS[0], Static(), "encode static")
    if registry.missing_extra("encoder", "e5") is None:
        for length in _LENGTHS[:2]:
            _encode(bench, length, E5(threads=1), "encode e5", share=0.25)


def language_models(bench: Bench, own: Sequence[LanguageModel] = ()) -> None:
    """Measure reading and writing of the language models that are here, and of some of the user's ``own``."""
    for model in own:
        _language_model(bench, model)
    if util.find_spec("llama_cpp") is None:
        bench.notes.append("language models: not measured, pip install 'frugalrec[llm]'")
        return
    cached = [s.asset.name for s in assets.status() if s.variant is not None and _is_gguf(s.variant)]
    if not cached:
        bench.notes.append("language models: none is cached (frugalrec assets list)")
    for name in cached:
        _language_model(bench, registry.build("llm", "llama-cpp", {"model": name, "context": 512}))


def own_model(path: Path) -> LanguageModel:
    """Return the language model at ``path``: a GGUF file, or a folder for transformers; raises where it is neither."""
    name = "transformers" if path.is_dir() else "llama-cpp"
    if not path.exists() or (name == "llama-cpp" and path.suffix != ".gguf"):
        raise ConfigError(
            f"expected a GGUF file, or a folder with config.json, model.safetensors and tokenizer.json, at {path}",
            hint="give the path that plans give",
        )
    if extra := registry.missing_extra("llm", name):
        raise MissingExtraError.of(name, extra)
    model = registry.build("llm", name, {"path": str(path), "context": 512})
    _ = model.weights_bytes  # says now, and not when all else was measured, that files are missing
    return cast(LanguageModel, model)


def _language_model(bench: Bench, model: LanguageModel) -> None:
    prompt, name = (SENTENCE * 8)[:700], weights_name(model)
    ledger = Ledger()
    with ledger.span("once"):
        model.loglikelihoods(prompt, [" end"])
    tokens = ledger.entries[0].cost.tokens_in or 1.0
    bench.measure(f"prompt {name}", 1, tokens, model.loglikelihoods, prompt, [" end"])
    with ledger.span("write"):
        _write(model)
    written = ledger.entries[1].cost.tokens_out or 1.0
    if written > 1:
        bench.measure(f"write {name}", 1, written, _write, model)


def _encode(bench: Bench, length: int, encoder: TextEncoder, kind: str, *, share: float = 1.0) -> None:
    words = (SENTENCE * 10).split()
    many = 64 if length < 20 else 32 if length < 64 else 8
    texts = [" ".join(words[i % 5 : i % 5 + length - 2]) for i in range(int(many * share))]
    tokens = tokens_of(encoder, texts[:1])
    bench.measure(kind, tokens, tokens * len(texts), lambda: encoder.encode(texts))


def _store(folder: Path, dim: int, texts: Sequence[str]) -> None:
    """Encode and keep ``texts`` in a new file, as the first run of a study does."""
    Cached(_Zeros(dim), ArrayCache(folder / f"{time.perf_counter_ns()}")).encode(texts)


class _Zeros:
    """Encodes at no cost, so that what remains is the cost of keeping vectors."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        return np.zeros((len(texts), self.dim), dtype=np.float32)

    def fingerprint(self) -> str:
        return "zeros"


def _write(model: LanguageModel) -> Any:
    return model.generate(["The list of things:\n-"], max_tokens=24)


def tokens_of(encoder: TextEncoder, texts: Sequence[str]) -> float:
    """Return how many tokens an encoder makes of ``texts``."""
    ledger = Ledger()
    with ledger.span("tokens"):
        encoder.encode(texts)
    return ledger.entries[0].cost.tokens_in or 1.0


def _is_gguf(variant: Any) -> bool:
    return any(file.name.endswith(".gguf") for file in variant.files)


def is_cached(asset: str) -> bool:
    """Whether the weights of ``asset`` are on this machine."""
    return any(s.asset.name == asset and s.variant is not None for s in assets.status())
