"""Plan × Split → Trial: what a plan is worth and what it costs, measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from frugalrec import list_metrics, metrics, progress
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Judged, Lists, Matrix, Metric
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan
from frugalrec.recommenders._base import mask_scores, top_k
from frugalrec.significance import Estimate, bootstrap_interval

DEFAULT_METRICS = ("ndcg@10", "hr@10", "recall@10", "precision@10", "mrr@10", "map@10", "auc")
HEAD_SHARE = 0.2
"""The head of the catalogue: this share of the items with events, the most popular ones. The rest is the tail."""

SLICES = ("warm", "cold", "tail")
"""Parts of the test fold that are looked at by themselves: see `slice_masks`."""

BLOCK_BYTES = 16 * 2**20
"""So many scores are judged at once. The allocator keeps room for these; larger blocks are new memory each time."""

COPIES = 5.0
"""How many such blocks there are at once: scores, what is masked of them, and comparisons."""

_PHASES = {"once": "once", "refresh": "per_refresh", "request": "per_request"}
_LIST_LENGTH = 10


@dataclass(frozen=True)
class Trial:
    """A plan on a split. ``quality``, ``slices`` and ``lists`` are of the test fold.

    ``cost`` maps ``once`` (encode the catalogue), ``refresh`` (fit) and ``request`` (one query, answered alone) to
    what it takes from nothing: what a cache spared is counted at its first price. ``latency_seconds`` holds the
    quantiles ``p50`` and ``p95`` of single queries. ``model_bytes``: size of everything learned that memory
    holds; ``disk_bytes``: of what stays in a file, of which a request reads a part. ``values`` is the primary metric of
    each test query ``(n,)``, NaN for queries that were not tried, for paired comparisons; ``slice_values`` the same of
    each slice, NaN for queries without an answer in it.
    """

    plan: Plan
    metric: str
    quality: Mapping[str, Estimate]
    slices: Mapping[str, Estimate]
    lists: Mapping[str, Estimate]
    cost: Mapping[str, Cost]
    latency_seconds: Mapping[str, float]
    model_bytes: int
    values: FloatArray
    validation: float | None = None
    tuning: Sequence[Mapping[str, Any]] = ()
    slice_values: Mapping[str, FloatArray] = field(default_factory=dict)
    disk_bytes: int = 0

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.plan.name

    @property
    def score(self) -> Estimate:
        """The primary metric."""
        return self.quality[self.metric]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form without the values of single queries."""
        return {
            "plan": self.name,
            "about": self.plan.about,
            "components": self.plan.components(),
            "settings": {k: v for k, v in self.plan.to_dict().items() if k not in ("name", "about")},
            "language_model": self.plan.language_model,
            "metric": self.metric,
            "quality": {name: e.to_dict() for name, e in self.quality.items()},
            "slices": {name: e.to_dict() for name, e in self.slices.items()},
            "lists": {name: e.to_dict() for name, e in self.lists.items()},
            "cost": {_PHASES[phase]: c.to_dict() for phase, c in self.cost.items()},
            "latency_seconds": dict(self.latency_seconds),
            "model_bytes": self.model_bytes,
            "disk_bytes": self.disk_bytes,
            "validation": self.validation,
            "tuning": [dict(t) for t in self.tuning],
        }

    @classmethod
    def from_dict(
        cls, table: Mapping[str, Any], values: FloatArray, slice_values: Mapping[str, FloatArray] | None = None
    ) -> Trial:
        """Inverse of `to_dict`."""
        return cls(
            plan=Plan.from_dict({"name": table["plan"], "about": table["about"], **table["settings"]}),
            metric=table["metric"],
            quality={n: Estimate(**e) for n, e in table["quality"].items()},
            slices={n: Estimate(**e) for n, e in table["slices"].items()},
            lists={n: Estimate(**e) for n, e in table["lists"].items()},
            cost={phase: Cost.from_dict(table["cost"][name]) for phase, name in _PHASES.items()},
            latency_seconds=table["latency_seconds"],
            model_bytes=table["model_bytes"],
            values=values,
            validation=table["validation"],
            tuning=table["tuning"],
            slice_values=slice_values or {},
            disk_bytes=table.get("disk_bytes", 0),
        )


