"""CSV and TSV: a header, then one row a line; fields may be quoted (RFC 4180).

The delimiter (comma, tab, semicolon or bar) is found in the header unless it is given. Values are read as text, so ids
keep their leading zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from frugalrec.data.sources import _records, _text
from frugalrec.data.sources._records import Records
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._source import BY_SUFFIX, MAYBE, NO, Columns, ItemRows, Rows, Sight, position, roles
from frugalrec.errors import ConfigError

DELIMITERS = (",", "\t", ";", "|")
SUFFIXES = (".csv", ".tsv", ".tab")


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its suffix, or by a header with the wanted columns."""
    if sight.path.is_dir():
        return NO
    cells = set(_cells(sight.first, _delimiter(sight.first, columns)))
    if sight.suffix in SUFFIXES:
        return BY_SUFFIX
    return MAYBE if {columns.user, columns.item} <= cells or columns.id_of_items in cells else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in a CSV file."""
    names, records = _open(scratch, path, columns)
    return log(records, names, columns)


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the items in a CSV file: every column but the id is a field."""
    names, records = _open(scratch, path, columns)
    return items(records, names, columns.id_of_items)


def log(records: Records, names: Sequence[str], columns: Columns) -> Rows:
    """Return records with these column names as a log."""
    found = roles(names, columns, records.text.origin)
    rating = "NULL" if found.rating is None else f"c{found.rating}"
    time = "NULL" if found.timestamp is None else f"c{found.timestamp}"
    return Rows(
        sql=f"SELECT c{found.user} AS u, c{found.item} AS i, {rating} AS r, {time} AS t FROM {records.sql}",  # noqa: S608
        parameters=records.parameters,
        file=records.text.origin,
        names=columns,
        rated=found.rating is not None,
        clock="none" if found.timestamp is None else "text",
        place=records.places,
        records=records,
        notes=(*records.text.notes, *found.notes),
    )


def items(records: Records, names: Sequence[str], id_name: str) -> ItemRows:
    """Return records with these column names as a catalogue."""
    file = records.text.origin
    id_ = position(names, id_name, file, role="item_id")
    id_name = names[id_]
    # Of columns with one name the first is a field; a column without a name (an index written along) is none.
    fields = list(dict.fromkeys(name for name in names if name and name != id_name))
    left_out = len(names) - 1 - len(fields)
    chosen = "".join(f", c{names.index(name)} AS f{n}" for n, name in enumerate(fields))
    notes = [f"{file}: {left_out} columns without a name, or with one used before, were not read"] if left_out else []
    return ItemRows(
        sql=f"SELECT c{id_} AS id{chosen} FROM {records.sql}",  # noqa: S608  columns are numbered by us
        parameters=records.parameters,
        file=file,
        id_name=id_name,
        fields=tuple(fields),
        text=None,
        place=records.places,
        records=records,
        notes=(*records.text.notes, *notes),
    )


def _open(scratch: Scratch, path: Path, columns: Columns) -> tuple[list[str], Records]:
    text = _text.ready(scratch, [path])
    delimiter = _delimiter(Sight(text.path).first, columns)
    names, skip = _text.header(text, delimiter)
    return names, _records.delimited(scratch, text, delimiter=delimiter, quote='"', width=len(names), skip=skip)


def _delimiter(line: str, columns: Columns) -> str:
    """Return the given delimiter, or the one that cuts the most wanted names, or else cells, out of ``line``."""
    if columns.delimiter != "auto":
        delimiter = {"\\t": "\t", "tab": "\t"}.get(columns.delimiter, columns.delimiter)
        if len(delimiter) != 1:
            raise ConfigError(f"delimiter must be one character, 'tab' or 'auto', not {columns.delimiter!r}")
        return delimiter
    wanted = {columns.user, columns.item, columns.id_of_items, columns.timestamp, columns.rating}

    def fit(delimiter: str) -> tuple[int, int]:
        cells = _cells(line, delimiter)
        return len(wanted.intersection(cells)), len(cells)

    return max(DELIMITERS, key=fit)


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip(' "') for cell in line.split(delimiter)]
