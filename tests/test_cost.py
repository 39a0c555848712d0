from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.cost import (
    AMOUNTS,
    BASIS,
    Cost,
    Ledger,
    charge,
    charge_reused,
    threads,
    with_context,
)
from frugalrec.errors import ConfigError

amounts = st.none() | st.integers(0, 10**6).map(float)
costs = st.builds(Cost, **dict.fromkeys(AMOUNTS, amounts))


# Cost


def test_amounts_add_up_and_memory_takes_the_larger() -> None:
    a = Cost(seconds=1.0, flops=10.0, peak_bytes=300.0, joules=None)
    b = Cost(seconds=2.0, flops=None, peak_bytes=200.0, joules=5.0)
    total = a + b
    assert (total.seconds, total.flops, total.peak_bytes, total.joules) == (3.0, None, 300.0, None)


@given(costs, costs, costs)
def test_addition_is_a_commutative_monoid(a: Cost, b: Cost, c: Cost) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Cost.zero() == a


@given(costs, costs)
def test_unknown_is_never_zero(a: Cost, b: Cost) -> None:
    for name in AMOUNTS:
        unknown = getattr(a, name) is None or getattr(b, name) is None
        assert (getattr(a + b, name) is None) == unknown


@given(costs, st.integers(1, 1000))
def test_doing_it_many_times_over(cost: Cost, times: int) -> None:
    many = cost * times
    assert many == times * cost
    assert many.peak_bytes == cost.peak_bytes
    for name in set(AMOUNTS) - {"peak_bytes"}:
        value = getattr(cost, name)
        assert getattr(many, name) == (None if value is None else value * times)
    assert (many / times).seconds == (None if cost.seconds is None else pytest.approx(cost.seconds))


@given(costs)
def test_costs_survive_json(cost: Cost) -> None:
    assert Cost.from_dict(json.loads(json.dumps(cost.to_dict()))) == cost


def test_amounts_left_out_are_unknown() -> None:
    assert Cost.from_dict({"flops": 1.0}) == Cost(flops=1.0)
    assert Cost().seconds is None


def test_every_amount_says_how_it_is_known() -> None:
    assert set(BASIS) == set(AMOUNTS)


# Spans


def test_a_charge_reaches_every_span_around_it_once() -> None:
    ledger = Ledger()
    with ledger.span("outer", plan="p"):
        charge(flops=1.0)
        with ledger.span("middle"):
            charge(flops=10.0, tokens_in=3)
            with ledger.span("inner"):
                charge(flops=100.0)
    inner, middle, outer = ledger.entries
    assert [e.cost.flops for e in (inner, middle, outer)] == [100.0, 110.0, 111.0]
    assert [e.cost.tokens_in for e in (inner, middle, outer)] == [0.0, 3.0, 3.0]
    assert [e.depth for e in (inner, middle, outer)] == [2, 1, 0]
    assert {e.plan for e in ledger.entries} == {"p"}


def test_totals_count_outermost_spans_only() -> None:
    ledger = Ledger()
    for plan, phase, flops in (("a", "once", 1.0), ("a", "refresh", 10.0), ("b", "refresh", 100.0)):
        with ledger.span("stage", plan=plan, phase=phase), ledger.span("part"):  # type: ignore[arg-type]
            charge(flops=flops)
    assert ledger.total().flops == 111.0
    assert ledger.total(plan="a").flops == 11.0
    assert ledger.total(phase="refresh").flops == 110.0
    assert ledger.total(plan="a", phase="refresh").flops == 10.0
    assert ledger.total(plan="nobody") == Cost.zero()


def test_time_is_measured() -> None:
    ledger = Ledger()
    with ledger.span("outer"), ledger.span("inner"):
        sum(range(100_000))
    inner, outer = (e.cost for e in ledger.entries)
    assert 0 < inner.seconds <= outer.seconds  # type: ignore[operator]
    assert 0 <= inner.cpu_seconds <= outer.cpu_seconds  # type: ignore[operator]


