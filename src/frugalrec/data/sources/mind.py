"""MIND news: ``behaviors.tsv`` (impression, user, time, history, impressions) and ``news.tsv``; tab-separated, no header.

Events are the clicks (``N123-1``), at the time of their impression. What was shown and not clicked is no event, nor is what
has no label (the test set). The history of a user's earliest impression comes before all clicks, in its order; its events
have no times of their own and are placed one second apart, the last of them one second before that impression. (A history is
the same in all of a user's impressions; where it is not, the earliest counts and the report says so.) Items: title and
abstract are their text; category, subcategory and url are fields; entities are not read. A folder is read as its two files.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from frugalrec.data.sources import _text
from frugalrec.data.sources._source import BY_CONTENT, BY_NAME, NO, Columns, ItemRows, Rows, Scratch, Sight
from frugalrec.errors import DataError

LOG, ITEMS = "behaviors.tsv", "news.tsv"
_TIME = "%m/%d/%Y %I:%M:%S %p"
_FIRST_LINE = re.compile(r"[^\t]*\t[^\t]+\t\d+/\d+/\d{4} \d+:\d\d:\d\d [AP]M\t[^\t]*\t[^\t]*")


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its name or its first line, a folder by the files in it."""
    if sight.path.is_dir():
        return BY_CONTENT if _find(sight.path, LOG) else NO
    if _FIRST_LINE.fullmatch(sight.first) or sight.name == ITEMS:
        return BY_CONTENT
    return BY_NAME if sight.name == LOG else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return histories and clicks as events."""
    file = _file(path, LOG)
    text = _text.ready(scratch, [file])
    records = _text.delimited(scratch, text, delimiter="\t", quote="", width=5)
    raw = scratch.name("behaviors")
    scratch.run(
        f"CREATE TABLE {raw} AS SELECT c1 AS u, c2 AS said, try_strptime(c2, ?) AS seen, "  # noqa: S608  our own name
        f"string_split_regex(trim(coalesce(c3, '')), ' +') AS history, "
        f"string_split_regex(trim(coalesce(c4, '')), ' +') AS shown FROM {records.sql}",
        [_TIME, *records.parameters],
    )
    first = f"{raw}_first"
    scratch.run(f"CREATE TABLE {first} AS SELECT arg_min(rowid, (seen, rowid)) AS record FROM {raw} GROUP BY u")  # noqa: S608
    return Rows(
        sql=_events(raw, first),
        parameters=(),
        file=file,
        names=replace(columns, user="user", item="news", timestamp="time", rating=None),
        rated=False,
        clock="none" if columns.timestamp is None else "text",
        place=lambda numbers: records.places(scratch, numbers),
        has_record=True,
        records=records,
        items=_find(path, ITEMS) if path.is_dir() else None,
        notes=(*text.notes, *_notes(scratch, file, raw, first)),
    )


def _events(raw: str, first: str) -> str:
    # An impression whose time cannot be read hands its text on, for the loader to complain about.
    return (
        "SELECT u, i, NULL AS r, CASE WHEN seen IS NULL THEN said ELSE (seen - to_seconds(back))::VARCHAR END AS t, record FROM ("  # noqa: S608
        "SELECT record, 0 AS part, n, u, i, said, seen, len - n + 1 AS back FROM (SELECT b.rowid AS record, u, said, seen, "
        "len(history) AS len, unnest(history) AS i, generate_subscripts(history, 1) AS n "
        f"FROM {raw} AS b JOIN {first} ON b.rowid = record) WHERE i <> '' "
        "UNION ALL SELECT record, 1, n, u, i[:-3], said, seen, 0 FROM (SELECT rowid AS record, u, said, seen, "
        f"unnest(shown) AS i, generate_subscripts(shown, 1) AS n FROM {raw}) WHERE i LIKE '%-1'"
        ") ORDER BY record, part, n"
    )


def _notes(scratch: Scratch, file: Path, raw: str, first: str) -> list[str]:
    history, clicks, others = scratch.row(
        f"SELECT (SELECT sum(len(list_filter(history, lambda x: x <> ''))) FROM {raw} JOIN {first} ON {raw}.rowid = record), "  # noqa: S608
        f"sum(len(list_filter(shown, lambda x: x LIKE '%-1'))), sum(len(list_filter(shown, lambda x: x <> '' AND x NOT LIKE '%-1'))) "
        f"FROM {raw}"
    )
    (changed,) = scratch.row(
        f"SELECT count(*) FROM (SELECT u FROM {raw} GROUP BY u HAVING count(DISTINCT history) > 1)"  # noqa: S608
    )
    notes = [
        f"{file}: {clicks or 0:,} clicks were read as events; {others or 0:,} impressions without a click were not",
        f"{file}: {history or 0:,} events of histories have no time of their own: they were placed one second apart before "
        "the user's earliest impression",
    ]
    if changed:
        notes.append(
            f"{file}: the history of {changed:,} users changes between impressions; their earliest one was used"
        )
    return notes


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the articles in ``news.tsv``."""
    file = _file(path, ITEMS)
    text = _text.ready(scratch, [file])
    records = _text.delimited(scratch, text, delimiter="\t", quote="", width=8)
    return ItemRows(
        sql=f"SELECT c0 AS id, c3 AS f0, c4 AS f1, c1 AS f2, c2 AS f3, c5 AS f4 FROM {records.sql}",  # noqa: S608
        parameters=records.parameters,
        file=file,
        id_name="news",
        fields=("title", "abstract", "category", "subcategory", "url"),
        text=("title", "abstract"),
        place=lambda numbers: records.places(scratch, numbers),
        records=records,
        notes=text.notes,
    )


def _find(path: Path, name: str) -> Path | None:
    """Return the file of this name in a folder, gzip or not, or None."""
    return next((file for file in (path / name, path / f"{name}.gz") if file.is_file()), None)


def _file(path: Path, name: str) -> Path:
    file = _find(path, name) if path.is_dir() else path
    if file is None:
        raise DataError(f"{path}: expected {name}, found none in the folder")
    return file
