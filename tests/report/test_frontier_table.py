from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pytest
from report_samples import context, costs, decided, trial, values_around
from rich.console import Console

from frugalrec.evaluation import Trial
from frugalrec.planner import Decision
from frugalrec.report import words
from frugalrec.report.context import Example, Recommended
from frugalrec.report.tables import (
    alternatives_text,
    decision_text,
    frontier_table,
    language_model_text,
    recommendations_text,
)
from frugalrec.significance import bootstrap_interval


def printed(decision: Decision, width: int, **how: object) -> str:
    file = io.StringIO()
    Console(file=file, width=width, **how).print(frontier_table(decision, width))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_every_plan_stands_on_a_line_of_its_own_that_fits(decision: Decision, width: int) -> None:
    lines = printed(decision, width).splitlines()
    assert max(map(len, lines)) <= width
    for choice in decision.choices:
        (line,) = [line for line in lines if re.match(rf"[>* ] {choice.name} ", line)]
        assert choice.verdict.replace("the ", "") in line


def test_best_first_chosen_and_frontier_marked(decision: Decision) -> None:
    rows = [line for line in printed(decision, 120).splitlines() if re.match(r"[>* ] [a-z]", line)][:12]
    assert [line[2:].split()[0] for line in rows][:3] == ["llm-rerank", "sequential-linear-text", "sequential-linear"]
    assert {line[2:].split()[0] for line in rows if line[0] == ">"} == {decision.plan}
    assert {line[2:].split()[0] for line in rows if line[0] in ">*"} == set(decision.frontier)


def test_columns_go_as_the_room_does(decision: Decision) -> None:
    assert [c.header.strip().split("\n")[0] for c in frontier_table(decision, 120).columns] == [
        "plan", "LM use", "NDCG@10", "once", "once", "1,000 req.", "p95", "memory", "verdict",
    ]  # fmt: skip
    narrow = {c.header.strip().split("\n")[0] for c in frontier_table(decision, 80).columns}
    assert {"plan", "LM use", "NDCG@10", "1,000 req.", "verdict"} <= narrow
    assert "memory" not in narrow


def test_a_pipe_gets_neither_colour_nor_lines(decision: Decision) -> None:
    text = printed(decision, 120)
    assert "\x1b" not in text
    assert not set(text) & set("│┃─━┏┓└┘|+")


def test_a_terminal_gets_colour_unless_it_refuses(decision: Decision) -> None:
    assert "\x1b[1;32m" in printed(decision, 120, force_terminal=True, color_system="standard")
    quiet = printed(decision, 120, force_terminal=True, color_system="standard", no_color=True)
    assert "32m" not in quiet


def test_who_was_tried_on_fewer_users_is_said(decision: Decision) -> None:
    assert "llm-rerank: tried on 236 users only" in printed(decision, 120)


def test_names_with_brackets_are_no_markup(trials: list[Trial]) -> None:
    plan = dataclasses.replace(trials[5].plan, name="[red]ease[/red]\x1b[2J")
    text = printed(decided([dataclasses.replace(trials[5], plan=plan)]), 120)
    assert "[red]ease[/red][2J" in text


def test_unknown_costs_are_unknown(trials: list[Trial]) -> None:
    unknown = dataclasses.replace(trials[5], cost=costs(0, 1, 0.1, gpu_seconds=None, seconds=None), latency_seconds={})
    (row,) = [line for line in printed(decided([unknown]), 120).splitlines() if "ease" in line]
    assert row.count("unknown") == 4
    assert " 0 " not in row


def test_the_decision_says_its_reason_and_what_was_not_tried(decision: Decision) -> None:
    noted = dataclasses.replace(decision, notes=("als was not tried: pip install 'frugalrec[als]'",))
    reason, *others, note = decision_text(noted).split("\n")
    told = ["No runner-up", "Chosen instead", "Cheapest plan that will not do"]
    assert [line.split(":")[0] for line in others][:3] == told
    assert reason == decision.reason
    assert note == "als was not tried: pip install 'frugalrec[als]'"


