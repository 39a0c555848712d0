"""What a request takes once what it needs was pushed out of the caches, and what judging takes once, in queries.

    python benchmarks/compute/requests_alone.py

A request reads weights, factors or vectors; where those are more than the nearest caches hold, the next request finds
nothing there of what it needs, not even its instructions. Here requests to models of a few items are made after reading
so many bytes, and after reading none; reading alone is timed as well, and taken off. All are made in turn in one
process, so that a machine of changing speed changes all, and counted by the third part that was fastest.
Judging is timed for 20 to 2,000 queries; what is left where the line through them meets none is taken once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frugalrec.calibration._made_up import dataset_of
from frugalrec.calibration._recommending import FEW, _DrawnTexts, _Judging
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders.als import Als
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.recommenders.user_knn import UserKnn

READ = (0, 1 << 19, 1 << 21, 1 << 22, 1 << 23)  # bytes
ROUNDS, ASKED = 30, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    requests()
    judging()


def requests() -> None:
    data = dataset_of(FEW, 10_000)
    titles = {"title": [f"item {i}" for i in range(FEW)]}
    data = replace(data, catalog=replace(data.catalog, fields=titles, text=("title",)))
    texts = _DrawnTexts(512)
    models = {
        "popularity": Popularity(),
        "ease": Ease(),
        "item-knn": ItemKnn(),
        "user-knn": UserKnn(),
        "als": Als(),
        "content": Content(texts),
        "sequential": SequentialLinear(),
        "sequential, text": SequentialLinear(encoder=texts),
    }
    print("| request, ms of CPU | " + " | ".join(f"{size / 2**20:g} MiB read" for size in READ) + " |")
    print("|---|" + "---|" * len(READ))
    for name, model in models.items():
        hot, *emptied = asked(model.fit(data), data)
        print(f"| {name} | {hot:.3f} | " + " | ".join(f"{more:+.3f}" for more in emptied) + " |", flush=True)


def asked(model: Any, data: Dataset) -> list[float]:
    """Return milliseconds of a request, and how much more it takes after reading each of the sizes."""
    pipeline = Pipeline(Plan("made up", Spec("popularity")), model, None, ())
    queries = [data.query(user) for user in range(ASKED)]
    tables = [np.ones(size // 4, dtype=np.float32) for size in READ]

    def after(table: Any) -> None:
        for query in queries:
            table.sum()
            pipeline.recommend([query], 10)

    def alone(table: Any) -> None:
        for _ in queries:
            table.sum()

    taken = np.empty((ROUNDS, len(READ), 2))
    with Ledger().span("requests"):
        for row in taken:
            for cells, table in zip(row, tables, strict=True):
                cells[:] = timed(after, table), timed(alone, table)
    whole, read = np.quantile(taken, 1 / 3, axis=0).T * 1e3 / ASKED
    answered = whole - read
    return [float(answered[0]), *(float(more) for more in answered[1:] - answered[0])]


def judging() -> None:
    sizes = (20, 250, 1_000, 2_000)
    print("\n| judging, items | each query, µs | once, ms | in queries |\n|---|---|---|---|")
    for n_items in (500, 1_700):
        made = [_Judging(n_items, n) for n in sizes]
        rounds: Sequence[Sequence[float]] = [[timed(one.run, "judge") for one in made] for _ in range(12)]
        each, once = np.polyfit(sizes, np.median(rounds, axis=0), 1)
        print(f"| {n_items:,} | {each * 1e6:.0f} | {once * 1e3:.1f} | {once / each:.0f} |")


def timed(call: Callable[[Any], Any], given: Any) -> float:
    """Return CPU seconds of a call."""
    began = time.process_time()
    call(given)
    return time.process_time() - began


if __name__ == "__main__":
    main()
