"""Weights solved block by block: the dense ones when everything is a source, close to them when not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Query
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Recommender
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._approximate import is_sparse, solve_sparse, times, work, zero_diagonal_sparse
from frugalrec.recommenders._ridge import Prior, solve
from frugalrec.recommenders._statistics import Decay, Statistics, accumulate_states
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.encoders import HashEncoder
from frugalrec.testing.recommenders import CHECKS, Check

MODELS = {
    "sequential": lambda solver: SequentialLinear(ridge=2.0, solver=solver),
    "sequential-text": lambda solver: SequentialLinear(
        ridge=2.0, half_lives=(1.5, 8.0), encoder=HashEncoder(), text_prior=2.0, solver=solver
    ),
    "ease": lambda solver: Ease(ridge=5.0, solver=solver),
    "ease-text": lambda solver: Ease(ridge=5.0, text_weight=20.0, encoder=HashEncoder(), solver=solver),
}


def statistics_of(blocks: int, sparse_tables: bool) -> tuple[Statistics, int]:
    data = toy_dataset(n_users=80, n_items=30, seed=4)
    decays = [Decay(h, "positions") for h in (1.5, 8.0)[:blocks]]
    found = accumulate_states(data.interactions, decays, 1.0)
    kind = sparse.csr_array if sparse_tables else np.array
    dense = [t if isinstance(t, np.ndarray) else t.toarray() for t in (found.gram, found.cross)]
    return Statistics(kind(dense[0]), kind(dense[1]), found.n_users, found.n_events), data.n_items


@pytest.mark.parametrize("sparse_tables", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("kappa", [0.0, 2.0])
def test_with_all_rows_as_sources_it_is_the_dense_solution(blocks: int, kappa: float, sparse_tables: bool) -> None:
    statistics, n = statistics_of(blocks, sparse_tables)
    E = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    prior = Prior(ridge=2.0, frequency_ridge=0.1, kappa=kappa, vectors=E)
    found = solve_sparse(statistics, prior, np.float64, sources=blocks * n, targets=7, kept=blocks * n)
    np.testing.assert_allclose(found.toarray(), solve(statistics, prior), atol=1e-5 if kappa else 1e-10)


def test_sources_of_a_pair_by_hand() -> None:
    # Two separate systems: items 0 and 1 speak of each other, items 2 and 3 too. (g + 1)⁻¹ c with g = [[3, 1], [1, 2]]:
    # for c = (2, 0), (4·3 - 1)⁻¹ [[3, -1], [-1, 4]] c = (6, -2) / 11.
    gram = np.kron(np.eye(2), [[3.0, 1.0], [1.0, 2.0]])
    cross = np.zeros((4, 4))
    cross[0, 1], cross[2, 3] = 2.0, 2.0
    cross[1, 1] = cross[3, 3] = 1e-9  # makes both of a pair sources
    found = solve_sparse(Statistics(gram, cross, 1, 1), Prior(1.0), np.float64, sources=2, targets=1).toarray()
    np.testing.assert_allclose(found[:, 1], [6 / 11, -2 / 11, 0, 0], atol=1e-8)
    np.testing.assert_allclose(found[:, 3], [0, 0, 6 / 11, -2 / 11], atol=1e-8)
    assert not found[:, [0, 2]].any()


def test_it_keeps_the_weights_that_move_scores_most() -> None:
    statistics, _ = statistics_of(1, sparse_tables=True)
    full = solve_sparse(statistics, Prior(1.0), np.float64).toarray()
    few = solve_sparse(statistics, Prior(1.0), np.float64, kept=5)
    assert np.diff(few.T.tocsr().indptr).max() == 5
    moves = np.abs(full) * np.sqrt(statistics.gram.diagonal())[:, None]
    for column, kept in zip(moves.T, few.toarray().T, strict=True):
        assert np.flatnonzero(kept).tolist() == np.sort(np.argsort(-column)[:5]).tolist()


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_their_dense_twins(name: str) -> None:
    data = toy_dataset(n_users=80, n_items=30, seed=5)
    one, other = (MODELS[name](solver).fit(data) for solver in ("dense", "sparse"))
    assert sparse.issparse(other.weights_)
    queries = [data.query(u) for u in range(10)] + [Query()]
    np.testing.assert_allclose(one.score(queries), other.score(queries), atol=2e-5)
    items = np.arange(data.n_items, dtype=np.int32)
    for a, b in zip(one.explain(queries[0], items), other.explain(queries[0], items), strict=True):
        np.testing.assert_allclose([r.share for r in a], [r.share for r in b], atol=1e-3)


def test_ease_leaves_an_item_out_of_its_own_score() -> None:
    data = toy_dataset(n_users=80, n_items=30, seed=5)
    gram = Ease().read(data.catalog).accumulate(data.interactions).gram
    found = zero_diagonal_sparse(gram, Prior(5.0), sources=8, targets=4)
    assert not found.diagonal().any()
    assert 0 < np.diff(found.T.tocsr().indptr).max() <= 8


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", MODELS)
def test_contract(name: str, check: Check) -> None:
    def make() -> Recommender:
        return MODELS[name]("sparse")

    check(make, toy_dataset(cold=2))


def test_a_saved_model_answers_the_same(tmp_path) -> None:
    data = toy_dataset(n_users=60, n_items=20, seed=1)
    plan = Plan("p", recommender=Spec("sequential-linear", {"solver": "sparse", "ridge": 2.0}))
    fitted = plan.build().fit(data)
    fitted.save(tmp_path)
    query = [data.query(0)]
    np.testing.assert_array_equal(plan.build().load(tmp_path).score(query), fitted.score(query))


@pytest.mark.parametrize("n_histories", [1, 40])
def test_products_by_columns_have_the_same_bits(n_histories: int) -> None:
    dice = np.random.default_rng(0)
    weights = dice.normal(size=(30, 600)).astype(np.float32)
    histories = sparse.random_array((n_histories, 30), density=0.5, format="csr", dtype=np.float32, rng=dice)
    ledger = Ledger()
    with ledger.span("times"):
        scores = times(histories, weights)
    np.testing.assert_array_equal(scores, histories @ weights)
    assert ledger.total().flops == 2.0 * histories.nnz * 600


def test_the_choice_goes_by_size() -> None:
    assert [is_sparse("auto", rows) for rows in (15_000, 15_001)] == [False, True]
    assert is_sparse("sparse", 10)
    assert not is_sparse("dense", 10**6)
    # Beyond the choice, twice the catalogue is twice the work and not eight times.
    assert work("auto", 200_000, 200_000) == 2 * work("auto", 100_000, 100_000) < work("dense", 100_000, 100_000) / 100
    with pytest.raises(ConfigError, match="solver"):
        SequentialLinear(solver="fast")  # type: ignore[arg-type]


def test_flops_of_one_block() -> None:
    # 3 sources, 1 block of 3 targets: 3³/3 to factor, 2 · 3² · 3 to substitute.
    ledger = Ledger()
    with ledger.span("solve"):
        solve_sparse(Statistics(np.eye(3), np.eye(3), 1, 1), Prior(1.0), np.float64)
    assert ledger.entries[0].cost.flops == 9 + 54
