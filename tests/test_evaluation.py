from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from frugalrec import evaluation, metrics, progress
from frugalrec.cost import Cost, Ledger, charge, charge_reused
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.errors import ConfigError, UnknownNameError
from frugalrec.evaluation import Evaluation, Trial, evaluate, quick_values, slice_masks
from frugalrec.interfaces import Matrix
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._base import Scores
from frugalrec.testing.data import toy_dataset

A, B, C, D, E = range(5)
TIED = 1 / np.log2(3.5)  # the gain of an item that shares ranks 2 and 3


def codes(*items: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(items, dtype=np.int32)


@pytest.fixture
def split() -> Split:
    """Popularity of a, b, c, d, e: 4, 2, 1, 0, 0. Three requests; two of the five items are cold."""
    events = [(0, A), (0, B), (1, A), (1, B), (2, A), (2, C), (3, A)]
    items = IdMap(list("abcde"))
    user, item = np.array(events, dtype=np.int32).T
    train = Dataset(Interactions.from_events(user, item, IdMap(["u0", "u1", "u2", "u3"]), items), Catalog(items))
    test = Fold(
        queries=[Query(codes(A, B), user=0), Query(codes(A, B), user=1), Query(codes(A, C), user=2)],
        relevant=[codes(C), codes(D), codes(B, E)],
    )
    return Split("by hand", train, test, test)


def tried(split: Split, how: Evaluation | None = None, spec: Spec | None = None, **options: Any) -> Trial:
    ledger = Ledger()
    pipeline = Plan("p", spec or Spec("popularity")).build().fit(split.train, ledger)
    return evaluate(pipeline, split, how or Evaluation(), ledger, **options)


def test_known_answers(split: Split) -> None:
    trial = tried(split, Evaluation(metrics=("hr@1", "hr@2", "recall@3", "mrr@10", "auc")))
    # c ranks first of c, d, e; d shares ranks 2 and 3 with e; b ranks first of b, d, e and e shares 2 and 3 with d.
    np.testing.assert_allclose(trial.values, [1.0, TIED, (1 + TIED) / (1 + 1 / np.log2(3))])
    assert trial.score.mean == pytest.approx(trial.values.mean())
    assert trial.score.n == 3
    means = {name: estimate.mean for name, estimate in trial.quality.items()}
    assert means["hr@1"] == pytest.approx(2 / 3)
    assert means["hr@2"] == pytest.approx(2 / 3)
    assert means["recall@3"] == pytest.approx(1.0)
    assert means["mrr@10"] == pytest.approx((1 + 1 / 2.5 + 1) / 3)
    assert means["auc"] == pytest.approx((1 + 0.25 + 0.75) / 3)
    assert list(trial.quality) == ["ndcg@10", "hr@1", "hr@2", "recall@3", "mrr@10", "auc"]


def test_slices_by_hand(split: Split) -> None:
    masks = slice_masks(split.train)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()} == {
        "warm": [A, B, C],
        "cold": [D, E],
        "tail": [B, C],  # the head is one fifth of three warm items, rounded up: a
    }
    slices = tried(split).slices
    assert (slices["warm"].mean, slices["warm"].n) == (1.0, 2)
    assert (slices["tail"].mean, slices["tail"].n) == (1.0, 2)
    assert slices["cold"].mean == pytest.approx(TIED)
    assert slices["cold"].n == 2


def test_the_head_is_cut_by_code_among_equals() -> None:
    items = IdMap([f"i{i}" for i in range(10)])
    users, item = np.zeros(10, dtype=np.int32), np.arange(10, dtype=np.int32)
    train = Dataset(Interactions.from_events(users, item, IdMap(["u"]), items), Catalog(items))
    assert np.flatnonzero(slice_masks(train)["tail"]).tolist() == list(range(2, 10))


def test_lists_are_described(split: Split) -> None:
    lists = tried(split).lists
    # The lists are c d e, c d e and b d e, of five items.
    assert lists["coverage"].mean == pytest.approx(4 / 5)
    assert lists["diversity"].n == 0
    unit = np.eye(5, dtype=np.float32)
    assert tried(split, vectors=unit).lists["diversity"].mean == pytest.approx(1.0)


