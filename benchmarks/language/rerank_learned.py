"""What rerankers that learn on one's own data gain over the order they are given, and at what price.

    python benchmarks/language/rerank_learned.py movielens-100k --base item-knn
    python benchmarks/language/rerank_learned.py movielens-1m --base popularity --users 6040 --practice 16000 --tail 5 \
        --epochs 1 --requests 12000 --held 2 --zero-shot 0

Strict next item; the base's --depth best are reordered, NDCG@10 on test users, paired differences with bootstrap
intervals. Where the answer is not among them nothing can be gained or lost, so nothing is asked there. Everything is
fitted on the training events: a gate on the last --held events of users (about --requests in all), and within it a
cross-encoder (all-MiniLM-L6-v2) on the --tail events before those; the student learns from that cross-encoder on the
gate's requests. *linear* is the baseline without a language model at any time beyond item vectors. *zero-shot*: the
cross-encoder as it came, with the weight that held-out users give it. *gated*: the language model for the share of the
requests that the gate chooses, the input order for the others, or (*student and gate*) the student's. Settings are the
defaults but for those given; test users are scored once. CPU seconds and FLOPs a request: of reranking alone, one
thread. ``--work`` keeps checkpoints and what the cross-encoder said of held-out requests: a killed run goes on, and
tells of the fits what they took in it.

Curves, where the cross-encoder's own gain is shown: what shares of the requests keep of it, for the gate, for a random
one, and for an oracle that knows the gain of every request and asks the best first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from _setting import dataset, quiet, split_of

from frugalrec import progress, registry
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Dataset, Fold, Query, Ranking
from frugalrec.data.interactions import FloatArray
from frugalrec.encoders._cached import Cached
from frugalrec.gating import gain_curve
from frugalrec.interfaces import Recommender, Reranker
from frugalrec.rerankers._packed import Request
from frugalrec.rerankers.cross_encoder import CrossEncoder
from frugalrec.rerankers.distilled import Distilled
from frugalrec.rerankers.gated import Gated
from frugalrec.rerankers.linear import Linear
from frugalrec.significance import bootstrap_interval, paired_difference
from frugalrec.stores.array_cache import ArrayCache

BASES = {
    "item-knn": ("item-knn", {}),
    "sequential": ("sequential-linear", {}),
    "popularity": ("popularity", {}),
    "content": ("content", {"encoder": "the encoder"}),
}
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


class Kept(CrossEncoder):
    """A cross-encoder that keeps what it says in ``store``, so that a run that was ended goes on; costs do not stay."""

    store: ClassVar[ArrayCache | None] = None

    def _read(self, requests: Sequence[Request]) -> list[FloatArray]:
        if self.store is None:
            return super()._read(requests)
        weights = zlib.crc32(np.ascontiguousarray(self.parameters_).data)
        keys = [hashlib.sha256(repr((weights, request)).encode()).hexdigest() for request in requests]
        found = self.store.get(keys)
        new = [i for i, key in enumerate(keys) if key not in found]
        for i, values in zip(new, super()._read([requests[i] for i in new]) if new else [], strict=True):
            found[keys[i]] = np.asarray(values[None], dtype=np.float32), Cost()
        self.store.put({keys[i]: found[keys[i]] for i in new})
        return [found[key][0][0].astype(np.float64) for key in keys]


@dataclass
class Fitted:
    """A reranker that has been fitted on the same events, and is not again."""

    reranker: Reranker

    def __post_init__(self) -> None:
        self.depth = self.reranker.depth

    def fit(self, dataset: Dataset) -> Self:
        return self

    def rerank(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[Ranking]:
        return self.reranker.rerank(queries, rankings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["movielens-100k", "movielens-1m", "beauty"])
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--base", default="item-knn", choices=BASES)
    parser.add_argument("--depth", type=int, default=20, help="how many of the base's best are reordered")
    parser.add_argument("--users", type=int, default=943, help="test users")
    parser.add_argument("--requests", type=int, default=600, help="held-out requests that teach student and gate")
    parser.add_argument("--held", type=int, default=1, help="last events of a user that may be such requests")
    parser.add_argument("--practice", type=int, default=3000, help="held-out events that teach the cross-encoder")
    parser.add_argument("--tail", type=int, default=8, help="events of a user that may be among those")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--method", default="full", choices=["full", "lora"])
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--zero-shot", type=int, default=300, help="test users of the model as it came, 0 for none")
    parser.add_argument("--work", type=Path, default=Path("runs/rerank-learned"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    quiet()
    with progress.listening(lambda stage, done, n: print(f"{stage}: {done} of {n}") if stage == "fine-tune" else None):
        run(given)


def run(given: argparse.Namespace) -> None:
    train = (split := split_of(given.name, dataset(given.name, given.data), given.seed)).train
    test = split.test.sample(given.users, seed=given.seed)
    given.work.mkdir(parents=True, exist_ok=True)
    encoder = Cached(registry.build("encoder", "onnx", {}), ArrayCache(given.work / "vectors.sqlite"))
    encoder.encode(train.catalog.texts())

    def base() -> Recommender:
        component, settings = BASES[given.base]
        built = {name: encoder if value == "the encoder" else value for name, value in settings.items()}
        found: Recommender = registry.build("recommender", component, built)
        return found

    def cross_encoder(epochs: int, requests: int) -> CrossEncoder:
        return Kept(
            base(), depth=given.depth, requests=requests, tail=given.tail, epochs=epochs, method=given.method,
            seed=given.seed, learning_rate=given.learning_rate, checkpoint=str(given.work / "checkpoints"),
        )  # fmt: skip

    def gate(reranker: Reranker, otherwise: Literal["input", "student"]) -> Gated:
        return Gated(
            reranker, base(), encoder=encoder, requests=given.requests,
            tail=given.held, otherwise=otherwise, seed=given.seed,
        )  # fmt: skip

    rankings = base().fit(train).recommend(test.queries, given.depth)
    before = ndcg(rankings, test)
    there = np.flatnonzero([np.isin(r.items, right).any() for r, right in zip(rankings, test.relevant, strict=True)])
    print(f"{given.name}, {len(test)} users, the answer among the {given.depth} of {len(there)}")
    print(row(given.base, before, before, Cost()), flush=True)

    def told(name: str, reranker: Reranker, users: int = given.users) -> FloatArray:
        rows, values, ledger = there[there < users], before[:users].copy(), Ledger()
        part = test.take(rows)
        with ledger.span("rerank"):
            after = reranker.rerank(part.queries, [rankings[i] for i in rows])
        values[rows] = ndcg(after, part)
        print(row(name, values, before[:users], ledger.total() / len(rows)), flush=True)
        return values

    fitted("linear", linear := Linear(base(), depth=given.depth, encoder=encoder, seed=given.seed), train)
    told("linear", linear)
    if given.zero_shot:
        fitted("zero-shot", as_it_came := cross_encoder(0, given.practice // 4), train)
        told("cross-encoder, zero-shot", as_it_came, given.zero_shot)
    Kept.store = ArrayCache(given.work / "said.sqlite")
    fitted("gate with student", both := gate(cross_encoder(given.epochs, given.practice), "student"), train)
    fitted("gate", alone := gate(Fitted(both.reranker), "input"), train)
    Kept.store = None  # what requests take is measured
    teacher, student = both.reranker, both.student
    assert isinstance(teacher, CrossEncoder)
    assert isinstance(student, Distilled)
    print(f"  weights {teacher.weights_.round(3).tolist()}, losses {np.round(teacher.losses_, 3).tolist()}, "
          f"validation {np.round(teacher.qualities_, 3).tolist()}")  # fmt: skip
    for name, (gain, error) in {"cross-encoder": both.gain, "student": both.student_gain}.items():
        print(f"  held-out gain of {name} {gain:+.4f}, standard error {error:.4f}")
    print(f"  fidelity {json.dumps({k: round(v, 3) for k, v in student.fidelity.items()})}")
    whole = told("cross-encoder, fine-tuned", teacher)
    told("gated, 20%", alone)
    copied = told("student", student)
    told("student and gate, 20%", both)
    change = paired_difference(copied, whole)
    print(f"  student less teacher {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]")
    print(f"  changed: NDCG of {np.mean(whole != before):.1%} of the requests, of {np.mean(whole != copied):.1%} "
          "beside the student's")  # fmt: skip
    dice = np.random.default_rng(given.seed).random(len(test))
    for name, predicted, otherwise in (
        ("gate", alone.predicted(test.queries, rankings), before),
        ("random gate", dice, before),
        ("oracle", whole - before, before),
        ("student and gate", both.predicted(test.queries, rankings), copied),
        ("student and random gate", dice, copied),
        ("student and oracle", whole - copied, copied),
    ):
        print(f"{name}: {gain_curve(before, whole, predicted, SHARES, otherwise=otherwise)}", flush=True)


def fitted(name: str, reranker: Reranker, train: Dataset) -> None:
    """Fit ``reranker`` and say what that took."""
    ledger = Ledger()
    with ledger.span("fit"):
        reranker.fit(train)
    spent = ledger.total()
    print(f"  fit of {name}: {spent.cpu_seconds:.0f} CPU s, {(spent.flops or np.nan) / 1e12:.2f} TFLOP", flush=True)


def ndcg(rankings: list[Ranking], fold: Fold) -> FloatArray:
    """Return NDCG@10 of each request, which has one answer."""
    found = np.zeros(len(rankings))
    for i, (ranking, wanted) in enumerate(zip(rankings, fold.relevant, strict=True)):
        places = np.flatnonzero(np.isin(ranking.items[:10], wanted))
        found[i] = (1.0 / np.log2(2.0 + places)).sum()
    return found


def row(name: str, values: FloatArray, before: FloatArray, cost: Cost) -> str:
    found, change = bootstrap_interval(values), paired_difference(values, before)
    return (
        f"| {name} | {found.mean:.4f} [{found.low:.4f}, {found.high:.4f}] | "
        f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}] | "
        f"{1000 * (cost.cpu_seconds or 0.0):.2f} | {(cost.flops or 0.0) / 1e6:.2f} |"
    )


if __name__ == "__main__":
    main()
