from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.cost import Ledger
from frugalrec.data.shape import DataShape
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.errors import ConfigError
from frugalrec.testing.data import toy_dataset


def cosine(a: str, b: str, dim: int = 4096) -> float:
    left, right = BagOfWords(dim).encode([a, b])
    return float(left @ right)


def test_cosines_are_those_of_the_word_counts() -> None:
    assert cosine("space opera", "space western") == pytest.approx(1 / 2, abs=0.05)
    assert cosine("red red green", "red blue") == pytest.approx(
        (1 + np.log(2)) / (np.hypot(1 + np.log(2), 1) * np.sqrt(2)), abs=0.05
    )
    assert cosine("apple", "galaxy") == pytest.approx(0, abs=0.05)


def test_reads_past_case_markup_and_stop_words() -> None:
    assert cosine("The <b>Matrix</b>", "MATRIX") == pytest.approx(1)
    assert cosine("It", "it") == pytest.approx(1)  # nothing but stop words: then they count


def test_chinese_meets_where_two_characters_do() -> None:
    assert cosine("流浪地球", "地球脉动") == pytest.approx(1 / 3, abs=0.05)
    assert cosine("流浪地球", "红楼梦") == pytest.approx(0, abs=0.05)


def test_flops_by_formula_and_no_tokens() -> None:
    ledger = Ledger()
    with ledger.span("encode"):
        BagOfWords(64).encode(["space opera", "space space", ""])
    assert ledger.total().flops == 2 * 8 * (2 + 1) + 3 * 64 * 3
    assert ledger.total().tokens_in == 0


@pytest.mark.parametrize("dim", [0, -8, 4, 100])
def test_dim_is_checked(dim: int) -> None:
    with pytest.raises(ConfigError, match=f"multiple of 8, not {dim}"):
        BagOfWords(dim)


@given(st.lists(st.text(max_size=30), max_size=6))
def test_any_text_gets_a_unit_or_a_zero_row(texts: list[str]) -> None:
    norms = np.linalg.norm(BagOfWords(64).encode(texts), axis=1)
    assert np.all((np.abs(norms - 1) < 1e-5) | (norms == 0))


def test_words_that_come_again_are_drawn_once() -> None:
    data = toy_dataset(n_users=5, n_items=12)
    distinct = {word for text in data.catalog.texts() for word in BagOfWords()._read(text)}
    (drawn,) = (w.amount for w in BagOfWords().expected(DataShape.of(data)).work or () if w.kind == "vocabulary")
    assert drawn == len(distinct)
