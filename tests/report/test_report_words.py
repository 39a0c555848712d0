from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Reason
from frugalrec.data.ids import IdMap
from frugalrec.report import _markup, _pieces, words
from frugalrec.significance import Estimate

CATALOG = Catalog(
    IdMap(["1", "2", "3", "4"]), {"title": ["Toy Story", "Aladdin", "  Heat\x1b[31m\n(1995)", ""]}, ("title",)
)


@pytest.mark.parametrize("module", [words, _markup, _pieces])
def test_the_examples_in_docstrings_hold(module) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_history_items_that_contributed_are_named_with_their_shares() -> None:
    reasons = (Reason("history", 0.321, 0), Reason("history", 0.21, 1))
    assert words.explain_words(reasons, CATALOG) == "because of Toy Story (32% of the score) and Aladdin (21%)"


def test_what_worked_against_an_item_is_no_reason_for_it() -> None:
    reasons = (Reason("history", 1.2, 0), Reason("history", 0.0, 2), Reason("history", -0.2, 1))
    assert words.explain_words(reasons, CATALOG) == "because of Toy Story (120% of the score)"


def test_words_of_a_whole_reason_stand_as_they_are() -> None:
    reasons = (Reason("popularity", 1.0, words="495 of 943 users chose it"),)
    assert words.explain_words(reasons, CATALOG) == "495 of 943 users chose it"


def test_reasons_of_several_kinds_keep_their_order_and_their_shares() -> None:
    reasons = (
        Reason("text", 0.5, words="matches “slow films”"),
        Reason("history", 0.3, 0),
        Reason("text", 0.15, 1),
        Reason("text", 0.004, 0),
        Reason("popularity", 0.046, words="5 of 9 users chose it"),
    )
    assert words.explain_words(reasons, CATALOG) == (
        "matches “slow films” (50% of the score); because of Toy Story (30% of the score); its text resembles "
        "Aladdin (15% of the score) and Toy Story (less than 1%); 5 of 9 users chose it (5% of the score)"
    )


def test_an_item_without_a_title_goes_by_its_id_and_control_codes_are_gone() -> None:
    reasons = (Reason("history", 0.6, 2), Reason("history", 0.4, 3))
    assert words.explain_words(reasons, CATALOG) == "because of Heat[31m (1995) (60% of the score) and 4 (40%)"


def test_no_reason_is_said_to_be_none() -> None:
    assert words.explain_words((), CATALOG) == "no reason is known"
    assert words.explain_words((Reason("history", -1.0, 0),), CATALOG) == "no reason is known"


@pytest.mark.parametrize(
    "shown", [words.count, words.duration, words.size, words.amount, words.quantity, words.score, words.signed]
)
def test_unknown_is_unknown_and_zero_is_zero(shown) -> None:
    assert shown(None) == "unknown"
    assert shown(0.0) in {"0", "0 s", "0 B"}


def test_an_unknown_sum_of_money_has_no_currency() -> None:
    assert words.money(None, "USD") == "unknown"
    assert words.money(0.0, "USD") == "USD 0"
    assert words.estimated(Estimate(0.5, None, None, 1)) == ".5000 [unknown]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1e-9, "<1 µs"),
        (59.0, "59.0 s"),
        (59.996, "60.0 s"),
        (60, "1 min 0 s"),
        (3599.9, "1 h 0 min"),
        (200_000, "2.31 days"),
        (1e9, "31.7 years"),
    ],
)
def test_durations_at_the_edges_of_their_units(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-12, "<0.000001"),
        (0.996, "1.00"),
        (999.999, "1000.00"),
        (2_340_000, "2.34 million"),
        (4.2e12, "4,200 billion"),
    ],
)
def test_sums_of_money_from_tiny_to_huge(value: float, text: str) -> None:
    assert words.amount(value) == text


@given(st.floats(min_value=0, max_value=1e300))
def test_no_number_is_shown_with_an_exponent_or_as_zero_when_it_is_not(value: float) -> None:
    for shown in (words.amount(value), words.duration(value), words.size(value)):
        assert "e" not in shown.replace("unknown", "").replace("years", "")
        assert (shown.split()[0] == "0") == (value == 0) or shown.endswith(" B")


@given(st.text())
def test_plain_text_has_no_controls_no_surrogates_and_no_bidi_overrides(text: str) -> None:
    plain = words.plain(text)
    plain.encode("utf-8")
    assert not set(plain) & {chr(c) for c in (*range(32), 127, 0x202E, 0x2066)}
    assert words.plain(plain) == plain


def test_lone_surrogates_can_be_written() -> None:
    assert words.plain("a\ud800b").encode("utf-8") == b"a?b"
