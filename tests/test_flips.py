from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec.flips import PRICE_TIE, Flip, Flips, Option, cheapest, flips
from frugalrec.forecast import DAYS_A_MONTH, Bill, Traffic

TRAFFIC = Traffic(requests_per_day=1000.0, refreshes_per_day=1.0)


def bill(refresh: float, request: float, requests: float = TRAFFIC.requests_per_day) -> Bill:
    month = (refresh + request * requests) * DAYS_A_MONTH
    return Bill("USD", 0.0, refresh, request * 1000, month)


def option(name: str, refresh: float, request: float, mean: float, turning: float | None = 0.0) -> Option:
    return Option(name, bill(refresh, request), 0.001, mean, turning is not None and turning <= 0.02, turning)


def found(options: list[Option], cap: float | None = None) -> Flips:
    good = [o for o in options if o.good and (cap is None or o.bill.month <= cap)]  # type: ignore[operator]
    chosen = cheapest(good)
    assert chosen is not None
    return flips(options, chosen, TRAFFIC, cap, floor=0.02, margin=True)


LIGHT = option("light", refresh=1.0, request=0.010, mean=0.5)  # 11 a day
HEAVY = option("heavy", refresh=15.0, request=0.001, mean=0.4)  # 16 a day
"""LIGHT is cheaper where little is asked, and better: HEAVY must be cheaper by more than a tie."""


def test_traffic_flips_where_prices_cross_by_more_than_a_tie() -> None:
    answer = found([LIGHT, HEAVY])
    # 1 + 0.010 t = 1.1 (15 + 0.001 t)
    assert answer.more_requests == Flip(pytest.approx(15.5 / 0.0089), "heavy")  # type: ignore[arg-type]
    assert answer.fewer_requests == Flip()
    # light × f = 1.1 × heavy
    assert answer.price == Flip(pytest.approx(1.1 * 16 / 11), "heavy")  # type: ignore[arg-type]


def test_a_cap_ends_what_traffic_allows() -> None:
    answer = found([LIGHT], cap=12 * DAYS_A_MONTH)
    assert answer.more_requests == Flip(pytest.approx(1100.0), None)  # type: ignore[arg-type]
    assert answer.price == Flip(pytest.approx(12 / 11), None)  # type: ignore[arg-type]


def test_the_floor_flips_where_a_plan_just_meets_it() -> None:
    poor = option("poor", 0.1, 0.0001, mean=0.2, turning=0.07)
    hopeless = option("hopeless", 0.01, 0.00001, mean=0.1, turning=None)
    nearly = replace(LIGHT, turning=0.012)
    answer = found([nearly, HEAVY, poor, hopeless])
    assert answer.looser == Flip(0.07, "poor")
    assert answer.stricter == Flip(0.012, "heavy")
    worthless = option("worthless", 0.01, 0.00001, mean=0.0, turning=2.05)
    assert flips([LIGHT, worthless], LIGHT, TRAFFIC, None, floor=0.02, margin=True).looser == Flip()
    number = [replace(LIGHT, turning=0.5), replace(HEAVY, turning=0.6), replace(poor, turning=0.2)]
    answer = flips(number, number[0], TRAFFIC, None, floor=0.4, margin=False)
    assert answer.stricter == Flip(0.5, "heavy")
    assert answer.looser == Flip(0.2, "poor")


def test_what_is_unknown_flips_nothing() -> None:
    dark = Option("dark", Bill("USD", None, None, None, None), 0.1, 0.5, turning=0.0)
    assert flips([dark], dark, TRAFFIC, None, floor=0.02, margin=True) == Flips(stricter=Flip())
    assert flips([LIGHT, HEAVY], LIGHT, None, None, floor=0.02, margin=True).more_requests == Flip()
    assert cheapest([]) is None


@st.composite
def candidates(draw: st.DrawFn) -> list[Option]:
    amount: Any = st.floats(0.001, 100.0)
    return [
        option(f"p{i}", draw(amount), draw(amount) / 1000, draw(st.floats(0.0, 1.0)))
        for i in range(draw(st.integers(1, 6)))
    ]


@settings(deadline=None, max_examples=60)
@given(candidates(), st.floats(0.0001, 10_000.0))
def test_the_choice_is_the_same_until_the_next_threshold_and_another_just_beyond(
    options: list[Option], factor: float
) -> None:
    """Choosing again at any other traffic or price agrees with the thresholds that were told."""
    chosen = cheapest(options)
    assert chosen is not None
    answer = flips(options, chosen, TRAFFIC, None, floor=0.02, margin=True)

    def at(requests: float) -> str:
        moved = [
            replace(o, bill=bill(o.bill.refresh, o.bill.thousand_requests / 1000, requests))  # type: ignore[arg-type, operator]
            for o in options
        ]
        return cheapest(moved).name  # type: ignore[union-attr]

    requests = TRAFFIC.requests_per_day * factor
    flip = answer.more_requests if factor > 1 else answer.fewer_requests
    if flip.at is None or (requests < flip.at * 0.999 if factor > 1 else requests > flip.at * 1.001):
        assert at(requests) == chosen.name
    if flip.at is not None:
        assert at(flip.at * (1 + 2e-9 if factor > 1 else 1 - 2e-9)) == flip.plan
    if answer.price.at is not None:
        month = chosen.bill.month
        dearer = [
            replace(o, bill=replace(o.bill, month=month * answer.price.at * (1 + 2e-9))) if o is chosen else o  # type: ignore[operator]
            for o in options
        ]
        assert cheapest(dearer).name == answer.price.plan != chosen.name  # type: ignore[union-attr]


def test_a_tie_is_measured_from_the_cheapest() -> None:
    assert PRICE_TIE == 0.10
    a, b, c = (
        option(name, refresh, 0.0, mean) for name, refresh, mean in (("a", 1, 0.1), ("b", 1.09, 0.2), ("c", 1.18, 0.3))
    )
    # c is within a tie of b, and not of a, the cheapest.
    assert cheapest([a, b, c]) is b
