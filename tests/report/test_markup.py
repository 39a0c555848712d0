from __future__ import annotations

import html
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from frugalrec.report._markup import Markup, joined, tag
from frugalrec.report.words import plain


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.attributes: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text())
def test_whatever_is_shown_is_text_again_when_read(content: str, attribute: str) -> None:
    reader = Reader()
    reader.feed(tag("p", content, title=attribute))
    reader.close()
    assert reader.tags == ["p"]
    assert reader.text == plain(content, lines=True)
    assert reader.attributes["title"] == plain(attribute, lines=True)


def test_children_are_escaped_unless_they_are_markup() -> None:
    assert tag("p", "a<b", tag("b", "&"), None, ["x", [1]]) == "<p>a&lt;b<b>&amp;</b>x1</p>"
    assert joined(Markup("<i>"), "<i>") == "<i>&lt;i&gt;"


def test_attributes_by_their_names() -> None:
    made = tag("line", x1=1.23456, x2=2e6, aria_hidden="true", class_="a", hidden=True, id=None, open=False)
    assert made == '<line x1="1.23" x2="2000000" aria-hidden="true" class="a" hidden></line>'


def test_elements_without_content_are_not_closed() -> None:
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert html.unescape(tag("br")) == "<br>"