def test_what_other_processes_spent_is_added_to_what_this_one_did() -> None:
    ledger = Ledger()
    with ledger.span("work") as span:
        charge(cpu_seconds=100.0, peak_bytes=3e12)
        charge(cpu_seconds=20.0, peak_bytes=1e12)
    cost = ledger.entries[0].cost
    assert cost.cpu_seconds is not None
    assert 120.0 <= cost.cpu_seconds < 121.0
    assert cost.peak_bytes is None or 3e12 <= cost.peak_bytes < 4e12
    assert span.charged == {"cpu_seconds": 120.0, "peak_bytes": 3e12}


def test_what_nobody_charged_is_unknown() -> None:
    ledger = Ledger()
    with ledger.span("stage"):
        pass
    (entry,) = ledger.entries
    assert entry.cost.flops is None
    assert entry.cost.joules is None
    # Tokens and GPU time do not happen unnoticed.
    assert (entry.cost.tokens_in, entry.cost.tokens_out, entry.cost.tokens_cached, entry.cost.gpu_seconds) == (0,) * 4


@pytest.mark.parametrize("order", [(None, 5.0), (5.0, None), (5.0, None, 5.0)])
def test_one_unknown_part_makes_the_sum_unknown(order: tuple[float | None, ...]) -> None:
    ledger = Ledger()
    with ledger.span("outer"):
        charge(flops=1.0)
        with ledger.span("inner"):
            for flops in order:
                charge(flops=flops)
        charge(flops=1.0)
    assert [e.cost.flops for e in ledger.entries] == [None, None]
    assert ledger.total().flops is None


def test_charging_what_is_no_amount() -> None:
    with Ledger().span("stage"), pytest.raises(TypeError, match="not an amount of Cost: flop"):
        charge(flop=1.0)


def test_outside_a_span_a_charge_does_nothing() -> None:
    charge(flops=1.0)
    charge_reused(Cost(seconds=1.0))


def test_a_stage_that_fails_is_paid_for_all_the_same() -> None:
    ledger = Ledger()

    def stage() -> None:
        with ledger.span("outer"), ledger.span("inner"):
            charge(flops=3.0)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        stage()
    assert [(e.name, e.cost.flops) for e in ledger.entries] == [("inner", 3.0), ("outer", 3.0)]
    with ledger.span("next"):
        charge(flops=1.0)
    assert ledger.entries[-1].depth == 0
    assert ledger.total().flops == 4.0


def test_a_span_knows_its_entry_once_it_is_closed() -> None:
    ledger = Ledger()
    with ledger.span("stage", phase="request", units=7) as span:
        assert span.entry is None
    assert span.entry is ledger.entries[0]
    assert (span.entry.units, span.entry.phase) == (7, "request")


def test_what_is_charged_to_a_closed_span_goes_to_those_around_it() -> None:
    ledger = Ledger()
    with ledger.span("outer"):
        with ledger.span("inner") as inner:
            charge(flops=1.0)
        inner.add(flops=10.0)
        inner.add_reused(Cost.zero() + Cost(**dict.fromkeys(AMOUNTS, 2.0)))
    assert [e.cost.flops for e in ledger.entries] == [1.0, 11.0]
    assert [e.reused.flops for e in ledger.entries] == [0.0, 2.0]
    assert inner.charged == {"flops": 1.0}


def test_a_thread_pool_keeps_the_span_only_with_context() -> None:
    ledger = Ledger()
    with ThreadPoolExecutor(4) as pool:
        with ledger.span("with"):
            work = with_context(lambda n: charge(tokens_in=n))
            list(pool.map(work, range(100)))
        with ledger.span("without"):
            list(pool.map(lambda n: charge(tokens_in=n), range(100)))
    assert [e.cost.tokens_in for e in ledger.entries] == [4950.0, 0.0]


