"""MovieLens as GroupLens ships it: 100K (``u.data``), 1M and 10M (``ratings.dat``), and latest, 20M, 25M, 32M (``ratings.csv``).

Items have a title, with the year in it, and genres ("Comedy, Drama"); both are their text. Text that is not UTF-8 is read as
Latin-1, which the older sets are written in. Tags, links and user attributes are not read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from frugalrec.data.sources import _text
from frugalrec.data.sources._source import BY_CONTENT, BY_NAME, NO, Columns, ItemRows, Rows, Scratch, Sight
from frugalrec.data.sources._text import Records
from frugalrec.errors import DataError

GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The genres of 100K, in the order of its 19 flags."""


@dataclass(frozen=True)
class _Layout:
    """How one kind of file is laid out."""

    delimiter: str
    width: int
    quote: str = ""
    skip: int = 0


LOGS = {
    "u.data": _Layout("\t", 4),
    "ratings.dat": _Layout("::", 4),
    "ratings.csv": _Layout(",", 4, '"', 1),
}
ITEMS = {
    "u.item": _Layout("|", 24),
    "movies.dat": _Layout("::", 3),
    "movies.csv": _Layout(",", 3, '"', 1),
}


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its content, or a folder by the files in it."""
    if sight.path.is_dir():
        return BY_CONTENT if _member(sight.path, LOGS) and _member(sight.path, ITEMS) else NO
    if sight.first.startswith(("userId,movieId,", "movieId,title,")):
        return BY_CONTENT
    kind = _kind(sight)
    if kind is None or kind.endswith(".csv"):
        return NO
    return BY_NAME if sight.name == kind else BY_CONTENT


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the ratings in a file or folder."""
    records = _records(scratch, path, LOGS, "ratings")
    return Rows(
        sql=f"SELECT c0 AS u, c1 AS i, c2 AS r, c3 AS t FROM {records.sql}",  # noqa: S608  columns are numbered by us
        parameters=records.parameters,
        file=records.text.origin,
        names=replace(columns, user="user", item="movie", timestamp="timestamp", rating="rating"),
        rated=columns.rating is not None,
        clock="none" if columns.timestamp is None else "text",
        place=lambda numbers: records.places(scratch, numbers),
        records=records,
        items=_member(path, ITEMS) if path.is_dir() else None,
        notes=records.text.notes,
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the films in a file or folder."""
    records = _records(scratch, path, ITEMS, "films")
    if records.width == len(GENRES) + 5:
        flags = ", ".join(f"CASE WHEN c{n + 5} = '1' THEN ? END" for n in range(len(GENRES)))
        genres, parameters = f"array_to_string([{flags}], ', ')", GENRES
    else:
        genres, parameters = "replace(nullif(c2, '(no genres listed)'), '|', ', ')", ()
    return ItemRows(
        sql=f"SELECT c0 AS id, c1 AS f0, {genres} AS f1 FROM {records.sql}",  # noqa: S608  columns are numbered by us
        parameters=(*parameters, *records.parameters),
        file=records.text.origin,
        id_name="movie",
        fields=("title", "genres"),
        text=("title", "genres"),
        place=lambda numbers: records.places(scratch, numbers),
        records=records,
        notes=records.text.notes,
    )


def _member(path: Path, kinds: dict[str, _Layout]) -> Path | None:
    """Return the file in a folder that is one of ``kinds``, gzip or not."""
    for name in kinds:
        for file in (path / name, path / f"{name}.gz"):
            if file.is_file():
                return file
    return None


def _kind(sight: Sight) -> str | None:
    """Return the kind of a file, by its name or by the look of its first line."""
    if sight.name in LOGS or sight.name in ITEMS:
        return sight.name
    cells = sight.first.split("::")
    if len(cells) == 4 and cells[3].isdigit():
        return "ratings.dat"
    if len(cells) == 3:
        return "movies.dat"
    for start, kind in (("userId,movieId,", "ratings.csv"), ("movieId,title,", "movies.csv")):
        if sight.first.startswith(start):
            return kind
    return None


def _records(scratch: Scratch, path: Path, kinds: dict[str, _Layout], what: str) -> Records:
    file = _member(path, kinds) if path.is_dir() else path
    kind = _kind(Sight(file)) if file is not None else None
    if file is None or kind not in kinds:
        raise DataError(f"{path}: expected {what} of MovieLens: {', '.join(kinds)}", hint="name the file itself")
    layout = kinds[kind]
    text = _text.ready(scratch, [file], latin1=True)
    return _text.delimited(
        scratch, text, delimiter=layout.delimiter, quote=layout.quote, width=layout.width, skip=layout.skip
    )
