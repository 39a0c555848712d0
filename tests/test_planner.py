from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec.budgets import Budget
from frugalrec.cost import Cost
from frugalrec.errors import ConfigError, DataError, UnknownNameError
from frugalrec.evaluation import Trial
from frugalrec.flips import PRICE_TIE, Flip, Flips
from frugalrec.floors import Floor, comparable_mean, parse_slices
from frugalrec.forecast import Bill
from frugalrec.plan import Plan, Spec
from frugalrec.planner import Decision, decide
from frugalrec.significance import Estimate, bootstrap_interval, paired_p_value
from frugalrec.worth import Worth

N_USERS = 400
RNG = np.random.default_rng(0)
HARDNESS = RNG.random(N_USERS)
NOISE = RNG.normal(0, 0.1, N_USERS)
NOISE -= NOISE.mean()
ONNX = Spec("onnx")


def trial(
    name: str,
    values: np.ndarray[Any, Any],
    *,
    seconds: float | None = 0.001,
    once: float | None = 1.0,
    mib: float = 1.0,
    p95: float = 0.002,
    validation: float | None = None,
    lm: bool = False,
    without_lm: str = "",
) -> Trial:
    spec = Spec("content", {"encoder": ONNX}) if lm else Spec("popularity")
    return Trial(
        plan=Plan(name, spec, without_lm=without_lm),
        metric="ndcg@10",
        quality={"ndcg@10": bootstrap_interval(values)},
        slices={},
        lists={},
        cost={
            "once": Cost(seconds=once, cpu_seconds=once, gpu_seconds=0.0),
            "refresh": Cost(seconds=1.0, cpu_seconds=1.0, gpu_seconds=0.0),
            "request": Cost(seconds=seconds, cpu_seconds=seconds, gpu_seconds=0.0),
        },
        latency_seconds={"p50": p95 / 2, "p95": p95},
        model_bytes=int(mib * 2**20),
        values=values,
        validation=validation,
    )


def bills(**month: float | None) -> dict[str, Bill]:
    """Return bills by plan; ``_`` stands for ``-`` in a name."""
    return {
        name.replace("_", "-"): Bill("USD", 0.5, 0.1, None if amount is None else amount / 30, amount)
        for name, amount in month.items()
    }


def chosen(trials: list[Trial], money: Mapping[str, Bill], floor: float | str, **budget: Any) -> Decision:
    return decide(trials, money, Floor.parse(floor), Budget(**budget))


GOOD, CLOSE, NOISY, BAD = (
    trial("good", HARDNESS),
    trial("close", HARDNESS * 0.99),
    trial("noisy", HARDNESS * 0.99 + NOISE),
    trial("bad", HARDNESS * 0.5),
)


# The floor


def test_the_cheapest_plan_that_is_good_enough_is_chosen() -> None:
    decision = chosen([GOOD, CLOSE, BAD], bills(good=100.0, close=20.0, bad=1.0), "within 2% of best")
    assert decision.plan == "close"
    assert {c.name: c.verdict for c in decision.choices} == {
        "good": "feasible",
        "close": "chosen",
        "bad": "below the floor",
    }
    assert decision.choice("good").reason == "good enough, but 5.0 × the price of close"
    assert "-50.0% against good" in decision.choice("bad").reason
    assert decision.reason.startswith("close is the cheapest plan that is within 2% of best: ndcg@10 ")
    assert "for USD 20.00 a month. The best, good, reaches" in decision.reason
    assert decision.reason.endswith("(+1.0%) at 5.0 × the price.")
    assert decision.nearest_miss is None


def test_the_best_is_chosen_where_nothing_cheaper_is_as_good() -> None:
    decision = chosen([GOOD, BAD], bills(good=100.0, bad=1.0), "within 2% of best")
    assert decision.plan == "good"
    assert "The best cheaper plan, bad, reaches only" in decision.reason
    alone = chosen([GOOD, BAD], bills(good=1.0, bad=100.0), "within 2% of best")
    assert alone.reason.endswith("No plan is both cheaper and as good.")


def test_a_cheaper_plan_of_which_too_little_is_known_is_not_said_to_be_worse() -> None:
    decision = chosen([GOOD, NOISY, BAD], bills(good=100.0, noisy=5.0, bad=1.0), "within 1.5% of best")
    assert decision.plan == "good"
    gap = f"{-0.01:+.1%} against good (at worst "
    assert f"noisy, reaches {NOISY.score.mean:.4f}, which is not enough to be sure: {gap}" in decision.reason


