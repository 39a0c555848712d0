from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.text.stop_words import STOP_WORDS
from frugalrec.text.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Toy Story (1995)", ["toy", "story", "1995"]),
        ("Animation|Children's|Sci-Fi", ["animation", "children", "sci", "fi"]),
        ("don't rock 'n' roll", ["don't", "rock", "n", "roll"]),
        ("It’s the café’s STRASSE", ["it", "the", "café", "strasse"]),
        ("Straße ＦＵＬＬ ①", ["strasse", "full", "1"]),
        ("流浪地球2 HD版", ["流浪", "浪地", "地球", "2", "hd", "版"]),
        ("となりのトトロ", ["とな", "なり", "りの", "のト", "トト", "トロ"]),
        ("기생충", ["기생", "생충"]),
        ("Война и мир", ["война", "и", "мир"]),
        ("महाभारत", ["महाभारत"]),
        ("snake_case 🎬 --", ["snake", "case"]),
    ],
)
def test_known_answers(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_words_of_words_are_the_same(text: str) -> None:
    assert all(word and word == word.strip() and not word.isspace() for word in words(text))


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_takes_the_same_path_as_all_text(text: str) -> None:
    assert words(text + " é") == [*words(text), "é"]


def test_stop_words_are_words() -> None:
    assert all(words(word) == [word] for word in STOP_WORDS)
