"""LLMRank's task on MovieLens-1M: put 20 candidates, the next item among them, in order; plans beside its figures.

    python benchmarks/quality/llmrank.py --data DIR     # DIR holds users-200/ml-1m.random.gz, users-6040/ml-1m-full.…

Hou et al., "Large Language Models are Zero-Shot Rankers for Recommender Systems", 2024. The candidates are the authors'
own lists: the truth and the first 19 other items of a user's line. The truth is the user's last event, the history all
before it; weights are fitted without the last two events of every user. Settings of item-knn and ease, the ridge of
sequential (its twins with text take it over) and the text weight are chosen on the second to last event among the same
19 others, of all users; half-lives of the sequential plans are those that full ranking chooses. A fusion learns a
weight of at least 0 for each member from the same lists. Ranked are all 20 candidates, items of the history too; a
second column puts those last, as our recommenders do, which never offer them. N@10: NDCG@10, equal scores share their
average rank. One seed, one thread.

What may differ from the paper: which event is last where a user's last events share a timestamp (here file order, or
--ties), and which candidate makes room for the truth.
"""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import _table
import numpy as np

from frugalrec import registry
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Dataset, Fold
from frugalrec.interfaces import Judged, Recommender
from frugalrec.recommenders.fusion import most_likely_weights
from frugalrec.significance import bootstrap_interval

LISTS = {"users-200": "ml-1m.random.gz", "users-6040": "ml-1m-full.random.gz"}
ALL = "users-6040"
FIRST, LAST, FEW = "n@10", "items of the history last", "200 users"
DIFFERS = "200 users of the authors' own sample; which event is last among equal times may differ"
PUBLISHED = [
    _table.Published(name, {"n@10": value}, DIFFERS)
    for name, value in (("SASRec", 78.9), ("BPR", 64.3), ("popularity", 52.3), ("GPT-3.5", 48.8), ("GPT-4", 46.7))
]
N_CANDIDATES = 20
BLOCK = 256
Values = np.ndarray[Any, np.dtype[np.float64]]
SEQUENTIAL = {
    "half_lives": (1.5, 15.0), "gap_half_life": 60.0, "frequency_ridge": 0.05, "target_half_life": 1.0,
}  # fmt: skip
TEXT = {"whitening": 0.3, "text_weight": 6.0, "text_half_life": 3.0}
SCORED_TEXT = {"text_weight": (0.0, 1.0, 3.0, 10.0), "text_half_life": (3.0, 10.0)}
Grid = Mapping[str, Sequence[Any]]
PLANS: dict[str, tuple[str, Mapping[str, Any], str, Grid, Grid]] = {
    "chance": ("chance", {}, "", {}, {}),
    "popularity": ("popularity", {}, "", {}, {}),
    "item-knn": (
        "item-knn", {}, "",
        {"feature_weighting": ("tf-idf", "bm25"), "neighbours": (100, 1000)},
        {"half_life": (0.0, 1.5, 4.0, 12.0)},
    ),
    "ease": ("ease", {}, "", {"ridge": (300.0, 1000.0, 3000.0, 10000.0)}, {"history_half_life": (0.0, 2.0, 5.0, 15.0)}),
    "als": ("als", {"factors": 64, "regularization": 10.0}, "", {}, {"half_life": (0.0, 3.0, 10.0)}),
    "state-knn": ("state-knn", {}, "", {}, {}),
    "sequential": ("sequential-linear", SEQUENTIAL, "", {"ridge": (300.0, 1000.0, 3000.0, 10000.0)}, {}),
    "sequential-words": ("sequential-linear", {**SEQUENTIAL, **TEXT}, "bag-of-words", {}, SCORED_TEXT),
    "sequential-text": ("sequential-linear", {**SEQUENTIAL, **TEXT}, "onnx", {}, SCORED_TEXT),
}  # fmt: skip
"""Component, settings, encoder, settings to choose by fitting, settings to choose by scoring alone."""
FUSIONS = {
    "fusion": ("popularity", "item-knn", "als", "ease", "sequential-words", "state-knn"),
    "fusion with text": ("popularity", "item-knn", "als", "ease", "sequential-words", "sequential-text", "state-knn"),
}
"""Members of a weighted sum of scores that are standardised over the candidates."""


