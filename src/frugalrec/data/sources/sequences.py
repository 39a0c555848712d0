"""Sequences: one user a line, ``user item item item …``, oldest item first (the form of S3-Rec and P5).

There are no times: the order of items on a line is the order of events. A user on several lines goes on with each.
"""

from __future__ import annotations

from pathlib import Path

from frugalrec.data.sources import _records, _text
from frugalrec.data.sources._scratch import Scratch
from frugalrec.data.sources._source import BY_SUFFIX, NO, Columns, ItemRows, Rows, Sight
from frugalrec.errors import DataError

EXPECTED = "a user and at least one item"


def recognises(sight: Sight, columns: Columns) -> int:
    """Recognise a ``.txt`` file whose first lines are words and spaces, and not all of one length as in a table."""
    if sight.suffix != ".txt" or any(mark in line for line in sight.head for mark in ",;\t|{:"):
        return NO
    lengths = {len(line.split()) for line in sight.head if line.strip()}
    return BY_SUFFIX if len(lengths) > 1 and min(lengths) > 1 else NO


def read_log(scratch: Scratch, path: Path, columns: Columns) -> Rows:
    """Return the events in a file of sequences."""
    text = _text.ready(scratch, [path])
    records = _records.lines(scratch, text)
    table = scratch.name("sequences")
    scratch.run(f"CREATE TABLE {table} AS SELECT c0 FROM {records.sql}", records.parameters)  # noqa: S608  our own name
    return Rows(
        # A line with a user alone stays as one row, to be told as a fault.
        sql=f"""
            SELECT words[1] AS u, words[spot] AS i, NULL AS r, NULL AS t, record,
                CASE WHEN len(words) < 2 THEN '{EXPECTED}' END AS fault, words[1] AS said
            FROM (
                SELECT record, words, unnest(range(2, greatest(len(words), 2) + 1)) AS spot FROM (
                    SELECT rowid AS record,
                        list_filter(string_split_regex(c0, '\\s+'), lambda word: word <> '') AS words
                    FROM {table})
                WHERE len(words) > 0)
            ORDER BY record, spot""",  # noqa: S608  our own table
        parameters=(),
        file=path,
        names=Columns(user="user", item="item", timestamp=None, rating=None),
        rated=False,
        clock="none",
        place=records.places,
        has_record=True,
        has_fault=True,
        records=records,
        notes=(*text.notes, f"{path}: the items of a line were taken in their order, oldest first"),
    )


def read_items(scratch: Scratch, path: Path, columns: Columns) -> ItemRows:
    """Refuse: there are no items in this form."""
    raise DataError(f"{path}: sequences have no item files", hint="give the items as CSV, JSON lines or Parquet")