def test_charges_of_many_threads_all_count_and_few_are_kept() -> None:
    threads, times = 8, 2000
    with Ledger().span("shared") as span:

        def work() -> None:
            for _ in range(times):
                charge(flops=1.0, peak_bytes=5.0)

        with ThreadPoolExecutor(threads) as pool:
            for job in [pool.submit(with_context(work)) for _ in range(threads)]:
                job.result()
    assert span.charged == {"flops": threads * times, "peak_bytes": 5.0}
    assert len(span._charges) < threads * times / 10


def test_spans_opened_in_threads_are_children() -> None:
    ledger = Ledger()

    def work(n: int) -> None:
        with ledger.span("part"):
            charge(flops=float(n))

    with ThreadPoolExecutor(4) as pool, ledger.span("whole", plan="p"):
        list(pool.map(with_context(work), range(20)))
    *parts, whole = ledger.entries
    assert {e.depth for e in parts} == {1}
    assert sorted(e.cost.flops for e in parts) == list(range(20))  # type: ignore[type-var]
    assert whole.cost.flops == ledger.total(plan="p").flops == 190.0


def test_reused_costs_count_for_what_a_plan_takes_from_nothing() -> None:
    ledger = Ledger()
    with ledger.span("encode", plan="p", phase="once"):
        charge(flops=1.0)
        with ledger.span("part"):
            charge_reused(Cost(seconds=50.0, flops=7.0, cpu_seconds=60.0, tokens_in=9.0))
    part, whole = ledger.entries
    assert part.reused.seconds == whole.reused.seconds == 50.0
    assert whole.cost.flops == 1.0
    total = ledger.total(plan="p")
    assert total.flops == whole.whole.flops == 8.0
    assert total.tokens_in == 9.0
    assert total.seconds > 50.0  # type: ignore[operator]
    assert ledger.total(plan="p", reused=False).flops == 1.0


def test_a_spared_amount_that_nobody_knows_leaves_the_stage_s_own() -> None:
    ledger = Ledger()
    with ledger.span("encode"):
        charge(flops=3.0)
        charge_reused(Cost(seconds=1.0))
    assert ledger.entries[0].reused.flops is None
    assert ledger.total().flops == 3.0


# The ledger's file


def test_every_closed_span_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "ledger.jsonl"
    ledger = Ledger(path)
    assert path.read_text() == ""
    with ledger.span("outer", plan="p", phase="once", units=4):
        with ledger.span("inner"):
            charge(flops=2.0)
        (inner,) = [json.loads(line) for line in path.read_text().splitlines()]
    outer = json.loads(path.read_text().splitlines()[1])
    assert inner == ledger.entries[0].to_dict()
    assert (inner["name"], inner["depth"], inner["cost"]["flops"]) == ("inner", 1, 2.0)
    assert (outer["plan"], outer["phase"], outer["units"]) == ("p", "once", 4)


def test_a_killed_run_keeps_its_record(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    script = (
        "import os, pathlib, sys\n"
        "from frugalrec.cost import Ledger, charge\n"
        "ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "with ledger.span('done'): charge(flops=1.0)\n"
        "with ledger.span('not done'): os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["done"]


def test_a_later_run_adds_to_the_record_and_is_not_confused_by_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for name in ("first", "second"):
        with Ledger(path).span(name):
            pass
    path.write_text(path.read_text() + '{"name": "hal')
    ledger = Ledger(path)
    assert ledger.entries == []
    with ledger.span("third"):
        pass
    lines = path.read_text().splitlines()
    assert lines[2] == '{"name": "hal'
    assert [json.loads(lines[i])["name"] for i in (0, 1, 3)] == ["first", "second", "third"]


# Threads


def test_threads_are_asked_for_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUGALREC_THREADS", "3")
    assert threads() == 3
    for unset in ("", None):
        monkeypatch.delenv("FRUGALREC_THREADS") if unset is None else monkeypatch.setenv("FRUGALREC_THREADS", unset)
        assert 1 <= threads() <= (os.cpu_count() or math.inf)
    for wrong in ("0", "-1", "two", "1.5", "²"):
        monkeypatch.setenv("FRUGALREC_THREADS", wrong)
        with pytest.raises(ConfigError, match=f"not '{wrong}'"):
            threads()
