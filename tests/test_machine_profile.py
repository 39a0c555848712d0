"""Machine profiles: rates between sizes, kept and read back, and what other hardware's are worth."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from frugalrec import machine_profile
from frugalrec.errors import ConfigError
from frugalrec.machine_profile import FOREIGN_SPREAD, OWN_SPREAD, Power, Profile, hardware, path_of
from frugalrec.work import Work

RATES = {"gemm-f32": {1: ((100.0, 1e9), (400.0, 4e9)), 2: ((100.0, 2e9),)}, "prompt small": {1: ((1.0, 50.0),)}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path))
    return tmp_path


def profile() -> Profile:
    return Profile(hardware(), RATES, {"linear algebra": 1}, {"fsync_seconds": 0.004}, Power(65.0, "estimated", "TDP"))


def test_rates_lie_between_those_measured() -> None:
    known = profile()
    assert known.rate("gemm-f32", 200.0) == pytest.approx(2e9)
    assert known.rate("gemm-f32", 10.0) == 1e9
    assert known.rate("gemm-f32", 1e6) == 4e9
    assert known.rate("gemm-f32", 100.0, threads=3) == 2e9
    assert known.rate("prompt", model="small") == 50.0
    assert known.rate("prompt", model="other") is None


def test_factorisations_get_faster_beyond_what_was_measured() -> None:
    """Of a·n³ + b·n² seconds, two sizes tell a and b."""
    points = tuple((float(n), n**3 / (1e-11 * n**3 + 2e-8 * n**2)) for n in (512, 1024, 3072))
    rates = {kind: {1: points} for kind in ("invert-f32", "gather")}
    known = Profile(hardware(), rates)
    n = 12_000.0
    assert known.rate("invert-f32", n) == pytest.approx(n**3 / (1e-11 * n**3 + 2e-8 * n**2))
    assert known.rate("gather", n) == points[-1][1]
    noisy = Profile(hardware(), {"factor-f64": {1: ((512.0, 1e9), (1024.0, 9e9))}})
    assert noisy.rate("factor-f64", 1e5) == pytest.approx(18e9)  # twice the last at most
    falling = Profile(hardware(), {"factor-f64": {1: ((512.0, 9e9), (1024.0, 8e9))}})
    assert falling.rate("factor-f64", 1e5) == 8e9


def test_seconds_are_known_only_when_every_rate_is() -> None:
    known = profile()
    assert known.seconds((Work("gemm-f32", 2e9, 100.0), Work("gemm-f32", 4e9, 400.0))) == pytest.approx(3.0)
    assert known.seconds(()) == 0.0
    assert known.seconds((Work("gemm-f32", 1.0), Work("stream", 1.0))) is None
    assert known.seconds((Work("stream", 0.0),)) == 0.0
    assert known.seconds(None) is None


def test_kept_by_hardware_and_read_back(cache: Path) -> None:
    assert machine_profile.load() is None
    path = profile().save()
    assert path == path_of(hardware())
    assert path.is_relative_to(cache)
    again = machine_profile.load()
    assert again is not None
    assert again.to_dict() == profile().to_dict()
    assert not again.foreign
    assert again.spread == OWN_SPREAD


def test_a_machine_that_varies_widens(cache: Path) -> None:
    for variation, spread in ((1.05, OWN_SPREAD), (1.7, 1.7)):
        replace(profile(), variation=variation).save()
        again = machine_profile.load()
        assert again is not None
        assert (again.variation, again.spread) == (variation, spread)


def calibrated(*rates: float, **changes: object) -> Profile:
    """Return the profile after calibrations that found one rate each."""
    found: Profile | None = None
    for rate in rates:
        found = replace(profile(), rates={"scan": {1: ((8.0, rate),)}}, **changes).after(found)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_middle_of_the_last_five_calibrations_counts(cache: Path) -> None:
    for rates, middle in (
        ((2.0,), 2.0),
        ((2.0, 8.0), 4.0),  # between two, by their logarithms
        ((2.0, 8.0, 3.0), 3.0),
        ((1.0, 1.0, 5.0, 6.0, 7.0, 8.0, 9.0), 7.0),
    ):
        found = calibrated(*rates)
        assert found.rate("scan", 8.0) == pytest.approx(middle)
        found.save()
        again = machine_profile.known()
        assert again is not None
        assert again.to_dict() == found.to_dict()
        assert [c["scan"][1][0][1] for c in again.calibrations] == list(rates[-machine_profile.KEPT :])


def test_what_one_calibration_did_not_measure_another_did() -> None:
    first = replace(profile(), rates={"scan": {1: ((8.0, 2.0),), 2: ((8.0, 3.0),)}})
    second = replace(profile(), rates={"scan": {1: ((8.0, 2.0), (4.0, 1.0))}, "words": {1: ((1.0, 5.0),)}}).after(first)
    both = {"scan": {1: ((4.0, 1.0), (8.0, 2.0)), 2: ((8.0, 3.0),)}, "words": {1: ((1.0, 5.0),)}}
    assert {kind: {n: [*p] for n, p in by.items()} for kind, by in second.rates.items()} == {
        kind: {n: [(size, pytest.approx(rate)) for size, rate in p] for n, p in by.items()} for kind, by in both.items()
    }


def test_calibrations_that_differ_widen() -> None:
    assert calibrated(2.0, 2.0).variation == 1.0
    assert calibrated(1.0, 2.0, 4.0, variation=1.5).variation == pytest.approx(2.0)
    assert calibrated(2.0, 2.0, variation=1.5).variation == 1.5


def test_calibrations_of_other_hardware_or_libraries_do_not_count() -> None:
    newest = calibrated(4.0)
    for earlier in (
        replace(calibrated(1.0), versions={"numpy": "0"}),
        replace(calibrated(1.0), hardware={**hardware(), "cores": 1_000}),
    ):
        assert newest.after(earlier).calibrations == newest.calibrations


def test_a_profile_that_cannot_be_read_is_not_known(cache: Path) -> None:
    assert machine_profile.known() is None
    path = profile().save()
    path.write_text("{", encoding="utf-8")
    assert machine_profile.known() is None


def test_other_hardware_warns_and_widens() -> None:
    elsewhere = replace(profile(), hardware={"processor": "Z80", "cores": 1, "memory_gib": 0.1})
    path = elsewhere.save()
    with pytest.warns(UserWarning, match="Z80 with 1 cores"):
        found = machine_profile.load(path)
    assert found is not None
    assert found.foreign
    assert found.spread == FOREIGN_SPREAD
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert machine_profile.load() is None  # that one is not this machine's


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 99}, "version 99"),
        ({"rates": {"gemm-f32": {"1": [[100, 0]]}}}, "must be above 0"),
        ({"rates": {"gemm-f32": {"1": []}}}, "must be above 0"),
        ({"rates": 7}, "not a machine profile"),
        ({"corrections": {"ease.fit": -3.0}}, "correction of 'ease.fit' must be above 0"),
        ({"power": {"watts": 0.0, "basis": "estimated", "source": "TDP"}}, "watts must be above 0"),
        ({"power": {"watts": "much", "basis": "estimated", "source": "TDP"}}, "not a machine profile"),
        ({"power": None}, "not a machine profile"),
        ({"variation": 0.5}, "a variation must be at least 1"),
        ({"variation": "much"}, "not a machine profile"),
    ],
)
def test_a_damaged_profile_says_so(change: dict[str, object], told: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile().to_dict() | change), encoding="utf-8")
    with pytest.raises(ConfigError, match=told) as caught:
        machine_profile.load(path)
    assert "doctor --calibrate" in caught.value.hint


def test_this_machine_s_profile_of_an_earlier_version_is_none() -> None:
    path = profile().save()
    assert machine_profile.load() is not None
    path.write_text(json.dumps(profile().to_dict() | {"version": 1}), encoding="utf-8")
    with pytest.warns(UserWarning, match="doctor --calibrate"):
        assert machine_profile.load() is None
    with pytest.raises(ConfigError, match="version 1"):
        machine_profile.load(path)  # who names a file wants that one


def test_a_missing_or_unreadable_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        machine_profile.load(tmp_path / "nothing.json")
    (tmp_path / "half.json").write_text('{"version":')
    with pytest.raises(ConfigError, match="cannot be read"):
        machine_profile.load(tmp_path / "half.json")
