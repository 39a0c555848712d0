"""What neighbours, lasting taste and a second reading of the texts add to the sequential linear model, next item.

    python benchmarks/quality/blend.py [--data DIR] [--ties file|item-id|random] [--seed 0]
    python benchmarks/quality/blend.py beauty --data DIR     # DIR holds sequences.txt.gz and items.tsv.gz

For MovieLens-1M, DIR holds MovieLens' own ratings.dat (or ratings.dat.gz) and movies.dat; without it the data come from
a package whose item ids are titles, so that an order by item id is another one.

The plans `blend-text` and (Beauty) `blend-both`, member by member: leave-last-out, whole catalogue, seen items out.
The linear models have settings that were found on validation; the weights of the other members are chosen on all
validation users for each subset (on 5,000 of Beauty's), and the test fold is scored once with them. Intervals:
bootstrap over users, paired where two are compared. One thread.
"""

from __future__ import annotations

import argparse
import os
import time

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import metrics
from frugalrec.config import parse_config
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset, Fold, Split
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.datasets import load_data
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.onnx import Onnx
from frugalrec.interfaces import Matrix, TextEncoder
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.significance import bootstrap_interval, paired_difference

WEIGHTS = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0)
SUBSETS = {
    "movielens-1m": (
        ("linear",),
        ("linear", "ease"),
        ("linear", "neighbours"),
        ("linear", "neighbours", "ease"),
    ),
    "beauty": (
        ("words",),
        ("vectors",),
        ("words", "vectors"),
        ("words", "neighbours", "ease"),
        ("words", "vectors", "neighbours", "ease"),
        ("words", "vectors", "long words", "long vectors", "ease"),
    ),
}
"""Each is compared with the first, and the last with the one before."""

