"""Neural recommenders with settings searched on the validation fold, five seeds of the best, beside closed forms.

    python benchmarks/quality/neural_search.py movielens-100k --trials trials.jsonl
    python benchmarks/quality/neural_search.py movielens-100k --trials trials.jsonl --models gru4rec --seeds 0
    python benchmarks/quality/neural_search.py movielens-1m --trials trials.jsonl --models sasrec \
        --given sasrec='{"dropout": 0.1, "length": 100, "patience": 8}' --fit-seconds 3000 --seconds 0

Protocol of neural.py: strict leave-last-out, weights fitted without the last two events of every user, the whole
catalogue ranked, seen items left out. Settings of each model are drawn from SPACE, every value about as often; the
first are the component's own. Successive halving (Jamieson & Talwalkar 2016): with --search 8:50,2:150 eight settings
are trained for 50 CPU seconds, and the best two on validation (all users, NDCG@10) go on to 150; the best of these is
fitted with --seeds seeds, each until it stops early (patience below) or --fit-seconds are spent, and judged on the
test fold. The refit with the events of early stopping is part of all of them. A model counts with the mean over its
seeds, user by user. --given takes settings that were found otherwise, and searches nothing for that model.

Every fit is a line of the file --trials, and is not done again: a run that was killed goes on from there. `tune`, the
search that plans have, climbs from the defaults in what components declare, and leaves length, layers, heads, loss and
batches alone; it searches the closed forms here (--seconds each), whose settings are cheap to change one by one.
Beside those stand closed forms as they come. One thread. Needs the extra torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

import _table
import numpy as np
import peers

from frugalrec import registry
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Split
from frugalrec.plan import Plan, Spec
from frugalrec.portfolio import COLLABORATIVE, FROM_WORDS
from frugalrec.significance import bootstrap_interval
from frugalrec.tuning import Search, tune

METRICS = ("ndcg@10", "hr@10")
SEARCH_COLUMN = "search CPU s"
STOPPING = {"epochs": 200, "patience": 5}
"""How long every fit may go on; seconds come on top."""

COMMON = {
    "dimension": (32, 64, 128),
    "length": (50, 100, 200),
    "dropout": (0.1, 0.2, 0.4),
    "learning-rate": (1e-3, 3e-3),
    "batch-size": (16, 32, 64),
}
SEQUENCES = {**COMMON, "layers": (1, 2), "loss": ("cross-entropy", "sampled-softmax"), "n-negatives": (256, 512)}
SPACE: dict[str, dict[str, Sequence[Any]]] = {
    "sasrec": {**SEQUENCES, "heads": (1, 2, 4)},
    "gru4rec": SEQUENCES,
    "two-tower": {**COMMON, "reader": ("gru", "mean"), "ranking-task": (0.0, 0.5), "ranked": (16, 32)},
}
SEARCH = "8:50,2:150"
DEFAULTS = {plan.name: plan for plan in (*COLLABORATIVE, *FROM_WORDS)}
AS_THEY_COME = ("sequential", "blend", "blend-words")
SEARCHED = ("ease", "sequential-words", "blend-words")
"""Closed forms that are searched; the first two are members of the third."""


def drawn(model: str, n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return ``n`` settings to try: the component's own, then some in which every value comes about equally often."""
    rng = np.random.default_rng(seed)
    columns = {}
    for name, values in SPACE[model].items():
        places = (np.arange(n - 1) + rng.integers(len(values))) % len(values)
        columns[name] = [values[place] for place in rng.permutation(places)]
    found: list[dict[str, Any]] = [{}]
    for row in range(n - 1):
        one = {name: column[row] for name, column in columns.items()}
        # What has no effect is not a setting.
        if one.get("loss") == "cross-entropy":
            del one["n-negatives"]
        if not one.get("ranking-task", 1.0):
            one = {**{name: value for name, value in one.items() if name != "ranked"}, "ranking-weight": 0.0}
        found.append(one)
    return found


