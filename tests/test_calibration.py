"""Calibration: what it measures, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from frugalrec.calibration import calibrate, candidates, disk_latency, recommended_threads
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


@pytest.mark.slow
def test_every_kind_of_work_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path))  # no encoder is cached there, and none is fetched
    profile = calibrate(seconds=240.0)
    assert set(UNITS) - {"encode", "prompt", "write", "als"} <= set(profile.rates)
    assert any("not cached" in note for note in profile.notes)
    assert not (tmp_path / "assets").exists()
