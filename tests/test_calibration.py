"""Calibration: what it measures, and what it says when it cannot."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from frugalrec.calibration import _bench, calibrate, candidates, disk_latency, recommended_threads
from frugalrec.calibration._bench import Bench
from frugalrec.calibration._reading import SENTENCE, language_models, own_model
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.machine_profile import Profile
from frugalrec.testing.data import toy_dataset
from frugalrec.work import UNITS


def test_threads_that_gain_nothing_are_not_recommended() -> None:
    assert recommended_threads([{1: 10.0, 2: 5.0}]) == 1
    assert recommended_threads([{1: 10.0, 2: 11.0, 4: 40.0}]) == 4
    assert recommended_threads([{1: 10.0, 2: 19.0}, {1: 10.0, 2: 10.0}]) == 1  # every kind of work must gain


def test_threads_worth_trying() -> None:
    assert candidates(1) == [1]
    assert candidates(2) == [1, 2]
    assert candidates(6) == [1, 2, 4, 6]


def test_the_disk_is_measured_or_unknown(tmp_path: Path) -> None:
    found = disk_latency(tmp_path, megabytes=1)
    assert found["write_bytes_per_second"] is not None
    assert found["write_bytes_per_second"] > 0
    assert found["fsync_seconds"] is not None
    (tmp_path / "file").write_text("")
    assert disk_latency(tmp_path / "file" / "folder") == {"write_bytes_per_second": None, "fsync_seconds": None}


def test_out_of_time_is_said_and_nothing_is_made_up() -> None:
    profile = calibrate(seconds=0.0, tdp_watts=65.0)
    assert profile.rates == {}
    assert profile.threads == {}
    assert any("out of time" in note for note in profile.notes)
    assert (profile.power.watts, profile.power.basis) in ((65.0, "estimated"),) or profile.power.basis == "measured"


def test_work_that_comes_together_is_told_apart() -> None:
    """Two calls of 30 and 60 ms: 2a + b and a + 4b, so that a unit of a takes 60/7 ms and one of b 90/7."""
    bench = Bench(60.0)
    bench.together(("a", "b"), 64, [[2.0, 1.0], [1.0, 4.0]], busy, (0.03, 0.06))
    rates = {kind: bench.rates[kind][1][0] for kind in ("a", "b")}
    assert [size for size, _ in rates.values()] == [64.0, 64.0]
    # Time is measured, and may be a little more than was asked for.
    assert 1 / rates["a"][1] == pytest.approx(0.06 / 7, rel=0.5)
    assert 1 / rates["b"][1] == pytest.approx(0.09 / 7, rel=0.5)


def test_what_is_used_up_is_cpu_time() -> None:
    bench = Bench(0.05)
    time.sleep(0.06)
    assert not bench.over
    busy(0.06)
    assert bench.over
    bench.together(("a",), 1, [[1.0]], busy, (0.0,))
    assert bench.rates == {}
    assert bench.notes == ["a 1: not measured, out of time"]


def test_what_meets_a_bad_moment_of_the_machine_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"until": 0}  # how many calls are slow, and the machine's own pulse with them

    def call() -> None:
        busy(0.02 if slow["until"] > 0 else 0.005)
        slow["until"] -= 1

    monkeypatch.setattr(_bench, "_pulse", lambda: busy(0.004 if slow["until"] > 0 else 0.001))
    bench = Bench(60.0)
    bench.measure("calm", 1, 1.0, call)
    slow["until"] = 12
    bench.measure("met", 1, 1.0, call)
    assert bench.rates["calm"][1][0][1] == pytest.approx(200, rel=0.2)
    assert bench.rates["met"][1][0][1] == pytest.approx(200, rel=0.2)


def test_of_what_a_busy_machine_measured_a_calm_moment_counts_or_the_better(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, found = Bench(60.0), []
    monkeypatch.setattr(_bench, "_TRIES", 1)
    # Busy twice, the second time less so; then calm, though slower; then whatever comes.
    for seconds, calm in ((0.04, False), (0.02, False), (0.025, True), (0.01, True), (0.01, False)):
        monkeypatch.setattr(Bench, "_quartile", lambda *given, seconds=seconds: seconds)
        monkeypatch.setattr(Bench, "_is_calm", lambda self, calm=calm: calm)
        bench.measure("work", 1, 1.0, busy)
        found.append((1 / bench.rates["work"][1][0][1], bench.is_rough("work")))
    assert [took for took, _ in found] == pytest.approx([0.04, 0.02, 0.025, 0.025, 0.025])
    assert [rough for _, rough in found] == [True, True, False, False, False]
    assert not bench.is_rough("other")
    assert len(bench.rates["work"][1]) == 1


def test_what_is_slow_is_called_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0, "calls": 0}
    monkeypatch.setattr(_bench.time, "process_time", lambda: clock["now"])
    monkeypatch.setattr(_bench.time, "perf_counter", lambda: clock["now"])

    def call(first: float, then: float) -> None:
        clock["now"] += then if clock["calls"] else first
        clock["calls"] += 1

    found = {}
    for first, then in ((1.0, 0.9), (0.5, 0.25), (0.2, 0.125), (0.02, 0.0125)):
        clock["calls"] = 0
        bench = Bench(60.0)
        bench.measure("work", 1, 1.0, call, first, then)
        found[first] = clock["calls"], bench.rates["work"][1][0][1]
    # What takes a second is measured by its first call; what is fast does not count the one that warms up.
    assert {first: calls for first, (calls, _) in found.items()} == {1.0: 1, 0.5: 2, 0.2: 3, 0.02: 8}
    assert [rate for _, rate in found.values()] == pytest.approx([1.0, 4.0, 8.0, 80.0])
    # Where what is left needs more time than there is, all of it is called less often.
    hurried = []
    for first, then in ((0.5, 0.25), (0.16, 0.125), (0.02, 0.0125)):
        clock["calls"] = 0
        bench = Bench(10.0)
        bench.hurry(11.0)
        bench.measure("work", 1, 1.0, call, first, then)
        hurried.append(clock["calls"])
    assert hurried == [1, 2, 3]
    bench.hurry(5.0)
    clock["calls"] = 0
    bench.measure("other", 1, 1.0, call, 0.02, 0.0125)
    assert clock["calls"] == 8


def test_a_language_model_of_ones_own_is_measured_under_its_path(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra 'torch'")
    from frugalrec.llms.transformers import Transformers
    from frugalrec.rerankers.likelihood import Likelihood
    from frugalrec.testing.models import tiny_causal

    folder = tiny_causal(tmp_path, [SENTENCE])
    bench = Bench(60.0)
    language_models(bench, [own_model(folder)])
    (work,) = Likelihood(Transformers(path=str(folder))).expected(DataShape.of(toy_dataset())).score.work or ()
    profile = Profile({}, bench.rates)
    assert set(profile.rates) >= {f"prompt {folder}", f"write {folder}"}
    assert (profile.seconds([work]) or 0.0) > 0.0
    # It was asked for: where time is short, it comes first.
    short = calibrate(seconds=0.5, language_models=[folder])
    assert f"prompt {folder}" in short.rates
    assert "texts: not measured, out of time" in short.notes


def test_what_is_no_language_model_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a GGUF file, or a folder"):
        calibrate(language_models=[tmp_path / "none.gguf"])


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


@pytest.mark.slow
def test_every_kind_of_work_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path))  # no encoder is cached there, and none is fetched
    profile = calibrate(seconds=240.0)
    assert set(UNITS) - {"encode", "load", "prompt", "write", "als", "als-events"} <= set(profile.rates)
    assert any("not cached" in note for note in profile.notes)
    assert not (tmp_path / "assets").exists()
