from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.cost import Cost
from frugalrec.errors import PriceError
from frugalrec.evaluation import Trial
from frugalrec.forecast import DAYS_A_MONTH, Bill, Traffic, bill, crossing, monthly
from frugalrec.plan import Plan, Spec
from frugalrec.prices import PriceSheet
from frugalrec.significance import bootstrap_interval

PRICES = PriceSheet("USD", "2 cores", machine_hour=7.2, cores=2, memory_gib=8, source="a bill", date="2025-01-01")
"""A core second costs 0.001."""


def work(cpu_seconds: float | None, gpu_seconds: float = 0.0) -> Cost:
    return Cost(seconds=cpu_seconds, cpu_seconds=cpu_seconds, gpu_seconds=gpu_seconds, flops=1.0, peak_bytes=5.0)


def trial(once: Cost, refresh: Cost, request: Cost) -> Trial:
    values = np.array([0.1, 0.2])
    return Trial(
        plan=Plan("p", Spec("popularity")),
        metric="ndcg@10",
        quality={"ndcg@10": bootstrap_interval(values)},
        slices={},
        lists={},
        cost={"once": once, "refresh": refresh, "request": request},
        latency_seconds={"p50": 0.001, "p95": 0.002},
        model_bytes=100,
        values=values,
    )


def test_a_month_is_all_requests_and_all_refreshes() -> None:
    total = monthly({"request": work(0.5), "refresh": work(100.0), "once": work(1e9)}, Traffic(1000, 2))
    assert total.cpu_seconds == pytest.approx((0.5 * 1000 + 100 * 2) * DAYS_A_MONTH)
    assert total.flops == pytest.approx(1002 * DAYS_A_MONTH)
    assert total.peak_bytes == 5.0
    assert 30 < DAYS_A_MONTH < 31


def test_a_bill_by_hand() -> None:
    found = bill(trial(work(20.0), work(100.0), work(0.5)), Traffic(1000, 2), PRICES)
    assert found.once == pytest.approx(0.02)
    assert found.refresh == pytest.approx(0.1)
    assert found.thousand_requests == pytest.approx(0.5)
    assert found.month == pytest.approx((0.5 + 2 * 0.1) * DAYS_A_MONTH)
    assert found.to_dict() == {
        "currency": "USD",
        "once": found.once,
        "refresh": found.refresh,
        "thousand_requests": found.thousand_requests,
        "month": found.month,
    }


def test_what_is_unknown_has_no_price() -> None:
    found = bill(trial(work(1.0), work(None), work(0.5)), Traffic(), PRICES)
    assert found.refresh is None
    assert found.month is None
    assert found.once == pytest.approx(0.001)
    assert found.thousand_requests == pytest.approx(0.5)


def test_gpu_time_needs_a_price() -> None:
    with pytest.raises(PriceError, match="gpu_hour"):
        bill(trial(work(1.0, gpu_seconds=1.0), work(1.0), work(0.5)), Traffic(), PRICES)


def of(refresh: float | None, thousand: float | None) -> Bill:
    return Bill("USD", 0.0, refresh, thousand, None)


def test_crossing_by_hand() -> None:
    # a: 1 a refresh, 2 a thousand requests; b: 5 a refresh, 1 a thousand. With 3 refreshes a day b is 12 dearer at rest
    # and saves 1 every thousand requests: the same at 12,000 a day.
    a, b = of(1.0, 2.0), of(5.0, 1.0)
    assert crossing(a, b, Traffic(refreshes_per_day=3)) == pytest.approx(12_000)
    assert crossing(b, a, Traffic(refreshes_per_day=3)) == pytest.approx(12_000)


def test_some_bills_never_cross() -> None:
    assert crossing(of(1.0, 1.0), of(2.0, 2.0), Traffic()) is None  # dearer in everything
    assert crossing(of(1.0, 2.0), of(5.0, 2.0), Traffic()) is None  # the same a request
    assert crossing(of(1.0, 2.0), of(1.0, 1.0), Traffic()) is None  # only at no requests at all
    assert crossing(of(1.0, 2.0), of(5.0, 1.0), Traffic(refreshes_per_day=0)) is None
    for unknown in (of(None, 1.0), of(1.0, None)):
        assert crossing(unknown, of(5.0, 2.0), Traffic()) is None
        assert crossing(of(5.0, 2.0), unknown, Traffic()) is None


amounts = st.floats(0.001, 1000)


@given(amounts, amounts, amounts, amounts, st.floats(0.1, 50))
def test_at_the_crossing_both_cost_the_same(
    refresh_a: float, request_a: float, refresh_b: float, request_b: float, refreshes: float
) -> None:
    traffic = Traffic(refreshes_per_day=refreshes)
    at = crossing(of(refresh_a, request_a), of(refresh_b, request_b), traffic)
    if at is not None:
        a, b = refresh_a * refreshes + request_a * at / 1000, refresh_b * refreshes + request_b * at / 1000
        assert a == pytest.approx(b, rel=1e-6)
