"""How good a plan does `[search]` find in a few CPU seconds, and do two runs find the same?

    python benchmarks/compute/budgets.py movielens-100k 9 --seeds 0 1 2
    python benchmarks/compute/budgets.py gift-cards 2.4 --data DIR --seeds 0 1 2
    python benchmarks/compute/budgets.py beauty 9 --data DIR --users 0.1 --plans popularity item-knn ease sequential \\
        content-words sequential-words

A run a seed, of the search's samples. What is left at the end is fitted again and compared on all validation users, the
measure by which ways to search are chosen; the test users are told beside it. CPU seconds of the ledger, on one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("FRUGALREC_THREADS", "1")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
from search import PLANS, configured, part_of

from frugalrec import metrics
from frugalrec.datasets import load_data
from frugalrec.evaluation import quick_values
from frugalrec.narrowing import BASELINES
from frugalrec.prices import PriceSheet
from frugalrec.run_costs import Run
from frugalrec.study import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set")
    parser.add_argument("seconds", type=float, nargs="+")
    parser.add_argument("--data", type=Path, default=Path(), help="folder of files that cannot be fetched by name")
    parser.add_argument("--plans", nargs="*", default=PLANS)
    parser.add_argument("--users", type=float, default=1.0, help="share of the users, and the items that they met")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    given = parser.parse_args()
    print("| data | budget, s | seed | CPU s | best plan | its settings tried | validation NDCG@10 | test |")
    print("|---|---|---|---|---|---|---|---|")
    for seconds in given.seconds:
        for seed in given.seeds:
            print(f"| {' | '.join(searched(given, seconds, seed))} |", flush=True)


def searched(given: argparse.Namespace, seconds: float, seed: int) -> list[str]:
    config = configured(given.data_set, given.plans, seconds, seconds).model_copy(update={"seed": seed})
    dataset, _ = load_data(config.data, given.data, offline=True)
    if given.users < 1:
        dataset = part_of(dataset, given.users)
    with tempfile.TemporaryDirectory() as kept:
        study = Study(config, dataset, PriceSheet.load(), Path(kept), say=lambda line: print(f"<!-- {line} -->"))
        trials = [choice.trial for choice in study.run().choices]
        took = sum(entry.cost.cpu_seconds or 0.0 for entry in Run.read(Path(kept)).outermost)
    found = {}
    for trial in trials:
        if trial.name not in BASELINES or len(trials) == 1:
            pipeline = trial.plan.build().fit(study.split.train)
            values = quick_values(pipeline, study.split.validation, metrics.parse(config.quality.metric))
            found[trial.name] = float(np.nanmean(values))
    best = max((t for t in trials if t.name in found), key=lambda t: found[t.name])
    cells = [given.data_set, f"{seconds:g}", str(seed), f"{took:.1f}", best.name, str(len(best.tuning))]
    return [*cells, f"{found[best.name]:.4f}", f"{best.score.mean:.4f}"]


if __name__ == "__main__":
    main()
