from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.text.clean import clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  plain \t text\n", "plain text"),
        ("<p>One.</p><p>Two.</p>", "One. Two."),
        ("very<br/>fine<BR>cloth", "very fine cloth"),
        ("H<sub>2</sub>O and <b>bold</b>ness", "H2O and boldness"),
        ('<a href="http://x.y/?a=1&amp;b=2">link</a>', "link"),
        ("before<!-- <b>hidden</b> -->after", "before after"),
        ("<style>p {color: red}</style>Soap<script>var a = 1;</script>", "Soap"),
        ("Rock &amp; Roll &#39;n&#x27; &eacute;t&eacute;", "Rock & Roll 'n' été"),
        ("&lt;p&gt;escaped &amp;amp; twice&lt;/p&gt;", "escaped & twice"),
        ("AT&T, Q&A; 3 < 5 > 2, I <3 you, List<String>", "AT&T, Q&A; 3 < 5 > 2, I <3 you, List<String>"),
        ("<not a tag", "<not a tag"),
        ("cafe\u0301 soft\u00adhyphen zero\u200bwidth\ufeff", "café softhyphen zerowidth"),
        ("nul\x00and\x85next\u3000wide", "nul and next wide"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        ("<br>", ""),
    ],
)
def test_known_answers(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text())
def test_laws(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split())
    assert unicodedata.is_normalized("NFC", cleaned)
    if "&" not in text and "<" not in text:
        assert clean(cleaned) == cleaned


@pytest.mark.parametrize("piece", ["<", "<!--", "<script>", "&amp;", "&", "<p ", "</", "<b"])
@pytest.mark.timeout(5)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    clean(piece * 100_000)
