"""The ridge to all later items: its formula written out user by user, exact forgetting, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset
from frugalrec.errors import ConfigError
from frugalrec.recommenders.future_ridge import FutureRidge
from frugalrec.testing.data import checkerboard, toy_dataset


def uneven(data: Dataset) -> Dataset:
    """Return the data with users of different lengths."""
    log = data.interactions
    return data.with_interactions(log.take(np.arange(len(log)) % 4 > log.user % 3))


def sums(data: Dataset, cuts: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    n = data.n_items
    gram, cross = np.zeros((n, n)), np.zeros((n, n))
    for user in range(data.n_users):
        items = data.query(user).history
        for cut in cuts:
            at = max(1, int(cut * len(items)))
            x, y = np.zeros(n), np.zeros(n)
            x[items[:at]] = 1 / np.sqrt(at)
            y[items[at:]] = 1.0
            if y.any():
                gram += np.outer(x, x)
                cross += np.outer(x, y)
    return gram, cross


def test_weights_are_the_ridge_from_before_each_cut_to_after_it() -> None:
    data = uneven(toy_dataset(n_users=30, n_items=12, seed=1))
    assert len({len(data.query(u).history) for u in range(30)}) > 1
    cuts = (0.2, 0.6)
    gram, cross = sums(data, cuts)
    model = FutureRidge(ridge=0.5, cuts=cuts).fit(data)
    np.testing.assert_allclose(model.weights_, np.linalg.solve(gram + 0.5 * np.eye(12), cross), atol=1e-4)
    x = np.zeros(12)
    history = data.query(3).history
    x[history] = 1 / np.sqrt(len(history))
    np.testing.assert_allclose(model.score([data.query(3)])[0], x @ model.weights_, atol=1e-5)


def test_forgetting_a_user_equals_refitting_without_them() -> None:
    data = uneven(toy_dataset(n_users=30, n_items=12, seed=2))
    log = data.interactions
    model = FutureRidge(ridge=1.0).read(data.catalog)
    rest = model.accumulate(log) - model.accumulate(log.take(log.user == 4))
    again = model.accumulate(log.without_users(np.array([4], np.int32)))
    for one, other in ((rest.gram, again.gram), (rest.cross, again.cross)):
        np.testing.assert_allclose(one, other, atol=1e-10)
    assert (rest.n_users, rest.n_events) == (again.n_users, again.n_events)


def test_checkerboard_in_any_order() -> None:
    data = checkerboard(10)
    log = data.interactions
    # In order of item code the first items would never be anybody's later items.
    shuffled = np.lexsort((np.random.default_rng(0).random(len(log)), log.user))
    model = FutureRidge(ridge=0.1).fit(data.with_interactions(log.take(shuffled)))
    for user in range(10):
        assert model.recommend([data.query(user)], 1)[0].items.tolist() == [user]


def test_explanations_add_up_to_the_score() -> None:
    data = toy_dataset(n_users=40, n_items=15, seed=7)
    model = FutureRidge(ridge=0.5).fit(data)
    query = data.query(1)
    (ranking,) = model.recommend([query], 3)
    terms = model.weights_[query.history][:, ranking.items] / np.sqrt(len(query.history))
    np.testing.assert_allclose(terms.sum(axis=0), ranking.scores, rtol=1e-4)
    for reasons in model.explain(query, ranking.items):
        assert {r.item for r in reasons} <= set(query.history.tolist())
        assert reasons


def test_flops_of_fit() -> None:
    data = uneven(toy_dataset(n_users=20, n_items=12, seed=1))
    lengths = np.array([len(data.query(u).history) for u in range(20)])
    before = np.maximum(1, lengths // 2)
    ledger = Ledger()
    with ledger.span("sums"):
        FutureRidge(cuts=(0.5,)).read(data.catalog).accumulate(data.interactions)
    assert ledger.entries[0].cost.flops == 2.0 * (before * lengths).sum()


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="ridge"):
        FutureRidge(ridge=0.0)
    for cuts in ((), (0.5, 1.0), (0.0,)):
        with pytest.raises(ConfigError, match="cuts"):
            FutureRidge(cuts=cuts)
