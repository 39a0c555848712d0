"""Questions in English or Chinese → what they ask for, by rules and the catalogue's own vocabulary; no model."""

from __future__ import annotations

from frugalrec.tasks._amounts import how_many, numeric_ranges
from frugalrec.tasks._asked import asked_fields, intent_of, ordinal, relative_age
from frugalrec.tasks._forms import form, normal
from frugalrec.tasks._question_words import (
    ASKS_MORE,
    CHINESE_QUESTION,
    INSTEAD,
    NEWEST,
    OLDEST,
    PRONOUN,
    REFINES,
    SEEN,
    STARTS_OVER,
    UNSEEN,
)
from frugalrec.tasks._reading import Intent, Reading, Unknown
from frugalrec.tasks._rest import Rest
from frugalrec.tasks._titles import Titles
from frugalrec.tasks._unread import Unread
from frugalrec.tasks._values import Values, asked_and_ruled_out
from frugalrec.tasks._years import read_years
from frugalrec.tasks.attributes import Attributes
from frugalrec.tasks.constraints import Constraints


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
        self._field_words = {form(name): name for name in attributes.catalog.fields if form(name)}
        self._titles = Titles(attributes)
        self._values = Values(attributes)
        self._rest = Rest(attributes, self._field_words)

    def read(self, question: str) -> Reading:
        """Return what ``question`` asks for."""
        text = normal(question).strip()
        if STARTS_OVER.search(text):
            return Reading("reset", Constraints())
        if ASKS_MORE.search(text):
            return Reading("more", Constraints())
        if number := ordinal(text):
            return Reading("ordinal", Constraints(), ordinal=number)
        intent = intent_of(text)
        work = Unread(text, text)
        for match in CHINESE_QUESTION.finditer(text):
            work.blank(*match.span())
        about: tuple[int, ...] = ()
        unclear, near = "", about
        asked = intent
        if intent in ("facts", "check"):
            about = self._titles.subject(work, intent)
            if not about:
                intent = "find"
        refines, instead = bool(REFINES.search(text)), bool(INSTEAD.search(text))
        older = relative_age(text)
        seen = _seen(work)
        like: tuple[int, ...] = ()
        unknown: list[Unknown] = []
        if not about:
            like, unclear, near = self._titles.like(work)
        ranges = [
            *numeric_ranges(work, self.attributes, self._field_words),
            *read_years(work, self.attributes.year_field),
        ]
        newest = self._sorted(work)  # after the years, for "1940 at the latest" is one
        k = how_many(work, self._values) if intent == "find" else None
        self._values.find(work)
        groups, none_of = asked_and_ruled_out(work)
        unknown += self._rest.unknown(work)
        if not (about or unclear) and unknown and (asked == "check" or (asked == "facts" and not groups)):
            # A question about one item that is not there is no search for something like it.
            unclear = " ".join(u.words for u in unknown)
            near, unknown = tuple(self.attributes.near_titles(form(unclear))), []
        # What stands in titles or texts is looked for there, or kept out.
        read = [u for u in unknown if self._rest.in_texts(u.words)]
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
            fields=asked_fields(text, self.attributes, self._field_words) if intent == "facts" else (),
        )

    def _sorted(self, work: Unread) -> bool | None:
        if not self.attributes.year_field:
            return None
        for pattern, newest in ((NEWEST, True), (OLDEST, False)):
            if match := pattern.search(work.left):
                work.blank(*match.span())
                return newest
        return None


def _seen(work: Unread) -> bool | None:
    for pattern, seen in ((UNSEEN, False), (SEEN, True)):
        if match := pattern.search(work.left):
            work.blank(*match.span())
            return seen
    return None


__all__ = ["Intent", "QuestionReader", "Reading", "Unknown"]
