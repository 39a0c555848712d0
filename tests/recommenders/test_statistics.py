"""The sums of the linear models: right, and a commutative monoid with exact subtraction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from frugalrec.cost import Ledger
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.recommenders import _statistics
from frugalrec.recommenders._ridge import Prior, solve
from frugalrec.recommenders._statistics import HORIZON, Decay, Statistics, accumulate_states

N_ITEMS, N_USERS = 9, 6
DECAYS = [Decay(1.5, "positions"), Decay(15.0, "positions"), Decay(60.0, "seconds")]


def log_of(users: list[int], items: list[int], times: list[float]) -> Interactions:
    return Interactions.from_events(
        np.array(users, np.int32),
        np.array(items, np.int32),
        IdMap([f"u{i}" for i in range(N_USERS)]),
        IdMap([f"i{i}" for i in range(N_ITEMS)]),
        timestamp=np.array(times, np.float64),
    )


@st.composite
def logs(draw: st.DrawFn) -> Interactions:
    n = draw(st.integers(0, 60))
    users = draw(st.lists(st.integers(0, N_USERS - 1), min_size=n, max_size=n))
    items = draw(st.lists(st.integers(0, N_ITEMS - 1), min_size=n, max_size=n))
    times = draw(st.lists(st.integers(0, 500), min_size=n, max_size=n))
    return log_of(users, items, [float(t) for t in times])


def by_definition(log: Interactions, half_life: float) -> tuple[np.ndarray, np.ndarray]:
    """Form every state and target, as the formulas say, and sum their products."""
    n, K = log.n_items, len(DECAYS)
    gram, cross = np.zeros((K * n, K * n)), np.zeros((K * n, n))
    for user in range(log.n_users):
        rows = log.events_of(user)
        items, times = log.item[rows], log.timestamp[rows]
        for t in range(len(items) - 1):
            x, y = np.zeros(K * n), np.zeros(n)
            for a in range(t + 1):
                for k, decay in enumerate(DECAYS):
                    lag = t - a if decay.unit == "positions" else times[t] - times[a]
                    x[k * n + items[a]] += 2.0 ** (-lag / decay.half_life)
            for j in range(min(HORIZON, len(items) - 1 - t)):
                y[items[t + 1 + j]] += 2.0 ** (-j / half_life)
            gram += np.outer(x, x)
            cross += np.outer(x, y)
    return gram, cross


def as_array(table: np.ndarray | sparse.csr_array) -> np.ndarray:
    return table.toarray() if sparse.issparse(table) else table


def assert_same(a: Statistics, b: Statistics, tolerance: float = 1e-8) -> None:
    np.testing.assert_allclose(as_array(a.gram), as_array(b.gram), rtol=0, atol=tolerance)
    np.testing.assert_allclose(as_array(a.cross), as_array(b.cross), rtol=0, atol=tolerance)
    assert (a.n_users, a.n_events) == (b.n_users, b.n_events)


@pytest.mark.parametrize("share", [0.0, np.inf], ids=["dense", "sparse"])
@settings(max_examples=25, deadline=None)
@given(log=logs(), half_life=st.sampled_from([1.0, 2.0]))
def test_sums_are_those_of_the_definition(share: float, log: Interactions, half_life: float) -> None:
    before = _statistics.DENSE_SHARE
    _statistics.DENSE_SHARE = share
    try:
        found = accumulate_states(log, DECAYS, half_life)
    finally:
        _statistics.DENSE_SHARE = before
    assert sparse.issparse(found.gram) == bool(share)
    gram, cross = by_definition(log, half_life)
    # Pairs below NEGLIGIBLE are left out, each worth at most that times the states after it, which fade: 3 at the most.
    tolerance = 1e-12 + 3 * _statistics.NEGLIGIBLE * len(log) ** 2 / 2
    np.testing.assert_allclose(as_array(found.gram), gram, rtol=0, atol=tolerance)
    np.testing.assert_allclose(as_array(found.cross), cross, rtol=0, atol=tolerance)


def test_small_case_by_hand() -> None:
    # One user meets items 0, 1, 2 in this order. States: after 0: x = e0; after 1: x = ½ e0 + e1 (half-life 1).
    log = log_of([0, 0, 0], [0, 1, 2], [0.0, 1.0, 2.0])
    found = accumulate_states(log, [Decay(1.0, "positions")], target_half_life=1.0)
    gram, cross = as_array(found.gram), as_array(found.cross)
    assert gram[:3, :3].tolist() == [[1.25, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]
    # Targets: after 0: e1 + ½ e2; after 1: e2.
    assert cross[:3, :3].tolist() == [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


@settings(max_examples=25, deadline=None)
@given(log=logs(), owner=st.lists(st.integers(0, 2), min_size=N_USERS, max_size=N_USERS))
def test_shards_add_up_in_any_order(log: Interactions, owner: list[int]) -> None:
    shard = np.array(owner)[log.user]
    a, b, c = (accumulate_states(log.take(shard == s), DECAYS, 1.0) for s in range(3))
    whole = accumulate_states(log, DECAYS, 1.0)
    assert_same(a + b + c, whole)
    assert_same(a + (b + c), (a + b) + c)
    assert_same(a + b, b + a)
    assert_same((a + b) - b, a)


@settings(max_examples=25, deadline=None)
@given(log=logs(), user=st.integers(0, N_USERS - 1))
def test_taking_a_user_out_equals_never_having_had_them(log: Interactions, user: int) -> None:
    gone = np.array([user], np.int32)
    without = accumulate_states(log.without_users(gone), DECAYS, 2.0)
    forgotten = accumulate_states(log, DECAYS, 2.0) - accumulate_states(log.take(log.user == user), DECAYS, 2.0)
    assert_same(forgotten, without)
    prior = Prior(ridge=1.0, frequency_ridge=0.1)
    np.testing.assert_allclose(solve(forgotten, prior), solve(without, prior), rtol=0, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(log=logs(), owner=st.lists(st.integers(0, 1), min_size=N_USERS, max_size=N_USERS))
def test_halves_of_symmetric_sums_add_up_to_the_whole(log: Interactions, owner: list[int]) -> None:
    before = _statistics.DENSE_SHARE
    _statistics.DENSE_SHARE = 0.0
    try:
        shard = np.array(owner)[log.user]
        whole = [accumulate_states(log.take(shard == s), DECAYS, 1.0) for s in range(2)]
        halves = [accumulate_states(log.take(shard == s), DECAYS, 1.0, upper=True) for s in range(2)]
    finally:
        _statistics.DENSE_SHARE = before
    assert_same(halves[0].plus(halves[1]).whole(), whole[0] + whole[1], tolerance=0.0)
    assert_same(halves[0] + whole[1], whole[0] + whole[1], tolerance=0.0)
    assert_same(halves[0].plus(halves[1], overwrite=True).whole(), whole[0] + whole[1], tolerance=0.0)


def test_sparse_and_dense_sums_mix() -> None:
    rng = np.random.default_rng(0)
    full = rng.random((4, 4))
    a = Statistics(full, full[:, :2], 1, 3)
    b = Statistics(sparse.csr_array(np.eye(4)), sparse.csr_array(np.eye(4)[:, :2]), 1, 2)
    assert_same(a + b, b + a)
    assert isinstance((b + a).gram, np.ndarray)


@settings(max_examples=15, deadline=None)
@given(log=logs())
def test_small_windows_give_the_same_sums(log: Interactions) -> None:
    before = _statistics.DENSE_SHARE, _statistics.WINDOW_PAIRS
    _statistics.DENSE_SHARE = np.inf
    try:
        whole = accumulate_states(log, DECAYS, 1.0)
        _statistics.WINDOW_PAIRS = 3
        assert_same(accumulate_states(log, DECAYS, 1.0), whole, tolerance=1e-12)
    finally:
        _statistics.DENSE_SHARE, _statistics.WINDOW_PAIRS = before


def test_flops_of_a_counted_case() -> None:
    # Lengths 3 and 2: pairs (1,0), (2,1), (2,0) and (1,0) for one block; gram and cross each add once a pair.
    log = log_of([0, 0, 0, 1, 1], [0, 1, 2, 3, 4], [0, 1, 2, 0, 1])
    ledger = Ledger()
    with ledger.span("accumulate"):
        accumulate_states(log, [Decay(5.0, "positions")], 1.0)
    assert ledger.entries[0].cost.flops == 2.0 * (4 + 4)
