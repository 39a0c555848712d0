"""Values of a catalogue's fields in a question: those asked for, alternatives, and those ruled out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from frugalrec.tasks._forms import Form, Token, tokens
from frugalrec.tasks._polarity import is_plural, link, signs
from frugalrec.tasks._question_words import FILLER
from frugalrec.tasks._unread import BLANK, Unread
from frugalrec.tasks.attributes import Attributes, Value


class Values:
    """Finds the values of one catalogue in what is unread of a question."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self._longest = attributes.longest_value

    def at(self, parts: Sequence[Token]) -> tuple[int, tuple[Value, ...]] | None:
        """Return how many of ``parts`` (blanks and signs between them allowed) spell a value, and which."""
        for length in range(min(self._longest, len(parts)), 0, -1):
            words = tuple(t.word for t in parts[:length])
            if any(t.text == BLANK or not t.word[0].isalnum() for t in parts[:length]):
                continue
            found = self.attributes.spelled(words)
            if found and not _ordinary(words):
                return length, found
        return None

    def find(self, work: Unread) -> None:
        """Find values, longest first at each place, and blank them."""
        parts = [t for t in tokens(work.left) if t.word[0].isalnum()]
        i = 0
        while i < len(parts):
            chosen = self.at(parts[i:])
            if chosen is None:
                i += 1
                continue
            length, values = chosen
            start, end = parts[i].start, parts[i + length - 1].end
            if i and parts[i - 1].text.casefold() in ("my", "our", "his", "her", "their"):
                i += length  # "my kids" says who asks, not what for
                continue
            if BLANK in work.left[start:end] or re.search(r"[,;.]", work.left[start:end]):
                i += 1
                continue
            work.found.append((start, end, values))
            i += length
        for start, end, _ in work.found:
            work.blank(start, end)


def asked_and_ruled_out(work: Unread) -> tuple[tuple[tuple[Value, ...], ...], tuple[Value, ...]]:
    """Return the groups of values asked for, and the values ruled out."""
    ruled_out = signs(work)
    none_of: list[Value] = []
    groups: list[list[Value]] = []
    positive = [f for f, negative in zip(work.found, ruled_out, strict=True) if not negative]
    for (_, _, values), negative in zip(work.found, ruled_out, strict=True):
        if negative:
            none_of.extend(values)
    links = [
        link(
            work.left[a[1] : b[0]],
            # "comedies and westerns" are of either kind, "a comedy and western" is both
            plural=all(is_plural(work.text[start:end]) for start, end, _ in (a, b)),
            either=re.search("都行|都可以|都好|均可|任选", work.text) is not None,
            both=re.search(r"\bboth\b|\bat once\b|\bas well as\b|\balso\b", work.text, re.IGNORECASE) is not None,
        )
        for a, b in itertools.pairwise(positive)
    ]
    for i in range(len(links) - 2, -1, -1):
        if links[i] == "," and links[i + 1] in ("or", "and"):
            links[i] = links[i + 1]
    for i, (_, _, values) in enumerate(positive):
        if i and links[i - 1] == "or":
            groups[-1].extend(values)
        else:
            groups.append(list(values))
    return tuple(dict.fromkeys(tuple(dict.fromkeys(g)) for g in groups)), tuple(dict.fromkeys(none_of))


def _ordinary(words: Form) -> bool:
    """Whether words are too common to name a value by themselves, or are one Chinese character."""
    return all(word in FILLER for word in words) or (len(words) == 1 and len(words[0]) == 1)