def test_a_random_order_is_never_chosen_and_beating_it_must_be_shown() -> None:
    luck = replace(trial("chance", HARDNESS), plan=Plan("chance", Spec("chance")))
    decision = chosen([luck, NOISY, BAD], bills(chance=0.1, noisy=5.0, bad=1.0), "within 2% of best")
    assert decision.plan == "noisy"
    assert decision.choice("chance").reason == "a random order is there to be beaten"
    assert decision.choice("chance").verdict == "below the floor"
    assert "chance" not in (*decision.frontier, *decision.pareto)
    (note,) = decision.notes
    assert note.startswith("noisy is not shown to beat a random order (ndcg@10 ")
    worse = replace(trial("chance", HARDNESS * 0.1), plan=Plan("chance", Spec("chance")))
    assert chosen([worse, BAD], bills(chance=0.1, bad=1.0), "within 2% of best").notes == ()
    assert chosen([luck], bills(chance=0.1), "within 2% of best").plan == "chance"


def test_within_a_margin_is_shown_user_by_user() -> None:
    # Both are 1% below the best in the mean; one of them so unevenly that 2% cannot be ruled out.
    money = bills(good=100.0, close=20.0, noisy=1.0)
    decision = chosen([GOOD, CLOSE, NOISY], money, "within 2% of best")
    assert NOISY.score.mean == pytest.approx(CLOSE.score.mean)
    assert decision.plan == "close"
    assert decision.choice("noisy").verdict == "below the floor"
    assert chosen([GOOD, CLOSE, NOISY], money, "within 10% of best").plan == "noisy"
    # The plans' own intervals overlap widely: they could not have told.
    assert BAD.score.high < CLOSE.score.low < GOOD.score.mean < CLOSE.score.high  # type: ignore[operator]


def test_a_number_is_a_floor_for_the_lower_bound() -> None:
    assert GOOD.score.low < 0.52 < GOOD.score.mean  # type: ignore[operator]
    money = bills(good=100.0, close=20.0, bad=1.0)
    decision = chosen([GOOD, CLOSE, BAD], money, 0.52)
    assert decision.plan is None
    assert decision.choice("good").reason == f"lower bound {GOOD.score.low:.4f} against a floor of 0.52"
    assert chosen([GOOD, CLOSE, BAD], money, GOOD.score.low).plan == "good"  # type: ignore[arg-type]
    assert chosen([GOOD, CLOSE, BAD], money, 0.2).plan == "bad"


def test_one_user_is_too_few() -> None:
    one, other = trial("one", np.array([1.0])), trial("other", np.array([0.9]))
    decision = chosen([one, other], bills(one=2.0, other=1.0), "within 50% of best")
    assert decision.plan == "one"
    assert decision.choice("other").reason == "too few users to compare with the best plan"
    assert chosen([one], bills(one=2.0), 0.5).choice("one").reason.startswith("lower bound unknown")


def test_plans_without_any_signal_are_equals() -> None:
    flat, other = trial("flat", np.zeros(50)), trial("other", np.zeros(50))
    decision = chosen([flat, other], bills(flat=1.0, other=2.0), "within 2% of best")
    assert decision.plan == "flat"
    assert "no signal" in decision.choice("flat").reason


def test_no_answered_query_is_no_quality() -> None:
    silent = trial("silent", np.full(N_USERS, np.nan))
    decision = chosen([GOOD, silent], bills(good=2.0, silent=1.0), "within 2% of best")
    assert decision.plan == "good"
    assert decision.choice("silent").reason == "no test query could be answered"


def test_a_plan_tried_on_fewer_users_is_compared_on_those() -> None:
    # On the users it was tried on, which happen to be easy, it is 1% below the best; its mean is far above.
    easy = np.where(HARDNESS > 0.6, HARDNESS * 0.99, np.nan)
    few = trial("few", easy)
    assert few.score.mean > GOOD.score.mean  # type: ignore[operator]
    decision = chosen([few, GOOD, BAD], bills(few=1.0, good=5.0, bad=1.0), "within 2% of best")
    assert decision.plan == "few"
    assert "-1.0% against good" in decision.choice("few").reason
    assert comparable_mean(few, GOOD) == pytest.approx(GOOD.score.mean - 0.01 * np.nanmean(easy) / 0.99)  # type: ignore[operator]
    dear = chosen([few, GOOD], bills(few=50.0, good=5.0), "within 2% of best")
    assert dear.plan == "good"
    assert dear.frontier == ("good",)


