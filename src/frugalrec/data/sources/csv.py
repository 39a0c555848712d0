"""CSV and TSV: a header, then one row a line; fields may be quoted ("RFC 4180"), gzip is unpacked.

The delimiter is found in the header (comma, semicolon, tab or bar) unless it is given. Values are read as text, so ids keep
their leading zeros. A folder is not a CSV source.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from frugalrec.data.sources import _text
from frugalrec.data.sources._source import BY_NAME, NO, Columns, ItemRows, Rows, Scratch, Sight, position, roles
from frugalrec.data.sources._text import Records, Text
from frugalrec.errors import ConfigError

DELIMITERS = (",", "\t", ";", "|")
NAMES = (".csv", ".tsv", ".tab")


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its suffix, or by a header with the wanted columns."""
    if sight.path.is_dir():
        return NO
    if sight.suffix in NAMES:
        return BY_NAME
    cells = [cell.strip(' "') for cell in sight.first.split(_delimiter(sight.first, columns))]
    return BY_NAME if {columns.user, columns.item} <= set(cells) or columns.id_of_items in cells else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in a CSV file."""
    text = _text.ready(scratch, [path])
    names, records = _open(scratch, text, columns)
    return log(scratch, records, names, columns)


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the items in a CSV file: every column but the id is a field."""
    text = _text.ready(scratch, [path])
    names, records = _open(scratch, text, columns)
    return items(scratch, records, names, columns.id_of_items)


def log(scratch: Scratch, records: Records, names: Sequence[str], columns: Columns) -> Rows:
    """Return records with these column names as a log."""
    file = records.text.origin
    found = roles(names, columns, file)
    rating = "NULL" if found.rating is None else f"c{found.rating}"
    time = "NULL" if found.timestamp is None else f"c{found.timestamp}"
    return Rows(
        sql=f"SELECT c{found.user} AS u, c{found.item} AS i, {rating} AS r, {time} AS t FROM {records.sql}",  # noqa: S608
        parameters=records.parameters,
        file=file,
        names=columns,
        rated=found.rating is not None,
        clock="none" if found.timestamp is None else "text",
        place=lambda numbers: records.places(scratch, numbers),
        records=records,
        notes=(*records.text.notes, *found.notes),
    )


def items(scratch: Scratch, records: Records, names: Sequence[str], id_name: str) -> ItemRows:
    """Return records with these column names as a catalogue."""
    file = records.text.origin
    id_ = position(names, id_name, file, role="item_id")
    # Of columns with the same name the first is a field; an unnamed column (an index written along) is none.
    fields = {name: n for n, name in reversed(list(enumerate(names))) if n != id_ and name}
    left_out = len(names) - 1 - len(fields)
    notes = [f"{file}: {left_out} columns without a name, or with one used before, were left out"] if left_out else []
    ordered = sorted(fields, key=fields.__getitem__)
    chosen = "".join(f", c{fields[name]} AS f{n}" for n, name in enumerate(ordered))
    return ItemRows(
        sql=f"SELECT c{id_} AS id{chosen} FROM {records.sql}",  # noqa: S608  columns are numbered by us
        parameters=records.parameters,
        file=file,
        id_name=id_name,
        fields=tuple(ordered),
        text=None,
        place=lambda numbers: records.places(scratch, numbers),
        records=records,
        notes=(*records.text.notes, *notes),
    )


def _open(scratch: Scratch, text: Text, columns: Columns) -> tuple[list[str], Records]:
    delimiter = _delimiter(next(filter(None, _text.head(text.path)), ""), columns)
    names, skip = _text.header(text, delimiter)
    records = _text.delimited(scratch, text, delimiter=delimiter, quote='"', width=len(names), skip=skip)
    return names, records


def _delimiter(line: str, columns: Columns) -> str:
    """Return the given delimiter, or the one that cuts the wanted names out of ``line``, or the most frequent."""
    if columns.delimiter != "auto":
        delimiter = {"\\t": "\t", "tab": "\t"}.get(columns.delimiter, columns.delimiter)
        if len(delimiter) != 1:
            raise ConfigError(f"delimiter must be one character, 'tab' or 'auto', not {columns.delimiter!r}")
        return delimiter
    wanted = {columns.user, columns.item, columns.id_of_items, columns.timestamp, columns.rating}

    def fit(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip(' "') for cell in line.split(delimiter)]
        return len(wanted.intersection(cells)) if len(cells) > 1 else 0, len(cells)

    return max(DELIMITERS, key=fit)
