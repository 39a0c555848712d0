"""MIND news: ``behaviors.tsv`` (impression, user, time, history, shown) and ``news.tsv``; no headers.

Events are the clicks (``N123-1``), at the time of their impression. What was shown and not clicked is no event, nor is
what has no label (the test set). The history of a user's earliest impression comes before all clicks, in its order. Its
events have no times of their own: they are placed one second apart, the last one second before that impression. (A
user's history is the same in all impressions; where it is not, the earliest counts and the report says so.) Items:
title and abstract are their text, category, subcategory and url are fields; entities are not read. A folder is read as
its two files.
"""

from __future__ import annotations

import re
from pathlib import Path

from frugalrec.data.sources import _records, _text
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._source import BY_CONTENT, BY_NAME, NO, Columns, ItemRows, Rows, Sight
from frugalrec.errors import DataError

LOG, ITEMS = "behaviors.tsv", "news.tsv"
_TIME = "%m/%d/%Y %I:%M:%S %p"
_FIRST_LINE = re.compile(r"[^\t]*\t[^\t]+\t\d+/\d+/\d{4} \d+:\d\d:\d\d [AP]M\t[^\t]*\t[^\t]*")


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a log by its first line, items by their name, a folder by the files in it."""
    if sight.path.is_dir():
        return BY_CONTENT if _find(sight, LOG) else NO
    # Both names end in .tsv, which alone would make them CSV.
    if _FIRST_LINE.fullmatch(sight.first) or (sight.name == ITEMS and sight.first.count("\t") == 7):
        return BY_CONTENT
    return BY_NAME if sight.name == LOG else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return histories and clicks as events."""
    sight = Sight(path)
    file = _file(sight, LOG)
    text = _text.ready(scratch, [file])
    records = _records.delimited(scratch, text, delimiter="\t", quote="", width=5)
    raw, first = scratch.name("behaviors"), scratch.name("first")
    scratch.run(
        f"""
        CREATE TABLE {raw} AS SELECT c1 AS u, c2 AS said, try_strptime(c2, ?) AS seen,
            list_filter(string_split(c3, ' '), lambda item: item <> '') AS history,
            list_filter(string_split(c4, ' '), lambda item: item <> '') AS shown
        FROM {records.sql}""",  # noqa: S608  our own name
        [_TIME, *records.parameters],
    )
    scratch.run(f"CREATE TABLE {first} AS SELECT arg_min(rowid, (seen, rowid)) AS record FROM {raw} GROUP BY u")  # noqa: S608
    return Rows(
        sql=_EVENTS.format(raw=raw, first=first),
        parameters=(),
        file=file,
        names=Columns(user="user", item="news", timestamp="time", rating=None),
        rated=False,
        clock="none" if columns.timestamp is None else "text",
        place=records.places,
        has_record=True,
        records=records,
        items=_find(sight, ITEMS),
        notes=(*text.notes, *_notes(scratch, file, raw, first)),
    )


# An impression whose time cannot be read hands on what it says, for the loader to complain about.
_EVENTS = """
    SELECT u, i, NULL AS r, CASE WHEN seen IS NULL THEN said ELSE (seen - to_seconds(back))::VARCHAR END AS t, record
    FROM (
        SELECT record, 0 AS part, n, u, i, said, seen, total - n + 1 AS back FROM (
            SELECT {raw}.rowid AS record, u, said, seen, len(history) AS total,
                unnest(history) AS i, generate_subscripts(history, 1) AS n
            FROM {raw} JOIN {first} ON {raw}.rowid = record)
        UNION ALL
        SELECT record, 1, n, u, i[:-3], said, seen, 0 FROM (
            SELECT rowid AS record, u, said, seen, unnest(shown) AS i, generate_subscripts(shown, 1) AS n FROM {raw})
        WHERE i LIKE '%-1')
    ORDER BY record, part, n"""


def _notes(scratch: Scratch, file: Path, raw: str, first: str) -> list[str]:
    """Return what became of impressions and histories, in words."""
    shown, clicks, empty = scratch.row(
        f"""
        SELECT coalesce(sum(len(shown)), 0), coalesce(sum(len(list_filter(shown, lambda item: item LIKE '%-1'))), 0),
            (SELECT count(*) FROM (SELECT u FROM {raw} GROUP BY u HAVING NOT bool_or(
                coalesce(len(history), 0) + coalesce(len(list_filter(shown, lambda item: item LIKE '%-1')), 0) > 0)))
        FROM {raw}"""  # noqa: S608
    )
    (history,) = scratch.row(
        f"SELECT coalesce(sum(len(history)), 0) FROM {raw} JOIN {first} ON {raw}.rowid = record"  # noqa: S608
    )
    (changed,) = scratch.row(
        f"SELECT count(*) FROM (SELECT u FROM {raw} GROUP BY u HAVING count(DISTINCT history) > 1)"  # noqa: S608
    )
    notes = [
        f"{file}: {clicks:,} clicks were read as events; {shown - clicks:,} items shown without a click were not",
        f"{file}: {history:,} events of histories have no time of their own: they were placed one second apart before "
        "the user's earliest impression",
    ]
    if changed:
        notes.append(f"{file}: the history of {changed:,} users changes between impressions: the earliest was used")
    if empty:
        notes.append(f"{file}: {empty:,} users have neither history nor clicks, and so no events")
    return notes


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the articles in ``news.tsv``."""
    file = _file(Sight(path), ITEMS)
    text = _text.ready(scratch, [file])
    records = _records.delimited(scratch, text, delimiter="\t", quote="", width=8)
    return ItemRows(
        sql=f"SELECT c0 AS id, c3 AS f0, c4 AS f1, c1 AS f2, c2 AS f3, c5 AS f4 FROM {records.sql}",  # noqa: S608
        parameters=records.parameters,
        file=file,
        id_name="news",
        fields=("title", "abstract", "category", "subcategory", "url"),
        text=("title", "abstract"),
        place=records.places,
        records=records,
        notes=text.notes,
    )


def _find(sight: Sight, name: str) -> Path | None:
    """Return the file of this name in a folder, or None."""
    return next((file for file in sight.listing if Sight(file).name == name), None)


def _file(sight: Sight, name: str) -> Path:
    file = _find(sight, name) if sight.path.is_dir() else sight.path
    if file is None:
        raise DataError(f"{sight.path}: expected {name}, found none in the folder")
    return file
