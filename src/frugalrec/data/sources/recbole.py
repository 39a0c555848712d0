"""RecBole atomic files: ``NAME.inter`` and ``NAME.item``, tab-separated, with typed headers such as ``user_id:token``.

Columns go by the name before the colon. Fields of type ``token_seq`` are an item's text. A folder is read as its only
``.inter``, and its only ``.item`` if it has one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from frugalrec.data.sources import _records, _text, csv
from frugalrec.data.sources._records import Records
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._source import BY_CONTENT, BY_SUFFIX, NO, Columns, ItemRows, Rows, Sight
from frugalrec.errors import DataError

TYPES = ("float", "float_seq", "token", "token_seq")
LOG, ITEMS = ".inter", ".item"


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its typed header or its suffix, a folder by an ``.inter`` in it."""
    if sight.path.is_dir():
        return BY_CONTENT if _files(sight, LOG) else NO
    if all(cell.endswith(tuple(f":{type_}" for type_ in TYPES)) for cell in sight.first.split("\t")):
        return BY_CONTENT
    return BY_SUFFIX if sight.suffix in (LOG, ITEMS) else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in an ``.inter`` file."""
    sight = Sight(path)
    types, records = _open(scratch, _only(sight, LOG))
    for name in (columns.rating, columns.timestamp):
        if types.get(name or "", "float") != "float":
            found = types[name or ""]
            raise DataError(
                f"{records.text.origin}: column '{name}': expected the type 'float' in the header, found '{found}'",
                hint="correct the header, or name another column",
            )
    rows = csv.log(records, list(types), columns)
    return replace(rows, items=_only(sight, ITEMS) if _files(sight, ITEMS) else None)


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the items in an ``.item`` file."""
    types, records = _open(scratch, _only(Sight(path), ITEMS))
    rows = csv.items(records, list(types), columns.id_of_items)
    text = tuple(name for name in rows.fields if types[name] == "token_seq")
    return replace(rows, text=text or None)


def _files(sight: Sight, suffix: str) -> list[Path]:
    return [file for file in sight.listing if Sight(file).suffix == suffix]


def _only(sight: Sight, suffix: str) -> Path:
    if not sight.path.is_dir():
        return sight.path
    found = _files(sight, suffix)
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found) or "none"
    raise DataError(
        f"{sight.path}: expected one '{suffix}' file in the folder, found {names}", hint="name the file itself"
    )


def _open(scratch: Scratch, path: Path) -> tuple[dict[str, str], Records]:
    text = _text.ready(scratch, [path])
    cells, skip = _text.header(text, "\t")
    types: dict[str, str] = {}
    for cell in cells:
        name, _, type_ = cell.rpartition(":")
        if not name or type_ not in TYPES or name in types:
            raise DataError(
                f"{path}: line 1: expected each column once, as 'name:type' ({', '.join(TYPES)}), found '{cell}'",
                hint='correct the header, or set format = "csv"',
            )
        types[name] = type_
    return types, _records.delimited(scratch, text, delimiter="\t", quote='"', width=len(cells), skip=skip)