def test_users_that_two_plans_do_not_share_compare_nothing() -> None:
    early = np.arange(N_USERS) < 150
    one, other = trial("one", np.where(early, HARDNESS, np.nan)), trial("other", np.where(early, np.nan, HARDNESS))
    decision = chosen([one, other], bills(one=1.0, other=2.0), "within 2% of best")
    assert decision.plan == "other"
    assert decision.choice("one").reason == "too few users to compare with the best plan"
    assert comparable_mean(one, other) == -np.inf
    assert decision.frontier == ("other",)


# Price


def test_an_unknown_price_never_wins_over_a_known_one() -> None:
    trials = [trial("dark", HARDNESS, seconds=1e-9), trial("known", HARDNESS)]
    decision = chosen(trials, bills(dark=None, known=1e6), "within 2% of best")
    assert decision.plan == "known"
    assert decision.choice("dark").verdict == "feasible"
    assert decision.choice("dark").reason == "good enough, but not shown to be cheaper than known"
    assert decision.frontier == ("known",)


def test_where_no_price_is_known_the_fastest_wins_and_the_reason_says_so() -> None:
    trials = [trial("slow", HARDNESS, seconds=0.5), trial("fast", HARDNESS, seconds=0.1)]
    decision = chosen(trials, bills(slow=None, fast=None), "within 2% of best")
    assert decision.plan == "fast"
    assert "at an unknown price" in decision.reason


def test_of_plans_about_as_cheap_the_better_is_chosen() -> None:
    trials = [trial("cheap", HARDNESS * 0.99, seconds=0.1), trial("near", HARDNESS, seconds=0.2)]
    decision = chosen(trials, bills(cheap=100.0, near=110.0), 0.1)
    assert decision.plan == "near"
    assert decision.reason.startswith("near is the best of the equally cheap plan that is at least 0.1")
    assert decision.choice("cheap").reason == "good enough and about as cheap as near, which is better"
    assert decision.runner_up == "cheap"
    beyond = chosen(trials, bills(cheap=100.0, near=110.1), 0.1)
    assert beyond.plan == "cheap"
    # A third plan that is not good enough sets no price for the others.
    bad = [*trials, trial("bad", HARDNESS * 0.1)]
    assert chosen(bad, bills(cheap=100.0, near=110.0, bad=1.0), 0.4).plan == "near"


def test_of_plans_about_as_cheap_and_as_good_the_cheaper_is_chosen() -> None:
    trials = [trial("a", HARDNESS), trial("b", HARDNESS)]
    assert chosen(trials, bills(a=1.05, b=1.0), 0.1).plan == "b"
    assert chosen(trials, bills(a=1.0, b=1.05), 0.1).plan == "a"


def test_the_frontier_is_what_nothing_beats_in_quality_and_price() -> None:
    trials = [
        trial("best", HARDNESS),
        trial("good", HARDNESS * 0.9),
        trial("dominated", HARDNESS * 0.8),
        trial("cheap", HARDNESS * 0.3),
        trial("as-bad", HARDNESS * 0.3),
    ]
    money = bills(best=100.0, good=10.0, dominated=20.0, cheap=1.0, as_bad=2.0)
    assert chosen(trials, money, 0.1).frontier == ("cheap", "good", "best")


# The budget


@pytest.mark.parametrize(
    ("budget", "broken"),
    [
        ({"dollars_per_month": 10.0}, "money a month USD 100.00 is over USD 10.00"),
        ({"seconds_per_request_p95": 0.001}, "p95 of a request 0.0020 s is over 0.0010 s"),
        ({"memory_gib": 0.5}, "memory 1 GiB is over 0.5 GiB"),
        ({"once_seconds": 10.0}, "seconds before the first request 61.0 s is over 10.0 s"),
    ],
)
def test_each_limit_is_kept(budget: dict[str, float], broken: str) -> None:
    large = trial("large", HARDNESS, mib=1024, once=60.0, p95=0.002)
    small = trial("small", HARDNESS * 0.999, mib=1, once=1.0, p95=0.0005)
    decision = chosen([large, small], bills(large=100.0, small=1.0), "within 2% of best", **budget)
    assert decision.plan == "small"
    assert decision.choice("large").verdict == "over budget"
    assert decision.choice("large").reason == broken
    assert decision.choice("large").shortfalls == (broken,)
    within = {key: value * 1000 for key, value in budget.items()}
    assert chosen([large, small], bills(large=0.1, small=1.0), "within 2% of best", **within).plan == "large"


