"""How often a reranker that reads pairs of items has read them before, and what a table of pairs keeps of its gain.

    python benchmarks/language/rerank_pairs.py beauty --data DIR

A cross-encoder (all-MiniLM-L6-v2, fine-tuned on held-out training events, defaults but for those given) that reads the
newest item of a history and one candidate at a time says the same of a pair whoever asks: what it said can be kept.
Strict next item, the base's --depth best reordered, NDCG@10 of all test users; where the answer is not among them
nothing is gained or lost, so nothing is read there, but what reading would take is counted for every request.

*linear*: the baseline without a language model but for item vectors. *gate, student*: `Gated` with ``otherwise =
"student"`` learns from --watched validation requests, which taught nothing before; the student orders all lists for
which the cross-encoder is not asked. *Earlier requests*: one before every event of the
training and validation folds, from the second of a user on, in random order (Beauty has no times); then the test
requests, in random order. *kept*: the share of its FLOPs that test requests still take with what was read before kept,
orders the same. *table*: pairs of earlier requests are known, nothing is read; others get the mean of those that
are. *within 20%*: besides, what is not known is read for the requests that need least of it, or for some by
lot, or for those that gain most (oracle), until a fifth of all FLOPs is spent. Retained gain with bootstrap intervals
over users, 2,000 draws. ``--work`` keeps weights and scores.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from _setting import dataset, quiet, split_of
from rerank_learned import SHARES, ndcg

from frugalrec import registry
from frugalrec.data.dataset import Dataset, Fold, Query, Ranking, Split
from frugalrec.data.interactions import FloatArray
from frugalrec.encoders._cached import Cached
from frugalrec.gating import gain_curve
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.rerankers._order import reordered, standard
from frugalrec.rerankers._practice import Practice
from frugalrec.rerankers.cross_encoder import CrossEncoder
from frugalrec.rerankers.distilled import Distilled
from frugalrec.rerankers.gated import Gated
from frugalrec.rerankers.linear import Linear
from frugalrec.significance import paired_difference
from frugalrec.stores.array_cache import ArrayCache

BUDGET = 0.2
NEWEST_ALONE = 0.5  # half-life of the student's history: its teacher reads no more
LAYERS, WIDTH, BODY = 6, 384, 10_646_784  # of the model, for counts of FLOPs without it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["movielens-100k", "movielens-1m", "beauty"])
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--half-life", type=float, default=1.5, help="of item-knn, the base")
    parser.add_argument("--depth", type=int, default=20, help="how many of the base's best are reordered")
    parser.add_argument("--practice", type=int, default=12000, help="held-out events that teach the cross-encoder")
    parser.add_argument("--tail", type=int, default=3, help="events of a user that may be among those")
    parser.add_argument("--layers", type=int, default=3, help="layers that are trained")
    parser.add_argument("--watched", type=int, default=12000, help="validation requests that teach gate and student")
    parser.add_argument("--work", type=Path, default=Path("runs/rerank-pairs"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    quiet()
    run(given)


def run(given: argparse.Namespace) -> None:
    split = split_of(given.name, dataset(given.name, given.data), given.seed)
    base = ItemKnn(half_life=given.half_life).fit(split.train)
    rankings = base.recommend(split.test.queries, given.depth)
    before = ndcg(rankings, split.test)
    part, there = holding(split.test, rankings)
    weights, said, lengths = scores_of(given, split.train, split.test.queries, rankings, there, "said")
    after = before.copy()
    after[there] = ndcg(orders(rankings, there, said, weights), part)
    gain = paired_difference(after, before)
    print(f"{given.name}, {len(before)} users, the answer among the {given.depth} of {len(there)}; "
          f"NDCG@10 {before.mean():.4f}, reranked {after.mean():.4f}, gain {gain.mean:+.4f} "
          f"[{gain.low:+.4f}, {gain.high:+.4f}]; weights {np.round(weights, 2).tolist()}", flush=True)  # fmt: skip

    encoder = Cached(registry.build("encoder", "onnx", {}), ArrayCache(given.work / "vectors.sqlite"))
    plain = Linear(ItemKnn(half_life=given.half_life), depth=given.depth, encoder=encoder, seed=given.seed)
    instead = before.copy()
    instead[there] = ndcg(plain.fit(split.train).rerank(part.queries, [rankings[row] for row in there]), part)
    for name, change in (("linear", paired_difference(instead, before)),
                         ("cross-encoder less linear", paired_difference(after, instead))):  # fmt: skip
        print(f"  {name} {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]", flush=True)

    gate = watched(given, split, base, encoder)
    student = gate.student
    assert isinstance(student, Distilled)
    copied = before.copy()
    copied[there] = ndcg(student.rerank(part.queries, [rankings[row] for row in there]), part)
    for name, change in (("student", paired_difference(copied, before)),
                         ("student less cross-encoder", paired_difference(copied, after)),
                         ("student less linear", paired_difference(copied, instead))):  # fmt: skip
        print(f"  {name} {change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]", flush=True)
    print(
        f"  fidelity { ({k: round(v, 3) for k, v in student.fidelity.items()}) }; held-out gain {gate.gain[0]:+.4f}, "
        f"of the student {gate.student_gain[0]:+.4f}, standard errors {gate.gain[1]:.4f}, {gate.student_gain[1]:.4f}"
    )
    predicted = gate.predicted(split.test.queries, rankings)
    dice = np.random.default_rng(given.seed).random(len(before))
    asked_for = gate.asks(split.test.queries, rankings)
    kept_by = kept(before, after, np.where(asked_for, after, copied))
    print(f"  the gate asks for {asked_for.mean():.1%} of the requests, which keeps {kept_by}", flush=True)
    for name, by, otherwise in (
        ("gate, student", predicted, copied),
        ("by lot, student", dice, copied),
        ("oracle, student", after - copied, copied),
        ("by lot, input", dice, before),
    ):  # fmt: skip
        print(f"{name}: {gain_curve(before, after, by, SHARES, otherwise=otherwise)}", flush=True)

    rng = np.random.default_rng(given.seed)
    past = earlier(split.validation.queries)
    past = [past[i] for i in rng.permutation(len(past))]
    shown = pairs_of(past, base.recommend(past, given.depth), len(lengths))
    asked = pairs_of(split.test.queries, rankings, len(lengths))
    whole = np.array([flops(pairs, np.ones(len(pairs), bool), lengths) for pairs in asked])
    turns = rng.permutation(len(asked))
    print("| earlier requests | pairs known | FLOPs, kept | second half of the tests | table, nothing read "
          f"| within {BUDGET:.0%}: least to read first | by lot | oracle |")  # fmt: skip
    for n in sorted({0, *(len(past) >> shift for shift in range(0, 7, 2))}):
        known = {pair for pairs in shown[:n] for pair in pairs}
        has = [np.array([pair in known for pair in pairs], dtype=bool) for pairs in asked]
        grown, taken = set(known), np.zeros(len(asked))
        for row in turns:
            new = np.array([pair not in grown for pair in asked[row]], dtype=bool)
            taken[row] = flops(asked[row], new, lengths)
            grown.update(asked[row])
        table = before.copy()
        partial = [guessed(rankings[row], said[i], has[row], weights) for i, row in enumerate(there)]
        table[there] = ndcg(partial, part)
        missing = np.array([flops(pairs, ~h, lengths) for pairs, h in zip(asked, has, strict=True)])
        within = []
        for first in (missing, rng.random(len(asked)), before - after + 1e-15 * missing):
            chosen = np.zeros(len(asked), dtype=bool)
            by = np.argsort(first, kind="stable")
            chosen[by[np.cumsum(missing[by]) <= BUDGET * whole.sum()]] = True
            within.append(kept(before, after, np.where(chosen, after, table)))
        half = turns[len(turns) // 2 :]
        print(f"| {n} | {len(known)} | {taken.sum() / whole.sum():.1%} | {taken[half].sum() / whole[half].sum():.1%} | "
              f"{kept(before, after, table)} | {' | '.join(within)} |", flush=True)  # fmt: skip
    print(f"one request from nothing: {whole.mean() / 1e9:.2f} GFLOP, {np.mean([len(p) for p in asked]):.1f} pairs")


def holding(fold: Fold, rankings: list[Ranking]) -> tuple[Fold, np.ndarray]:
    """Return the requests whose list holds an answer, and their places."""
    found = [np.isin(r.items, right).any() for r, right in zip(rankings, fold.relevant, strict=True)]
    return fold.take(np.flatnonzero(found)), np.flatnonzero(found)


def orders(rankings: list[Ranking], rows: np.ndarray, said: list[FloatArray], weights: FloatArray) -> list[Ranking]:
    """Return the lists at ``rows`` as the cross-encoder orders them."""
    return [reordered(rankings[row], weights @ [standard(rankings[row].scores), values])
            for row, values in zip(rows, said, strict=True)]  # fmt: skip


def watched(given: argparse.Namespace, split: Split, base: ItemKnn, encoder: Cached) -> Gated:
    """Return a gate with a student that saw what the cross-encoder does to validation requests."""
    fold = split.validation.sample(given.watched, seed=given.seed)
    rankings = base.recommend(fold.queries, given.depth)
    _, there = holding(fold, rankings)
    weights, said, _ = scores_of(given, split.train, fold.queries, rankings, there, "watched")
    places = np.full(len(fold), -1)
    places[there] = [int(np.flatnonzero(np.isin(rankings[row].items, fold.relevant[row]))[0]) for row in there]
    lists = Practice(split.train, fold.queries, rankings, places, np.arange(len(fold)))
    gate = Gated(
        cross_encoder(given), ItemKnn(half_life=given.half_life), encoder=encoder, otherwise="student",
        half_life=NEWEST_ALONE, seed=given.seed,
    )  # fmt: skip
    return gate.learn(split.train, lists, orders(rankings, there, said, weights))


def cross_encoder(given: argparse.Namespace) -> CrossEncoder:
    """Return the reranker that reads pairs, not fitted."""
    return CrossEncoder(
        ItemKnn(half_life=given.half_life), depth=given.depth, history_length=1, requests=given.practice,
        tail=given.tail, epochs=1, layers=given.layers, seed=given.seed, checkpoint=str(given.work / "checkpoints"),
    )  # fmt: skip


def scores_of(
    given: argparse.Namespace,
    train: Dataset,
    queries: list[Query],
    rankings: list[Ranking],
    there: np.ndarray,
    name: str,
) -> tuple[FloatArray, list[FloatArray], FloatArray]:
    """Return the blend's weights, what is said of the candidates of ``there``, and how many tokens an item has."""
    file = given.work / f"{name}.npz"
    if not file.exists():
        reranker = cross_encoder(given).fit(train)
        said = []
        for start in range(0, len(there), 8):
            rows = there[start : start + 8]
            said += reranker._read([reranker._request(queries[i], rankings[i]) for i in rows])
        given.work.mkdir(parents=True, exist_ok=True)
        np.savez(file, weights=reranker.weights_, said=np.concatenate(said), lengths=np.diff(reranker.offsets_))
    kept = np.load(file)
    ends = np.cumsum([len(rankings[row]) for row in there])
    return kept["weights"], np.split(kept["said"], ends[:-1]), kept["lengths"]


