"""Does a small generative model put candidates in a better order, and what does each way to ask it cost?

    python benchmarks/language/rerank.py protocol --data DIR --model smollm2-135m-instruct-q4
    python benchmarks/language/rerank.py order --data DIR --model FILE.gguf --users 25
    python benchmarks/language/rerank.py plan --model FILE.gguf
    python benchmarks/language/rerank.py cache --model FILE.gguf

``--model``: an asset's name or a GGUF file. One thread; numbers are kept in --cache, so a run that was ended goes on.

*protocol*: Hou et al.'s 20 candidates on MovieLens-1M (`benchmarks/quality/llmrank.py` says where DIR is from), in
random order, history of the last 10, zero-shot: nothing is fitted but the priors. "No history" is log P(title) after a
prompt without one. N@10 x 100 of the first --users of their 200 users, equal scores share their average rank; --few
users where an answer takes many calls. The cost of a request is what it takes from nothing; priors (an item's score
without history) are paid once and told apart.

*order*: the same lists with the truth first and last, and means over random orders: what a place is worth.

*plan*: MovieLens-100K, the best ten of `sequential-text`. The blend of each way is chosen on --validation users and the
gain over the input order told on --users others. Where the truth is not among the ten nothing can change, so nothing is
asked there, and the gain is 0 exactly.

*cache*: the same ten for each of the last five requests of --users users, through `semantic-cache`: how many orders are
taken over, and how like they are to those the model would have made (Kendall's tau).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "quality"))

import _table
import llmrank
import numpy as np
from scipy.stats import kendalltau

from frugalrec import registry
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Dataset, Fold, Query, Ranking, Split
from frugalrec.llms._cached import CachedLanguageModel
from frugalrec.llms.llama_cpp import LlamaCpp
from frugalrec.machine import describe
from frugalrec.rerankers._order import reordered, standard
from frugalrec.significance import bootstrap_interval, paired_difference
from frugalrec.stores.array_cache import ArrayCache

Values = np.ndarray[Any, np.dtype[np.float64]]
SEED = 0
N_WINDOW = 10
"""Candidates of a plan's top that are reordered."""
BLENDS = (0.1, 0.3, 1.0)
NO_HISTORY = "likelihood, no history"
ORDERS = ("as it comes", "truth first", "truth last")
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    NO_HISTORY: ("likelihood", {"prior_items": 0}),
    "likelihood, none": ("likelihood", {"normalisation": "none"}),
    "likelihood, tokens": ("likelihood", {"normalisation": "tokens"}),
    "likelihood, pmi, weight .5": ("likelihood", {"prior_weight": 0.5, "prior_items": 0}),
    "likelihood, pmi": ("likelihood", {"prior_items": 0}),
    "pointwise": ("pointwise", {"prior_weight": 0.0}),
    "pointwise less prior": ("pointwise", {"prior_weight": 1.0, "prior_items": 0}),
    "listwise, one order": ("listwise", {"shuffles": 0, "calibrate": False}),
    "listwise, one order, less letters": ("listwise", {"shuffles": 0}),
    "listwise, 3 shuffles, less letters": ("listwise", {"shuffles": 3}),
    "setwise, one order, less letters": ("setwise", {"shuffles": 0}),
}
FEW = (
    "pointwise",
    "pointwise less prior",
    "listwise, 3 shuffles, less letters",
    "setwise, one order, less letters",
)
IN_A_PLAN = ("likelihood, pmi", "pointwise", "listwise, one order, less letters", "listwise, 3 shuffles, less letters")
IN_ORDERS = {
    "one order": {"shuffles": 0, "calibrate": False},
    "one order, less letters": {"shuffles": 0},
    "1 shuffle, less letters": {"shuffles": 1},
    "3 shuffles": {"shuffles": 3, "calibrate": False},
    "3 shuffles, less letters": {"shuffles": 3},
}


