"""What the machine itself tells: how many threads pay, its disk, its power."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from frugalrec import assets
from frugalrec.calibration._arithmetic import definite_of
from frugalrec.calibration._bench import Bench, by_the_clock
from frugalrec.calibration._reading import SENTENCE, is_cached, tokens_of
from frugalrec.encoders.onnx import Onnx
from frugalrec.machine_profile import Power

_GAIN = 1.15  # more threads must be this much faster to be recommended


def threads(bench: Bench) -> None:
    """Measure what threads change: products, factors and the encoder, by the clock."""
    square = np.random.default_rng(0).standard_normal((2048, 2048)).astype(np.float32)
    definite, double = definite_of(2048, np.float32), definite_of(1024, np.float64)
    (potrf,), (dpotrf,) = (linalg.get_lapack_funcs(("potrf",), (m,)) for m in (definite, double))
    # One thread by the clock as well, under a name of its own: rates by CPU time cannot be compared with these.
    for n in candidates(bench.cores):
        if bench.over:
            bench.notes.append(f"{n} threads: not measured, out of time")
            return
        with threadpool_limits(limits=n):
            bench.rates.setdefault("clock factor-f32", {})[n] = [
                (2048.0, by_the_clock(lambda: potrf(definite), 2048**3 / 3))
            ]
            bench.rates.setdefault("clock gemm-f32", {})[n] = [
                (2048.0, by_the_clock(lambda: square @ square, 2.0 * 2048**3))
            ]
            bench.rates.setdefault("clock factor-f64", {})[n] = [
                (1024.0, by_the_clock(lambda: dpotrf(double), 1024**3 / 3))
            ]
            bench.rates.setdefault("clock gemm-f64", {})[n] = [
                (1024.0, by_the_clock(lambda: double @ double, 2.0 * 1024**3))
            ]
        if is_cached(Onnx.model):
            _encoder_by_the_clock(bench, n)


def _encoder_by_the_clock(bench: Bench, threads: int) -> None:
    encoder = Onnx(threads=threads)
    texts = [SENTENCE[i : i + 50] for i in range(16)]
    tokens = tokens_of(encoder, texts)
    rate = by_the_clock(lambda: encoder.encode(texts), tokens)
    bench.rates.setdefault("clock encode", {})[threads] = [(tokens / len(texts), rate)]


def threads_of(bench: Bench) -> dict[str, int]:
    """Return how many threads to take for each kind of work that `threads` measured."""
    found: dict[str, int] = {}
    for name, kinds in (("linear algebra", ("clock factor-f32", "clock gemm-f32")), ("encoder", ("clock encode",))):
        by_threads = [bench.rates[kind] for kind in kinds if kind in bench.rates]
        if by_threads:
            found[name] = recommended_threads([{n: p[0][1] for n, p in b.items()} for b in by_threads])
    return found


def power(tdp_watts: float | None) -> Power:
    """Return the watts of the package, or what stands for them."""
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


def candidates(cores: int) -> list[int]:
    """Return the numbers of threads worth trying: 1, 2, 4 … and all cores."""
    counts = [1]
    while counts[-1] * 2 <= cores:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == cores else [*counts, cores]


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

    found = TDP()
    if not found.tdp:
        return Power()
    listed = getattr(found, "_get_cpu_power_from_registry", None)
    source = "TDP of the processor's model (codecarbon)"
    if listed is not None and listed(found.model) is None:
        source = "what codecarbon takes a thread to draw: it does not know this processor"
    return Power(float(found.tdp), "estimated", source)


def _rapl_microjoules() -> float | None:
    total, found = 0.0, False
    for counter in sorted(Path("/sys/class/powercap").glob("*-rapl:[0-9]/energy_uj")):
        try:
            total += float(counter.read_text())
            found = True
        except (OSError, ValueError):
            continue
    return total if found else None
