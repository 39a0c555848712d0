"""Measures a machine profile: the rate of every kind of work that cost formulas are made of, in less than a minute.

Where the work is ours (sums over pairs of events, answering a request), the component that does it is run on a made-up
log; where it is a library's, the library. Single-threaded rates are by CPU time, so that other work on the machine
moves them little; rates of several threads are by the clock, since that is what threads are for.
"""

from __future__ import annotations

import operator
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

from frugalrec import assets, progress, registry
from frugalrec.cost import Cost, Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.e5 import E5
from frugalrec.encoders.onnx import Onnx
from frugalrec.encoders.static import Static
from frugalrec.evaluation import Evaluation, evaluate, quick_values
from frugalrec.interfaces import LanguageModel, TextEncoder
from frugalrec.machine_profile import Power, Profile, hardware
from frugalrec.metrics import parse
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._ridge import invert
from frugalrec.recommenders._statistics import Decay, accumulate_states
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.work import ANSWERED

Points = list[tuple[float, float]]

SECONDS = 45.0
"""No measurement is begun after this many seconds."""

_SLICE = 0.1  # seconds for one rate, at least
_GAIN = 1.15  # more threads must be this much faster to be recommended
_FACTOR_SIZES = (512, 1024, 3072)
_LENGTHS = (6, 16, 40, 126)
_DECAYS = (Decay(3.0, "positions"),)
_SENTENCE = "the quick brown fox jumps over a lazy dog while seven old ships sail north under silent stars "


def calibrate(*, tdp_watts: float | None = None, seconds: float = SECONDS) -> Profile:
    """Measure this machine. Nothing is fetched: what is not installed or cached is left out, and a note says so."""
    return _Bench(seconds).run(tdp_watts)


def candidates(cores: int) -> list[int]:
    """Return the numbers of threads worth trying: 1, 2, 4 … and all cores."""
    counts = [1]
    while counts[-1] * 2 <= cores:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == cores else [*counts, cores]


