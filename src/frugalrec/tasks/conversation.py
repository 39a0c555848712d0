"""Questions and answers over a catalogue and one user, turn by turn; every item and value named is the catalogue's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from frugalrec.data.dataset import Dataset, Query
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.errors import ConfigError
from frugalrec.interfaces import ConstrainedModel, Recommender
from frugalrec.tasks._forms import form
from frugalrec.tasks._phrases import PHRASES, constraint_words, example, fact_words
from frugalrec.tasks.attributes import Attributes, Mask
from frugalrec.tasks.constraints import Constraints, Range
from frugalrec.tasks.model_reader import ModelReader
from frugalrec.tasks.questions import QuestionReader, Reading, Unknown
from frugalrec.text.language import language as script_of

_ANYTHING = frozenset(
    [
        "recommend",
        "suggest",
        "recommendation",
        "suggestion",
        "anything",
        "something",
        "whatever",
        "surprise",
        "popular",
        "watch",
        "read",
        "buy",
    ]
)
_AGREED = frozenset(
    form(said)
    for said in ("yes", "ok", "okay", "sure", "please", "yes please", "go on", "好", "好的", "是", "可以", "继续")
)

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
class _Pending:
    """A question asked back: what each option would make of it."""

    options: tuple[tuple[str, Constraints], ...]
    agree: Constraints | None = None


class Conversation:
    """Answers questions about one catalogue, and recommends from it under constraints; remembers what was said.

    A turn is read by `QuestionReader`, filtered by `Constraints`, ranked by ``recommender`` (for the user's history, or
    that of the items to resemble) and answered by a template. Without a recommender, or for a stranger, the order is by
    shared words and popularity. Nothing is ever generated: items come from the filtered codes, values from the
    catalogue. A turn that begins as a refinement ("not too old", "and without …", "what about …") adds to what was
    said; any other begins anew.

    Time: linear in the catalogue a turn, beside the recommender's. Memory: one bit an item for each value met.

    >>> from frugalrec.data.catalog import Catalog
    >>> from frugalrec.testing.data import checkerboard
    >>> board = checkerboard(4)
    >>> kinds = {"title": ["A (1990)", "B (1991)", "C (1992)", "D (1993)"], "kind": ["even", "odd"] * 2}
    >>> talk = Conversation(Dataset(board.interactions, Catalog(board.catalog.items, kinds, ("title",))))
    >>> [item.title for item in talk.ask("something odd").items]
    ['B (1991)', 'D (1993)']
    >>> [item.title for item in talk.ask("only from 1992 on").items]
    ['D (1993)']
    """

    def __init__(
        self,
        dataset: Dataset,
        recommender: Recommender | None = None,
        *,
        user: int | None = None,
        k: int = 5,
        reads_text: bool = False,
        attributes: Attributes | None = None,
        model: ConstrainedModel | None = None,
    ) -> None:
        if k < 1:
            raise ConfigError(f"k must be at least 1, not {k}")
        self.dataset, self.recommender, self.user, self.k = dataset, recommender, user, k
        self.reads_text = reads_text
        self.attributes = attributes if attributes is not None else Attributes(dataset.catalog)
        self.reader = QuestionReader(self.attributes)
        self._model_reader = None if model is None else ModelReader(model, self.attributes)
        self.constraints = Constraints()
        self.shown: tuple[int, ...] = ()
        self._earlier: set[int] = set()
        self._pending: _Pending | None = None
        self._history = np.empty(0, dtype=np.int32) if user is None else dataset.query(user).history

    def ask(self, question: str, *, language: str = "") -> Answer:
        """Answer one turn. ``language``: "en" or "zh"; by default that of the question."""
        language = language or ("zh" if script_of(question) == "zh" else "en")
        say = PHRASES[language]
        if not any(c.isalnum() for c in question):
            return self._ask_back(language)
        if self._pending is not None and (chosen := self._settled(question)) is not None:
            self._pending = None
            self._earlier = set()
            return self._find(chosen, (), language)
        reading = self.reader.read(question)
        if reading.intent == "reset":
            self._forget()
            return Answer(kind="question", text=say["reset"])
        if reading.intent == "more":
            self._pending = None
            return self._find(self.constraints, (), language, more=True)
        if reading.intent == "ordinal":
            return self._facts_of_shown(reading.ordinal, language)
        self._pending = None
        if reading.pronoun:
            if len(self.shown) != 1:
                return Answer(kind="question", text=say["which one"])
            # "Is it a comedy?" is about the one item that was shown last.
            reading = replace(reading, intent="check", about=self.shown)
        if reading.about:
            return self._about(reading, language)
        reading = self._reread(question, reading)
        constraints = self._with_memory(reading)
        if reading.unclear_title:
            return self._which_title(reading, constraints, language)
        if needed := [u for u in reading.unknown if u.needed]:
            return self._without_unknown(needed, constraints, language)
        if reading.intent == "count":
            return self._counted(constraints, reading.unknown, language)
        if constraints.empty and (reading.unknown or not _wants_anything(question)):
            return self._ask_back(language, reading.unknown)
        self._earlier = set()
        answer = self._find(constraints, reading.unknown, language)
        return answer.model_copy(update={"guessed": True}) if reading.guessed else answer

    def matching(self, constraints: Constraints) -> Mask:
        """Return which items meet ``constraints`` for this user, bool ``(n_items,)``."""
        mask = constraints.mask(self.attributes)
        if constraints.seen is not None:
            seen = np.zeros(len(self.attributes), dtype=bool)
            seen[self._history] = True
            mask &= seen if constraints.seen else ~seen
        return mask

    def _reread(self, question: str, reading: Reading) -> Reading:
        """Ask the language model about words that the rules do not know; without one, or if it fails, they stay."""
        if self._model_reader is None or not reading.unknown or reading.unclear_title:
            return reading
        try:
            found = self._model_reader.read(question)
        except Exception as error:
            # Whatever a model raises, a question that was asked gets the answer that needs none.
            logging.getLogger(__name__).warning("the language model is left out: %s", str(error).split("\n")[0])
            return reading
        if found.empty:
            return reading
        # What the rules understood is certain; the model only adds to it.
        return replace(reading, constraints=found.merged(reading.constraints), unknown=(), guessed=True)

    def _with_memory(self, reading: Reading) -> Constraints:
        found = reading.constraints
        relative = self._relative(reading)
        if relative is not None:
            found = replace(found, ranges=(*found.ranges, relative))
        bare = not (found.any_of or found.like or found.text)
        if self.constraints.empty or not (reading.refines or reading.instead or bare or relative is not None):
            return found
        if bare and found.empty and not reading.refines:
            return found
        return self.constraints.merged(found, instead=reading.instead)

    def _relative(self, reading: Reading) -> Range | None:
        """Return what "older" means beside what was shown, unless years were given."""
        name = self.attributes.year_field
        if reading.older is None or not self.shown or not name or reading.constraints.ranges:
            return None
        years = self.attributes.years[list(self.shown)]
        if np.isnan(years).all():
            return None
        if reading.older:
            return Range(name, high=float(np.nanmin(years)) - 1)
        return Range(name, low=float(np.nanmax(years)) + 1)

    def _find(
        self, constraints: Constraints, unknown: Sequence[Unknown], language: str, *, more: bool = False
    ) -> Answer:
        say = PHRASES[language]
        if why := constraints.contradiction():
            return Answer(
                kind="question", text=say["contradiction"].format(why=why), constraints=self._as_dict(constraints)
            )
        if constraints.seen and self.user is None:
            return Answer(kind="question", text=say["no history"])
        matching = self.matching(constraints)
        self.constraints = constraints
        n = int(matching.sum())
        if n == 0:
            return self._nothing(constraints, language)
        k = constraints.k or self.k
        if more:
            matching = matching.copy()
            matching[list(self._earlier)] = False
        chosen = self._ranked(constraints, np.flatnonzero(matching).astype(np.int32), k)
        self.shown = tuple(int(code) for code in chosen)
        self._earlier |= set(self.shown)
        if not len(chosen):
            return Answer(kind="items", text=say["none left"], count=n, constraints=self._as_dict(constraints))
        what = constraint_words(constraints, self.attributes, language)
        if not constraints.filters and (constraints.like or constraints.text) and constraints.seen is None:
            text = say["near first"].format(n=len(chosen), total=n, what=what)
        elif not constraints.filters and constraints.seen is None:
            text = say["for you" if self.user is not None else "for all"].format(n=len(chosen), total=n)
        else:
            kind = "shown one" if n == 1 else "shown all" if n == len(chosen) and not more else "shown"
            text = say[kind].format(n=len(chosen), total=n, what=what)
        ignored = [u.words for u in unknown]
        if ignored:
            text = f"{text} {say['ignored'].format(words=', '.join(ignored))}"
        return Answer(
            kind="items",
            text=text,
            items=tuple(self._cited(code) for code in self.shown),
            count=n,
            constraints=self._as_dict(constraints),
            not_understood=tuple(ignored),
        )

    def _ranked(self, constraints: Constraints, candidates: IntArray, k: int) -> IntArray:
        """Return the best ``k`` of ``candidates``, best first; what the user has seen comes after what is new."""
        candidates = np.setdiff1d(candidates, np.array(constraints.like, dtype=np.int32))
        if not len(candidates):
            return candidates
        new = ~np.isin(candidates, self._history)
        scores = self._scores(constraints)[candidates]
        keys: list[np.ndarray] = [candidates, -scores, -self._overlap(constraints.text)[candidates], ~new]
        if constraints.newest_first is not None:
            years = self.attributes.years[candidates]
            years = np.where(np.isnan(years), np.inf, -years if constraints.newest_first else years)
            keys.append(years)
        return candidates[np.lexsort(keys)][:k]

    def _scores(self, constraints: Constraints) -> FloatArray:
        """Return the recommender's score of each item, float64 ``(n_items,)``; popularity where it knows nobody."""
        liked = np.array(constraints.like, dtype=np.int32)
        text = constraints.text if self.reads_text else ""
        if self.recommender is None or not (self.user is not None or len(liked) or text):
            return self.dataset.interactions.popularity.astype(np.float64)
        # Who names items to resemble is asking for those, and not for what their own history says.
        query = Query(history=liked) if len(liked) or self.user is None else self.dataset.query(self.user)
        (scores,) = self.recommender.score([replace(query, text=text)])
        return np.asarray(scores, dtype=np.float64)

    def _overlap(self, text: str) -> FloatArray:
        """Return how many of the words of ``text`` each item's own text has, ``(n_items,)``."""
        wanted = set(form(text))
        if not wanted:
            return np.zeros(self.dataset.n_items)
        return np.array([len(wanted & words) for words in self.attributes.text_words], dtype=np.float64)

    def _nothing(self, constraints: Constraints, language: str) -> Answer:
        """Say that nothing matches, and which constraint stands in the way."""
        say = PHRASES[language]
        options = []
        for dropped, rest in constraints.relaxed():
            n = int(self.matching(rest).sum())
            if n:
                what = constraint_words(dropped, self.attributes, language)
                options.append((say["relax"].format(what=what, n=n), what, rest))
        text = say["none"].format(what=constraint_words(constraints, self.attributes, language))
        if options:
            text = f"{text} {say['drop']}"
            self._pending = _Pending(tuple((what, rest) for _, what, rest in options), options[0][2])
        return Answer(
            kind="question",
            text=text,
            count=0,
            constraints=self._as_dict(constraints),
            options=tuple(said for said, _, _ in options),
        )

    def _counted(self, constraints: Constraints, unknown: Sequence[Unknown], language: str) -> Answer:
        if constraints.seen and self.user is None:
            return Answer(kind="question", text=PHRASES[language]["no history"])
        n = int(self.matching(constraints).sum())
        self.constraints = constraints
        self._earlier, self.shown = set(), ()
        what = constraint_words(constraints, self.attributes, language)
        text = PHRASES[language]["count"].format(n=n, total=len(self.attributes), what=what)
        ignored = tuple(u.words for u in unknown)
        if ignored:
            text = f"{text} {PHRASES[language]['ignored'].format(words=', '.join(ignored))}"
        return Answer(kind="count", text=text, count=n, constraints=self._as_dict(constraints), not_understood=ignored)

    def _about(self, reading: Reading, language: str) -> Answer:
        say = PHRASES[language]
        if len(reading.about) > 1:
            titles = tuple(self.dataset.catalog.title(code) for code in reading.about)
            said = self._common_title(reading.about)
            return Answer(kind="question", text=say["which title"].format(title=said), options=titles)
        (code,) = reading.about
        self.shown = (code,)
        title = self.dataset.catalog.title(code)
        cited = (self._cited(code),)
        if reading.intent == "check":
            if needed := [u.words for u in reading.unknown]:
                text = say["unknown"].format(words=", ".join(needed))
                return Answer(kind="unknown", text=text, items=cited, not_understood=tuple(needed))
            what = constraint_words(replace(reading.constraints, text="", k=None), self.attributes, language)
            unknown = any(np.isnan(self.attributes.numbers[each.field][code]) for each in reading.constraints.ranges)
            if unknown:
                return Answer(kind="unknown", text=say["not known"].format(title=title), items=cited)
            holds = bool(reading.constraints.mask(self.attributes)[code])
            kind: Kind = "yes" if holds else "no"
            return Answer(kind=kind, text=say[kind].format(title=title, what=what), items=cited)
        return self._told(code, reading.fields, language)

    def _told(self, code: int, fields: Sequence[str], language: str) -> Answer:
        say = PHRASES[language]
        title = self.dataset.catalog.title(code)
        facts = fact_words(self.attributes, code, fields, language)
        if not facts:
            text = (say["not known"] if fields else say["no facts"]).format(title=title)
            return Answer(kind="unknown", text=text, items=(self._cited(code),))
        return Answer(kind="facts", text=say["fact"].format(title=title, facts=facts), items=(self._cited(code),))

    def _facts_of_shown(self, ordinal: int, language: str) -> Answer:
        if self._pending is not None and 0 < ordinal <= len(self._pending.options):
            _, constraints = self._pending.options[ordinal - 1]
            self._pending = None
            return self._find(constraints, (), language)
        if not 0 < abs(ordinal) <= len(self.shown):
            return Answer(kind="question", text=PHRASES[language]["no such number"])
        return self._told(self.shown[ordinal if ordinal < 0 else ordinal - 1], (), language)

    def _which_title(self, reading: Reading, constraints: Constraints, language: str) -> Answer:
        say = PHRASES[language]
        if not reading.titles:
            return Answer(kind="question", text=say["no title"].format(title=reading.unclear_title))
        exact = len(reading.titles) > 1 and len(self.attributes.titled(form(reading.unclear_title))) > 0
        options = tuple(
            (self.dataset.catalog.title(code), replace(constraints, like=(*constraints.like, code)))
            for code in reading.titles
        )
        self._pending = _Pending(options, options[0][1] if len(options) == 1 else None)
        text = say["which title" if exact else "no title near"].format(title=reading.unclear_title)
        return Answer(kind="question", text=text, options=tuple(name for name, _ in options))

    def _without_unknown(self, unknown: Sequence[Unknown], constraints: Constraints, language: str) -> Answer:
        """Say what the catalogue does not know, rather than answer as if it had not been asked."""
        say = PHRASES[language]
        words = ", ".join(u.words for u in unknown)
        near = list(dict.fromkeys(name for u in unknown for name in u.near))
        parts = [say["unknown"].format(words=words)]
        if near:
            parts.append(say["near"].format(near=say["or"].join(near)))
        parts.append(say["unknown go on"])
        options = tuple(
            (name, constraints.merged(Constraints(any_of=(self.attributes.spelled(form(name)),)))) for name in near
        )
        self._pending = _Pending(options, constraints)
        return Answer(
            kind="question",
            text=" ".join(parts),
            options=tuple(name for name, _ in options),
            not_understood=tuple(u.words for u in unknown),
            constraints=self._as_dict(constraints),
        )

    def _ask_back(self, language: str, unknown: Sequence[Unknown] = ()) -> Answer:
        say = PHRASES[language]
        parts = [say["unknown"].format(words=", ".join(u.words for u in unknown))] if unknown else []
        if shown := example(self.attributes, language):
            parts.append(say["ask"].format(example=shown))
        for name in self.attributes.fields[:1]:
            listed = ", ".join(v.name for v in self.attributes.common(name, 12))
            parts.append(say["ask fields"].format(field=name, values=listed))
        near = tuple(dict.fromkeys(name for u in unknown for name in u.near))
        return Answer(
            kind="question", text=" ".join(parts), options=near, not_understood=tuple(u.words for u in unknown)
        )

    def _settled(self, question: str) -> Constraints | None:
        """Return what the answer to a question asked back makes of it; None when it is something else."""
        assert self._pending is not None
        said = form(question)
        if said in _AGREED:
            return self._pending.agree
        for name, constraints in self._pending.options:
            if said == form(name) or said == ("drop", *form(name)) or said == ("without", *form(name)):
                return constraints
        return None

    def _forget(self) -> None:
        self.constraints, self.shown, self._pending, self._earlier = Constraints(), (), None, set()

    def _cited(self, code: int) -> Cited:
        return Cited(
            item=str(self.dataset.catalog.items.ids[code]),
            title=self.dataset.catalog.title(code),
            attributes=self.attributes.of(code),
        )

    def _common_title(self, codes: Sequence[int]) -> str:
        titles = [self.dataset.catalog.title(code) for code in codes]
        return min(titles, key=len)

    def _as_dict(self, constraints: Constraints) -> dict[str, object]:
        return constraints.to_dict(self.attributes)


def _wants_anything(question: str) -> bool:
    said = set(form(question))
    return bool(said & _ANYTHING) or any(word in question for word in ("推荐", "随便", "好看", "看什么"))


__all__ = ["Answer", "Cited", "Conversation"]
