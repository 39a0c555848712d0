"""What neighbours among training states add to the sequential linear model on MovieLens-1M, strict next item.

    python benchmarks/quality/neighbours.py

Leave-last-out, file order of ties, whole catalogue, seen items left out. The linear model has the settings that
`next_item.py` found on validation; the weight of the neighbours is chosen on 2,000 validation users, and the test fold
is scored once with it. Intervals: bootstrap over users, paired where two are compared. One thread.
"""

from __future__ import annotations

import os
import time

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from pathlib import Path

import numpy as np

from frugalrec import metrics
from frugalrec.config import parse_config
from frugalrec.data.dataset import Fold
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.datasets import load_data
from frugalrec.encoders.onnx import Onnx
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.significance import bootstrap_interval, paired_difference

WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.2)


def main() -> None:
    data, _ = load_data(parse_config({"data": {"dataset": "movielens-1m"}}, "the benchmark").data, Path())
    split = LeaveLastOut().split(data)
    linear = SequentialLinear(
        ridge=300.0,
        encoder=Onnx(),
        whitening=0.3,
        frequency_ridge=0.05,
        half_lives=(1.5, 15.0),
        gap_half_life=60.0,
    )
    for name, model in (("linear", linear), ("neighbours", neighbours := StateKnn())):
        started = time.process_time()
        model.fit(split.train)
        print(f"fit {name}: {time.process_time() - started:.1f} CPU s", flush=True)
    validation = split.validation.sample(2000, seed=0)
    one, two = linear.score(validation.queries), neighbours.score(validation.queries)
    alone = values(one, validation, "ndcg@10")
    best, reached = 0.0, float(np.mean(alone))
    for weight in WEIGHTS:
        tried = values(one + weight * two, validation, "ndcg@10")
        gain = paired_difference(tried, alone)
        mean = float(np.mean(tried))
        print(f"validation, weight {weight}: {mean:.4f}, gain {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
        if mean > reached:
            best, reached = weight, mean
    started = time.process_time()
    two = neighbours.score(split.test.queries)
    print(f"neighbours of all {len(split.test)} test users: {time.process_time() - started:.1f} CPU s", flush=True)
    one = linear.score(split.test.queries)
    for metric in ("ndcg@10", "hr@10"):
        for name, scores in (("linear", one), ("neighbours", two), (f"linear + {best} neighbours", one + best * two)):
            found = bootstrap_interval(values(scores, split.test, metric))
            print(f"test {metric}, {name}: {found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]")
        gain = paired_difference(values(one + best * two, split.test, metric), values(one, split.test, metric))
        print(f"test {metric}, gain: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")


def values(scores: Matrix, fold: Fold, metric: str) -> np.ndarray:
    return metrics.parse(metric)(metrics.ranks_of(mask_scores(scores, fold.queries), fold.relevant))


if __name__ == "__main__":
    main()
