"""The machine profile and forecasts as plots and pages."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from frugalrec.machine_profile import Power, Profile, hardware
from frugalrec.report import profile_page
from frugalrec.report._lines import lines
from frugalrec.report._roofline import points_of, roofline
from frugalrec.report.page import standalone

RATES = {
    "gemm-f32": {1: ((256.0, 8e10), (2048.0, 9e10))},
    "gemm-f64": {1: ((2048.0, 4e10),)},
    "factor-f32": {1: ((1024.0, 5e10),)},
    "gather": {1: ((1500.0, 3e9),)},
    "stream": {1: ((4e6, 6e10), (6e7, 1.4e10))},
    "encode": {1: ((16.0, 3000.0),)},
}


def test_a_roofline_has_every_measured_point() -> None:
    profile = Profile(hardware(), RATES)
    drawn = roofline(profile)
    assert drawn.count("<circle") == len(points_of(profile)) == 5
    assert "memory 14.0 GB/s" in drawn  # of the copy that no cache holds
    ElementTree.fromstring(drawn)
    ElementTree.fromstring(standalone(drawn))


def test_without_memory_or_products_there_is_none() -> None:
    assert "No roofline" in roofline(Profile(hardware(), {"gather": RATES["gather"]}))
    assert "No roofline" in roofline(Profile(hardware(), {}))


def test_the_page_of_a_profile_says_what_is_unknown() -> None:
    page = profile_page.render(Profile(hardware(), RATES, {"encoder": 2}, notes=("<b> was not measured",)))
    assert "power under load: unknown" in page
    assert "threads to take: 2 for encoder" in page
    assert "&lt;b&gt; was not measured" in page
    assert "3.00 k token/s" in page
    busy = profile_page.lines(Profile(hardware(), RATES, power=Power(65.0, "estimated", "TDP"), contention=2.5))
    assert any("65 W (estimated: TDP)" in line for line in busy)
    assert any("2.5 times the CPU time" in line for line in busy)
    assert not any("at other moments" in line for line in busy)
    shared = profile_page.lines(Profile(hardware(), RATES, variation=1.84))
    assert any("up to 1.8 times as long" in line for line in shared)


def test_lines_are_named_and_marked() -> None:
    drawn = lines([1, 10, 100], {"a": [1, 2, 3], "b <x>": [3, 3, 3.1]}, x_title="x", y_title="y", marks=[(10, "here")])
    tree = ElementTree.fromstring(drawn)
    words = {element.text for element in tree.iter("text")}
    assert {"a", "b <x>", "here"} <= words
    ends = sorted(float(e.attrib["y"]) for e in tree.iter("text") if e.text in ("a", "b <x>"))
    assert ends[1] - ends[0] >= 12.9  # names do not cover one another
    assert "Nothing to draw" in lines([], {}, x_title="x", y_title="y")


@pytest.mark.parametrize(
    ("kind", "rate", "shown"), [("gemm-f32", 4.56e10, "45.6 GFLOP/s"), ("encode", 812.0, "812 token/s")]
)
def test_rates_in_words(kind: str, rate: float, shown: str) -> None:
    assert profile_page.rate_words(kind, rate) == shown
