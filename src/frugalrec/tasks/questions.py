"""Questions in English or Chinese → what they ask for, by rules and the catalogue's own vocabulary; no model."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from frugalrec.tasks._forms import Form, Token, form, normal, tokens
from frugalrec.tasks._polarity import is_plural, link, signs
from frugalrec.tasks._question_words import (
    ASKS_COUNT,
    ASKS_FACTS,
    ASKS_MORE,
    ASKS_WHETHER,
    CHINESE_CUE,
    CHINESE_FACTS,
    CHINESE_FILLER,
    CHINESE_NEGATORS,
    CHINESE_NUMBERS,
    CHINESE_QUESTION,
    CHINESE_WHETHER,
    FILLER,
    FILLER_STEMS,
    INSTEAD,
    LIKE,
    MUST_CUES,
    NEGATED_BEFORE,
    NEGATORS,
    NEWEST,
    NOUNS,
    NUMBER,
    NUMBERS,
    OLDEST,
    OPERATORS,
    ORDINALS,
    PRONOUN,
    REFINES,
    RESETS,
    SEEN,
    STARTS_OVER,
    UNSEEN,
)
from frugalrec.tasks._unread import BLANK, Unread
from frugalrec.tasks._years import read_years
from frugalrec.tasks.attributes import Attributes, Value
from frugalrec.tasks.constraints import Constraints, Range

Intent = Literal["find", "count", "facts", "check", "more", "reset", "ordinal"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Words that ask for something the catalogue does not have; ``needed`` where an answer without it would mislead."""

    words: str
    needed: bool = False
    near: tuple[str, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What a question asks: its intent, constraints, the items it is about, and what was not understood."""

    intent: Intent
    constraints: Constraints
    about: tuple[int, ...] = ()
    unclear_title: str = ""
    titles: tuple[int, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    refines: bool = False
    instead: bool = False
    older: bool | None = None
    ordinal: int = 0
    fields: tuple[str, ...] = ()
    pronoun: bool = False
    guessed: bool = False


class QuestionReader:
    """Reads questions against the attributes of one catalogue.

    What it understands: values of any categorical field (and synonyms of common genres), "and", "or", "not", "without",
    "but", years ("before", "since", "between", "the 90s", "in 1994"), numeric fields ("rating above 8"), titles after
    "like" and in quotation marks, counts, and what is asked: items, their number, or facts about one. Every value it
    returns is one of the catalogue's own. Time is linear in the question.

    >>> from frugalrec.data.catalog import Catalog
    >>> from frugalrec.data.ids import IdMap
    >>> titles, genres = ["Heat (1995)", "Airplane! (1980)"], ["Crime", "Comedy"]
    >>> catalog = Catalog(IdMap(["1", "2"]), {"title": titles, "genre": genres}, ("title",))
    >>> reader = QuestionReader(Attributes(catalog))
    >>> reader.read("a comedy from before 1990").constraints.mask(reader.attributes).tolist()
    [False, True]
    """

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self._longest_title = attributes.longest_title
        self._longest_value = attributes.longest_value
        self._field_words = {form(name): name for name in attributes.catalog.fields if form(name)}

    def read(self, question: str) -> Reading:
        """Return what ``question`` asks for."""
        text = normal(question).strip()
        if STARTS_OVER.search(text):
            return Reading("reset", Constraints())
        if ASKS_MORE.search(text):
            return Reading("more", Constraints())
        if ordinal := _ordinal(text):
            return Reading("ordinal", Constraints(), ordinal=ordinal)
        intent = self._intent(text)
        work = Unread(text, text)
        for match in CHINESE_QUESTION.finditer(text):
            work.blank(*match.span())
        about: tuple[int, ...] = ()
        unclear, near = "", about
        asked = intent
        if intent in ("facts", "check"):
            about = self._subject(work, intent)
            if not about:
                intent = "find"
        refines, instead = bool(REFINES.search(text)), bool(INSTEAD.search(text))
        older = _relative(text)
        seen = self._seen(work)
        like: tuple[int, ...] = ()
        unknown: list[Unknown] = []
        if not about:
            like, unclear, near = self._like(work)
        ranges = [*self._numbers(work), *read_years(work, self.attributes.year_field)]
        newest = self._sorted(work)  # after the years, for "1940 at the latest" is one
        k = self._count(work, intent)
        self._values(work)
        groups, none_of = self._signed(work)
        unknown += self._unknown(work)
        if not (about or unclear) and unknown and (asked == "check" or (asked == "facts" and not groups)):
            # A question about one item that is not there is no search for something like it.
            unclear = " ".join(u.words for u in unknown)
            near, unknown = tuple(self.attributes.near_titles(form(unclear))), []
        # What stands in titles or texts is looked for there, or kept out.
        read = [u for u in unknown if self._in_texts(u.words)]
        unknown = [u for u in unknown if u not in read]
        words = " ".join(u.words for u in read if not u.negated)
        without = tuple(form(u.words) for u in read if u.negated)
        constraints = Constraints(
            any_of=groups,
            none_of=none_of,
            ranges=tuple(ranges),
            like=tuple(code for code in like if code >= 0),
            text=words,
            without=without,
            k=k,
            seen=seen,
            newest_first=newest,
        )
        if intent == "check" and not constraints.filters:
            intent = "facts"
        return Reading(
            intent=intent,
            constraints=constraints,
            about=about,
            unclear_title=unclear,
            titles=near,
            unknown=tuple(unknown),
            refines=refines,
            instead=instead,
            older=older,
            pronoun=asked == "check" and not about and PRONOUN.search(text) is not None,
            fields=self._asked_fields(text) if intent == "facts" else (),
        )

    def title(self, words: str) -> tuple[int, ...]:
        """Return the codes of items called ``words``; a year in brackets tells namesakes apart."""
        said = re.sub(r"\s*[(（]\d{4}[)）]\s*$", "", normal(words))
        found = self.attributes.exactly(self.attributes.titled(form(said)), said)
        return _of_year(self.attributes, found, normal(words))

    def _intent(self, text: str) -> Intent:
        if ASKS_COUNT.search(text):
            return "count"
        if ASKS_WHETHER.search(text) or CHINESE_WHETHER.search(text):
            return "check"
        if ASKS_FACTS.search(text) or CHINESE_FACTS.search(text):
            return "facts"
        return "find"

    def _subject(self, work: Unread, intent: Intent) -> tuple[int, ...]:
        """Find the title that a question about one item names, blank it, and return the codes that bear it."""
        quoted = re.search(r'"([^"]+)"|《([^》]+)》', work.left)
        if quoted:
            if not (codes := self.title(quoted[1] or quoted[2])):
                return ()
            found = _of_year(self.attributes, codes, work.left[quoted.start() :])
            work.blank(*quoted.span())
            self._blank_year(work, quoted.end())
            return found
        parts = [t for t in tokens(work.left) if t.word[0].isalnum()]
        if intent == "check":
            starts: Iterable[int] = (1, 2, 3) if parts and parts[0].word.isascii() else range(len(parts))
        else:
            starts = range(len(parts))
        best: tuple[int, int, tuple[int, ...]] | None = None
        for start in starts:
            for length in range(min(self._longest_title, len(parts) - start), 0, -1):
                words = tuple(t.word for t in parts[start : start + length])
                codes = self.attributes.titled(words)
                if codes and self._can_be_title(parts, start, length) and (best is None or length > best[1]):
                    best = (start, length, codes)
        if best is None:
            return ()
        start, length, codes = best
        end = parts[start + length - 1].end
        if self._cut_from_a_longer_name(parts, start, length, text=work.left):
            return ()
        found = _of_year(self.attributes, codes, work.left[parts[start].start :], named=end - parts[start].start)
        work.blank(parts[start].start, end)
        self._blank_year(work, end)
        return found

    def _can_be_title(self, parts: Sequence[Token], start: int, length: int) -> bool:
        """Whether words can name an item: they must not be a value or the words that every question has."""
        words = [t.word for t in parts[start : start + length]]
        if all(word in FILLER_STEMS or word in NOUNS for word in words):
            # "It", "What", "That" are titles too: believed where they are written as one.
            return parts[start].text[0].isupper() and start > 0
        return not (length == 1 and self.attributes.spelled(tuple(words)) and not parts[start].text[0].isupper())

    @staticmethod
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

    @staticmethod
    def _blank_year(work: Unread, end: int) -> None:
        if match := re.match(r'[\s"\x00]*[(（]\d{4}[)）]', work.left[end:]):
            work.blank(end, end + match.end())

    def _seen(self, work: Unread) -> bool | None:
        for pattern, seen in ((UNSEEN, False), (SEEN, True)):
            if match := pattern.search(work.left):
                work.blank(*match.span())
                return seen
        return None

    def _sorted(self, work: Unread) -> bool | None:
        if not self.attributes.year_field:
            return None
        for pattern, newest in ((NEWEST, True), (OLDEST, False)):
            if match := pattern.search(work.left):
                work.blank(*match.span())
                return newest
        return None

    def _like(self, work: Unread) -> tuple[tuple[int, ...], str, tuple[int, ...]]:
        """Return codes of items to resemble, and where a title is not clear, what was said and who may be meant."""
        found: list[int] = []
        for match in list(re.finditer(r'"([^"]+)"|《([^》]+)》', work.left)):
            said = match[1] or match[2]
            codes = _of_year(self.attributes, self.title(said), work.left[match.start() :])
            self._blank_cue(work, match.start())
            work.blank(*match.span())
            self._blank_year(work, match.end())
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
            self._blank_year(work, span[1])
            if len(codes) > 1:
                return tuple(found), said, codes
            found.extend(codes)
        return tuple(found), "", ()

    def _title_at(self, parts: Sequence[Token]) -> tuple[int, tuple[int, ...]] | None:
        """Return how many of ``parts`` make the longest title at their start, and whose; None where none does."""
        for length in range(min(self._longest_title, len(parts)), 0, -1):
            words = tuple(t.word for t in parts[:length])
            codes = self.attributes.titled(words)
            if not codes:
                continue
            plain = all(w in FILLER_STEMS or w in NOUNS or self.attributes.spelled((w,)) for w in words)
            if plain and not parts[0].text[0].isupper():
                continue  # "like a comedy" names no title, though one is called so
            return length, codes
        return None

    @staticmethod
    def _blank_cue(work: Unread, end: int) -> None:
        cues = [m for m in LIKE.finditer(work.left[:end]) if not work.left[m.end() : end].strip(" \x00")]
        if cues:
            work.blank(*cues[-1].span())

    def _numbers(self, work: Unread) -> list[Range]:
        """Read numeric fields other than the year: "rating above 8", "under 100 片长"."""
        found: list[Range] = []
        for words, name in self._field_words.items():
            if name not in self.attributes.numbers or name == self.attributes.year_field:
                continue
            pattern = (
                r"\s*".join(re.escape(w) for w in words)
                if not words[0].isascii()
                else r"\W+".join(rf"{re.escape(w)}s?" for w in words)
            )
            for operator, said in OPERATORS.items():
                for expression in (
                    rf"{pattern}\s*(?:is|was|of|在)?\s*(?:{said})\s*{NUMBER}",
                    rf"(?:{said})\s*{NUMBER}\s*{pattern}",
                ):
                    if match := re.search(expression, work.left, re.IGNORECASE):
                        number = float(match[1].replace(",", "."))
                        found.append(_range(name, operator, number))
                        work.blank(*match.span())
        return found

    def _count(self, work: Unread, intent: Intent) -> int | None:
        """Return how many items are wanted."""
        if intent != "find":
            return None
        number = r"(\d{1,3}|" + "|".join(NUMBERS) + r")"
        patterns = (
            rf"\b(?:top|best|first|only|just|exactly|give me|show me|name|list|recommend|suggest|want|need|find"
            rf"(?: me)?)(?: the| a)?(?: top| best)? {number}\b(?!\s*(?:year|%|'s|s\b))",
            rf"\b{number}(?: of(?: the)?| more| other| good| great| best| different)*(?: [\w'-]+){{0,3}}?"
            r" (?:movies|films|titles|items|suggestions|recommendations|ones|picks|products|books|things)\b",
        )
        for pattern in patterns:
            if (match := re.search(pattern, work.left, re.IGNORECASE)) and BLANK not in match[0]:
                said = match[1].casefold()
                k = int(said) if said.isdigit() else NUMBERS[said]
                work.blank(*match.span(1))
                return k or None
        if match := re.search(r"(?<!\d)([\d一二三四五六七八九十两]+)\s*(?:部|个|本|件|首|款)", work.left):
            said = match[1]
            k = int(said) if said.isdecimal() else sum(CHINESE_NUMBERS.get(c, 0) for c in said)
            work.blank(*match.span())
            # "一部喜剧" is an article, as "a comedy" is.
            return k if k > 1 else None
        # "three comedies": a number right before a value
        parts = tokens(work.left)
        for this, after in itertools.pairwise(parts):
            n = NUMBERS.get(this.text.casefold()) or (int(this.text) if re.fullmatch(r"\d{1,2}", this.text) else 0)
            if n and n <= 100 and self._value_at([after, *parts[parts.index(after) + 1 :]]) is not None:
                work.blank(this.start, this.end)
                return n if n > 1 else None
        return None

    def _value_at(self, parts: Sequence[Token]) -> tuple[int, tuple[Value, ...]] | None:
        """Return how many of ``parts`` (blanks and signs between them allowed) spell a value, and which."""
        for length in range(min(self._longest_value, len(parts)), 0, -1):
            words = tuple(t.word for t in parts[:length])
            if any(t.text == BLANK or not t.word[0].isalnum() for t in parts[:length]):
                continue
            found = self.attributes.spelled(words)
            if found and not _ordinary(words):
                return length, found
        return None

    def _values(self, work: Unread) -> None:
        """Find values, longest first at each place, and blank them."""
        parts = [t for t in tokens(work.left) if t.word[0].isalnum()]
        i = 0
        while i < len(parts):
            chosen = self._value_at(parts[i:])
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

    def _signed(self, work: Unread) -> tuple[tuple[tuple[Value, ...], ...], tuple[Value, ...]]:
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

    def _unknown(self, work: Unread) -> list[Unknown]:
        """Return what nothing explains: words in a row, with a cue before them that makes them needed."""
        rows: list[tuple[list[Token], str]] = []
        row: list[Token] = []
        cue = before = ""
        for token in tokens(work.left):
            word = token.word
            if not word[0].isalnum() or word in FILLER_STEMS or word in NOUNS or self._plain(token):
                if row and word.isascii() and word in ("of", "the", "'") and token.text.islower():
                    before = word
                    continue
                if row:
                    rows.append((row, cue))
                    row = []
                before = token.text.casefold() if word[0].isalnum() else before
                continue
            if not row:
                cue = before
            row.append(token)
        if row:
            rows.append((row, cue))
        found = []
        for row, cue in rows:
            said = " ".join(t.text for t in row) if row[0].word.isascii() else "".join(t.text for t in row)
            if not row[0].word.isascii():
                cue = "由" if CHINESE_CUE.search(said) else cue
                said = CHINESE_FILLER.sub("", said)
                if len(said) < 2:
                    continue  # one character says nothing by itself
            name = row[0].text[0].isupper() or not row[0].word.isascii()
            negated = (
                cue in NEGATORS
                or any(said.startswith(n) for n in CHINESE_NEGATORS)
                or NEGATED_BEFORE.search(work.left[: row[0].start]) is not None
            )
            needed = (cue in MUST_CUES and (name or cue in ("starring", "featuring", "by", "without"))) or negated
            near = tuple(v.name for v in self.attributes.near_values(form(said)))
            # Characters that nothing explains are most likely a name.
            needed = needed or (not row[0].word.isascii() and len(said) > 2 and not self._in_texts(said))
            # A name in the middle of a question is meant, wherever it stands.
            needed = needed or (row[0].word.isascii() and name and row[0].start > 0 and not self._in_texts(said))
            found.append(Unknown(said, needed, near, negated))
        return found

    def _plain(self, token: Token) -> bool:
        word = token.text.casefold()
        if word in NEGATORS or word in FILLER or token.word in RESETS:
            return True
        if word in NUMBERS or (word.isdigit() and len(word) < 3):
            return True
        return any(token.word in words for words in self._field_words if len(words) == 1)

    def _in_texts(self, said: str) -> bool:
        wanted = form(said)
        if wanted and not wanted[0].isascii():
            return len(said) > 1 and said in self._all_text  # characters make a word only together
        return bool(wanted) and all(word in self._text_words for word in wanted)

    @cached_property
    def _text_words(self) -> frozenset[str]:
        return frozenset(t.word for t in tokens(self._all_text))

    @cached_property
    def _all_text(self) -> str:
        return normal("\n".join(self.attributes.catalog.texts()))

    def _asked_fields(self, text: str) -> tuple[str, ...]:
        asked: list[str] = []
        lowered = text.casefold()
        known = set(form(text))
        for words, name in self._field_words.items():
            if set(words) <= known or (not words[0].isascii() and "".join(words) in lowered):
                asked.append(name)
        year = self.attributes.year_field
        if year and re.search(r"\bwhen\b|\byear\b|how old|哪(?:一)?年|什么时候|上映", lowered):
            asked.append(year)
        if re.search(r"\bgenres?\b|\bkind\b|\btype\b|\bsort\b|\bcategory\b|类型", lowered):
            asked += [name for name in self.attributes.fields if re.search("genre|type|categor|class|类", name, re.I)]
        if re.search(r"who directed|导演", lowered):
            asked += [name for name in self.attributes.fields if re.search("direct|导演", name, re.I)]
        if re.search(r"who (?:stars?|acted|plays?)|主演|谁演", lowered):
            asked += [name for name in self.attributes.fields if re.search("actor|cast|star|主演", name, re.I)]
        if not asked and re.search(r"\bwho\b|谁", lowered):
            asked.append("who")  # which no field of this catalogue tells
        return tuple(dict.fromkeys(name for name in asked if name != self.attributes.title_field))


def _range(name: str, operator: str, number: float) -> Range:
    inf = float("inf")
    tiny = 1e-9 * max(1.0, abs(number))
    low, high = {
        ">=": (number, inf), "<=": (-inf, number), ">": (number + tiny, inf), "<": (-inf, number - tiny),
        "=": (number, number),
    }[operator]  # fmt: skip
    return Range(name, low, high)


def _ordinary(words: Form) -> bool:
    """Whether words are too common to name a value by themselves, or are one Chinese character."""
    return all(word in FILLER for word in words) or (len(words) == 1 and len(words[0]) == 1)


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


def _ordinal(text: str) -> int:
    if match := re.search(
        r"^\s*(?:tell me (?:more )?about |what(?:'s| is) |more about |about )?(?:the |number |no\.? ?|#)?"
        r"(first|second|third|fourth|fifth|last|\d{1,2})(?:st|nd|rd|th)?(?: one| movie| film| item)?\s*[.?!]*\s*$",
        text,
        re.IGNORECASE,
    ):
        said = match[1].casefold()
        return ORDINALS.get(said) or int(said)
    if match := re.search(r"^第?([一二三四五六七八九十]|\d{1,2})[个部]?(?:怎么样|呢|是什么)?[？?]?$", text):
        return CHINESE_NUMBERS.get(match[1]) or int(match[1])
    return 0


def _relative(text: str) -> bool | None:
    """Whether a turn asks for something older (True) or newer (False) than what was shown."""
    if re.search(r"\b(?:older|earlier)\b(?! than)|更(?:早|老)", text, re.IGNORECASE):
        return True
    if re.search(r"\b(?:newer|later|more recent)\b(?! than)|更(?:新|晚)", text, re.IGNORECASE):
        return False
    return None


__all__ = ["Intent", "QuestionReader", "Reading", "Unknown"]
