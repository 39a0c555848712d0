from __future__ import annotations

import itertools

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, Qrel, R, ScoredDoc, Success, nDCG

from frugalrec import registry
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Judged
from frugalrec.metrics import parse, ranks_of

AT_K = [name for name in registry.names("metric") if name != "auc"]


def judged(*ranks: list[float], n_candidates: int = 100) -> Judged:
    return Judged(
        ranks=np.array([rank for query in ranks for rank in query], dtype=np.float64),
        offsets=np.concatenate([[0], np.cumsum([len(query) for query in ranks])]).astype(np.int64),
        n_candidates=np.full(len(ranks), n_candidates, dtype=np.int64),
    )


LOG3 = np.log2(3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Relevant at 1 and 3; at 2, 4 and 9; at 5; at 1, 2, 3 and 4.
        ("hr@3", [1, 1, 0, 1]),
        ("recall@3", [1, 1 / 3, 0, 3 / 4]),
        ("precision@3", [2 / 3, 1 / 3, 0, 1]),
        ("mrr@3", [1, 1 / 2, 0, 1]),
        ("map@3", [(1 + 2 / 3) / 2, (1 / 2) / 3, 0, 1]),
        ("ndcg@3", [(1 + 1 / 2) / (1 + 1 / LOG3), (1 / LOG3) / (1 + 1 / LOG3 + 1 / 2), 0, 1]),
        ("auc", [1 - 1 / (2 * 98), 1 - (1 + 2 + 6) / (3 * 97), 1 - 4 / 99, 1]),
    ],
)
def test_worked_by_hand(name: str, expected: list[float]) -> None:
    values = parse(name)(judged([1, 3], [2, 4, 9], [5], [1, 2, 3, 4]))
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize("name", registry.names("metric"))
def test_a_query_without_relevant_items_is_unknown_and_no_queries_are_none(name: str) -> None:
    metric = parse(name if name == "auc" else f"{name}@10")
    values = metric(judged([], [1], []))
    assert np.isnan(values).tolist() == [True, False, True]
    assert metric(judged()).shape == (0,)


@pytest.mark.parametrize("name", AT_K)
def test_k_must_be_at_least_one(name: str) -> None:
    with pytest.raises(ConfigError, match="k must be at least 1"):
        registry.load("metric", name)(k=0)


def test_auc_without_irrelevant_candidates_is_unknown() -> None:
    assert np.isnan(parse("auc")(judged([1, 2], n_candidates=2))).all()