@pytest.mark.parametrize(
    ("month", "words"),
    [(0.0, "USD 0.00"), (0.000123, "USD 0.00012"), (12.3456, "USD 12.35"), (1234567.8, "USD 1,234,567.80")],
)
def test_money_is_told_in_digits_that_say_something(month: float, words: str) -> None:
    decision = chosen([GOOD], bills(good=month), 0.1)
    assert f"for {words} a month" in decision.reason
    if month:
        over = chosen([GOOD], bills(good=month), 0.1, dollars_per_month=month / 2)
        assert f"money a month {words} is over USD" in over.choice("good").reason


def test_a_cheaper_plan_that_is_as_good_is_said_to_be() -> None:
    twin = trial("twin", HARDNESS.copy())
    decision = chosen([GOOD, twin], bills(good=1.0, twin=3.0), "within 2% of best")
    assert decision.plan == "good"
    assert decision.reason.endswith("twin is as good at 3.0 × the price.")


def test_what_is_unknown_cannot_be_shown_to_keep_a_limit() -> None:
    dark = trial("dark", HARDNESS, once=None)
    decision = chosen([dark], bills(dark=None), 0.1, dollars_per_month=10.0, once_seconds=5.0)
    assert decision.plan is None
    assert decision.choice("dark").shortfalls == (
        "money a month is unknown, the limit is USD 10.00",
        "seconds before the first request is unknown, the limit is 5.0 s",
    )


def test_an_infeasible_budget_names_the_nearest_miss() -> None:
    trials = [GOOD, CLOSE, BAD]
    decision = chosen(
        trials,
        bills(good=100.0, close=20.0, bad=15.0),
        "within 2% of best",
        dollars_per_month=10.0,
        seconds_per_request_p95=0.001,
    )
    assert decision.plan is None
    # good and close break two conditions each, bad three; of equals the better is named.
    assert decision.nearest_miss == (
        "dollars_per_month = 10 is less than any plan that was tried takes: the least is USD 15.00, of bad. "
        "seconds_per_request_p95 = 0.001 is less than any plan that was tried takes: the least is 0.0020 s, of good. "
        "good comes nearest (money a month USD 100.00 is over USD 10.00; p95 of a request 0.0020 s is over 0.0010 s)"
    )
    assert decision.reason == f"No plan is within 2% of best within the budget. {decision.nearest_miss}."
    assert decision.frontier
    cheaper = chosen(trials, bills(good=100.0, close=20.0, bad=1.0), 0.52, dollars_per_month=50.0)
    # close and bad lack quality alone, good lacks both: close is the better of those two.
    assert cheaper.nearest_miss is not None
    assert cheaper.nearest_miss.startswith("close comes nearest (quality: lower bound")


def test_without_trials_there_is_nothing_to_decide() -> None:
    with pytest.raises(DataError, match="no trial to decide on") as caught:
        chosen([], {}, 0.1)
    assert caught.value.hint


# Slices


def sliced(name: str, cold: np.ndarray[Any, Any] | None, values: np.ndarray[Any, Any] = HARDNESS) -> Trial:
    """Return a trial whose quality on cold items is ``cold``: None for no test answer among them."""
    known = np.full(N_USERS, np.nan) if cold is None else cold
    return replace(trial(name, values), slices={"cold": bootstrap_interval(known)}, slice_values={"cold": known})


def asked(trials: list[Trial], money: Mapping[str, Bill], **slices: float | str) -> Decision:
    return decide(trials, money, Floor(), Budget(), slices=parse_slices(slices))


