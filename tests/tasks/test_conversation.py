"""Questions and answers over a catalogue: what is understood, what is asked back, what can never be said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_films import TITLES, films

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.errors import ConfigError
from frugalrec.recommenders.ease import Ease
from frugalrec.tasks.attributes import Attributes
from frugalrec.tasks.conversation import Answer, Conversation
from frugalrec.testing.data import checkerboard

DATA = films()
ATTRIBUTES = Attributes(DATA.catalog)
MODEL = Ease(ridge=1.0).fit(DATA)


@pytest.fixture
def talk() -> Conversation:
    return Conversation(DATA)


def titles(answer: Answer) -> set[str]:
    return {item.title.split(" (")[0] for item in answer.items}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("a comedy from before 1990, not with romance", {"Night Train", "Laugh Again"}),
        ("comedies without Bo Li", {"Paper Hearts"}),
        ("crime or sci-fi, since 1994, no comedies", {"Red Harvest", "Star Dust"}),
        ("something from Japan that is not for children", {"Red Harvest", "Star Dust"}),
        ("films with Ada Stone from Italy", {"Quiet Valley, The"}),
        ("comedies and westerns", {"Night Train", "Quiet Valley, The", "Moon Kids", "Paper Hearts", "Laugh Again"}),
        ("both a comedy and a romance", {"Paper Hearts"}),
        ("minutes under 92", {"Moon Kids", "Laugh Again"}),
        ("movies between 1978 and 1986", {"Quiet Valley, The", "Laugh Again", "天空之城 Castle"}),
        ("not from the 90s, sci-fi", {"Star Dust"}),
        ("romance-free comedies of the sixties", set()),
        ("non-crime drama", {"Quiet Valley, The"}),
        ("drama, nothing with Valley", {"Night Train"}),
        ("dramas without Valley", {"Night Train"}),
        ("法国的喜剧", {"Night Train", "Laugh Again"}),
        ("1990年以前的喜剧，不要爱情", {"Night Train", "Laugh Again"}),
        ("日本的科幻片或犯罪片", {"Moon Kids", "Red Harvest", "Star Dust"}),
    ],
)
def test_constraints(talk: Conversation, question: str, expected: set[str]) -> None:
    assert titles(talk.ask(question)) == expected


def test_counts(talk: Conversation) -> None:
    assert talk.ask("how many comedies are there?").count == 4
    assert talk.ask("有多少部日本的片子？").count == 4
    assert len(talk.ask("two comedies").items) == 2
    assert len(talk.ask("推荐三部喜剧").items) == 3


def test_facts(talk: Conversation) -> None:
    assert "1994" in talk.ask("When was Moon Kids released?").text
    assert "Crime" in talk.ask("what genre is Red Harvest?").text
    assert talk.ask("Is Red Harvest a comedy?").kind == "no"
    assert talk.ask("Is Red Harvest from Japan?").kind == "yes"
    assert talk.ask("Is Red Harvest from before 1990?").kind == "no"
    assert talk.ask("Is it a comedy?").kind == "no"  # what was shown last
    talk.ask("start over")
    assert talk.ask("Is it a comedy?").kind == "question"
    assert talk.ask("《天空之城》是动画片吗？").kind == "yes"
    assert talk.ask("who directed Red Harvest?").kind == "unknown"


def test_namesakes_are_asked_about_unless_the_year_tells(talk: Conversation) -> None:
    answer = talk.ask("tell me about Night Train")
    assert answer.kind == "question"
    assert answer.options == ("Night Train (1951)", "Night Train (1987)")
    assert titles(talk.ask("tell me about Night Train (1987)")) == {"Night Train"}
    answer = talk.ask("something like Night Train")
    assert answer.kind == "question"
    assert talk.ask("Night Train (1951)").constraints["like"] == ["f0"]


def test_what_the_catalogue_does_not_have_is_said(talk: Conversation) -> None:
    answer = talk.ask("a comedy with Tom Hanks")
    assert (answer.kind, answer.items, answer.not_understood) == ("question", (), ("Tom Hanks",))
    assert titles(talk.ask("yes")) == {"Night Train", "Moon Kids", "Paper Hearts", "Laugh Again"}
    assert talk.ask("tell me about Toy Story 9").kind == "question"
    assert talk.ask("something by Ada Stoan").options == ("Ada Stone",)
    assert titles(talk.ask("Ada Stone")) == {"Night Train", "Quiet Valley, The", "Star Dust"}


def test_nothing_matches_and_what_to_drop(talk: Conversation) -> None:
    answer = talk.ask("a western from 1994")
    assert (answer.kind, answer.count, answer.items) == ("question", 0, ())
    assert len(answer.options) == 2
    assert titles(talk.ask("drop western")) == {"Moon Kids", "Red Harvest"}


def test_contradictions_are_told(talk: Conversation) -> None:
    assert "both with and without Comedy" in talk.ask("a comedy that is not a comedy").text
    assert talk.ask("films from 1990 to 1980").kind == "question"


def test_turns_refine_what_was_said(talk: Conversation) -> None:
    talk.ask("a comedy")
    assert titles(talk.ask("from before 1990")) == {"Night Train", "Paper Hearts", "Laugh Again"}
    assert titles(talk.ask("and no romance")) == {"Night Train", "Laugh Again"}
    assert titles(talk.ask("older")) == set()  # nothing is older than the oldest shown
    assert titles(talk.ask("what about crime?")) <= {"Night Train"}
    talk.ask("start over")
    assert titles(talk.ask("sci-fi")) == {"Moon Kids", "Star Dust"}
    assert titles(talk.ask("Show me westerns")) == {"Quiet Valley, The"}  # a new question


def test_a_value_wanted_again_is_no_longer_ruled_out(talk: Conversation) -> None:
    talk.ask("something without romance")
    assert "Paper Hearts" in titles(talk.ask("only romance"))


def test_more_shows_others(talk: Conversation) -> None:
    talk.k = 2
    first, second = talk.ask("comedies"), talk.ask("more")
    assert not titles(first) & titles(second)
    assert titles(first) | titles(second) == {"Night Train", "Moon Kids", "Paper Hearts", "Laugh Again"}
    assert talk.ask("more").items == ()


def test_an_item_shown_can_be_pointed_at(talk: Conversation) -> None:
    shown = talk.ask("sci-fi").items
    assert talk.ask("the second one").items == (shown[1],)
    assert talk.ask("the fifth").kind == "question"


def test_the_users_own_model_ranks_what_is_allowed() -> None:
    user = 2
    talk = Conversation(DATA, MODEL, user=user)
    found = talk.ask("recommend something").items
    (expected,) = MODEL.recommend([DATA.query(user)], 5)
    assert [item.item for item in found] == [str(DATA.catalog.items.ids[i]) for i in expected.items]
    seen = {str(DATA.catalog.items.ids[i]) for i in DATA.query(user).history}
    assert {item.item for item in talk.ask("which comedies have I seen?").items} == seen
    assert not {item.item for item in talk.ask("comedies I have not seen").items} & seen


def test_a_stranger_has_no_history(talk: Conversation) -> None:
    assert talk.ask("which comedies have I seen?").kind == "question"


def test_a_title_makes_the_query(talk: Conversation) -> None:
    like = Conversation(DATA, MODEL).ask("something like Laugh Again").items
    assert "Laugh Again" not in {item.title for item in like}
    assert "Comedy" in like[0].attributes["genre"]


@pytest.mark.parametrize("nothing", ["", "   ", "😀", "?!", "asdf qwer", "good evening"])
def test_asks_back_when_there_is_nothing_to_go_by(talk: Conversation, nothing: str) -> None:
    answer = talk.ask(nothing)
    assert answer.kind == "question"
    assert answer.items == ()


def test_a_catalogue_with_titles_alone() -> None:
    board = checkerboard(6)
    names = [f"Item number {i}" for i in range(6)]
    talk = Conversation(Dataset(board.interactions, Catalog(board.catalog.items, {"name": names}, ("name",))))
    assert talk.ask("recommend something").kind == "items"
    assert talk.ask("a comedy").kind == "question"
    bare = Conversation(Dataset(board.interactions, Catalog(board.catalog.items)))
    assert bare.ask("from before 1990").kind == "question"
    assert (
        Conversation(Dataset(board.interactions, Catalog(IdMap(board.catalog.items.ids)))).ask("?").kind == "question"
    )


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="k must be at least 1"):
        Conversation(DATA, k=0)


SAID = """a the not without or and but with before after 1990 1980s comedy horror Crime Japan Ada Stone Tom Hanks like
    Night Train (1951) 《 》 " ， 不要 的 或 喜剧 三部 1990年以前 how many is what genre more older first \x00 😀 . ?"""
