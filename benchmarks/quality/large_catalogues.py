"""Catalogues beyond one dense system: what the neighbourhood solver loses, and how its time and memory grow.

    python benchmarks/quality/large_catalogues.py loss movielens-1m
    python benchmarks/quality/large_catalogues.py loss beauty --data DIR   # holds sequences.txt.gz and items.tsv.gz
    python benchmarks/quality/large_catalogues.py growth --sizes 2000 5000 10000 20000 50000 100000

``loss`` fits one setting with the dense and the sparse solver and compares NDCG@10 over the whole catalogue, user by
user (leave-last-out; the test fold, or --fold validation). ``growth`` makes a log of 50 events an item by a seed: users
walk among clusters of 50 items, item popularity is Zipf's, titles share words within a cluster. Each size runs in a
process of its own; the peak is of the whole process, data and evaluation of --queries users included. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

import _table
import numpy as np

from frugalrec import metrics
from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.evaluation import quick_values
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.significance import bootstrap_interval

CLUSTER, EVENTS_PER_ITEM, EVENTS_PER_USER = 50, 50, 25
WORDS = {"text_weight": 4.0, "text_half_life": 1.0, "whitening": 0.7}
MODELS: dict[str, Callable[[str], Any]] = {
    "sequential": lambda solver: SequentialLinear(solver=solver),
    "sequential-tuned": lambda solver: SequentialLinear(
        ridge=90.0, target_half_life=2.0, reversed_weight=0.3, solver=solver
    ),
    "sequential-two-blocks": lambda solver: SequentialLinear(half_lives=(1.5, 15.0), solver=solver),
    "sequential-words": lambda solver: SequentialLinear(
        ridge=90.0, target_half_life=2.0, reversed_weight=0.3, encoder=BagOfWords(), solver=solver, **WORDS
    ),
    "ease": lambda solver: Ease(solver=solver),
    "ease-words": lambda solver: Ease(encoder=BagOfWords(), solver=solver),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = arguments.add_subparsers(dest="command", required=True)
    loss = commands.add_parser("loss")
    _table.add_out(loss)
    loss.add_argument("name", choices=_table.DATASETS)
    loss.add_argument("--data", type=Path, help="folder of the files, for data that cannot be fetched by name")
    loss.add_argument("--models", nargs="*", choices=MODELS, default=["sequential-tuned"])
    loss.add_argument("--fold", choices=["validation", "test"], default="test")
    growth = commands.add_parser("growth")
    _table.add_out(growth)
    growth.add_argument("--sizes", nargs="*", type=int, default=[2_000, 5_000, 10_000, 20_000, 50_000, 100_000])
    growth.add_argument("--model", choices=MODELS, default="sequential-words")
    growth.add_argument("--solver", choices=["auto", "dense", "sparse"], default="sparse")
    growth.add_argument("--queries", type=int, default=1000)
    growth.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.command == "loss":
        compare(given)
    elif given.inside:
        print(json.dumps(grown(given)), flush=True)
    else:
        grow(given)


COLUMNS = {
    "items": "{:,}", "events": "{:,}", "sums s": "{:.1f}", "solve s": "{:.1f}", "fit s": "{:.1f}",
    "fit TFLOP": "{:.2f}", "model MiB": "{:.0f}", "evaluate ms a user": "{:.1f}", "peak GiB": "{:.2f}",
    "NDCG@10": "{:.4f}",
}  # fmt: skip


def grow(given: argparse.Namespace) -> None:
    """Run every size in a process of its own, so that the peak is its own."""
    title = f"{given.model}, {given.solver}, synthetic logs"
    table = _table.Table(title, None, ("ndcg@10",), protocol=f"{given.queries:,} test users; CPU seconds")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    table.facts["growth"] = []
    for size in given.sizes:
        options = ["--model", given.model, "--solver", given.solver, "--queries", str(given.queries), "--inside"]
        command = [sys.executable, __file__, "growth", "--sizes", str(size), *options]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        table.facts["growth"].append(found)
        cells = [form.format(found[name]) for name, form in COLUMNS.items()]
        low, high = found["interval"]
        print(f"| {' | '.join(cells)} [{low:.4f}, {high:.4f}] |", flush=True)
    table.close(given.out)


def compare(given: argparse.Namespace) -> None:
    data = _table.read(given.name, given.data)
    split = LeaveLastOut().split(data)
    fold = getattr(split, given.fold)
    protocol = f"{given.fold} fold, {len(fold):,} users, {data.n_items:,} items; the cost is that of the solution alone"
    table = _table.Table(data.name, data, ("ndcg@10",), protocol=protocol, more=["model MiB"])
    table.head()
    for name in given.models:
        model = MODELS[name]("dense").read(split.train.catalog)
        statistics = model.accumulate(split.train.interactions)
        for solver in ("dense", "sparse"):
            model.solver = solver
            ledger = Ledger()
            with ledger.span("solve"):
                model.solve(statistics)
            values, size = judged(model, fold)
            more = {"model MiB": f"{size / 2**20:.0f}"}
            table.add(_table.Row(f"{name}, {solver}", {"ndcg@10": values}, ledger.total(), more=more))
    table.compare([(f"{name}, sparse", f"{name}, dense") for name in given.models])
    rows = {row.name: float(np.nanmean(row.values["ndcg@10"])) for row in table.rows}
    for found in table.comparisons:
        mean, low, high = (100 * found[part] / rows[found["other"]] for part in ("mean", "low", "high"))
        print(f"  {found['one']}: {mean:+.1f}% [{low:+.1f}, {high:+.1f}]")
    table.close(given.out)


def grown(given: argparse.Namespace) -> dict[str, Any]:
    (size,) = given.sizes
    split: Split = LeaveLastOut().split(synthetic(size))
    fold = split.test.sample(given.queries)
    model = MODELS[given.model](given.solver)
    ledger = Ledger()
    clock = [time.process_time()]
    with ledger.span("fit"):
        model.read(split.train.catalog)
        clock.append(time.process_time())
        statistics = model.accumulate(split.train.interactions)
        clock.append(time.process_time())
        model.solve(statistics)
        clock.append(time.process_time())
    del statistics
    values, model_bytes = judged(model, fold)
    clock.append(time.process_time())
    shown = bootstrap_interval(values)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "items": size,
        "events": len(split.train.interactions),
        "sums s": clock[2] - clock[1],
        "solve s": clock[3] - clock[2],
        "fit s": clock[3] - clock[0],
        "fit TFLOP": (ledger.entries[0].cost.flops or 0) / 1e12,
        "model MiB": model_bytes / 2**20,
        "evaluate ms a user": 1000 * (clock[4] - clock[3]) / len(fold),
        "peak GiB": peak,
        "NDCG@10": shown.mean,
        "interval": [shown.low, shown.high],
    }


def judged(model: Any, fold: Fold) -> tuple[Any, int]:
    """Return NDCG@10 of each query over the whole catalogue, and the bytes of the model."""
    pipeline = Pipeline(Plan("benchmark", recommender=Spec("benchmark")), model, None, (), ())
    return quick_values(pipeline, fold, metrics.parse("ndcg@10")), pipeline.model_bytes


def synthetic(n_items: int, seed: int = 0) -> Dataset:
    """Return a log with order, clusters and text, 50 events an item, and nothing else to be learned.

    A user has three clusters, drawn by popularity. Each event stays in the cluster of the last one with probability .8
    and else goes to one of the three; half of those that stay go one to three items on around the cluster's ring, the
    others to an item of the cluster by popularity.
    """
    rng = np.random.default_rng(seed)
    n_clusters = n_items // CLUSTER
    n_users = n_items * EVENTS_PER_ITEM // EVENTS_PER_USER
    lengths = 4 + rng.geometric(1 / (EVENTS_PER_USER - 4), n_users).clip(max=200)
    within = cumulative(1.0 / (1 + np.arange(CLUSTER)) ** 0.8)
    between = cumulative(1.0 / (1 + np.arange(n_clusters)) ** 0.8)
    homes = np.searchsorted(between, rng.random((n_users, 3)))
    users, items = [], []
    alive = np.argsort(-lengths, kind="stable")
    lengths = lengths[alive]
    cluster, place = homes[alive, 0], np.searchsorted(within, rng.random(n_users))
    for step in range(lengths[0]):
        going = int(np.searchsorted(-lengths, -step))  # users with more events than this, the first ones
        if step:
            cluster, place = cluster[:going], place[:going]
            moves = rng.random(going) >= 0.8
            cluster = np.where(moves, homes[alive[:going], rng.integers(0, 3, going)], cluster)
            ring = (place + rng.integers(1, 4, going)) % CLUSTER
            drawn = np.searchsorted(within, rng.random(going))
            place = np.where(~moves & (rng.random(going) < 0.5), ring, drawn)
        users.append(alive[:going])
        items.append(cluster[:going] * CLUSTER + place[:going])
    order = rng.permutation(n_items).astype(np.int32)  # codes say nothing about clusters
    user, item = np.concatenate(users).astype(np.int32), order[np.concatenate(items)]
    ids = IdMap([f"i{i}" for i in range(n_items)])
    log = Interactions.from_events(user, item, IdMap([f"u{u}" for u in range(n_users)]), ids)
    titles = np.empty(n_items, dtype=object)
    for i, code in enumerate(order):
        c = i // CLUSTER
        titles[code] = f"kind{c} line{c % 97} colour{rng.integers(40)} size{rng.integers(40)}"
    return Dataset(log, Catalog(ids, {"title": titles.tolist()}, ("title",)), name=f"synthetic-{n_items}")


def cumulative(weights: np.ndarray) -> np.ndarray:
    shares = np.cumsum(weights) / weights.sum()
    shares[-1] = 1.0
    return shares


if __name__ == "__main__":
    main()
