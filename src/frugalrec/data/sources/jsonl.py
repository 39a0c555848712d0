"""JSON lines: one object a line. Keys are columns; an absent key and null are both empty.

Numbers keep their digits, so that ids are what they look like. Of an item's fields, lists are joined with commas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from frugalrec.data.sources import _records, _text
from frugalrec.data.sources._records import Records
from frugalrec.data.sources._scratch import Scratch, literal
from frugalrec.data.sources._source import BY_NAME, BY_SUFFIX, NO, Columns, ItemRows, Rows, Sight, position, roles
from frugalrec.errors import DataError

EXPECTED = "one JSON object"
_CHECKED = f"""
    CASE WHEN trim(coalesce(c0, ''), ' \t\r') = '' THEN ''
        WHEN json_valid(c0) IS NOT TRUE THEN '{EXPECTED}' END AS fault,
    CASE WHEN fault <> '' THEN c0 END AS said"""


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its suffix, or by an object on its first line."""
    if sight.path.is_dir():
        return NO
    if keys_in(sight.first):
        return BY_NAME
    return BY_SUFFIX if sight.suffix in (".jsonl", ".ndjson", ".json") else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in a file of JSON lines."""
    records = open_lines(scratch, path)
    keys = _wanted_keys(records, columns)
    found = roles(keys, columns, path)
    chosen = [found.user, found.item, *(n for n in (found.rating, found.timestamp) if n is not None)]
    rating = "NULL" if found.rating is None else f"x[{chosen.index(found.rating) + 1}]"
    time = "NULL" if found.timestamp is None else f"x[{chosen.index(found.timestamp) + 1}]"
    return Rows(
        sql=f"""
            SELECT x[1] AS u, x[2] AS i, {rating} AS r, {time} AS t, fault, said FROM (
                SELECT {_CHECKED},
                    CASE WHEN fault IS NULL THEN json_extract_string(c0, [{", ".join("?" for _ in chosen)}]) END AS x
                FROM {records.sql})""",  # noqa: S608  keys are parameters
        parameters=(*(_pointer(keys[n]) for n in chosen), *records.parameters),
        file=path,
        names=columns,
        rated=found.rating is not None,
        clock="none" if found.timestamp is None else "text",
        place=records.places,
        has_fault=True,
        records=records,
        notes=(*records.text.notes, *found.notes),
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the items in a file of JSON lines: every key but the id is a field."""
    records = open_lines(scratch, path)
    keys = _all_keys(records)
    id_name = keys[position(keys, columns.id_of_items, path, role="item_id")]
    return items(records, id_name, {key: (key, ", ") for key in keys if key != id_name})


def items(
    records: Records, id_name: str, fields: Mapping[str, tuple[str, str]], *, text: tuple[str, ...] | None = None
) -> ItemRows:
    """Return JSON lines as a catalogue; ``fields`` maps a field's name to its key and to what joins a list of it."""
    pointers = [_pointer(id_name), *(_pointer(key) for key, _ in fields.values())]
    chosen = "".join(f", {_joined(f'x[{n + 2}]', mark)} AS f{n}" for n, (_, mark) in enumerate(fields.values()))
    return ItemRows(
        sql=f"""
            SELECT json_extract_string(x[1], '$') AS id{chosen}, fault, said FROM (
                SELECT {_CHECKED},
                    CASE WHEN fault IS NULL THEN json_extract(c0, [{", ".join("?" for _ in pointers)}]) END AS x
                FROM {records.sql})""",  # noqa: S608  keys are parameters
        parameters=(*pointers, *records.parameters),
        file=records.text.origin,
        id_name=id_name,
        fields=tuple(fields),
        text=text,
        place=records.places,
        has_fault=True,
        records=records,
        notes=records.text.notes,
    )


def _joined(value: str, mark: str) -> str:
    """Return SQL for the text of a JSON value: a list is joined, a list of lists flattened before."""
    return f"""CASE json_type({value}) WHEN 'ARRAY' THEN
        CASE WHEN starts_with({value}::VARCHAR, '[[')
        THEN array_to_string(flatten(from_json({value}, '[["VARCHAR"]]')), {literal(mark)})
        ELSE array_to_string(from_json({value}, '["VARCHAR"]'), {literal(mark)}) END
        ELSE json_extract_string({value}, '$') END"""


def open_lines(scratch: Scratch, path: Path) -> Records:
    """Return the lines of a file; raises `DataError` where it holds one JSON array instead."""
    text = _text.ready(scratch, [path])
    if Sight(text.path).first.lstrip().startswith("["):
        hint = "rewrite it with: jq -c '.[]' FILE"
        raise DataError(f"{path}: expected {EXPECTED} a line, found a JSON array", hint=hint)
    return _records.lines(scratch, text)


def keys_in(*lines: str) -> list[str]:
    """Return the keys of the objects on ``lines``, in order of appearance; what is no object has none."""
    seen: dict[str, None] = {}
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            seen.update(dict.fromkeys(found))
    return list(seen)


def _wanted_keys(records: Records, columns: Columns) -> list[str]:
    """Return the keys of the first lines, and those of the wanted columns that only later lines have."""
    keys = keys_in(*Sight(records.text.path).head)
    for wanted in (columns.user, columns.item, columns.timestamp, columns.rating):
        if wanted is not None and wanted not in keys:
            (later,) = records.scratch.row(
                f"SELECT bool_or(CASE WHEN json_valid(c0) THEN json_exists(c0, ?) END) FROM {records.sql}",  # noqa: S608
                [_pointer(wanted), *records.parameters],
            )
            keys += [wanted] if later else []
    return keys


def _all_keys(records: Records) -> list[str]:
    """Return all keys of all lines, in order of appearance in an object."""
    rows = records.scratch.rows(
        f"""
        SELECT key FROM (
            SELECT unnest(keys) AS key, generate_subscripts(keys, 1) AS spot FROM (
                SELECT CASE WHEN json_valid(c0) THEN json_keys(c0) END AS keys FROM {records.sql}))
        GROUP BY key ORDER BY min(spot), key""",  # noqa: S608  our own query
        records.parameters,
    )
    if not rows:
        raise DataError(f"{records.text.origin}: expected {EXPECTED} a line, found none")
    return [str(key) for (key,) in rows]


def _pointer(key: str) -> str:
    """Return ``key`` as a JSON pointer (RFC 6901), in which it means nothing but itself."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