WORDS = st.sampled_from(SAID.split())


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=12).map(" ".join), st.lists(WORDS, max_size=8).map(" ".join))
def test_nothing_is_invented_whatever_is_said(first: str, second: str) -> None:
    """Any words in any order: no error, and nothing named that is not in the catalogue as it is named."""
    talk = Conversation(DATA, MODEL, user=3, attributes=ATTRIBUTES)
    for said in (first, second):
        answer = talk.ask(said)
        assert answer.text
        for item in answer.items:
            code = DATA.catalog.items.code(item.item)
            assert item.title == TITLES[code]
            assert item.attributes == talk.attributes.of(code)
        if answer.kind == "items" and answer.constraints:
            mask = talk.shortlist.matching(talk.constraints)
            assert all(mask[DATA.catalog.items.code(item.item)] for item in answer.items)


class _Reads:
    """A language model that answers with what it is given, and counts."""

    def __init__(self, answer: object) -> None:
        self.answer, self.asked = answer, []

    def generate_json(self, prompts, schema, *, max_tokens=256):
        self.asked += prompts
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer for _ in prompts]


def test_a_model_reads_only_what_the_rules_do_not_know() -> None:
    model = _Reads({"one_of": ["Comedy"], "none_of": ["Romance"], "from_year": None, "to_year": 1990})
    talk = Conversation(DATA, model=model)
    assert not talk.ask("a western").guessed
    assert model.asked == []
    answer = talk.ask("Show me hilarity of yesteryear")
    assert answer.guessed
    assert titles(answer) == {"Night Train", "Laugh Again"}
    assert len(model.asked) == 1


def test_a_model_cannot_bring_in_what_the_catalogue_does_not_have() -> None:
    model = _Reads({"one_of": ["Opera", "Comedy"], "none_of": ["Tom Hanks"], "from_year": "soon", "to_year": None})
    answer = Conversation(DATA, model=model).ask("some hilarity")
    assert answer.constraints["any_of"] == [[{"field": "genre", "value": "Comedy"}]]
    assert "none_of" not in answer.constraints
    assert "ranges" not in answer.constraints


def test_a_model_that_fails_is_left_out() -> None:
    plain = Conversation(DATA).ask("some hilarity")
    assert Conversation(DATA, model=_Reads(RuntimeError("down"))).ask("some hilarity") == plain
    assert Conversation(DATA, model=_Reads({})).ask("some hilarity") == plain