@dataclass(frozen=True)
class Task:
    """Requests, what their users did next, and the candidates ``(n, 20)``, the truth first."""

    fold: Fold
    candidates: np.ndarray[Any, Any]

    def scores(self, model: Recommender) -> Values:
        """Return a model's scores of the candidates, float64 ``(n, 20)``."""
        blocks = []
        for start in range(0, len(self.fold), BLOCK):
            scored = model.score(self.fold.queries[start : start + BLOCK])
            blocks.append(np.take_along_axis(scored, self.candidates[start : start + BLOCK], axis=1))
        return np.concatenate(blocks).astype(np.float64)

    def met(self) -> np.ndarray[Any, Any]:
        """Return which candidates are items of the history, bool ``(n, 20)``."""
        pairs = zip(self.candidates, self.fold.queries, strict=True)
        return np.array([np.isin(items, query.history) for items, query in pairs])

    def last(self, scores: Values) -> Values:
        """Return scores with the items of the history below all others."""
        return np.where(self.met(), -np.inf, scores)


def n10(scores: Values) -> Values:
    """Return N@10 of each request, from the scores of its candidates, the truth first."""
    return ndcg(np.array([rank(row) for row in scores]))


def standardised(scores: Values) -> Values:
    """Return scores with mean 0 and deviation 1 over each request's candidates; all alike become 0."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    return centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-12)


def fused(validation: Mapping[str, Values], test: Mapping[str, Values]) -> tuple[Values, dict[str, float]]:
    """Return the weighted sum of the members' scores, its weights of at least 0 learned on validation, and these."""
    names = list(validation)
    stacked = np.stack([standardised(validation[name]) for name in names]).astype(np.float32)
    truths = [np.array([0], dtype=np.int32)] * stacked.shape[1]
    weights = most_likely_weights(stacked, np.ones(stacked.shape[1:], dtype=bool), truths, ridge=1e-3)
    total = sum(weight * standardised(test[name]) for name, weight in zip(names, weights, strict=True))
    return np.asarray(total), dict(zip(names, weights.round(3).tolist(), strict=True))


def rank(scores: np.ndarray[Any, Any]) -> float:
    """Return the rank of the first score, 1 is best; equal scores share their average rank."""
    return float(1 + np.sum(scores[1:] > scores[0]) + np.sum(scores[1:] == scores[0]) / 2)


