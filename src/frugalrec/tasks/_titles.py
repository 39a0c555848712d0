"""Titles in a question: the item it is about, and those that others shall be like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from frugalrec.tasks._forms import Token, form, normal, tokens
from frugalrec.tasks._question_words import FILLER_STEMS, LIKE, NOUNS
from frugalrec.tasks._reading import Intent
from frugalrec.tasks._unread import BLANK, Unread
from frugalrec.tasks.attributes import Attributes


class Titles:
    """Finds the titles of one catalogue in what is unread of a question, and blanks them."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self._longest = attributes.longest_title

    def called(self, words: str) -> tuple[int, ...]:
        """Return the codes of items called ``words``; a year in brackets tells namesakes apart."""
        said = re.sub(r"\s*[(（]\d{4}[)）]\s*$", "", normal(words))
        found = self.attributes.exactly(self.attributes.titled(form(said)), said)
        return _of_year(self.attributes, found, normal(words))

    def subject(self, work: Unread, intent: Intent) -> tuple[int, ...]:
        """Find the title that a question about one item names, blank it, and return the codes that bear it."""
        quoted = re.search(r'"([^"]+)"|《([^》]+)》', work.left)
        if quoted:
            if not (codes := self.called(quoted[1] or quoted[2])):
                return ()
            found = _of_year(self.attributes, codes, work.left[quoted.start() :])
            work.blank(*quoted.span())
            _blank_year(work, quoted.end())
            return found
        parts = [t for t in tokens(work.left) if t.word[0].isalnum()]
        if intent == "check":
            starts: Iterable[int] = (1, 2, 3) if parts and parts[0].word.isascii() else range(len(parts))
        else:
            starts = range(len(parts))
        best: tuple[int, int, tuple[int, ...]] | None = None
        for start in starts:
            for length in range(min(self._longest, len(parts) - start), 0, -1):
                words = tuple(t.word for t in parts[start : start + length])
                codes = self.attributes.titled(words)
                if codes and self._can_be_title(parts, start, length) and (best is None or length > best[1]):
                    best = (start, length, codes)
        if best is None:
            return ()
        start, length, codes = best
        end = parts[start + length - 1].end
        if _cut_from_a_longer_name(parts, start, length, text=work.left):
            return ()
        found = _of_year(self.attributes, codes, work.left[parts[start].start :], named=end - parts[start].start)
        work.blank(parts[start].start, end)
        _blank_year(work, end)
        return found

    def like(self, work: Unread) -> tuple[tuple[int, ...], str, tuple[int, ...]]:
        """Return codes of items to resemble, and where a title is not clear, what was said and who may be meant."""
        found: list[int] = []
        for match in list(re.finditer(r'"([^"]+)"|《([^》]+)》', work.left)):
            said = match[1] or match[2]
            codes = _of_year(self.attributes, self.called(said), work.left[match.start() :])
            _blank_cue(work, match.start())
            work.blank(*match.span())
            _blank_year(work, match.end())
            if len(codes) != 1:
                return (), said, codes or tuple(self.attributes.near_titles(form(said)))
            found.extend(codes)
        for match in list(LIKE.finditer(work.left)):
            parts = [t for t in tokens(work.left[match.end() :]) if t.word[0].isalnum() and BLANK not in t.text]
            offset = match.end()
            chosen = self._title_at(parts)
            if chosen is None:
                continue
            length, codes = chosen
            span = offset + parts[0].start, offset + parts[length - 1].end
            codes = _of_year(self.attributes, codes, work.left[span[0] :], named=span[1] - span[0])
            work.blank(*match.span())
            said = work.left[span[0] : span[1]]
            work.blank(*span)
            _blank_year(work, span[1])
            if len(codes) > 1:
                return tuple(found), said, codes
            found.extend(codes)
        return tuple(found), "", ()

    def _can_be_title(self, parts: Sequence[Token], start: int, length: int) -> bool:
        """Whether words can name an item: they must not be a value or the words that every question has."""
        words = [t.word for t in parts[start : start + length]]
        if all(word in FILLER_STEMS or word in NOUNS for word in words):
            # "It", "What", "That" are titles too: believed where they are written as one.
            return parts[start].text[0].isupper() and start > 0
        return not (length == 1 and self.attributes.spelled(tuple(words)) and not parts[start].text[0].isupper())

    def _title_at(self, parts: Sequence[Token]) -> tuple[int, tuple[int, ...]] | None:
        """Return how many of ``parts`` make the longest title at their start, and whose; None where none does."""
        for length in range(min(self._longest, len(parts)), 0, -1):
            words = tuple(t.word for t in parts[:length])
            codes = self.attributes.titled(words)
            if not codes:
                continue
            plain = all(w in FILLER_STEMS or w in NOUNS or self.attributes.spelled((w,)) for w in words)
            if plain and not parts[0].text[0].isupper():
                continue  # "like a comedy" names no title, though one is called so
            return length, codes
        return None


def _cut_from_a_longer_name(parts: Sequence[Token], start: int, length: int, *, text: str) -> bool:
    """Whether words beside a title belong to it, so that another name is meant: "Toy Story 9"."""
    for i, gap in ((start - 1, (start - 1, start)), (start + length, (start + length - 1, start + length))):
        if 0 < i < len(parts):
            word, (left, right) = parts[i], gap
            close = not re.search(r"[^\s]", text[parts[left].end : parts[right].start])
            sequel = word.text.isdigit() and len(word.text) < 3
            named = word.text[0].isupper() and word.word not in FILLER_STEMS and word.word not in NOUNS
            if close and (named or sequel):
                return True
    return False


def _blank_year(work: Unread, end: int) -> None:
    if match := re.match(r'[\s"\x00]*[(（]\d{4}[)）]', work.left[end:]):
        work.blank(end, end + match.end())


def _blank_cue(work: Unread, end: int) -> None:
    cues = [m for m in LIKE.finditer(work.left[:end]) if not work.left[m.end() : end].strip(" \x00")]
    if cues:
        work.blank(*cues[-1].span())


def _of_year(attributes: Attributes, codes: tuple[int, ...], text: str, named: int = 0) -> tuple[int, ...]:
    """Return those of ``codes`` whose year stands in brackets in ``text`` right after the title, or all.

    ``named``: how many characters at the start of ``text`` are the title; where it is known, its spelling counts.
    """
    codes = tuple(dict.fromkeys(codes))
    if named and len(codes) > 1:
        codes = attributes.exactly(codes, text[:named])
    match = re.match(r'[\s"》\x00]*[(（](\d{4})[)）]', text[named:]) if named else re.search(r"[(（](\d{4})[)）]", text)
    if match and attributes.year_field:
        same = tuple(code for code in codes if attributes.years[code] == int(match[1]))
        return same or codes
    return codes
