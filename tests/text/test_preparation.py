from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.errors import ConfigError
from frugalrec.text.preparation import prepared, telling

TEXT = "<p>The <b>Matrix</b>: Reloaded &amp; more!</p>\n"


def test_each_way_takes_more_away() -> None:
    assert prepared(TEXT, "raw") == TEXT
    assert prepared(TEXT, "clean") == "The Matrix: Reloaded & more!"
    assert prepared(TEXT, "words") == "matrix reloaded"
    assert prepared(TEXT, "words", stops="none") == "the matrix reloaded more"


def test_raw_text_is_what_a_tokenizer_takes() -> None:
    assert prepared("a\x00b", "raw") == "a b"
    assert prepared("a\ud800", "raw") == "a?"
    assert prepared(" \n", "raw") == ""


def test_nothing_but_stop_words_stays() -> None:
    assert prepared("It", "words") == "it"
    assert telling("The Who are the") == ["the", "who", "are", "the"]


def test_another_way_is_refused() -> None:
    with pytest.raises(ConfigError, match="'raw', 'clean' or 'words', not 'neat'"):
        prepared("x", "neat")


@given(st.text())
def test_any_text_can_be_prepared(text: str) -> None:
    for how in ("raw", "clean", "words"):
        prepared(text, how).encode("utf-8")
