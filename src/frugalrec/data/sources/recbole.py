"""RecBole atomic files: ``NAME.inter`` and ``NAME.item``, tab-separated, with typed headers such as ``user_id:token``.

Columns go by the name before the colon. Fields of type ``token_seq`` are an item's text. A folder is read as its only
``.inter`` and the ``.item`` of the same name.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from frugalrec.data.sources import _text, csv
from frugalrec.data.sources._source import BY_CONTENT, NO, Columns, ItemRows, Rows, Scratch, Sight
from frugalrec.data.sources._text import Records
from frugalrec.errors import DataError

TYPES = {"token", "token_seq", "float", "float_seq"}


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its typed header, or a folder by an ``.inter`` in it."""
    if sight.path.is_dir():
        return BY_CONTENT if any(_is(name, ".inter") for name in sight.listing) else NO
    cells = sight.first.split("\t")
    return BY_CONTENT if cells and all(cell.rpartition(":")[2] in TYPES and ":" in cell for cell in cells) else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in an ``.inter`` file."""
    names, types, records = _open(scratch, _file(path, ".inter"))
    rows = csv.log(scratch, records, names, columns)
    beside = [file for file in path.iterdir() if _is(file.name, ".item")] if path.is_dir() else []
    for name in (columns.rating, columns.timestamp):
        if name in types and types[name] != "float":
            raise DataError(
                f"{records.text.origin}: expected type 'float' for column '{name}', found '{types[name]}' in the header",
                hint="correct the header, or name another column",
            )
    return replace(rows, items=beside[0] if beside else None)


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the items in an ``.item`` file."""
    names, types, records = _open(scratch, _file(path, ".item"))
    rows = csv.items(scratch, records, names, columns.id_of_items)
    text = tuple(name for name in rows.fields if types[name] == "token_seq")
    return replace(rows, text=text or None)


def _is(name: str, suffix: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(suffix)


def _file(path: Path, suffix: str) -> Path:
    if not path.is_dir():
        return path
    found = sorted(file for file in path.iterdir() if _is(file.name, suffix))
    if len(found) != 1:
        listed = ", ".join(file.name for file in found) or "none"
        raise DataError(f"{path}: expected one '{suffix}' file, found {listed}", hint="name the file itself")
    return found[0]


def _open(scratch: Scratch, path: Path) -> tuple[list[str], dict[str, str], Records]:
    text = _text.ready(scratch, [path])
    cells, skip = _text.header(text, "\t")
    types = {}
    for cell in cells:
        name, _, type_ = cell.rpartition(":")
        if not name or type_ not in TYPES:
            raise DataError(
                f"{path}: line 1: expected columns like 'user_id:token' ({', '.join(sorted(TYPES))}), found '{cell}'",
                hint='write the types into the header, or set format = "csv"',
            )
        types[name] = type_
    records = _text.delimited(scratch, text, delimiter="\t", quote='"', width=len(cells), skip=skip)
    return [cell.rpartition(":")[0] for cell in cells], types, records
