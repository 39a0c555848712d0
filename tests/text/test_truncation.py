from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from frugalrec.text.truncation import estimated_tokens, truncated


def by_words(text: str) -> int:
    return len(text.split())


def test_cuts_after_a_word() -> None:
    assert truncated("one two three four", 3, by_words) == "one two three"
    assert truncated("one two three", 3, by_words) == "one two three"
    assert truncated("abcdef ghijkl", 9, len) == "abcdef"
    assert truncated("abcdef ghijkl", 6, len) == "abcdef"


def test_without_spaces_it_cuts_between_characters() -> None:
    assert truncated("流浪地球二", 3, len) == "流浪地"
    assert truncated("abc", 0, len) == ""


@given(st.text(max_size=60), st.integers(0, 30))
def test_the_result_is_a_beginning_that_fits(text: str, limit: int) -> None:
    kept = truncated(text, limit, len)
    assert text.startswith(kept)
    assert len(kept) <= limit or kept == text
    if " " not in text and not any(character.isspace() for character in text):
        assert kept == text[:limit]


def test_estimates_are_rather_too_high() -> None:
    assert estimated_tokens("") == 0
    assert estimated_tokens("The quick brown fox jumps over the lazy dog") >= 9
    assert estimated_tokens("流浪地球") == 4
    assert estimated_tokens("\ud800") == 1
