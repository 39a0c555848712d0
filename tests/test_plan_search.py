from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frugalrec import plan_search
from frugalrec.config import parse_config
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Split
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.learned import Learned, Ready
from frugalrec.narrowing import Looked
from frugalrec.plan import Plan, Spec
from frugalrec.plan_search import JUDGING_SECONDS, Halving
from frugalrec.rungs import Growth, Rung
from frugalrec.testing.data import toy_dataset


def look(name: str, mean: float, **plan: object) -> Looked:
    return Looked(Plan(name, Spec("popularity"), **plan), np.full(2, mean), 1.0, 0.001, 1.0)  # type: ignore[arg-type]


def test_a_twin_without_a_language_model_is_judged_first(tmp_path: Path) -> None:
    looks = [look("chance", 0.01), look("lm", 0.5, without_lm="plain"), look("ease", 0.4), look("plain", 0.2)]
    split = LeaveLastOut().split(toy_dataset(n_users=20, n_items=20))
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    halving = Halving([one.plan for one in looks], split, config, 1.0, "", tmp_path / "search.jsonl", Ledger())
    assert halving.finalists == ["chance", "lm", "ease", "plain"]  # without a rung, as they came
    halving.found = {one.plan.name: one for one in looks}
    assert halving.finalists == ["plain", "lm", "ease", "chance"]


def halving_of(looks: list[Looked], seconds: float, tmp_path: Path) -> Halving:
    split = LeaveLastOut().split(toy_dataset(n_users=20, n_items=20))
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    halving = Halving([one.plan for one in looks], split, config, seconds, "", tmp_path / "search.jsonl", Ledger())
    halving.found = {one.plan.name: one for one in looks}
    return halving


def test_the_next_look_is_on_as_many_users_as_six_fits_have_time_for(tmp_path: Path) -> None:
    # Two plans of which another fit takes a second on an eighth, two on a quarter, and eight on all users.
    ease, words = (
        Looked(Plan(name, spec), np.ones(2), 0.0, 0.0, 1.0, growth=8.0, share=1 / 8, setting_seconds=1.0)
        for name, spec in (("ease", Spec("ease")), ("sequential", Spec("sequential-linear")))
    )
    shares = [1 / 8, 1 / 4, 1 / 2, 1.0]
    names = ["ease", "sequential"]
    # EASE has five values of the one setting that needs a fit: five fits, and no sixth.
    halving = halving_of([ease, words], 1000.0, tmp_path)
    assert halving._next(names, set(names), shares)[:2] == (1.0, 96.0)
    # On all users three will do, 3 · 8 + 3 · 8 seconds: a plan makes more where others leave time.
    for seconds, fits in ((88.9, 6.0), (87.9, 4.0), (48.9, 3.0)):
        assert halving_of([ease, words], seconds, tmp_path)._next(names, set(names), shares)[:2] == (1.0, fits)
    # On a part of them six, in half of the time: 5 · 2 + 6 · 2 seconds on a quarter.
    assert halving_of([ease, words], 45.0, tmp_path)._next(names, set(names), shares)[:2] == (1 / 4, 6.0)
    # No time for six on any share: all users, where what is fitted is judged as it is, at as many as there is time for.
    looks = [replace(one, fit_seconds=1.0) for one in (ease, words)]
    for seconds, fits in ((9.5, 0.0), (15.9, 0.0), (17.0, 1.0)):
        assert halving_of(looks, seconds, tmp_path)._next(names, set(names), shares)[:2] == (1.0, fits)
    # Most of what a setting takes may be the search of those that need no fit: that ends when its time does.
    looks = [replace(one, fit_seconds=0.1) for one in (ease, words)]
    assert halving_of(looks, 9.5, tmp_path)._next(names, set(names), shares)[:2] == (1.0, 1.0)
    assert not halving_of(looks, 9.5, tmp_path)._affords(set(names), set(names), shares)
    assert halving_of(looks, 45.0, tmp_path)._affords(set(names), set(names), shares)


