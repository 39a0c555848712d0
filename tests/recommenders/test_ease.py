"""EASE against its closed form written out, and its text prior against its objective."""

from __future__ import annotations

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.errors import ConfigError
from frugalrec.recommenders.ease import Ease
from frugalrec.testing.data import checkerboard, toy_dataset
from frugalrec.testing.encoders import HashEncoder


def test_weights_are_those_of_the_paper() -> None:
    data = toy_dataset(n_users=40, n_items=15, seed=3)
    X = data.interactions.matrix().toarray().astype(np.float64)
    P = np.linalg.inv(X.T @ X + 7.0 * np.eye(15))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0.0)
    model = Ease(ridge=7.0, precision="float64").fit(data)
    np.testing.assert_allclose(model.weights_, B, atol=1e-10)
    queries = [data.query(u) for u in range(5)]
    np.testing.assert_allclose(model.score(queries), (X[:5] @ B).astype(np.float32), atol=1e-5)


def test_discounted_users_count_as_their_length_says() -> None:
    data = toy_dataset(n_users=40, n_items=15, seed=3)
    log = data.interactions
    log = log.take(np.arange(len(log)) % 3 > log.user % 2)  # so that users differ in length
    X = log.matrix().toarray().astype(np.float64)
    lengths = X.sum(axis=1)
    assert len(set(lengths)) > 1
    P = np.linalg.inv(X.T @ (X / np.sqrt(lengths)[:, None]) + 2.0 * np.eye(15))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0.0)
    model = Ease(ridge=2.0, activity_discount=0.5, precision="float64").fit(data.with_interactions(log))
    np.testing.assert_allclose(model.weights_, B, atol=1e-10)


def test_checkerboard() -> None:
    data = checkerboard(10)
    model = Ease(ridge=1.0).fit(data)
    for user in range(10):
        assert model.recommend([data.query(user)], 1)[0].items.tolist() == [user]


def test_text_prior_minimises_its_objective() -> None:
    """No small step that keeps the diagonal at zero lowers ‖X - XB‖² + λ‖B‖² + μ‖B - C‖²."""
    data = toy_dataset(n_users=40, n_items=12, seed=4)
    model = Ease(ridge=5.0, encoder=HashEncoder(), text_weight=20.0, text_ridge=2.0, precision="float64").fit(data)
    plain = Ease(ridge=2.0, precision="float64")
    E = _vectors(model)
    C = _zero_diagonal_solution(E @ E.T, 2.0)
    X = data.interactions.matrix().toarray().astype(np.float64)
    B = model.weights_
    gradient = -2 * X.T @ (X - X @ B) + 2 * 5.0 * B + 2 * 20.0 * (B - C)
    np.fill_diagonal(gradient, 0.0)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-5)
    assert not np.allclose(B, plain.fit(data).weights_)


def _vectors(model: Ease) -> np.ndarray:
    from frugalrec.recommenders._text import TextSpace

    return TextSpace.fit(model._encoded, model.whitening).project(model._encoded).astype(np.float64)


def _zero_diagonal_solution(gram: np.ndarray, ridge: float) -> np.ndarray:
    P = np.linalg.inv(gram + ridge * np.eye(len(gram)))
    B = -P / np.diag(P)
    np.fill_diagonal(B, 0.0)
    return B


def test_cold_items_get_scores_from_text_only() -> None:
    data = toy_dataset(n_users=60, n_items=20, seed=5, cold=4)
    query = [data.query(0)]
    assert np.ptp(Ease().fit(data).score(query)[0, -4:]) == 0.0
    assert np.ptp(Ease(encoder=HashEncoder()).fit(data).score(query)[0, -4:]) > 0.0


@pytest.mark.parametrize("discount", [0.0, 1.0])
def test_forgetting_a_user_equals_refitting_without_them(discount: float) -> None:
    data = toy_dataset(n_users=30, n_items=15, seed=6)
    log = data.interactions
    settings = {"ridge": 3.0, "precision": "float64", "activity_discount": discount}
    model = Ease(**settings).read(data.catalog)
    gone = np.array([4], np.int32)
    forgotten = model.solve(model.accumulate(log) - model.accumulate(log.take(log.user == 4))).weights_
    refitted = Ease(**settings).fit(data.with_interactions(log.without_users(gone))).weights_
    np.testing.assert_allclose(forgotten, refitted, atol=1e-8)


def test_explanations_add_up_to_the_score() -> None:
    data = toy_dataset(n_users=40, n_items=15, seed=7)
    model = Ease(ridge=5.0).fit(data)
    query = data.query(1)
    (ranking,) = model.recommend([query], 3)
    terms = model.weights_[np.unique(query.history)][:, ranking.items].sum(axis=0)
    np.testing.assert_allclose(terms, ranking.scores, rtol=1e-4)
    for reasons in model.explain(query, ranking.items):
        assert reasons
        assert {r.item for r in reasons} <= set(query.history.tolist())


def test_flops_of_fit_and_score() -> None:
    data = checkerboard(6)
    ledger = Ledger()
    with ledger.span("fit"):
        model = Ease().fit(data)
    per_user = np.array([len(data.query(u).history) for u in range(6)])
    assert ledger.entries[0].cost.flops == 2.0 * (per_user**2).sum() + 6.0**3
    with ledger.span("score"):
        model.score([data.query(0), data.query(1)])
    assert ledger.entries[1].cost.flops == 2.0 * per_user[:2].sum() * 6


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="ridge"):
        Ease(ridge=0.0)
    for discount in (-0.1, 1.5):
        with pytest.raises(ConfigError, match="activity_discount"):
            Ease(activity_discount=discount)
