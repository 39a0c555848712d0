"""What a text says beyond its sources is found."""

from __future__ import annotations

import pytest

from frugalrec.tasks.grounding import ungrounded

SOURCES = [
    "Heat (1995): Crime, Thriller. country: United States.",
    "People who chose it also chose The Usual Suspects and Se7en.",
    "452 people chose it. They rated it 3.9 on average, where 3.5 is usual.",
]


def flagged(text: str) -> list[str]:
    return [flag.words for flag in ungrounded(text, SOURCES)]


@pytest.mark.parametrize(
    "text",
    [
        "Heat is a crime thriller of 1995.",
        "A thriller from the 1990s, chosen by 452 people.",
        "People who chose Heat also chose The Usual Suspects and Se7en.",
        "This film from the United States is rated 3.9, which is above the usual 3.5.",
        "“Heat” is a thriller. It was made in 1995.",
        "Chosen by 452 people.",
        "",
    ],
)
def test_what_the_sources_say_passes(text: str) -> None:
    assert flagged(text) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Heat is a thriller of 1996.", "1996"),
        ("A thriller from the 1980s.", "1980s"),
        ("Rated 4.9 on average.", "4.9"),
        ("Chosen by 4,520 people.", "4,520"),
        ("Heat was directed by Michael Mann.", "Michael Mann"),
        ("Spielberg made it.", "Spielberg"),
        ("Fans of Al Pacino will like Heat.", "Al Pacino"),
        ("Two detectives meet.", "Two"),
        ("People also chose “Alien”.", "Alien"),
        ("喜欢《异形》的人也喜欢它。", "异形"),
        ("由史蒂文·斯皮尔伯格导演。", "由史蒂文·斯皮尔伯格导演"),
        ("A United Kingdom film.", "United Kingdom"),
        ("The Suspects Usual is alike.", "The Suspects Usual"),
    ],
)
def test_what_they_do_not_say_is_flagged(text: str, wrong: str) -> None:
    assert any(wrong in words for words in flagged(text))


def test_ordinary_words_may_be_made_known() -> None:
    assert ungrounded("Gripping and dark.", SOURCES)
    assert not ungrounded("Gripping and dark.", SOURCES, known={"gripping"})
