"""What rerankers that learn on one's own data gain over the order they are given, and at what price.

    python benchmarks/language/rerank_learned.py movielens-100k --base item-knn
    python benchmarks/language/rerank_learned.py movielens-100k --base sequential

Strict next item; the base's 20 best are reordered, NDCG@10 on test users, paired differences with bootstrap intervals.
Everything is fitted on the training events: a gate, and within it a cross-encoder (all-MiniLM-L6-v2), on the events
without the last of ``--requests`` users; the student learns from that cross-encoder on the same requests. *linear* is
the baseline without a language model at any time beyond item vectors. *zero-shot*: the cross-encoder as it came, with
the weight that held-out users give it. Settings are the defaults, chosen on nothing; test users are scored once. CPU
seconds and FLOPs a request: of reranking alone, one thread. ``--work`` keeps checkpoints: a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from _setting import dataset, quiet, split_of

from frugalrec import progress, registry
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Fold, Ranking
from frugalrec.data.interactions import FloatArray
from frugalrec.encoders._cached import Cached
from frugalrec.gating import gain_curve
from frugalrec.interfaces import Recommender, Reranker
from frugalrec.rerankers.cross_encoder import CrossEncoder
from frugalrec.rerankers.distilled import Distilled
from frugalrec.rerankers.gated import Gated
from frugalrec.rerankers.linear import Linear
from frugalrec.significance import bootstrap_interval, paired_difference
from frugalrec.stores.array_cache import ArrayCache

BASES = {"item-knn": ("item-knn", {}), "sequential": ("sequential-linear", {}), "popularity": ("popularity", {})}
DEPTH = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["movielens-100k", "beauty"])
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--base", default="item-knn", choices=BASES)
    parser.add_argument("--users", type=int, default=943, help="test users")
    parser.add_argument("--requests", type=int, default=600, help="held-out requests that teach student and gate")
    parser.add_argument("--practice", type=int, default=3000, help="held-out events that teach the cross-encoder")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--method", default="full", choices=["full", "lora"])
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--zero-shot", type=int, default=300, help="test users of the model as it came")
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
        found: Recommender = registry.build("recommender", component, settings)
        return found

    def cross_encoder(epochs: int, requests: int) -> CrossEncoder:
        return CrossEncoder(
            base(), depth=DEPTH, requests=requests, tail=8, epochs=epochs, method=given.method, seed=given.seed,
            learning_rate=given.learning_rate, checkpoint=str(given.work / "checkpoints"),
        )  # fmt: skip

    taught = {"retriever": base(), "encoder": encoder, "requests": given.requests, "seed": given.seed}
    teacher = cross_encoder(given.epochs, given.practice)
    rerankers: dict[str, tuple[Reranker, int]] = {
        "linear": (Linear(base(), depth=DEPTH, encoder=encoder, seed=given.seed), given.users),
        "cross-encoder, zero-shot": (cross_encoder(0, given.practice // 4), given.zero_shot),
        "gated": (Gated(cross_encoder(given.epochs, given.practice), **taught), given.users),
        "student": (Distilled(teacher, depth=DEPTH, **taught), given.users),
    }
    rankings = base().fit(train).recommend(test.queries, DEPTH)
    before = ndcg(rankings, test)
    print(f"{given.name}, {len(test)} users; {row(given.base, before, before, 0.0, 0.0)}", flush=True)
    fits = {}
    for name, (reranker, users) in rerankers.items():
        ledger = Ledger()
        with ledger.span("fit"):
            reranker.fit(train)
        fits[name] = ledger.total().to_dict()
        part = test.take(np.arange(min(users, len(test))))
        lists = rankings[: len(part)]
        asked: list[tuple[str, Reranker]] = [(name, reranker)]
        if isinstance(reranker, Gated):
            asked = [("cross-encoder, fine-tuned", reranker.reranker), ("gated, 20%", reranker)]
        for label, one in asked:
            with ledger.span("rerank"):
                after = one.rerank(part.queries, lists)
            cost = ledger.entries[-1].cost / len(part)
            values = ndcg(after, part)
            print(row(label, values, before[: len(part)], cost.cpu_seconds or 0.0, cost.flops or 0.0), flush=True)
            if label == "cross-encoder, fine-tuned":
                whole = values
        print(f"  fit of {name}: {ledger.entries[0].cost.cpu_seconds:.0f} CPU s, "
              f"{(fits[name]['flops'] or np.nan) / 1e12:.2f} TFLOP", flush=True)  # fmt: skip
        if isinstance(reranker, CrossEncoder):
            print(f"  weights {reranker.weights_.round(3).tolist()}")
        if isinstance(reranker, Gated):
            inner = reranker.reranker
            assert isinstance(inner, CrossEncoder)
            print(f"  weights {inner.weights_.round(3).tolist()}, losses {np.round(inner.losses_, 3).tolist()}, "
                  f"validation {np.round(inner.qualities_, 3).tolist()}")  # fmt: skip
            print(f"  held-out gain {reranker.gain[0]:+.4f}, standard error {reranker.gain[1]:.4f}")
            print(f"  gate: {gain_curve(before, whole, reranker.predicted(test.queries, rankings))}", flush=True)
        if isinstance(reranker, Distilled):
            print(f"  fidelity {json.dumps({k: round(v, 3) for k, v in reranker.fidelity.items()})}")
            change = paired_difference(values, whole)
            print(f"  student less teacher {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]")


def ndcg(rankings: list[Ranking], fold: Fold) -> FloatArray:
    """Return NDCG@10 of each request, which has one answer."""
    found = np.zeros(len(rankings))
    for i, (ranking, wanted) in enumerate(zip(rankings, fold.relevant, strict=True)):
        places = np.flatnonzero(np.isin(ranking.items[:10], wanted))
        found[i] = (1.0 / np.log2(2.0 + places)).sum()
    return found


def row(name: str, values: FloatArray, before: FloatArray, seconds: float, flops: float) -> str:
    found, change = bootstrap_interval(values), paired_difference(values, before)
    return (
        f"| {name} | {found.mean:.4f} [{found.low:.4f}, {found.high:.4f}] | "
        f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}] | {1000 * seconds:.2f} | {flops / 1e6:.2f} |"
    )


if __name__ == "__main__":
    main()
