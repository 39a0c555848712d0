"""Reasons of linear models are the terms of the score, to rounding: every share, and their sum."""

from __future__ import annotations

import numpy as np
import pytest

from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.testing.data import toy_dataset

DATA = toy_dataset(n_users=50, n_items=20, seed=3)


def ease() -> tuple[Ease, object]:
    model = Ease(ridge=3.0).fit(DATA)
    return model, lambda history: np.asarray(model.weights_)[history]


def sequential() -> tuple[SequentialLinear, object]:
    model = SequentialLinear(half_lives=(2.0,), ridge=3.0).fit(DATA)

    def terms(history: np.ndarray) -> np.ndarray:
        lags = np.arange(len(history))[::-1]
        return (np.exp2(-lags / 2.0)[:, None] * np.asarray(model.weights_)[history]).astype(np.float64)

    return model, terms


@pytest.mark.parametrize("make", [ease, sequential], ids=["ease", "sequential-linear"])
@pytest.mark.parametrize("user", [0, 7, 21])
def test_shares_are_terms_and_terms_add_up(make, user: int) -> None:
    model, terms_of = make()
    query = DATA.query(user)
    items = np.arange(DATA.n_items, dtype=np.int32)
    terms = terms_of(query.history)
    np.testing.assert_allclose(terms.sum(axis=0), model.score([query])[0], rtol=1e-3, atol=1e-5)
    said = 0
    for item, reasons in enumerate(model.explain(query, items)):
        whole = np.abs(terms[:, item]).sum()
        for reason in reasons:
            place = query.history.tolist().index(reason.item)
            assert reason.share == pytest.approx(terms[place, item] / whole, abs=1e-3)
            said += 1
        largest = np.sort(terms[:, item])[::-1][:3]
        assert len(reasons) == (largest > 0).sum()
    assert said > DATA.n_items
