from __future__ import annotations

import pytest

from frugalrec.config import parse_config
from frugalrec.data.samples import sampled
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.expectations import estimator_for
from frugalrec.plan import Plan, Spec
from frugalrec.plan_weights import LEAST_WEIGHT, Weights
from frugalrec.prices import PriceSheet
from frugalrec.recommenders import fusion
from frugalrec.testing.data import toy_dataset


def test_plans_weigh_by_their_flops_where_no_profile_tells() -> None:
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    split, prices = LeaveLastOut().split(toy_dataset(n_users=400, n_items=60)), PriceSheet.load()
    few = sampled(split, 1 / 8, max_queries=100, seed=0)
    weights = Weights(config, estimator_for(config, split, prices, None), prices, None)
    neighbours, alone = Plan("neighbours", Spec("state-knn")), Plan("ease", Spec("ease"))
    fits = {n: (weights.fit(plan, None), weights.fit(plan, few)) for n, plan in (("n", neighbours), ("e", alone))}
    for whole, part in fits.values():
        assert whole is not None
        assert part is not None
        assert whole >= part >= LEAST_WEIGHT
    # A request to neighbours looks at all states, that to EASE at its own history alone.
    grown = {}
    for plan in (neighbours, alone):
        whole, part = weights.request(plan, None), weights.request(plan, few)
        assert whole
        assert part
        grown[plan.name] = whole / part
    assert grown["neighbours"] > grown["ease"] >= 1.0


class Untold(fusion.Fusion):
    """A component of somebody's own, without a formula."""

    expected = None  # type: ignore[assignment]


def test_what_has_no_formula_has_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    split, prices = LeaveLastOut().split(toy_dataset(n_users=20, n_items=20)), PriceSheet.load()
    weights = Weights(config, estimator_for(config, split, prices, None), prices, None)
    plan = Plan("both", Spec("fusion", {"members": (Spec("ease"), Spec("popularity"))}))
    assert weights.fit(plan, None) is not None
    monkeypatch.setattr(fusion, "Fusion", Untold)
    assert weights.fit(plan, None) is None
    assert weights.request(plan, None) is None
