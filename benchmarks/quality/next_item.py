"""Next-item quality under the strict protocol, every plan tuned on validation: one command a data set.

    python benchmarks/quality/next_item.py movielens-1m
    python benchmarks/quality/next_item.py beauty --data DIR      # DIR holds sequences.txt.gz and items.tsv.gz

Leave-last-out: weights are fitted without the last two events of every user, settings are chosen on the second to last
(500 s a plan), and the last is reported, with the second to last in the history. The whole catalogue is ranked, seen
items left out; events at the same time are in file order. The fit's cost includes that of encoding the catalogue's
text. One thread.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

import _table

from frugalrec.config import parse_config
from frugalrec.evaluation import Trial
from frugalrec.prices import PriceSheet
from frugalrec.run_folder import document, write_decision
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.study import Study

PLANS = (
    "chance", "popularity", "item-knn", "als", "ease", "ease-text", "sequential", "sequential-words", "sequential-text",
)  # fmt: skip
PAIRS = (
    ("ease-text", "ease"),
    ("sequential-words", "sequential"),
    ("sequential-text", "sequential"),
    ("sequential-text", "sequential-words"),
)
METRICS = ("ndcg@10", "hr@10")
RANDOM = ("als",)


def main() -> None:
    arguments = _table.arguments_of(__doc__)
    _table.add_data(arguments)
    arguments.add_argument("--folder", type=Path, help="folder of the run; an interrupted run goes on there")
    arguments.add_argument("--seconds", type=float, default=500.0, help="tuning time for each plan")
    arguments.add_argument("--seeds", type=int, default=5, help="of models with a random start")
    arguments.add_argument("--plans", nargs="*", default=PLANS)
    given = arguments.parse_args()
    config = parse_config(
        {
            "data": _table.data_section(given.name, given.ties),
            "tuning": {"seconds": given.seconds, "max_queries": 2000},
            "plans": {"only": list(given.plans)},
        },
        "the benchmark's configuration",
    )
    dataset = _table.read(given.name, given.data, given.ties)
    folder = given.folder or Path(f"runs/next-item-{given.name}-{given.ties}")
    study = Study(config, dataset, PriceSheet.load(), folder, ArrayCache(), _table.progress)
    decision = study.run()
    write_decision(folder, document(decision, study.traffic))
    protocol = f"strict leave-last-out, {len(study.split.test):,} users, ties in the order of {given.ties}"
    table = _table.Table(dataset.name, dataset, METRICS, protocol=protocol, more=[_table.RANKING, "p50 ms"])
    table.head()
    for choice in sorted(decision.choices, key=lambda c: c.trial.score.mean or 0.0):
        table.add(row(choice.trial, study, given.seeds))
    table.compare_with_best()
    table.compare(PAIRS)
    if decision.language_model is not None:
        print(decision.language_model.sentence)
    table.close(given.out)


def row(trial: Trial, study: Study, seeds: int) -> _table.Row:
    """Return the row of a plan, its cost with that of encoding the catalogue, which a cache may have spared."""

    def make(seed: int) -> Any:
        settings = {"seed": seed} if trial.name in RANDOM else {}
        return replace(trial.plan, recommender=trial.plan.recommender.with_settings(**settings)).build(study.store)

    n = seeds if trial.name in RANDOM else 1
    found = _table.measured(trial.name, make, study.split, METRICS, seeds=n, settings=trial.plan.recommender.to_dict())
    more = {**found.more, "p50 ms": f"{trial.latency_seconds['p50'] * 1000:.2f}"}
    return replace(found, fit=trial.cost["once"] + trial.cost["refresh"] if n == 1 else found.fit, more=more)


if __name__ == "__main__":
    main()
