"""What the catalogue itself says of its items: values, numbers, years, titles. The only source of answers."""

from __future__ import annotations

import difflib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from frugalrec.data.catalog import Catalog
from frugalrec.data.interactions import FloatArray, IntArray
from frugalrec.tasks._forms import Form, form, normal, spelling, split_year, synonyms, title_forms

Mask = np.ndarray[Any, np.dtype[np.bool_]]

YEAR = "year"
"""How the year of items is called where it was read from their titles."""

_SEPARATOR = re.compile(r"\s*(?:\||;|；|、|/|,|，)\s*")
_YEAR_NAME = re.compile(r"year|年", re.IGNORECASE)
_DATE = re.compile(r"\s*(\d{4})-\d\d(?:-\d\d)?\b")
_LONGEST_VALUE = 40
_MENTIONS_A_VALUE = 1.2
_NUMERIC_SHARE = 0.95


@dataclass(frozen=True, slots=True, order=True)
class Value:
    """One value of one field, as the catalogue spells it."""

    field: str
    name: str


class Attributes:
    """The attributes of a catalogue, found in its fields.

    A field is *numeric* when nearly all its values are numbers, *categorical* when its values are short and recur
    (several in one cell are told apart by ``|``, ``;``, ``/`` or commas, or by spaces where single words recur), and
    else text, which is searched and not filtered. The first text field is the title. The year comes from a numeric
    field or a date whose name says so, or from brackets at the end of titles.

    Time and memory are linear in the catalogue.

    >>> from frugalrec.data.ids import IdMap
    >>> catalog = Catalog(
    ...     IdMap(["1", "2"]),
    ...     {"title": ["Heat (1995)", "Speed (1994)"], "genre": ["Crime, Action", "Action"]},
    ...     ("title",),
    ... )
    >>> found = Attributes(catalog)
    >>> sorted(value.name for value in found.values), found.years.tolist()
    (['Action', 'Crime'], [1995.0, 1994.0])
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.title_field = catalog.text[0] if catalog.text else ""
        self.values: dict[Value, IntArray] = {}
        self.numbers: dict[str, FloatArray] = {}
        self.text_fields: list[str] = []
        for name, column in catalog.fields.items():
            if name != self.title_field:
                self._read(name, column)
        self.year_field = self._year_field()
        self._masks: dict[Value, Mask] = {}

    def __len__(self) -> int:
        return len(self.catalog)

    @property
    def fields(self) -> list[str]:
        """Names of the categorical fields, those with the fewest values first."""
        counts: dict[str, int] = defaultdict(int)
        for value in self.values:
            counts[value.field] += 1
        return sorted(counts, key=lambda name: (counts[name], name))

    @property
    def years(self) -> FloatArray:
        """Year of each item, float64 ``(n_items,)``; NaN where it is not known."""
        return self.numbers.get(self.year_field, np.full(len(self), np.nan))

    def mask(self, value: Value) -> Mask:
        """Return which items have ``value``, bool ``(n_items,)``; none for a value that is not in the catalogue."""
        if value not in self._masks:
            mask = np.zeros(len(self), dtype=bool)
            mask[self.values.get(value, np.empty(0, dtype=np.int32))] = True
            self._masks[value] = mask
        return self._masks[value]

    def saying(self, words: Form) -> Mask:
        """Return which items' texts have all of ``words``, bool ``(n_items,)``."""
        wanted = set(words)
        return np.array([wanted <= found for found in self.text_words], dtype=bool)

    @cached_property
    def text_words(self) -> list[frozenset[str]]:
        """The words of each item's text, as they are compared."""
        return [frozenset(form(text)) for text in self.catalog.texts()]

    def of(self, code: int) -> dict[str, tuple[str, ...]]:
        """Return the categorical values and numbers of an item by field; empty ones are left out."""
        found = {name: tuple(v.name for v in values) for name, values in self._by_item[code].items()}
        for name, numbers in self.numbers.items():
            if not math.isnan(numbers[code]):
                found[name] = (f"{numbers[code]:.12g}",)
        return found

    def values_of(self, code: int) -> list[Value]:
        """Return the categorical values of an item, field by field."""
        return [value for values in self._by_item[code].values() for value in values]

    def spelled(self, words: Form) -> tuple[Value, ...]:
        """Return the values that ``words`` spell, or a synonym of theirs; one name may be in several fields."""
        if found := self._spellings.get(words):
            return found
        for other in synonyms().get(words, ()):
            if found := self._spellings.get(other):
                return found
        return ()

    def titled(self, words: Form) -> tuple[int, ...]:
        """Return the codes of items with the title ``words``."""
        return self._titles.get(words, ())

    def exactly(self, codes: Sequence[int], said: str) -> tuple[int, ...]:
        """Return those of ``codes`` whose title is spelled as ``said``, or all if none is: "Alien" is not "Aliens"."""
        words = spelling(said)
        same = tuple(c for c in codes if words in title_forms(self.catalog.title(c), spelling))
        return same or tuple(codes)

    @property
    def longest_title(self) -> int:
        """Words of the longest title."""
        return max(map(len, self._titles), default=0)

    @property
    def longest_value(self) -> int:
        """Words of the longest value, synonyms included."""
        return max((len(f) for f in [*self._spellings, *synonyms()]), default=0)

    def near_titles(self, words: Form, n: int = 3) -> list[int]:
        """Return the codes of up to ``n`` items whose titles are spelled almost so, or contain all of ``words``."""
        wanted = " ".join(words)
        if not wanted:
            return []
        inside = [codes for title, codes in self._titles.items() if _contains(title, words)]
        spelled = {" ".join(title): codes for title, codes in self._titles.items()}
        near = difflib.get_close_matches(wanted, spelled, n=n, cutoff=0.75)
        return list(dict.fromkeys(code for codes in [*(spelled[t] for t in near), *inside] for code in codes))[:n]

    def near_values(self, words: Form, n: int = 3) -> list[Value]:
        """Return up to ``n`` values that are spelled almost so."""
        spelled = {" ".join(f): values for f, values in self._spellings.items()}
        near = difflib.get_close_matches(" ".join(words), spelled, n=n, cutoff=0.6)
        return list(dict.fromkeys(value for name in near for value in spelled[name]))[:n]

    def common(self, field: str, n: int = 6) -> list[Value]:
        """Return the ``n`` values of ``field`` that most items have."""
        found = [value for value in self.values if value.field == field]
        return sorted(found, key=lambda value: (-len(self.values[value]), value.name))[:n]

    @cached_property
    def _by_item(self) -> list[dict[str, list[Value]]]:
        found: list[dict[str, list[Value]]] = [{} for _ in range(len(self))]
        for value, codes in self.values.items():
            for code in codes:
                found[code].setdefault(value.field, []).append(value)
        return found

    @cached_property
    def _spellings(self) -> dict[Form, tuple[Value, ...]]:
        found: dict[Form, list[Value]] = defaultdict(list)
        for value in self.values:
            if words := form(value.name):
                found[words].append(value)
        return {words: tuple(values) for words, values in found.items()}

    @cached_property
    def _titles(self) -> dict[Form, tuple[int, ...]]:
        found: dict[Form, list[int]] = defaultdict(list)
        for code in range(len(self)):
            for words in title_forms(self.catalog.title(code)):
                found[words].append(code)
        return {words: tuple(codes) for words, codes in found.items()}

    def _read(self, name: str, column: Sequence[str]) -> None:
        cells = [cell.strip() for cell in column]
        filled = [cell for cell in cells if cell]
        if not filled:
            return
        numbers = [_number(cell) for cell in cells]
        if sum(n is not None for n in numbers) >= _NUMERIC_SHARE * len(filled):
            self.numbers[name] = np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)
            return
        split = _pieces(cells, filled)
        if split is None:
            self.text_fields.append(name)
            return
        codes: dict[str, list[int]] = defaultdict(list)
        spelling: dict[Form, str] = {}
        for code, pieces in enumerate(split):
            for piece in dict.fromkeys(pieces):
                # "Sci-Fi" and "sci-fi" are one value, called as it is first met.
                key = form(piece) or (piece,)
                piece = spelling.setdefault(key, piece)
                if not codes[piece] or codes[piece][-1] != code:
                    codes[piece].append(code)
        for piece, having in codes.items():
            self.values[Value(name, piece)] = np.array(having, dtype=np.int32)

    def _year_field(self) -> str:
        for name, numbers in self.numbers.items():
            known = numbers[~np.isnan(numbers)]
            if _YEAR_NAME.search(name) and ((known >= 1000) & (known <= 2200)).mean() > _NUMERIC_SHARE:
                return name
        years = np.array([_year(self.catalog.title(code)) for code in range(len(self))], dtype=np.float64)
        if len(years) and np.isnan(years).mean() > 0.5:
            for name in self.text_fields:
                dates = [_DATE.match(cell) for cell in self.catalog.fields[name]]
                if sum(match is not None for match in dates) > 0.5 * len(dates):
                    years = np.array([float(m[1]) if m else np.nan for m in dates], dtype=np.float64)
                    break
        if len(years) and not np.isnan(years).all():
            name = YEAR if YEAR not in self.catalog.fields else "year of the title"
            self.numbers[name] = years
            return name
        return ""


