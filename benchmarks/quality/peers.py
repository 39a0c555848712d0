"""Other libraries beside our plans, in one process: the same split, the same ranks and the same tuning for all.

    pip install implicit pandas torch==2.13.0 typeguard pytorch-lightning lenskit && pip install --no-deps rectools
    python benchmarks/quality/peers.py movielens-1m
    python benchmarks/quality/peers.py beauty --data DIR      # DIR holds sequences.txt.gz and items.tsv.gz

Strict leave-last-out: weights are fitted without the last two events of every user, settings are chosen on the second
to last (2,000 users, NDCG@10), the last is reported, with the second to last in the history. The whole catalogue is
ranked, seen items left out. A peer's settings are those of its grid below, in its order, for as long as --seconds of
CPU time last, and at least one; our plans search for as long, but for what next_item.py found (FOUND below). Factor
models that cannot take in new events (BPR, PureSVD) rank for the user they were trained on. What is not installed is
named below the table. One thread.

FLOPs of peers are formulas, where one is stated here: EASE 2 Σ L² for the sums over users of L items, and for the
inverse of n × n 8/3 n³ (RecTools, by LU) or n³ (LensKit, by Cholesky); implicit's neighbours 2 Σ L²; its ALS as our
`als`, which runs it. The rest is unknown. Known defects, left as they are: RecTools' EASE ranks with transposed
weights; LensKit fails on an item that was not trained, so these are taken out of histories first. RecTools asks for
numpy below 2 on Python 3.11, but runs with what frugalrec needs: hence --no-deps.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
for variable in ("LK_NUM_THREADS", "LK_NUM_BACKEND_THREADS"):
    os.environ.setdefault(variable, "1")

import _table
import numpy as np
from scipy import sparse

from frugalrec import metrics, registry
from frugalrec.cost import Ledger, charge
from frugalrec.data.dataset import Dataset, Fold, Query, Ranking, Split
from frugalrec.metrics import ranks_in_lists
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._base import query_matrix
from frugalrec.recommenders.als import Als
from frugalrec.tuning import Search, tune

METRICS = ("ndcg@10", "hr@10")
OURS = ("popularity", "item-knn", "als", "ease", "sequential-words", "blend-words")
WORDS = {"encoder": Spec("bag-of-words")}
FOUND = {
    "movielens-1m": {
        "ridge": 300.0, "whitening": 0.3, "frequency_ridge": 0.05, "half_lives": (1.5, 15.0), "gap_half_life": 60.0,
        "text_weight": 4.0, "text_half_life": 2.0,
    },
}  # fmt: skip
"""Settings that next_item.py finds on the same validation users in 400 s, and that --seconds would not reach."""
RANDOM = ("als", "implicit ALS", "implicit BPR", "LensKit ALS")
PUBLISHED = {
    "movielens-1m": [
        _table.Published(
            "SASRec, full cross-entropy",
            {"ndcg@10": 0.1821, "hr@10": 0.3152},
            "GPU hours; sequences cut to 200; order of ties not stated",
        ),
        _table.Published(
            "HSTU-large", {"ndcg@10": 0.1893, "hr@10": 0.3294}, "GPU hours; sequences cut to 200; ties not stated"
        ),
    ],
    "beauty": [
        _table.Published(
            "SASRec, sampled softmax", {"ndcg@10": 0.0531, "hr@10": 0.0921}, "GPU; refit on validation not stated"
        ),
        _table.Published("TIGER", {"ndcg@10": 0.0384, "hr@10": 0.0648}, "item text through a T5 encoder; GPU"),
    ],
    "movielens-100k": [],
}  # fmt: skip


class Peer:
    """A model of another library; ``fit`` and ``score`` as our recommenders have them."""

    n_items: int

    def history(self, queries: Sequence[Query]) -> sparse.csr_matrix:
        return sparse.csr_matrix(query_matrix(queries, self.n_items))

    def judge(self, fold: Fold) -> dict[str, _table.Values]:
        """Return each metric of each query."""
        return _table.judged(self, fold, METRICS)

    def score(self, queries: Sequence[Query]) -> Any:
        raise NotImplementedError


@dataclass
class Implicit(Peer):
    """implicit's factor models and item neighbours."""

    make: Callable[[], Any]
    flops: Callable[[sparse.csr_array], float | None] = lambda _: None
    takes_new_events: bool = True

    def fit(self, train: Dataset) -> Implicit:
        self.n_items = train.n_items
        chosen = train.interactions.matrix()
        self.model = self.make()
        self.model.fit(sparse.csr_matrix(chosen), show_progress=False)
        charge(flops=self.flops(chosen))
        return self

    def score(self, queries: Sequence[Query]) -> Any:
        if hasattr(self.model, "similarity"):
            return np.asarray((self.history(queries) @ sparse.csr_matrix(self.model.similarity)).todense())
        if self.takes_new_events:
            users = self.model.recalculate_user(np.arange(len(queries)), self.history(queries))
        else:
            users = self.model.user_factors[[q.user for q in queries]]
        return users @ self.model.item_factors.T