@dataclass
class Constant(Scores):
    """Scores every item alike."""

    n_items_: int = 0
    spared: Cost | None = None

    def fit(self, dataset: Dataset) -> Constant:
        self.n_items_ = dataset.n_items
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        charge(flops=2.0 * len(queries))
        if self.spared is not None:
            charge_reused(self.spared)
        return np.zeros((len(queries), self.n_items_), dtype=np.float32)


def constant(split: Split, ledger: Ledger, **options: Any) -> Pipeline:
    return Pipeline(Plan("p", Spec("popularity")), Constant(**options), None, ()).fit(split.train, ledger)


def test_a_constant_scorer_is_not_flattered() -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=40, n_items=60))
    ledger = Ledger()
    trial = evaluate(constant(split, ledger), split, Evaluation(), ledger)
    for name in ("ndcg@10", "hr@10", "recall@10", "precision@10", "mrr@10", "map@10"):
        assert trial.quality[name].mean == 0.0
    assert trial.quality["auc"].mean == pytest.approx(0.5)


def test_what_is_masked_is_no_candidate(split: Split) -> None:
    queries = [
        replace(split.test.queries[0], candidates=codes(D, C)),
        replace(split.test.queries[1], exclude=codes(E)),
        replace(split.test.queries[2], candidates=codes(A, C)),
    ]
    asked = replace(split, test=Fold(queries, split.test.relevant))
    # d is now second for certain, and what is no candidate cannot be hit.
    np.testing.assert_allclose(tried(asked).values, [1.0, 1 / np.log2(3), 0.0])


def test_one_request_has_its_cost(split: Split) -> None:
    trial = tried(split, Evaluation(timed_queries=2))
    request = trial.cost["request"]
    assert request.flops == 0.0  # popularity copies its scores
    assert 0 < request.seconds < 1  # type: ignore[operator]
    assert request.cpu_seconds is not None
    assert request.tokens_in == 0.0
    assert 0 < trial.latency_seconds["p50"] <= trial.latency_seconds["p95"]
    assert trial.model_bytes == 12 * split.train.n_items


def test_the_cost_of_a_request_is_the_mean_of_those_tried(split: Split) -> None:
    ledger = Ledger()
    pipeline = Plan("p", Spec("ease")).build().fit(split.train, ledger)
    request = evaluate(pipeline, split, Evaluation(timed_queries=100), ledger).cost["request"]
    met = [len(set(query.history.tolist())) for query in split.test.queries]
    assert request.flops == pytest.approx(2.0 * np.mean(met) * split.train.n_items)


def test_costs_are_the_plan_s_own(split: Split) -> None:
    ledger = Ledger()
    for name in ("other", "p"):
        pipeline = Plan(name, Spec("popularity")).build().fit(split.train, ledger)
    with ledger.span("tune", plan="p (tuning)", phase="once"):
        charge(flops=1e9)
    cost = evaluate(pipeline, split, Evaluation(), ledger).cost
    assert cost["once"].flops == 0.0
    assert cost["refresh"].flops == len(split.train.interactions) + split.train.n_items


def test_what_a_cache_spared_counts_at_its_first_price(split: Split) -> None:
    ledger = Ledger()
    pipeline = constant(split, ledger, spared=Cost(seconds=100.0, flops=5.0))
    request = evaluate(pipeline, split, Evaluation(), ledger).cost["request"]
    assert request.flops == 7.0
    assert request.seconds > 100.0  # type: ignore[operator]


def test_unknown_flops_stay_unknown(split: Split) -> None:
    @dataclass
    class Silent(Constant):
        def score(self, queries: Sequence[Query]) -> Matrix:
            return np.zeros((len(queries), self.n_items_), dtype=np.float32)

    pipeline = Pipeline(Plan("p", Spec("popularity")), Silent(), None, ())
    ledger = Ledger()
    cost = evaluate(pipeline.fit(split.train, ledger), split, Evaluation(), ledger).cost
    assert cost["request"].flops is None
    assert cost["refresh"].flops is None


