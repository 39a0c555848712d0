"""The Netflix Prize: ``mv_0000001.txt`` … (one film a file) or ``combined_data_1.txt`` … (one after another).

In both, a line ``1:`` names the film and the lines below it are ``user,rating,date``. Items come from ``movie_titles.txt``
(``id,year,title``, Latin-1, commas in titles): title and year; the title is their text. A folder is read as all its
``mv_`` or ``combined_data_`` files (``training_set`` inside it, too) and its titles.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from frugalrec.data.sources import _text
from frugalrec.data.sources._source import BY_CONTENT, BY_NAME, NO, Columns, ItemRows, Rows, Scratch, Sight
from frugalrec.errors import DataError

LOG_NAME = re.compile(r"(mv_\d+|combined_data_\d+)\.txt(\.gz)?", re.IGNORECASE)
ITEMS_NAME = re.compile(r"movie_titles\.(txt|csv)(\.gz)?", re.IGNORECASE)
EVENT = "'user,rating,date' below a line 'film:'"


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its name or by a first line like ``1:``, a folder by the files in it."""
    if sight.path.is_dir():
        return BY_CONTENT if _logs(sight.path) else NO
    if re.fullmatch(r"\d+:", sight.first.strip()):
        return BY_CONTENT
    return BY_NAME if LOG_NAME.fullmatch(sight.path.name) or ITEMS_NAME.fullmatch(sight.path.name) else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the ratings in a file or folder."""
    files = _logs(path) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: expected mv_….txt or combined_data_….txt, found none in the folder")
    text = _text.ready(scratch, files)
    records = _text.delimited(scratch, text, delimiter=",", quote="", width=3, padded=True)
    raw = scratch.name("netflix")
    scratch.run(f"CREATE TABLE {raw} AS SELECT c0, c1, c2 FROM {records.sql}", records.parameters)  # noqa: S608
    films = f"(SELECT rowid AS n, regexp_extract(c0, '^\\s*(\\d+):\\s*$', 1) AS film FROM {raw} WHERE c1 IS NULL)"  # noqa: S608
    return Rows(
        sql=(
            f"SELECT c0 AS u, film AS i, c1 AS r, c2 AS t, {raw}.rowid AS record, "  # noqa: S608  our own tables
            f"CASE WHEN film IS NULL OR (c1 IS NULL AND n < {raw}.rowid) THEN '{EVENT.replace(chr(39), chr(39) * 2)}' END "
            f"AS fault, concat_ws(',', c0, c1, c2) AS said FROM {raw} ASOF LEFT JOIN (FROM {films} WHERE film <> '') ON {raw}.rowid >= n "
            f"WHERE n IS DISTINCT FROM {raw}.rowid ORDER BY record"
        ),
        parameters=(),
        file=path,
        names=replace(columns, user="user", item="film", timestamp="date", rating="rating"),
        rated=columns.rating is not None,
        clock="none" if columns.timestamp is None else "text",
        place=lambda numbers: records.places(scratch, numbers),
        has_record=True,
        has_fault=True,
        records=records,
        items=_titles(path) if path.is_dir() else None,
        notes=text.notes,
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the films in ``movie_titles.txt``."""
    file = _titles(path) if path.is_dir() else path
    if file is None:
        raise DataError(f"{path}: expected movie_titles.txt, found none in the folder")
    text = _text.ready(scratch, [file], latin1=True)
    records = _text.lines(scratch, text)
    return ItemRows(
        sql=(
            "SELECT x.id AS id, x.title AS f0, nullif(x.year, 'NULL') AS f1, "  # noqa: S608  nothing of the user's
            "CASE WHEN c0 IS NULL THEN '' WHEN x.id = '' THEN 'id,year,title (a year of four digits, or NULL)' END AS fault, c0 AS said FROM "
            f"(SELECT c0, regexp_extract(c0, '^\s*(\d+),(\d{{4}}|NULL),(.*)$', ['id', 'year', 'title']) AS x FROM {records.sql})"
        ),
        parameters=records.parameters,
        file=file,
        id_name="id",
        fields=("title", "year"),
        text=("title",),
        place=lambda numbers: records.places(scratch, numbers),
        has_fault=True,
        records=records,
        notes=text.notes,
    )


def _titles(path: Path) -> Path | None:
    """Return the file of titles in a folder, or None."""
    return next((file for file in sorted(path.iterdir()) if ITEMS_NAME.fullmatch(file.name)), None)


def _logs(path: Path) -> list[Path]:
    """Return the rating files of a folder, in order of film."""
    for folder in (path, path / "training_set"):
        if folder.is_dir() and (found := [file for file in folder.iterdir() if LOG_NAME.fullmatch(file.name)]):
            return sorted(found, key=lambda file: (file.name.split("_")[0], int(re.findall(r"\d+", file.name)[0])))
    return []
