from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.report._axes import Box, Scale, place_labels, text_width

finite = st.floats(min_value=-1e9, max_value=1e9, allow_subnormal=False)
positive = st.floats(min_value=1e-12, max_value=1e12)


@given(st.lists(finite, min_size=1, max_size=20), st.integers(2, 8))
def test_linear_scales_hold_all_values_and_have_few_round_ticks(values: list[float], n: int) -> None:
    scale = Scale.linear(values, 0, 100)
    assert all(-1e-6 <= scale(v) <= 100 + 1e-6 for v in values)
    ticks = scale.ticks(n)
    assert 1 <= len(ticks) <= n + 1
    assert ticks == sorted(ticks)


@given(st.lists(positive, min_size=1, max_size=20), st.integers(2, 8))
def test_logarithmic_scales_hold_all_values_and_have_few_ticks(values: list[float], n: int) -> None:
    scale = Scale.logarithmic(values, 0, 100)
    assert all(0 <= scale(v) <= 100 for v in values)
    ticks = scale.ticks(n)
    assert 1 <= len(ticks) <= n + 1
    assert ticks == sorted(set(ticks))
    assert all(0 <= scale(t) <= 100 for t in ticks)


def test_zero_has_its_own_place_left_of_every_positive_value() -> None:
    scale = Scale.logarithmic([0.0, 1e-9, 1e9], 0, 100)
    assert scale(0.0) == scale.zero == 0
    assert scale(1e-9) > 9
    assert Scale.logarithmic([1.0, 2.0], 0, 100).zero is None


def test_nothing_but_zeros_and_nothing_at_all_make_a_scale() -> None:
    assert Scale.logarithmic([0.0, 0.0], 0, 100)(0.0) == 0
    assert Scale.logarithmic([], 0, 100).ticks(3)
    assert Scale.linear([], 0, 100).ticks(3)
    assert Scale.linear([0.0, 0.0], 0, 100, from_zero=True).low == 0.0


def test_decades_are_the_ticks_of_wide_scales_and_round_values_those_of_narrow_ones() -> None:
    assert Scale(0.05, 2000, 0, 1, log=True).ticks(6) == pytest.approx([0.1, 1, 10, 100, 1000])
    assert Scale(0.9, 12, 0, 1, log=True).ticks(6) == pytest.approx([1, 3, 10])


def test_values_equal_but_for_rounding_are_equal() -> None:
    scale = Scale.linear([0.1, 0.1 + 1e-17, 0.09999999999999999], 0, 100)
    assert 25 < scale(0.1) < 75


@given(st.lists(st.tuples(st.floats(20, 580), st.floats(20, 380)), min_size=1, max_size=40))
def test_labels_cover_neither_each_other_nor_points_nor_the_edge(places: list[tuple[float, float]]) -> None:
    area = Box(0, 0, 600, 400)
    points = [(x, y, f"plan-{i}", 6.0) for i, (x, y) in enumerate(places)]
    marks = [Box(x - 7, y - 7, 14, 14) for x, y in places]
    labels = [label for label in place_labels(points, area, size=12, avoid=marks) if label is not None]
    assert all(label.box.within(area) for label in labels)
    assert not any(a.box.overlap(b.box) for a, b in itertools.combinations(labels, 2))
    assert not any(label.box.overlap(mark) for label in labels for mark in marks)


def test_a_label_that_would_be_read_as_a_neighbours_stands_elsewhere() -> None:
    points = [(100.0, 100.0, "left", 6.0), (114.0, 100.0, "right", 6.0)]
    marks = [Box(x - 7, y - 7, 14, 14) for x, y, _, _ in points]
    first, second = place_labels(points, Box(0, 0, 300, 200), size=12, avoid=marks)
    assert first is not None
    assert first.box.distance(100, 100) < first.box.distance(114, 100)
    assert second is not None
    assert second.box.distance(114, 100) < second.box.distance(100, 100)


def test_the_label_that_must_be_there_is_there_whatever_it_covers() -> None:
    area = Box(0, 0, 200, 100)
    crowd = [Box(0, 0, 200, 100)]
    assert place_labels([(100, 50, "chosen", 6.0)], area, size=12, avoid=crowd) == [None]
    (label,) = place_labels([(100, 50, "chosen", 6.0)], area, size=12, avoid=crowd, must=1)
    assert label is not None


def test_wide_scripts_take_twice_the_room() -> None:
    assert text_width("花樣", 12) == text_width("abcd", 12)