def _pieces(cells: Sequence[str], filled: Sequence[str]) -> list[list[str]] | None:
    """Return the values in each cell, or None when they are no values but text."""
    if sum("://" in cell for cell in filled) > 0.5 * len(filled):
        return None  # addresses
    for cut in (_SEPARATOR.split, lambda cell: [cell], str.split):
        split = [[piece.strip() for piece in cut(cell) if piece.strip()] for cell in cells]
        pieces = [piece for row in split for piece in row]
        if cut is str.split and (len(pieces) < 1.2 * len(filled) or len(set(pieces)) > len(filled) / 10):
            continue  # single words make values only where there are few of them
        if cut is not str.split and _made_of_words(filled, pieces):
            continue
        short = sum(len(piece) <= _LONGEST_VALUE for piece in pieces) >= 0.98 * len(pieces)
        prose = sum(piece.endswith((".", "!", "?", "。")) for piece in pieces) > 0.05 * len(pieces)
        wordy = sum(piece.count(" ") for piece in pieces) > 2 * len(pieces)
        if (
            pieces
            and short
            and not prose
            and not wordy
            and len(pieces) >= _MENTIONS_A_VALUE * len({re.sub(r"\W", "", piece.casefold()) for piece in pieces})
        ):
            return split
    return None


def _made_of_words(filled: Sequence[str], pieces: Iterable[str]) -> bool:
    """Return whether cells are lists apart by spaces: no other separator, and each made of a few recurring words."""
    if any(_SEPARATOR.search(cell) for cell in filled):
        return False
    distinct = set(filled)
    words = {word for cell in distinct for word in cell.split()}
    alone = {cell for cell in distinct if " " not in cell}
    # In "Action Comedy" both words are values of other items too.
    several = [cell for cell in distinct if " " in cell]
    return bool(several) and len(words) < len(distinct) and len(alone) >= 0.5 * len(words)


def _number(cell: str) -> float | None:
    try:
        found = float(cell)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _year(title: str) -> float:
    _, year = split_year(normal(title))
    return math.nan if year is None else float(year)


def _contains(title: Form, words: Form) -> bool:
    return any(title[i : i + len(words)] == words for i in range(len(title) - len(words) + 1))


__all__ = ["YEAR", "Attributes", "Mask", "Value"]
