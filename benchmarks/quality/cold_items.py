"""Items that nobody has touched yet, beside those that many have: cold-only, warm-only and mixed candidates.

    python benchmarks/quality/cold_items.py movielens-1m
    python benchmarks/quality/cold_items.py beauty --data DIR      # DIR holds sequences.txt.gz and items.tsv.gz

The split `cold-items` takes a tenth of the items away with all their events for the fold in question. A tenth of each
user's other events, drawn by lot, is held out as well: the warm events of the same users. A list is right about cold
items where it has the former, about warm ones where it has the latter. Three sets of candidates, history left out: cold
items, warm items, both. Items of the other fold are no candidates, and have no text. All methods stand on the same EASE
for warm items, except popularity and content. "Loss": what warm NDCG@10 loses when cold items come into the lists.

The frontier draws what each way of ordering cold items reaches at a given loss when its place among warm items is
chosen on the reported events themselves, so it flatters all of them, and the three rivals most, whose scale is chosen
there as well. "Perfect order" knows which cold items are right, but not which warm ones. Settings were chosen with
``--fold validation``, except the ridge of EASE, which was not searched. Intervals: bootstrap over users. One thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from scipy import linalg

from frugalrec.config import parse_config
from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.splits.cold_items import ColdItems
from frugalrec.datasets import load_data
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.onnx import Onnx
from frugalrec.interfaces import Matrix, Recommender, TextEncoder
from frugalrec.pipeline import Remembering
from frugalrec.recommenders._base import mask_scores, query_matrix, top_k
from frugalrec.recommenders._text import item_vectors
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.text_mapping import TextMapping
from frugalrec.significance import bootstrap_interval, paired_difference

FILES = {"beauty": ("sequences.txt.gz", "items.tsv.gz")}
SETTINGS = {
    "movielens-1m": {"ease": 300.0, "encoder": "onnx", "ridge": 10.0, "whitening": 0.7},
    "beauty": {"ease": 100.0, "encoder": "bag-of-words", "ridge": 10.0, "whitening": 0.7},
}
CAPS = (0.01, 0.05, 0.2)
LOSSES = (0.01, 0.02, 0.05, 0.1, 0.2)
DISCOUNTS = 1.0 / np.log2(np.arange(2, 12))
BEST = np.concatenate([[0.0], np.cumsum(DISCOUNTS)])
BLOCK = 512
Mask = np.ndarray


class Fitted:
    """A fitted recommender that `Hybrid` need not fit again."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.scores_cold_items = getattr(recommender, "scores_cold_items", False)

    def fit(self, dataset: Dataset) -> Fitted:
        return self

    def score(self, queries: list[Query]) -> Matrix:
        return self.recommender.score(queries)


@dataclass
class Task:
    """Requests, and for each the warm and the cold items that are right."""

    train: Dataset
    queries: list[Query]
    warm: Mask
    cold: Mask
    warm_truth: Mask
    cold_truth: Mask


@dataclass
class Lists:
    """The ten best warm and cold items of each request: scores and hits, ``(n, 10)`` each."""

    warm_scores: Matrix
    warm_hits: Mask
    cold_scores: Matrix
    cold_hits: Mask


def task(data: Dataset, seed: int, fold: str, most: int) -> Task:
    split = ColdItems(seed=seed).split(data)
    asked = getattr(split, fold).sample(most, seed=seed)
    events = split.train.interactions
    held = np.random.default_rng(seed).random(len(events)) < 0.1
    held &= np.bincount(events.user[~held], minlength=events.n_users)[events.user] > 0
    train = split.train.with_interactions(events.take(~held))
    warm = train.interactions.popularity > 0
    other = np.zeros(data.n_items, dtype=bool)
    other[np.concatenate(getattr(split, "validation" if fold == "test" else "test").relevant)] = True
    fields = {
        name: ["" if gone else value for value, gone in zip(values, other & ~warm, strict=True)]
        for name, values in data.catalog.fields.items()
    }
    train = replace(train, catalog=replace(data.catalog, fields=fields))
    cold = np.zeros(data.n_items, dtype=bool)
    cold[np.concatenate(getattr(split, fold).relevant)] = True
    users = np.array([query.user for query in asked.queries])
    queries = [train.query(int(user)) for user in users]
    row_of = np.full(events.n_users, -1)
    row_of[users] = np.arange(len(users))
    warm_truth, cold_truth = (np.zeros((len(users), data.n_items), dtype=bool) for _ in range(2))
    mine = held & (row_of[events.user] >= 0) & warm[events.item]
    warm_truth[row_of[events.user[mine]], events.item[mine]] = True
    for row, (query, relevant) in enumerate(zip(queries, asked.relevant, strict=True)):
        warm_truth[row, query.history] = False
        cold_truth[row, relevant] = True
    return Task(train, queries, warm, cold & ~warm, warm_truth, cold_truth & ~warm)


