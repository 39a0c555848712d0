"""Sums over users, answers and requests, by the components that do them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import util
from typing import Any, Self

import numpy as np
from scipy import sparse

from frugalrec.calibration._bench import Bench
from frugalrec.calibration._made_up import data_of, dataset_of, large_log, log_of, scattered
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.interactions import Interactions
from frugalrec.data.shape import DataShape
from frugalrec.evaluation import HEAD_SHARE, Evaluation, evaluate, quick_values
from frugalrec.interfaces import Matrix, Role
from frugalrec.metrics import parse
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._approximate import TARGETS, alike, strength, times
from frugalrec.recommenders._base import Scores, product, query_matrix
from frugalrec.recommenders._expected import dense_tables, expected_blockwise, expected_text_space, found_in_log
from frugalrec.recommenders._statistics import Decay, Statistics, accumulate_states
from frugalrec.recommenders._text import TextSpace, unit_rows
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.hybrid import Hybrid
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.recommenders.user_knn import UserKnn
from frugalrec.work import ANSWERED, Expected, Work, answering

FEW = 200
"""Items of a catalogue in which a request takes hardly more than what it takes in any."""

IN_CACHE, BEYOND_CACHE = 1 << 19, 1 << 22
"""Bytes that a request may read for all else to stay in the nearest caches of processors, and for nothing to."""

_DECAYS = (Decay(3.0, "positions"),)


def pairs(bench: Bench) -> None:
    """Measure passes over a log, and sums over pairs of its events."""
    # A log that the caches hold, one that they do not, and one whose tables are new memory each time.
    for log in (log_of(2_000, 60_000), log_of(2_000, 1_000_000), large_log()):
        bench.measure("events", len(log), float(len(log)), Popularity().fit, data_of(log))
    for n_items, n_events in ((800, 40_000), (2_000, 200_000), (2_000, 500_000)):
        log = log_of(n_items, n_events, length=60)
        tables = dense_tables(n_items, 1, n_events)
        bench.measure("pairs-dense", n_events, _terms(log), _sums, log, beside=tables)
    # Hardly any pairs share a cell here. In a larger log more do, and each costs more, further from the caches.
    log = log_of(30_000, 200_000, length=60)
    bench.measure("pairs-sparse", 1, _terms(log), _sums, log, beside=[found_in_log(len(log), len(log))])
    data = dataset_of(2_000, 60_000)
    bench.measure("states", 1, 60_000.0 * 30, lambda: StateKnn().fit(data))


def answers(bench: Bench) -> None:
    """Measure answering, with scores that are there already."""
    plan = Plan("popularity", Spec("popularity"))
    for n_items in (1_000, 4_000, 16_000, ANSWERED):
        data = dataset_of(n_items, 60_000)
        queries = [data.query(user) for user in range(100)]
        bench.measure("answer", n_items, 100.0, _answer_each, plan.build().fit(data), queries)


def judging(bench: Bench) -> None:
    """Measure ranking and judging."""
    # In a small catalogue, what is done for a query is nearly all there is; in a large one its scores are.
    small, middle, large = _Judging(500, 2_000), _Judging(16_000, 2_000), _Judging(ANSWERED, 800)
    for kind in ("rank", "judge"):
        kinds, amounts = (kind, f"{kind}-query"), [[one.scores(kind), one.queries] for one in (small, middle)]
        bench.together(kinds, middle.items, amounts, partial(_Judging.run, kind=kind), (small, middle))
        query = [Work(f"{kind}-query", large.queries)]
        bench.measure(kind, large.items, large.scores(kind), large.run, kind, beside=query)


def solving(bench: Bench) -> None:
    """Measure what solving block by block takes beside its factorisations, and what makes vectors comparable."""
    columns = scattered(8_000, 200)
    bench.measure("alike", 1, float(columns.nnz), _grouped, columns)
    data, model = dataset_of(8_000, 150_000, length=12), SequentialLinear(solver="sparse")
    model.n_items_ = data.n_items
    sums = model.accumulate(data.interactions)
    cells, targets = (sparse.csr_array(table).nnz for table in (sums.gram, sums.cross))
    works = expected_blockwise(DataShape.of(data), 1, cells, targets).work or ()
    (own,) = (w for w in works if w.kind == "block")
    bench.measure("block", 1, own.amount, model.solve, sums, beside=[w for w in works if w is not own])
    vectors = np.random.default_rng(0).random((10_000, 512), dtype=np.float32)
    one = (np.ones(1), np.ones(1))
    shape = DataShape(1.0, 10_000.0, one, one, one, n_texts=10_000.0)
    works = expected_text_space(shape, 512, 0.7).work or ()
    (own,) = (w for w in works if w.kind == "space")
    beside = [w for w in works if w.kind not in ("space", "recall")]
    bench.measure("space", 1, own.amount, _spaced, vectors, beside=beside)


def _grouped(columns: sparse.csr_array) -> None:
    """Look for columns that are alike, and for what explains each block of them."""
    scale = np.ones(columns.shape[1])
    for block in alike(columns, scale, TARGETS, None):
        strength(columns[block], scale)


def _spaced(vectors: Matrix) -> Matrix:
    return TextSpace.fit(vectors, 0.7).project(vectors)


def scores(bench: Bench) -> None:
    """Measure what a request takes beside `answers`, by the kind of model."""
    rng = np.random.default_rng(0)
    # Alone, a request meets rows that are not in the processor's caches, and leaves them full of its own.
    for n_items in (1_000, 3_000, 6_000):
        weights = rng.random((n_items, n_items), dtype=np.float32)
        rows = _histories(dataset_of(n_items, 60_000, length=120), 100)
        met = float(sum(row.nnz for row in rows)) * n_items
        bench.measure("gather-alone", n_items, met, _each, times, rows, weights)
    # Picking the best of a query's users takes something by itself, which is nearly all there is where users are few.
    for kind, n_items, n_events, length in (
        ("compare-query", 1_000, 6_000, 20),
        ("compare", 1_000, 400_000, 20),
        ("compare", 8_000, 320_000, 8),
        ("compare", ANSWERED, 400_000, 4),
    ):
        people = dataset_of(n_items, n_events, length=length)
        asked, model = [people.query(user) for user in range(200)], UserKnn().fit(people)
        works = model.expected(DataShape.of(people)).in_batch.work or ()
        (own,) = (w for w in works if w.kind == kind)
        others = tuple(w for w in works if w.kind not in (kind, "compare"))
        amount, beside = len(asked) * own.amount, _work([Expected(others).times(len(asked))])
        bench.measure(kind, own.size, amount, model.score, asked, beside=beside)
    # What an entry costs depends on how many share a cell: of a few users' rows, or of those of many.
    for n_items, length in ((16_000, 8), (16_000, 80), (2_000, 80)):
        rows = _histories(dataset_of(n_items, 300_000, length=80), 40)
        chosen_by = log_of(n_items, 300_000, length=length).matrix().T.tocsr().astype(np.float32)
        _multiplied(bench, "sparse-alone", rows, chosen_by)
    for n_items, kept, length in ((30_000, 400, 20), (30_000, 400, 80), (3_000, 4_000, 80)):
        rows = _histories(dataset_of(n_items, 8_000, length=length), 100)
        _multiplied(bench, "sparse-cold", rows, scattered(n_items, kept, columns=30_000))
    for n_items, alone, batch in ((1_000, 50, 1_000), (4_000, 50, 1_000), (ANSWERED, 20, 100)):
        # Every item has events: which have none is known by a mask, and half of it empty takes twice as long.
        data = dataset_of(n_items, max(60_000, 20 * n_items))
        member = Popularity()
        fused = Hybrid((member, Popularity(half_life_days=1.0))).fit(data)
        queries = [data.query(user) for user in range(batch)]
        parts = member.expected(DataShape.of(data))
        for kind, asked, one, each in (
            ("fuse-alone", queries[:alone], parts.score, _score_each),
            ("fuse", queries, parts.in_batch, Hybrid.score),
        ):
            known = _work([(one + one).times(float(len(asked)))])
            bench.measure(kind, n_items, 2.0 * len(asked) * n_items, each, fused, asked, beside=known)

    data = dataset_of(FEW, 10_000)
    titles = {"title": [f"item {i}" for i in range(FEW)]}
    data = replace(data, catalog=replace(data.catalog, fields=titles, text=("title",)))
    texts = _DrawnTexts(512)
    models = (Ease(), ItemKnn(), UserKnn(), Content(texts), SequentialLinear(), SequentialLinear(encoder=texts))
    for recommender in models:
        _asked(bench, recommender.fit(data), data)


@cache
def _read() -> Matrix:
    """Return what is read beside a request: one table for all models, or most of the time would go into fetching it."""
    return np.ones((BEYOND_CACHE // 2048, 512), dtype=np.float32)


def _asked(bench: Bench, model: Any, data: Dataset) -> None:
    """Measure what a request takes of ``model`` beside what grows with the data.

    Where requests read more than the nearest caches hold, the next one finds nothing there of what it needs, not even
    its instructions.
    """
    queries = [data.query(user) for user in range(12)]
    works = model.expected(DataShape.of(data)).score.work or ()
    (own,) = (w for w in works if w.kind in ("query", "state"))
    known = Expected((*(w for w in works if w is not own), *(answering(FEW).work or ())))
    alone = Pipeline(Plan("made up", Spec("popularity")), model, None, ())
    for read, size in ((0, IN_CACHE), (BEYOND_CACHE, BEYOND_CACHE)):
        vectors = _read()[: read // 2048]
        beside = known + Expected((Work("scan", float(read), float(size)),))
        work = _work([beside.times(float(len(queries)))])
        bench.measure(
            f"{own.kind} {own.model}".strip(), size, len(queries), _answer_after, alone, queries, vectors, beside=work
        )


def als(bench: Bench) -> None:
    """Measure matrix factorisation, where implicit is installed."""
    if util.find_spec("implicit") is None:
        bench.notes.append("als: not measured, implicit is not installed (pip install 'frugalrec[als]')")
        return
    from frugalrec.recommenders.als import Als

    # Few who chose much, and many who chose little: what a chosen item takes, and what a user does.
    logs = [dataset_of(n_items, 60_000, length=length) for n_items, length in ((300, 200), (1_500, 6))]
    kinds = ("als", "als-events")
    for factors in (64, 128):
        model = Als(factors=factors, iterations=8)
        works = [{w.kind: w for w in model.expected(DataShape.of(log)).fit.work or ()} for log in logs]
        bench.together(kinds, factors, [[w[kind].amount for kind in kinds] for w in works], model.fit, logs)
    # Many users: the factors that items' are learned from come from memory. How many factors is all the same to that.
    people, model = dataset_of(30_000, 3_000_000, length=42), Als(factors=128, iterations=1)
    learned = model.expected(DataShape.of(people)).fit.work or ()
    (own,) = (w for w in learned if w.kind == "als-far")
    bench.measure("als-far", 1, own.amount, model.fit, people, beside=[w for w in learned if w is not own])
    data = dataset_of(FEW, 10_000)
    _asked(bench, Als().fit(data), data)


def _answer_each(pipeline: Any, queries: Sequence[Query]) -> None:
    with Ledger().span("recommend"):
        for query in queries:
            pipeline.recommend([query], 10)


def _answer_after(pipeline: Any, queries: Sequence[Query], vectors: Matrix) -> None:
    profile = np.ones((1, vectors.shape[1]), dtype=np.float32)
    with Ledger().span("recommend"):
        for query in queries:
            np.matmul(profile, vectors.T)
            pipeline.recommend([query], 10)


def _score_each(model: Any, queries: Sequence[Query]) -> None:
    with Ledger().span("recommend"):
        for query in queries:
            model.score([query])


def _multiplied(bench: Bench, kind: str, rows: Sequence[sparse.csr_array], table: sparse.csr_array) -> None:
    """Measure products of one row at a time, by how many of the entries that it meets share a cell."""
    met = float(sum(np.diff(table.indptr)[row.indices].sum() for row in rows))
    cells = float(sum((row @ table).nnz for row in rows))
    bench.measure(kind, met / cells, met, _each, product, rows, table)


def _histories(data: Dataset, n: int) -> list[sparse.csr_array]:
    return [query_matrix([data.query(user)], data.n_items) for user in range(n)]


def _each(multiply: Callable[[Any, Any], Any], rows: Sequence[sparse.csr_array], table: Any) -> None:
    for row in rows:
        multiply(row, table)


def _work(stages: Sequence[Expected]) -> list[Work]:
    return [work for stage in stages for work in stage.work or ()]


@dataclass
class _DrawnTexts:
    """Draws vectors of ``dim``, whatever the texts say."""

    dim: int

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        return np.random.default_rng(0).standard_normal((len(texts), self.dim), dtype=np.float32)

    def fingerprint(self) -> str:
        return "drawn"


@dataclass(init=False)
class _Drawn(Scores):
    """Gives every query scores of its own, which cost nothing to compute."""

    def __init__(self, n_items: int) -> None:
        self.n_items_ = n_items
        self._drawn = np.random.default_rng(0).random((256, n_items), dtype=np.float32)

    def fit(self, dataset: Dataset) -> Self:
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        return self._drawn[np.arange(len(queries)) % len(self._drawn)]


class _Judging:
    """Ranks or judges scores of a catalogue: those of thousands of queries are memory that is touched first."""

    def __init__(self, n_items: int, n_queries: int) -> None:
        data = dataset_of(n_items, 40 * n_queries)
        queries = [data.query(user) for user in range(n_queries)]
        self.items, self.queries = n_items, float(n_queries)
        self._passes = 2.0 + DataShape.of(data).tail(HEAD_SHARE)
        self._fold = Fold(queries, [query.history[-1:] for query in queries])
        self._split = Split("made up", data, self._fold, self._fold)
        self._drawn = Pipeline(Plan("made up", Spec("popularity")), _Drawn(n_items), None, ())
        self._vectors = unit_rows(np.random.default_rng(0).random((n_items, 512), dtype=np.float32))

    def scores(self, kind: str) -> float:
        """Return how many scores are gone through."""
        return (1.0 if kind == "rank" else self._passes) * self.queries * self.items

    def run(self, kind: str) -> None:
        """Rank, or judge as a study does."""
        if kind == "rank":
            quick_values(self._drawn, self._fold, parse("ndcg@10"))
        else:
            evaluate(self._drawn, self._split, Evaluation(timed_queries=1), Ledger(), vectors=self._vectors)


def _sums(log: Interactions) -> Statistics:
    return accumulate_states(log, _DECAYS, 1.0)


def _terms(log: Interactions) -> float:
    ledger = Ledger()
    with ledger.span("pairs"):
        _sums(log)
    flops = ledger.entries[0].cost.flops
    assert flops is not None
    return flops / 2