@st.composite
def untied(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    """Scores without ties, 1 to 8 relevant items a query."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items = draw(st.integers(1, 6)), draw(st.integers(9, 30))
    scores = np.stack([rng.permutation(n_items) for _ in range(n_queries)]).astype(np.float64)
    relevant = [rng.permutation(n_items)[: rng.integers(1, 9)].astype(np.int32) for _ in range(n_queries)]
    return scores, relevant


@given(untied(), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_agrees_with_ir_measures(case: tuple[np.ndarray, list[np.ndarray]], k: int) -> None:
    scores, relevant = case
    run = [ScoredDoc(str(q), str(i), s) for q, row in enumerate(scores) for i, s in enumerate(row)]
    qrels = [Qrel(str(q), str(i), 1) for q, items in enumerate(relevant) for i in items]
    ours = ranks_of(scores, relevant)
    for measure, name in ((nDCG, "ndcg"), (P, "precision"), (R, "recall"), (AP, "map"), (RR, "mrr"), (Success, "hr")):
        theirs = {int(m.query_id): m.value for m in ir_measures.iter_calc([measure @ k], qrels, run)}
        expected = np.array([theirs[q] for q in range(len(scores))])
        if name == "map":
            # They divide by all relevant items, also where the top k has no room for them.
            n_relevant = np.array([len(items) for items in relevant])
            expected = expected * n_relevant / np.minimum(n_relevant, k)
        np.testing.assert_allclose(parse(f"{name}@{k}")(ours), expected, atol=1e-9, err_msg=name)


@given(untied(), st.sampled_from(registry.names("metric")), st.integers(1, 12), st.data())
@settings(max_examples=150, deadline=None)
def test_a_relevant_item_that_moves_up_never_costs(
    case: tuple[np.ndarray, list[np.ndarray]], name: str, k: int, data: st.DataObject
) -> None:
    scores, relevant = case
    metric = parse(name if name == "auc" else f"{name}@{k}")
    query = data.draw(st.integers(0, len(scores) - 1))
    item = data.draw(st.sampled_from(relevant[query].tolist()))
    better = scores.copy()
    better[query, item] += data.draw(st.integers(1, 30)) + 0.5
    before, after = metric(ranks_of(scores, relevant)), metric(ranks_of(better, relevant))
    assert after[query] >= before[query] - 1e-12
    np.testing.assert_allclose(np.delete(after, query), np.delete(before, query), atol=1e-12)


@st.composite
def tied(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_queries, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 15))
    scores = rng.integers(draw(st.integers(1, 4)), size=(n_queries, n_items)).astype(np.float64)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    relevant = [rng.permutation(n_items)[: rng.integers(1, n_items + 1)].astype(np.int32) for _ in range(n_queries)]
    return scores, relevant


@given(tied(), st.sampled_from(registry.names("metric")), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_values_stay_between_0_and_1_whatever_is_tied_or_masked(
    case: tuple[np.ndarray, list[np.ndarray]], name: str, k: int
) -> None:
    values = parse(name if name == "auc" else f"{name}@{k}")(ranks_of(*case))
    known = values[~np.isnan(values)]
    assert (known >= -1e-12).all()
    assert (known <= 1 + 1e-12).all()
    if name != "auc":
        assert len(known) == len(values)


@pytest.mark.parametrize("name", AT_K)
@pytest.mark.parametrize("k", range(1, 6))
def test_no_tie_across_the_cut_off_is_worth_more_than_the_best_order(name: str, k: int) -> None:
    n_items = 7
    spans = list(itertools.combinations(range(n_items + 1), 2))
    relevant = [np.arange(first, last, dtype=np.int32) for first, last in spans]
    best = judged(*[[float(place + 1) for place in range(len(items))] for items in relevant], n_candidates=n_items)
    metric = parse(f"{name}@{k}")
    for start, end in spans:
        row = -np.arange(n_items, dtype=np.float64)
        row[start:end] = -start
        tied_at_the_span = ranks_of(np.tile(row, (len(relevant), 1)), relevant)
        assert (metric(tied_at_the_span) <= metric(best) + 1e-12).all()


@given(tied(), st.sampled_from(registry.names("metric")), st.integers(1, 12), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_neither_the_numbering_of_items_nor_the_order_of_queries_matters(
    case: tuple[np.ndarray, list[np.ndarray]], name: str, k: int, seed: int
) -> None:
    scores, relevant = case
    metric = parse(name if name == "auc" else f"{name}@{k}")
    rng = np.random.default_rng(seed)
    renamed, queries = rng.permutation(scores.shape[1]), rng.permutation(len(scores))
    moved = np.empty_like(scores)
    moved[:, renamed] = scores
    values = metric(ranks_of(moved[queries], [rng.permutation(renamed[relevant[q]]) for q in queries]))
    np.testing.assert_allclose(values, metric(ranks_of(scores, relevant))[queries], atol=1e-12)


@pytest.mark.parametrize("name", AT_K)
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("n_relevant", [1, 2, 4])
def test_a_constant_scorer_gains_nothing_over_chance(name: str, k: int, n_relevant: int) -> None:
    n_items = 6  # at least 2k: every order of the relevant items can be listed
    places = np.array(list(itertools.combinations(range(1, n_items + 1), n_relevant)), dtype=np.float64)
    metric = parse(f"{name}@{k}")
    chance = metric(judged(*places.tolist(), n_candidates=n_items)).mean()
    constant = metric(ranks_of(np.ones((1, n_items)), [np.arange(n_relevant, dtype=np.int32)]))[0]
    assert constant == 0 < chance


def test_a_constant_scorer_orders_half_of_all_pairs() -> None:
    values = parse("auc")(ranks_of(np.zeros((2, 7)), [np.array([1]), np.array([0, 3, 6])]))
    np.testing.assert_allclose(values, 0.5)
