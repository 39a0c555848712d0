"""A search budget against trying everything: how good a plan is reached, at what share of the compute.

    python benchmarks/compute/search.py movielens-100k movielens-1m --out runs/search
    python benchmarks/compute/search.py beauty --data DIR --plans popularity item-knn ease sequential --out runs/search

For each data set every plan is tuned (coordinate search, ``--seconds`` of CPU a plan), fitted and judged; then the same
plans under ``[search] seconds`` = ``--shares`` of what that took. Both keep their run folder below ``--out``; what is
there is taken as it is. CPU seconds are those of the ledger, on one thread. Differences are paired, over test users.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("FRUGALREC_THREADS", "1")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

from frugalrec.config import Config, parse_config
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.datasets import load_data
from frugalrec.evaluation import Trial
from frugalrec.planner import Decision
from frugalrec.prices import PriceSheet
from frugalrec.run_costs import Run
from frugalrec.significance import paired_difference
from frugalrec.study import Study
from frugalrec.tuning_space import search_space

FILES = {
    "beauty": {"interactions": "sequences.txt.gz", "items": "items.tsv.gz", "text": ["title"]},
    "gift-cards": {"interactions": "Gift_Cards_5.json.gz", "items": "meta_Gift_Cards.json.gz", "text": ["title"]},
}
PLANS = (
    "popularity", "item-knn", "als", "ease", "sequential", "neighbours", "blend", "content-words", "sequential-words",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_sets", nargs="+")
    parser.add_argument("--data", type=Path, default=Path(), help="folder of files that cannot be fetched by name")
    parser.add_argument("--plans", nargs="*", default=PLANS)
    parser.add_argument("--seconds", type=float, default=90.0, help="CPU seconds of tuning for each plan")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.15], help="budgets, as shares of trying all")
    parser.add_argument("--users", type=float, default=1.0, help="share of the users, and the items that they met")
    parser.add_argument("--out", type=Path, default=Path("runs/search"))
    given = parser.parse_args()
    print("| data | budget | CPU s | share | settings tried | best plan | NDCG@10 | against the best of all | chosen |")
    print("|---|---|---|---|---|---|---|---|---|")
    for data_set in given.data_sets:
        everything = studied(data_set, given, None)
        row(data_set, "all in full", everything, everything)
        for share in given.shares:
            row(data_set, f"{share:.0%} of it", studied(data_set, given, share, everything), everything)
        print(f"\n{data_set}: {grid(everything)}\n")


def studied(data_set: str, given: argparse.Namespace, share: float | None, everything: Any = None) -> tuple[Any, float]:
    """Return the decision of a study and the CPU seconds that its ledger counts."""
    folder = given.out / f"{data_set}-{'all' if share is None else f'{share:g}'}"
    limit = None if share is None else share * everything[1]
    config = configured(data_set, given.plans, given.seconds, limit)
    dataset, _ = load_data(config.data, given.data, offline=True)
    if given.users < 1:
        dataset = part_of(dataset, given.users)
    study = Study(config, dataset, PriceSheet.load(), folder, say=lambda line: print(f"<!-- {line} -->", flush=True))
    decision = study.run()
    return decision, sum(entry.cost.cpu_seconds or 0.0 for entry in Run.read(folder).outermost)


def part_of(dataset: Dataset, share: float) -> Dataset:
    """Return a seeded share of the users, with their events and the items in them."""
    log = dataset.interactions
    drawn = np.random.default_rng(1).random(log.n_users) < share  # not the draw of the search's own samples
    events = log.take(drawn[log.user])
    met = np.unique(events.item)
    codes = np.full(log.n_items, -1, dtype=np.int32)
    codes[met] = np.arange(len(met), dtype=np.int32)
    items, places = IdMap(log.items.ids[met]), met.tolist()
    fields = {name: [values[i] for i in places] for name, values in dataset.catalog.fields.items()}
    catalog = Catalog(items, fields, dataset.catalog.text)
    return Dataset(replace(events, item=codes[events.item], items=items), catalog, dataset.name)


def configured(
    data_set: str, plans: Sequence[str], seconds: float, limit: float | None, own: Sequence[dict[str, Any]] = ()
) -> Config:
    data = FILES.get(data_set, {"dataset": data_set})
    table = {"data": data, "tuning": {"seconds": seconds}, "plans": {"only": list(plans), "own": list(own)}}
    if limit is not None:
        table["search"] = {"seconds": round(limit, 1)}
    return parse_config(table, "the benchmark's configuration")


def best_of(decision: Decision) -> Trial:
    return max((c.trial for c in decision.choices), key=lambda t: t.score.mean or 0.0)


def row(data_set: str, budget: str, found: tuple[Decision, float], everything: tuple[Decision, float]) -> None:
    (decision, took), (reference, whole) = found, everything
    best, top = best_of(decision), best_of(reference)
    gap = paired_difference(best.values, top.values)
    tried = sum(len(c.trial.tuning) for c in decision.choices)
    assert None not in (best.score.mean, top.score.mean, gap.mean, gap.low, gap.high)
    against = " / ".join(f"{value / top.score.mean:+.1%}" for value in (gap.low, gap.mean, gap.high))  # type: ignore[operator]
    cells = [data_set, budget, f"{took:,.0f}", f"{took / whole:.1%}", f"{tried:,}", best.name]
    cells += [f"{best.score.mean:.4f}", "" if found is everything else against, str(decision.plan)]
    print(f"| {' | '.join(cells)} |", flush=True)


def grid(everything: tuple[Decision, float]) -> str:
    """Say how many settings a grid over all would hold: the coordinate search of "all in full" sees few of them."""
    sizes = {}
    for choice in everything[0].choices:
        spec = choice.trial.plan.recommender
        left = {k: v for k, v in spec.settings.items() if k in ("members", "encoder", "method")}
        spaces = search_space(type(spec)(spec.component, left))
        sizes[choice.name] = math.prod(len(values) for _, values in spaces.values())
    return f"settings in a grid over every plan: {json.dumps(sizes)}"


if __name__ == "__main__":
    main()
