"""The planner against an exhaustive grid: how good a plan does `[search]` reach, at what share of the grid's compute?

    python benchmarks/compute/grid.py movielens-1m --out runs/grid
    python benchmarks/compute/grid.py beauty --data DIR --out runs/grid

Every combination of settings of every plan is tried on all validation users (`_grids`), the best of each plan is fitted
and judged on the test users, and then the same plans are searched under ``[search] seconds`` = ``--shares`` of what
the grid and judging its best plan took. Where all combinations would take hours, `ONLY` says which values are in the
grid. What is kept below ``--out`` is taken as it is, so that an interrupted grid goes on. CPU seconds, on one thread.
Differences are paired, over test users.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("FRUGALREC_THREADS", "1")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from _grids import Grid, full_size, placed, seconds_of, space_of
from search import best_of, configured

from frugalrec.config import Config
from frugalrec.data.dataset import Dataset
from frugalrec.datasets import load_data
from frugalrec.plan import Plan
from frugalrec.planner import Decision
from frugalrec.prices import PriceSheet
from frugalrec.run_costs import Run
from frugalrec.significance import paired_difference
from frugalrec.study import Study

METRIC = "ndcg@10"
PLANS = {
    "movielens-1m": ("popularity", "item-knn", "als", "ease", "sequential", "neighbours", "blend"),
    "movielens-100k": ("popularity", "item-knn", "als", "ease", "sequential", "neighbours", "blend"),
    "beauty": ("popularity", "item-knn", "ease", "content-words", "sequential-words", "sequential"),
}
ONLY: dict[str, dict[str, dict[str, tuple[Any, ...]]]] = {
    # A solve takes 2 to 18 s here, the 128 of the full product an hour.
    "movielens-1m": {
        "sequential": {"ridge": (100.0, 300.0), "target_half_life": (1.0,), "reversed_weight": (0.0,)},
        "blend": {"members.1.neighbours": (200,)},
    },
    # A solve takes half a minute, and two blocks of states are beyond what is solved densely; there are no times.
    "beauty": {
        "item-knn": {"neighbours": (100, 1000), "shrinkage": (0.0,)},
        "ease": {"ridge": (100.0, 300.0, 1000.0)},
        "sequential-words": {
            "ridge": (30.0, 100.0),
            "whitening": (0.7,),
            "text_prior": (0.0,),
            "frequency_ridge": (0.0,),
            "half_lives": ((3.0,),),
            "gap_half_life": (0.0,),
        },
        "sequential": {
            "ridge": (30.0, 100.0),
            "frequency_ridge": (0.0,),
            "half_lives": ((3.0,),),
            "gap_half_life": (0.0,),
        },
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_sets", nargs="+", choices=PLANS)
    parser.add_argument("--data", type=Path, default=Path(), help="folder of files that cannot be fetched by name")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.15], help="budgets, as shares of the grid's time")
    parser.add_argument("--out", type=Path, default=Path("runs/grid"))
    given = parser.parse_args()
    for data_set in given.data_sets:
        config = configured(data_set, PLANS[data_set], 60.0, None)
        dataset, _ = load_data(config.data, given.data, offline=True)
        grids = run_grids(data_set, config, dataset, given.out / f"{data_set}-grid")
        folder, winner = given.out / f"{data_set}-best", named(best_of_grid(grids))
        own = [{**placed(g.plan, g.best()[0]).to_dict(), "name": named(n)} for n, g in grids.items() if n != named(n)]
        best = judged(configured(data_set, ["popularity"], 0.0, None, own), dataset, folder)
        whole = seconds_of(grids.values()) + cpu_seconds(folder, winner)
        print(f"\n{data_set}\n\n| plan | settings in the grid | of all | fits | CPU s | validation | test |")
        print("|---|---|---|---|---|---|---|")
        for name, grid in grids.items():
            score = next(c.trial for c in best.choices if c.name == named(name)).score
            cells = [name, f"{grid.size:,}", f"{full_size(grid.plan):,}", str(len(grid.kept()))]
            cells += [f"{seconds_of([grid]):,.0f}", f"{grid.best()[1]:.4f}", f"{score.mean:.4f}"]
            print(f"| {' | '.join(cells)} |")
        print("\n| budget | CPU s | share | settings tried | best plan | NDCG@10 | against the grid's best | chosen |")
        print("|---|---|---|---|---|---|---|---|")
        top = next(c.trial for c in best.choices if c.name == winner)
        tried = sum(grid.size for grid in grids.values())
        print(f"| grid | {whole:,.0f} | | {tried:,} | {top.name} | {top.score.mean:.4f} | | |")
        for share in given.shares:
            folder = given.out / f"{data_set}-{share:g}"
            decision = judged(configured(data_set, PLANS[data_set], whole, share * whole), dataset, folder)
            took = cpu_seconds(folder)
            found = best_of(decision)
            gap = paired_difference(found.values, top.values)
            assert None not in (gap.low, gap.mean, gap.high, top.score.mean)
            against = " / ".join(f"{v / top.score.mean:+.1%}" for v in (gap.low, gap.mean, gap.high))  # type: ignore[operator]
            tried = sum(len(c.trial.tuning) for c in decision.choices)
            cells = [f"{share:.0%}", f"{took:,.0f}", f"{took / whole:.1%}", str(tried), found.name]
            print(f"| {' | '.join([*cells, f'{found.score.mean:.4f}', against, str(decision.plan)])} |", flush=True)


def run_grids(data_set: str, config: Config, dataset: Dataset, folder: Path) -> dict[str, Grid]:
    """Run the grid of every plan, those that others are built on first.

    Members are fitted as their own grids found them; settings of theirs that only scoring depends on are in the grid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(config, dataset, PriceSheet.load(), folder)
    plans = {plan.name: plan for plan in study.plans}
    known: dict[str, Plan] = {}
    grids: dict[str, Grid] = {}
    for name in PLANS[data_set]:
        plan = plans[name].resolved(known)
        space = space_of(plan, ONLY.get(data_set, {}).get(name, {}))
        grid = Grid(plan, space, study.split, METRIC, folder / f"{name}.jsonl")
        if name == "sequential" and "sequential-words" in grids:
            without_text(grids["sequential-words"], grid)
        grid.run(said)
        best = {n: value for n, value in grid.best()[0].items() if space[n][0] != "score"}
        known[name], grids[name] = placed(plan, best), grid
    return grids


