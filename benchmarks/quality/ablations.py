"""What each ingredient of the sequential linear model is worth, on the validation fold; the test fold is not touched.

    python benchmarks/quality/ablations.py movielens-1m
    python benchmarks/quality/ablations.py beauty --data DIR      # DIR holds sequences.txt.gz and items.tsv.gz

From the settings that tuning found, one ingredient at a time is taken out or put in, everything else the same. Gains
are in NDCG@10, paired over all validation users, against the full model. Strict leave-last-out, file order of ties,
whole catalogue, seen items left out. One thread.
"""

from __future__ import annotations

import argparse
import os

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import metrics
from frugalrec.config import parse_config
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Split
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.datasets import load_data
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.onnx import Onnx
from frugalrec.interfaces import Matrix, Role
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders._text import TextSpace
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.significance import bootstrap_interval, paired_difference

FULL: dict[str, dict[str, Any]] = {
    "movielens-1m": {
        "ridge": 300.0,
        "whitening": 0.3,
        "frequency_ridge": 0.05,
        "half_lives": (1.5, 15.0),
        "gap_half_life": 60.0,
        "text_weight": 4.0,
        "text_half_life": 2.0,
    },
    "beauty": {
        "ridge": 90.0,
        "whitening": 0.7,
        "text_prior": 2.0,
        "half_lives": (3.0,),
        "target_half_life": 2.0,
        "reversed_weight": 0.3,
        "text_weight": 4.0,
        "text_half_life": 2.0,
    },
}
VARIANTS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "movielens-1m": (
        ("no text term", {"text_weight": 0.0}),
        ("no whitening", {"whitening": 0.0}),
        ("whitening .7", {"whitening": 0.7}),
        ("text prior 2", {"text_prior": 2.0}),
        ("words for text", {"encoder": "words"}),
        ("no frequency ridge", {"frequency_ridge": 0.0}),
        ("scores divided by popularity^.1", {"popularity": 0.1}),
        ("no time gap", {"gap_half_life": 0.0}),
        ("half-life 1.5 and the gap", {"half_lives": (1.5,)}),
        ("half-life 3 and the gap", {"half_lives": (3.0,)}),
        ("target half-life 2", {"target_half_life": 2.0}),
        ("reversed sequences .3", {"reversed_weight": 0.3}),
    ),
    "beauty": (
        ("no text term", {"text_weight": 0.0}),
        ("no whitening", {"whitening": 0.0}),
        ("no text prior", {"text_prior": 0.0}),
        ("words for text", {"encoder": "words"}),
        ("words in 2,048 cells for text", {"encoder": "more words"}),
        ("the transformer's vectors beside 2,048 cells of words", {"encoder": "both"}),
        ("frequency ridge .05", {"frequency_ridge": 0.05}),
        ("scores divided by popularity^.1", {"popularity": 0.1}),
        ("target half-life 1", {"target_half_life": 1.0}),
        ("no reversed sequences", {"reversed_weight": 0.0}),
    ),
}
SUMS = ("half_lives", "gap_half_life", "target_half_life", "reversed_weight")
SOLVED = ("ridge", "frequency_ridge", "text_prior")


class Known:
    """An encoder whose item vectors are computed once for all variants."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._vectors: Matrix | None = None

    def encode(self, texts: Any, *, role: Role = "item") -> Matrix:
        if self._vectors is None:
            self._vectors = self._encoder.encode(texts, role=role)
        return self._vectors

    def fingerprint(self) -> str:
        return str(self._encoder.fingerprint())


class Beside:
    """Two encoders' vectors, one after the other."""

    def __init__(self, *encoders: Known) -> None:
        self._encoders = encoders

    def encode(self, texts: Any, *, role: Role = "item") -> Matrix:
        return np.hstack([encoder.encode(texts, role=role) for encoder in self._encoders])

    def fingerprint(self) -> str:
        return " ".join(encoder.fingerprint() for encoder in self._encoders)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name", choices=FULL)
    options.add_argument("--data", type=Path, help="folder of Beauty's files")
    asked = options.parse_args()
    if asked.name == "beauty" and asked.data is None:
        options.error("beauty cannot be fetched: give its folder with --data")
    source = {"dataset": asked.name}
    if asked.data is not None:
        source = {"interactions": "sequences.txt.gz", "items": "items.tsv.gz"}
    data, _ = load_data(parse_config({"data": source}, "the benchmark").data, asked.data or Path())
    split = LeaveLastOut().split(data)
    full = FULL[asked.name]
    model = Ablated(split)
    base = model.values(full)
    whole = bootstrap_interval(base)
    print(f"full model {full}: {whole.mean:.4f} [{whole.low:.4f}, {whole.high:.4f}], {whole.n:,} users", flush=True)
    for label, changed in VARIANTS[asked.name]:
        gain = paired_difference(model.values({**full, **changed}), base)
        print(f"{label}: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]", flush=True)


class Ablated:
    """One model that redoes only what a change of settings touches."""

    def __init__(self, split: Split) -> None:
        self._split = split
        transformer, more = Known(Onnx()), Known(BagOfWords(dim=2048))
        self._encoders: dict[str, Any] = {
            "transformer": transformer,
            "words": Known(BagOfWords()),
            "more words": more,
            "both": Beside(transformer, more),
        }
        self._weights: Any = None
        self._sums: tuple[Any, Any] = (None, None)
        self._solved: Any = None

    def values(self, settings: dict[str, Any]) -> np.ndarray:
        popularity = settings.get("popularity", 0.0)
        chosen = {"encoder": "transformer", **settings}
        encoder = self._encoders[chosen["encoder"]]
        model = replace(
            SequentialLinear(encoder=encoder),
            **{k: v for k, v in settings.items() if k not in ("encoder", "popularity")},
        )
        model.read(self._split.train.catalog)
        key = tuple(getattr(model, name) for name in SUMS)
        with Ledger().span("ablation"):
            if self._sums[0] != key:
                self._sums = (None, None)
                self._sums = (key, model.accumulate(self._split.train.interactions))
            solved = (key, *(getattr(model, name) for name in SOLVED))
            if model.text_prior:
                solved += (chosen["encoder"], model.whitening)
            if self._solved != solved:
                self._weights = model.solve(self._sums[1]).weights_
                self._solved = solved
            else:  # the same weights, other text vectors
                space = TextSpace.fit(model._encoded, model.whitening)
                model.mean_, model.transform_ = space.mean, space.transform
                model.vectors_, model.weights_ = space.project(model._encoded), self._weights
            scores = model.score(self._split.validation.queries)
        if popularity:
            scores = scores / (1.0 + self._split.train.interactions.popularity) ** popularity
        judged = metrics.ranks_of(mask_scores(scores, self._split.validation.queries), self._split.validation.relevant)
        return metrics.parse("ndcg@10")(judged)


if __name__ == "__main__":
    main()
