"""Twenty million events on one machine: loaded, split, summed, solved and evaluated, each with time and memory.

    python benchmarks/compute/twenty_million.py --data DIR                # writes DIR/events-20000000.parquet, once
    python benchmarks/compute/twenty_million.py --data DIR --events 2000000 --users 14000

The log has the size and the shape of MovieLens-20M, and is made by a seed: users have 20 to 3,000 events (a log-normal
number), come to the catalogue in sessions that stay within one of their four tastes of 100 items, and meet no item
twice; items within a taste, and tastes, are Zipf's. A second log of items has titles, which share words within a taste.
Seconds are by the clock, CPU seconds of one thread; "held GiB" is what the process holds at the end of a stage, "peak
GiB" the most it held in it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

import duckdb
import numpy as np

from frugalrec import metrics
from frugalrec.data.loading import SourceConfig, load
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.evaluation import quick_values
from frugalrec.machine import describe
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.significance import bootstrap_interval

TASTE, TASTES_A_USER, SESSION = 100, 4, 8
MODELS = {"sequential-linear": SequentialLinear, "ease": Ease}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder for the log, which is made once")
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=140_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--queries", type=int, default=10_000, help="test users to evaluate on")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=["sequential-linear"])
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    given = parser.parse_args()
    log, items = written(given)
    print(f"{given.events:,} events, {given.users:,} users, {given.items:,} items; load {os.getloadavg()[0]:.1f}")
    print("| stage | seconds | CPU s | held GiB | peak GiB | |\n|---|---|---|---|---|---|", flush=True)
    stages: list[dict[str, Any]] = []
    with stage("load", stages) as facts:
        dataset, report = load(SourceConfig(interactions=log, items=items, rating=None))
        facts["note"] = f"{report.events:,} events"
    with stage("split", stages) as facts:
        split = LeaveLastOut().split(dataset)
        fold = split.test.sample(given.queries)
        facts["note"] = f"{len(split.train.interactions):,} to learn from"
    with stage("popularity", stages) as facts:
        facts["note"] = judged(Popularity().fit(split.train), fold)
    for name in given.models:
        with stage(f"{name}: sums", stages) as facts:
            model = MODELS[name]().read(split.train.catalog)
            statistics = model.accumulate(split.train.interactions)
            facts["note"] = f"{statistics.nbytes / 2**30:.2f} GiB"
        with stage(f"{name}: solve", stages) as facts:
            model.solve(statistics)
            facts["note"] = f"{model.weights_.nnz:,} weights" if hasattr(model.weights_, "nnz") else "dense"
            del statistics
        with stage(f"{name}: evaluate", stages) as facts:
            facts["note"] = judged(model, fold)
    seconds, cpu = (sum(s[name] for s in stages) for name in ("seconds", "CPU s"))
    peak = max(s["peak GiB"] for s in stages)
    print(f"| all | {seconds:.0f} | {cpu:.0f} | | {peak:.2f} | {seconds / 60:.1f} minutes |")
    if given.out:
        facts = {"events": given.events, "users": given.users, "items": given.items, "queries": len(fold)}
        given.out.write_text(json.dumps({**facts, "machine": describe(), "stages": stages}, indent=2) + "\n")


@contextmanager
def stage(name: str, stages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    facts: dict[str, Any] = {"note": ""}
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    wall, cpu = time.perf_counter(), time.process_time()
    yield facts
    taken = {"stage": name, "seconds": time.perf_counter() - wall, "CPU s": time.process_time() - cpu}
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held, peak = (int(status[key].split()[0]) / 2**20 for key in ("VmRSS", "VmHWM"))
    stages.append({**taken, "held GiB": held, "peak GiB": peak, **facts})
    print(f"| {name} | {taken['seconds']:.1f} | {taken['CPU s']:.1f} | {held:.2f} | {peak:.2f} | {facts['note']} |")


def judged(model: Any, fold: Any) -> str:
    pipeline = Pipeline(Plan("benchmark", recommender=Spec("benchmark")), model, None, (), ())
    shown = bootstrap_interval(quick_values(pipeline, fold, metrics.parse("ndcg@10")))
    return f"NDCG@10 {shown.mean:.4f} [{shown.low:.4f}, {shown.high:.4f}]"


def written(given: argparse.Namespace) -> tuple[Path, Path]:
    """Make the log and its items, unless they are there."""
    given.data.mkdir(parents=True, exist_ok=True)
    log, items = (given.data / f"{name}-{given.events}.parquet" for name in ("events", "items"))
    if not log.exists():
        user, item, when = synthetic(given.users, given.items, given.events)
        columns = {"user_id": user, "item_id": item, "timestamp": when}
        copied(columns, "*", log)
        rng = np.random.default_rng(1)
        table = {
            "item_id": np.arange(given.items),
            "t": np.arange(given.items) // TASTE,
            "a": rng.integers(0, 60, given.items),
        }
        copied(table, "item_id, 'taste' || t || ' kind' || t % 53 || ' colour' || a AS title", items)
    return log, items


def copied(columns: dict[str, np.ndarray], chosen: str, path: Path) -> None:
    parts = path.with_suffix(".part")
    with duckdb.connect() as database:
        database.register("columns", columns)
        database.execute(f"COPY (SELECT {chosen} FROM columns) TO '{parts}' (FORMAT parquet)")  # noqa: S608
    parts.replace(path)


def synthetic(users: int, items: int, events: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return user, item and time of about ``events`` events by user and time; the longest users run out of items."""
    rng = np.random.default_rng(seed)
    events = int(1.03 * events)
    lengths = rng.lognormal(4.3, 1.15, users)
    low, high = 20, min(3000, items // 4)
    scale = events / lengths.clip(low, high).sum()
    for _ in range(20):
        scale *= events / (lengths * scale).clip(low, high).sum()
    lengths = (lengths * scale).clip(low, high).astype(np.int64)
    n_tastes = items // TASTE
    cells = (1.0 / (1 + np.arange(n_tastes))[:, None] ** 0.7) * (1.0 / (1 + np.arange(TASTE))[None, :] ** 0.9)
    within = np.cumsum(cells[0]) / cells[0].sum()
    between = np.cumsum(cells.sum(axis=1)) / cells.sum()
    everything = np.cumsum(cells.ravel()) / cells.sum()
    codes = rng.permutation(items)  # codes say nothing about tastes
    found = []
    for start in range(0, users, 5000):
        mine = lengths[start : start + 5000]
        homes = np.searchsorted(between, rng.random((len(mine), TASTES_A_USER)))
        drawn = (mine * 1.9).astype(np.int64) + 8  # some are met twice, and go
        owner = np.repeat(np.arange(len(mine)), drawn)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(drawn) - drawn, drawn)
        first = np.concatenate([[0], np.cumsum(-(-drawn // SESSION))])[:-1]
        session = np.repeat(first, drawn) + place // SESSION
        taste = homes[owner, rng.integers(0, TASTES_A_USER, session[-1] + 1)[session]]
        item = taste * TASTE + np.searchsorted(within, rng.random(len(owner)))
        stray = rng.random(len(owner)) < 0.4
        item[stray] = np.searchsorted(everything, rng.random(int(stray.sum()))).clip(max=n_tastes * TASTE - 1)
        once = np.sort(np.unique(owner * items + item, return_index=True)[1])
        owner, item = owner[once], item[once]
        rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
        kept = rank < mine[owner]
        owner, item, rank = owner[kept], item[kept], rank[kept]
        begun = 1_000_000_000 + rng.integers(0, 10**8, len(mine))
        found.append((start + owner, codes[item], begun[owner] + 40 * rank + rank // SESSION * 80_000))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


if __name__ == "__main__":
    main()