@dataclass
class Asked:
    """One way to ask: scores, and what a request and what is paid once took, from nothing."""

    reranker: Any
    ledger: Ledger = field(default_factory=Ledger)

    def prepare(self, items: Values) -> None:
        """Read what the items score without history, where the way wants it."""
        with self.ledger.span("once", phase="once"):
            if getattr(self.reranker, "_weighs_prior", bool)():
                new = np.unique(items)
                for start in range(0, len(new), 256):
                    part = new[start : start + 256].astype(np.int32)
                    self.reranker.prior_[part] = self.reranker._without_history(part)

    def scores(self, query: Query, items: Any, shown: Any) -> Values:
        """Return the scores of ``items``, shown in the order ``shown`` (places in ``items``)."""
        with self.ledger.span("request", phase="request"):
            (found,) = self.reranker.rerank([query], [Ranking(items[shown], np.zeros(len(items)))])
        assert not found.degraded
        of = dict(zip(found.items.tolist(), found.scores.tolist(), strict=True))
        return np.array([of[item] for item in items.tolist()])

    def request(self) -> Cost:
        """Return the mean cost of a request."""
        entries = [e for e in self.ledger.entries if e.phase == "request" and e.depth == 0]
        return self.ledger.total(phase="request") / max(1, len(entries))


def model_of(given: argparse.Namespace) -> CachedLanguageModel:
    path = given.model if given.model.endswith(".gguf") else ""
    name = {} if path else {"model": given.model}
    model = LlamaCpp(path=path, reuse=True, **name)
    return CachedLanguageModel(model, ArrayCache(given.cache / "rerank"))


def lists_of(given: argparse.Namespace) -> tuple[llmrank.Task, Dataset, Dataset]:
    """Return the 200 users' lists, all data and what may be learned from."""
    dataset = _table.read("movielens-1m")
    split = registry.build("split", "leave-last-out", {}).split(dataset)
    codes = llmrank.codes_of_items(dataset, given.data / "users-200" / "ml-1m.item.gz")
    folder = given.data / "users-200" / llmrank.LISTS["users-200"]
    return llmrank.task(dataset, split.test, folder, codes), dataset, split.train


def way(component: str, settings: Mapping[str, Any], model: Any, dataset: Dataset) -> Asked:
    depth = llmrank.N_CANDIDATES
    return Asked(
        registry.build("reranker", component, {"model": model, "depth": depth, "blend": 1.0, **settings}).fit(dataset)
    )


def shuffled(task: llmrank.Task) -> Any:
    """Return a random order of each list's places."""
    return np.array(
        [np.random.default_rng([SEED, row]).permutation(task.candidates.shape[1]) for row in range(len(task.fold))]
    )


def told(values: Values) -> str:
    found = bootstrap_interval(100 * values)
    return f"{found.mean:.1f} [{found.low:.1f}, {found.high:.1f}]"


def gap_words(values: Values, others: Values) -> str:
    found = paired_difference(100 * values, 100 * others)
    return f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"


def cost_words(cost: Cost) -> str:
    return f"{cost.tokens_in:,.0f} | {cost.tokens_cached:,.0f} | {cost.cpu_seconds:.2f} | {cost.flops / 1e9:,.0f}"


