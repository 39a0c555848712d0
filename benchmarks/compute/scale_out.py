"""Encoding and summing on several workers: how much faster than on one, and what a killed worker changes.

    python benchmarks/compute/scale_out.py                        # processes of this machine
    python benchmarks/compute/scale_out.py --executor ray         # a Ray cluster on this machine (extra ray)

MovieLens-1M: titles are encoded by all-MiniLM-L6-v2 (int8, nothing cached), and the sums of the sequential linear model
are made. Workers are started and have loaded the encoder before the clock starts. Each round tries every number of
workers, and the best of --rounds counts, since other work on the machine only ever adds. "The same" says whether
vectors and sums of every round equal those of one worker bit for bit. With --kill, one worker is killed (signal 9) in
the midst of each stage.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

import numpy as np

from frugalrec.config import parse_config
from frugalrec.cost import Ledger
from frugalrec.datasets import load_data
from frugalrec.encoders._cached import Cached
from frugalrec.encoders.onnx import Onnx
from frugalrec.executors import Executor, Shard, executing, opened
from frugalrec.machine import describe
from frugalrec.recommenders._sharded import accumulated, packed
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.stores.array_cache import ArrayCache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", choices=["local", "ray"], default="local")
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--texts", type=int, default=3000)
    parser.add_argument("--users", type=int, default=6040)
    parser.add_argument("--kill", action="store_true", help="kill one worker a second into each stage")
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    given = parser.parse_args()
    config = parse_config({"data": {"dataset": "movielens-1m"}}, "the benchmark's configuration")
    dataset, _ = load_data(config.data, Path())
    texts = list(dict.fromkeys(dataset.catalog.texts()))[: given.texts]
    log = dataset.interactions.take(dataset.interactions.user < given.users)
    print(f"{given.executor}: {len(texts):,} titles, {len(log):,} events; load {os.getloadavg()[0]:.1f}")
    print("| workers | start s | encode s | sums s | both s | CPU s | times one worker | the same |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    best: dict[int, dict[str, Any]] = {}
    results: dict[int, set[str]] = {}
    for _ in range(given.rounds):
        for n in given.workers:
            found, digest = measured(given, n, texts, log)
            results.setdefault(n, set()).add(digest)
            if n not in best or found["both s"] < best[n]["both s"]:
                best[n] = found
    first = given.workers[0]
    for n, found in best.items():
        found["ratio"] = best[first]["both s"] / found["both s"]
        found["same"] = len(results[n] | results[first]) == 1
        cells = [f"{found[name]:.1f}" for name in ("start s", "encode s", "sums s", "both s", "CPU s")]
        print(f"| {n} | {' | '.join(cells)} | {found['ratio']:.2f} | {'yes' if found['same'] else 'no'} |", flush=True)
    if given.out:
        facts = {"executor": given.executor, "texts": len(texts), "events": len(log), "killed": given.kill}
        given.out.write_text(json.dumps({**facts, "machine": describe(), "workers": best}, indent=2) + "\n")


def measured(given: argparse.Namespace, n: int, texts: list[str], log: Any) -> tuple[dict[str, Any], str]:
    ledger, encoder = Ledger(), Onnx()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, executing(opened(given.executor, workers=n)) as executor:
        pids = {int(r.load()["pid"][0]) for r in executor.map(awake, [Shard(0.2)] * 2 * n)}
        Cached(encoder, ArrayCache(Path(folder) / "warm.sqlite")).encode([f"warm {i}" for i in range(256 * n)])
        clock = [time.perf_counter()]
        with ledger.span("encode"), killing(given, executor, pids):
            vectors = Cached(encoder, ArrayCache(Path(folder) / "timed.sqlite")).encode(texts)
        clock.append(time.perf_counter())
        with ledger.span("sums"), killing(given, executor, pids):
            sums = accumulated(SequentialLinear(half_lives=(1.5, 15.0), gap_half_life=60.0), log)
        clock.append(time.perf_counter())
    seconds = {"encode s": clock[1] - clock[0], "sums s": clock[2] - clock[1], "both s": clock[2] - clock[0]}
    load = os.getloadavg()[0]
    return (
        {"start s": clock[0] - started, **seconds, "CPU s": ledger.total().cpu_seconds, "load": load},
        digest_of(vectors, *packed(sums).values()),
    )


def digest_of(*arrays: np.ndarray) -> str:
    """Return what stands for every bit, so that no round holds gigabytes that the next one must do without."""
    digest = sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def awake(seconds: float) -> dict[str, np.ndarray]:
    """Keep a worker busy, so that all of them are started, and tell its process."""
    time.sleep(seconds)
    return {"pid": np.array([os.getpid()])}


class killing:  # noqa: N801
    """Kills one worker a second after the block begins, where there are several."""

    def __init__(self, given: argparse.Namespace, executor: Executor, pids: set[int]) -> None:
        wanted = given.kill and executor.workers > 1 and pids
        self._timer = threading.Timer(1.0, self._kill, (pids.pop(),)) if wanted else None

    def __enter__(self) -> None:
        if self._timer:
            self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()

    @staticmethod
    def _kill(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
