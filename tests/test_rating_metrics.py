from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from frugalrec.errors import DataError
from frugalrec.rating_metrics import mae, rmse


def test_worked_by_hand() -> None:
    predictions, truths = np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 4.0])
    assert rmse(predictions, truths) == pytest.approx((5 / 3) ** 0.5)
    assert mae(predictions, truths) == pytest.approx(1.0)


def test_float32_does_not_lose_precision() -> None:
    predictions = np.full(100_000, 3.1, dtype=np.float32)
    assert mae(predictions, np.full(100_000, 3.0, dtype=np.float32)) == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("metric", [rmse, mae])
def test_nothing_to_compare_is_unknown(metric: Callable[..., float]) -> None:
    assert np.isnan(metric(np.array([]), np.array([])))


@pytest.mark.parametrize("metric", [rmse, mae])
def test_bad_input(metric: Callable[..., float]) -> None:
    with pytest.raises(DataError, match="as long"):
        metric(np.zeros(2), np.zeros(3))
    with pytest.raises(DataError, match="rating 1"):
        metric(np.array([1.0, np.nan]), np.zeros(2))
