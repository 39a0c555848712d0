"""What is wrong with rows of a file, and the error that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frugalrec.errors import DataError

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
    """One kind of fault in one column of a file: how many ``rows`` have it, and the first few of them.

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
        others = ", ".join(f"{place.unit} {place.number}" for place in self.places[1:])
        affected = f"{self.rows:,} row{'' if self.rows == 1 else 's'} affected{f', also {others}' if others else ''}"
        return f"{self.places[0]}{column}: expected {self.expected}, found {_shown(self.values[0])} ({affected})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "file": str(self.file),
            "column": self.column,
            "expected": self.expected,
            "rows": self.rows,
            "places": [{"file": str(place.file), place.unit: place.number} for place in self.places],
            "values": list(self.values),
        }


class BadRowsError(DataError):
    """Rows that are not what was declared. ``problems`` has one entry a kind, in file order."""

    def __init__(self, problems: Sequence[Problem], *, list_all: bool) -> None:
        self.problems = tuple(problems)
        skip = "--on-bad-rows skip leaves bad rows out and counts them"
        if list_all:
            super().__init__("\n".join(map(str, self.problems)), hint=skip)
            return
        others = len(self.problems) - 1
        also = f"; {others} more kind{'' if others == 1 else 's'} of problem" if others else ""
        super().__init__(f"{self.problems[0]}{also}", hint=f"{skip}, --on-bad-rows report lists all problems")


def in_file_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return ``problems`` with the one that shows first in its file first; files keep their order."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return tuple(sorted(problems, key=lambda problem: (files.index(problem.file), problem.places[0].number)))


def _shown(value: str) -> str:
    if not value:
        return "nothing"
    return repr(value) if len(value) <= 80 else f"{value[:79]!r}…"
