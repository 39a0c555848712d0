"""Parquet: ids must be text or whole numbers, ratings numbers, times numbers, text or timestamps.

Ids stored as floating-point numbers are refused: ``1.0`` would not match the ``1`` of another file. A folder is read
with all below it, in the order of names; folders called ``column=value`` add a column of text. Names that begin with a
dot or an underscore are left out, as other readers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from frugalrec.data.sources._problems import Place
from frugalrec.data.sources._scratch import Scratch, quoted
from frugalrec.data.sources._source import (
    BY_CONTENT,
    BY_SUFFIX,
    NO,
    Clock,
    Columns,
    ItemRows,
    Rows,
    Sight,
    position,
    roles,
)
from frugalrec.data.sources._text import opened
from frugalrec.errors import DataError

WHOLE = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")} | {
    "INTEGER",
    "UINTEGER",
}
TEXT = {"VARCHAR", "UUID"}
REAL = {"FLOAT", "DOUBLE"}
_READ = "read_parquet(?, binary_as_string=true)"
_READ_ALL = "read_parquet(?, binary_as_string=true, hive_partitioning=true, hive_types_autocast=false)"


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its first bytes, or by its suffix."""
    if sight.path.is_dir():
        return BY_SUFFIX if _parts(sight.path) else NO
    if sight.first.startswith("PAR1"):
        return BY_CONTENT
    return BY_SUFFIX if sight.suffix in (".parquet", ".pq") else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in a Parquet file, or in a folder of them."""
    source, read, types = _open(scratch, path)
    names = list(types)
    found = roles(names, columns, path)
    user, item = (id_sql(path, name, types[name]) for name in (names[found.user], names[found.item]))
    rating, time = "NULL", "NULL"
    clock: Clock = "none"
    if found.rating is not None:
        rating = rating_sql(path, names[found.rating], types[names[found.rating]])
    if found.timestamp is not None:
        time, clock = time_sql(path, names[found.timestamp], types[names[found.timestamp]])
    return Rows(
        sql=f"SELECT {user} AS u, {item} AS i, {rating} AS r, {time} AS t FROM {read}",  # noqa: S608  names are quoted
        parameters=(source,),
        file=path,
        names=columns,
        rated=found.rating is not None,
        clock=clock,
        place=lambda rows: _places(scratch, path, source, rows),
        notes=found.notes,
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the items in a Parquet file: every column but the id is a field; lists are joined with commas."""
    source, read, types = _open(scratch, path)
    id_name = list(types)[position(list(types), columns.id_of_items, path, role="item_id")]
    fields = [name for name in types if name != id_name]
    chosen = "".join(f", {_field(name, types[name])} AS f{n}" for n, name in enumerate(fields))
    return ItemRows(
        sql=f"SELECT {id_sql(path, id_name, types[id_name])} AS id{chosen} FROM {read}",  # noqa: S608  names are quoted
        parameters=(source,),
        file=path,
        id_name=id_name,
        fields=tuple(fields),
        text=None,
        place=lambda rows: _places(scratch, path, source, rows),
    )


def _parts(folder: Path) -> list[Path]:
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.suffix in (".parquet", ".pq"))
    return sorted(file for file in found if not any(name.startswith((".", "_")) for name in file.parts))


def _open(scratch: Scratch, path: Path) -> tuple[str | list[str], str, dict[str, str]]:
    """Return what DuckDB is to read, the function for that, and the types of its columns."""
    parts = _parts(path) if path.is_dir() else [Path()]
    for part in parts:
        with opened(path / part) as file:
            start = file.read(4)
        if start != b"PAR1":
            found = "one that starts differently" if start else "an empty file"
            raise DataError(f"{path / part}: expected a Parquet file (it starts with 'PAR1'), found {found}")
    link, read = scratch.link(path), _READ_ALL if path.is_dir() else _READ
    files = [str(link / part) for part in parts] if path.is_dir() else str(link)
    return files, read, scratch.columns(f"SELECT * FROM {read}", [files])  # noqa: S608


def _places(scratch: Scratch, path: Path, source: str | list[str], rows: Sequence[int]) -> list[Place]:
    if isinstance(source, str):
        return [Place(path, row + 1, "row") for row in rows]
    # Rows are counted through all files; people look for them in one.
    counts = dict(scratch.rows("SELECT file_name, num_rows FROM parquet_file_metadata(?)", [source]))
    ends = np.cumsum([counts[file] for file in source])
    which = np.searchsorted(ends, rows, side="right")
    first = np.concatenate([[0], ends])
    parts = _parts(path)
    return [Place(path / parts[n], int(row - first[n]) + 1, "row") for n, row in zip(which, rows, strict=True)]


def id_sql(path: Path, name: str, type_: str) -> str:
    """Return SQL for ids as text; raises `DataError` for a column of another type."""
    if type_ in WHOLE | TEXT or type_.startswith("ENUM"):
        return f"{quoted(name)}::VARCHAR"
    raise _wrong_type(path, name, type_, "ids (text or whole numbers)", "write the ids as text")


def rating_sql(path: Path, name: str, type_: str) -> str:
    """Return SQL for ratings; raises `DataError` for a column that cannot hold numbers."""
    if type_ in WHOLE | TEXT | REAL or type_.startswith("DECIMAL"):
        return quoted(name)
    raise _wrong_type(path, name, type_, "numbers", 'name another column, or rating = "" to read none')


def time_sql(path: Path, name: str, type_: str) -> tuple[str, Clock]:
    """Return SQL for times, and what they are; raises `DataError` for a column of another type."""
    if type_ == "VARCHAR":
        return quoted(name), "text"
    if type_ in WHOLE | REAL or type_.startswith("DECIMAL"):
        return quoted(name), "number"
    if type_ == "DATE" or type_.startswith("TIMESTAMP"):
        return f"epoch({quoted(name)})", "seconds"
    expected = "times (numbers, ISO-8601 text or timestamps)"
    raise _wrong_type(path, name, type_, expected, 'name another column, or timestamp = "" to take the order of rows')


def _wrong_type(path: Path, name: str, type_: str, expected: str, hint: str) -> DataError:
    return DataError(f"{path}: column '{name}': expected {expected}, found the type {type_} in all rows", hint=hint)


def _field(name: str, type_: str) -> str:
    return f"array_to_string({quoted(name)}, ', ')" if type_.endswith("[]") else f"{quoted(name)}::VARCHAR"