@dataclass
class RecTools(Peer):
    """RecTools' models, asked for its own lists of ten."""

    make: Callable[[], Any]
    flops: Callable[[sparse.csr_array], float | None] = lambda _: None

    def fit(self, train: Dataset) -> RecTools:
        from rectools.dataset import IdMap

        log = train.interactions
        self.n_items = train.n_items
        self.trained = np.flatnonzero(log.popularity > 0)
        # One user more, who makes every table as wide as the one that was trained on.
        self.users, self.items = IdMap(np.arange(log.n_users + 1)), IdMap(self.trained)
        self.code = np.full(self.n_items, -1)
        self.code[self.trained] = np.arange(len(self.trained))
        self.model = self.make()
        self.model.fit(self.table(log.user, log.item))
        charge(flops=self.flops(log.matrix()))
        return self

    def table(self, user: Any, item: Any) -> Any:
        import pandas as pd
        from rectools.dataset import Dataset as Table
        from rectools.dataset import Interactions

        order = pd.to_datetime(np.arange(len(item)), unit="s")
        rows = pd.DataFrame({"user_id": user, "item_id": self.code[item], "weight": 1.0, "datetime": order})
        rows = rows[rows["item_id"] >= 0].drop_duplicates(["user_id", "item_id"], keep="last")
        return Table(self.users, self.items, Interactions(rows))

    def judge(self, fold: Fold) -> dict[str, _table.Values]:
        asked = [q.user for q in fold.queries]
        users = np.repeat([*asked, len(self.users.external_ids) - 1], [*(len(q.history) for q in fold.queries), 1])
        histories = self.table(users, np.concatenate([*(q.history for q in fold.queries), self.trained[-1:]]))
        found = self.model.recommend(np.array(asked), histories, k=10, filter_viewed=True)
        lists = {u: (part["item_id"].to_numpy(), part["score"].to_numpy()) for u, part in found.groupby("user_id")}
        empty = (np.empty(0, np.int32), np.empty(0))
        rankings = [Ranking(*lists.get(u, empty)) for u in asked]
        ranks = ranks_in_lists(rankings, fold.relevant, self.n_items)
        return {name: metrics.parse(name)(ranks) for name in METRICS}


@dataclass
class LensKit(Peer):
    """LensKit's scorers, asked for the score of every item."""

    make: Callable[[int], Any]
    flops: Callable[[sparse.csr_array], float | None] = lambda _: None
    seed: int = 0

    def fit(self, train: Dataset) -> LensKit:
        import pandas as pd
        from lenskit.data import ItemList, from_interactions_df
        from lenskit.training import TrainingOptions

        log = train.interactions
        self.n_items, self.trained = train.n_items, log.popularity > 0
        self.every = ItemList(item_ids=np.arange(self.n_items))
        events = pd.DataFrame({"user_id": log.user, "item_id": log.item}).drop_duplicates()
        self.model = self.make(self.seed)
        self.model.train(from_interactions_df(events), TrainingOptions(rng=self.seed, device="cpu"))
        charge(flops=self.flops(log.matrix()))
        return self

    def score(self, queries: Sequence[Query]) -> Any:
        from lenskit.data import ItemList, RecQuery

        rows = np.empty((len(queries), self.n_items), dtype=np.float32)
        for row, query in enumerate(queries):
            known = ItemList(item_ids=np.unique(query.history[self.trained[query.history]]))
            found = self.model(query=RecQuery(user_items=known), items=self.every)
            scores = found.scores("numpy")
            rows[row] = np.where(np.isfinite(scores), scores, np.nanmin(scores, initial=0.0) - 1.0)
        return rows


@dataclass(frozen=True)
class Contender:
    """A peer, the package it needs, and the settings to try, in order."""

    needs: str
    make: Callable[[Mapping[str, Any], int], Any]
    grid: Sequence[Mapping[str, Any]] = field(default_factory=lambda: [{}])
    note: str = ""


