"""Measures a machine profile: the rate of every kind of work that cost formulas are made of, in less than a minute.

Where the work is ours (sums over pairs of events, answering a request), the component that does it is run on a made-up
log; where it is a library's, the library. Single-threaded rates are by CPU time, so that other work on the machine
moves them little; rates of several threads are by the clock, since that is what threads are for.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

from frugalrec import assets, progress, registry
from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.encoders._cached import Cached
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.e5 import E5
from frugalrec.encoders.onnx import Onnx
from frugalrec.encoders.static import Static
from frugalrec.evaluation import Evaluation, evaluate, quick_values
from frugalrec.interfaces import LanguageModel, Matrix, Role, TextEncoder
from frugalrec.machine_profile import Power, Profile, hardware
from frugalrec.metrics import parse
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._approximate import times
from frugalrec.recommenders._base import Scores
from frugalrec.recommenders._expected import dense_tables
from frugalrec.recommenders._ridge import invert
from frugalrec.recommenders._statistics import Decay, accumulate_states
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.recommenders.user_knn import UserKnn
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.work import ANSWERED, Expected, Work, answering

Points = list[tuple[float, float]]

SECONDS = 45.0
"""No measurement is begun after this many seconds."""

_SLICE = 0.2  # seconds for one rate, at least
_SLOW = 0.4  # seconds a call, above which one is enough
_MOST = 40  # times that what is fast is repeated
_GAIN = 1.15  # more threads must be this much faster to be recommended
_FACTOR_SIZES = (512, 1024, 3072)
_LENGTHS = (6, 16, 40, 126)
_TOUCHED = 1 << 28
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
            ("requests", self._scores),
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
        self,
        kind: str,
        size: float,
        amount: float,
        call: Callable[..., Any],
        *given: Any,
        threads: int = 1,
        beside: Sequence[Work] = (),
    ) -> None:
        """Add the rate of ``amount`` units a call: the median of several, the first of which only warms up.

        A call does the work ``beside`` as well, whose rates are known by now; its time is taken off.
        """
        if time.perf_counter() > self._until:
            self.notes.append(f"{kind} {size:,.0f}: not measured, out of time")
            return
        with threadpool_limits(limits=threads):
            taken: list[float] = []
            begun = time.perf_counter()
            # Many of what is fast, two of what is slow, one of what is very slow, beside the first.
            while len(taken) < (2 if sum(taken) > _SLOW else 3) or (
                len(taken) < _MOST and time.perf_counter() - begun < _SLICE
            ):
                wall, cpu = time.perf_counter(), time.process_time()
                call(*given)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                if threads == 1 and cpu > 1e-3:
                    self._ratios.append(wall / cpu)
                taken.append(max(cpu if threads == 1 else wall, 1e-9))
        whole = statistics.median(taken[1:])  # the first warms up
        known = Profile({}, {k: {n: sorted(p) for n, p in by.items()} for k, by in self.rates.items()}).seconds(beside)
        # What is taken off was measured at another moment: it may not eat up what was looked for.
        own = max(whole - (known or 0.0), whole / 10)
        self.rates.setdefault(kind, {}).setdefault(threads, []).append((float(size), amount / own))

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
        self._touch()
        for size in (1 << 22, 1 << 26):
            source = np.ones(size // 8)
            target = np.empty_like(source)
            self._measure("stream", size, 2.0 * size, np.copyto, target, source)
        # A product writes a cell for the first pair that falls into it and adds for the others: what a pair costs
        # depends on how many pairs share a cell.
        for n_items, n_events, length in (
            (8_000, 40_000, 10),
            (3_000, 60_000, 40),
            (1_500, 90_000, 150),
            (800, 90_000, 300),
        ):
            chosen = _log(n_items, n_events, length=length).matrix().astype(np.float64)
            lengths = np.diff(chosen.indptr).astype(np.float64)
            products = float(lengths @ lengths)
            self._measure("sparse-product", products / _gram(chosen).nnz, products, _gram, chosen)
        for n_items in (1_500, 4_000, 6_000):
            chosen = _log(n_items, 60_000).matrix()
            weights = np.ones((n_items, n_items), dtype=np.float32)
            histories = sparse.csr_array(chosen[:2_000].astype(np.float32))
            self._measure("gather", n_items, float(histories.nnz) * n_items, times, histories, weights)
        for length in (400, 4_000):
            lists = np.random.default_rng(0).random((200, length), dtype=np.float32)
            self._measure("rows", length, 200.0, _rows, lists)

    def _touch(self) -> None:
        """Measure what memory costs that is written for the first time: in the (geometric) middle, and at worst.

        A virtual machine whose host takes freed memory back may need ten times as long, or not, as it happens.
        """
        taken = []
        for _ in range(6):
            began = time.process_time()
            np.ones(_TOUCHED // 8)
            taken.append(max(time.process_time() - began, 1e-9))
        for kind, seconds in (("touch", (min(taken) * max(taken)) ** 0.5), ("touch-worst", max(taken))):
            self.rates[kind] = {1: [(1.0, _TOUCHED / seconds)]}

    def _pairs(self) -> None:
        for kind, n_items, n_events in (
            ("pairs-dense", 800, 40_000),
            ("pairs-dense", 2_000, 120_000),
            ("pairs-dense", 4_000, 400_000),
            ("pairs-sparse", 8_000, 60_000),
            ("pairs-sparse", 30_000, 60_000),
        ):
            dense = kind == "pairs-dense"
            log = _log(n_items, n_events, length=120 if dense else 9)
            tables = dense_tables(n_items, 1) if dense else ()
            self._measure(
                kind,
                n_items,
                _terms(log),
                lambda x=log: accumulate_states(x, [Decay(3.0, "positions")], 1.0),
                beside=tables,
            )
        data = _dataset(2_000, 60_000)
        self._measure("states", 1, 60_000.0 * 30, lambda: StateKnn().fit(data))

    def _texts(self) -> None:
        rng = np.random.default_rng(0)

        def titles() -> list[str]:
            # Words of this call alone, each several times: what is remembered of words is not counted.
            fresh = int(rng.integers(0, 1 << 20))
            return [" ".join(f"{fresh:05x}{w:x}" for w in row) for row in rng.integers(0, 1 << 11, (1_000, 5))]

        self._measure("words", 1, float(sum(map(len, titles()))), lambda: BagOfWords().encode(titles()))
        with tempfile.TemporaryDirectory() as folder:
            self._measure("store", 1, 1_000.0, lambda: _store(Path(folder) / f"{time.perf_counter_ns()}", titles()))
        if registry.missing_extra("encoder", "e5") is None:
            for length in _LENGTHS:
                self._encode(length, E5(threads=1), "encode e5", share=0.25)
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

    def _encode(self, length: int, encoder: TextEncoder, kind: str, *, share: float = 1.0) -> None:
        words = (_SENTENCE * 10).split()
        many = 64 if length < 20 else 32 if length < 64 else 8
        texts = [" ".join(words[i % 5 : i % 5 + length - 2]) for i in range(int(many * share))]
        tokens = _tokens(encoder, texts[:1])
        self._measure(kind, tokens, tokens * len(texts), lambda: encoder.encode(texts))

    def _answers(self) -> None:
        plan = Plan("popularity", Spec("popularity"))
        for n_items in (1_000, 4_000, ANSWERED):
            data = _dataset(n_items, 240_000 if n_items == 4_000 else 60_000)
            fitted = plan.build().fit(data)
            queries = [data.query(user) for user in range(data.n_users)]
            self._measure("answer", n_items, 100.0, _answer_each, fitted, queries[:100])
            # Sorting equal rows again and again is faster than sorting different ones; scores of thousands of queries
            # at once are memory that is touched for the first time.
            drawn = Pipeline(plan, _Drawn(n_items), None, ())
            many = queries if n_items < ANSWERED else queries[:400]
            fold = Fold(many, [q.history[-1:] for q in many])
            self._measure("rank", n_items, float(len(many)) * n_items, quick_values, drawn, fold, parse("ndcg@10"))
            split = Split("made up", data, fold, fold)
            how = Evaluation(timed_queries=1)
            self._measure("judge", n_items, float(len(many)) * n_items, evaluate, drawn, split, how, Ledger())
        self._measure("events", 1, 60_000.0, Popularity().fit, _dataset(2_000, 60_000))

    def _scores(self) -> None:
        """Measure what a request takes beside `answering`, by the kind of model: alone, most of it is overhead."""
        plan, few = Plan("made up", Spec("ease")), 200
        rng = np.random.default_rng(0)
        data = _dataset(few, 10_000)
        asked = [data.query(user) for user in range(100)]
        known = [answering(few).times(100.0)]
        for kind, linear in (("query", Ease()), ("state", SequentialLinear())):
            linear.n_items_, linear.weights_ = few, rng.random((few, few), dtype=np.float32)
            self._measure(kind, 1, 100.0, _answer_each, Pipeline(plan, linear, None, ()), asked, beside=_work(known))
        # Alone, a request meets rows that are not in the processor's caches, and leaves them full of its own.
        for n_items in (1_000, 3_000, 6_000):
            longer = _dataset(n_items, 60_000, length=120)
            queries = [longer.query(user) for user in range(100)]
            dense = Ease()
            dense.n_items_, dense.weights_ = n_items, rng.random((n_items, n_items), dtype=np.float32)
            met = float(sum(len(np.unique(q.history)) for q in queries)) * n_items
            known = [answering(n_items).times(100.0), Expected((Work("query", 100.0),))]
            fitted = Pipeline(plan, dense, None, ())
            self._measure("gather-alone", n_items, met, _answer_each, fitted, queries, beside=_work(known))
        for n_items in (2_000, 16_000):
            people = _dataset(n_items, 300_000, length=80)
            shape, model = DataShape.of(people), UserKnn().fit(people)
            queries = [people.query(user) for user in range(40)]
            ledger = Ledger()
            with ledger.span("count"):
                model.score(queries)
            pairs = (ledger.entries[0].cost.flops or 0.0) / 2
            besides = tuple(w for w in model.expected(shape).score.work or () if w.kind != "sparse-alone")
            known = [answering(n_items).times(40.0), Expected(besides).times(40.0)]
            fitted = Pipeline(plan, model, None, ())
            self._measure(
                "sparse-alone", shape.mean_popularity, pairs, _answer_each, fitted, queries, beside=_work(known)
            )
        for n_items in (1_000, 4_000):
            data = _dataset(n_items, 60_000)
            member = Popularity()
            fused = Hybrid((member, Popularity(half_life_days=1.0))).fit(data)
            queries = [data.query(user) for user in range(1_000)]
            parts = member.expected(DataShape.of(data))
            known = [(answering(n_items) + parts.score + parts.score).times(50.0)]
            fitted = Pipeline(plan, fused, None, ())
            self._measure(
                "fuse-alone", n_items, 100.0 * n_items, _answer_each, fitted, queries[:50], beside=_work(known)
            )
            self._measure(
                "fuse", n_items, 2_000.0 * n_items, fused.score, queries, beside=_work([parts.in_batch.times(2_000.0)])
            )

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
    with Ledger().span("recommend"):
        for query in queries:
            pipeline.recommend([query], 10)


def _work(stages: Sequence[Expected]) -> list[Work]:
    return [work for stage in stages for work in stage.work or ()]


@dataclass(init=False)
class _Drawn(Scores):
    """Gives every query scores of its own, which cost nothing to compute."""

    def __init__(self, n_items: int) -> None:
        self.n_items_ = n_items
        self._drawn = np.random.default_rng(0).random((256, n_items), dtype=np.float32)

    def fit(self, dataset: Dataset) -> Self:
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        return self._drawn[np.arange(len(queries)) % len(self._drawn)]


def _store(path: Path, texts: Sequence[str]) -> None:
    """Encode and keep ``texts`` in a new file, as the first run of a study does."""
    Cached(_Zeros(), ArrayCache(path)).encode(texts)


class _Zeros:
    """Encodes at no cost, so that what remains is the cost of keeping vectors."""

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        return np.zeros((len(texts), 384), dtype=np.float32)

    def fingerprint(self) -> str:
        return "zeros"


def _write(model: LanguageModel) -> Any:
    return model.generate(["The list of things:\n-"], max_tokens=24)


def _rows(lists: Matrix) -> Any:
    return [_row(values) for values in lists]


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


def _dataset(n_items: int, n_events: int, *, length: int = 40) -> Dataset:
    log = _log(n_items, n_events, length=length)
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