@dataclass(frozen=True)
class Evaluation:
    """How to evaluate: the metrics, how many test queries (0 = all), how many of them singly for latency."""

    metric: str = "ndcg@10"
    metrics: tuple[str, ...] = DEFAULT_METRICS
    max_queries: int = 0
    timed_queries: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.all_metrics:
            metrics.parse(name)
        if self.timed_queries < 1:
            raise ConfigError(f"timed_queries must be at least 1, not {self.timed_queries}")

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """The metrics, the primary one first."""
        return tuple(dict.fromkeys((self.metric, *self.metrics)))


def evaluate(
    pipeline: Pipeline,
    split: Split,
    how: Evaluation,
    ledger: Ledger,
    *,
    max_queries: int = 0,
    vectors: Matrix | None = None,
) -> Trial:
    """Measure a fitted ``pipeline`` on the test fold of ``split``; its spans in ``ledger`` become the trial's cost.

    The whole catalogue is ranked, never a sample of it, except where a query names its candidates. With ``max_queries``
    (or ``how.max_queries``) a seeded sample of the queries is tried. ``vectors`` are unit item vectors, the same for
    all plans, for the diversity of lists.
    """
    rows = np.arange(len(split.test))
    limit = min((n for n in (max_queries, how.max_queries) if n), default=0)
    if limit and limit < len(rows):
        rows = np.sort(np.random.default_rng(how.seed).choice(len(rows), size=limit, replace=False))
    fold = split.test.take(rows)
    name = pipeline.plan.name
    slices = slice_masks(split.train)
    # Single queries come first: what they compute, a cache may spare the rest, and not the other way round.
    latency, request = _time_single(pipeline, fold, how, ledger)
    judged, sliced, lists = _judge(pipeline, fold, slices, stage=f"evaluate {name}")
    parsed = {n: metrics.parse(n) for n in how.all_metrics}
    per_query = {n: metric(judged) for n, metric in parsed.items()}
    values = np.full(len(split.test), np.nan)
    values[rows] = per_query[how.metric]
    slice_values = {n: np.full(len(split.test), np.nan) for n in sliced}
    for n, (chosen, part) in sliced.items():
        slice_values[n][rows[chosen]] = parsed[how.metric](part)
    shown = Lists(
        items=lists,
        popularity=split.train.interactions.popularity,
        n_users=int(np.count_nonzero(np.diff(split.train.interactions.offsets))),
        vectors=vectors,
        histories=[q.history for q in fold.queries],
    )
    return Trial(
        plan=pipeline.plan,
        metric=how.metric,
        quality={n: bootstrap_interval(v, seed=how.seed) for n, v in per_query.items()},
        slices={n: bootstrap_interval(v, seed=how.seed) for n, v in slice_values.items()},
        lists={n: bootstrap_interval(m(shown), seed=how.seed) for n, m in list_metrics.LIST_METRICS.items()},
        cost={
            "once": ledger.total(plan=name, phase="once"),
            "refresh": ledger.total(plan=name, phase="refresh"),
            "request": request,
        },
        latency_seconds=latency,
        model_bytes=pipeline.model_bytes,
        values=values,
        slice_values=slice_values,
        disk_bytes=pipeline.disk_bytes,
    )


def quick_values(pipeline: Pipeline, fold: Fold, metric: Metric) -> FloatArray:
    """Return ``metric`` of each query of ``fold``, float64 ``(n,)``; nothing else is measured."""
    return metric(_judge(pipeline, fold, {}, stage="")[0])