def test_what_others_are_only_built_on_is_fitted_once(tmp_path: Path) -> None:
    spec, took = Spec("sequential-linear"), {"growth": 8.0, "share": 1 / 8, "setting_seconds": 1.0}
    looks = [Looked(Plan(name, spec), np.ones(2), 0.0, 0.0, 1.0, **took) for name in ("member", "whole")]
    halving = halving_of(looks, 1000.0, tmp_path)
    assert halving._fits(["member", "whole"], {"member", "whole"}, 1.0, 8.0 * 2 * 12) == 12.0
    assert halving._fits(["member", "whole"], {"whole"}, 1.0, 8.0 * (1 + 12)) == 12.0
    assert halving._fits(["member", "whole"], {"whole"}, 1.0, 8.0 * (1 + 12) - 0.1) == 8.0


def test_what_a_blend_will_take_is_known_from_its_members(tmp_path: Path) -> None:
    members = tuple(Spec("plan", {"name": name}) for name in ("a", "b"))
    blend = Looked(
        Plan("blend", Spec("hybrid", {"members": members})), np.ones(2), 1.0, 0.5, 1.0, 4.0, query_growth=2.0
    )
    a, b = (Looked(Plan(name, Spec("ease")), np.ones(2), 10.0, each, 1.0) for name, each in (("a", 0.0), ("b", 0.25)))
    halving = halving_of([a, b, blend], 1000.0, tmp_path)
    queries = len(halving.split.test)
    assert halving.whole(blend) == pytest.approx(20.0 + queries * (1.0 + JUDGING_SECONDS))
    assert halving.whole(a) == pytest.approx(10.0 + queries * JUDGING_SECONDS)
    # Its members' scores were kept while it was looked at: judging it needs all of them.
    slow = replace(b, query_seconds=3.0, fit_seconds=30.0)
    assert halving.whole(blend, {"a": a, "b": slow}) == pytest.approx(40.0 + queries * (3.0 + JUDGING_SECONDS))
    assert halving.whole(blend, fitted=True) == pytest.approx(queries * (1.0 + JUDGING_SECONDS))


class Recording(Halving):
    """Looks at nothing: keeps what each plan may take, and finds that fitting ``member`` takes 30 s."""

    def _look(
        self, plan: Plan, rung: Rung, step: int, fits: float, seconds: float, seen: Mapping[str, Looked]
    ) -> Looked:
        self.asked = {**getattr(self, "asked", {}), plan.name: (fits, seconds)}
        return replace(self.found[plan.name], fit_seconds=30.0 if plan.name == "member" else 1.0)


def test_what_others_leave_on_all_users_is_for_more_fits_but_for_what_the_best_plan_now_needs(tmp_path: Path) -> None:
    on_member = Spec("hybrid", {"members": (Spec("plan", {"name": "member"}),)})
    kinds = {"member": (Spec("sequential-linear"), 0.3), "other": (Spec("ease"), 0.2), "blend": (on_member, 0.5)}
    looks = {
        name: Looked(Plan(name, spec), np.full(2, mean), 1.0, 0.0, 1.0, setting_seconds=2.0)
        for name, (spec, mean) in kinds.items()
    }
    split = LeaveLastOut().split(toy_dataset(n_users=20, n_items=20))
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    for share, expected in ((0.5, 3.0), (1.0, 6.0)):
        plans = [one.plan for one in looks.values()]
        halving = Recording(plans, split, config, 60.0, "", tmp_path / "search.jsonl", Ledger())
        halving.found, halving.judged = dict(looks), frozenset(looks)
        halving._climb(Rung(split, share, lambda plan, rung: Growth()), 1, 3.0, 18.0)
        assert halving.asked["member"][0] == expected
        # 60 s, but for 2 of the blend's look, and the blend with its member as it is now: not more than twice 3 · 2 s.
        # On all users the best comes as early as it may, and what it leaves of 18 s is for others.
        assert list(halving.asked) == (["member", "other", "blend"] if share < 1 else ["member", "blend", "other"])
        assert halving.asked["other"][1] == pytest.approx(12.0 if share < 1 else 18.0)
    # With less, a part of the users leaves the blend still to be fitted to all; all users leave it fitted.
    for share, expected in ((0.5, 37.0 - 30.0 - 2.0), (1.0, 18.0)):
        halving = Recording(plans, split, config, 37.0, "", tmp_path / "search.jsonl", Ledger())
        halving.found, halving.judged = dict(looks), frozenset(looks)
        halving._climb(Rung(split, share, lambda plan, rung: Growth()), 1, 3.0, 18.0)
        fits, seconds = halving.asked["other"]
        assert seconds == pytest.approx(expected, abs=0.5)
        assert fits == pytest.approx(min(seconds / 2.0, 3.0 if share < 1 else 6.0), abs=0.3)