def test_a_sample_is_the_seed_s_and_leaves_the_rest_unknown() -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=50))
    whole = tried(split)
    rows = []
    for how, limit in ((Evaluation(seed=1), 20), (Evaluation(seed=1, max_queries=20), 0), (Evaluation(seed=1), 20)):
        trial = tried(split, how, max_queries=limit)
        known = ~np.isnan(trial.values)
        np.testing.assert_array_equal(trial.values[known], whole.values[known])
        assert trial.score.n == np.count_nonzero(known) == 20
        rows.append(np.flatnonzero(known).tolist())
    assert rows[0] == rows[1] == rows[2]
    other = tried(split, Evaluation(seed=2), max_queries=20)
    assert np.flatnonzero(~np.isnan(other.values)).tolist() != rows[0]
    # Both limits: the smaller one. No limit below the number of requests: all.
    assert tried(split, Evaluation(max_queries=10), max_queries=20).score.n == 10
    assert tried(split, Evaluation(max_queries=500)).score.n == len(split.test)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=23))
    whole = tried(split, spec=Spec("item-knn"))
    monkeypatch.setattr(evaluation, "BLOCK_BYTES", 4 * 40 * 7)
    parts = tried(split, spec=Spec("item-knn"))
    np.testing.assert_array_equal(parts.values, whole.values)
    assert (parts.quality, parts.slices, parts.lists) == (whole.quality, whole.slices, whole.lists)


def test_quick_values_are_those_of_the_whole_evaluation(split: Split) -> None:
    pipeline = Plan("p", Spec("popularity")).build().fit(split.train)
    found = quick_values(pipeline, split.test, metrics.parse("ndcg@10"))
    np.testing.assert_array_equal(found, tried(split).values)


def test_progress_is_reported(split: Split) -> None:
    heard: list[tuple[str, int, int]] = []
    with progress.listening(lambda *told: heard.append(told)):
        tried(split)
    assert heard[-1] == ("evaluate p", 3, 3)


def test_an_empty_fold_has_no_quality(split: Split) -> None:
    trial = tried(replace(split, test=Fold([], [])))
    assert trial.score.to_dict() == {"mean": None, "low": None, "high": None, "n": 0}
    assert trial.latency_seconds == {}


def test_trials_survive_json(split: Split) -> None:
    members = (Spec("ease"), Spec("item-knn", {"neighbours": 3}))
    plan = Plan("both", Spec("hybrid", {"members": members, "weights": (1.0, 0.3)}), without_lm="ease", about="two")
    ledger = Ledger()
    trial = evaluate(plan.build().fit(split.train, ledger), split, Evaluation(), ledger)
    assert trial.disk_bytes == 0
    trial = replace(trial, disk_bytes=7, validation=0.25, tuning=[{"settings": {"weights": [1.0, 0.3]}, "value": 0.25}])
    table = json.loads(json.dumps(trial.to_dict()))
    again = Trial.from_dict(table, trial.values, trial.slice_values)
    assert again == trial
    assert again.to_dict() == trial.to_dict()
    assert Trial.from_dict({k: v for k, v in table.items() if k != "disk_bytes"}, trial.values).disk_bytes == 0
    assert table["plan"] == "both"
    assert table["components"] == ["recommender:hybrid", "recommender:ease", "recommender:item-knn"]
    assert table["settings"]["without_lm"] == "ease"
    assert table["language_model"] == "no"
    assert set(table["cost"]) == {"once", "per_refresh", "per_request"}
    assert set(table["quality"]["ndcg@10"]) == {"mean", "low", "high", "n"}


def test_what_to_measure_is_checked_at_once() -> None:
    with pytest.raises(UnknownNameError, match="'ndgc'") as caught:
        Evaluation(metrics=("ndgc@10",))
    assert caught.value.hint == "did you mean 'ndcg'?"
    with pytest.raises(ConfigError, match="needs a cut-off"):
        Evaluation(metric="ndcg")
    with pytest.raises(ConfigError, match="timed_queries must be at least 1"):
        Evaluation(timed_queries=0)


def test_the_deciding_metric_comes_first_and_once() -> None:
    assert Evaluation("hr@5", ("auc", "hr@5", "auc")).all_metrics == ("hr@5", "auc")
