from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.errors import ConfigError, DataError
from frugalrec.significance import Estimate, bootstrap_interval, holm, paired_difference, paired_p_value


@pytest.mark.parametrize("kind", ["continuous", "hit or miss"])
def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100(kind: str) -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(400):
        if kind == "continuous":
            values, truth = rng.exponential(size=120), 1.0
        else:
            values, truth = (rng.random(120) < 0.3).astype(float), 0.3
        estimate = bootstrap_interval(values, draws=500, seed=trial)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= truth <= estimate.high
    assert 0.90 <= covered / 400 <= 0.99


@pytest.mark.parametrize("n_levels", [3, 10_000])
def test_the_interval_is_as_wide_as_theory_says(n_levels: int) -> None:
    # Few distinct values are drawn by how often each occurs, many by their places: both follow the normal limit.
    values = np.random.default_rng(1).integers(n_levels, size=2000) / n_levels
    estimate = bootstrap_interval(values, draws=4000)
    half = 1.96 * values.std() / 2000**0.5
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_two_values_worked_by_hand() -> None:
    # Means of two draws from {0, 1} are 0, ½, ½, 1: the middle 40% holds ½ alone, the middle 60% reaches both ends.
    assert bootstrap_interval(np.array([0.0, 1.0]), level=0.4) == Estimate(0.5, 0.5, 0.5, 2)
    assert bootstrap_interval(np.array([0.0, 1.0]), level=0.6) == Estimate(0.5, 0.0, 1.0, 2)


def test_what_is_unknown_stays_unknown() -> None:
    nothing = Estimate(mean=None, low=None, high=None, n=0)
    assert bootstrap_interval(np.array([])) == bootstrap_interval(np.array([np.nan])) == nothing
    assert bootstrap_interval(np.array([0.5, np.nan])) == Estimate(mean=0.5, low=None, high=None, n=1)
    assert not nothing.excludes_zero
    assert nothing.to_dict() == {"mean": None, "low": None, "high": None, "n": 0}


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_a_higher_level_is_wider() -> None:
    values = np.random.default_rng(0).random(50)
    narrow, wide = bootstrap_interval(values, level=0.8), bootstrap_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high  # type: ignore[operator]


def test_excludes_zero() -> None:
    assert Estimate(1, 0.1, 2, 9).excludes_zero
    assert Estimate(-1, -2, -0.1, 9).excludes_zero
    assert not Estimate(1, 0.0, 2, 9).excludes_zero
    assert not Estimate(1, None, None, 1).excludes_zero


def test_pairs_find_what_two_intervals_cannot() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.random(500)
    a, b = hardness + 0.01 + rng.normal(0, 0.02, 500), hardness + rng.normal(0, 0.02, 500)
    assert paired_difference(a, b).excludes_zero
    apart, other = bootstrap_interval(a), bootstrap_interval(b)
    assert apart.low < other.high  # type: ignore[operator]
    assert not paired_difference(a, a[::-1]).excludes_zero


def test_pairs_with_an_unknown_side_are_left_out() -> None:
    estimate = paired_difference(np.array([1.0, np.nan, 3.0, 4.0]), np.array([0.0, 1.0, np.nan, 2.0]))
    assert estimate.mean == 1.5
    assert estimate.n == 2
    with pytest.raises(DataError, match="as many"):
        paired_difference(np.zeros(2), np.zeros(3))


def test_bad_options() -> None:
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ConfigError, match="level"):
            bootstrap_interval(np.zeros(3), level=level)
    with pytest.raises(ConfigError, match="draws"):
        bootstrap_interval(np.zeros(3), draws=0)
    with pytest.raises(ConfigError, match="draws"):
        paired_p_value(np.zeros(3), np.zeros(3), draws=0)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_p_value_of_few_pairs_is_exact(differences: list[int]) -> None:
    d = np.array(differences, dtype=np.float64)
    sums = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in itertools.product((1, -1), repeat=len(d))
    ]
    expected = np.mean(np.array(sums) >= abs(d.sum()))
    assert paired_p_value(d, np.zeros(len(d))) == pytest.approx(expected)


def test_p_value_without_evidence_is_one() -> None:
    assert paired_p_value(np.array([]), np.array([])) == 1.0
    assert paired_p_value(np.array([0.5, np.nan]), np.array([0.5, 1.0])) == 1.0


def test_p_value_is_uniform_without_a_difference_and_small_with_one() -> None:
    rng = np.random.default_rng(3)
    same = np.array([paired_p_value(rng.random(40), rng.random(40), draws=400, seed=s) for s in range(300)])
    assert 0.02 <= np.mean(same <= 0.05) <= 0.09
    assert abs(same.mean() - 0.5) < 0.07
    a = rng.random(200)
    assert paired_p_value(a + 0.1 + rng.normal(0, 0.1, 200), a, draws=999) == 1 / 1000


def test_holm_worked_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert holm([]).shape == (0,)
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(DataError, match="between 0 and 1"):
            holm([0.5, bad])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    p = np.array(p_values)
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(p * len(p), 1) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()
