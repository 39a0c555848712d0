from __future__ import annotations

from collections.abc import Set

import numpy as np
import pytest

from frugalrec.floors import Floor
from frugalrec.narrowing import Looked, Narrowed, narrowed
from frugalrec.plan import Plan, Spec

USERS = 400
RNG = np.random.default_rng(0)
EASY = RNG.random(USERS)


def look(name: str, mean: float, noise: float = 0.02, n: int = USERS, **plan: object) -> Looked:
    values = EASY * mean + RNG.normal(0, noise, USERS)
    values += mean / 2 - values.mean()
    values[n:] = np.nan
    return Looked(Plan(name, Spec("popularity"), **plan), values, 1.0, 0.001, 1.0)  # type: ignore[arg-type]


def narrow(looks: list[Looked], floor: Floor | None = None, **options: object) -> Narrowed:
    found = {one.plan.name: one for one in looks}
    plans = {name: one.plan for name, one in found.items()}
    compute = {name: float(i) for i, name in enumerate(found)}  # cheapest first
    given: dict[str, object] = {"keep": 2, "judges": USERS, **options}
    return narrowed(found, plans, floor or Floor(), compute, **given)  # type: ignore[arg-type]


def test_the_best_by_upper_bound_go_on() -> None:
    left = narrow([look("dear", 0.1), look("a", 0.5), look("b", 0.49), look("c", 0.3)])
    assert left.order == ("a", "b")
    assert {d.plan for d in left.dropped} == {"dear", "c"}
    assert next(d.reason for d in left.dropped if d.plan == "c").startswith("dropped at 400 users: at best 0.15")
    assert next(d.reason for d in left.dropped if d.plan == "c").endswith(
        "against 0.2500 of a, and it is not among the best 2 by that bound"
    )


def test_who_was_asked_little_is_not_dropped_for_it() -> None:
    few = look("few", 0.45, noise=0.3, n=5)  # its mean is lower, and its interval wide
    assert "few" in narrow([look("a", 0.5), look("b", 0.49), look("c", 0.48), few]).order


def test_a_cheaper_plan_stays_while_it_may_be_good_enough() -> None:
    plans = [look("cheap", 0.494), look("a", 0.5), look("b", 0.4999), look("c", 0.4998)]
    assert "cheap" in narrow(plans).order
    assert "cheap" not in narrow([look("cheap", 0.4), *plans[1:]]).order
    # Not on the frontier: there is one as good for less.
    assert "cheap" not in narrow([look("cheaper", 0.495), *plans[1:], plans[0]], keep=1).order


def test_the_last_rung_leaves_only_what_may_be_chosen() -> None:
    plans = [look("a", 0.5), look("b", 0.3)]
    assert narrow(plans).order == ("a", "b")
    assert narrow(plans, strict=True).order == ("a",)
    (dropped,) = narrow(plans, strict=True).dropped
    assert dropped.reason.endswith("of a, by which 400 test users would not show that it is within 2% of best")
    number = Floor(value=0.24, margin=None)
    assert narrow(plans, number, strict=True).order == ("a",)
    assert narrow(plans, Floor(value=0.1, margin=None), strict=True).order == ("b", "a")[::-1]


def test_baselines_twins_and_what_plans_are_built_on_stay() -> None:
    lm = look("lm", 0.5, without_lm="plain")
    built = look("built", 0.49)
    on = Plan("built", Spec("hybrid", {"members": (Spec("plan", {"name": "part"}), Spec("plan", {"name": "lm"}))}))
    built = Looked(on, built.values, 1.0, 0.001, 1.0)
    left = narrow([look("chance", 0.01), look("part", 0.2), look("plain", 0.3), look("other", 0.3), lm, built])
    assert set(left.order) == {"chance", "part", "plain", "lm", "built"}
    assert left.judged == {"chance", "plain", "lm", "built"}  # part only because built is built on it
    (member,) = left.members
    assert member.plan == "part"
    assert member.reason.startswith("kept only for built, which is built on it, at 400 users: at best 0.1")


def test_fewer_go_on_where_there_is_no_time_for_more() -> None:
    looks = [look("a", 0.5), look("b", 0.45), look("c", 0.4)]
    asked: list[set[str]] = []

    def affords(names: Set[str], judged: Set[str]) -> bool:
        asked.append(set(names))
        return len(names) < 2

    left = narrow(looks, keep=3, affords=affords)
    assert left.order == ("a",)
    assert all(d.reason.endswith("the best 1 by that bound, for which there was time") for d in left.dropped)
    assert [len(names) for names in asked] == [3, 2, 1]
    assert narrow(looks, keep=3, affords=lambda names, judged: False).order == (
        "a",
    )  # the best goes on whatever it takes


def test_what_a_setting_takes_on_more_users_goes_by_a_power_law() -> None:
    one = Looked(Plan("a", Spec("ease")), np.zeros(1), 1.0, 0.0, 1.0, growth=64.0, share=1 / 8, setting_seconds=3.0)
    assert [one.setting_seconds_at(share) for share in (1 / 8, 1 / 4, 1.0)] == pytest.approx([3.0, 12.0, 192.0])
