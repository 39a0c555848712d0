"""What a request takes, alone and in a batch: milliseconds of CPU, the least and the middle of several rounds.

    python benchmarks/compute/requests.py movielens-1m --plans popularity item-knn ease
    python benchmarks/compute/requests.py synthetic-50k --data DIR --plans popularity item-knn

Leave-last-out, components' defaults, one thread. Two versions are compared by running each from its own checkout
(``PYTHONPATH``), in turn: other work on a machine only ever adds, so the least of the rounds says what code takes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from estimates import PLANS, prepared  # sets the number of threads

from frugalrec.expectations import plans_of

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set")
    parser.add_argument("--data", type=Path, default=Path(), help="folder of files that cannot be fetched by name")
    parser.add_argument("--plans", nargs="*", default=[plan for plan in PLANS if "text" not in plan])
    parser.add_argument("--queries", type=int, default=100, help="asked one by one, ten times as many in a batch")
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    config, dataset, split = prepared(given.data_set, given.data)
    plans = {plan.name: plan for plan in plans_of(config, dataset)}
    alone = split.test.sample(given.queries, 0).queries
    batch = split.test.sample(10 * given.queries, 0).queries
    print(f"{given.data_set}, {dataset.n_items:,} items\n")
    print("| plan | alone, ms | the middle | in a batch, ms | the middle |\n|---|---|---|---|---|")
    for name in given.plans:
        pipeline = plans[name].resolved(plans).build().fit(split.train)

        def one_by_one(pipeline: object = pipeline) -> None:
            for query in alone:
                pipeline.recommend([query], K)  # type: ignore[attr-defined]

        each = milliseconds(one_by_one, len(alone), given.rounds)
        together = milliseconds(lambda p=pipeline: p.recommend(batch, K), len(batch), given.rounds)
        print(f"| {name} | {each[0]:.3f} | {each[1]:.3f} | {together[0]:.3f} | {together[1]:.3f} |", flush=True)


def milliseconds(call: Callable[[], object], n: int, rounds: int) -> tuple[float, float]:
    """Return the least and the middle of several rounds, of CPU a query."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        call()
        taken.append((time.process_time() - began) / n * 1e3)
    return min(taken), statistics.median(taken)


if __name__ == "__main__":
    main()
