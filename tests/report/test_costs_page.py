"""Pages about what runs spent: every stage and plan has a bar, as long as what it took."""

from __future__ import annotations

import re
from pathlib import Path

from frugalrec.cost import Ledger, charge
from frugalrec.prices import PriceSheet
from frugalrec.report.costs_page import bars, render, render_changes, render_top
from frugalrec.run_costs import Change, Run, by, changes, stage_of

PRICES = PriceSheet.load()


def run_of(folder: Path) -> Run:
    ledger = Ledger(folder / "ledger.jsonl")
    for plan in ("ease", "content <b>"):
        for stage in ("encode", "fit"):
            with ledger.span(stage, plan=plan):
                charge(cpu_seconds=1.0 if stage == "fit" else 3.0)
        with ledger.span("recommend", plan=plan, phase="request", units=10):
            charge(cpu_seconds=0.01)
    return Run.read(folder)


def widths(drawn: str) -> list[float]:
    return [float(w) for w in re.findall(r'<rect[^>]* width="([0-9.]+)"', drawn)]


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    drawn = str(bars([("a", 4.0, "4"), ("b", 1.0, "1"), ("none", None, "unknown")], told="lengths"))
    assert widths(drawn)[0] == 4 * widths(drawn)[1]
    assert len(widths(drawn)) == 2
    assert "unknown" in drawn


def test_runs_by_stage_by_plan_and_over_time(tmp_path: Path) -> None:
    one, two = run_of(tmp_path / "one"), run_of(tmp_path / "two")
    alone = render([one], PRICES)
    for title in ("one, by stage", "one, by plan"):
        assert title in alone
    assert "Over time" not in alone
    assert "content &lt;b&gt;" in alone
    both = render([one, two], PRICES)
    for title in ("Over time", "two, by plan", "A thousand requests of each plan, over time"):
        assert title in both
    assert both.index(f"{'one'}, by stage") > both.index("Over time")


def test_changes_point_to_their_side(tmp_path: Path) -> None:
    found = [
        Change("dearer", "once", "money", 1.0, 1.5),
        Change("cheaper", "once", "money", 1.0, 0.5),
        Change("new", "once", "money", 0.0, 0.5),
        Change("lost", "once", "money", None, 0.5),
    ]
    drawn = render_changes("main", "branch", found, ["dearer: once money grew"], "EUR")
    starts = [float(x) for x in re.findall(r'<rect x="([0-9.]+)"', drawn)]
    assert starts[1] < starts[0] == starts[2]
    assert "+50.0%" in drawn
    assert "EUR 1 to 1.5" in drawn
    assert "from nothing" in drawn
    assert "lost" not in drawn
    assert "dearer: once money grew" in drawn
    run = run_of(tmp_path)
    assert "<svg" in render_changes("a", "a", changes(run, run, PRICES), [], "USD")
    assert "Nothing to draw" in render_changes("a", "b", [], [], "USD")


def test_the_top_is_drawn(tmp_path: Path) -> None:
    lines = by(run_of(tmp_path), stage_of, PRICES)
    assert len(widths(render_top(lines, PRICES))) == len(lines)
