from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.cost import Ledger
from frugalrec.encoders.bm25 import Bm25
from frugalrec.errors import ConfigError, NotFittedError

TEXTS = ["red apple", "red pear pear", "red plum", "green kiwi fruit", ""]


def cosine(encoder: Bm25, a: str, b: str) -> float:
    left, right = encoder.encode([a, b])
    return float(left @ right)


def test_weights_are_those_of_the_formula() -> None:
    # Four texts with words, 2.5 words on average; red is in three of them, the others in one.
    def idf(n: int) -> float:
        return math.log(1 + (4 - n + 0.5) / (n + 0.5))

    def tf(count: int, length: int) -> float:
        return count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 2.5))

    red, apple, pear = idf(3) * tf(1, 2), idf(1) * tf(1, 2), idf(1) * tf(2, 3)
    red_again = idf(3) * tf(1, 3)
    expected = red * red_again / (math.hypot(red, apple) * math.hypot(red_again, pear))
    fitted = Bm25(dim=1 << 14).fit(TEXTS)
    assert fitted.mean_length_ == 2.5
    assert cosine(fitted, "red apple", "red pear pear") == pytest.approx(expected, abs=0.02)


def test_tf_idf_is_the_smoothed_one() -> None:
    fitted = Bm25(dim=1 << 14, weighting="tf-idf").fit(TEXTS)
    red, rare = 1 + math.log(5 / 4), 1 + math.log(5 / 2)
    pear = (1 + math.log(2)) * rare
    expected = red * red / (math.hypot(red, rare) * math.hypot(red, pear))
    assert cosine(fitted, "red apple", "red pear pear") == pytest.approx(expected, abs=0.02)


def test_words_that_all_texts_have_say_little() -> None:
    fitted = Bm25(4096).fit([f"story of {name}" for name in ("rome", "oslo", "lima", "bonn")] + ["hill of rome"])
    assert cosine(fitted, "story of rome", "hill of rome") > 2 * cosine(fitted, "story of rome", "story of oslo")


def test_what_was_learned_is_part_of_the_fingerprint() -> None:
    assert Bm25().fit(TEXTS).fingerprint() == Bm25().fit(TEXTS).fingerprint()
    assert Bm25().fit(TEXTS).fingerprint() != Bm25().fit(TEXTS[:3]).fingerprint()
    assert Bm25().fit(TEXTS).fingerprint() != Bm25(k1=1.0).fit(TEXTS).fingerprint()


def test_before_fit() -> None:
    with pytest.raises(NotFittedError, match="bm25"):
        Bm25().encode(["x"])
    with pytest.raises(NotFittedError, match="bm25"):
        Bm25().fingerprint()


def test_a_catalogue_without_words() -> None:
    fitted = Bm25().fit(["", "!"])
    assert not fitted.encode([""]).any()
    assert np.linalg.norm(fitted.encode(["apple"])) == pytest.approx(1)


def test_chinese_by_the_dictionary() -> None:
    pytest.importorskip("rjieba", reason="needs the extra 'chinese'")
    texts = ["流浪地球", "地球脉动", "红楼梦"]
    fitted = Bm25(4096, segmentation="dictionary").fit(texts)
    assert cosine(fitted, "流浪地球", "地球脉动") > 0.1
    assert abs(cosine(fitted, "流浪地球", "红楼梦")) < 0.1


def test_flops_by_formula() -> None:
    fitted = Bm25(64).fit(TEXTS)
    ledger = Ledger()
    with ledger.span("encode"):
        fitted.encode(["red apple", "red red", ""])
    assert ledger.total().flops == 2 * 8 * 3 + 3 * 64 * 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"dim": 12}, "multiple of 8"),
        ({"k1": -1.0}, "k1"),
        ({"b": 1.5}, "b between"),
        ({"weighting": "x"}, "weighting"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Bm25(**settings)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_any_text_gets_a_unit_or_a_zero_row(texts: list[str]) -> None:
    norms = np.linalg.norm(Bm25(64).fit(texts).encode(texts), axis=1)
    assert np.all((np.abs(norms - 1) < 1e-5) | (norms == 0))
