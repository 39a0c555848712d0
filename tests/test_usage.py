from __future__ import annotations

import mmap
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from frugalrec import usage
from frugalrec.cost import Ledger
from frugalrec.usage import Usage

MIB = 2**20


def memory_is_told() -> bool:
    ledger = Ledger()
    with ledger.span("probe"):
        pass
    return ledger.entries[0].cost.peak_bytes is not None


needs_peak = pytest.mark.skipif(not memory_is_told(), reason="this system does not tell a process's peak memory")


def allocate(mib: int) -> None:
    # Straight from the system: memory that the process freed before must not serve again unnoticed.
    pages = mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    np.frombuffer(pages, dtype=np.uint8)[:] = 1  # written to, so that the pages exist


@needs_peak
def test_peak_memory_is_what_a_span_allocates_above_the_level_before() -> None:
    ledger = Ledger()
    held = np.full(50 * MIB // 8, 1.0)
    with ledger.span("large"):
        allocate(200)
    with ledger.span("small"):
        allocate(20)
    large, small = (e.cost.peak_bytes for e in ledger.entries)
    assert 180 * MIB < large < 260 * MIB  # type: ignore[operator]
    assert 10 * MIB < small < 60 * MIB  # type: ignore[operator]
    assert len(held)


@needs_peak
def test_nested_spans_know_their_own_peaks() -> None:
    ledger = Ledger()
    with ledger.span("outer"):
        allocate(150)
        with ledger.span("small"):
            allocate(10)
        with ledger.span("large"):
            allocate(80)
        with ledger.span("nothing"):
            pass
    small, large, nothing, outer = (e.cost.peak_bytes for e in ledger.entries)
    assert 130 * MIB < outer < 210 * MIB  # type: ignore[operator]
    assert 5 * MIB < small < 50 * MIB  # type: ignore[operator]
    assert 65 * MIB < large < 130 * MIB  # type: ignore[operator]
    assert nothing < 20 * MIB  # type: ignore[operator]


@needs_peak
def test_the_peak_of_an_inner_span_is_one_of_the_outer_span() -> None:
    ledger = Ledger()
    with ledger.span("outer"), ledger.span("inner"):
        allocate(100)
    inner, outer = (e.cost.peak_bytes for e in ledger.entries)
    assert outer >= inner > 80 * MIB  # type: ignore[operator]


@needs_peak
def test_stages_that_overlap_end_in_any_order() -> None:
    first, second = Usage(), Usage()
    first.start()
    allocate(60)
    second.start()
    allocate(120)
    first.stop()
    second.stop()
    assert first.peak_bytes > 50 * MIB  # type: ignore[operator]
    assert 100 * MIB < second.peak_bytes < 160 * MIB  # type: ignore[operator]
    assert first.seconds > 0
    assert first.cpu_seconds > 0


@needs_peak
def test_what_a_brief_stage_frees_is_not_the_next_one_s() -> None:
    pages = mmap.mmap(-1, 200 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    np.frombuffer(pages, dtype=np.uint8)[:] = 1
    ledger = Ledger()
    with ledger.span("frees"):
        pages.close()
    with ledger.span("large"):
        allocate(100)
    assert 90 * MIB < ledger.entries[1].cost.peak_bytes < 140 * MIB  # type: ignore[operator]


@needs_peak
def test_brief_stages_share_a_mark_and_leave_that_of_the_stage_around_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    marks: list[float] = []
    set_back = usage._set_back

    def noted(now: float) -> tuple[float | None, float]:
        marks.append(now)
        return set_back(now)

    monkeypatch.setattr(usage, "_set_back", noted)
    monkeypatch.setattr(usage, "_stale", 0.0)
    ledger = Ledger()
    with ledger.span("outer"):
        allocate(100)
        for _ in range(500):
            with ledger.span("brief"):
                pass
        allocate(150)
    *brief, outer = (e.cost.peak_bytes for e in ledger.entries)
    assert all(later - earlier >= usage._FRESH for earlier, later in pairwise(marks))
    assert max(brief) < 20 * MIB  # type: ignore[type-var, operator]
    assert 130 * MIB < outer < 210 * MIB  # type: ignore[operator]


@needs_peak
def test_a_stage_that_follows_a_brief_one_at_once_knows_its_peak() -> None:
    ledger = Ledger()
    for _ in range(10):
        with ledger.span("brief"):
            pass
        with ledger.span("large"):
            allocate(60)
    large = [e.cost.peak_bytes for e in ledger.entries if e.name == "large"]
    assert all(50 * MIB < peak < 80 * MIB for peak in large)  # type: ignore[operator]


@pytest.mark.skipif(usage._trim is None, reason="another C library")
def test_what_was_freed_in_pieces_is_given_back() -> None:
    code = """
import os
from frugalrec.usage import give_back_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
pieces = [bytes(2_000) for _ in range(50_000)]
last = pieces[-1]  # at the top of the heap: nothing below it goes back by itself
pieces.clear()
before = resident()
give_back_memory()
print(before - resident())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 80e6