CHOSEN_ON = 8_000
"""The validation users that weights are chosen on are all, or a sample of 5,000 where they are more than this."""
AT_ONCE = 2_000
METRICS = ("ndcg@10", "hr@10")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name", nargs="?", default="movielens-1m", choices=[*SUBSETS])
    options.add_argument("--data", type=Path, help="folder of the files")
    options.add_argument("--ties", default="file", choices=("file", "item-id", "random"), help="order of equal times")
    options.add_argument("--seed", type=int, default=0, help="shuffles equal times where --ties random")
    asked = options.parse_args()
    if asked.name == "beauty" and asked.data is None:
        options.error("beauty cannot be fetched: give its folder with --data")
    split = loaded(asked.name, asked.data, asked.ties, asked.seed)
    fitted = {name: Fitted(name, model, split.train) for name, model in members_of(asked.name).items()}
    scales = dict(zip(fitted, Hybrid(tuple(fitted.values()), method="scale").fit(split.train).scales_, strict=True))
    fold = split.validation if len(split.validation) <= CHOSEN_ON else split.validation.sample(5_000, 1)
    found: dict[str, Matrix] = {}
    for name, model in fitted.items():
        started = time.process_time()
        found[name] = model.score(fold.queries) / np.float32(scales[name])
        taken = (time.process_time() - started) / len(fold)
        print(f"{name}: scores of one query {1000 * taken:.2f} CPU ms", flush=True)
    weights: dict[tuple[str, ...], list[float]] = {}
    for subset in SUBSETS[asked.name]:
        weights[subset], reached = chosen([found[name] for name in subset], fold)
        print(f"{said(subset, weights[subset])}: validation {reached:.4f}", flush=True)
    del found
    values = tested(fitted, scales, weights, split.test)
    for subset, of_metric in values.items():
        told = [bootstrap_interval(of_metric[metric]) for metric in METRICS]
        print(said(subset, weights[subset]), *(f"{e.mean:.4f} [{e.low:.4f}, {e.high:.4f}]" for e in told), sep=" | ")
    first, *others = values
    pairs = [(first, other) for other in others]
    for less, more in [*pairs, (others[-2], others[-1])]:
        for metric in METRICS:
            gain = paired_difference(values[more][metric], values[less][metric])
            names = f"{' + '.join(more)} on {' + '.join(less)}"
            print(f"{names}, {metric}: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    last = others[-1]
    blend = Hybrid(tuple(fitted[n] for n in last), method="scale", weights=tuple(weights[last])).fit(split.train)
    started = time.process_time()
    for block in blocks(split.test):
        blend.recommend(block.queries, 10)
    print(
        f"ten best of the last for all {len(split.test):,} users: {time.process_time() - started:.1f} CPU s", flush=True
    )


def said(subset: tuple[str, ...], weights: list[float]) -> str:
    return ", ".join(f"{weight:g} {name}" for weight, name in zip(weights, subset, strict=True))


def blocks(fold: Fold) -> list[Fold]:
    return [fold.take(np.arange(at, min(at + AT_ONCE, len(fold)))) for at in range(0, len(fold), AT_ONCE)]


def tested(
    fitted: dict[str, Fitted], scales: dict[str, float], weights: dict[tuple[str, ...], list[float]], fold: Fold
) -> dict[tuple[str, ...], dict[str, np.ndarray]]:
    """Return each metric of each test user, for each subset with its weights."""
    parts: dict[tuple[str, ...], dict[str, list[np.ndarray]]] = {s: {m: [] for m in METRICS} for s in weights}
    for block in blocks(fold):
        scores = {name: model.score(block.queries) / np.float32(scales[name]) for name, model in fitted.items()}
        for subset, given in weights.items():
            total = sum(weight * scores[name] for weight, name in zip(given, subset, strict=True))
            for metric in METRICS:
                parts[subset][metric].append(values_of(total, block, metric))
    return {s: {m: np.concatenate(found) for m, found in of.items()} for s, of in parts.items()}


def loaded(name: str, folder: Path | None, ties: str, seed: int) -> Split:
    source: dict[str, str] = {"dataset": name}
    if name == "beauty":
        source = {"interactions": "sequences.txt.gz", "items": "items.tsv.gz"}
    elif folder is not None:
        (ratings,) = (path.name for path in folder.glob("ratings.dat*"))
        source = {"interactions": ratings, "items": "movies.dat", "format": "movielens"}
    section = parse_config({"data": {**source, "ties": ties}}, "the benchmark").data
    return LeaveLastOut().split(load_data(section, folder or Path(), seed=seed)[0])


def members_of(name: str) -> dict[str, Any]:
    if name == "beauty":
        return {
            "words": beauty_model(BagOfWords()),
            "vectors": beauty_model(Onnx()),
            "long words": beauty_model_of_two(BagOfWords(), text_weight=6.0, whitening=0.3),
            "long vectors": beauty_model_of_two(Onnx(), text_weight=4.0, whitening=0.7),
            "neighbours": StateKnn(),
            "ease": Ease(ridge=300.0, history_half_life=1.0),
        }
    return {"linear": linear_model(), "neighbours": StateKnn(), "ease": Ease(ridge=300.0)}


def linear_model() -> SequentialLinear:
    return SequentialLinear(
        ridge=300.0,
        encoder=Onnx(),
        whitening=0.3,
        frequency_ridge=0.05,
        half_lives=(1.5, 15.0),
        gap_half_life=60.0,
    )


def beauty_model(encoder: TextEncoder) -> SequentialLinear:
    return SequentialLinear(
        ridge=100.0,
        encoder=encoder,
        whitening=0.7,
        text_prior=2.0,
        target_half_life=2.0,
        reversed_weight=0.3,
    )


def beauty_model_of_two(encoder: TextEncoder, *, text_weight: float, whitening: float) -> SequentialLinear:
    """Return what 300 CPU seconds of `frugalrec plan` chose on 6,000 validation users: two half-lives, no reversal."""
    return SequentialLinear(
        ridge=100.0,
        encoder=encoder,
        text_weight=text_weight,
        text_half_life=1.0,
        whitening=whitening,
        text_prior=2.0,
        frequency_ridge=0.05,
        target_half_life=1.0,
        half_lives=(1.5, 15.0),
    )


class Fitted:
    """A member that was fitted once, and says what it took."""

    def __init__(self, name: str, model: Any, train: Dataset) -> None:
        self._model, ledger = model, Ledger()
        if hasattr(model, "read"):
            model.read(train.catalog)
        with ledger.span("fit"):
            if hasattr(model, "accumulate"):
                model.solve(model.accumulate(train.interactions))
            else:
                model.fit(train)
        cost = ledger.entries[0].cost
        print(
            f"fit {name}: {cost.cpu_seconds or 0:.1f} CPU s, {(cost.flops or 0) / 1e9:,.0f} GFLOP, "
            f"peak {(cost.peak_bytes or 0) / 2**30:.2f} GiB",
            flush=True,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def fit(self, dataset: Dataset) -> Fitted:
        return self


def chosen(scores: list[Matrix], fold: Fold) -> tuple[list[float], float]:
    """Return the weights that are best on ``fold``, the first being 1, by coordinate search, and the value reached."""
    weights = [1.0] * len(scores)
    best = -1.0
    for _ in range(2):
        for place in range(1, len(scores)):
            for weight in WEIGHTS:
                tried = [*weights[:place], weight, *weights[place + 1 :]]
                value = float(
                    np.mean(values_of(sum(w * s for w, s in zip(tried, scores, strict=True)), fold, "ndcg@10"))
                )
                if value > best:
                    weights, best = tried, value
    return weights, best if best >= 0 else float(np.mean(values_of(scores[0], fold, "ndcg@10")))


def values_of(scores: Matrix, fold: Fold, metric: str) -> np.ndarray:
    return metrics.parse(metric)(metrics.ranks_of(mask_scores(scores, fold.queries), fold.relevant))


if __name__ == "__main__":
    main()