class _Bench:
    def __init__(self, seconds: float) -> None:
        self._until = time.perf_counter() + seconds
        self.rates: dict[str, dict[int, Points]] = {}
        self.notes: list[str] = []
        self._ratios: list[float] = []
        self._cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def run(self, tdp_watts: float | None) -> Profile:
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("matrix products", self._products),
            ("factorisations", self._factors),
            ("memory and sparse tables", self._memory),
            ("sums over users", self._pairs),
            ("answers", self._answers),
            ("matrix factorisation", self._als),
            ("texts", self._texts),
            ("language models", self._language_models),
            ("threads", self._threads),
        )
        for i, (name, step) in enumerate(steps):
            progress.report("calibrate", i, len(steps))
            if time.perf_counter() > self._until:
                self.notes.append(f"{name}: not measured, out of time")
                continue
            step()
        progress.report("calibrate", len(steps), len(steps))
        return Profile(
            hardware=hardware(),
            rates={kind: {n: tuple(sorted(p)) for n, p in by.items()} for kind, by in self.rates.items()},
            threads=self._recommended(),
            disk=disk_latency(),
            power=self._power(tdp_watts),
            contention=statistics.median(self._ratios) if self._ratios else None,
            created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            versions={name: metadata.version(name) for name in ("frugalrec", "numpy", "scipy", "onnxruntime")},
            notes=tuple(self.notes),
        )

    def _measure(
        self, kind: str, size: float, amount: float, call: Callable[..., Any], *given: Any, threads: int = 1
    ) -> None:
        """Add the rate of ``amount`` units a call: the median of several, the first of which only warms up."""
        if time.perf_counter() > self._until:
            self.notes.append(f"{kind} {size:,.0f}: not measured, out of time")
            return
        with threadpool_limits(limits=threads):
            taken: list[float] = []
            begun = time.perf_counter()
            # Three of what is fast, two of what is slow, beside the first.
            while len(taken) < 3 or (len(taken) < 4 and time.perf_counter() - begun < _SLICE):
                wall, cpu = time.perf_counter(), time.process_time()
                call(*given)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                if threads == 1 and cpu > 1e-3:
                    self._ratios.append(wall / cpu)
                taken.append(max(cpu if threads == 1 else wall, 1e-9))
        taken = taken[1:]  # the first warms up
        self.rates.setdefault(kind, {}).setdefault(threads, []).append((float(size), amount / statistics.median(taken)))

    def _products(self) -> None:
        for name, dtype in (("f32", np.float32), ("f64", np.float64)):
            for n in (256, 2048):
                a = np.random.default_rng(0).standard_normal((n, n)).astype(dtype)
                self._measure(f"gemm-{name}", n, 2.0 * n**3, np.matmul, a, a)

    def _factors(self) -> None:
        for name, dtype in (("f32", np.float32), ("f64", np.float64)):
            for n in _FACTOR_SIZES:
                if name == "f64" and n > 1024:
                    n = 2048
                definite = _definite(n, dtype)
                potrf, potrs = linalg.get_lapack_funcs(("potrf", "potrs"), (definite,))
                factor = potrf(definite, lower=False)[0]
                self._measure(f"factor-{name}", n, n**3 / 3, potrf, definite)
                self._measure(
                    f"substitute-{name}", n, 2.0 * n**2 * (n // 4), _substitution(potrs, factor, definite[:, : n // 4])
                )
                self._measure(f"invert-{name}", n, float(n) ** 3, _inverted, definite)
        square = _definite(384, np.float64)
        self._measure("eigen-f64", 384, 9.0 * 384**3, lambda: np.linalg.eigh(square))

    def _memory(self) -> None:
        for size in (1 << 22, 1 << 26):
            source = np.ones(size // 8)
            target = np.empty_like(source)
            self._measure("stream", size, 2.0 * size, np.copyto, target, source)
        # A product writes a cell for the first pair that falls into it and adds for the others: what a pair costs
        # depends on how many pairs share a cell.
        for n_items, n_events, length in ((8_000, 40_000, 10), (3_000, 60_000, 40), (1_500, 90_000, 150)):
            chosen = _log(n_items, n_events, length=length).matrix().astype(np.float64)
            lengths = np.diff(chosen.indptr).astype(np.float64)
            products = float(lengths @ lengths)
            self._measure("sparse-product", products / _gram(chosen).nnz, products, _gram, chosen)
        for n_items in (1_500, 6_000):
            chosen = _log(n_items, 60_000).matrix()
            weights = np.ones((n_items, n_items), dtype=np.float32)
            histories = sparse.csr_array(chosen[:200].astype(np.float32))
            self._measure("gather", n_items, float(histories.nnz) * n_items, operator.matmul, histories, weights)
        lists = [np.random.default_rng(0).random(400).astype(np.float32) for _ in range(500)]
        self._measure("rows", 1, 500, lambda: [_row(values) for values in lists])

    def _pairs(self) -> None:
        for kind, n_items, n_events in (
            ("pairs-dense", 800, 40_000),
            ("pairs-dense", 2_000, 120_000),
            ("pairs-dense", 4_000, 150_000),
            ("pairs-sparse", 8_000, 60_000),
            ("pairs-sparse", 30_000, 60_000),
        ):
            log = _log(n_items, n_events, length=120 if kind == "pairs-dense" else 9)
            self._measure(
                kind, n_items, _terms(log), lambda x=log: accumulate_states(x, [Decay(3.0, "positions")], 1.0)
            )
        data = _dataset(2_000, 60_000)
        self._measure("states", 1, 60_000.0 * 30, lambda: StateKnn().fit(data))

    def _texts(self) -> None:
        drawn = np.random.default_rng(0).integers(0, 900, (500, 5))
        texts = [" ".join(f"name{word}" for word in row) for row in drawn]
        self._measure("words", 1, float(sum(map(len, texts))), lambda: BagOfWords().encode(texts))
        with tempfile.TemporaryDirectory() as folder:
            store = ArrayCache(Path(folder) / "arrays.sqlite")
            self._measure("store", 1, 500.0, _stored, store, texts)
        if registry.missing_extra("encoder", "e5") is None:
            for length in _LENGTHS:
                self._encode(length, E5(threads=1), "encode e5")
        if self._is_cached(Static.model):
            self._encode(_LENGTHS[0], Static(), "encode static")
        if not self._is_cached(Onnx.model):
            self.notes.append(
                "encoder: not measured, its weights are not cached (frugalrec assets fetch all-minilm-l6-v2-int8)"
            )
            return
        for length in _LENGTHS:
            self._encode(length, Onnx(threads=1), "encode")

    def _is_cached(self, asset: str) -> bool:
        return any(s.asset.name == asset and s.variant is not None for s in assets.status())

    def _encode(self, length: int, encoder: TextEncoder, kind: str) -> None:
        words = (_SENTENCE * 10).split()
        texts = [
            " ".join(words[i % 5 : i % 5 + length - 2]) for i in range(64 if length < 20 else 32 if length < 64 else 8)
        ]
        tokens = _tokens(encoder, texts[:1])
        self._measure(kind, tokens, tokens * len(texts), lambda: encoder.encode(texts))

    def _answers(self) -> None:
        plan = Plan("popularity", Spec("popularity"))
        for n_items in (1_000, 4_000, ANSWERED):
            data = _dataset(n_items, 30_000)
            fitted = plan.build().fit(data)
            queries = [data.query(user) for user in range(400)]
            self._measure("answer", n_items, 50.0, _answer_each, fitted, queries[:50])
            fold = Fold(queries, [q.history[-1:] for q in queries])

            self._measure("rank", n_items, 400.0 * n_items, quick_values, fitted, fold, parse("ndcg@10"))
            split = Split("made up", data, fold, fold)
            how = Evaluation(timed_queries=1)
            self._measure("judge", n_items, 400.0 * n_items, evaluate, fitted, split, how, Ledger())
        small, asked = _dataset(200, 10_000), [_dataset(200, 10_000).query(user) for user in range(50)]
        self._measure("query", 1, 50.0, _score_each, Ease().fit(small), asked)
        self._measure("events", 1, 60_000.0, Popularity().fit, _dataset(2_000, 60_000))

    def _als(self) -> None:
        if util.find_spec("implicit") is None:
            self.notes.append("als: not measured, implicit is not installed (pip install 'frugalrec[als]')")
            return
        from frugalrec.recommenders.als import Als

        data = _dataset(1_500, 60_000)
        for factors in (64, 128):
            ledger = Ledger()
            with ledger.span("fit"):
                Als(factors=factors, iterations=1).fit(data)
            flops = ledger.entries[0].cost.flops
            assert flops is not None
            self._measure("als", factors, flops, Als(factors=factors, iterations=1).fit, data)

    def _language_models(self) -> None:
        if util.find_spec("llama_cpp") is None:
            self.notes.append("language models: not measured, pip install 'frugalrec[llm]'")
            return
        from frugalrec.llms.llama_cpp import LlamaCpp

        cached = [s.asset.name for s in assets.status() if s.variant is not None and _is_gguf(s.variant)]
        if not cached:
            self.notes.append("language models: none is cached (frugalrec assets list)")
        for name in cached:
            model = LlamaCpp(model=name, context=512)
            prompt = (_SENTENCE * 8)[:700]
            ledger = Ledger()
            with ledger.span("once"):
                model.loglikelihoods(prompt, [" end"])
            tokens = ledger.entries[0].cost.tokens_in or 1.0
            self._measure(f"prompt {name}", 1, tokens, model.loglikelihoods, prompt, [" end"])
            with ledger.span("write"):
                model.generate(["The list of things:\n-"], max_tokens=24)
            written = ledger.entries[1].cost.tokens_out or 1.0
            if written > 1:
                self._measure(f"write {name}", 1, written, _write, model)

    def _threads(self) -> None:
        """Measure what threads change: products, factors and the encoder, by the clock."""
        square = np.random.default_rng(0).standard_normal((2048, 2048)).astype(np.float32)
        definite = _definite(2048, np.float32)
        (potrf,) = linalg.get_lapack_funcs(("potrf",), (definite,))
        # One thread by the clock as well, under a name of its own: rates by CPU time cannot be compared with these.
        for n in candidates(self._cores):
            if time.perf_counter() > self._until:
                self.notes.append(f"{n} threads: not measured, out of time")
                return
            with threadpool_limits(limits=n):
                self.rates.setdefault("clock factor-f32", {})[n] = [
                    (2048.0, _clock(lambda: potrf(definite), 2048**3 / 3))
                ]
                self.rates.setdefault("clock gemm-f32", {})[n] = [
                    (2048.0, _clock(lambda: square @ square, 2.0 * 2048**3))
                ]
            if self._is_cached(Onnx.model):
                self._encoder_by_the_clock(n)

    def _encoder_by_the_clock(self, threads: int) -> None:
        encoder = Onnx(threads=threads)
        texts = [_SENTENCE[i : i + 50] for i in range(16)]
        tokens = _tokens(encoder, texts)
        rate = _clock(lambda: encoder.encode(texts), tokens)
        self.rates.setdefault("clock encode", {})[threads] = [(tokens / len(texts), rate)]

    def _recommended(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, kinds in (("linear algebra", ("clock factor-f32", "clock gemm-f32")), ("encoder", ("clock encode",))):
            by_threads = [self.rates[kind] for kind in kinds if kind in self.rates]
            if by_threads:
                found[name] = recommended_threads([{n: p[0][1] for n, p in b.items()} for b in by_threads])
        return found

    def _power(self, tdp_watts: float | None) -> Power:
        counter = _rapl_microjoules()
        if counter is not None:
            square = np.random.default_rng(0).standard_normal((1024, 1024))
            begun, before = time.perf_counter(), counter
            while time.perf_counter() - begun < 1.0:
                square @ square
            after = _rapl_microjoules()
            if after is not None and after > before:
                watts = (after - before) / 1e6 / (time.perf_counter() - begun)
                return Power(watts, "measured", "RAPL, whole package while one thread multiplies matrices")
        if tdp_watts is not None:
            return Power(tdp_watts, "estimated", "TDP, as given with --tdp-watts")
        return _power_by_codecarbon()


def recommended_threads(rates: Sequence[Mapping[int, float]]) -> int:
    """Return how many threads to take: more only where every kind of work gets faster by `_GAIN` with each step.

    >>> recommended_threads([{1: 10.0, 2: 19.0, 4: 20.0}])
    2
    """
    chosen = 1
    for n in sorted(rates[0]):
        if n > chosen and all(by.get(n, 0.0) >= _GAIN * by[chosen] for by in rates):
            chosen = n
    return chosen


def disk_latency(folder: Path | None = None, *, megabytes: int = 64) -> dict[str, float | None]:
    """Return ``write_bytes_per_second`` (synchronised at the end) and ``fsync_seconds`` (median of small writes)."""
    folder = assets.cache_dir() if folder is None else folder
    block = os.urandom(1 << 20)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            begun = time.perf_counter()
            for _ in range(megabytes):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            written = time.perf_counter() - begun
            taken = []
            for _ in range(20):
                file.write(block[:4096])
                file.flush()
                begun = time.perf_counter()
                os.fsync(file.fileno())
                taken.append(time.perf_counter() - begun)
    except OSError:
        return {"write_bytes_per_second": None, "fsync_seconds": None}
    return {"write_bytes_per_second": megabytes * float(1 << 20) / written, "fsync_seconds": statistics.median(taken)}


def _power_by_codecarbon() -> Power:
    if util.find_spec("codecarbon") is None:
        return Power()
    from codecarbon.core.cpu import TDP

    watts = TDP().tdp
    return Power(float(watts), "estimated", "TDP of the processor's model (codecarbon)") if watts else Power()


def _rapl_microjoules() -> float | None:
    total, found = 0.0, False
    for counter in sorted(Path("/sys/class/powercap").glob("*-rapl:[0-9]/energy_uj")):
        try:
            total += float(counter.read_text())
            found = True
        except (OSError, ValueError):
            continue
    return total if found else None


def _clock(call: Callable[[], Any], amount: float) -> float:
    call()
    taken = []
    for _ in range(2):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return amount / min(taken)


def _definite(n: int, dtype: type[np.floating[Any]]) -> np.ndarray[Any, Any]:
    drawn = np.random.default_rng(0).standard_normal((n, n)).astype(dtype)
    return np.asfortranarray((drawn + drawn.T) / 2 + 4 * n**0.5 * np.eye(n, dtype=dtype))


def _substitution(potrs: Any, factor: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> Callable[[], Any]:
    return lambda: potrs(factor, np.asfortranarray(right), lower=False)


def _inverted(definite: np.ndarray[Any, Any]) -> Any:
    return invert(definite.copy(order="F"))


def _gram(chosen: sparse.csr_array) -> Any:
    return chosen.T @ chosen


def _answer_each(pipeline: Any, queries: Sequence[Query]) -> None:
    for query in queries:
        pipeline.recommend([query], 10)


def _score_each(model: Ease, queries: Sequence[Query]) -> None:
    for query in queries:
        model.score([query])


def _stored(store: ArrayCache, texts: Sequence[str]) -> None:
    vectors = np.zeros((len(texts), 384), dtype=np.float32)
    again = [f"{text} {time.perf_counter_ns()}" for text in texts]
    for start in range(0, len(texts), 128):
        keys = [sha256(text.encode()).hexdigest() for text in again[start : start + 128]]
        store.get(keys)
        store.put({key: (vector, Cost.zero()) for key, vector in zip(keys, vectors, strict=False)})


def _write(model: LanguageModel) -> Any:
    return model.generate(["The list of things:\n-"], max_tokens=24)


def _row(values: np.ndarray[Any, Any]) -> Any:
    """Do what item-knn does for a row of similarities."""
    other = (values > 0.1) & (np.arange(len(values)) != 3)
    kept = values[other]
    best = np.argpartition(kept, len(kept) - 100)[len(kept) - 100 :]
    return np.argsort(best), kept[best]


def _terms(log: Interactions) -> float:

    ledger = Ledger()
    with ledger.span("pairs"):
        accumulate_states(log, _DECAYS, 1.0)
    flops = ledger.entries[0].cost.flops
    assert flops is not None
    return flops / 2


def _log(n_items: int, n_events: int, *, length: int = 40) -> Interactions:
    rng = np.random.default_rng(0)
    share = 1.0 / np.arange(1, n_items + 1) ** 0.8
    items = rng.choice(n_items, size=n_events, p=share / share.sum()).astype(np.int32)
    users = (np.arange(n_events) // length).astype(np.int32)
    return Interactions.from_events(users, items, _ids("u", int(users[-1]) + 1), _ids("i", n_items))


def _dataset(n_items: int, n_events: int) -> Dataset:
    log = _log(n_items, n_events)
    return Dataset(log, Catalog(log.items), "made up")


def _ids(prefix: str, n: int) -> IdMap:
    return IdMap([f"{prefix}{i}" for i in range(n)])


def _tokens(encoder: TextEncoder, texts: Sequence[str]) -> float:

    ledger = Ledger()
    with ledger.span("tokens"):
        encoder.encode(texts)
    return ledger.entries[0].cost.tokens_in or 1.0


def _is_gguf(variant: Any) -> bool:
    return any(file.name.endswith(".gguf") for file in variant.files)


__all__ = ["calibrate", "candidates", "disk_latency", "recommended_threads"]