def test_a_slice_may_have_a_floor_of_its_own() -> None:
    few = np.where(np.arange(N_USERS) < 100, HARDNESS, np.nan)  # a quarter of the users have a cold answer
    trials = [sliced("blind", few * 0.0), sliced("near", few * 0.95), sliced("reader", few)]
    money = bills(blind=1.0, near=5.0, reader=20.0)
    assert asked(trials, money).plan == "blind"
    fixed = asked(trials, money, cold=0.05)
    assert fixed.plan == "near"
    assert fixed.choice("blind").verdict == "below the floor"
    assert fixed.choice("blind").reason == "cold items: lower bound 0.0000 against a floor of 0.05"
    # User by user, 5% below is shown; the intervals themselves overlap.
    assert asked(trials, money, cold="within 10% of best").plan == "near"
    paired = asked(trials, money, cold="within 2% of best")
    assert paired.plan == "reader"
    assert paired.choice("near").reason.startswith("cold items: -5.0% against reader")
    assert paired.to_dict()["slices"] == ["cold: within 2% of best"]


def test_a_slice_that_nobody_saw_is_not_shown_to_meet_a_floor() -> None:
    decision = asked([sliced("a", None), sliced("b", None)], bills(a=1.0, b=2.0), cold=0.0)
    assert decision.plan is None
    assert "cold items: no test answer is one" in str(decision.nearest_miss)
    unkept = replace(sliced("a", HARDNESS), slice_values={})
    relative = asked([unkept, unkept], bills(a=1.0), cold="within 2% of best")
    assert "the values of single users were not kept" in relative.choice("a").reason


def test_a_floor_for_an_unknown_slice_is_told() -> None:
    with pytest.raises(UnknownNameError, match="unknown slice 'colt'") as caught:
        parse_slices({"colt": 0.1})
    assert caught.value.hint == "did you mean 'cold'?"
    with pytest.raises(ConfigError, match=r"quality.slices.cold must be a number or like 'within 2% of best'"):
        parse_slices({"cold": "good"})


# What else there is


def test_the_runner_up_and_the_cheapest_that_will_not_do() -> None:
    decision = chosen([GOOD, CLOSE, BAD], bills(good=100.0, close=20.0, bad=1.0), "within 2% of best")
    assert (decision.plan, decision.runner_up, decision.cheapest_infeasible) == ("close", "good", "bad")
    told = decision.to_dict()
    assert told["cheapest_infeasible"]["plan"] == "bad"
    assert told["cheapest_infeasible"]["reason"].startswith("below the floor: -50.0%")
    # good is better, so that it wins as soon as close is not cheaper by more than a tie.
    assert decision.flips.price == Flip(pytest.approx(100 / 20 / (1 + PRICE_TIE)), "good")  # type: ignore[arg-type]
    assert decision.flips.looser.plan == "bad"
    assert decision.flips.looser.at == pytest.approx(0.5, abs=0.05)
    assert decision.flips.stricter.plan == "good"
    assert 0.005 < decision.flips.stricter.at < 0.02  # type: ignore[operator]
    alone = chosen([GOOD], bills(good=1.0), "within 2% of best")
    assert (alone.runner_up, alone.cheapest_infeasible, alone.flips) == (None, None, Flips())


def test_the_full_frontier_weighs_latency_and_memory_too() -> None:
    trials = [
        trial("best", HARDNESS, p95=0.01, mib=50),
        trial("small", HARDNESS * 0.9, p95=0.01, mib=1),
        trial("quick", HARDNESS * 0.9, p95=0.001, mib=50),
        trial("nothing", HARDNESS * 0.8, p95=0.01, mib=50),
        trial("twin", HARDNESS, p95=0.01, mib=50),
    ]
    money = bills(best=2.0, small=9.0, quick=9.0, nothing=2.0, twin=2.0)
    decision = chosen(trials, money, 0.1)
    assert decision.frontier == ("best",)
    assert decision.pareto == ("best", "small", "quick", "twin")


# What a language model bought


def with_lm(values: np.ndarray[Any, Any], **options: Any) -> Worth:
    trials = [trial("plain", HARDNESS, validation=0.5), trial("lm", values, lm=True, validation=0.5, **options)]
    worth = chosen(trials, bills(plain=1.0, lm=2.0), 0.1).language_model
    assert worth is not None
    return worth