def test_what_there_is_no_time_for_at_last_is_left_out_once_the_best_was_seen(tmp_path: Path) -> None:
    looks = [
        Looked(Plan(name, Spec("ease")), np.full(2, mean), fit, 0.0, 1.0, setting_seconds=1.0)
        for name, mean, fit in (("dear", 0.3, 100.0), ("best", 0.5, 1.0), ("last", 0.2, 1.0))
    ]
    split = LeaveLastOut().split(toy_dataset(n_users=20, n_items=20))
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    for seconds, asked in ((60.0, ["best", "last"]), (0.5, [])):
        halving = Recording([one.plan for one in looks], split, config, seconds, "", tmp_path / "s.jsonl", Ledger())
        halving.found, halving.judged = {one.plan.name: one for one in looks}, frozenset({"dear", "best", "last"})
        seen = halving._climb(Rung(split, 1.0, lambda plan, rung: Growth()), 1, 3.0, 18.0)
        assert list(seen or {}) == asked
        assert (seen is None) == (not asked)
        told = {d.plan: d.reason for d in halving.dropped}
        assert told == ({"dear": "not looked at on all users: the search budget was over"} if asked else {})


def test_a_search_whose_best_plan_cannot_be_afforded_ends_with_the_best_that_can(tmp_path: Path) -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=450, n_items=24))
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    # What follows what tells most in this log; here a fit to everything takes a million times that on a few users.
    kinds = {"sequential": "sequential-linear", "item-knn": "item-knn", "popularity": "popularity"}
    plans = [Plan(name, Spec(kind)) for name, kind in kinds.items()]

    def weighs(dear: bool) -> Callable[[Plan, Split | None], float]:
        return lambda plan, part: 1e6 if dear and part is None and plan.name == "sequential" else 1.0

    found = {}
    for dear in (False, True):
        path = tmp_path / f"{dear}.jsonl"
        halving = Halving(plans, split, config, 60.0, "", path, Ledger(), weighs=weighs(dear))
        halving.run()
        found[dear] = halving.finalists, {d.plan: d.reason for d in halving.dropped}
    assert found[False][0][0] == "sequential"
    assert found[True][0][0] == "item-knn"  # it was looked at although the best before it would take all there is
    assert re.match(
        r"dropped at \d+ users: fitting and judging it is expected to take .* s of CPU, and .* s are left",
        found[True][1]["sequential"],
    )


def test_a_search_that_is_done_is_gone_through_again_as_it_was(tmp_path: Path) -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=450, n_items=24))
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    plans = [Plan("item-knn", Spec("item-knn")), Plan("sequential", Spec("sequential-linear"))]
    path, searches = tmp_path / "search.jsonl", []
    for _ in range(2):
        searches.append(Halving(plans, split, config, 60.0, "", path, Ledger()))
        searches[-1].run()
        searches[-1].looks.note("judged", 1e3)  # whatever came after: it was not spent yet when plans were looked at
    first, again = searches
    assert again.finalists == first.finalists
    assert first.finalists[0] == "sequential"
    assert again.found["sequential"].plan == first.found["sequential"].plan
    assert again.left > 0
    assert not again.looks.taken("fitted")
    assert again.looks.taken("judged")
    assert again.left < 0


def test_what_an_affordable_plan_is_built_on_stays_and_so_does_the_cheapest_of_all(tmp_path: Path) -> None:
    spec = Spec("hybrid", {"members": (Spec("plan", {"name": "member"}),)})
    took = {"member": (30.0, Spec("ease")), "blend": (0.0, spec), "dear": (80.0, Spec("ease"))}
    looks = [Looked(Plan(n, one), np.ones(2), seconds, 1e-3, 1.0) for n, (seconds, one) in took.items()]
    rung = Rung(LeaveLastOut().split(toy_dataset(n_users=20, n_items=20)), 1 / 8, lambda plan, rung: Growth())
    halving = halving_of(looks, 60.0, tmp_path)
    halving._afford(rung)
    assert list(halving.found) == ["member", "blend"]
    halving = halving_of(looks, 20.0, tmp_path)
    halving._afford(rung)
    assert list(halving.found) == ["member"]