class Trials:
    """The fits that were made, one JSON object a line."""

    def __init__(self, path: Path, split: Split, fingerprint: str) -> None:
        self.path, self.split, self.fingerprint = path, split, fingerprint
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def fit(self, model: str, settings: Mapping[str, Any], fold: str, seconds: float, seed: int) -> dict[str, Any]:
        """Return what a fit gave on ``fold``; it is made unless it is known."""
        key = {
            "data": self.fingerprint,
            "model": model,
            "settings": {**STOPPING, **settings},
            "fold": fold,
            "seconds": seconds,
            "seed": seed,
        }
        for row in self.rows:
            if all(row[name] == value for name, value in key.items()):
                return row
        more: dict[str, Any] = {"seed": seed, "cpu-seconds": seconds}
        if fold == "validation":  # the best of them go on
            more["checkpoint"] = str(self.path.with_suffix(".checkpoints"))
        settings_of_fit = {**STOPPING, **settings, **more}
        plan = Plan.from_dict({"name": model, "recommender": {"component": model, **settings_of_fit}})
        ledger = Ledger()
        with ledger.span("fit", plan=model):
            pipeline = plan.build().fit(self.split.train)
        fitted: Any = pipeline.recommender
        values = _table.judged(pipeline, getattr(self.split, fold), METRICS)
        epochs, kept = len(fitted.losses_), fitted.best_epoch_
        row = {
            **key,
            "values": {name: np.round(each, 6).tolist() for name, each in values.items()},
            "epochs": epochs,
            "kept": kept,
            "refit": len(fitted.refit_losses_),
            "stopped early": epochs - kept >= STOPPING["patience"],
            "cost": ledger.total(reused=False).to_dict(),
        }
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        return row


def mean(row: Mapping[str, Any]) -> float:
    return float(np.mean(row["values"][METRICS[0]]))


def told(row: Mapping[str, Any]) -> str:
    found = bootstrap_interval(np.array(row["values"][METRICS[0]]))
    how = "stopped early" if row["stopped early"] else f"stopped at {row['seconds']:.0f} s"
    settings = {name: value for name, value in row["settings"].items() if name not in STOPPING}
    return (
        f"{row['model']} {row['fold']} {METRICS[0]} {found.mean:.4f} [{found.low:.4f}, {found.high:.4f}], seed "
        f"{row['seed']}, epochs {row['kept']} of {row['epochs']} + {row['refit']}, {how}: {json.dumps(settings)}"
    )


def searched(model: str, rungs: Sequence[tuple[int, float]], trials: Trials) -> tuple[dict[str, Any], int, Cost]:
    """Return the best settings on validation, how many were tried, and what that took."""
    candidates, spent = drawn(model, rungs[0][0]), Cost.zero()
    for n, seconds in rungs:
        rows = []
        for settings in candidates[:n]:
            rows.append(trials.fit(model, settings, "validation", seconds, 0))
            spent = spent + Cost.from_dict(rows[-1]["cost"])
            _table.progress(told(rows[-1]))
        candidates = [row["settings"] for row in sorted(rows, key=mean, reverse=True)]
    return candidates[0], rungs[0][0], spent


def neural_row(
    model: str,
    rungs: Sequence[tuple[int, float]],
    seeds: int,
    seconds: float,
    trials: Trials,
    settings_given: Mapping[str, Any] | None = None,
) -> _table.Row | None:
    """Search and fit a model, or fit it as given; None where nothing is to be judged on the test fold."""
    if settings_given is None:
        settings, tried, spent = searched(model, rungs, trials)
    else:
        settings, tried, spent = {**STOPPING, **settings_given}, 0, Cost.zero()
    rows = []
    for seed in range(seeds):
        rows.append(trials.fit(model, settings, "test", seconds, seed))
        _table.progress(told(rows[-1]))
    if not rows:
        return None
    total = sum((Cost.from_dict(row["cost"]) for row in rows), Cost.zero())
    stopped = sum(row["stopped early"] for row in rows)
    return _table.Row(
        model,
        {name: np.mean([row["values"][name] for row in rows], axis=0) for name in METRICS},
        total / seeds,
        settings=settings,
        seeds={row["seed"]: mean(row) for row in rows},
        more={
            "settings tried": tried or "given",
            SEARCH_COLUMN: f"{spent.cpu_seconds:.0f}",
            "epochs, kept + refit": ", ".join(f"{row['kept']} + {row['refit']}" for row in rows),
        },
        note=f"{json.dumps(settings)}; {stopped} of {seeds} fits stopped early, the others at {seconds:.0f} CPU s",
    )


