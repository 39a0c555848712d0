"""Quality on MovieLens-1M cut at one moment for everybody: what users chose in the last fifth of the log.

    python benchmarks/quality/global_time.py

Settings are chosen on events between 64% and 80% of the log, with weights from before (NDCG@20). The chosen plans are
then fitted once more, on the first 80%, and asked for all that each user chose afterwards: users with events before,
seen items left out, the whole catalogue ranked. Intervals: percentile bootstrap over users. One thread.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

import numpy as np

from frugalrec.config import parse_config
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Split
from frugalrec.data.splits.global_time import GlobalTime
from frugalrec.datasets import load_data
from frugalrec.evaluation import Evaluation, Trial, evaluate, quick_values
from frugalrec.metrics import parse
from frugalrec.plan import Plan, Spec
from frugalrec.significance import paired_difference
from frugalrec.tuning import Search, tune

METRICS = ("ndcg@20", "recall@20")
# Fixed here because the values that the components declare for tuning end before the best ones on this split.
GRID = {
    "popularity": [Spec("popularity", {"half_life_days": days}) for days in (0.0, 1.0, 3.0, 7.0, 14.0, 30.0, 90.0)],
    "ease": [Spec("ease", {"ridge": ridge}) for ridge in (1000.0, 3000.0, 10000.0, 30000.0, 100000.0)],
    "item-knn": [Spec("item-knn")],
    "als": [Spec("als")],
    "sequential": [
        Spec("sequential-linear", {"ridge": ridge, "half_lives": (life,), "target_half_life": 4.0})
        for ridge in (300.0, 3000.0)
        for life in (15.0, 100.0)
    ],
}
FUSIONS = {
    "fusion-ease-popularity": ("ease", "popularity"),
    "fusion": ("ease", "popularity", "sequential"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--name", default="movielens-1m", choices=["movielens-100k", "movielens-1m"])
    arguments.add_argument("--seconds", type=float, default=60.0, help="tuning time for each candidate")
    arguments.add_argument("--plans", nargs="*", default=[*GRID, *FUSIONS])
    given = arguments.parse_args()
    dataset, _ = load_data(parse_config({"data": {"dataset": given.name}}, "the benchmark").data, Path())
    split = GlobalTime((0.64, 0.16, 0.2)).split(dataset)
    times = dataset.interactions.timestamp
    assert times is not None
    before = dataset.interactions.take(times < split.settings["test_from"])
    final = replace(split, train=dataset.with_interactions(before))
    print(f"{len(split.validation)} validation users, {len(split.test)} test users; {split.settings['test']}")
    print("| plan | validation NDCG@20 | test NDCG@20 [95% interval] | test Recall@20 [95% interval] |")
    print("|---|---|---|---|")
    chosen: dict[str, Plan] = {}
    trials: dict[str, Trial] = {}
    for name in given.plans:
        members = FUSIONS.get(name)
        if members is None:
            candidates = GRID[name]
        else:
            specs = tuple(chosen[member].recommender for member in members)
            candidates = [Spec("fusion", {"members": specs, "held_share": share}) for share in (0.0, 0.1, 0.2)]
            weights = [(1.0, w, w)[: len(members)] for w in (0.3, 1.0, 3.0)]
            candidates += [Spec("hybrid", {"members": specs, "weights": w, "method": "z-score"}) for w in weights]
        chosen[name], value = best(name, candidates, split, given.seconds)
        trials[name] = trial = tested(chosen[name], final)
        quality = " | ".join(
            f"{e.mean:.4f} [{e.low:.4f}, {e.high:.4f}]" for e in map(trial.quality.__getitem__, METRICS)
        )
        print(f"| {name} | {value:.4f} | {quality} |", flush=True)
        print(name, chosen[name].recommender.to_dict(), file=sys.stderr, flush=True)
    for name, trial in trials.items():
        if name != "popularity" and "popularity" in trials:
            gain = paired_difference(trial.values, trials["popularity"].values)
            print(f"{name} against popularity: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")


def best(name: str, candidates: list[Spec], split: Split, seconds: float) -> tuple[Plan, float]:
    """Return the candidate that does best on the validation fold, what it leaves open tuned there too."""
    found: list[tuple[float, Plan]] = []
    for spec in candidates:
        tuned = tune(Plan(name, spec), split, METRICS[0], Search(seconds), Ledger())
        value = tuned.value
        if not tuned.tried:  # the candidate leaves nothing open
            pipeline = tuned.plan.build().fit(split.train)
            value = float(np.nanmean(quick_values(pipeline, split.validation, parse(METRICS[0]))))
        found.append((value, tuned.plan))
        print(f"  {value:.4f} {tuned.plan.recommender.to_dict()}", file=sys.stderr, flush=True)
    value, plan = max(found, key=lambda one: one[0])
    return plan, value


def tested(plan: Plan, split: Split) -> Trial:
    ledger = Ledger()
    how = Evaluation(METRICS[0], METRICS, timed_queries=1)
    return evaluate(plan.build().fit(split.train, ledger), split, how, ledger)


if __name__ == "__main__":
    main()
