"""The ridge systems: their solutions satisfy the equations, and what cannot be solved is told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from frugalrec.cost import Ledger
from frugalrec.errors import DataError
from frugalrec.recommenders._ridge import Prior, dense, invert, solve
from frugalrec.recommenders._statistics import Statistics


@pytest.mark.parametrize("kappa", [0.0, 2.0])
@pytest.mark.parametrize("sparse_cross", [False, True])
def test_solution_satisfies_the_ridge_equations(kappa: float, sparse_cross: bool) -> None:
    rng = np.random.default_rng(1)
    n, K, d = 30, 2, 4
    X, E = rng.normal(size=(80, K * n)), rng.normal(size=(n, d)).astype(np.float32)
    gram = X.T @ X
    cross = np.where(rng.random((K * n, n)) < 0.05, rng.random((K * n, n)), 0.0)
    statistics = Statistics(gram, sparse.csr_array(cross) if sparse_cross else cross, 1, 1)
    prior = Prior(ridge=3.0, frequency_ridge=0.2, kappa=kappa, vectors=E)
    W = solve(statistics, prior)
    block = 3.0 * np.linalg.inv(np.eye(n) + kappa * E.astype(np.float64) @ E.T.astype(np.float64))
    penalty = np.kron(np.eye(K), block) + 0.2 * np.diag(np.diag(gram))
    np.testing.assert_allclose((gram + penalty) @ W, cross, atol=1e-6)


def test_inverse_and_its_charge() -> None:
    rng = np.random.default_rng(2)
    A = rng.normal(size=(700, 60)) @ rng.normal(size=(60, 700))
    A = A @ A.T / 700 + np.eye(700)
    ledger = Ledger()
    with ledger.span("invert"):
        P = invert(A.copy())
    np.testing.assert_allclose(P @ A, np.eye(700), atol=1e-8)
    np.testing.assert_array_equal(P, P.T)
    assert ledger.entries[0].cost.flops == 700.0**3


def test_a_system_that_is_not_positive_definite_is_told() -> None:
    bad = Statistics(-np.eye(3), np.eye(3), 1, 1)
    with pytest.raises(DataError, match="not positive definite"):
        solve(bad, Prior(ridge=0.5))


def test_dense_never_shares_memory() -> None:
    table = np.eye(3)
    copy = dense(table, np.float64)
    copy[0, 0] = 7.0
    assert table[0, 0] == 1.0
