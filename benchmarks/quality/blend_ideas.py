"""What was tried beside the blend's members, on the validation fold of MovieLens-1M; the test fold is not touched.

    python benchmarks/quality/blend_ideas.py [--data DIR]

The linear model with text and its neighbours, as in `blend.py`, are the base (weights 1 and .6, one scale a member).
Each idea is tried at a few weights, and the best is reported, so a gain is a little flattered. NDCG@10, paired over
all validation users. One thread.
"""

from __future__ import annotations

import os

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blend import Fitted, linear_model, loaded, values_of

from frugalrec.data.dataset import Query
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders._fused import standardised
from frugalrec.recommenders.als import Als
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.significance import paired_difference

WEIGHTS = (0.1, 0.2, 0.3, 0.6, 1.0)


@dataclass
class Altered(StateKnn):
    """Neighbours whose votes are altered: see the names of the fields."""

    days: float = 0.0
    sureness: float = 0.0
    new_only: bool = False

    def score(self, queries: Sequence[Query]) -> Matrix:
        scores = np.zeros((len(queries), self.n_items_), dtype=np.float32)
        for row, (states, _, cosines) in enumerate(self._nearest(queries)):
            query = queries[row]
            if self.days and self.times_ is not None and query.times is not None:
                apart = np.abs(self.times_[states] - query.times[-1]) / 86_400
                cosines = cosines * (0.3 + 0.7 * np.exp2(-apart / self.days)) ** (1 / self.sharpness)
            voted, weights, _ = self._votes(states, cosines)
            votes = np.bincount(voted, weights=weights, minlength=self.n_items_)
            if self.new_only:
                votes[query.history] = 0.0
                votes /= max(votes.sum(), 0.2)
            scores[row] = votes * (cosines.max(initial=0.0) ** self.sureness)
        return scores


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, help="folder of the original files")
    split = loaded("movielens-1m", options.parse_args().data, "file", 0)
    fold = split.validation
    linear = Fitted("linear", linear_model(), split.train)
    neighbours = Fitted("neighbours", StateKnn(), split.train)
    scales = Hybrid((linear, neighbours), method="scale").fit(split.train).scales_  # type: ignore[arg-type]
    one = linear.score(fold.queries) / scales[0]
    base = one + 0.6 * neighbours.score(fold.queries) / scales[1]
    reference = np.isfinite(mask_scores(np.zeros_like(base), fold.queries))
    before = values_of(base, fold, "ndcg@10")
    print(f"base: {before.mean():.4f}", flush=True)

    def tried(name: str, ways: Sequence[tuple[str, Callable[[], Matrix]]]) -> None:
        found = [(said, values_of(make(), fold, "ndcg@10")) for said, make in ways]
        said, after = max(found, key=lambda pair: float(pair[1].mean()))
        gain = paired_difference(after, before)
        print(f"{name}, best of {len(found)}, {said}: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]", flush=True)

    def added(part: Matrix, weights: Sequence[float] = WEIGHTS) -> list[tuple[str, Callable[[], Matrix]]]:
        return [(f"weight {w:g}", lambda w=w: base + w * part) for w in weights]

    members = {"EASE": Ease(ridge=300.0), "ALS, 128 factors": Als(factors=128)}
    for name, model in members.items():
        scores = model.fit(split.train).score(fold.queries)
        tried(f"{name}, one scale", added(scores / _scale(scores, reference)))
        tried(f"{name}, z-scores", added(standardised(scores, reference)))
    popular = np.log1p(split.train.interactions.popularity).astype(np.float32)
    tried("popularity, z-scores", added(standardised(np.tile(popular, (len(fold), 1)), reference)))
    long = standardised(Ease(ridge=300.0).fit(split.train).score(fold.queries), reference)
    logs = np.log(np.maximum(base, 0) + 0.3)
    tried("product of experts with EASE", [(f"weight {w:g}", lambda w=w: logs + w * long) for w in (0.03, 0.1, 0.3)])
    altered = {"days": (7.0, 30.0, 120.0), "sureness": (0.5, 1.0, 2.0), "new_only": (True,)}
    for setting, values in altered.items():
        ways: list[tuple[str, Callable[[], Matrix]]] = []
        for value in values:
            scores = Altered(**{setting: value}).fit(split.train).score(fold.queries)  # type: ignore[arg-type]
            ways += [(f"{value}, weight {w:g}", lambda s=scores, w=w: one + w * s / scales[1]) for w in (0.3, 0.6, 1.0)]
        tried(f"neighbours, {setting}", ways)


def _scale(scores: Matrix, reference: np.ndarray) -> float:
    return float(scores[reference].std())


if __name__ == "__main__":
    main()
