"""Answers in words: sentences filled with what the catalogue says, in English or Chinese; nothing is generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from frugalrec.data.catalog import Catalog
from frugalrec.tasks._phrases import PHRASES, constraint_words, example, fact_words
from frugalrec.tasks.attributes import Attributes
from frugalrec.tasks.constraints import Constraints
from frugalrec.tasks.questions import Reading, Unknown

Kind = Literal["items", "count", "facts", "yes", "no", "unknown", "question"]


class Cited(BaseModel):
    """An item that an answer names."""

    model_config = ConfigDict(frozen=True)

    item: str
    title: str
    attributes: dict[str, tuple[str, ...]]


class Answer(BaseModel):
    """What was found. ``kind`` "question" means that something is asked back; ``options`` are what may be answered.

    ``guessed``: a language model read a part of the question; what it made of it stands in ``constraints``.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    text: str
    items: tuple[Cited, ...] = ()
    count: int | None = None
    constraints: dict[str, object] = {}
    options: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()
    guessed: bool = False

    def lines(self) -> list[str]:
        """Return the answer as it is printed, the items numbered."""
        found = [self.text]
        for place, item in enumerate(self.items, start=1):
            facts = "; ".join(", ".join(values[:6]) for values in item.attributes.values())
            found.append(f"{place:>3}  {item.title}  [{item.item}]" + (f"  {facts}" if facts else ""))
        found += [f"  - {option}" for option in self.options]
        return found