def test_an_infeasible_decision_names_the_nearest_miss(trials: list[Trial]) -> None:
    text = decision_text(decided(trials, floor=0.4))
    assert text.startswith("No plan is at least 0.4 within the budget.")
    assert "comes nearest" in text


def test_what_the_language_model_bought_starts_with_the_main_finding(decision: Decision) -> None:
    main, *others = language_model_text(decision)
    assert main.startswith("The language model paid here: sequential-linear-text against sequential-linear gains")
    assert "a month against" in main
    assert len(others) == 3  # the fourth pair is the main finding
    assert any(line.startswith("The language model did not pay here: llm-rerank") for line in others)


def test_without_a_language_model_that_is_said(trials: list[Trial]) -> None:
    plain = [t for t in trials if t.plan.language_model == "no"]
    assert language_model_text(decided(plain)) == ["No plan that was tried uses a language model."]
    learned = [t for t in trials if t.name == "content"]
    assert "unknown" in language_model_text(decided(learned))[0]


def test_recommendations_are_titles_with_reasons() -> None:
    text = recommendations_text(context().examples)
    assert text.count("\n\n") == 2
    assert text.startswith("user 405, who last chose Heat (1995), 花樣年華 (2000) and Three Colours: Red (1994)\n")
    assert "   1. Lion King, The (1994)\n      because of Toy Story (1995) (32% of the score)" in text


def test_a_user_without_history_and_a_hostile_title() -> None:
    example = Example("new", (), (Recommended("x\x1b[2J" + "y" * 500, 1.0, "popular"),))
    first, second, _ = recommendations_text([example]).split("\n")
    assert first == "new"
    assert len(second) < 70
    assert "\x1b" not in second


def test_a_tie_with_nothing_known_still_makes_a_table() -> None:
    nothing = trial("empty", {"recommender": {"component": "chance"}}, np.full(9, np.nan), costs(0, 0, 0))
    some = trial(
        "some", {"recommender": {"component": "popularity"}}, values_around(0.2, np.arange(9) / 9, 1), costs(0, 0, 0)
    )
    lines = printed(decided([nothing, some]), 100).splitlines()
    assert [line[2:7] for line in lines if line[2:6] in ("some", "empt")] == ["some ", "empty"]


def test_what_could_be_chosen_instead_is_said_with_a_runner_up_and_without_one(trials: list[Trial]) -> None:
    by_name = {t.name: t for t in trials}
    two = decided([by_name["ease"], by_name["als"]], floor=0.01)
    assert alternatives_text(two)[0].startswith(f"Runner-up: {two.runner_up}, ")
    alone = decided([by_name["ease"]], floor=0.01, dollars_per_month=1e4)
    assert alone.plan == "ease"
    none, instead = alternatives_text(alone)
    assert none == "No runner-up: no other plan that was tried is good enough and within the budget."
    price = alone.flips.price.at
    assert price is not None
    assert f"no plan if ease cost {words.factor(price)} times as much" in instead


def test_plans_that_only_p95_or_memory_speak_for_are_told(trials: list[Trial]) -> None:
    ease = next(t for t in trials if t.name == "ease")
    small = dataclasses.replace(
        ease,
        plan=dataclasses.replace(ease.plan, name="small"),
        values=ease.values * 0.9,
        quality={**ease.quality, ease.metric: bootstrap_interval(ease.values * 0.9)},
        model_bytes=ease.model_bytes // 2,
    )
    decision = decided([ease, small], floor=0.01)
    assert decision.frontier == ("ease",)
    assert alternatives_text(decision)[-1] == "On the frontier as well, where p95 and memory count: small."
    worse = decided([ease, dataclasses.replace(small, model_bytes=ease.model_bytes)], floor=0.01)
    assert not any("frontier" in line for line in alternatives_text(worse))
