"""Estimates against what plans took: time, memory, tokens and FLOPs of every stage, one process a plan.

    frugalrec doctor --calibrate
    python benchmarks/compute/estimates.py movielens-100k movielens-1m --out runs/estimates.jsonl
    python benchmarks/compute/estimates.py beauty synthetic-50k synthetic-20m --data DIR --out runs/estimates.jsonl
    python benchmarks/compute/estimates.py movielens-1m --rounds 3 --out runs/estimates.jsonl
    python benchmarks/compute/estimates.py movielens-1m --share 0.1 --out runs/shapes.jsonl
    python benchmarks/compute/estimates.py movielens-1m --users 0.1 --rounds 6 --out runs/tenth.jsonl
    python benchmarks/compute/estimates.py --forecast runs/tenth.jsonl --again runs/estimates.jsonl --out runs/all.jsonl
    python benchmarks/compute/estimates.py --again runs/estimates.jsonl --data DIR --out runs/again.jsonl
    python benchmarks/compute/estimates.py --again runs/all.jsonl --corrected runs/small.jsonl --out runs/again.jsonl
    python benchmarks/compute/estimates.py --summary runs/estimates.jsonl

``--again`` compares what was measured before with what formulas and profile say now; with ``--corrected``, after the
errors of another file of results corrected the profile, as `frugalrec costs calibrate` does after runs. With
``--profiles``, the profile is made of several of this machine: each rate is that in their middle. With
``--share``, what is known of the log is the events of that share of its users, scaled to their number. With
``--users``, plans are tried on the events of that share of the users alone, and ``--forecast`` says from what they took
there what they take on all, as `frugalrec forecast` does: that, times how much the formulas grow from the shape of the
share to that of as many users as there are. Plans have their components' defaults: nothing is tuned. Times are CPU
seconds of one thread; the profile is the machine's own, taken once before. A process judges a made-up log first, so
that libraries are loaded as they are in a study from its second plan on; a plan's weights are loaded when it encodes.
With ``--rounds``, all plans are tried so many times, one after another, and the median of what a stage took counts: a
machine that others share changes its speed for seconds at a time. Stages below `LEAST_SECONDS` or `LEAST_BYTES` are not
counted: timers and what the allocator kept are as large.
Synthetic logs are made once, in the folder of ``--data``: 50,000 items with 2.5 million events as in
quality/large_catalogues.py, and 20 (or 2) million events as in twenty_million.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("FRUGALREC_THREADS", "1")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

from frugalrec import machine_profile
from frugalrec.config import Config, parse_config
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.shape import DataShape
from frugalrec.datasets import load_data
from frugalrec.estimation import Estimator, correction_key
from frugalrec.evaluation import Evaluation, evaluate
from frugalrec.expectations import estimator_for, plans_of
from frugalrec.machine_profile import Profile
from frugalrec.pace import Pace
from frugalrec.plan import Plan, Spec
from frugalrec.prices import PriceSheet
from frugalrec.run_costs import corrected, errors
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.data import checkerboard
from frugalrec.trying import item_vectors, split_of

LEAST_SECONDS = 0.05
LEAST_BYTES = 32 * 2**20
TIME, MEMORY = 1.3, 1.15
TENTH = 0.1
FORECAST = 1.25
FILES = {
    "beauty": ("sequences.txt.gz", "items.tsv.gz"),
    **{
        name: (f"{name}.parquet", f"{name}-items.parquet")
        for name in ("synthetic-50k", "synthetic-20m", "synthetic-2m")
    },
}
LARGE_QUERIES = 2000  # test users of the synthetic logs
PLANS = (
    "popularity", "item-knn", "user-knn", "als", "ease", "sequential", "content-words", "hybrid-words",
    "sequential-words", "ease-text", "sequential-text",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_sets", nargs="*")
    parser.add_argument("--data", type=Path, default=Path(), help="folder of files that cannot be fetched by name")
    parser.add_argument("--plans", nargs="*", default=PLANS)
    parser.add_argument("--out", type=Path, default=Path("runs/estimates.jsonl"))
    parser.add_argument("--rounds", type=int, default=1, help="times that every plan is tried")
    parser.add_argument("--summary", type=Path, help="print the tables of a file of results")
    parser.add_argument("--again", type=Path, help="a file of results, whose expectations are made anew")
    parser.add_argument("--profiles", type=Path, nargs="+", help="profiles whose middle stands for that in the cache")
    parser.add_argument("--corrected", type=Path, help="results whose errors correct the profile for --again")
    parser.add_argument("--share", type=float, default=1.0, help="of the users, whose events are looked at")
    parser.add_argument("--users", type=float, default=1.0, help="of all, whose events are the data")
    parser.add_argument("--forecast", type=Path, help="results of --users, from which those of --again are forecast")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.summary:
        print(summary(medians(read(given.summary))))
        return
    if given.forecast:
        given.out.write_text("".join(json.dumps(line) + "\n" for line in forecast(given)), encoding="utf-8")
        return
    if given.again:
        given.out.write_text("".join(json.dumps(line) + "\n" for line in again(given)), encoding="utf-8")
        return
    if given.one:
        for line in one(given.data_sets[0], given.data, given.one, given.share, given.users):
            print(json.dumps(line))
        return
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for data_set in given.data_sets:
        for plan in [*given.plans] * given.rounds:
            # A process of its own: memory that an earlier plan left behind would be found again by the next.
            command = [
                sys.executable,
                __file__,
                data_set,
                "--data",
                str(given.data),
                "--one",
                plan,
                "--share",
                str(given.share),
                "--users",
                str(given.users),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{data_set} {plan}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr, flush=True)
                continue
            with given.out.open("a", encoding="utf-8") as file:
                file.write(done.stdout)
            print(f"{data_set} {plan}: done", file=sys.stderr, flush=True)


def configured(data_set: str) -> Config:
    files = FILES.get(data_set)
    data = {"dataset": data_set} if files is None else {"interactions": files[0], "items": files[1], "text": ["title"]}
    judged = {"max_queries": LARGE_QUERIES if data_set.startswith("synthetic") else 0}
    table = {"data": data, "tuning": {"seconds": 0.0}, "evaluation": judged}
    return parse_config(table, "the benchmark's configuration")


def prepared(data_set: str, folder: Path, users: float = 1.0) -> tuple[Config, Dataset, Split]:
    config = configured(data_set)
    if data_set.startswith("synthetic") and not (folder / FILES[data_set][0]).exists():
        write_synthetic(data_set, folder)
    dataset, _ = load_data(config.data, folder, offline=True)
    if users < 1:
        dataset = of_few_users(dataset, users)
    return config, dataset, split_of(config, dataset)


def write_synthetic(data_set: str, folder: Path) -> None:
    from twenty_million import TASTE, copied, synthetic

    folder.mkdir(parents=True, exist_ok=True)
    if data_set == "synthetic-50k":
        sys.path.insert(0, str(Path(__file__).parents[1] / "quality"))
        from large_catalogues import synthetic as clustered

        made = clustered(50_000)
        log = made.interactions
        user, item = log.user.astype(np.int64), log.item.astype(np.int64)
        when = np.arange(len(log)) - np.repeat(log.offsets[:-1], np.diff(log.offsets))  # the order is all there is
        titles = made.catalog.texts()
    else:
        users, events = (140_000, 20_000_000) if data_set == "synthetic-20m" else (14_000, 2_000_000)
        user, item, when = synthetic(users, 27_000, events)
        colours = np.random.default_rng(1).integers(0, 60, 27_000)
        titles = [f"taste{i // TASTE} kind{i // TASTE % 53} colour{c}" for i, c in enumerate(colours)]
    log, items = (folder / name for name in FILES[data_set])
    copied({"item_id": np.arange(len(titles)), "title": np.array(titles, dtype=object)}, "*", items)
    copied({"user_id": user, "item_id": item, "timestamp": when}, "*", log)


def one(data_set: str, folder: Path, name: str, share: float, users: float) -> list[dict[str, Any]]:
    warm_up()
    config, dataset, split = prepared(data_set, folder, users)
    estimator = estimator_of(config, split, share)
    plans = {plan.name: plan for plan in plans_of(config, dataset)}
    plan = plans[name].resolved(plans)
    expected = estimator.estimate(plan).stages
    ledger, pace = Ledger(), Pace(name, expected)
    with pace.watching(), tempfile.TemporaryDirectory() as kept:
        # With a store for vectors, as a study has one, and nothing in it yet.
        pipeline = plan.build(ArrayCache(Path(kept) / "arrays.sqlite")).fit(split.train, ledger)
    evaluation = config.evaluation
    how = Evaluation(max_queries=evaluation.max_queries, timed_queries=evaluation.timed_queries)
    vectors = item_vectors(dataset)
    began = time.process_time()
    with pace.watching(), ledger.span("evaluate"):
        trial = evaluate(pipeline, split, how, ledger, vectors=vectors)
    took = time.process_time() - began
    costs = {e.name: e.cost for e in ledger.entries if e.depth == 0}
    actual = {"encode": costs["encode"], "fit": costs["fit"], "request": trial.cost["request"]}
    lines = []
    for stage, amounts in {**{n: c.to_dict() for n, c in actual.items()}, "evaluate": {"cpu_seconds": took}}.items():
        line = {"data": data_set, "plan": name, "stage": stage, "expected": expected[stage].to_dict()}
        lines.append({**line, "refined": pace.refined.get(stage), "actual": amounts})
    return lines


def warm_up() -> None:
    """Load what the first plan of a study loads and starts, whichever it is."""
    small = checkerboard(50)
    split = split_of(configured("checkerboard"), small)
    pipeline = Plan("popularity", Spec("popularity")).build().fit(split.train)
    evaluate(pipeline, split, Evaluation(timed_queries=5), Ledger(), vectors=np.eye(small.n_items, dtype=np.float32))


def estimator_of(config: Config, split: Split, share: float) -> Estimator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        profile = machine_profile.load()
    if profile is None:
        sys.exit("no machine profile: frugalrec doctor --calibrate")
    estimator = estimator_for(config, split, PriceSheet.load(), profile)
    return estimator if share == 1 else dataclasses.replace(estimator, shape=forecast_shape(split.train, share))


def again(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    profile = middle(given.profiles) if given.profiles else None
    corrections = corrections_by(given.corrected, given.data, profile) if given.corrected else {}
    yield from expected_anew(medians(read(given.again)), given.data, given.share, corrections, profile)


def middle(files: list[Path]) -> Profile | None:
    """Return the first of several profiles, with the rate in the middle of all that have it at the same size."""
    loaded = [profile for file in files if (profile := machine_profile.load(file)) is not None]
    measured = [rates for profile in loaded for rates in (profile.calibrations or (profile.rates,))]
    return dataclasses.replace(loaded[0], rates=machine_profile.middle_of(measured))


def corrections_by(file: Path, folder: Path, profile: Profile | None) -> dict[str, float]:
    """Return what the errors of a file of results correct, by component and stage."""
    lines = list(expected_anew(medians(read(file)), folder, 1.0, {}, profile))
    with tempfile.TemporaryDirectory() as run:
        kept = "".join(json.dumps({**line, "profile": "now"}) + "\n" for line in lines)
        (Path(run) / "estimates.jsonl").write_text(kept, encoding="utf-8")
        return corrected({}, errors([Path(run)], profile="now", least_seconds=LEAST_SECONDS))


def expected_anew(
    lines: list[dict[str, Any]],
    folder: Path,
    share: float,
    corrections: dict[str, float],
    profile: Profile | None,
) -> Iterator[dict[str, Any]]:
    for data_set, its_lines in groupby(lines, key=lambda line: line["data"]):
        config, dataset, split = prepared(data_set, folder)
        estimator = estimator_of(config, split, share)
        known = profile or estimator.profile
        assert known is not None
        estimator = dataclasses.replace(estimator, profile=dataclasses.replace(known, corrections=corrections))
        plans = {plan.name: plan for plan in plans_of(config, dataset)}
        for name, of_plan in groupby(its_lines, key=lambda line: line["plan"]):
            plan = plans[name].resolved(plans)
            stages = estimator.estimate(plan).stages
            for line in of_plan:
                component = "encoder" if line["stage"] == "encode" else correction_key(plan)
                yield {**line, "component": component, "expected": stages[line["stage"]].to_dict()}


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def medians(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one line a stage, with the median of what it took whenever it was tried."""
    tried: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in lines:
        tried.setdefault(tuple(line[name] for name in ("data", "plan", "stage")), []).append(line)
    return [
        {
            **same[0],
            "refined": median([line.get("refined") for line in same]),
            "actual": {name: median([line["actual"][name] for line in same]) for name in same[0]["actual"]},
        }
        for same in tried.values()
    ]