def without_text(words: Grid, grid: Grid) -> None:
    """Take from a grid with text what is the same without: settings in which the text counts for nothing."""
    done = {line["key"] for line in grid.kept()}
    with grid.path.open("a", encoding="utf-8") as file:
        for line in words.kept():
            dear = {n: v for n, v in line["settings"].items() if n in grid.space}
            none = [value for cheap, value in line["found"] if cheap["text_weight"] == 0.0]
            key = json.dumps(dear)
            if line["settings"]["text_prior"] == 0.0 and none and key not in done:
                done.add(key)
                table = {"key": key, "settings": dear, "found": [[{}, none[0]]], "fit_seconds": 0.0, "cpu_seconds": 0.0}
                file.write(json.dumps(table) + "\n")


def cpu_seconds(folder: Path, plan: str = "") -> float:
    """Return the CPU seconds of a run, or of what was done for one plan of it."""
    return sum(e.cost.cpu_seconds or 0.0 for e in Run.read(folder).outermost if e.plan.startswith(plan))


def named(plan: str) -> str:
    """Return what the best of a plan's grid is called, beside the default plan of that name."""
    return plan if plan == "popularity" else f"{plan}-grid"


def best_of_grid(grids: dict[str, Grid]) -> str:
    return max(grids, key=lambda name: grids[name].best()[1])


def judged(config: Config, dataset: Dataset, folder: Path) -> Decision:
    """Return the decision of a study; what its folder holds is not done again."""
    return Study(config, dataset, PriceSheet.load(), folder, say=said).run()


def said(line: str) -> None:
    print(f"<!-- {line} -->", flush=True)


if __name__ == "__main__":
    main()
