"""The pieces that sections of the report are built from, and how much of anything they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from frugalrec.planner import Choice, Decision
from frugalrec.report import words
from frugalrec.report._markup import Child, Markup, joined, tag

MOST_PLANS = 60
MOST_LINES = 50
LONGEST_LINE = 300
"""What the report holds at most of anything, so that its size does not follow the data's; what is cut says so."""


def section(anchor: str, title: str, about: str, *children: Child) -> Markup:
    """Return a section under a heading, with a paragraph that says how to read it."""
    return tag("section", tag("h2", title), tag("p", line(about, 2000)), *children, id=anchor)


def figure(drawn: Sequence[Markup], caption: str = "") -> Markup:
    """Return a plot drawn twice, wide and narrow; the style sheet shows the one that fits."""
    wide, narrow = drawn
    return tag(
        "figure",
        tag("div", wide, class_="wide"),
        tag("div", narrow, class_="narrow"),
        tag("figcaption", caption) if caption else None,
    )


def table(columns: Sequence[tuple[str, str, bool]], rows: Sequence[Markup], *, kind: str = "") -> Markup:
    """Return a table in a frame that scrolls. A column: heading, small print under it, whether it holds numbers."""
    head = [
        tag("th", name, tag("small", more) if more else None, class_="n" if right else None, scope="col")
        for name, more, right in columns
    ]
    shown = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), class_=kind or None)
    return tag("div", shown, class_="scroll")


def row(choice: Choice, decision: Decision, *cells: Child, below: Child = None) -> Markup:
    """Return a row about a plan: its name, ``below`` it in small print what there is to say, and cells."""
    name = tag("th", line(choice.name, 80), below, scope="row", data_value=words.shorten(choice.name))
    return tag("tr", name, *cells, class_="chosen" if choice.name == decision.plan else None)


def number(text: str, value: float | None = None, *below: Child, style: str = "n") -> Markup:
    """Return a cell with a number as text, and the value that it is sorted by."""
    known = text != words.UNKNOWN
    return tag(
        "td", text, *below, class_=style if known else f"{style} unknown",
        data_value="" if value is None else f"{value:.9g}",
    )  # fmt: skip


def line(text: str, length: int = LONGEST_LINE) -> str:
    """Return ``text`` in one line, cut to ``length``."""
    return words.shorten(text, length)


def lines(texts: Sequence[str], length: int = LONGEST_LINE) -> Markup:
    """Return a list with a line each, cut after `MOST_LINES`."""
    more = len(texts) - MOST_LINES
    shown = [tag("li", line(text, length)) for text in texts[:MOST_LINES]]
    return tag("ul", shown, tag("li", f"and {words.count(more)} more") if more > 0 else None, class_="plain")


def facts(table: Mapping[str, object]) -> Markup:
    """Return names and values side by side, cut after `MOST_LINES`."""
    shown = [joined(tag("dt", line(k, 60)), tag("dd", line(value(v)))) for k, v in list(table.items())[:MOST_LINES]]
    more = len(table) - MOST_LINES
    rest = joined(tag("dt", "…"), tag("dd", f"and {words.count(more)} more")) if more > 0 else None
    return tag("dl", shown, rest, class_="facts")


def value(given: object) -> str:
    """Return a setting, a count or a table of them as text."""
    if isinstance(given, Mapping):
        return ", ".join(f"{str(k).replace('_', ' ')} {value(v)}" for k, v in given.items())
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, int):
        return words.count(given)
    return words.UNKNOWN if given is None else words.setting(given)


def sentence(text: str) -> str:
    """Return ``text`` with a capital and a full stop.

    >>> sentence("cheapest plan")
    'Cheapest plan.'
    """
    text = line(text).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def few(names: Iterable[str], most: int = 6) -> str:
    """Return an enumeration of the first ``most`` names and how many more there are.

    >>> few("abcd", 2)
    'a, b and 2 more'
    """
    known = [words.shorten(name, 48) for name in names]
    return f"{', '.join(known[:most])} and {len(known) - most} more" if len(known) > most else words.listed(known)
