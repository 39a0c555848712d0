"""JSON lines: one object a line; keys are columns, absent keys and null are empty.

Numbers keep their digits, so whole-number ids are what they look like; lists of an item's field are joined with commas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from frugalrec.data.sources import _text
from frugalrec.data.sources._source import (
    BY_NAME,
    NO,
    Columns,
    ItemRows,
    Rows,
    Scratch,
    Sight,
    position,
    roles,
)
from frugalrec.data.sources._text import Records
from frugalrec.errors import DataError

FAULT = "one JSON object"
_BLANK = "(c0 IS NULL OR trim(c0, ' \t\r') = '')"
_VALID = f"CASE WHEN {_BLANK} THEN '' WHEN json_valid(c0) IS NOT TRUE THEN '{FAULT}' END AS fault, CASE WHEN fault <> '' THEN c0 END AS said"


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its suffix, or by an object on its first line."""
    if sight.path.is_dir():
        return NO
    return BY_NAME if sight.suffix in (".jsonl", ".ndjson", ".json") or first_object(sight) else NO


def first_object(sight: Sight) -> dict[str, object]:
    """Return the object on the first line, empty where there is none."""
    try:
        found = json.loads(sight.first)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in a file of JSON lines."""
    records = open_lines(scratch, path)
    keys = _keys(scratch, records, columns)
    found = roles(keys, columns, path)
    pointers = [_pointer(keys[found.user]), _pointer(keys[found.item])]
    rating, time = "NULL", "NULL"
    if found.rating is not None:
        pointers.append(_pointer(keys[found.rating]))
        rating = f"x[{len(pointers)}]"
    if found.timestamp is not None:
        pointers.append(_pointer(keys[found.timestamp]))
        time = f"x[{len(pointers)}]"
    asked = ", ".join("?" for _ in pointers)
    return Rows(
        sql=(
            f"SELECT x[1] AS u, x[2] AS i, {rating} AS r, {time} AS t, fault, said FROM "  # noqa: S608  keys are parameters
            f"(SELECT {_VALID}, CASE WHEN fault IS NULL THEN json_extract_string(c0, [{asked}]) END AS x FROM {records.sql})"
        ),
        parameters=(*pointers, *records.parameters),
        file=path,
        names=columns,
        rated=found.rating is not None,
        clock="none" if found.timestamp is None else "text",
        place=lambda numbers: records.places(scratch, numbers),
        has_fault=True,
        records=records,
        notes=(*records.text.notes, *found.notes),
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the items in a file of JSON lines: every key but the id is a field."""
    records = open_lines(scratch, path)
    keys = _all_keys(scratch, records)
    id_name = keys[position(keys, columns.id_of_items, path, role="item_id")]
    return items(scratch, records, id_name, {key: (key, ", ") for key in keys if key != id_name})


def items(
    scratch: Scratch,
    records: Records,
    id_name: str,
    fields: Mapping[str, tuple[str, str]],
    *,
    text: tuple[str, ...] | None = None,
) -> ItemRows:
    """Return JSON lines as a catalogue; ``fields`` maps a field's name to its key and to what joins a list of it."""
    chosen = "".join(f", {_FIELD} AS f{n}" for n in range(len(fields)))
    pointers: list[str] = []
    for key, separator in fields.values():
        at = _pointer(key)
        pointers += [at, at, at, separator, at, separator, at]
    return ItemRows(
        sql=(
            f"SELECT json_extract_string(j, ?) AS id{chosen}, fault, said FROM "  # noqa: S608  keys are parameters
            f"(SELECT {_VALID}, CASE WHEN fault IS NULL THEN c0 END AS j FROM {records.sql})"
        ),
        parameters=(_pointer(id_name), *pointers, *records.parameters),
        file=records.text.origin,
        id_name=id_name,
        fields=tuple(fields),
        text=text,
        place=lambda numbers: records.places(scratch, numbers),
        has_fault=True,
        records=records,
        notes=records.text.notes,
    )


# A list is joined, a list of lists is flattened first; anything else is its text.
_FIELD = (
    "CASE json_type(j, ?) WHEN 'ARRAY' THEN CASE WHEN json_extract_string(j, ?) LIKE '[[%' "
    "THEN array_to_string(flatten(from_json(json_extract(j, ?), '[[\"VARCHAR\"]]')), ?) "
    "ELSE array_to_string(from_json(json_extract(j, ?), '[\"VARCHAR\"]'), ?) END "
    "ELSE json_extract_string(j, ?) END"
)


def open_lines(scratch: Scratch, path: Path) -> Records:
    """Return the lines of a file; raises `DataError` where it holds one JSON array instead."""
    text = _text.ready(scratch, [path])
    start = next((line.lstrip() for line in _text.head(text.path) if line.strip()), "")
    if start.startswith("["):
        raise DataError(
            f"{path}: expected one JSON object a line, found a JSON array", hint="rewrite it with: jq -c '.[]' FILE"
        )
    return _text.lines(scratch, text)


def first_keys(path: Path) -> list[str]:
    """Return the keys of the first lines of a file, in order of appearance."""
    seen: dict[str, None] = {}
    for line in _text.head(path, lines=100):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            seen.update(dict.fromkeys(found))
    return list(seen)


def _pointer(key: str) -> str:
    """Return ``key`` as a JSON pointer (RFC 6901), in which it means nothing but itself."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _keys(scratch: Scratch, records: Records, columns: Columns) -> list[str]:
    """Return the keys of the first lines, and those of the wanted columns that only later lines have."""
    seen = dict.fromkeys(first_keys(records.text.path))
    for wanted in (columns.user, columns.item, columns.timestamp, columns.rating):
        if wanted is not None and wanted not in seen:
            (somewhere,) = scratch.row(
                f"SELECT bool_or(json_valid(c0) AND json_exists(c0, ?)) FROM {records.sql}",  # noqa: S608
                [_pointer(wanted), *records.parameters],
            )
            if somewhere:
                seen[wanted] = None
    return list(seen)


def _all_keys(scratch: Scratch, records: Records) -> list[str]:
    """Return all keys of all lines, in order of appearance."""
    rows = scratch.rows(
        "SELECT key FROM (SELECT unnest(json_keys(c0)) AS key, generate_subscripts(json_keys(c0), 1) AS at "
        f"FROM {records.sql} WHERE json_valid(c0) AND json_type(c0) = 'OBJECT') GROUP BY key ORDER BY min(spot), key",  # noqa: S608
        records.parameters,
    )
    if not rows:
        raise DataError(f"{records.text.origin}: expected {FAULT} a line, found none")
    return [str(key) for (key,) in rows]