def slice_masks(train: Dataset) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return which items each slice of the test fold is about.

    ``warm``: items with training events; ``cold``: without; ``tail``: warm items outside the head, which is the most
    popular `HEAD_SHARE` of the warm ones (equal counts by item code).
    """
    popularity = train.interactions.popularity
    warm = popularity > 0
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    head = np.zeros(len(popularity), dtype=bool)
    head[order[: int(np.ceil(HEAD_SHARE * np.count_nonzero(warm)))]] = True
    return {"warm": warm, "cold": ~warm, "tail": warm & ~head}


def _judge(
    pipeline: Pipeline, fold: Fold, slices: Mapping[str, np.ndarray[Any, Any]], stage: str
) -> tuple[Judged, dict[str, tuple[IntArray, Judged]], IntArray]:
    """Rank the catalogue for every query, in blocks; return the ranks, those of each slice, and the top lists.

    Of a slice come the queries that have an answer in it, by their place in the fold, and the ranks of those answers.
    """
    ranks: list[Judged] = []
    sliced: dict[str, list[Judged]] = {name: [] for name in slices}
    places: dict[str, list[IntArray]] = {name: [np.empty(0, dtype=np.int32)] for name in slices}
    lists: list[IntArray] = []
    start, rows = 0, 1
    if stage:
        progress.report(stage, start, len(fold))
    while start < len(fold):
        queries, relevant = fold.queries[start : start + rows], fold.relevant[start : start + rows]
        scores = mask_scores(pipeline.score(queries), queries)
        ranks.append(metrics.ranks_of(scores, relevant))
        for name, mask in slices.items():
            inside = [items[mask[items]] for items in relevant]
            chosen = np.flatnonzero([len(items) for items in inside])
            sliced[name].append(metrics.ranks_of(scores[chosen], [inside[i] for i in chosen]))
            places[name].append((start + chosen).astype(np.int32))
        if slices:
            lists.append(_padded(top_k(scores, _LIST_LENGTH)[0]))
        start += len(queries)
        rows = max(1, BLOCK_BYTES // (4 * scores.shape[1]))
        if stage:
            progress.report(stage, start, len(fold))
    return (
        _joined(ranks),
        {name: (np.concatenate(places[name]), _joined(parts)) for name, parts in sliced.items()},
        np.concatenate([np.empty((0, _LIST_LENGTH), dtype=np.int32), *lists]),
    )


def _joined(parts: Sequence[Judged]) -> Judged:
    sizes = np.concatenate([np.empty(0, dtype=np.int64), *(np.diff(p.offsets) for p in parts)])
    return Judged(
        ranks=np.concatenate([np.empty(0), *(p.ranks for p in parts)]),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        n_candidates=np.concatenate([np.empty(0, dtype=np.int64), *(p.n_candidates for p in parts)]),
    )


def _padded(lists: IntArray) -> IntArray:
    missing = _LIST_LENGTH - lists.shape[1]
    return np.pad(lists, ((0, 0), (0, missing)), constant_values=-1) if missing else lists


def _time_single(pipeline: Pipeline, fold: Fold, how: Evaluation, ledger: Ledger) -> tuple[dict[str, float], Cost]:
    """Answer single queries as a server would, each on one thread.

    Returns the quantiles of their latency in seconds, and the cost of one; time that a cache spared counts as taken.
    """
    queries: Sequence[Query] = fold.sample(how.timed_queries, how.seed).queries
    pipeline.recommend(queries[:1], _LIST_LENGTH)  # the first call pays for imports and lazy loading
    taken = []
    with (
        threadpool_limits(limits=1),
        ledger.span("recommend", plan=pipeline.plan.name, phase="request", units=max(1, len(queries))) as span,
    ):
        for query in queries:
            spared = span.reused.seconds or 0.0
            started = time.perf_counter()
            pipeline.recommend([query], _LIST_LENGTH)
            taken.append(time.perf_counter() - started + (span.reused.seconds or 0.0) - spared)
    assert span.entry is not None
    quantiles = {"p50": 0.5, "p95": 0.95} if taken else {}
    return {name: float(np.quantile(taken, q)) for name, q in quantiles.items()}, span.entry.whole / span.units