def ndcg(ranks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    metric = registry.load("metric", "ndcg")(10)
    n = len(ranks)
    return np.asarray(metric(Judged(ranks, np.arange(n + 1), np.full(n, N_CANDIDATES))))


def lines_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            user, items = line.rstrip("\n").split("\t")
            yield user, items.split()


def codes_of_items(dataset: Dataset, path: Path) -> dict[str, int]:
    """Return the code of each MovieLens number in the authors' item file; some copies of the data go by titles."""
    catalog = dataset.catalog
    found: dict[str, int] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in itertools.islice(file, 1, None):
            number, title, year, _ = line.rstrip("\n").split("\t")
            known = [each for each in (f"{title} ({year})", number) if each in catalog.items]
            assert known, f"movie {number}, {title} ({year}), is not in the catalogue"
            found[number] = catalog.items.code(known[0])
    assert len(set(found.values())) == len(found) == len(catalog), "two movies are taken for one"
    return found


def task(dataset: Dataset, fold: Fold, path: Path, codes: Mapping[str, int]) -> Task:
    """Return the requests of the users in a candidate file; the truth is each user's last event in ``dataset``."""
    log = dataset.interactions
    row_of = {query.user: row for row, query in enumerate(fold.queries)}
    rows, lists = [], []
    for user_id, item_ids in lines_of(path):
        user = log.users.code(user_id if user_id in log.users else f"1m_{user_id}")
        row = row_of[user]
        (truth,) = fold.relevant[row].tolist()
        events = log.item[log.events_of(user)]
        assert truth == events[-1], f"user {user_id}: the truth is not the next event"
        np.testing.assert_array_equal(fold.queries[row].history, events[:-1])
        others = [code for code in dict.fromkeys(codes[i] for i in item_ids) if code != truth]
        rows.append(row)
        lists.append([truth, *others[: N_CANDIDATES - 1]])
    return Task(fold.take(np.array(rows)), np.array(lists, dtype=np.int32))


def combinations(grid: Grid) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def chosen(
    name: str, train: Dataset, validation: Task, given: Mapping[str, Any]
) -> tuple[Recommender, dict[str, Any], Cost]:
    """Return a plan fitted with the settings best on ``validation``, those settings, and the cost of its fit."""
    component, fixed, encoder, fitting, scoring = PLANS[name]
    settings = {**fixed, **given, **({"encoder": registry.build("encoder", encoder, {})} if encoder else {})}
    best: tuple[float, dict[str, Any], Cost] = (-1.0, {}, Cost.zero())
    fitted: dict[str, Any] = {}
    sums: list[tuple[Any, Cost]] = []  # of the events, which all settings chosen by fitting share where there are sums

    def fit(changed: Mapping[str, Any]) -> tuple[Any, Cost]:
        model: Any = registry.build("recommender", component, {**settings, **changed})
        ledger = Ledger()
        if not hasattr(model, "accumulate"):
            with ledger.span("fit", plan=name):
                model.fit(train)
            return model, ledger.total()
        model.read(train.catalog)
        if not sums:
            with ledger.span("sums", plan=name):
                found = model.accumulate(train.interactions)
            sums.append((found, ledger.entries[-1].cost))
        with ledger.span("solve", plan=name):
            model.solve(sums[0][0])
        return model, sums[0][1] + ledger.entries[-1].cost

    model: Any = None
    for fitted in combinations(fitting):
        model, cost = fit(fitted)
        if not fitting and not scoring:
            best = (0.0, {}, cost)
        for scored in combinations(scoring) if fitting or scoring else ():
            found = float(n10(validation.scores(with_settings(model, scored))).mean())
            _table.progress(f"  {name} {fitted | scored}: validation {100 * found:.2f}")
            if found > best[0]:
                best = (found, {**fitted, **scored}, cost)
    if any(best[1][setting] != value for setting, value in fitted.items()):
        model, _ = fit(best[1])
    return with_settings(model, best[1]), best[1], best[2]


def with_settings(model: Any, settings: Mapping[str, Any]) -> Any:
    for setting, value in settings.items():
        setattr(model, setting, value)
    return model


def main() -> None:
    arguments = _table.arguments_of(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="folder of the authors' candidate lists")
    arguments.add_argument("--plans", nargs="*", default=list(PLANS), choices=list(PLANS))
    arguments.add_argument("--ties", default="file", choices=["file", "item-id", "random"])
    given = arguments.parse_args()
    dataset = _table.read("movielens-1m", ties=given.ties)
    split = registry.build("split", "leave-last-out", {}).split(dataset)
    everybody = given.data / "users-6040" / LISTS["users-6040"]
    codes = codes_of_items(dataset, given.data / "users-200" / "ml-1m.item.gz")
    validation = task(dataset.with_interactions(without_last(dataset)), split.validation, everybody, codes)
    tests = {folder: task(dataset, split.test, given.data / folder / file, codes) for folder, file in LISTS.items()}
    protocol = f"20 candidates of {len(tests[ALL].fold):,} users, N@10 x 100; ties in the order of {given.ties}"
    table = _table.Table(dataset.name, dataset, (FIRST, LAST), protocol=protocol, more=[FEW], scale=100.0)
    for folder, each in tests.items():
        met = [np.isin(row, q.history).sum() for q, row in zip(each.fold.queries, each.candidates, strict=True)]
        print(f"{folder}: {len(each.fold)} users; {np.mean(met):.2f} of {N_CANDIDATES} candidates are in the history")
    table.head()

    def row(name: str, scores: Mapping[str, Values], cost: Cost, settings: Mapping[str, Any]) -> _table.Row:
        few = bootstrap_interval(100 * n10(scores["users-200"]))
        values = {FIRST: n10(scores[ALL]), LAST: n10(tests[ALL].last(scores[ALL]))}
        more = {FEW: f"{few.mean:.1f} [{few.low:.1f}, {few.high:.1f}]"}
        return _table.Row(name, values, cost, settings, more=more)

    found: dict[tuple[str, str], Values] = {}
    costs: dict[str, Cost] = {}
    shared: dict[str, Any] = {"ridge": 300.0}  # what full ranking chooses, where `sequential` is not asked for
    for name in given.plans:
        model, settings, cost = chosen(name, split.train, validation, shared if PLANS[name][2] else {})
        shared = settings if name == "sequential" else shared
        _table.progress(f"{name}: {settings}")
        found["validation", name] = validation.scores(model)
        for folder, each in tests.items():
            found[folder, name] = each.scores(model)
        costs[name] = cost
        table.add(row(name, {folder: found[folder, name] for folder in tests}, cost, settings))
        del model
    for name, members in FUSIONS.items():
        if set(members) <= set(given.plans):
            of = {fold: {m: found[fold, m] for m in members} for fold in ("validation", *tests)}
            both = {folder: fused(of["validation"], of[folder]) for folder in tests}
            scores, weights = {folder: total for folder, (total, _) in both.items()}, both[ALL][1]
            table.add(row(name, scores, sum((costs[m] for m in members), Cost.zero()), {"weights": weights}))
    table.compare_with_best()
    table.compare([("sequential-words", "sequential"), ("sequential-text", "sequential-words")])
    table.close(given.out, PUBLISHED)


def without_last(dataset: Dataset) -> Any:
    """Return the events without the last of each user, so that the validation event is the last."""
    log = dataset.interactions
    return log.take(np.arange(len(log)) != log.offsets[log.user + 1] - 1)


if __name__ == "__main__":
    main()