def sums(chosen: sparse.csr_array) -> float:
    """Return 2 Σ L², what the inner products of all items' columns take."""
    return 2.0 * float(np.square(np.diff(chosen.indptr).astype(np.float64)).sum())


def ease(cubes: float) -> Callable[[sparse.csr_array], float]:
    return lambda chosen: sums(chosen) + cubes * float(len(np.unique(chosen.indices))) ** 3


def of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def neighbours(name: str) -> Callable[[Mapping[str, Any], int], Peer]:
    return lambda s, _: Implicit(lambda: of("implicit.nearest_neighbours", name)(num_threads=1, **s), sums)


def implicit_als(settings: Mapping[str, Any], seed: int) -> Peer:
    counted = Als(**settings, iterations=15)
    make = of("implicit.cpu.als", "AlternatingLeastSquares")
    return Implicit(
        lambda: make(num_threads=1, random_state=seed, iterations=15, **settings),
        counted._fit_flops,
    )


def implicit_bpr(settings: Mapping[str, Any], seed: int) -> Peer:
    make = of("implicit.cpu.bpr", "BayesianPersonalizedRanking")
    return Implicit(lambda: make(factors=64, num_threads=1, random_state=seed, **settings), takes_new_events=False)


def rectools(name: str, flops: Callable[[sparse.csr_array], float | None]) -> Callable[[Mapping[str, Any], int], Peer]:
    extra = {"random_state": 0} if name == "PureSVDModel" else {}
    return lambda s, _: RecTools(lambda: of("rectools.models", name)(recommend_n_threads=1, **extra, **s), flops)


