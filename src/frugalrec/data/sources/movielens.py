"""MovieLens as GroupLens ships it: 100K (``u.data``), 1M and 10M (``ratings.dat``), 20M and later (``ratings.csv``).

Items have a title, with the year in it, and genres ("Comedy, Drama"); both are their text. What is not UTF-8 is read as
Latin-1, which the older sets are written in. Tags, links and the attributes of users are not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from frugalrec.data.sources import _records, _text
from frugalrec.data.sources._records import Records
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._source import BY_CONTENT, BY_NAME, NO, Columns, ItemRows, Rows, Sight
from frugalrec.errors import DataError

GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The genres of 100K, in the order of its 19 flags."""


@dataclass(frozen=True)
class _Layout:
    """How one kind of file is laid out, what its first line looks like, and what it calls its columns."""

    delimiter: str
    width: int
    first_line: str
    quote: str = ""
    skip: int = 0
    names: tuple[str, str, str, str] = ("user", "movie", "rating", "timestamp")


LOGS = {
    "u.data": _Layout("\t", 4, r"\d+\t\d+\t\d\t\d+"),
    "ratings.dat": _Layout("::", 4, r"\d+::\d+::[\d.]+::\d+"),
    "ratings.csv": _Layout(
        ",", 4, "userId,movieId,rating,timestamp", '"', 1, ("userId", "movieId", "rating", "timestamp")
    ),
}
ITEMS = {
    "u.item": _Layout("|", 5 + len(GENRES), r"\d+\|[^|]*\|[^|]*\|[^|]*\|[^|]*(\|[01]){19}"),
    "movies.dat": _Layout("::", 3, r"\d+::.*::.*"),
    "movies.csv": _Layout(",", 3, "movieId,title,genres", '"', 1),
}


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a file by its first line or its name, a folder by the files in it."""
    if sight.path.is_dir():
        return BY_CONTENT if _member(sight, LOGS) and _member(sight, ITEMS) else NO
    kind = _kind(sight, LOGS | ITEMS)
    if kind is None:
        return NO
    return BY_CONTENT if re.fullmatch((LOGS | ITEMS)[kind].first_line, sight.first) else BY_NAME


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the ratings in a file or folder."""
    sight = Sight(path)
    kind, records = _open(scratch, sight, LOGS, "ratings")
    user, item, rating, timestamp = LOGS[kind].names
    return Rows(
        sql=f"SELECT c0 AS u, c1 AS i, c2 AS r, c3 AS t FROM {records.sql}",  # noqa: S608  columns are numbered by us
        parameters=records.parameters,
        file=records.text.origin,
        names=Columns(user=user, item=item, timestamp=timestamp, rating=rating),
        rated=columns.rating is not None,
        clock="none" if columns.timestamp is None else "text",
        place=records.places,
        records=records,
        items=_member(sight, ITEMS) if sight.path.is_dir() else None,
        notes=records.text.notes,
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Return the films in a file or folder."""
    kind, records = _open(scratch, Sight(path), ITEMS, "films")
    genres = "replace(nullif(c2, '(no genres listed)'), '|', ', ')"
    parameters: tuple[str, ...] = ()
    if kind == "u.item":
        flags = ", ".join(f"CASE WHEN c{n + 5} = '1' THEN ? END" for n in range(len(GENRES)))
        genres, parameters = f"array_to_string([{flags}], ', ')", GENRES
    return ItemRows(
        sql=f"SELECT c0 AS id, c1 AS f0, {genres} AS f1 FROM {records.sql}",  # noqa: S608  columns are numbered by us
        parameters=(*parameters, *records.parameters),
        file=records.text.origin,
        id_name="movie",
        fields=("title", "genres"),
        text=("title", "genres"),
        place=records.places,
        records=records,
        notes=records.text.notes,
    )


def _member(sight: Sight, kinds: dict[str, _Layout]) -> Path | None:
    """Return the first file in a folder that has the name of one of ``kinds``."""
    files = {Sight(file).name: file for file in sight.listing}
    return next((files[name] for name in kinds if name in files), None)


def _kind(sight: Sight, kinds: dict[str, _Layout]) -> str | None:
    """Return the kind of a file, by its first line or else by its name (``ratings.csv`` is too common a name)."""
    for kind, layout in kinds.items():
        if re.fullmatch(layout.first_line, sight.first):
            return kind
    return sight.name if sight.name in kinds and sight.suffix != ".csv" else None


def _open(scratch: Scratch, sight: Sight, kinds: dict[str, _Layout], what: str) -> tuple[str, Records]:
    file = _member(sight, kinds) if sight.path.is_dir() else sight.path
    kind = _kind(Sight(file), kinds) if file is not None else None
    if file is None or kind is None:
        raise DataError(f"{sight.path}: expected {what} of MovieLens ({', '.join(kinds)}), found something else")
    layout = kinds[kind]
    text = _text.ready(scratch, [file], latin1=True)
    return kind, _records.delimited(
        scratch, text, delimiter=layout.delimiter, quote=layout.quote, width=layout.width, skip=layout.skip
    )
