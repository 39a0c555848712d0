"""What is asked for, as a structure that only the catalogue's own values can fill, and the items that meet it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from frugalrec.tasks._forms import Form
from frugalrec.tasks.attributes import Attributes, Mask, Value


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers of one field from ``low`` to ``high``, both included; with ``outside``, all the others."""

    field: str
    low: float = -math.inf
    high: float = math.inf
    outside: bool = False

    def mask(self, attributes: Attributes) -> Mask:
        """Return which items are meant; an item whose number is not known never is."""
        numbers = attributes.numbers[self.field]
        inside: Mask = (numbers >= self.low) & (numbers <= self.high)
        return ~inside & ~np.isnan(numbers) if self.outside else inside


@dataclass(frozen=True, slots=True)
class Constraints:
    """All that was asked for. `mask` is its meaning; ``like``, ``text`` and ``k`` only decide the order and the number.

    ``any_of``: of each group an item must have a value. ``none_of``: values it must not have. ``like``: codes of items
    to resemble. ``text``: words that no attribute explains; ``without``: such words that an
    item's text must not have. ``seen``: True for items of the user's history alone,
    False for all others, None for either.
    """

    any_of: tuple[tuple[Value, ...], ...] = ()
    none_of: tuple[Value, ...] = ()
    ranges: tuple[Range, ...] = ()
    like: tuple[int, ...] = ()
    text: str = ""
    without: tuple[Form, ...] = ()
    k: int | None = None
    seen: bool | None = None
    newest_first: bool | None = field(default=None)

    def mask(self, attributes: Attributes) -> Mask:
        """Return which items meet every constraint, bool ``(n_items,)``; ``seen`` is for who knows the history."""
        mask = np.ones(len(attributes), dtype=bool)
        for part in self._parts():
            mask &= part.one_mask(attributes)
        return mask

    @property
    def filters(self) -> bool:
        """Whether anything is asked of the items' attributes."""
        return bool(self.any_of or self.none_of or self.ranges or self.without)

    @property
    def empty(self) -> bool:
        """Whether nothing at all is asked for."""
        return not (self.filters or self.like or self.text or self.seen is not None or self.newest_first is not None)

    def one_mask(self, attributes: Attributes) -> Mask:
        """Return the meaning of a single constraint, as `_parts` and `relaxed` yield them."""
        mask = np.ones(len(attributes), dtype=bool)
        for group in self.any_of:
            mask &= np.logical_or.reduce([attributes.mask(value) for value in group])
        for value in self.none_of:
            mask &= ~attributes.mask(value)
        for each in self.ranges:
            mask &= each.mask(attributes)
        for words in self.without:
            mask &= ~attributes.saying(words)
        return mask

    def relaxed(self) -> Iterator[tuple[Constraints, Constraints]]:
        """Yield ``(dropped, rest)``: each single constraint, and the others without it."""
        for i, group in enumerate(self.any_of):
            yield Constraints(any_of=(group,)), replace(self, any_of=self.any_of[:i] + self.any_of[i + 1 :])
        for i, value in enumerate(self.none_of):
            yield Constraints(none_of=(value,)), replace(self, none_of=self.none_of[:i] + self.none_of[i + 1 :])
        for i, each in enumerate(self.ranges):
            yield Constraints(ranges=(each,)), replace(self, ranges=self.ranges[:i] + self.ranges[i + 1 :])
        for i, words in enumerate(self.without):
            yield Constraints(without=(words,)), replace(self, without=self.without[:i] + self.without[i + 1 :])

    def merged(self, other: Constraints, *, instead: bool = False) -> Constraints:
        """Return these constraints with those of a later turn, which win where both cannot hold.

        New numbers replace the old ones of their field; a value asked for is no longer ruled out, and the other way
        round. With ``instead``, values asked for replace the old ones of their fields.
        """
        wanted = {value for group in other.any_of for value in group}
        fields = {value.field for value in wanted} if instead else set()
        kept = []
        for group in self.any_of:
            left = tuple(v for v in group if v.field not in fields and v not in other.none_of)
            if left:
                kept.append(left)
        numbers = {each.field for each in other.ranges}
        return Constraints(
            any_of=tuple(dict.fromkeys([*kept, *other.any_of])),
            none_of=tuple(dict.fromkeys(v for v in [*self.none_of, *other.none_of] if v not in wanted)),
            ranges=(*(each for each in self.ranges if each.field not in numbers), *other.ranges),
            like=other.like or self.like,
            text=other.text or self.text,
            without=tuple(dict.fromkeys([*self.without, *other.without])),
            k=other.k if other.k is not None else self.k,
            seen=other.seen if other.seen is not None else self.seen,
            newest_first=other.newest_first if other.newest_first is not None else self.newest_first,
        )

    def contradiction(self) -> str:
        """Return why no catalogue could meet these constraints, or ""."""
        for group in self.any_of:
            if all(value in self.none_of for value in group):
                return f"both with and without {group[0].name}"
        spans: dict[str, list[float]] = {}
        for each in self.ranges:
            if not each.outside:
                low, high = spans.get(each.field, [-math.inf, math.inf])
                spans[each.field] = [max(low, each.low), min(high, each.high)]
        for name, (low, high) in spans.items():
            if low > high:
                return f"{name} of at least {low:g} and at most {high:g}"
        return ""

    def to_dict(self, attributes: Attributes) -> dict[str, Any]:
        """Return a JSON-ready form; what is empty is left out."""
        ids = attributes.catalog.items.ids
        found: dict[str, Any] = {
            "any_of": [[{"field": v.field, "value": v.name} for v in group] for group in self.any_of],
            "none_of": [{"field": v.field, "value": v.name} for v in self.none_of],
            "ranges": [
                {"field": r.field, "low": _finite(r.low), "high": _finite(r.high), "outside": r.outside}
                for r in self.ranges
            ],
            "like": [str(ids[code]) for code in self.like],
            "text": self.text,
            "without": [" ".join(words) for words in self.without],
        }
        found |= {"k": self.k, "seen": self.seen, "newest_first": self.newest_first}
        return {key: value for key, value in found.items() if value not in (None, [], "")}

    def _parts(self) -> Iterator[Constraints]:
        yield from (dropped for dropped, _ in self.relaxed())


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


__all__ = ["Constraints", "Range"]
