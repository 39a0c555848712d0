"""Next-item quality under the strict protocol, every plan tuned on validation: one command a data set.

    python benchmarks/quality/next_item.py movielens-1m
    python benchmarks/quality/next_item.py beauty --data DIR      # DIR holds sequences.txt.gz and items.tsv.gz

Leave-last-out: weights are fitted without the last two events of every user, settings are chosen on the second to last
(500 s a plan), and the last is reported, with the second to last in the history. The whole catalogue is ranked, seen
items left out; events at the same time are in file order. Intervals: percentile bootstrap over users. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

from frugalrec.config import parse_config
from frugalrec.datasets import load_data
from frugalrec.evaluation import Trial
from frugalrec.machine import describe
from frugalrec.planner import Decision
from frugalrec.prices import PriceSheet
from frugalrec.run_folder import document, write_decision
from frugalrec.significance import paired_difference
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
FILES = {"beauty": ("sequences.txt.gz", "items.tsv.gz")}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", choices=["movielens-100k", "movielens-1m", *FILES])
    arguments.add_argument("--data", type=Path, help="folder of the files, for data that cannot be fetched by name")
    arguments.add_argument("--out", type=Path, help="folder of the run; an interrupted run goes on there")
    arguments.add_argument("--seconds", type=float, default=500.0, help="tuning time for each plan")
    arguments.add_argument("--ties", default="file", choices=["file", "item-id", "random"])
    arguments.add_argument("--plans", nargs="*", default=PLANS)
    given = arguments.parse_args()
    if given.name in FILES and given.data is None:
        arguments.error(f"{given.name} cannot be fetched: give its folder with --data")
    files = FILES.get(given.name)
    data = (
        {"dataset": given.name} if files is None else {"interactions": files[0], "items": files[1], "text": ["title"]}
    )
    config = parse_config(
        {
            "data": {**data, "ties": given.ties},
            "tuning": {"seconds": given.seconds, "max_queries": 2000},
            "plans": {"only": list(given.plans)},
        },
        "the benchmark's configuration",
    )
    dataset, report = load_data(config.data, given.data or Path())
    folder = given.out or Path(f"runs/next-item-{given.name}-{given.ties}")
    say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    for line in report.lines():
        say(line)
    study = Study(config, dataset, PriceSheet.load(), folder, ArrayCache(), say)
    started = time.perf_counter()
    decision = study.run()
    write_decision(folder, document(decision, study.traffic))
    print_table(decision, study, time.perf_counter() - started)


def print_table(decision: Decision, study: Study, seconds: float) -> None:
    machine = describe()
    print(f"data: {study.dataset.name}, {study.data_fingerprint}; seed {study.config.seed}")
    print(f"machine: {machine['processor']}, {machine['threads']} thread(s), {machine['blas']}")
    print("| plan | HR@10 | NDCG@10 [95% interval] | fit CPU s | fit GFLOP | fit peak GiB | p50 ms | all users s |")
    print("|---|---|---|---|---|---|---|---|")
    for choice in sorted(decision.choices, key=lambda c: c.trial.score.mean or 0.0):
        print(row(choice.trial, study))
    trials = {c.name: c.trial for c in decision.choices}
    for name, twin in PAIRS:
        if name in trials and twin in trials:
            gain = paired_difference(trials[name].values, trials[twin].values)
            print(f"{name} against {twin}: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    if decision.language_model is not None:
        print(decision.language_model.sentence)
    for choice in decision.choices:
        print(json.dumps({choice.name: choice.trial.plan.recommender.to_dict()}), file=sys.stderr)
    print(f"whole run {seconds:.0f} s; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


def row(trial: Trial, study: Study) -> str:
    pipeline = trial.plan.build(study.store).fit(study.split.train)
    started = time.process_time()
    pipeline.recommend(study.split.test.queries, 10)
    everybody = time.process_time() - started
    fit = trial.cost["refresh"]
    score = trial.score
    flops = "unknown" if fit.flops is None else f"{fit.flops / 1e9:,.1f}"
    memory = "unknown" if fit.peak_bytes is None else f"{fit.peak_bytes / 2**30:.2f}"
    return (
        f"| {trial.name} | {trial.quality['hr@10'].mean:.4f} | {score.mean:.4f} [{score.low:.4f}, {score.high:.4f}] | "
        f"{fit.cpu_seconds:.1f} | {flops} | {memory} | {trial.latency_seconds['p50'] * 1000:.2f} | {everybody:.2f} |"
    )


if __name__ == "__main__":
    main()
