from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.errors import ConfigError, MissingExtraError
from frugalrec.text.stop_words import STOP_WORDS, stop_words
from frugalrec.text.words import _cutter, words


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


def test_a_dictionary_cuts_chinese_where_words_end() -> None:
    pytest.importorskip("rjieba", reason="needs the extra 'chinese'")
    assert words("流浪地球2: 导演郭帆", "dictionary") == ["流浪", "地球", "2", "导演", "郭帆"]
    assert words("The Matrix", "dictionary") == ["the", "matrix"]
    assert words("となりのトトロ", "dictionary") == words("となりのトトロ")  # not Chinese: pairs, as ever
    assert words("中", "dictionary") == ["中"]


@given(st.text())
def test_a_dictionary_makes_words_of_the_same_characters(text: str) -> None:
    pytest.importorskip("rjieba", reason="needs the extra 'chinese'")
    pairs, cut = set("".join(words(text))), set("".join(words(text, "dictionary")))
    assert pairs == cut


def test_without_rjieba_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rjieba", None)
    _cutter.cache_clear()
    with pytest.raises(MissingExtraError, match="chinese"):
        words("流浪地球", "dictionary")
    _cutter.cache_clear()


def test_another_segmentation_is_refused() -> None:
    with pytest.raises(ConfigError, match="'pairs' or 'dictionary'"):
        words("流浪", "letters")


def test_lists_of_stop_words() -> None:
    assert "the" in stop_words("short")
    assert not stop_words("none")
    with pytest.raises(ConfigError, match="'short', 'iso' or 'none'"):
        stop_words("long")


def test_the_long_list_has_english_and_chinese() -> None:
    pytest.importorskip("stopwordsiso", reason="needs the extra 'chinese'")
    assert {"the", "nevertheless", "我们", "但是"} <= stop_words("iso")


def test_without_stopwordsiso_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stopwordsiso", None)
    stop_words.cache_clear()
    with pytest.raises(MissingExtraError, match="chinese"):
        stop_words("iso")
    stop_words.cache_clear()