def test_a_gain_beyond_doubt_is_paid_for() -> None:
    worth = with_lm(HARDNESS * 1.1)
    assert worth.paid
    assert (worth.with_lm, worth.without_lm, worth.kind) == ("lm", "plain", "once")
    assert worth.relative == pytest.approx(0.1)
    assert worth.difference.mean == pytest.approx(0.1 * HARDNESS.mean())
    assert worth.sentence.startswith("The language model paid here: lm against plain gains +0.0")
    assert "(+10.0%), 95% interval +0.0" in worth.sentence
    assert worth.sentence.endswith("400 users.")


def test_a_gain_in_doubt_is_not() -> None:
    worth = with_lm(HARDNESS + NOISE + 0.001)
    assert worth.difference.mean > 0  # type: ignore[operator]
    assert not worth.paid
    assert worth.sentence.startswith(
        "The language model did not pay here: lm against plain is not shown to gain (+0.00"
    )


def test_a_loss_is_said_to_be_one() -> None:
    worth = with_lm(HARDNESS * 0.9)
    assert not worth.paid
    assert worth.sentence.startswith("The language model did not pay here: lm is worse than plain by -0.0")


def test_too_few_users_tell_nothing() -> None:
    values = np.full(N_USERS, np.nan)
    values[0] = 0.7
    worth = with_lm(values)
    assert not worth.paid
    assert worth.sentence == "What the language model bought in lm is unknown: too few users."
    nobody = with_lm(np.full(N_USERS, np.nan))
    assert nobody.difference == Estimate(None, None, None, 0)
    assert nobody.relative is None
    assert "unknown" in nobody.sentence


def test_against_nothing_there_is_no_relative_gain() -> None:
    trials = [trial("plain", np.zeros(N_USERS)), trial("lm", HARDNESS, lm=True)]
    worth = chosen(trials, bills(plain=1.0, lm=2.0), 0.1).language_model
    assert worth is not None
    assert worth.relative is None
    assert "%" not in worth.sentence.replace("95% interval", "")


def test_the_headline_is_about_the_chosen_plan_or_else_what_validation_prefers() -> None:
    trials = [
        trial("chance", HARDNESS * 0.01, validation=None),
        trial("plain", HARDNESS, validation=0.4),
        trial("lucky", HARDNESS * 1.2, lm=True, validation=0.3),
        trial("lm", HARDNESS * 1.1, lm=True, validation=0.5),
    ]
    for cheapest, expected in (("plain", "lm"), ("lucky", "lucky"), ("lm", "lm")):
        money = bills(chance=5.0, plain=5.0, lucky=5.0, lm=5.0) | bills(**{cheapest: 1.0})
        decision = chosen(trials, money, 0.1)
        assert decision.plan == cheapest
        assert decision.language_model is not None
        # Whichever it is, it is compared with the plan without that is hardest to beat.
        assert (decision.language_model.with_lm, decision.language_model.without_lm) == (expected, "plain")


def test_without_validation_the_headline_is_still_about_the_best() -> None:
    trials = [
        trial("chance", HARDNESS * 0.01),
        trial("weak-lm", HARDNESS * 0.2, lm=True),
        trial("plain", HARDNESS),
        trial("lm", HARDNESS * 1.1, lm=True),
    ]
    worth = chosen(trials, bills(chance=9.0, weak_lm=9.0, plain=1.0, lm=9.0), 0.1).language_model
    assert worth is not None
    assert (worth.with_lm, worth.without_lm) == ("lm", "plain")


def test_without_both_kinds_there_is_no_headline() -> None:
    assert chosen([GOOD], bills(good=1.0), 0.1).language_model is None
    assert chosen([trial("lm", HARDNESS, lm=True)], bills(lm=1.0), 0.1).language_model is None


def test_every_plan_with_a_twin_is_compared_with_it() -> None:
    trials = [
        trial("words", HARDNESS),
        trial("lm", HARDNESS * 1.1, lm=True, without_lm="words"),
        trial("orphan", HARDNESS, lm=True, without_lm="not tried"),
        trial("no-lm", HARDNESS, without_lm="words"),
    ]
    pairs = chosen(trials, bills(words=1.0, lm=1.0, orphan=1.0, no_lm=1.0), 0.1).pairs
    assert [(w.with_lm, w.without_lm, w.paid) for w in pairs] == [("lm", "words", True)]


