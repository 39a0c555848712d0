"""Damped biases against a case worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.errors import ConfigError, DataError
from frugalrec.rating_models.biases import Biases


def ratings(rows: list[tuple[int, int, float]], n_users: int = 2, n_items: int = 3) -> Dataset:
    user, item, value = (np.array(column) for column in zip(*rows, strict=True))
    items = IdMap([f"i{i}" for i in range(n_items)])
    users = IdMap([f"u{u}" for u in range(n_users)])
    log = Interactions.from_events(
        user.astype(np.int32), item.astype(np.int32), users, items, value=value.astype(np.float32)
    )
    return Dataset(log, Catalog(items))


HAND = [(0, 0, 5.0), (0, 1, 3.0), (1, 0, 4.0), (1, 1, 0.0)]
"""Mean 3. Items leave 2 + 1 and 0 - 3; users then what the item biases do not explain."""


def test_one_sweep_by_hand() -> None:
    model = Biases(user_damping=2.0, item_damping=1.0, sweeps=1).fit(ratings(HAND))
    assert model.mean_ == 3.0
    np.testing.assert_allclose(model.item_bias_, [3 / 3, -3 / 3, 0.0])
    # User 0: (5-3-1) + (3-3+1) = 2 over 2 ratings + 2; user 1: (4-3-1) + (0-3+1) = -2.
    np.testing.assert_allclose(model.user_bias_, [2 / 4, -2 / 4])
    predicted = model.predict(np.array([0, 1, 1, -1, 0], np.int32), np.array([0, 1, 2, 1, 9], np.int32))
    np.testing.assert_allclose(predicted, [4.5, 1.5, 2.5, 2.0, 3.5])


def test_two_sweeps_by_hand() -> None:
    model = Biases(user_damping=2.0, item_damping=1.0, sweeps=2).fit(ratings(HAND))
    # Both items were rated by both users, whose biases of ±.5 cancel: nothing changes.
    np.testing.assert_allclose(model.item_bias_, [1.0, -1.0, 0.0])
    np.testing.assert_allclose(model.user_bias_, [0.5, -0.5])


def test_predictions_stay_in_the_range() -> None:
    # Mean 4, item biases ±1, user biases ±1: the best pair would get 6.
    tiny = {"user_damping": 1e-12, "item_damping": 1e-12}
    model = Biases(**tiny, sweeps=1).fit(ratings([(0, 0, 5.0), (0, 1, 5.0), (1, 0, 5.0), (1, 1, 1.0)]))
    predicted = model.predict(np.array([0, 1], np.int32), np.array([0, 1], np.int32))
    np.testing.assert_allclose(predicted, [5.0, 2.0])


def test_missing_ratings_are_passed_over() -> None:
    model = Biases().fit(ratings([*HAND, (0, 2, float("nan"))]))
    assert model.mean_ == 3.0
    with pytest.raises(DataError, match="none"):
        Biases().fit(ratings([(0, 2, float("nan"))]))


@pytest.mark.parametrize("bad", [{"user_damping": 0.0}, {"item_damping": -1.0}, {"sweeps": 0}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Biases(**bad)
