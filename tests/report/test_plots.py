from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from report_samples import PLANS, TRAFFIC, costs, decided, dozen, entries_of, trial, values_around

from frugalrec.evaluation import Trial
from frugalrec.planner import Decision
from frugalrec.report import plots

CHANCE = PLANS[0][1]


def parsed(svg: str) -> ET.Element:
    """Read a plot as XML: every number in it must be finite, and every mark inside."""
    assert "nan" not in svg
    assert "inf" not in svg
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    return root


def texts(root: ET.Element) -> list[str]:
    return ["".join(t.itertext()) for t in root.iter("text")]


def marks(root: ET.Element, use: str) -> list[ET.Element]:
    return [e for g in root.iter("g") for e in g if e.get("class") == f"mark {use}"]


@pytest.mark.parametrize("width", [343, 752])
def test_every_plan_has_a_mark_and_a_tooltip(decision: Decision, width: int) -> None:
    root = parsed(plots.scatter(decision, TRAFFIC, width=width))
    titles = [t.text or "" for t in root.iter("title")]
    assert sorted(t.split(" (")[0] for t in titles) == sorted(c.name for c in decision.choices)
    for element in root.iter("circle"):
        assert 0 <= float(element.get("cx", "")) <= width


def test_uses_of_a_language_model_differ_in_shape(decision: Decision) -> None:
    root = parsed(plots.scatter(decision, TRAFFIC))
    assert {e.tag for e in marks(root, "none")} == {"circle"}
    assert {e.tag for e in marks(root, "once")} == {"rect"}
    assert {e.tag for e in marks(root, "each")} == {"polygon"}


def test_the_chosen_plan_is_ringed_and_labelled_and_the_frontier_climbs(decision: Decision) -> None:
    root = parsed(plots.scatter(decision, TRAFFIC))
    assert len([e for e in root.iter("circle") if e.get("class") == "ring"]) == 1
    assert [e.text for e in root.iter("text") if e.get("class") == "label chosen"] == [decision.plan]
    path = max((e.get("d", "") for e in root.iter("path") if e.get("class") == "frontier"), key=len)
    heights = [float(v) for v in re.findall(r"V([\d.]+)", path)]
    assert heights == sorted(heights, reverse=True)
    assert len(heights) == len(decision.frontier) - 1


def test_a_plan_tried_on_fewer_users_is_hollow_and_where_the_planner_ranks_it(decision: Decision) -> None:
    root = parsed(plots.scatter(decision, TRAFFIC))
    (hollow,) = [g for g in root.iter("g") if g.get("class") == "point fewer"]
    title = next(hollow.iter("title")).text or ""
    assert title.startswith("llm-rerank")
    assert "236 users only" in title


def test_the_floor_and_the_budget_are_drawn_where_they_are_in_sight(trials: list[Trial]) -> None:
    decision = decided(trials, floor=0.1, dollars_per_month=10.0)
    shown = texts(parsed(plots.scatter(decision, TRAFFIC, dollars_per_month=10.0)))
    assert "floor .1000" in shown
    assert "budget" in shown
    assert "budget" not in texts(parsed(plots.scatter(decision, TRAFFIC, dollars_per_month=1e9)))


def test_without_prices_the_cost_is_cpu_time(trials: list[Trial]) -> None:
    unpriced = [dataclasses.replace(t, cost=costs(0, 1, 0.001, gpu_seconds=None)) for t in trials]
    root = parsed(plots.scatter(decided(unpriced), TRAFFIC))
    assert "CPU seconds a request, log scale (prices are unknown)" in texts(root)
    assert len(list(root.iter("title"))) == len(trials)


def test_a_plan_of_unknown_cost_is_named_not_drawn_as_free(trials: list[Trial]) -> None:
    some = [dataclasses.replace(trials[5], cost=costs(0, 1, 0.001, cpu_seconds=None)), *trials[1:5]]
    root = parsed(plots.scatter(decided(some), TRAFFIC))
    assert "Not drawn, cost or quality unknown: ease" in texts(root)
    assert "0" not in [t for t in texts(root) if t == "0"][1:]  # the 0 of the quality axis alone


def test_a_cost_of_nothing_has_a_place_of_its_own(trials: list[Trial]) -> None:
    free = dataclasses.replace(trials[0], cost=costs(0, 0, 0))
    root = parsed(plots.scatter(decided([free, *trials[1:4]]), TRAFFIC))
    assert texts(root).count("0") == 2  # one an axis
    everything = parsed(plots.scatter(decided([free]), TRAFFIC))
    assert "chance" in texts(everything)