def protocol(given: argparse.Namespace) -> list[dict[str, Any]]:
    task, dataset, train = lists_of(given)
    places = shuffled(task)
    model = model_of(given)
    popularity = llmrank.n10(task.scores(registry.build("recommender", "popularity", {}).fit(train)))
    # What is expected of a random order is the same for every list, so it has no interval.
    chance = llmrank.ndcg(np.arange(1.0, llmrank.N_CANDIDATES + 1)).mean()
    print(
        "| way | users | N@10 x 100 | less chance | less popularity | tokens | not computed again | CPU s | GFLOP "
        "| once: tokens, CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    for users in dict.fromkeys((len(task.fold), given.users, given.few)):
        print(f"| *popularity* | {users} | {told(popularity[:users])} | | | 0 | 0 | | | |")
        shown = llmrank.n10(-places.argsort(axis=1).astype(float))[:users]
        print(f"| *the order shown* | {users} | {told(shown)} | | | 0 | 0 | | | |", flush=True)
    for name in given.ways:
        users = given.few if name in FEW else given.users
        asked = way(*WAYS[name], model, dataset)
        asked.prepare(task.candidates[:users])
        found = []
        for row in range(users):
            if name == NO_HISTORY:
                found.append(asked.reranker.prior_[task.candidates[row]])
                continue
            found.append(asked.scores(task.fold.queries[row], task.candidates[row], places[row]))
            _table.progress(f"{name}: {row + 1} of {users}")
        values, once = llmrank.n10(np.array(found)), asked.ledger.total(phase="once")
        spent = f"{once.tokens_in:,.0f}, {once.cpu_seconds:.0f}" if once.tokens_in else ""
        gaps = [gap_words(values, other) for other in (np.full(users, chance), popularity[:users])]
        cells = (name, users, told(values), *gaps, cost_words(asked.request()), spent)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        rows.append({"way": name, "values": values.tolist(), "request": asked.request().to_dict()})
    return rows


def order(given: argparse.Namespace) -> list[dict[str, Any]]:
    task, dataset, _ = lists_of(given)
    places, model, rows = shuffled(task), model_of(given), []
    print(f"| listwise, {given.users} users, N@10 x 100 | " + " | ".join(ORDERS) + " | first less last | CPU s |")
    print("|---|---|---|---|---|---|")
    for name, settings in IN_ORDERS.items():
        asked, values = way("listwise", settings, model, dataset), {}
        for shown in ORDERS:
            found = []
            for row in range(given.users):
                others = places[row][places[row] != 0]
                kinds = {ORDERS[0]: places[row], ORDERS[1]: [0, *others], ORDERS[2]: [*others, 0]}
                found.append(asked.scores(task.fold.queries[row], task.candidates[row], np.array(kinds[shown])))
                _table.progress(f"{name}, {shown}: {row + 1} of {given.users}")
            values[shown] = llmrank.n10(np.array(found))
        cells = [f"{100 * values[shown].mean():.1f}" for shown in ORDERS]
        cells += [gap_words(values[ORDERS[1]], values[ORDERS[2]]), f"{asked.request().cpu_seconds:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        rows.append({"way": name, **{shown: found.tolist() for shown, found in values.items()}})
    return rows


def retriever() -> tuple[Split, Any, Any]:
    """Return MovieLens-100K split, `sequential-text` fitted to it, and its encoder."""
    dataset = _table.read("movielens-100k")
    split = registry.build("split", "leave-last-out", {}).split(dataset)
    encoder = registry.build("encoder", "onnx", {})
    settings = {**llmrank.SEQUENTIAL, **llmrank.TEXT, "ridge": 300.0, "encoder": encoder}
    return split, registry.build("recommender", "sequential-linear", settings).fit(split.train), encoder


def cache(given: argparse.Namespace) -> list[dict[str, Any]]:
    split, recommender, encoder = retriever()
    likelihood = {"model": model_of(given), "depth": N_WINDOW, "blend": 0.3, "prior_items": 300}
    reranker = registry.build("reranker", "likelihood", likelihood)
    asked = [
        replace(query, history=query.history[:-back], times=None if query.times is None else query.times[:-back])
        for query in split.test.sample(given.users, SEED).queries
        for back in range(5, 0, -1)
    ]
    dice = np.random.default_rng(SEED)
    asked = [asked[i] for i in np.argsort(np.arange(len(asked)) % 5 + dice.random(len(asked)), kind="stable")]
    tops = recommender.recommend(asked, N_WINDOW)
    print(f"{len(asked)} requests of {given.users} users")
    print("| threshold | overlap | taken over | Kendall's tau with a fresh order | of retrieval with a fresh order |")
    print("|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    fresh: list[Ranking] = []
    for threshold, overlap in ((0.99, 1.0), (0.95, 1.0), (0.9, 1.0), (0.95, 0.8), (0.9, 0.8), (0.9, 0.5)):
        settings = {"reranker": reranker, "encoder": encoder, "threshold": threshold, "overlap": overlap}
        cached = registry.build("reranker", "semantic-cache", settings).fit(split.train)
        fresh = fresh or reranker.rerank(asked, tops)
        found = cached.rerank(asked, tops)
        taken = [i for i, ranking in enumerate(found) if ranking.reused]
        taus = {kind: [tau(kinds[i].items, fresh[i].items) for i in taken] for kind, kinds in
                (("cached", found), ("retrieved", tops))}  # fmt: skip
        means = [f"{np.mean(values):.3f}" if values else "" for values in taus.values()]
        print(f"| {threshold} | {overlap} | {len(taken) / len(asked):.1%} | {' | '.join(means)} |", flush=True)
        rows.append({"threshold": threshold, "overlap": overlap, "taken": len(taken), "of": len(asked), **taus})
    return rows


def tau(a: Any, b: Any) -> float:
    """Return Kendall's tau of two orders of the same items."""
    place = {item: i for i, item in enumerate(b.tolist())}
    return float(kendalltau(np.arange(len(a)), [place[item] for item in a.tolist()]).statistic)


def plan(given: argparse.Namespace) -> list[dict[str, Any]]:
    split, recommender, _ = retriever()
    folds = {
        "validation": split.validation.sample(given.validation, SEED),
        "test": split.test.sample(given.users, SEED),
    }
    model, rows = model_of(given), []
    tops = {name: top_of(recommender, fold) for name, fold in folds.items()}
    for name, fold in folds.items():
        before = np.array(
            [gain(ranking.items, truth) for ranking, truth in zip(tops[name], fold.relevant, strict=True)]
        )
        there = np.count_nonzero(before)
        print(f"{name}: {len(fold)} users, the truth among the ten of {there}, N@10 {before.mean():.4f}")
    print("| way | blend | validation | gain on test users | tokens | not computed again | CPU s | GFLOP |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.ways:
        component, chosen = WAYS[name]
        fixed = {"model": model, "depth": N_WINDOW, "blend": 1.0, "prior_items": 300}
        known = registry.settings_of(registry.load("reranker", component))
        fixed = {k: v for k, v in {**chosen, **fixed}.items() if k.replace("_", "-") in known}
        asked = Asked(registry.build("reranker", component, fixed).fit(split.train))
        gains = {fold: gains_of(asked, folds[fold], tops[fold], f"{name}, {fold}") for fold in folds}
        best = max(BLENDS, key=lambda blend: gains["validation"][blend].mean())
        found = paired_difference(gains["test"][best], np.zeros(len(folds["test"])))
        whole = "; ".join(f"{b:g}: {gains['test'][b].mean():+.4f}" for b in BLENDS)
        print(f"| {name} | {best:g} | {gains['validation'][best].mean():+.4f} "
              f"| {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] ({whole}) | {cost_words(asked.request())} |",
              flush=True)  # fmt: skip
        rows.append({"way": name, "blend": best, "gains": gains["test"][best].tolist()})
    return rows


def top_of(recommender: Any, fold: Fold) -> list[Ranking]:
    found: list[Ranking] = recommender.recommend(fold.queries, N_WINDOW)
    return found


def gains_of(asked: Asked, fold: Fold, tops: Sequence[Ranking], what: str) -> dict[float, Values]:
    """Return what each blend gains for each user."""
    gains = {blend: np.zeros(len(fold)) for blend in BLENDS}
    for row, (query, ranking, truth) in enumerate(zip(fold.queries, tops, fold.relevant, strict=True)):
        before = gain(ranking.items, truth)
        if before:
            _table.progress(f"{what}: {row + 1} of {len(fold)}")
            said = standard(asked.scores(query, ranking.items, np.arange(len(ranking))))
            for blend in BLENDS:
                blended = reordered(ranking, blend * said + (1 - blend) * standard(ranking.scores))
                gains[blend][row] = gain(blended.items, truth) - before
    return gains


def gain(items: Any, truth: Any) -> float:
    """Return N@10 of ten items for one relevant item."""
    (places,) = np.nonzero(np.isin(items, truth))
    return float(1 / np.log2(places[0] + 2)) if len(places) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["protocol", "order", "plan", "cache"])
    parser.add_argument("--data", type=Path, help="folder of the authors' candidate lists")
    parser.add_argument("--model", default="smollm2-135m-instruct-q4", help="an asset, or a GGUF file")
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument("--few", type=int, default=25)
    parser.add_argument("--validation", type=int, default=150)
    parser.add_argument("--ways", nargs="*", choices=list(WAYS))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "frugalrec" / "benchmarks")
    _table.add_out(parser)
    given = parser.parse_args()
    given.ways = given.ways or list(IN_A_PLAN if given.part == "plan" else WAYS)
    print(f"{given.part}: {Path(given.model).name}; {json.dumps(describe())}", flush=True)
    rows = {"protocol": protocol, "order": order, "plan": plan, "cache": cache}[given.part](given)
    if given.out:
        given.out.write_text(json.dumps({"part": given.part, "model": Path(given.model).name, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
