from __future__ import annotations

import time

import pytest

from frugalrec import progress
from frugalrec.cost import Ledger
from frugalrec.estimation import Range, StageEstimate
from frugalrec.pace import LEAST_SECONDS, Pace


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def reported(pace: Pace, stage: str, batches: list[tuple[float, float]], span: str = "tune") -> None:
    """Report shares of work, each after so many CPU seconds."""
    with pace.watching(), Ledger().span(span):
        for seconds, share in batches:
            busy(seconds)
            progress.report(stage, round(100 * share), 100, share=share)


def test_what_comes_before_the_second_batch_counts_once() -> None:
    pace = Pace("plan", {})
    # Loading takes .05 s within the first batch; after it, a tenth of the work takes .12 s.
    reported(pace, "encode", [(0.0, 0.0), (0.05, 0.1), (0.12, 0.2), (0.0, 1.0)])
    assert pace.refined["encode"] == pytest.approx(0.05 + 0.12 * 9, rel=0.2)


def test_the_first_batches_tell_and_later_ones_do_not_change_it() -> None:
    pace = Pace("plan", {})
    reported(pace, "evaluate plan", [(0.0, 0.0), (0.01, 0.01), (0.11, 0.031)], span="evaluate")
    before = dict(pace.refined)
    assert before["evaluate"] == pytest.approx(0.01 + 0.11 / 0.021 * 0.99, rel=0.2)
    reported(pace, "evaluate plan", [(0.0, 0.3), (0.3, 0.4)], span="evaluate")
    assert pace.refined == before


def test_two_encoders_add_up() -> None:
    pace = Pace("plan", {})
    for _ in range(2):
        reported(pace, "encode", [(0.0, 0.0), (0.01, 0.1), (0.12, 0.2), (0.0, 1.0)])
    assert pace.refined["encode"] == pytest.approx(2 * (0.01 + 0.12 * 9), rel=0.2)


@pytest.mark.parametrize(
    ("stage", "span", "batches"),
    [
        ("encode", "evaluate", [(0.0, 0.0), (0.0, 0.1), (0.15, 0.3)]),  # texts of requests
        ("encode", "encode", [(0.0, 0.0), (0.0, 0.1), (LEAST_SECONDS / 4, 0.3)]),  # too short to tell
        ("encode", "encode", [(0.0, 0.0), (0.0, 0.1), (0.15, 0.11)]),  # too little of it
        ("encode", "encode", [(0.0, 0.0), (0.0, 0.1), (0.15, 1.0)]),  # over
        ("encode", "encode", [(0.0, 0.1), (0.15, 0.3)]),  # nobody knows when it began
        ("evaluate plan", "evaluate", [(0.0, 0.0), (0.0, 0.1), (0.15, 0.2)]),  # much of a short one is no batch
    ],
)
def test_nothing_is_told_that_is_not_known(stage: str, span: str, batches: list[tuple[float, float]]) -> None:
    pace = Pace("plan", {})
    reported(pace, stage, batches, span)
    assert pace.refined == {}


def test_a_long_stage_that_leaves_its_range_is_said() -> None:
    said: list[str] = []
    pace = Pace("words", {"encode": StageEstimate("encode", Range(1.0, 2.0, 3.0))}, said.append)
    reported(pace, "encode", [(0.0, 0.0), (0.0, 0.01), (0.11, 0.0301)])  # two hundredths in .11 s
    assert said == []
    pace = Pace("words", {"encode": StageEstimate("encode", Range(1.0, 2.0, 3.0))}, said.append)
    reported(pace, "encode", [(0.0, 0.0), (0.0, 0.01), (0.55, 0.0301)])
    assert len(said) == 1
    assert said[0].startswith("words: encode takes about 2")
    assert said[0].endswith("at this pace; 1 to 3 s were expected")


def test_without_anybody_watching_reports_go_to_listeners_alone() -> None:
    heard: list[tuple[str, int, int]] = []
    with progress.listening(lambda *told: heard.append(told)):
        progress.report("encode", 1, 2, share=0.7)
    assert heard == [("encode", 1, 2)]