def test_one_pair_is_not_corrected() -> None:
    trials = [trial("words", HARDNESS), trial("lm", HARDNESS * 1.1, lm=True, without_lm="words")]
    (pair,) = chosen(trials, bills(words=1.0, lm=1.0), 0.1).pairs
    assert (pair.p_value, pair.comparisons) == (None, 1)
    assert "corrected" not in pair.sentence


def test_several_pairs_are_held_against_a_corrected_level() -> None:
    slight = HARDNESS + NOISE + 0.0115  # 2.3 standard errors: shown alone, and not as one of four
    alone = [trial("words", HARDNESS), trial("slight", slight, lm=True, without_lm="words")]
    assert [w.paid for w in chosen(alone, bills(words=1.0, slight=1.0), 0.1).pairs] == [True]
    names = ("slight", "as-slight", "also-slight")
    among = [*alone, *(trial(name, slight, lm=True, without_lm="words") for name in names[1:])]
    among.append(trial("clear", HARDNESS * 1.1, lm=True, without_lm="words"))
    money = bills(words=1.0, **{t.name: 1.0 for t in among[1:]})
    pairs = {w.with_lm: w for w in chosen(among, money, 0.1).pairs}
    raw = paired_p_value(slight, HARDNESS)
    assert 0.01 < raw < 0.05
    for name in names:
        assert pairs[name].difference.low > 0  # type: ignore[operator]
        assert pairs[name].p_value == pytest.approx(3 * raw)  # after the clear one, three remain
        assert not pairs[name].paid
        assert f"p = {3 * raw:.3f} corrected for 4 comparisons)" in pairs[name].sentence
        assert "is not shown to gain" in pairs[name].sentence
    assert pairs["clear"].paid


def test_a_loss_among_several_pairs_is_not_called_one_unless_it_is_shown() -> None:
    slight = HARDNESS - NOISE - 0.0115
    names = ("a", "b", "c", "d")
    trials = [trial("words", HARDNESS), *(trial(n, slight, lm=True, without_lm="words") for n in names)]
    for worth in chosen(trials, bills(words=1.0, **dict.fromkeys(names, 1.0)), 0.1).pairs:
        assert worth.difference.high < 0  # type: ignore[operator]
        assert not worth.shown
        assert "is worse than" not in worth.sentence


def test_a_headline_that_is_one_of_the_pairs_says_the_same_as_the_pair() -> None:
    trials = [trial("words", HARDNESS), *(trial(n, HARDNESS * 1.1, lm=True, without_lm="words") for n in ("a", "b"))]
    decision = chosen(trials, bills(words=1.0, a=1.0, b=1.0), 0.1)
    assert decision.language_model in decision.pairs


def reranked(name: str, values: np.ndarray[Any, Any], without_lm: str) -> Trial:
    """Return a trial of a plan that runs a language model on every request."""
    reranker = Spec("likelihood", {"model": Spec("llama-cpp")})
    return replace(trial(name, values), plan=Plan(name, Spec("popularity"), reranker, without_lm=without_lm))


def test_a_language_model_on_every_request_must_beat_its_own_input_order() -> None:
    plain, weak = trial("plain", HARDNESS), trial("weak", HARDNESS * 0.5)
    idle = reranked("idle", HARDNESS + NOISE + 0.001, "plain")
    for trials in ([plain, weak, idle], [idle, plain, weak]):
        decision = chosen(trials, bills(plain=5.0, weak=9.0, idle=1.0), "within 2% of best")
        # Its mean is the highest, which makes it neither eligible nor a measure for the others.
        assert idle.score.mean > plain.score.mean  # type: ignore[operator]
        assert decision.plan == "plain"
        assert decision.choice("idle").verdict == "below the floor"
        assert decision.choice("idle").reason == "its language model is not shown to beat its own input order, plain"
        assert "the best of all plans" in decision.choice("plain").reason
    useful = reranked("useful", HARDNESS * 1.1, "plain")
    decision = chosen([plain, useful], bills(plain=5.0, useful=1.0), "within 2% of best")
    assert decision.plan == "useful"
    assert decision.language_model is not None
    assert decision.language_model.kind == "per request"


def test_alone_with_its_input_order_missing_a_language_model_is_judged_like_any_plan() -> None:
    assert chosen([reranked("lm", HARDNESS, "not tried")], bills(lm=1.0), 0.1).plan == "lm"


