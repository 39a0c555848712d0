"""Calibration: what it measures, and what it says when it cannot."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from frugalrec.calibration import _arithmetic, _bench, calibrate, candidates, disk_latency, recommended_threads
from frugalrec.calibration._bench import Bench
from frugalrec.calibration._reading import SENTENCE, language_models, own_model
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.machine_profile import Profile
from frugalrec.testing.data import toy_dataset
from frugalrec.work import UNITS, Work


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


def test_new_memory_is_dearer_the_more_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arithmetic, "_TOUCHED", 4)
    bench = Bench(60.0)
    _arithmetic.touched(bench)
    ((_, best),), ((_, worst),) = bench.rates["touch"][1], bench.rates["touch-worst"][1]
    (kept, free), (few, little), (more, some), (most, much) = bench.later["touch"][1]
    assert kept < few < more < most
    assert free == best
    assert worst <= much <= some <= best
    assert worst <= little <= best


def test_what_is_used_up_is_cpu_time() -> None:
    bench = Bench(0.05)
    time.sleep(0.06)
    assert not bench.over
    busy(0.06)
    assert bench.over
    bench.together(("a",), 1, [[1.0]], busy, (0.0,))
    assert bench.rates == {}
    assert bench.notes == ["a 1: not measured, out of time"]


@dataclass
class Clock:
    """Time that passes in calls alone: as many seconds as the next of ``taken`` says, and the last one ever after."""

    now: float = 0.0
    calls: int = 0
    taken: list[float] = field(default_factory=lambda: [0.0])

    def call(self, times: float = 1.0) -> None:
        self.now += times * (self.taken.pop(0) if len(self.taken) > 1 else self.taken[0])
        self.calls += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_bench.time, "process_time", lambda: made.now)
    monkeypatch.setattr(_bench.time, "perf_counter", lambda: made.now)
    monkeypatch.setattr(_bench, "available_memory_bytes", lambda: 1 << 33)
    return made


def test_what_is_brief_counts_as_in_the_middle_of_all_moments(clock: Clock) -> None:
    bench, found = Bench(60.0), []
    clock.taken = [0.02]
    bench.measure("work", 1, 1.0, clock.call)
    for moment in (0.01, 0.012, 0.03):
        clock.taken = [moment]
        bench.again()
        found.append(1 / bench.rates["work"][1][0][1])
    assert found == pytest.approx([0.015, 0.012, 0.016])
    assert len(bench.rates["work"][1]) == 1


def test_how_much_a_machine_varies_is_told_from_what_is_measured_again(clock: Clock) -> None:
    bench = Bench(60.0)
    assert bench.variation is None
    clock.taken = [0.01]
    bench.measure("work", 1, 1.0, clock.call)
    assert bench.variation is None  # one moment tells nothing
    for moment in (0.01, 0.01, 0.01, 0.01, 0.02, 0.005, 0.01, 0.01):
        clock.taken = [moment]
        bench.again()
    # Two of nine moments are off by 2, which is more than a tenth.
    assert bench.variation == pytest.approx(2.0)


def test_what_is_measured_again_may_take_as_long_in_all_as_is_left_for_it(clock: Clock) -> None:
    for seconds, repeated in ((0.01, 30), (0.04, 7), (0.09, 3), (0.2, 1), (0.4, 0)):
        bench, clock.taken = Bench(60.0), [seconds]
        bench.measure("work", 1, 1.0, clock.call)
        clock.calls = 0
        for _ in range(40):
            bench.again()
        assert clock.calls == pytest.approx(repeated, abs=seconds < 0.02)  # sums of floats decide of the last one


def test_more_time_is_for_more_moments_and_for_what_is_slow(clock: Clock) -> None:
    calls = {}
    for seconds in (60.0, 300.0):
        bench, clock.taken = Bench(seconds), [0.5]
        bench.measure("slow", 1, 1.0, clock.call)
        clock.calls = 0
        while bench.again():
            pass
        calls[seconds] = clock.calls
        assert not bench.again()
    assert calls == {60.0: 0, 300.0: 4}  # .3 s, and .008 of each of the 240 s beyond a minute


def test_nothing_is_measured_again_in_a_hurry_or_without_room(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, clock.taken = Bench(60.0), [0.01]
    bench.measure("work", 1, 1.0, clock.call)
    clock.calls = 0
    bench.hurry(61.0)
    bench.again()
    assert clock.calls == 0
    bench.hurry(1.0)
    bench.again()
    assert clock.calls == 1
    monkeypatch.setattr(_bench, "available_memory_bytes", lambda: 1 << 30)
    bench = Bench(60.0)
    bench.measure("work", 1, 1.0, clock.call)
    clock.calls = 0
    bench.again()
    assert clock.calls == 0


def test_what_comes_with_other_work_follows_what_that_takes_now(clock: Clock) -> None:
    bench = Bench(60.0)
    clock.taken = [0.01]
    bench.measure("part", 1, 1.0, clock.call)
    clock.taken = [0.03]
    bench.measure("whole", 1, 1.0, clock.call, beside=[Work("part", 1.0)])
    bench.together(("a", "b"), 1, [[2.0, 1.0], [1.0, 4.0]], clock.call, (1.0, 2.0))
    assert 1 / bench.rates["whole"][1][0][1] == pytest.approx(0.02)
    clock.taken = [0.02]
    bench.again()
    took = {kind: 1 / by[1][0][1] for kind, by in bench.rates.items()}
    # 30 and 20 ms have 25 in their middle, and 10 and 20 have 15; 2a + b = 25 and a + 4b = 50.
    assert took == pytest.approx({"part": 0.015, "whole": 0.01, "a": 0.05 / 7, "b": 0.075 / 7})


def test_what_is_slow_is_called_less_often(clock: Clock) -> None:
    found = {}
    for first, then in ((1.0, 0.9), (0.5, 0.25), (0.2, 0.125), (0.01, 0.00625)):
        clock.calls, clock.taken = 0, [first, then]
        bench = Bench(60.0)
        bench.measure("work", 1, 1.0, clock.call)
        found[first] = clock.calls, bench.rates["work"][1][0][1]
    # What takes a second is measured by its first call; what is fast does not count the one that warms up.
    assert {first: calls for first, (calls, _) in found.items()} == {1.0: 1, 0.5: 2, 0.2: 3, 0.01: 6}
    assert [rate for _, rate in found.values()] == pytest.approx([1.0, 4.0, 8.0, 160.0])
    # Where what is left needs more time than there is, all of it is called less often.
    hurried = []
    for first, then in ((0.5, 0.25), (0.16, 0.125), (0.01, 0.00625)):
        clock.calls, clock.taken = 0, [first, then]
        bench = Bench(10.0)
        bench.hurry(11.0)
        bench.measure("work", 1, 1.0, clock.call)
        hurried.append(clock.calls)
    assert hurried == [1, 2, 3]
    bench.hurry(5.0)
    clock.calls, clock.taken = 0, [0.01, 0.00625]
    bench.measure("other", 1, 1.0, clock.call)
    assert clock.calls == 6


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
    optional = {"encode", "load", "prompt", "write", "als", "als-events", "als-far", "query als"}
    assert set(UNITS) - optional <= set(profile.rates)
    for kind in [kind for kind in profile.rates if kind.split()[0] in ("query", "state")]:
        small, large = (rate for _, rate in profile.rates[kind][1])
        assert large < small  # what was read meanwhile pushed the rest out of the caches
    assert any("not cached" in note for note in profile.notes)
    assert not (tmp_path / "assets").exists()
