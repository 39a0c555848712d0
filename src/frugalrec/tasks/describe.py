"""Descriptions of items: from their attributes and from what else their audience chose; nothing is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import sparse

from frugalrec import progress
from frugalrec.cost import charge
from frugalrec.data.dataset import Dataset
from frugalrec.errors import ConfigError, DataError
from frugalrec.interfaces import LanguageModel
from frugalrec.tasks._forms import form, split_year, spoken, title_forms, tokens
from frugalrec.tasks.attributes import Attributes
from frugalrec.tasks.grounding import foreign_values, ungrounded

Language = Literal["en", "zh"]

MINIMUM_AUDIENCE = 5
"""People who must have chosen an item before anything is said of them."""

TOGETHER = 3
"""Other items of the audience that are named."""


class Description(BaseModel):
    """What is said of an item. ``source`` "template", or the fingerprint of the model that worded it.

    ``rejected``: what a model said that the facts do not, for which the template stands instead.
    """

    model_config = ConfigDict(frozen=True)

    item: str
    text: str
    source: str = "template"
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Words:
    kind: str
    field: str
    year: str
    audience: str
    together: str
    rated: str
    comma: str


_WORDS = {
    "en": _Words(
        kind="{title}: {values}.",
        field="{name}: {values}.",
        year="{name}: {values}.",
        audience="{n} people chose it.",
        together="People who chose it also chose {titles}.",
        rated="They rated it {own} on average, where {all} is usual.",
        comma=", ",
    ),
    "zh": _Words(
        kind="{title}：{values}。",
        field="{name}：{values}。",
        year="{name}：{values}。",
        audience="有{n}人选过。",
        together="选过它的人还选了{titles}。",
        rated="平均评分{own}，总体平均{all}。",
        comma="、",
    ),
}


class Describer:
    """Writes descriptions from the catalogue and the log, by a template or, checked, by a language model.

    The template says the attributes, how many people chose the item, which items the same people chose (co-occurrence
    over the root of both popularities, at least two people), and ratings where there are some; whole sentences are left
    out from the end until it has at most ``max_words`` words (characters, in Chinese). A model gets these facts and no
    others; what it writes is kept only if it names the item, is short enough, and `ungrounded` and
    `foreign_values` find nothing in it. What is said in other words ("great fun") is not checked, so a weak model's
    text needs a reader.

    Time: O(events of the item's audience) an item, beside the model's.

    >>> from frugalrec.testing.data import checkerboard
    >>> Describer(checkerboard(14)).describe([0])[0].text
    'even square. 6 people chose it. People who chose it also chose even square (item-2), even square (item-4) and ...'
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        language: Language = "en",
        max_words: int = 60,
        audience: bool = True,
        attributes: Attributes | None = None,
    ) -> None:
        if language not in _WORDS:
            raise ConfigError(f"language must be one of {', '.join(_WORDS)}, not '{language}'")
        if max_words < 1:
            raise ConfigError(f"max_words must be at least 1, not {max_words}")
        self.dataset, self.language, self.max_words, self.audience = dataset, language, max_words, audience
        self.attributes = attributes if attributes is not None else Attributes(dataset.catalog)
        self._users_of: sparse.csc_array = dataset.interactions.matrix().tocsc()
        self._items_of: sparse.csr_array = dataset.interactions.matrix()
        titles = [dataset.catalog.title(code) for code in range(dataset.n_items)]
        self._title_counts: dict[str, int] = {}
        for title in titles:
            self._title_counts[title] = self._title_counts.get(title, 0) + 1
        self._titles = titles
        self._known = {t.text for text in dataset.catalog.texts() for t in tokens(text) if t.text.islower()}
        values = dataset.interactions.value
        self._mean_rating = None if values is None or not len(values) else float(values.mean())

    def describe(self, items: Sequence[int], model: LanguageModel | None = None) -> list[Description]:
        """Return a description of each of ``items`` (codes); with ``model``, in its words where these hold."""
        facts = [self.sentences(code) for code in items]
        ids = self.dataset.catalog.items.ids
        templates = [
            Description(item=str(ids[code]), text=self._cut(said)) for code, said in zip(items, facts, strict=True)
        ]
        if model is None:
            charge(flops=0.0)
            return templates
        prompts = [self._prompt(said) for said in facts]
        written = model.generate(prompts, max_tokens=2 * self.max_words + 16, stop=("\n",))
        found = []
        for code, template, said, text in zip(items, templates, facts, written, strict=True):
            text = " ".join(text.split()).strip('"').removeprefix("- ")
            problems = [flag.words for flag in ungrounded(text, said, known=self._known)]
            problems += foreign_values(text, said, self.attributes)
            if text and not any(set(title) <= set(form(text)) for title in title_forms(self._titles[code])):
                problems.append("(it does not say of what)")
            if not text:
                problems.append("(nothing)")
            elif self._length(text) > self.max_words:
                problems.append(f"({self._length(text)} words)")
            if problems:
                found.append(template.model_copy(update={"rejected": tuple(problems)}))
            else:
                found.append(template.model_copy(update={"text": text, "source": model.fingerprint()}))
        return found

    def write(
        self, path: Path, items: Sequence[int], model: LanguageModel | None = None, *, batch: int = 64
    ) -> Iterator[Description]:
        """Yield descriptions of ``items``, each kept in ``path`` (JSON lines) as soon as it is there.

        Items that the file has already are taken from it: an interrupted run goes on, a finished one costs nothing.
        Raises `DataError` when the file has something else in it.
        """
        done = _read(path)
        ids = self.dataset.catalog.items.ids
        missing = [code for code in items if str(ids[code]) not in done]
        for code in items:
            if str(ids[code]) in done:
                yield done[str(ids[code])]
        path.parent.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(missing), batch):
            progress.report("describe", start, len(missing))
            found = self.describe(missing[start : start + batch], model)
            with path.open("a", encoding="utf-8") as file:
                file.writelines(each.model_dump_json() + "\n" for each in found)
            yield from found
        progress.report("describe", len(missing), len(missing))

    def sentences(self, code: int) -> list[str]:
        """Return all that is known of an item, a sentence a fact, the most telling first."""
        say = _WORDS[self.language]
        known = self.attributes.of(code)
        title = spoken(self._titles[code])
        found: list[str] = []
        # What the catalogue is read by says most; then what has few values, as genres have.
        fields = sorted(self.attributes.fields, key=lambda name: name not in self.dataset.catalog.text)
        for name in [name for name in fields if name in known]:
            values = say.comma.join(known[name][:6])
            template = say.field if found else say.kind
            found.append(template.format(title=title, name=name, values=values))
        if not found:
            found.append(title + ("。" if self.language == "zh" else "."))
        year = self.attributes.year_field
        if year in known and split_year(title)[1] is None:
            found.append(say.year.format(name=year, values=known[year][0]))
        if self.audience:
            found += self._audience(code)
        return found

    def together(self, code: int, k: int = TOGETHER) -> list[int]:
        """Return the items that the audience of ``code`` chose most, beyond what their popularity explains."""
        users = self._users_of.indices[self._users_of.indptr[code] : self._users_of.indptr[code + 1]]
        if not len(users):
            return []
        counts = np.asarray(self._items_of[users].sum(axis=0)).ravel()
        popularity = np.maximum(np.diff(self._users_of.indptr), 1)
        score = np.where(counts >= 2, counts / np.sqrt(popularity), 0.0)
        score[code] = 0.0
        best = np.lexsort((np.arange(len(score)), -score))[:k]
        return [int(item) for item in best if score[item] > 0]

    def _audience(self, code: int) -> list[str]:
        say = _WORDS[self.language]
        n = int(np.diff(self._users_of.indptr)[code])
        if n < MINIMUM_AUDIENCE:
            return []
        found = []
        if others := self.together(code):
            found.append(say.together.format(titles=self._list([self._called(other) for other in others])))
        values = self.dataset.interactions.value
        if values is not None and self._mean_rating is not None:
            own = float(values[self.dataset.interactions.item == code].mean())
            found.append(say.rated.format(own=f"{own:.1f}", all=f"{self._mean_rating:.1f}"))
        return [say.audience.format(n=n), *found]

    def _called(self, code: int) -> str:
        title = spoken(self._titles[code])
        if self._title_counts[self._titles[code]] > 1:
            title = f"{title} ({self.dataset.catalog.items.ids[code]})"
        return f"《{title}》" if self.language == "zh" else title

    def _list(self, names: Sequence[str]) -> str:
        if self.language == "zh":
            return "".join(names)
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

    def _cut(self, sentences: Sequence[str]) -> str:
        kept = list(sentences[:1])
        for sentence in sentences[1:]:
            if self._length(self._joined([*kept, sentence])) > self.max_words:
                break
            kept.append(sentence)
        return self._joined(kept)

    def _joined(self, sentences: Sequence[str]) -> str:
        return ("" if self.language == "zh" else " ").join(sentences)

    def _length(self, text: str) -> int:
        return len(text) if self.language == "zh" else len(text.split())

    def _prompt(self, sentences: Sequence[str]) -> str:
        facts = "\n".join(f"- {sentence}" for sentence in sentences)
        if self.language == "zh":
            return f"事实：\n{facts}\n\n只用这些事实，写一段不超过{self.max_words}字的介绍：\n"
        return f"Facts:\n{facts}\n\nA description in at most {self.max_words} words that says only these facts:\n"


def _read(path: Path) -> dict[str, Description]:
    if not path.exists():
        return {}
    found: dict[str, Description] = {}
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            each = Description.model_validate(json.loads(line))
        except (ValueError, ValidationError) as error:
            if number == len(lines):
                # The process was killed in the middle of this line: what comes next must not end up on it.
                with path.open("a", encoding="utf-8") as file:
                    file.write("\n")
                continue
            if number < len(lines) and line.startswith('{"item":'):
                continue  # such a line, of an earlier time
            raise DataError(
                f"{path}: line {number}: expected a description, found {line[:60]!r}", hint="name another file"
            ) from error
        found[each.item] = each
    return found


__all__ = ["Describer", "Description", "Language"]
