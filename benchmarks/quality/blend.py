"""What neighbours and lasting taste add to the sequential linear model on MovieLens-1M, strict next item.

    python benchmarks/quality/blend.py [--data DIR] [--ties file|item-id|random] [--seed 0]

DIR holds MovieLens' own ratings.dat (or ratings.dat.gz) and movies.dat; without it the data come from a package whose
item ids are titles, so that an order by item id is another one.

The plan `blend-text`, member by member: leave-last-out, whole catalogue, seen items left out. The linear model has the
settings that `next_item.py` found on validation; the weights of the other members are chosen on all validation users
for each subset, and the test fold is scored once with them. Intervals: bootstrap over users, paired where two are
compared. One thread.
"""

from __future__ import annotations

import argparse
import os
import time

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import metrics
from frugalrec.config import parse_config
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset, Fold, Split
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.datasets import load_data
from frugalrec.encoders.onnx import Onnx
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.significance import bootstrap_interval, paired_difference

WEIGHTS = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0)
SUBSETS = (("linear",), ("linear", "ease"), ("linear", "neighbours"), ("linear", "neighbours", "ease"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder of the original files")
    options.add_argument("--ties", default="file", choices=("file", "item-id", "random"), help="order of equal times")
    options.add_argument("--seed", type=int, default=0, help="shuffles equal times where --ties random")
    asked = options.parse_args()
    split = loaded(asked.data, asked.ties, asked.seed)
    members = {"linear": linear_model(), "neighbours": StateKnn(), "ease": Ease(ridge=300.0)}
    fitted = {name: Fitted(name, model, split.train) for name, model in members.items()}
    scales = Hybrid(tuple(fitted.values()), method="scale").fit(split.train).scales_
    found: dict[str, tuple[Matrix, Matrix]] = {}
    for (name, model), scale in zip(fitted.items(), scales.tolist(), strict=True):
        started = time.process_time()
        validation, test = model.score(split.validation.queries) / scale, model.score(split.test.queries) / scale
        found[name] = validation, test
        taken = (time.process_time() - started) / (len(split.validation) + len(split.test))
        print(f"{name}: scores of one query {1000 * taken:.2f} CPU ms", flush=True)
    values: dict[tuple[str, ...], dict[str, np.ndarray]] = {}
    for subset in SUBSETS:
        weights, reached = chosen([found[name][0] for name in subset], split.validation)
        total = sum(weight * found[name][1] for weight, name in zip(weights, subset, strict=True))
        values[subset] = {metric: values_of(total, split.test, metric) for metric in ("ndcg@10", "hr@10")}
        said = ", ".join(f"{weight:g} {name}" for weight, name in zip(weights, subset, strict=True))
        print(f"{said}: validation {reached:.4f}", flush=True)
        for metric, of_user in values[subset].items():
            interval = bootstrap_interval(of_user)
            print(f"  test {metric} {interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]")
    blend = Hybrid(tuple(fitted.values()), method="scale", weights=tuple(weights)).fit(split.train)
    started = time.process_time()
    blend.recommend(split.test.queries, 10)
    print(
        f"ten best of the last for all {len(split.test):,} users: {time.process_time() - started:.1f} CPU s", flush=True
    )
    for less, more in ((0, 1), (0, 2), (2, 3), (0, 3)):
        for metric in ("ndcg@10", "hr@10"):
            gain = paired_difference(values[SUBSETS[more]][metric], values[SUBSETS[less]][metric])
            names = f"{' + '.join(SUBSETS[more])} on {' + '.join(SUBSETS[less])}"
            print(f"{names}, {metric}: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")


def loaded(folder: Path | None, ties: str, seed: int) -> Split:
    source: dict[str, str] = {"dataset": "movielens-1m"}
    if folder is not None:
        (ratings,) = (path.name for path in folder.glob("ratings.dat*"))
        source = {"interactions": ratings, "items": "movies.dat", "format": "movielens"}
    section = parse_config({"data": {**source, "ties": ties}}, "the benchmark").data
    return LeaveLastOut().split(load_data(section, folder or Path(), seed=seed)[0])


def linear_model() -> SequentialLinear:
    return SequentialLinear(
        ridge=300.0,
        encoder=Onnx(),
        whitening=0.3,
        frequency_ridge=0.05,
        half_lives=(1.5, 15.0),
        gap_half_life=60.0,
    )


class Fitted:
    """A member that was fitted once, and says what it took."""

    def __init__(self, name: str, model: Any, train: Dataset) -> None:
        self._model, ledger = model, Ledger()
        if hasattr(model, "read"):
            model.read(train.catalog)
        with ledger.span("fit"):
            if hasattr(model, "accumulate"):
                model.solve(model.accumulate(train.interactions))
            else:
                model.fit(train)
        cost = ledger.entries[0].cost
        print(
            f"fit {name}: {cost.cpu_seconds or 0:.1f} CPU s, {(cost.flops or 0) / 1e9:,.0f} GFLOP, "
            f"peak {(cost.peak_bytes or 0) / 2**30:.2f} GiB",
            flush=True,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def fit(self, dataset: Dataset) -> Fitted:
        return self


def chosen(scores: list[Matrix], fold: Fold) -> tuple[list[float], float]:
    """Return the weights that are best on ``fold``, the first being 1, by coordinate search, and the value reached."""
    weights = [1.0] * len(scores)
    best = -1.0
    for _ in range(2):
        for place in range(1, len(scores)):
            for weight in WEIGHTS:
                tried = [*weights[:place], weight, *weights[place + 1 :]]
                value = float(
                    np.mean(values_of(sum(w * s for w, s in zip(tried, scores, strict=True)), fold, "ndcg@10"))
                )
                if value > best:
                    weights, best = tried, value
    return weights, best if best >= 0 else float(np.mean(values_of(scores[0], fold, "ndcg@10")))


def values_of(scores: Matrix, fold: Fold, metric: str) -> np.ndarray:
    return metrics.parse(metric)(metrics.ranks_of(mask_scores(scores, fold.queries), fold.relevant))


if __name__ == "__main__":
    main()
