"""What single questions are read as; what is answered to them is in test_conversation.py."""

from __future__ import annotations

import pytest
from toy_films import TITLES, films

from frugalrec.tasks.attributes import Attributes, Value
from frugalrec.tasks.questions import QuestionReader, Reading


@pytest.fixture(scope="module")
def reader() -> QuestionReader:
    return QuestionReader(Attributes(films().catalog))


def names(reading: Reading) -> list[list[str]]:
    return [[value.name for value in group] for group in reading.constraints.any_of]


@pytest.mark.parametrize(
    ("question", "intent"),
    [
        ("a comedy", "find"),
        ("how many westerns are there?", "count"),
        ("who directed Star Dust?", "facts"),
        ("is Star Dust a comedy?", "check"),
        ("more", "more"),
        ("start over", "reset"),
        ("the second one", "ordinal"),
    ],
)
def test_intent(reader: QuestionReader, question: str, intent: str) -> None:
    assert reader.read(question).intent == intent


def test_values_are_alternatives_or_needed_together_or_ruled_out(reader: QuestionReader) -> None:
    assert names(reader.read("a comedy or a western")) == [["Comedy", "Western"]]
    both = reader.read("a crime drama without Ada Stone")
    assert sorted(names(both)) == [["Crime"], ["Drama"]]
    assert both.constraints.none_of == (Value("people", "Ada Stone"),)


def test_numbers_bound_fields_and_years_and_tell_how_many(reader: QuestionReader) -> None:
    found = reader.read("two comedies from before 1990 with minutes under 100").constraints
    assert found.k == 2
    assert {(r.field, r.high < 1990) for r in found.ranges} == {("year", True), ("minutes", True)}


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("who directed Star Dust?", [7]),
        ('what is "Night Train" about?', [0, 1]),
        ("who directed Night Train (1987)?", [1]),
        ("who directed Star Dust 9?", []),  # a longer name than any there is
    ],
)
def test_the_title_that_a_question_is_about(reader: QuestionReader, question: str, about: list[int]) -> None:
    assert sorted(reader.read(question).about) == about, TITLES


def test_titles_that_others_shall_be_like(reader: QuestionReader) -> None:
    assert reader.read("something like Moon Kids").constraints.like == (3,)
    unclear = reader.read("something like Night Train")
    assert (unclear.unclear_title, sorted(unclear.titles)) == ("Night Train", [0, 1])


def test_what_nothing_explains_is_told_with_what_is_near(reader: QuestionReader) -> None:
    (unknown,) = reader.read("a comedy with Ada Stonne").unknown
    assert unknown.needed
    assert unknown.near == ("Ada Stone",)
    (unknown,) = reader.read("a comedy without Zed Quark").unknown
    assert unknown.negated


def test_words_of_titles_are_looked_for_there(reader: QuestionReader) -> None:
    assert reader.read("a film with valley in it").constraints.text == "valley"
