"""What a format must offer, and what passes between it and the loader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from frugalrec.data.sources._problems import Place
from frugalrec.data.sources._records import Records
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._text import head
from frugalrec.errors import DataError, nearest

NO, MAYBE, BY_SUFFIX, BY_NAME, BY_CONTENT = range(5)
"""How surely a format recognises a file."""

Clock = Literal["none", "text", "number", "seconds"]
"""What the times of a log are: there are none; text (numbers or ISO-8601); numbers; or known to be seconds."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns are called, for formats that leave that to their users; None: not wanted."""

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str | None = "timestamp"
    rating: str | None = "rating"
    item_id: str | None = None
    delimiter: str = "auto"

    @property
    def id_of_items(self) -> str:
        """The id column of the items file."""
        return self.item_id or self.item


@dataclass(frozen=True)
class Sight:
    """What can be seen of a file or folder without reading it all."""

    path: Path

    @cached_property
    def name(self) -> str:
        """The file name in small letters, without ``.gz``."""
        return self.path.name.lower().removesuffix(".gz")

    @cached_property
    def suffix(self) -> str:
        """The last suffix of `name`, with its dot, or the empty string."""
        return Path(self.name).suffix

    @cached_property
    def listing(self) -> tuple[Path, ...]:
        """The files and folders in a folder, sorted; empty for a file."""
        return tuple(sorted(self.path.iterdir())) if self.path.is_dir() else ()

    @cached_property
    def head(self) -> list[str]:
        """The first twenty lines; empty for a folder."""
        return [] if self.path.is_dir() else head(self.path, lines=20)

    @property
    def first(self) -> str:
        """The first line that is not empty, or the empty string."""
        return next(filter(None, self.head), "")


@dataclass(frozen=True)
class Rows:
    """The events of a log, as a query: ``sql`` yields ``u``, ``i``, ``r``, ``t`` (user, item, rating, time) in file
    order.

    Values come as the file has them, for the loader to check; ``r`` is NULL throughout unless ``rated``, ``t`` unless
    there is a ``clock``. The query may also yield ``record`` (the number, from 0, of the record that an event came
    from; without it each record is one event), and ``fault`` with ``said``: what was expected of a row as a whole
    (empty for a blank line) and what it says instead. ``place`` finds records by number. ``items`` is the file of items
    beside a log that was given as a folder.
    """

    sql: str
    parameters: tuple[Any, ...]
    file: Path
    names: Columns
    rated: bool
    clock: Clock
    place: Callable[[Sequence[int]], list[Place]]
    has_record: bool = False
    has_fault: bool = False
    records: Records | None = None
    items: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemRows:
    """The items of a catalogue, as a query: ``id`` and ``f0``, ``f1``, … (text, NULL where empty) in file order.

    ``fields`` are the names of ``f0``, ``f1``, …; ``text`` those that describe an item in words, None where the format
    cannot know. ``fault``, ``said`` and ``place`` are those of `Rows`.
    """

    sql: str
    parameters: tuple[Any, ...]
    file: Path
    id_name: str
    fields: tuple[str, ...]
    text: tuple[str, ...] | None
    place: Callable[[Sequence[int]], list[Place]]
    has_fault: bool = False
    records: Records | None = None
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """A format: one module of this package, named after it."""

    def recognises(self, sight: Sight, columns: Columns) -> int:
        """Return how surely ``sight`` is of this format, `NO` to `BY_CONTENT`."""
        ...

    def read_log(self, scratch: Scratch, path: Path, columns: Columns) -> Rows:
        """Return the events in ``path``; raises `DataError` where it is not such a file."""
        ...

    def read_items(self, scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
        """Return the items in ``path``; raises `DataError` where it is not such a file."""
        ...


@dataclass(frozen=True)
class Roles:
    """Which column plays which part of a log, by position; None: it is not there, or not wanted."""

    user: int
    item: int
    timestamp: int | None
    rating: int | None
    notes: tuple[str, ...] = ()


def roles(names: Sequence[str], columns: Columns, file: Path) -> Roles:
    """Find the columns of a log by name; raises `DataError` for one that must be there and is not.

    ``timestamp`` and ``rating`` need not be there under their usual names; a name that somebody chose must be. A usual
    name may be spelled otherwise (`SPELLINGS`).
    """
    notes: list[str] = []

    def optional(wanted: str | None, usual: str | None, role: str) -> int | None:
        if wanted is None:
            return None
        if wanted in names or wanted != usual or spelled_otherwise(names, wanted):
            return position(names, wanted, file, role=role)
        if near := nearest(wanted, names):
            notes.append(
                f"{file}: no column '{wanted}'; '{near}' was not taken for it (set {role} = \"{near}\" to do so)"
            )
        return None

    usual = Columns()
    return Roles(
        position(names, columns.user, file, role="user"),
        position(names, columns.item, file, role="item"),
        optional(columns.timestamp, usual.timestamp, "timestamp"),
        optional(columns.rating, usual.rating, "rating"),
        tuple(notes),
    )


SPELLINGS = {
    "user_id": ("userid", "user"),
    "item_id": ("itemid", "item"),
    "timestamp": ("timestamp",),
    "rating": ("rating",),
}
"""The usual names of columns, and their letters: ``userId``, ``USER ID`` and ``user`` are ``user_id`` as well."""


def spelled_otherwise(names: Sequence[str], wanted: str) -> str | None:
    """Return the one name among ``names`` that is the usual name ``wanted`` in other letters; None: none, or several.

    >>> spelled_otherwise(["userId", "movieId"], "user_id")
    'userId'
    """
    found = [name for name in names if re.sub(r"[^a-z]", "", name.lower()) in SPELLINGS.get(wanted, ())]
    return found[0] if len(found) == 1 else None


def position(names: Sequence[str], wanted: str, file: Path, *, role: str) -> int:
    """Return where the column ``wanted`` is among ``names``; raises `DataError` naming the nearest one."""
    if names.count(wanted) == 1:
        return names.index(wanted)
    if wanted not in names and (spelled := spelled_otherwise(names, wanted)):
        return names.index(spelled)
    if wanted in names:
        raise DataError(
            f"{file}: expected one column '{wanted}', found {names.count(wanted)}", hint="rename the others"
        )
    near = nearest(wanted, names)
    hint = f"did you mean '{near}'? set {role} = \"{near}\"" if near else f'set {role} = "…" to one of these columns'
    if any(name.replace(".", "").isdigit() for name in names):
        hint = "the first line looks like data: give the file a header with the names of its columns"
    raise DataError(f"{file}: expected a column '{wanted}' ({role}), found {listed(names)}", hint=hint)


def listed(names: Iterable[str]) -> str:
    """Return column names as text, the first dozen of them."""
    names = list(names)
    return ", ".join(f"'{name}'" for name in names[:12]) + (", …" if len(names) > 12 else "") if names else "none"