def earlier(queries: list[Query]) -> list[Query]:
    """Return a request before every event of these histories but the first, and those asked for validation."""
    return [Query(history=q.history[:end]) for q in queries for end in range(1, len(q.history) + 1)]


def pairs_of(queries: list[Query], rankings: list[Ranking], n_items: int) -> list[list[int]]:
    """Return, of each request, its pairs of newest item and candidate as numbers."""
    return [(int(q.history[-1]) * n_items + r.items.astype(np.int64)).tolist()
            for q, r in zip(queries, rankings, strict=True)]  # fmt: skip


def flops(pairs: list[int], read: FloatArray, lengths: FloatArray) -> float:
    """Return what reading some pairs of one newest item takes: as `PackedTransformer.flops`."""
    if not read.any():
        return 0.0
    numbers = np.array(pairs)[read]
    n = 1.0 + lengths[numbers[0] // len(lengths)] + lengths[numbers % len(lengths)].sum()
    return float(2.0 * BODY * n + 4.0 * LAYERS * WIDTH * n * n)


def guessed(ranking: Ranking, said: FloatArray, has: FloatArray, weights: FloatArray) -> Ranking:
    """Return the order with what is known of the candidates; with fewer than two of them, the one it came in."""
    if has.sum() < 2:
        return ranking
    return reordered(ranking, weights @ [standard(ranking.scores), np.where(has, said, said[has].mean())])


def kept(before: FloatArray, after: FloatArray, instead: FloatArray, draws: int = 2000) -> str:
    """Return the share of the gain that ``instead`` keeps, with its interval."""
    gains, others = after - before, instead - before
    rng, ratios = np.random.default_rng(0), []
    for _ in range(draws):
        drawn = rng.integers(len(gains), size=len(gains))
        if (whole := gains[drawn].sum()) > 0:
            ratios.append(others[drawn].sum() / whole)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return f"{others.sum() / gains.sum():.0%} [{low:.0%}, {high:.0%}]"


if __name__ == "__main__":
    main()
