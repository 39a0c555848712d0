"""What is wrong with rows of a file, and the error that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN = 3
"""How many rows of each problem are named."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: ``number`` counts from 1, in lines of a text file and in rows of any other."""

    file: Path
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.file}: {self.unit} {self.number}"


@dataclass(frozen=True)
class Problem:
    """One kind of fault in one column: how many rows have it, and the first few of them.

    ``column`` is empty where a row as a whole is at fault. ``values[i]`` stands at ``places[i]``.
    """

    file: Path
    column: str
    expected: str
    rows: int
    places: tuple[Place, ...]
    values: tuple[str, ...]

    def __str__(self) -> str:
        column = f", column '{self.column}'" if self.column else ""
        found = _shown(self.values[0]) if self.values else "something else"
        affected = f"{self.rows:,} row{'s' if self.rows != 1 else ''} affected"
        others = ", ".join(str(place.number) for place in self.places[1:])
        also = f"; also {self.places[1].unit} {others}" if others else ""
        where = str(self.places[0]) if self.places else str(self.file)
        return f"{where}{column}: expected {self.expected}, found {found} ({affected}{also})"

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-ready values."""
        return {
            "file": str(self.file),
            "column": self.column,
            "expected": self.expected,
            "rows": self.rows,
            "places": [{"file": str(p.file), p.unit: p.number} for p in self.places],
            "values": list(self.values),
        }


def _shown(value: str) -> str:
    if value == "":
        return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…'"


def in_file_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return ``problems`` with the one that shows first in its file first."""
    return tuple(sorted(problems, key=lambda p: (str(p.file), p.places[0].number if p.places else 0)))
