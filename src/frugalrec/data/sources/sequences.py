"""Sequences: one user a line, ``user item item item …``, oldest item first (the form of S3-Rec and P5).

There are no times: the order of items on a line is the order of events, and a user on two lines continues.
"""

from __future__ import annotations

from pathlib import Path

from frugalrec.data.sources import _text
from frugalrec.data.sources._source import BY_NAME, NO, Columns, ItemRows, Rows, Scratch, Sight, no_items


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a ``.txt`` file whose first lines are words and spaces, and not all of one length: that would be a table."""
    if sight.suffix != ".txt" or not sight.head or any(mark in line for line in sight.head for mark in ",;\t|{:"):
        return NO
    words = {len(line.split()) for line in sight.head if line.strip()}
    return BY_NAME if len(words) > 1 and min(words) > 1 else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in a file of sequences."""
    text = _text.ready(scratch, [path])
    records = _text.lines(scratch, text)
    table = scratch.name("sequences")
    scratch.run(f"CREATE TABLE {table} AS SELECT c0 FROM {records.sql}", records.parameters)  # noqa: S608
    return Rows(
        sql=(
            # A line with a user and no item stays as one row, to be told as a fault.
            "SELECT words[1] AS u, words[spot] AS i, NULL AS r, NULL AS t, record, "  # noqa: S608  our own table
            "CASE WHEN len(words) < 2 THEN 'a user and at least one item' END AS fault, words[1] AS said FROM "
            "(SELECT record, words, unnest(range(2, greatest(len(words), 2) + 1)) AS spot FROM "
            "(SELECT rowid AS record, list_filter(string_split_regex(c0, '\\s+'), lambda word: word <> '') AS words "
            f"FROM {table}) WHERE len(words) > 0) ORDER BY record, spot"
        ),
        parameters=(),
        file=path,
        names=Columns(user="user", item="item", timestamp=None, rating=None),
        rated=False,
        clock="none",
        place=lambda numbers: records.places(scratch, numbers),
        has_record=True,
        has_fault=True,
        records=records,
        notes=(*text.notes, f"{path}: items of a line were taken in their order, oldest first"),
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Sequences have no items file."""
    raise no_items(path, "sequences")
