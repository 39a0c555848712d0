"""The Netflix Prize: ``mv_0000001.txt`` … (one film a file) or ``combined_data_1.txt`` … (one film after another).

In both, a line ``1:`` names the film that the lines ``user,rating,date`` below it are about. Items come from
``movie_titles.txt`` (``id,year,title``; Latin-1; titles have commas): title, which is their text, and year. A folder is
read as all its rating files (in ``training_set`` if they are there) and its titles.
"""

from __future__ import annotations

import re
from pathlib import Path

from frugalrec.data.sources import _records, _text
from frugalrec.data.sources._scratch import Scratch, literal
from frugalrec.data.sources._source import BY_CONTENT, BY_NAME, NO, Columns, ItemRows, Rows, Sight
from frugalrec.errors import DataError

LOG = re.compile(r"(mv_|combined_data_)(\d+)\.txt")
ITEMS = re.compile(r"movie_titles\.(txt|csv)")
FILM = r"^\s*(\d+):\s*$"
TITLE = r"^\s*(\d+),(\d{4}|NULL),(.*)$"
EXPECTED_EVENT = "'user,rating,date' below a line 'film:'"
EXPECTED_TITLE = "'id,year,title', with four digits or NULL for the year"


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its first line or its name, a folder by the files in it."""
    if sight.path.is_dir():
        return BY_CONTENT if _logs(sight) else NO
    if re.match(FILM, sight.first):
        return BY_CONTENT
    return BY_NAME if LOG.fullmatch(sight.name) or ITEMS.fullmatch(sight.name) else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the ratings in a file or folder."""
    sight = Sight(path)
    files = _logs(sight) if sight.path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: expected mv_….txt or combined_data_….txt, found none in the folder")
    text = _text.ready(scratch, files)
    records = _records.delimited(scratch, text, delimiter=",", quote="", width=3, padded=True)
    raw = scratch.name("netflix")
    scratch.run(f"CREATE TABLE {raw} AS SELECT c0, c1, c2 FROM {records.sql}", records.parameters)  # noqa: S608
    return Rows(
        # Each rating goes with the last film line above it.
        sql=f"""
            SELECT c0 AS u, film AS i, c1 AS r, c2 AS t, {raw}.rowid AS record,
                CASE WHEN film IS NULL OR c1 IS NULL THEN {literal(EXPECTED_EVENT)} END AS fault,
                CASE WHEN fault IS NOT NULL THEN concat_ws(',', c0, c1, c2) END AS said
            FROM {raw} ASOF LEFT JOIN (
                SELECT rowid AS head, regexp_extract(c0, {literal(FILM)}, 1) AS film FROM {raw}
                WHERE c1 IS NULL AND regexp_matches(c0, {literal(FILM)})
            ) ON {raw}.rowid >= head
            WHERE head IS DISTINCT FROM {raw}.rowid
            ORDER BY record""",  # noqa: S608  our own tables
        parameters=(),
        file=path,
        names=Columns(user="user", item="film", timestamp="date", rating="rating"),
        rated=columns.rating is not None,
        clock="none" if columns.timestamp is None else "text",
        place=records.places,
        has_record=True,
        has_fault=True,
        records=records,
        items=_titles(sight),
        notes=text.notes,
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the films in ``movie_titles.txt``."""
    file = _titles(Sight(path)) if path.is_dir() else path
    if file is None:
        raise DataError(f"{path}: expected movie_titles.txt, found none in the folder")
    text = _text.ready(scratch, [file], latin1=True)
    records = _records.lines(scratch, text)
    return ItemRows(
        sql=f"""
            SELECT x.id AS id, x.title AS f0, nullif(x.year, 'NULL') AS f1,
                CASE WHEN c0 IS NULL THEN '' WHEN x.id = '' THEN {literal(EXPECTED_TITLE)} END AS fault, c0 AS said
            FROM (
                SELECT c0, regexp_extract(c0, {literal(TITLE)}, ['id', 'year', 'title']) AS x FROM {records.sql}
            )""",  # noqa: S608  nothing of the user's
        parameters=records.parameters,
        file=file,
        id_name="id",
        fields=("title", "year"),
        text=("title",),
        place=records.places,
        has_fault=True,
        records=records,
        notes=text.notes,
    )


def _titles(sight: Sight) -> Path | None:
    """Return the file of titles in a folder, or None."""
    return next((file for file in sight.listing if ITEMS.fullmatch(Sight(file).name)), None)


def _logs(sight: Sight) -> list[Path]:
    """Return the rating files of a folder, in order of film."""
    inner = Sight(sight.path / "training_set")
    for folder in (sight, inner):
        matches = [(LOG.fullmatch(Sight(file).name), file) for file in folder.listing]
        found = [(match[1], int(match[2]), file) for match, file in matches if match]
        if found:
            return [file for _, _, file in sorted(found)]
    return []
