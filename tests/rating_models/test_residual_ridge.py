"""The residual ridge against cases worked by hand, its formula written out, and the likelihood it climbs."""

from __future__ import annotations

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import ConfigError
from frugalrec.rating_metrics import rmse
from frugalrec.rating_models.biases import Biases
from frugalrec.rating_models.residual_ridge import ResidualRidge
from frugalrec.testing.data import toy_ratings

HUGE = 1e12
"""A damping that leaves no bias, so that residuals are ratings less their mean."""


def dataset(table: list[list[float]]) -> Dataset:
    """Ratings as a user × item table; 0 is none."""
    values = np.array(table)
    user, item = np.nonzero(values)
    items, users = IdMap(map(str, range(values.shape[1]))), IdMap(map(str, range(values.shape[0])))
    log = Interactions.from_events(
        user.astype(np.int32), item.astype(np.int32), users, items, value=values[user, item].astype(np.float32)
    )
    return Dataset(log, Catalog(items))


def test_two_items_by_hand() -> None:
    # Mean 3, residuals ±1 and user 2 has rated item 0 alone.
    data = dataset([[4, 4], [2, 2], [4, 0], [2, 0]])
    model = ResidualRidge(user_damping=HUGE, item_damping=HUGE, shrinkage=2.0, noise=0.5, steps=0).fit(data)
    # Item 0: 4 / (4 + 2); both items: 2 / (2 + 2). It has no negative eigenvalue.
    np.testing.assert_allclose(model.kernel_, [[2 / 3, 1 / 2], [1 / 2, 1 / 2]], atol=1e-9)
    # The variance is 1, so user 2 is expected to leave 1/2 / (2/3 + 1/2) * 1 = 3/7 at item 1, and user 3 as much less.
    predicted = model.predict(np.array([2, 3, -1], np.int32), np.array([1, 1, 1], np.int32))
    np.testing.assert_allclose(predicted, [3 + 3 / 7, 3 - 3 / 7, 3.0], atol=1e-9)


def test_an_em_step_by_hand() -> None:
    # One item, four users with residuals ±1: K = 4/8 = 1/2, and the noise 1/2. Given ±1, the residual is expected to be
    # ±1/2 with variance 1/2 - 1/4 = 1/4; its second moment is 1/4 + 1/4.
    data = dataset([[4], [2], [4], [2]])
    settings = {"user_damping": HUGE, "item_damping": HUGE, "shrinkage": 4.0}
    stays = ResidualRidge(**settings, noise=0.5, steps=1).fit(data)
    np.testing.assert_allclose(stays.kernel_, [[0.5]], atol=1e-9)
    # With noise 3/2: expected ±1/4, variance 1/2 - 1/8 = 3/8, second moment 1/16 + 3/8.
    shrinks = ResidualRidge(**settings, noise=1.5, steps=1).fit(data)
    np.testing.assert_allclose(shrinks.kernel_, [[7 / 16]], atol=1e-9)


def likelihood(model: ResidualRidge, data: Dataset) -> float:
    """Log-likelihood of the residuals under the model's kernel, the formula written out."""
    log = data.interactions
    left = log.value - model.expected(log.user, log.item)
    noise = model.noise * np.mean(left**2)
    total = 0.0
    for user in range(log.n_users):
        rows = log.events_of(user)
        covariance = model.kernel_[np.ix_(log.item[rows], log.item[rows])] + noise * np.eye(len(left[rows]))
        total -= 0.5 * (np.linalg.slogdet(covariance)[1] + left[rows] @ np.linalg.solve(covariance, left[rows]))
    return total


def test_em_steps_climb_the_likelihood() -> None:
    data = toy_ratings(seed=2)
    climbed = [likelihood(ResidualRidge(noise=0.5, steps=steps).fit(data), data) for steps in (0, 1, 2, 5, 20)]
    assert np.all(np.diff(climbed) > 0)


def test_it_learns_tastes_that_biases_cannot() -> None:
    data = toy_ratings(n_users=80, n_items=30, seed=3)
    log = data.interactions
    held = np.arange(len(log)) % 5 == 0
    train, test = data.with_interactions(log.take(~held)), log.take(held)
    errors = [rmse(m.fit(train).predict(test.user, test.item), test.value) for m in (Biases(), ResidualRidge())]
    assert errors[1] < 0.6 * errors[0]


def test_an_item_rated_twice_counts_as_its_mean() -> None:
    once = dataset([[4, 4], [2, 2], [3, 3]])
    log = once.interactions
    twice = Interactions.from_events(
        np.append(log.user, log.user), np.append(log.item, log.item), log.users, log.items,
        value=np.append(log.value, log.value),
    )  # fmt: skip
    settings = {"user_damping": HUGE, "item_damping": HUGE}
    both = [ResidualRidge(**settings).fit(data) for data in (once, once.with_interactions(twice))]
    np.testing.assert_allclose(both[0].kernel_, both[1].kernel_, atol=1e-9)


def test_equal_ratings_are_no_trouble() -> None:
    model = ResidualRidge().fit(dataset([[3, 3], [3, 0]]))
    assert model.predict(np.array([1], np.int32), np.array([1], np.int32)).tolist() == [3.0]


def test_flops_of_a_prediction() -> None:
    model = ResidualRidge().fit(dataset([[4, 4], [2, 2], [4, 0]]))
    ledger = Ledger()
    with ledger.span("predict"):
        model.predict(np.array([0, 2, -1], np.int32), np.array([1, 1, 1], np.int32))
    assert ledger.total().flops == 3 * 2 + 2 * 2 + 2 * 1  # two additions a pair, and two FLOPs a rating of the user


@pytest.mark.parametrize("bad", [{"noise": 0.0}, {"shrinkage": 0.0}, {"steps": -1}, {"item_damping": 0.0}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ResidualRidge(**bad)