# The document


def test_a_decision_is_a_json_document() -> None:
    trials = [trial("plain", HARDNESS), trial("lm", HARDNESS * 1.1, lm=True, without_lm="plain")]
    decision = chosen(trials, bills(plain=1.0, lm=None), "within 2.5% of best")
    document = json.loads(json.dumps(decision.to_dict(), allow_nan=False))
    assert document["plan"] == "lm"
    assert document["floor"] == "within 2.5% of best"
    assert document["frontier"] == ["plain", "lm"]
    worth = document["language_model"]
    assert worth["paid"] is True
    assert worth["interval"][0] <= worth["difference"] <= worth["interval"][1]
    assert (worth["n"], worth["use"], worth["with"], worth["without"]) == (N_USERS, "once", "lm", "plain")
    assert worth["cost"] == {"once": 0.5, "thousand_requests": None, "currency": "USD"}
    assert document["language_model_pairs"] == [worth]


@pytest.mark.parametrize(
    ("text", "value", "margin", "words"),
    [
        (0.17, 0.17, None, "at least 0.17"),
        (1, 1.0, None, "at least 1"),
        ("within 2% of best", None, 0.02, "within 2% of best"),
        ("  Within 2.5 % OF best ", None, 0.025, "within 2.5% of best"),
        ("within 7% of best", None, 0.07, "within 7% of best"),
    ],
)
def test_floors(text: float | str, value: float | None, margin: float | None, words: str) -> None:
    floor = Floor.parse(text)
    assert floor.value == value
    assert floor.margin == (None if margin is None else pytest.approx(margin))
    assert str(floor) == words


@pytest.mark.parametrize("text", ["0.17", "2%", "within -2% of best", "within 2% of the best", True, ""])
def test_what_is_no_floor(text: Any) -> None:
    with pytest.raises(ConfigError, match=r"quality.floor must be a number or like 'within 2% of best'") as caught:
        Floor.parse(text)
    assert "floor = 0.17" in caught.value.hint


# Laws


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Trial], dict[str, Bill], Floor, Budget]:
    trials, money = [], {}
    for i in range(draw(st.integers(1, 6))):
        name = f"p{i}"
        share = draw(st.sampled_from([0.0, 0.5, 0.9, 0.97, 0.99, 1.0, 1.01]))
        values = (HARDNESS * share + draw(st.sampled_from([0.0, 1.0])) * NOISE)[:60]
        trials.append(trial(name, values, mib=draw(st.sampled_from([1, 100])), lm=draw(st.booleans())))
        month = draw(st.sampled_from([None, 0.0, 1.0, 5.0, 100.0]))
        money[name] = Bill("USD", None, None, None, month)
    floor = draw(st.sampled_from([Floor(), Floor(margin=0.0), Floor(value=0.3, margin=None)]))
    budget = draw(st.sampled_from([Budget(), Budget(memory_gib=0.05), Budget(dollars_per_month=3.0)]))
    return trials, money, floor, budget


@settings(deadline=None, max_examples=40)
@given(situations())
def test_what_is_chosen_is_feasible_and_nothing_feasible_is_cheaper(
    situation: tuple[list[Trial], dict[str, Bill], Floor, Budget],
) -> None:
    trials, money, floor, budget = situation
    decision = decide(trials, money, floor, budget)
    by_verdict = {c.name: c.verdict for c in decision.choices}
    assert set(by_verdict) == {t.name for t in trials}
    assert (decision.plan is None) == (decision.nearest_miss is not None)
    assert (decision.plan is None) == ("feasible" not in by_verdict.values() and "chosen" not in by_verdict.values())
    if decision.plan is not None:
        assert [n for n, v in by_verdict.items() if v == "chosen"] == [decision.plan]
        paid = money[decision.plan].month
        for name, verdict in by_verdict.items():
            other = money[name].month
            if verdict == "feasible" and other is not None:
                assert paid is not None
                assert paid <= other * (1 + PRICE_TIE)
    means = {t.name: t.score.mean for t in trials}
    reached = [means[name] for name in decision.frontier]
    assert all(a < b for a, b in itertools.pairwise(reached))  # type: ignore[operator]
    assert max(means.values()) == reached[-1]  # type: ignore[type-var]
    json.dumps(decision.to_dict(), allow_nan=False)
