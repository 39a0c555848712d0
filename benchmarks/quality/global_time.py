"""Quality on MovieLens-1M cut at one moment for everybody: what users chose in the last fifth of the log.

    python benchmarks/quality/global_time.py

Settings are chosen on events between 64% and 80% of the log, with weights from before (NDCG@20). The chosen plans are
then fitted once more, on the first 80%, and asked for all that each user chose afterwards: users with events before,
seen items left out, the whole catalogue ranked. No published figure is of this split. One thread.
"""

from __future__ import annotations

import os
from dataclasses import replace

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

import _table
import numpy as np

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Split
from frugalrec.data.splits.global_time import GlobalTime
from frugalrec.evaluation import quick_values
from frugalrec.metrics import parse
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.tuning import Search, tune

METRICS = ("ndcg@20", "recall@20")
VALIDATION = "validation NDCG@20"
# Fixed here because the values that the components declare for tuning end before the best ones on this split.
GRID = {
    "popularity": [Spec("popularity", {"half_life_days": days}) for days in (0.0, 1.0, 3.0, 7.0, 14.0, 30.0, 90.0)],
    "ease": [Spec("ease", {"ridge": ridge}) for ridge in (1000.0, 3000.0, 10000.0, 30000.0, 100000.0)],
    "ease-users": [
        Spec("ease", {"activity_discount": 1.0, "ridge": ridge}) for ridge in (100.0, 300.0, 1000.0, 3000.0)
    ],
    "future-ridge": [Spec("future-ridge", {"ridge": ridge}) for ridge in (100.0, 300.0, 1000.0, 3000.0)],
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
    "fusion-ease-users-future": ("ease-users", "future-ridge"),
    "fusion-ease-users-future-popularity": ("ease-users", "future-ridge", "popularity"),
}


def main() -> None:
    arguments = _table.arguments_of(__doc__)
    arguments.add_argument("--name", default="movielens-1m", choices=["movielens-100k", "movielens-1m"])
    arguments.add_argument("--seconds", type=float, default=60.0, help="tuning time for each candidate")
    arguments.add_argument("--seeds", type=int, default=5, help="of models with a random start")
    arguments.add_argument("--plans", nargs="*", default=[*GRID, *FUSIONS])
    given = arguments.parse_args()
    dataset = _table.read(given.name)
    split = GlobalTime((0.64, 0.16, 0.2)).split(dataset)
    times = dataset.interactions.timestamp
    assert times is not None
    before = dataset.interactions.take(times < split.settings["test_from"])
    final = replace(split, train=dataset.with_interactions(before))
    protocol = f"global time split, {len(split.validation)} users in validation, {len(split.test):,} in test"
    table = _table.Table(dataset.name, dataset, METRICS, protocol=protocol, more=[_table.RANKING, VALIDATION])
    table.head()
    chosen: dict[str, Plan] = {}
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
        _table.progress(name, chosen[name].recommender.to_dict())
        row = tested(chosen[name], final, given.seeds if name == "als" else 1)
        table.add(replace(row, more={**row.more, VALIDATION: f"{value:.4f}"}))
    table.compare([(row.name, "popularity") for row in table.rows])
    table.compare_with_best()
    table.close(given.out)


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
        _table.progress(f"  {value:.4f} {tuned.plan.recommender.to_dict()}")
    value, plan = max(found, key=lambda one: one[0])
    return plan, value


def tested(plan: Plan, split: Split, seeds: int) -> _table.Row:
    def make(seed: int) -> Pipeline:
        settings = {"seed": seed} if seeds > 1 else {}
        return replace(plan, recommender=plan.recommender.with_settings(**settings)).build()

    return _table.measured(plan.name, make, split, METRICS, seeds=seeds, settings=plan.recommender.to_dict())


if __name__ == "__main__":
    main()