@pytest.mark.parametrize(
    ("values", "request_seconds"),
    [
        ([0.1, 0.1, 0.1], [1e-3] * 3),
        ([0.0, 0.0, 0.0], [1e-3] * 3),
        ([1.0, 1.0, 1.0], [1e-9, 1.0, 1e9]),
        ([1e-7, 0.5, 1.0], [1e-12, 1e-6, 1e6]),
    ],
)
def test_equal_tiny_and_huge_values(values: list[float], request_seconds: list[float]) -> None:
    tried = [
        trial(f"p{i}", CHANCE, np.full(40, value), costs(0, 0, seconds))
        for i, (value, seconds) in enumerate(zip(values, request_seconds, strict=True))
    ]
    root = parsed(plots.scatter(decided(tried), TRAFFIC))
    for circle in root.iter("circle"):
        assert 0 <= float(circle.get("cx", "")) <= 752
        assert 0 <= float(circle.get("cy", "")) <= 430


def test_forty_plans_in_a_crowd() -> None:
    rng = np.random.default_rng(0)
    tried = [
        trial(f"plan-{i:02d}", CHANCE, values_around(rng.uniform(0.1, 0.12), rng.random(60), i), costs(0, 1, 0.001))
        for i in range(40)
    ]
    decision = decided(tried)
    root = parsed(plots.scatter(decision, TRAFFIC))
    assert len(list(root.iter("title"))) == 40
    assert decision.plan in texts(root)
    parsed(plots.stage_bars(decision, []))
    parsed(plots.slice_dots(decision))


def test_names_are_cut_and_escaped_in_plots(trials: list[Trial]) -> None:
    plan = dataclasses.replace(trials[5].plan, name="</svg><script>" + "x" * 300)
    decision = decided([dataclasses.replace(trials[5], plan=plan)])
    for svg in (plots.scatter(decision, TRAFFIC), plots.stage_bars(decision, []), plots.slice_dots(decision)):
        assert "<script>" not in svg
        assert max(len(t) for t in texts(parsed(svg))) < 100


@pytest.mark.parametrize("width", [343, 1104])
def test_bars_are_true_to_scale_with_their_figures(decision: Decision, width: int) -> None:
    root = parsed(plots.stage_bars(decision, entries_of(dozen()), width=width))
    bars = [e for e in root.iter("rect") if e.get("class") == "bar recommend"]
    lengths = sorted(float(bar.get("width", "")) for bar in bars)
    assert len(bars) == 12
    assert lengths[-1] > 50 * lengths[-2]  # the language model per request
    assert "13 min 50 s" in texts(root)
    assert "search for settings, this run" in texts(root)


def test_without_a_ledger_there_is_no_panel_for_the_search(decision: Decision) -> None:
    assert "search for settings, this run" not in texts(parsed(plots.stage_bars(decision, [])))


def test_an_unknown_stage_makes_an_unknown_total(trials: list[Trial]) -> None:
    unknown = dataclasses.replace(trials[5], cost=costs(1, 1, 0.1) | {"once": costs(0, 0, 0, seconds=None)["once"]})
    assert "unknown" in texts(parsed(plots.stage_bars(decided([unknown]), [])))


def test_a_slice_without_answers_has_no_panel(decision: Decision) -> None:
    assert plots.empty_slices(decision) == ["cold"]
    shown = texts(parsed(plots.slice_dots(decision)))
    assert any(t.startswith("warm items") for t in shown)
    assert not any("cold" in t for t in shown)


@pytest.mark.parametrize("width", [343, 1104])
def test_the_forest_has_a_zero_line_and_every_pair(decision: Decision, width: int) -> None:
    root = parsed(plots.forest(decision.pairs, width=width))
    assert {e.get("class") for e in root.iter("line")} >= {"zero", "grid"}
    assert "llm-rerank against sequential-linear" in texts(root)
    assert texts(root).count("paid") == 3
    assert texts(root).count("did not pay") == 1


def test_a_difference_of_nothing_and_one_that_is_unknown(decision: Decision) -> None:
    pair = decision.pairs[0]
    none = dataclasses.replace(pair, difference=dataclasses.replace(pair.difference, mean=0.0, low=0.0, high=0.0))
    unknown = dataclasses.replace(
        pair, relative=None, difference=dataclasses.replace(pair.difference, mean=None, low=None, high=None)
    )
    shown = texts(parsed(plots.forest([none, unknown])))
    assert "did not pay" in shown
    assert "unknown" in shown
