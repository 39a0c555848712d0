"""What a request takes beside its products, in empty queries, and what judging takes once, in queries.

    python benchmarks/compute/empty_queries.py movielens-100k movielens-1m
    python benchmarks/compute/empty_queries.py beauty --data DIR

Cost formulas count what is around a request's products as so many requests to a model of a few items (`query`, or
`state` where histories become states). Requests of each plan and such empty ones are made in turn, ten at a time, in
one process, so that a machine of changing speed changes both; means are without the highest twentieth. ``missing``:
what a request takes beyond its formula, with products by the profile at the speed of the empty queries.
Judging is timed for 20 to 2,000 queries; what is left where the line through them meets none is taken once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from estimates import estimator_of, prepared, warm_up

from frugalrec.calibration._made_up import dataset_of
from frugalrec.calibration._recommending import _Judging
from frugalrec.estimation import expected_stages
from frugalrec.expectations import plans_of
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.sequential_linear import SequentialLinear

PLANS = ("item-knn", "als", "user-knn", "content-words", "sequential-words", "ease")
FEW, ASKED, AT_ONCE = 200, 300, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_sets", nargs="+")
    parser.add_argument("--data", type=Path, default=Path(), help="folder of files that cannot be fetched by name")
    parser.add_argument("--plans", nargs="*", default=PLANS)
    given = parser.parse_args()
    warm_up()
    for data_set in given.data_sets:
        requests(data_set, given.data, given.plans)
    judging()


def requests(data_set: str, folder: Path, names: Sequence[str]) -> None:
    config, dataset, split = prepared(data_set, folder)
    estimator = estimator_of(config, split, 1.0)
    profile, plans = estimator.profile, {plan.name: plan for plan in plans_of(config, dataset)}
    assert profile is not None
    models = {name: plans[name].resolved(plans).build().fit(split.train).recommender for name in names}
    rng, small = np.random.default_rng(0), dataset_of(FEW, 10_000)
    nothing = {"query": Ease(), "state": SequentialLinear()}
    for model in nothing.values():
        model.n_items_, model.weights_ = FEW, rng.random((FEW, FEW), dtype=np.float32)
    queries = [split.test.queries[i] for i in rng.permutation(len(split.test))[:ASKED]]
    empty = [small.query(user) for user in range(AT_ONCE)]
    taken: dict[str, list[float]] = {name: [] for name in (*models, *nothing)}
    for start in range(0, len(queries), AT_ONCE):
        for name, model in models.items():
            taken[name] += timed(model.score, queries[start : start + AT_ONCE])
        for name, model in nothing.items():
            taken[name] += timed(model.score, empty)
    mean = {name: float(np.mean(sorted(found)[: -len(found) // 20])) for name, found in taken.items()}
    speed = mean["query"] * (profile.rate("query") or 1.0)
    print(f"\n{data_set}: an empty query {mean['query'] * 1e6:.0f} µs, one of states {mean['state'] * 1e6:.0f} µs\n")
    print("| plan | request, µs | formula over it | missing, in empty queries |\n|---|---|---|---|")
    for name, model in models.items():
        stages = expected_stages(model, estimator.shape)
        work = () if stages is None else stages.score.work or ()
        around = sum(w.amount * mean[w.kind] for w in work if w.kind in nothing)
        products = (profile.seconds([w for w in work if w.kind not in nothing]) or 0.0) * speed
        missing = (mean[name] - around - products) / mean["query"]
        print(f"| {name} | {mean[name] * 1e6:.0f} | {(around + products) / mean[name]:.2f} | {missing:+.2f} |")


def judging() -> None:
    sizes = (20, 250, 1_000, 2_000)
    print("\n| judging, items | each query, µs | once, ms | in queries |\n|---|---|---|---|")
    for n_items in (500, 1_700):
        made = [_Judging(n_items, n) for n in sizes]
        rounds = [[timed(one.run, ["judge"])[0] for one in made] for _ in range(12)]
        each, once = np.polyfit(sizes, np.median(rounds, axis=0), 1)
        print(f"| {n_items:,} | {each * 1e6:.0f} | {once * 1e3:.1f} | {once / each:.0f} |")


def timed(call: Callable[[Any], Any], given: Sequence[Any]) -> list[float]:
    """Return CPU seconds of a call with each; models are asked one query at a time."""
    taken = []
    for one in given:
        asked = one if isinstance(one, str) else [one]
        began = time.process_time()
        call(asked)
        taken.append(time.process_time() - began)
    return taken


if __name__ == "__main__":
    main()