def lists(given: Task, score: Callable[[list[Query]], Matrix]) -> Lists:
    parts = []
    rng = np.random.default_rng(0)
    for start in range(0, len(given.queries), BLOCK):
        rows = slice(start, start + BLOCK)
        # Equal scores are in random order: catalogues are often numbered by first use, which gives popularity away.
        asked = given.queries[rows]
        shuffled = rng.permuted(np.tile(np.arange(len(given.warm)), (len(asked), 1)), axis=1)
        scores = np.take_along_axis(mask_scores(score(asked), asked), shuffled, axis=1)
        part = []
        for among, truth in ((given.warm, given.warm_truth), (given.cold, given.cold_truth)):
            items, found = top_k(np.where(among[shuffled], scores, -np.inf), 10)
            codes = np.take_along_axis(shuffled, np.maximum(items, 0), axis=1)
            hits = np.take_along_axis(truth[rows], codes, axis=1) & (items >= 0)
            part += [found, hits]
        parts.append(part)
    return Lists(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def ndcg(hits: Mask, n_right: np.ndarray) -> np.ndarray:
    """NDCG@10 of each request; NaN where nothing is right."""
    ideal = BEST[np.minimum(n_right, 10)]
    gained = (hits * DISCOUNTS[: hits.shape[1]]).sum(axis=1)
    return np.divide(gained, ideal, out=np.full(len(hits), np.nan), where=ideal > 0)


def views(given: Task, found: Lists) -> dict[str, np.ndarray]:
    """NDCG@10 of each request in each view; between equal scores the warm item comes first."""
    n_warm, n_cold = given.warm_truth.sum(axis=1), given.cold_truth.sum(axis=1)
    scores = np.hstack([found.warm_scores, found.cold_scores])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    hits = np.take_along_axis(np.hstack([found.warm_hits, found.cold_hits]), order, axis=1)
    is_warm = order < found.warm_scores.shape[1]
    return {
        "cold only": ndcg(found.cold_hits, n_cold),
        "warm only": ndcg(found.warm_hits, n_warm),
        "mixed, cold events": ndcg(hits & ~is_warm, n_cold),
        "mixed, warm events": ndcg(hits & is_warm, n_warm),
        "mixed, all events": ndcg(hits, n_warm + n_cold),
    }


def at_losses(given: Task, found: Lists) -> list[float]:
    """Cold NDCG@10 among both kinds, with the largest addition to cold scores that costs at most each of ``LOSSES``."""
    n_warm, n_cold = given.warm_truth.sum(axis=1), given.cold_truth.sum(axis=1)
    base = np.nanmean(ndcg(found.warm_hits, n_warm))
    reached = np.zeros(len(LOSSES))
    ends = np.percentile(found.warm_scores, [0.1, 99.9]) - np.percentile(found.cold_scores, [99.9, 0.1])
    hits = np.hstack([found.warm_hits, found.cold_hits])
    # Where the first cold items come in, small steps: a step for each thousandth of the users.
    needed = found.warm_scores[:, -1] - found.cold_scores[:, 0]
    for boost in np.concatenate([np.quantile(needed, np.linspace(0, 0.3, 300)), np.linspace(*ends, 120)]):
        scores = np.hstack([found.warm_scores, found.cold_scores + boost])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        right = np.take_along_axis(hits, order, axis=1)
        is_warm = order < found.warm_scores.shape[1]
        loss = 1 - np.nanmean(ndcg(right & is_warm, n_warm)) / base
        cold = float(np.nanmean(ndcg(right & ~is_warm, n_cold)))
        reached = np.where(loss <= np.array(LOSSES), np.maximum(reached, cold), reached)
    return reached.tolist()


def aligned(given: Task, encoder: TextEncoder, ease: Ease, ridge: float) -> Callable[[list[Query]], Matrix]:
    """MARec-style: text similarity regressed on the cosine of clicks, smoothed by the backbone, for cold columns.

    The weight of the alignment is infinite for cold items and 0 for the others, so warm scores are those of EASE.
    """
    X = given.train.interactions.matrix().astype(np.float32)
    X.data[:] = 1.0
    gram = (X.T @ X).tocsr()
    E = item_vectors(given.train.catalog, encoder, 0.3)
    warm, cold = np.flatnonzero(given.warm), np.flatnonzero(given.cold)
    some = np.random.default_rng(0).permutation(warm)[:1500]
    lengths = np.sqrt(gram.diagonal())
    clicks = gram[some][:, some].toarray() / np.outer(lengths[some], lengths[some])
    near = E[some] @ E[some].T
    off = ~np.eye(len(some), dtype=bool)
    features = np.stack([np.ones(off.sum()), near[off], near[off] ** 2, near[off] ** 3], axis=1)
    weights = np.linalg.lstsq(features, clicks[off], rcond=None)[0]
    similar = E[warm] @ E[cold].T
    target = (weights[0] + weights[1] * similar + weights[2] * similar**2 + weights[3] * similar**3).astype(np.float32)
    part = gram[warm][:, warm]
    system = part.toarray()
    system[np.diag_indices(len(warm))] += ridge
    columns = linalg.solve(system, part @ target, assume_a="pos", overwrite_a=True, check_finite=False)

    def score(queries: list[Query]) -> Matrix:
        scores = ease.score(queries)
        scores[:, cold] = query_matrix(queries, len(E))[:, warm] @ columns
        return scores

    return score


def run(data: Dataset, settings: dict, seed: int, fold: str, most: int, encoder: TextEncoder) -> tuple[dict, dict]:
    given = task(data, seed, fold, most)
    say = lambda words: print(words, file=sys.stderr, flush=True)  # noqa: E731
    say(
        f"seed {seed}: {len(given.queries)} users, {given.warm.sum()} warm and {given.cold.sum()} cold items, "
        f"{given.warm_truth.sum()} warm and {given.cold_truth.sum()} cold events held out"
    )
    solver = "sparse" if data.n_items > 8000 else "dense"
    found: dict[str, Lists] = {}

    def add(name: str, score: Callable[[list[Query]], Matrix]) -> None:
        found[name] = lists(given, score)
        values = {view: float(np.nanmean(v)) for view, v in views(given, found[name]).items()}
        say(f"{time.process_time():6.0f} s {name}: " + ", ".join(f"{view} {v:.4f}" for view, v in values.items()))

    ease = Ease(ridge=settings["ease"], solver=solver).fit(given.train)
    add("popularity", Popularity().fit(given.train).score)
    content = Content(encoder, whitening=0.7).fit(given.train)
    add("content-kNN", content.score)
    hybrid = Hybrid((Fitted(ease), Fitted(content)), weights=(1.0, 0.1)).fit(given.train)
    add("hybrid of EASE and content, .1", hybrid.score)
    mapping = TextMapping(
        Ease(ridge=settings["ease"], solver=solver),
        encoder,
        ridge=settings["ridge"],
        whitening=settings["whitening"],
        launched=0.1,
    ).fit(given.train)
    trade, mapping.trade_ = mapping.trade_, mapping.trade_[:, :0]
    add("ridge from text to weights", mapping.score)
    mapping.trade_ = trade
    add("MARec-style alignment", aligned(given, encoder, ease, settings["ease"]))
    for cap in CAPS:
        mapping.warm_loss = cap
        add(f"text-mapping, warm loss {cap:.0%}", mapping.score)
    return {name: views(given, one) for name, one in found.items()}, frontier(given, found, mapping)


def frontier(given: Task, found: dict[str, Lists], mapping: TextMapping) -> dict[str, list[float]]:
    """Cold NDCG@10 at each of ``LOSSES``: the best of some scales for raw scores, worths as learned for the mapping."""
    base = found["ridge from text to weights"]
    # Scores of the mapping are on the scale of the warm ones, so both have the same worth.
    placed = found["text-mapping, warm loss 1%"]
    parts = []
    for start in range(0, len(given.queries), BLOCK):
        rows = slice(start, start + BLOCK)
        asked = mapping._asked(np.asarray(mapping.member.score(given.queries[rows])), given.queries[rows])
        both = (one[rows] for one in (base.warm_scores, placed.cold_scores))
        parts.append(
            [asked.worth(np.maximum(scores, asked.middle), mapping.knots_, mapping.warm_weights_) for scores in both]
        )
    warm_worth, cold_worth = (np.concatenate(side) for side in zip(*parts, strict=True))
    curves: dict[str, list[float]] = {}
    for name in ("content-kNN", "ridge from text to weights", "MARec-style alignment"):
        own = found[name]
        cold = (own.cold_scores - own.cold_scores.mean()) / own.cold_scores.std()
        tried = [
            at_losses(given, Lists(warm, base.warm_hits, scale * cold, own.cold_hits))
            for warm, scales in ((base.warm_scores, (0.05, 0.2)), (warm_worth, (0.25, 0.5, 1.0)))
            for scale in scales
        ]
        curves[name] = np.max(tried, axis=0).tolist()
    both = Lists(warm_worth, base.warm_hits, cold_worth, placed.cold_hits)
    curves["text-mapping"] = at_losses(given, both)
    order = np.argsort(~given_hits(given), axis=1, kind="stable")[:, :10]
    perfect = np.take_along_axis(given_hits(given), order, axis=1)
    tried = [
        at_losses(given, Lists(warm, base.warm_hits, scale * perfect, perfect))
        for warm, scales in ((base.warm_scores, (0.1, 0.4)), (warm_worth, (1.0, 3.0)))
        for scale in scales
    ]
    curves["perfect order"] = np.max(tried, axis=0).tolist()
    return curves


def given_hits(given: Task) -> Mask:
    """Whether each cold candidate is right, ``(n, n_cold)``."""
    return given.cold_truth[:, given.cold]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", choices=list(SETTINGS))
    arguments.add_argument("--data", type=Path, help="folder of the files, for data that cannot be fetched by name")
    arguments.add_argument("--fold", default="test", choices=["validation", "test"])
    arguments.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    arguments.add_argument("--users", type=int, default=3000, help="at most this many users a seed")
    arguments.add_argument("--out", type=Path, help="folder that keeps each seed's results; a second run reads them")
    for option, kind in (("ease", float), ("encoder", str), ("ridge", float), ("whitening", float)):
        arguments.add_argument(f"--{option}", type=kind)
    asked = arguments.parse_args()
    files = FILES.get(asked.name)
    if files is not None and asked.data is None:
        arguments.error(f"{asked.name} cannot be fetched: give its folder with --data")
    table = (
        {"dataset": asked.name} if files is None else {"interactions": files[0], "items": files[1], "text": ["title"]}
    )
    data, _ = load_data(parse_config({"data": table}, "the benchmark").data, asked.data or Path())
    settings = {key: getattr(asked, key) or value for key, value in SETTINGS[asked.name].items()}
    encoder = Remembering(Onnx() if settings["encoder"] == "onnx" else BagOfWords())
    encoder.remember(data.catalog.texts())
    runs = []
    for seed in asked.seeds:
        kept = None if asked.out is None else asked.out / f"{asked.name}-{asked.fold}-{asked.users}-{seed}.npz"
        if kept is None or not kept.exists():
            found = run(data, settings, seed, asked.fold, asked.users, encoder)
            if kept is not None:
                write(kept, *found)
        else:
            found = read(kept)
        runs.append(found)
    print(f"{asked.name}, {asked.fold} fold, at most {asked.users} users a seed, seeds {asked.seeds}, {settings}")
    report(runs)


def write(file: Path, found: dict, curves: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"views/{name}/{view}": v for name, one in found.items() for view, v in one.items()}
    np.savez(file, **arrays, **{f"curves/{name}": np.array(curve) for name, curve in curves.items()})


def read(file: Path) -> tuple[dict, dict]:
    found: dict[str, dict[str, np.ndarray]] = {}
    curves: dict[str, list[float]] = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            kind, name, *view = key.split("/")
            if kind == "curves":
                curves[name] = arrays[key].tolist()
            else:
                found.setdefault(name, {})[view[0]] = arrays[key]
    return found, curves


def report(runs: list[tuple[dict, dict]]) -> None:
    joined = {name: {v: np.concatenate([r[name][v] for r, _ in runs]) for v in runs[0][0][name]} for name in runs[0][0]}
    print("| method | " + " | ".join(next(iter(joined.values()))) + " | loss | loss by seed |")
    print("|---|---|---|---|---|---|---|---|")
    for name, view in joined.items():
        cells = []
        for values in view.values():
            found = bootstrap_interval(values)
            cells.append(f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]")
        by_seed = [1 - np.nanmean(r[name]["mixed, warm events"]) / np.nanmean(r[name]["warm only"]) for r, _ in runs]
        whole = 1 - np.nanmean(view["mixed, warm events"]) / np.nanmean(view["warm only"])
        print(f"| {name} | {' | '.join(cells)} | {whole:.1%} | {', '.join(f'{x:.1%}' for x in by_seed)} |")
    rivals = ("content-kNN", "ridge from text to weights")
    for view in ("cold only", "mixed, cold events", "mixed, all events"):
        best = max(rivals, key=lambda name: float(np.nanmean(joined[name][view])))
        for name in joined:
            if name.startswith("text-mapping"):
                gain = paired_difference(joined[name][view], joined[best][view])
                ratio = np.nanmean(joined[name][view]) / np.nanmean(joined[best][view])
                interval = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
                print(f"{view}: {name} against {best}: {ratio:.2f} times, {interval}")
    print("| cold NDCG@10 at a warm loss of | " + " | ".join(f"{loss:.0%}" for loss in LOSSES) + " |")
    print("|---|" + "---|" * len(LOSSES))
    for name in runs[0][1]:
        mean = np.mean([curves[name] for _, curves in runs], axis=0)
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in mean) + " |")


if __name__ == "__main__":
    main()