def median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median_low(known) if len(known) == len(values) else None


def forecast(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what stages take in all, as they are expected to from what they took for a share of the users."""
    small = {(line["data"], line["plan"], line["stage"]): line for line in medians(read(given.forecast))}
    tried = {data_set for data_set, *_ in small}
    lines = [line for line in medians(read(given.again)) if line["data"] in tried]
    for data_set, its_lines in groupby(lines, key=lambda line: line["data"]):
        config, dataset, split = prepared(data_set, given.data)
        few = of_few_users(dataset, given.users if given.users < 1 else TENTH)
        estimators = [estimator_of(config, split, 1.0), estimator_of(config, split_of(config, few), 1.0)]
        known = estimators[1].shape
        estimators[0] = dataclasses.replace(estimators[0], shape=known.scaled(users=split.train.n_users))
        plans = {plan.name: plan for plan in plans_of(config, dataset)}
        for name, of_plan in groupby(its_lines, key=lambda line: line["plan"]):
            large, little = (e.estimate(plans[name].resolved(plans)).stages for e in estimators)
            for line in of_plan:
                stage = line["stage"]
                expected, then = large[stage].to_dict(), little[stage].to_dict()
                took = small[data_set, name, stage]["actual"]
                for amount, measured in (("seconds", took["cpu_seconds"]), ("peak_bytes", took.get("peak_bytes"))):
                    least = LEAST_BYTES if amount == "peak_bytes" else 0.0
                    if expected[amount] and then[amount] and measured is not None and measured > least:
                        grown = measured / max(then[amount]["expected"], 1e-9)
                        expected[amount] = {n: grown * value for n, value in expected[amount].items()}
                yield {**line, "expected": expected}


def of_few_users(dataset: Dataset, share: float) -> Dataset:
    """Return the events of a share of the users; the catalogue is whole."""
    log = dataset.interactions
    drawn = np.random.default_rng(0).random(log.n_users) < share
    codes = (np.cumsum(drawn) - 1).astype(np.int32)
    events = log.take(drawn[log.user])
    return dataset.with_interactions(
        dataclasses.replace(events, user=codes[events.user], users=IdMap(log.users.ids[drawn]))
    )


def forecast_shape(train: Dataset, share: float) -> DataShape:
    """Return the shape of ``train`` as the events of a share of its users tell it."""
    return DataShape.of(of_few_users(train, share)).scaled(users=train.interactions.n_users)


def summary(lines: list[dict[str, Any]]) -> str:
    """Return a table for each data set, expected over measured, and how many stages are within the limits."""
    shown: list[str] = []
    ratios: dict[str, list[tuple[str, float | None]]] = {"time": [], "memory": []}
    exact = {"tokens": [0, 0], "flops": [0, 0]}
    for data_set, its_lines in groupby(lines, key=lambda line: line["data"]):
        shown += [
            f"{data_set}:\n",
            "| plan | encode, CPU s | | peak MiB | | fit, CPU s | | peak MiB | | request, ms | | evaluation, CPU s | |",
            f"|{'---|' * 13}",
        ]
        for plan, of_plan in groupby(its_lines, key=lambda line: line["plan"]):
            by_stage = {line["stage"]: line for line in of_plan}
            cells = []
            for stage in ("encode", "fit", "request", "evaluate"):
                seconds, time_ratio = time_of(by_stage[stage])
                cells += told(1000 * seconds if stage == "request" else seconds, time_ratio)
                if time_ratio != "":
                    ratios["time"].append((data_set, time_ratio))
                if stage in ("encode", "fit"):
                    peak, memory_ratio = memory_of(by_stage[stage])
                    cells += told(peak / 2**20, memory_ratio)
                    if memory_ratio != "":
                        ratios["memory"].append((data_set, memory_ratio))
            shown.append(f"| {' | '.join([plan, *cells])} |")
            count_exact(by_stage, exact)
        shown.append("")
    for what, limit in (("time", TIME), ("time", FORECAST), ("memory", MEMORY), ("memory", FORECAST)):
        for data_set in ["all", *dict.fromkeys(line["data"] for line in lines)]:
            found = [ratio for data, ratio in ratios[what] if data_set in ("all", data)]
            good = sum(ratio is not None and 1 / limit <= ratio <= limit for ratio in found)
            if found:
                shown.append(
                    f"{what} within {limit}, {data_set}: {good} of {len(found)} stages ({good / len(found):.0%})"
                )
    told_later = [line["refined"] / line["actual"]["cpu_seconds"] for line in lines if line.get("refined")]
    good = sum(1 / TIME <= ratio <= TIME for ratio in told_later)
    shown.append(f"time within {TIME} by the first batches: {good} of {len(told_later)} stages that report")
    shown += [f"{what} exact: {right} of {of} stages" for what, (right, of) in exact.items()]
    return "\n".join(shown)


def time_of(line: dict[str, Any]) -> tuple[float, float | Literal[""] | None]:
    """Return CPU seconds, and expected over measured: None where unknown, nothing where too little to count."""
    seconds, expected = line["actual"]["cpu_seconds"], line["expected"]["seconds"]
    if line["stage"] != "request" and seconds < LEAST_SECONDS:
        return seconds, ""
    return seconds, None if expected is None else expected["expected"] / max(seconds, 1e-9)


def memory_of(line: dict[str, Any]) -> tuple[float, float | Literal[""] | None]:
    """Return the peak in bytes, and expected over measured, as `time_of` does."""
    peak, expected = line["actual"].get("peak_bytes"), line["expected"]["peak_bytes"]
    if peak is None or peak < LEAST_BYTES:
        return peak or 0.0, ""
    return peak, None if expected is None else expected["expected"] / peak


def told(amount: float, ratio: float | Literal[""] | None) -> list[str]:
    if ratio == "":
        return ["", ""]
    return [f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}", "unknown" if ratio is None else f"{ratio:.2f}"]


def count_exact(by_stage: dict[str, dict[str, Any]], exact: dict[str, list[int]]) -> None:
    """Count encodings whose tokens, and stages whose FLOPs, are as expected."""
    for stage in ("encode", "fit"):
        expected, actual = by_stage[stage]["expected"], by_stage[stage]["actual"]
        if stage == "encode" and actual["tokens_in"]:
            exact["tokens"][0] += (
                expected["tokens"] is not None and expected["tokens"]["expected"] == actual["tokens_in"]
            )
            exact["tokens"][1] += 1
        if actual["flops"]:
            exact["flops"][0] += expected["flops"] is not None and abs(expected["flops"] / actual["flops"] - 1) < 1e-9
            exact["flops"][1] += 1


if __name__ == "__main__":
    main()
