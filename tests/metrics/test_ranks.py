from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec import registry
from frugalrec.data.dataset import Ranking
from frugalrec.errors import ConfigError, DataError, UnknownNameError
from frugalrec.metrics import _ranks, parse, ranks_in_lists, ranks_of
from frugalrec.metrics.auc import AUC
from frugalrec.metrics.ndcg import NDCG


def codes(*items: int) -> np.ndarray:
    return np.array(items, dtype=np.int32)


def test_ranks_worked_by_hand() -> None:
    scores = np.array([[3.0, 1.0, 2.0, -np.inf], [5.0, 5.0, 5.0, 0.0]], dtype=np.float32)
    judged = ranks_of(scores, [codes(1, 0), codes(3, 1)])
    assert judged.ranks.tolist() == [1, 3, 2, 4]
    assert judged.offsets.tolist() == [0, 2, 4]
    assert judged.n_candidates.tolist() == [3, 4]


def test_counting_and_sorting_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, size=(30, 40)).astype(np.float32)  # many ties
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    relevant = [rng.permutation(40)[:n].astype(np.int32) for n in range(30)]
    counted = ranks_of(scores, relevant)
    monkeypatch.setattr(_ranks, "FEW", -1)
    ordered = ranks_of(scores, relevant)
    np.testing.assert_array_equal(counted.ranks, ordered.ranks)
    np.testing.assert_array_equal(counted.n_candidates, ordered.n_candidates)


def test_a_masked_relevant_item_is_never_a_hit() -> None:
    judged = ranks_of(np.array([[1.0, -np.inf, -np.inf]]), [codes(1)])
    assert judged.ranks.tolist() == [np.inf]
    for name in registry.names("metric"):
        metric = parse(name if name == "auc" else f"{name}@10")
        assert metric(judged).tolist() == [0.0]


def test_everything_masked_and_nothing_relevant() -> None:
    judged = ranks_of(np.array([[-np.inf, -np.inf], [1.0, 2.0]]), [codes(0), codes()])
    assert judged.n_candidates.tolist() == [0, 2]
    assert NDCG()(judged).tolist()[0] == 0.0
    assert np.isnan(NDCG()(judged)[1])
    assert len(ranks_of(np.empty((0, 5)), [])) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_mean_nothing_are_refused(bad: float) -> None:
    scores = np.zeros((3, 4))
    scores[1, 2] = bad
    with pytest.raises(DataError, match="query 1"):
        ranks_of(scores, [codes(0)] * 3)
    ranking = Ranking(codes(0, 1), np.array([1.0, bad]))
    with pytest.raises(DataError, match="query 1"):
        ranks_in_lists([Ranking(codes(0), np.array([1.0])), ranking], [codes(0)] * 2, 5)


def test_shapes_and_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="2 score rows"):
        ranks_of(np.zeros((2, 3)), [codes(0)])
    for outside in (-1, 3):
        with pytest.raises(DataError, match=r"0 … 2"):
            ranks_of(np.zeros((1, 3)), [codes(outside)])
    with pytest.raises(DataError, match="2 items and 1 scores"):
        ranks_in_lists([Ranking(codes(0, 1), np.array([1.0]))], [codes(0)], 5)


def test_lists_worked_by_hand() -> None:
    rankings = [
        Ranking(codes(4, 2, 7), np.array([0.9, 0.5, 0.5])),
        Ranking(codes(), np.array([])),
        Ranking(codes(2), np.array([0.5])),
    ]
    judged = ranks_in_lists(rankings, [codes(7, 9, 4), codes(1), codes(2)], n_candidates=10)
    assert judged.ranks.tolist() == [1, 2.5, np.inf, np.inf, 1]
    assert judged.n_candidates.tolist() == [10, 10, 10]
    assert len(ranks_in_lists([], [], 10)) == 0
    assert ranks_in_lists([Ranking(codes(), np.array([]))], [codes(1)], 10).ranks.tolist() == [np.inf]


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    scores = rng.integers(draw(st.integers(1, 20)), size=(n_queries, n_items)).astype(np.float32)
    relevant = [rng.permutation(n_items)[: rng.integers(0, n_items + 1)].astype(np.int32) for _ in range(n_queries)]
    return scores, relevant


@given(scored())
@settings(max_examples=100, deadline=None)
def test_a_whole_list_ranks_as_its_scores_do(case: tuple[np.ndarray, list[np.ndarray]]) -> None:
    scores, relevant = case
    orders = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
    rankings = [Ranking(order, row[order]) for order, row in zip(orders, scores, strict=True)]
    judged = ranks_of(scores, relevant)
    listed = ranks_in_lists(rankings, relevant, scores.shape[1])
    assert judged.ranks.tolist() == listed.ranks.tolist()
    assert judged.offsets.tolist() == listed.offsets.tolist()
    assert judged.n_candidates.tolist() == listed.n_candidates.tolist()


@given(scored())
@settings(max_examples=100, deadline=None)
def test_auc_is_the_share_of_pairs_in_the_right_order(case: tuple[np.ndarray, list[np.ndarray]]) -> None:
    scores, relevant = case
    values = AUC()(ranks_of(scores, relevant))
    for value, row, items in zip(values, scores, relevant, strict=True):
        above = row[items][:, None] - np.delete(row, items)
        if above.size:
            assert value == pytest.approx(np.mean((above > 0) + (above == 0) / 2))
        else:
            assert np.isnan(value)


def test_parse_reads_every_metric() -> None:
    assert parse("ndcg@10") == NDCG(k=10)
    assert parse(" ndcg@5 ") == NDCG(k=5)
    assert parse("auc") == AUC()
    for name in registry.names("metric"):
        assert parse(name if name == "auc" else f"{name}@3") is not None


@pytest.mark.parametrize("text", ["ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@ten", "ndcg@1.5", "auc@10", "auc@"])
def test_parse_refuses_a_wrong_cut_off(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.hint


def test_parse_names_the_nearest_metric() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ndcg'"):
        parse("ndgc@10")
