"""Questions and answers over a catalogue and one user, turn by turn; every item and value named is the catalogue's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from frugalrec.data.dataset import Dataset
from frugalrec.errors import ConfigError
from frugalrec.interfaces import ConstrainedModel, Recommender
from frugalrec.tasks._forms import form
from frugalrec.tasks.answers import Answer, Cited, Teller, names_near
from frugalrec.tasks.attributes import Attributes
from frugalrec.tasks.constraints import Constraints, Range
from frugalrec.tasks.model_reader import ModelReader
from frugalrec.tasks.questions import QuestionReader, Reading, Unknown
from frugalrec.tasks.shortlist import Shortlist
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


@dataclass(frozen=True)
class _Pending:
    """A question asked back: what each option would make of it."""

    options: tuple[tuple[str, Constraints], ...]
    agree: Constraints | None = None


class Conversation:
    """Answers questions about one catalogue, and recommends from it under constraints; remembers what was said.

    A turn is read by `QuestionReader`, filtered and ranked by `Shortlist` and worded by `Teller`. Nothing is ever
    generated: items come from the filtered codes, values from the catalogue. A turn that begins as a refinement ("not
    too old", "and without …", "what about …") adds to what was said; any other begins anew.

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
        self.catalog, self.user, self.k = dataset.catalog, user, k
        self.attributes = attributes if attributes is not None else Attributes(dataset.catalog)
        self.shortlist = Shortlist(dataset, self.attributes, recommender, user=user, reads_text=reads_text)
        self.reader = QuestionReader(self.attributes)
        self._model_reader = None if model is None else ModelReader(model, self.attributes)
        self.constraints = Constraints()
        self.shown: tuple[int, ...] = ()
        self._earlier: set[int] = set()
        self._pending: _Pending | None = None

    def ask(self, question: str, *, language: str = "") -> Answer:
        """Answer one turn. ``language``: "en" or "zh"; by default that of the question."""
        language = language or ("zh" if script_of(question) == "zh" else "en")
        tell = Teller(self.catalog, self.attributes, language)
        if not any(c.isalnum() for c in question):
            return tell.ask_back()
        if self._pending is not None and (chosen := self._settled(question)) is not None:
            self._pending = None
            self._earlier = set()
            return self._find(chosen, (), tell)
        reading = self.reader.read(question)
        if reading.intent == "reset":
            self._forget()
            return tell.said("reset")
        if reading.intent == "more":
            self._pending = None
            return self._find(self.constraints, (), tell, more=True)
        if reading.intent == "ordinal":
            return self._facts_of_shown(reading.ordinal, tell)
        self._pending = None
        if reading.pronoun:
            if len(self.shown) != 1:
                return tell.said("which one")
            # "Is it a comedy?" is about the one item that was shown last.
            reading = replace(reading, intent="check", about=self.shown)
        if reading.about:
            return self._about(reading, tell)
        reading = self._reread(question, reading)
        constraints = self._with_memory(reading)
        if reading.unclear_title:
            return self._which_title(reading, constraints, tell)
        if needed := [u for u in reading.unknown if u.needed]:
            return self._without_unknown(needed, constraints, tell)
        if reading.intent == "count":
            return self._counted(constraints, reading.unknown, tell)
        if constraints.empty and (reading.unknown or not _wants_anything(question)):
            return tell.ask_back(reading.unknown)
        self._earlier = set()
        answer = self._find(constraints, reading.unknown, tell)
        return answer.model_copy(update={"guessed": True}) if reading.guessed else answer

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
        self, constraints: Constraints, unknown: Sequence[Unknown], tell: Teller, *, more: bool = False
    ) -> Answer:
        if why := constraints.contradiction():
            return tell.contradiction(constraints, why)
        if constraints.seen and self.user is None:
            return tell.said("no history")
        matching = self.shortlist.matching(constraints)
        self.constraints = constraints
        total = int(matching.sum())
        if total == 0:
            return self._nothing(constraints, tell)
        if more:
            matching[list(self._earlier)] = False
        chosen = self.shortlist.best(constraints, np.flatnonzero(matching).astype(np.int32), constraints.k or self.k)
        self.shown = tuple(int(code) for code in chosen)
        self._earlier |= set(self.shown)
        return tell.found(constraints, self.shown, total, unknown, known_user=self.user is not None, more=more)

    def _nothing(self, constraints: Constraints, tell: Teller) -> Answer:
        """Say that nothing matches, and which constraint stands in the way."""
        options = [
            (tell.of(dropped), n, rest)
            for dropped, rest in constraints.relaxed()
            if (n := int(self.shortlist.matching(rest).sum()))
        ]
        if options:
            self._pending = _Pending(tuple((what, rest) for what, _, rest in options), options[0][2])
        return tell.nothing(constraints, [(what, n) for what, n, _ in options])

    def _counted(self, constraints: Constraints, unknown: Sequence[Unknown], tell: Teller) -> Answer:
        if constraints.seen and self.user is None:
            return tell.said("no history")
        self.constraints = constraints
        self._earlier, self.shown = set(), ()
        return tell.counted(constraints, int(self.shortlist.matching(constraints).sum()), unknown)

    def _about(self, reading: Reading, tell: Teller) -> Answer:
        if len(reading.about) > 1:
            shortest = min((self.catalog.title(code) for code in reading.about), key=len)
            return tell.which_title(shortest, reading.about, exact=True)
        (code,) = reading.about
        self.shown = (code,)
        return tell.checked(code, reading) if reading.intent == "check" else tell.told(code, reading.fields)

    def _facts_of_shown(self, ordinal: int, tell: Teller) -> Answer:
        if self._pending is not None and 0 < ordinal <= len(self._pending.options):
            _, constraints = self._pending.options[ordinal - 1]
            self._pending = None
            return self._find(constraints, (), tell)
        if not 0 < abs(ordinal) <= len(self.shown):
            return tell.said("no such number")
        return tell.told(self.shown[ordinal if ordinal < 0 else ordinal - 1], ())

    def _which_title(self, reading: Reading, constraints: Constraints, tell: Teller) -> Answer:
        exact = len(reading.titles) > 1 and len(self.attributes.titled(form(reading.unclear_title))) > 0
        options = tuple(
            (self.catalog.title(code), replace(constraints, like=(*constraints.like, code))) for code in reading.titles
        )
        if options:
            self._pending = _Pending(options, options[0][1] if len(options) == 1 else None)
        return tell.which_title(reading.unclear_title, reading.titles, exact=exact)

    def _without_unknown(self, unknown: Sequence[Unknown], constraints: Constraints, tell: Teller) -> Answer:
        options = tuple(
            (name, constraints.merged(Constraints(any_of=(self.attributes.spelled(form(name)),))))
            for name in names_near(unknown)
        )
        self._pending = _Pending(options, constraints)
        return tell.not_known(unknown, constraints)

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


def _wants_anything(question: str) -> bool:
    said = set(form(question))
    return bool(said & _ANYTHING) or any(word in question for word in ("推荐", "随便", "好看", "看什么"))


__all__ = ["Answer", "Cited", "Conversation"]
