"""What precision and threads do to the one Cholesky factorisation that a linear model is.

    python benchmarks/compute/linear_algebra.py

Factorises a random positive definite matrix of the size of MovieLens-100K's two-block model with one thread and with
all cores, and fits that model in float32 and float64 on the strict split. CPU seconds; ratios mean more than seconds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from frugalrec import metrics
from frugalrec.config import DataSection
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.datasets import load_data
from frugalrec.machine import describe
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.significance import bootstrap_interval

SIZE, REPEATS = 3364, 5


def main() -> None:
    machine = describe()
    print(
        f"machine: {machine['processor']}, {machine['cores']} cores, {machine['blas']}; load {os.getloadavg()[0]:.1f}"
    )
    threads()
    precision()


def threads() -> None:
    X = np.random.default_rng(0).random((SIZE, SIZE), dtype=np.float32)
    A = X @ X.T + SIZE * np.eye(SIZE, dtype=np.float32)
    for n in sorted({1, os.cpu_count() or 1}):
        with threadpool_limits(limits=n):
            linalg.cho_factor(A)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(REPEATS):
                linalg.cho_factor(A)
            wall, cpu = (time.perf_counter() - wall) / REPEATS, (time.process_time() - cpu) / REPEATS
        print(f"Cholesky of {SIZE} × {SIZE} float32, {n} thread(s): {wall:.3f} s, {cpu:.3f} CPU s")


def precision() -> None:
    dataset, _ = load_data(DataSection(dataset="movielens-100k"), Path())
    split = LeaveLastOut().split(dataset)
    ndcg = metrics.parse("ndcg@10")
    with threadpool_limits(limits=1):
        model = SequentialLinear(half_lives=(1.5, 15.0)).read(dataset.catalog)
        started = time.process_time()
        statistics = model.accumulate(split.train.interactions)
        print(f"accumulate {len(split.train.interactions):,} events: {time.process_time() - started:.2f} CPU s")
        for kind in ("float32", "float64"):
            model.precision = kind  # type: ignore[assignment]
            started = time.process_time()
            model.solve(statistics)
            taken = time.process_time() - started
            scores = mask_scores(model.score(split.test.queries), split.test.queries)
            found = bootstrap_interval(ndcg(metrics.ranks_of(scores, split.test.relevant)))
            print(f"solve in {kind}: {taken:.2f} CPU s, NDCG@10 {found.mean:.5f} [{found.low:.4f}, {found.high:.4f}]")


if __name__ == "__main__":
    main()