def rectools_sasrec(settings: Mapping[str, Any], seed: int) -> Peer:
    """Return RecTools' SASRec, 64 factors, the newest 50 items, full cross-entropy, adding nothing to the disk."""

    def trainer() -> Any:
        return of("pytorch_lightning", "Trainer")(
            max_epochs=settings["epochs"],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def make() -> Any:
        of("pytorch_lightning", "seed_everything")(seed, verbose=False)
        model = of("rectools.models.nn.transformers.sasrec", "SASRecModel")
        return model(
            n_factors=64,
            session_max_len=50,
            loss="softmax",
            recommend_torch_device="cpu",
            get_trainer_func=trainer,
            **settings,
        )

    return RecTools(make)


def lenskit(
    module: str, name: str, flops: Callable[[sparse.csr_array], float | None] = lambda _: None
) -> Callable[[Mapping[str, Any], int], Peer]:
    return lambda s, seed: LensKit(lambda _: of(module, name)(**s), flops, seed)


def grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return every combination, the last setting changing fastest."""
    found: list[dict[str, Any]] = [{}]
    for name, options in values.items():
        found = [{**one, name: option} for one in found for option in options]
    return found


CONTENDERS: dict[str, Contender] = {
    "implicit ALS": Contender(
        "implicit", implicit_als, grid(factors=(64, 128, 256), regularization=(10.0, 100.0, 1.0, 0.1))
    ),
    "implicit BM25": Contender(
        "implicit", neighbours("BM25Recommender"), grid(K1=(1.2,), B=(0.75, 0.2), K=(1000, 300, 100))
    ),
    "implicit TF-IDF": Contender("implicit", neighbours("TFIDFRecommender"), grid(K=(20, 100, 300, 1000))),
    "implicit cosine": Contender("implicit", neighbours("CosineRecommender"), grid(K=(20, 100, 300, 1000))),
    "implicit BPR": Contender(
        "implicit", implicit_bpr, grid(learning_rate=(0.05, 0.01), regularization=(0.01, 0.05)), "64 factors"
    ),
    "RecTools EASE": Contender(
        "rectools",
        rectools("EASEModel", ease(8 / 3)),
        grid(regularization=(500.0, 300.0, 1000.0, 100.0, 3000.0)),
        "ranks with transposed weights",
    ),
    "RecTools PureSVD": Contender(
        "rectools", rectools("PureSVDModel", lambda _: None), grid(factors=(32, 64, 16, 128))
    ),
    "RecTools SASRec": Contender(
        "rectools", rectools_sasrec, grid(epochs=(20, 40, 80, 160)), "64 factors, newest 50 items, full cross-entropy"
    ),
    "LensKit EASE": Contender(
        "lenskit", lenskit("lenskit.knn", "EASEScorer", ease(1.0)), grid(regularization=(300.0, 1000.0, 100.0, 3000.0))
    ),
    "LensKit ALS": Contender(
        "lenskit",
        lenskit("lenskit.als", "ImplicitMFScorer"),
        grid(embedding_size=(64,), weight=(5.0, 40.0), regularization=(0.1, 10.0)),
    ),
    "LensKit item-kNN": Contender(
        "lenskit", lenskit("lenskit.knn", "ItemKNNScorer"), grid(feedback=("implicit",), max_nbrs=(20, 100))
    ),
}  # fmt: skip


def searched(name: str, contender: Contender, split: Split, seconds: float) -> dict[str, Any]:
    """Return the best settings of a grid on validation, as far as ``seconds`` of CPU time reach."""
    fold = split.validation.sample(2000, seed=0)
    deadline = time.process_time() + seconds
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    for number, settings in enumerate(contender.grid):
        if number and time.process_time() > deadline:
            _table.progress(f"  {name}: {number} of {len(contender.grid)} settings tried in {seconds:.0f} s")
            break
        values = contender.make(settings, 0).fit(split.train).judge(fold)[METRICS[0]]
        _table.progress(f"  {name} {settings}: validation {np.nanmean(values):.4f}")
        if np.nanmean(values) > best[0]:
            best = (float(np.nanmean(values)), dict(settings))
    return best[1]


def seeds(name: str, n: int) -> int:
    return n if name in RANDOM else 1


def spec_of(name: str, data: str, chosen: Mapping[str, Spec]) -> Spec:
    """Return one of our plans, what is to be tuned left open."""
    if name == "blend-words":
        members = (chosen["sequential-words"], Spec("state-knn"), chosen["ease"])
        return Spec("hybrid", {"members": members, "method": "scale"})
    return Spec("sequential-linear", {**WORDS, **FOUND.get(data, {})}) if name == "sequential-words" else Spec(name)


def ours(name: str, spec: Spec) -> Callable[[int], Any]:
    return lambda seed: Plan(name, spec.with_settings(seed=seed) if name in RANDOM else spec).build()


def main() -> None:
    arguments = _table.arguments_of(__doc__)
    _table.add_data(arguments)
    arguments.add_argument("--seconds", type=float, default=120.0, help="CPU seconds of tuning for each model")
    arguments.add_argument("--ours", nargs="*", default=OURS, help="our plans to put beside")
    arguments.add_argument("--peers", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS))
    arguments.add_argument("--seeds", type=int, default=5, help="of models with a random start")
    given = arguments.parse_args()
    warnings.filterwarnings("ignore")
    dataset = _table.read(given.name, given.data, given.ties)
    split: Split = registry.build("split", "leave-last-out", {}).split(dataset)
    protocol = f"strict leave-last-out, {len(split.test):,} users, ties in the order of {given.ties}"
    table = _table.Table(dataset.name, dataset, METRICS, protocol=protocol, more=[_table.RANKING])
    table.head()
    chosen: dict[str, Spec] = {}
    for name in given.ours:
        plan = Plan(name, spec_of(name, given.name, chosen))
        tuned = tune(plan, split, METRICS[0], Search(given.seconds), Ledger()).plan
        chosen[name] = tuned.recommender
        settings = dict(tuned.recommender.settings)
        _table.progress(f"{name}: {_table.plain(settings)}")

        make = ours(name, tuned.recommender)
        table.add(_table.measured(name, make, split, METRICS, seeds=seeds(name, given.seeds), settings=settings))
    for name in given.peers:
        contender = CONTENDERS[name]
        if importlib.util.find_spec(contender.needs) is None:
            table.not_installed(name, f"pip install {contender.needs}")
            continue
        try:
            settings = searched(name, contender, split, given.seconds)
        except Exception as error:  # a peer that fails costs its own row, not the hours of the others
            table.not_installed(name, f"{contender.needs} failed: {error!r}")
            continue
        _table.progress(f"{name}: {settings}")
        version = importlib.import_module(contender.needs).__version__
        note = "; ".join([f"{contender.needs} {version}, {settings}", *filter(None, [contender.note])])
        row = _table.measured(
            name,
            partial(contender.make, settings),
            split,
            METRICS,
            seeds=seeds(name, given.seeds),
            judge=lambda model, fold: model.judge(fold),
            settings=settings,
            note=note,
        )
        table.add(row)
    table.compare_with_best()
    table.close(given.out, PUBLISHED[given.name])


if __name__ == "__main__":
    main()
