"""Bits in memory, bytes on disk: what EASE + content keeps when `content` stores its vectors in two levels.

    python benchmarks/language/two_levels.py validation beauty --data DIR
    python benchmarks/language/two_levels.py test beauty --data DIR --rescored 100
    python benchmarks/language/two_levels.py serve beauty --data DIR

The default encoder's vectors; half-life, whitening and weight are chosen on validation users for each way of storing.
``validation`` compares numbers of rescored items on validation users; ``test`` scores test users once. ``serve`` saves
content alone, stored either way, and answers 500 test users one at a time in a process that loaded it.
"""

from __future__ import annotations

import os

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from _setting import WHITENINGS, Bench, dataset, quiet, remembered, split_of

from frugalrec.data.dataset import Dataset, Query
from frugalrec.encoders.onnx import Onnx
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders.content import Content
from frugalrec.significance import bootstrap_interval, paired_difference
from frugalrec.stores.array_cache import ArrayCache

ANSWERED = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["validation", "test", "serve"])
    parser.add_argument("name", choices=["movielens-100k", "beauty"])
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--work", type=Path, default=Path("runs/encoders"), help="where vectors are kept")
    parser.add_argument("--rescored", type=int, default=100, help="rows that `test` reads beside the history's")
    given = parser.parse_args()
    quiet()
    whole, store = dataset(given.name, given.data), ArrayCache(given.work / "vectors.sqlite")
    if given.what == "serve":
        serve(given.name, whole, store)
    else:
        judge(Bench(given.name, whole), store, given.what, given.rescored)


def judge(bench: Bench, store: ArrayCache, what: str, rescored: int) -> None:
    """Print what the hybrid reaches with two levels, and what that is of the hybrid with full vectors."""
    numbers = [rescored]
    if what == "validation":
        bench.test, bench.ease["test"] = bench.validation, bench.ease["validation"]  # nothing of the test fold is seen
        numbers = [1, 30, 100, bench.whole.n_items]
    encoder = remembered(Onnx(), bench.whole, store)
    first = bench.quality(encoder)
    print(f"{len(first.hybrid)} users, {what}; full vectors: {np.nanmean(first.hybrid):.4f}; {first.settings}")
    for number in numbers:
        found = bench.quality(encoder, partial(Content, storage="two-level", rescored=number))
        hybrid, change = bootstrap_interval(found.hybrid), paired_difference(found.hybrid, first.hybrid)
        print(
            f"| {number} | {np.nanmean(found.content):.4f} | {hybrid.mean:.4f} [{hybrid.low:.4f}, {hybrid.high:.4f}] | "
            f"{100 * hybrid.mean / np.nanmean(first.hybrid):.1f}% | "
            f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}] | {found.validation:.4f} | {found.settings} |",
            flush=True,
        )


def serve(name: str, whole: Dataset, store: ArrayCache) -> None:
    """Print what a process that serves the saved model holds, and what a request takes."""
    split = split_of(name, whole)
    queries = split.test.sample(ANSWERED, seed=0).queries
    print("| storage | bytes an item | model, MiB | on disk, MiB | process, MiB | its files, MiB | ms a request |")
    for storage in ("memory", "two-level"):
        settings = {"encoder": Spec("onnx"), "whitening": WHITENINGS.get(name, (0.7,))[0], "storage": storage}
        plan = Plan("content", Spec("content", settings))
        pipeline = plan.build(store).fit(split.train)
        content = pipeline.recommender
        assert isinstance(content, Content)
        held = (content.vectors_.nbytes if storage == "memory" else content.signs_.nbytes) / whole.n_items
        with tempfile.TemporaryDirectory() as folder:
            pipeline.save(Path(folder))
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                memory, files, milliseconds = fresh.apply(answered, (plan, folder, queries))
        sizes = (pipeline.model_bytes, pipeline.disk_bytes, memory, files)
        shown = " | ".join(f"{size / 2**20:.2f}" for size in sizes)
        print(f"| {storage} | {held:.1f} | {shown} | {milliseconds:.2f} |", flush=True)


def answered(plan: Plan, folder: str, queries: Sequence[Query]) -> tuple[int, int, float]:
    """Return what this process grew by, memory and pages of files in bytes, and the median CPU time of a request."""
    pipeline = plan.build()
    memory, files = held_bytes("RssAnon"), held_bytes("RssFile")
    pipeline.load(Path(folder))
    took = []
    for query in queries:
        started = time.process_time()
        pipeline.recommend([query], 10)
        took.append(time.process_time() - started)
    return held_bytes("RssAnon") - memory, held_bytes("RssFile") - files, 1000 * float(np.median(took))


def held_bytes(kind: str) -> int:
    """Return what this process holds; pages of files (``RssFile``) are the system's to take back, others are not."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition(f"{kind}:")[2].split()[0])


if __name__ == "__main__":
    main()