@dataclass(frozen=True)
class Teller:
    """Words `Answer` from what was found in one catalogue, in ``language`` ("en" or "zh"); it decides nothing."""

    catalog: Catalog
    attributes: Attributes
    language: str

    def said(self, phrase: str, **words: str) -> Answer:
        """Return a question or remark that names no item."""
        return Answer(kind="question", text=self._say(phrase, **words))

    def found(
        self,
        constraints: Constraints,
        shown: Sequence[int],
        total: int,
        unknown: Sequence[Unknown],
        *,
        known_user: bool,
        more: bool,
    ) -> Answer:
        """Return the items ``shown`` of the ``total`` that match; ``more``: earlier ones were shown before."""
        if not len(shown):
            text = self._say("none left")
            return Answer(kind="items", text=text, count=total, constraints=self._as_dict(constraints))
        what = self.of(constraints)
        if not constraints.filters and (constraints.like or constraints.text) and constraints.seen is None:
            phrase = "near first"
        elif not constraints.filters and constraints.seen is None:
            phrase = "for you" if known_user else "for all"
        else:
            phrase = "shown one" if total == 1 else "shown all" if total == len(shown) and not more else "shown"
        text = self._say(phrase, n=len(shown), total=total, what=what)
        return Answer(
            kind="items",
            text=self._with_ignored(text, unknown),
            items=tuple(self._cited(code) for code in shown),
            count=total,
            constraints=self._as_dict(constraints),
            not_understood=tuple(u.words for u in unknown),
        )

    def counted(self, constraints: Constraints, n: int, unknown: Sequence[Unknown]) -> Answer:
        """Return how many items match."""
        text = self._say("count", n=n, total=len(self.attributes), what=self.of(constraints))
        return Answer(
            kind="count",
            text=self._with_ignored(text, unknown),
            count=n,
            constraints=self._as_dict(constraints),
            not_understood=tuple(u.words for u in unknown),
        )

    def contradiction(self, constraints: Constraints, why: str) -> Answer:
        """Return that ``constraints`` exclude each other."""
        return self.said("contradiction", why=why).model_copy(update={"constraints": self._as_dict(constraints)})

    def nothing(self, constraints: Constraints, relaxed: Sequence[tuple[str, int]]) -> Answer:
        """Return that nothing matches; ``relaxed`` are constraints in words, and how many items match without each."""
        text = self._say("none", what=self.of(constraints))
        return Answer(
            kind="question",
            text=f"{text} {self._say('drop')}" if relaxed else text,
            count=0,
            constraints=self._as_dict(constraints),
            options=tuple(self._say("relax", what=what, n=n) for what, n in relaxed),
        )

    def checked(self, code: int, reading: Reading) -> Answer:
        """Return whether one item is what is asked, as far as the catalogue tells."""
        title, cited = self.catalog.title(code), (self._cited(code),)
        if needed := [u.words for u in reading.unknown]:
            text = self._say("unknown", words=", ".join(needed))
            return Answer(kind="unknown", text=text, items=cited, not_understood=tuple(needed))
        if any(np.isnan(self.attributes.numbers[each.field][code]) for each in reading.constraints.ranges):
            return Answer(kind="unknown", text=self._say("not known", title=title), items=cited)
        what = self.of(replace(reading.constraints, text="", k=None))
        kind: Kind = "yes" if bool(reading.constraints.mask(self.attributes)[code]) else "no"
        return Answer(kind=kind, text=self._say(kind, title=title, what=what), items=cited)

    def told(self, code: int, fields: Sequence[str]) -> Answer:
        """Return what the catalogue says of one item; of ``fields`` alone where there are any."""
        title, cited = self.catalog.title(code), (self._cited(code),)
        facts = fact_words(self.attributes, code, fields, self.language)
        if not facts:
            text = self._say("not known" if fields else "no facts", title=title)
            return Answer(kind="unknown", text=text, items=cited)
        return Answer(kind="facts", text=self._say("fact", title=title, facts=facts), items=cited)

    def which_title(self, asked: str, codes: Sequence[int], *, exact: bool) -> Answer:
        """Ask which of ``codes`` is meant by a title; not ``exact``: none has it, these are near."""
        if not codes:
            return self.said("no title", title=asked)
        options = tuple(self.catalog.title(code) for code in codes)
        return self.said("which title" if exact else "no title near", title=asked).model_copy(
            update={"options": options}
        )

    def not_known(self, unknown: Sequence[Unknown], constraints: Constraints) -> Answer:
        """Say what the catalogue does not know, rather than answer as if it had not been asked."""
        near = names_near(unknown)
        parts = [self._unknown(unknown)]
        if near:
            parts.append(self._say("near", near=self._say("or").join(near)))
        parts.append(self._say("unknown go on"))
        return Answer(
            kind="question",
            text=" ".join(parts),
            options=near,
            not_understood=tuple(u.words for u in unknown),
            constraints=self._as_dict(constraints),
        )

    def ask_back(self, unknown: Sequence[Unknown] = ()) -> Answer:
        """Ask what is wanted, with an example that the catalogue can answer."""
        parts = [self._unknown(unknown)] if unknown else []
        if shown := example(self.attributes, self.language):
            parts.append(self._say("ask", example=shown))
        for name in self.attributes.fields[:1]:
            listed = ", ".join(v.name for v in self.attributes.common(name, 12))
            parts.append(self._say("ask fields", field=name, values=listed))
        return Answer(
            kind="question",
            text=" ".join(parts),
            options=names_near(unknown),
            not_understood=tuple(u.words for u in unknown),
        )

    def of(self, constraints: Constraints) -> str:
        """Return ``constraints`` in words."""
        return constraint_words(constraints, self.attributes, self.language)

    def _say(self, phrase: str, **words: object) -> str:
        said = PHRASES[self.language][phrase]
        return said.format(**words) if words else said

    def _unknown(self, unknown: Sequence[Unknown]) -> str:
        return self._say("unknown", words=", ".join(u.words for u in unknown))

    def _with_ignored(self, text: str, unknown: Sequence[Unknown]) -> str:
        if not unknown:
            return text
        return f"{text} {self._say('ignored', words=', '.join(u.words for u in unknown))}"

    def _cited(self, code: int) -> Cited:
        return Cited(
            item=str(self.catalog.items.ids[code]),
            title=self.catalog.title(code),
            attributes=self.attributes.of(code),
        )

    def _as_dict(self, constraints: Constraints) -> dict[str, object]:
        return constraints.to_dict(self.attributes)


def names_near(unknown: Sequence[Unknown]) -> tuple[str, ...]:
    """Return the names of the catalogue that words which are not understood come near, each once."""
    return tuple(dict.fromkeys(name for u in unknown for name in u.near))


__all__ = ["Answer", "Cited", "Teller", "names_near"]
