"""Which values of a question are asked for, which are ruled out, and which are alternatives."""

from __future__ import annotations

import re
from collections.abc import Sequence

from frugalrec.tasks._forms import form, tokens
from frugalrec.tasks._question_words import (
    CHINESE_NEGATORS,
    CONNECTORS,
    NEGATING_PHRASES,
    NEGATORS,
    NOUNS,
    OR_WORDS,
    RESETS,
)
from frugalrec.tasks._unread import BLANK, Unread


def signs(work: Unread) -> list[bool]:
    """Return for each value found whether it is ruled out."""
    text = work.left.casefold()
    for phrase in NEGATING_PHRASES:
        text = re.sub(rf"\b{phrase}\b", lambda m: "not".ljust(len(m[0]), "\x01"), text)
    for negator in CHINESE_NEGATORS:
        text = text.replace(negator, "非".ljust(len(negator), "\x01"))
    events: list[tuple[int, int, str]] = [(t.start, t.end, t.text) for t in tokens(text) if "\x00" not in t.text]
    events += [(start, end, BLANK) for start, end, _ in work.found]
    events.sort()
    signs: list[bool] = []
    negative = single = False
    holds = 0
    for i, (_, end, word) in enumerate(events):
        if word == BLANK:
            # "romance-free" rules out what stands before it
            free = re.match(r"\s?-\s?(?:free|less)\b", text[end:])
            if free:
                work.blank(end, end + free.end())
            signs.append(negative or free is not None)
            holds += 1
            if single:
                negative = single = False
            continue
        if word in NEGATORS or word == "非" or word.endswith("n't"):
            # "non-" rules out the one thing it is joined to
            negative, holds, single = True, 0, word == "non"
        elif not negative:
            continue
        elif word in (",", "，"):
            if holds and not _goes_on(events, i):
                negative = False
        elif holds and (word in RESETS or word in ("instead", "just")):
            negative = False
    return signs


def _goes_on(events: Sequence[tuple[int, int, str]], comma: int) -> bool:
    """Whether a list of things ruled out goes on after a comma: the next word is one, or joins one."""
    following = [word for _, _, word in events[comma + 1 : comma + 3]]
    if not following:
        return False
    if following[0] == BLANK:
        return True
    return following[0] in ("or", "nor", "and") and len(following) > 1 and following[1] in (BLANK, "any")


def is_plural(said: str) -> bool:
    last = said.rsplit(None, 1)[-1].casefold()
    return last.endswith("s") and form(last) != (last,)


def link(between: str, *, plural: bool, both: bool, either: bool) -> str:
    """Return how two values are joined: "or", "and", "," (as what follows says), or "" for not at all."""
    words = [t.text.casefold() for t in tokens(between.replace(BLANK, " "))]
    stems = [t.word for t in tokens(between.replace(BLANK, " ").casefold())]
    if any(s not in CONNECTORS and w not in CONNECTORS for w, s in zip(words, stems, strict=True)):
        return ""
    if any(w in OR_WORDS for w in words):
        return "or"
    if not either and words and all(w in (",", "、", "，") or w in NOUNS for w in words):
        return ","
    if either:
        return "or"
    return "or" if plural and not both and "and" in words else "and"