def closed_forms(split: Split, seconds: float) -> Sequence[_table.Row]:
    """Return rows of closed forms as they come, and of those that are searched for ``seconds`` each."""
    rows = []
    for name in AS_THEY_COME:
        plan = DEFAULTS[name].resolved(DEFAULTS)
        rows.append(_table.measured(name, lambda _, plan=plan: plan.build(), split, METRICS))
    if not seconds:
        return rows
    chosen: dict[str, Spec] = {}
    ledger = Ledger()
    for name in SEARCHED:
        plan = Plan(name, peers.spec_of(name, "", chosen))
        found = tune(plan, split, METRICS[0], Search(seconds), ledger)
        chosen[name] = found.plan.recommender
        _table.progress(f"{name}: {len(found.tried)} tried, validation {found.value:.4f}")
    row = _table.measured(
        f"{name}, searched",
        lambda _: found.plan.build(),
        split,
        METRICS,
        settings=dict(found.plan.recommender.settings),
    )
    return [*rows, replace(row, more={SEARCH_COLUMN: f"{ledger.total().cpu_seconds:.0f}"})]


def rungs_of(words: str) -> list[tuple[int, float]]:
    """Return ``8:50,2:150`` as pairs of how many settings and how many CPU seconds each."""
    return [(int(n), float(seconds)) for n, seconds in (part.split(":") for part in words.split(","))]


def searches_of(words: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """Return the rungs of each model: one search for all, and ``MODEL=…`` where one is searched otherwise."""
    for_all = next((word for word in words if "=" not in word), SEARCH)
    own = dict(word.split("=") for word in words if "=" in word)
    return {model: rungs_of(own.get(model, for_all)) for model in SPACE}


def main() -> None:
    arguments = _table.arguments_of(__doc__)
    _table.add_data(arguments)
    arguments.add_argument("--trials", type=Path, required=True, help="file that every fit is kept in, JSON lines")
    arguments.add_argument("--models", nargs="*", default=list(SPACE), choices=list(SPACE))
    arguments.add_argument(
        "--search", nargs="*", default=[SEARCH], metavar="[MODEL=]N:SECONDS,…", help="settings, CPU seconds for each"
    )
    arguments.add_argument(
        "--given", nargs="*", default=[], metavar="MODEL=JSON", help="settings of a model that is not searched"
    )
    arguments.add_argument("--seeds", type=int, default=5, help="0: search only")
    arguments.add_argument("--fit-seconds", type=float, default=240.0, help="CPU seconds for each seed, at most")
    arguments.add_argument("--seconds", type=float, default=60.0, help="CPU seconds of search for each closed form")
    given = arguments.parse_args()
    dataset = _table.read(given.name, given.data, given.ties)
    split: Split = registry.build("split", "leave-last-out", {}).split(dataset)
    trials = Trials(given.trials, split, dataset.fingerprint())
    rungs = searches_of(given.search)
    settings = {model: json.loads(text) for model, text in (word.split("=", 1) for word in given.given)}
    found = [
        neural_row(model, rungs[model], given.seeds, given.fit_seconds, trials, settings.get(model))
        for model in given.models
    ]
    neural = [row for row in found if row is not None]
    if not neural:
        return
    protocol = f"strict leave-last-out, {len(split.test):,} users, ties in the order of {given.ties}"
    more = ("settings tried", SEARCH_COLUMN, "epochs, kept + refit")
    table = _table.Table(dataset.name, dataset, METRICS, protocol=protocol, more=more)
    table.head()
    closed = closed_forms(split, given.seconds)
    for row in (*neural, *closed):
        table.add(row)
    best = max(neural, key=lambda row: table.estimate(row).mean or 0.0)
    table.compare([(row.name, best.name) for row in closed])
    table.close(given.out)


if __name__ == "__main__":
    main()