def test_time_is_kept_back_for_the_best_unless_it_needs_more_than_half_of_the_budget(tmp_path: Path) -> None:
    rung = Rung(LeaveLastOut().split(toy_dataset(n_users=20, n_items=20)), 1 / 8, lambda plan, rung: Growth())
    cheap = replace(look("cheap", 0.4), fit_seconds=1.0)
    for best_seconds, look_seconds, over in ((40.0, 50.0, False), (40.0, 70.0, True), (70.0, 70.0, False)):
        looks = [replace(look("best", 0.5), fit_seconds=best_seconds), cheap, look("next", 0.0)]
        halving = halving_of(looks, 100.0, tmp_path)
        halving.weighs = lambda plan, split, seconds=look_seconds: seconds
        assert halving._out_of_time("next", rung, {one.plan.name: one for one in looks[:2]}) == over


def test_the_models_of_what_is_to_be_judged_wait_for_it(tmp_path: Path) -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=450, n_items=24))
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    on = Spec("hybrid", {"members": (Spec("plan", {"name": "sequential"}), Spec("plan", {"name": "item-knn"}))})
    kinds = {"chance": "chance", "item-knn": "item-knn", "als": "popularity", "sequential": "sequential-linear"}
    plans = [*(Plan(name, Spec(kind)) for name, kind in kinds.items()), Plan("both", on)]
    searches = []
    for _ in range(2):
        searches.append(Halving(plans, split, config, 60.0, "", tmp_path / "search.jsonl", Ledger()))
        searches[-1].run()
    first, again = searches
    assert first.ready.keys() == set(first.finalists)
    assert {"chance", "sequential"} <= first.ready.keys()
    assert first.found["chance"].share == 1.0
    for name, model in first.ready.items():
        assert model.fits(first.found[name].plan)
        afresh = first.found[name].plan.build().fit(split.train)
        handed = first.found[name].plan.build().fit(split.train, ready=model)
        np.testing.assert_array_equal(handed.score(split.test.queries), afresh.score(split.test.queries))
    # A later run has none of them, and counts their fits as spent.
    assert not first.lost
    assert not again.ready
    assert again.lost >= first.ready.keys()
    for name in first.finalists:
        assert again.whole(again.found[name]) == first.whole(first.found[name])
    best = first.found["sequential"]
    asked = (best.query_seconds + JUDGING_SECONDS) * len(split.test)
    assert first.whole(best) == pytest.approx(asked)
    first.ready.clear()
    assert first.whole(best) == pytest.approx(best.fit_seconds + asked)
    left = again.left
    again.looks.note("judged", 5.0, fitted_again=best.fit_seconds + 3.0)
    assert again.left == pytest.approx(left + best.fit_seconds + 3.0, abs=0.5)
    kept = (tmp_path / "search.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert f'"cpu_seconds": {2.0 - best.fit_seconds}' in kept


def test_models_wait_only_while_they_take_a_quarter_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = np.zeros(30, dtype=np.int8)
    own = {name: np.zeros(size, dtype=np.int8) for name, size in {"a": 10, "b": 50, "c": 20, "d": 30}.items()}
    means = {"a": 0.2, "b": 0.5, "c": 0.4, "d": 0.3}
    looks = {name: look(name, mean) for name, mean in means.items()}
    spec, cost = Spec("ease"), Cost.zero()
    # From the best to the last: 50, 20, 30 beside 30 that it shares with the last, and 10.
    for free, kept in (
        (None, "abcd"),
        (420.0, "abcd"),
        (419.0, "bcd"),
        (380.0, "bcd"),
        (379.0, "abc"),
        (250.0, "bc"),
        (60.0, "b"),
        (59.0, "c"),
        (0.0, "c"),
    ):
        monkeypatch.setattr(plan_search, "available_memory_bytes", lambda free=free: free)
        halving = halving_of(list(looks.values()), 100.0, tmp_path)
        for name, values in own.items():
            parts = {"x_": values, **({"y_": shared} if name in "ad" else {})}
            halving.ready[name] = Ready(spec, Learned(parts, {}), cost)
        halving._hold(looks)
        assert "".join(sorted(halving.ready)) == "".join(sorted(kept)), free
