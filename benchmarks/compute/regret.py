"""How far a chosen plan is from the best feasible one on users that did not choose: the regret of deciding.

    frugalrec demo --out runs/demo
    python benchmarks/compute/regret.py runs/demo runs/search/movielens-1m-all
    python benchmarks/compute/regret.py runs/search/movielens-100k-all --refit movielens-100k

Nothing is fitted: a run folder keeps the metric of every test user for every plan. Ten times, half of the users decide,
as `frugalrec plan` decides, and the other half judge. On those, a plan is feasible when its mean meets the floor, the
best plan being the best on them; the best feasible plan is the cheapest of these, by the same rule of ties. Regret in
quality is what the chosen plan's mean lacks to the floor there, as a share (0 where it meets it); regret in money is
how much dearer it is than the best feasible plan; gap is its distance from the best plan of all.

With --refit NAME, of the data set that the run was on, there are ten splits instead of one: each of a ``--share`` of
the users, drawn by a seed of its own, leave-last-out. Every plan is fitted on each anew, with the settings that the run
found, and asked and timed as in a run. Half of that split's users decide, the others, whose answers nobody saw, judge.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("FRUGALREC_THREADS", "1")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

from frugalrec.budgets import Budget
from frugalrec.config import DataSection
from frugalrec.cost import Ledger
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.datasets import load_data
from frugalrec.evaluation import Evaluation, Trial, evaluate
from frugalrec.flips import Option, cheapest
from frugalrec.floors import Floor, comparable_mean
from frugalrec.forecast import Bill, Traffic, bill
from frugalrec.planner import decide
from frugalrec.prices import PriceSheet
from frugalrec.significance import bootstrap_interval
from frugalrec.stores.array_cache import ArrayCache

SPLITS = 10
FLOORS: Sequence[float | str] = ("within 1% of best", "within 2% of best", "within 5% of best", "within 10% of best")


@dataclass(frozen=True)
class Outcome:
    """One split: what was chosen, and on the other half its shortfall from the floor, its extra price, and its gap."""

    chosen: str | None
    best_feasible: str | None
    quality: float
    money: float
    gap: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--refit", metavar="NAME", help="fit every plan anew, on samples of the users of a data set")
    parser.add_argument("--share", type=float, default=0.8, help="of the users, for each of those")
    parser.add_argument("--requests", type=float, default=Traffic().requests_per_day, help="a day")
    given = parser.parse_args()
    traffic, prices = Traffic(given.requests), PriceSheet.load()
    heads = ("run", "floor", "chosen (times)", "no choice", "below the floor, mean", "worst")
    print(f"| {' | '.join([*heads, 'dearer, mean', 'worst', 'gap, mean', 'worst'])} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for folder in given.runs:
        trials = trials_of(folder)
        tried = [trials] * given.splits
        if given.refit:
            tried = list(refitted(trials, given.refit, given.splits, given.share))
        bills = [{t.name: bill(t, traffic, prices) for t in each} for each in tried]
        for floor in FLOORS:
            each = enumerate(zip(tried, bills, strict=True))
            found = [resampled(one, prices_of, Floor.parse(floor), seed) for seed, (one, prices_of) in each]
            print(row(folder.name, str(floor), found), flush=True)


def trials_of(folder: Path) -> list[Trial]:
    """Return the trials of a run, the newest of each plan."""
    found: dict[str, Trial] = {}
    for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines():
        table = json.loads(line)
        values = np.load(folder / "values" / f"{table['key']}.npy", allow_pickle=False)
        found[table["plan"]] = Trial.from_dict(table, np.atleast_2d(values)[0])
    return list(found.values())


def refitted(trials: Sequence[Trial], name: str, n: int, share: float) -> Iterator[list[Trial]]:
    """Yield the trials of the same plans on ``n`` splits, each of a ``share`` of the users, drawn by seeds from 0."""
    dataset, _ = load_data(DataSection(dataset=name), Path(), offline=True)
    log, store = dataset.interactions, ArrayCache()
    for seed in range(n):
        users = np.random.default_rng([seed, 1]).choice(log.n_users, size=round(share * log.n_users), replace=False)
        split = LeaveLastOut().split(dataset.with_interactions(log.take(np.isin(log.user, users))))
        found = []
        for trial in trials:
            ledger = Ledger()
            pipeline = trial.plan.build(store).fit(split.train, ledger)
            found.append(evaluate(pipeline, split, Evaluation(trial.metric, (), seed=seed), ledger))
        shown = ", ".join(f"{t.name} {t.score.mean:.4f}" for t in found)
        print(f"<!-- {len(split.test)} test users: {shown} -->", flush=True)
        yield found


def resampled(trials: Sequence[Trial], bills: dict[str, Bill], floor: Floor, seed: int) -> Outcome:
    users = np.random.default_rng(seed).permutation(len(trials[0].values))
    deciding, judging = np.array_split(users, 2)
    decision = decide([seen(t, deciding) for t in trials], bills, floor, Budget(), seed=seed)
    judged = [seen(t, judging) for t in trials if np.count_nonzero(~np.isnan(t.values[judging])) > 1]
    fullest = max(t.score.n for t in judged)
    best = max((t for t in judged if t.score.n == fullest), key=lambda t: t.score.mean or 0.0)
    means = {t.name: comparable_mean(t, best) for t in judged}
    assert best.score.mean is not None
    needed = floor.value if floor.value is not None else best.score.mean * (1 - (floor.margin or 0.0))
    options = [Option(t.name, bills[t.name], t.cost["request"].seconds, means[t.name]) for t in judged]
    right = cheapest([o for o in options if o.mean >= needed])
    if decision.plan is None or right is None:
        return Outcome(None, None if right is None else right.name, 0.0, 0.0, 0.0)
    mean = means[decision.plan]
    paid, least = bills[decision.plan].month, right.bill.month
    dearer = 0.0 if not least or paid is None else max(0.0, paid / least - 1)
    return Outcome(decision.plan, right.name, max(0.0, 1 - mean / needed), dearer, 1 - mean / best.score.mean)


def seen(trial: Trial, users: np.ndarray) -> Trial:
    values = trial.values[users]
    quality = {**trial.quality, trial.metric: bootstrap_interval(values)}
    return replace(trial, values=values, quality=quality, slices={}, slice_values={})


def row(run: str, floor: str, found: Sequence[Outcome]) -> str:
    made = [o for o in found if o.chosen is not None]
    names = {name: sum(o.chosen == name for o in made) for name in dict.fromkeys(o.chosen for o in made)}
    told = ", ".join(f"{name} ({n})" for name, n in sorted(names.items(), key=lambda item: -item[1]))
    cells = [run, floor, told, str(len(found) - len(made))]
    for amounts in ([o.quality for o in made], [o.money for o in made], [o.gap for o in made]):
        cells += [f"{np.mean(amounts):.1%}", f"{np.max(amounts):.1%}"] if amounts else ["", ""]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
