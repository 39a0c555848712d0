"""Rows of a log and a catalogue, checked and numbered in DuckDB (tables ``log``, ``users``, ``goods``, ``items``)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from frugalrec.data.sources._problems import SHOWN, Problem
from frugalrec.data.sources._records import Records
from frugalrec.data.sources._scratch import Scratch, literal
from frugalrec.data.sources._source import ItemRows, Rows

NO_USER, NO_ITEM, BAD_RATING, BAD_TIME, BAD_ROW, NO_ROW = 1, 2, 4, 8, 16, 32
"""Bits of ``log.faults``; a blank line is no row."""

UNITS = (("seconds", 1.0), ("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9))
UNIT_BOUNDS = (-1.0, 1e11, 1e14, 1e17, 1e300)
"""A number that is above the n-th bound and at most the next one is taken to be in the n-th unit."""

CHUNK_ROWS = 1 << 21

# What str.isspace() calls white space, and the byte order mark.
_SPACE = literal(
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)


def _missing(column: str) -> str:
    # Trimming every kind of white space is slow; most ids start with a visible ASCII character and need no trimming.
    return f"""CASE WHEN {column} IS NULL THEN true WHEN {column} > '!' AND {column} < chr(133) THEN false
        ELSE trim({column}, {_SPACE}) = '' END"""


def stage_log(scratch: Scratch, rows: Rows) -> None:
    """Create the table ``log``: one row an event, typed, with the faults of each, in file order. Time O(rows)."""
    number = "TRY_CAST(r AS FLOAT)" if rows.rated else "NULL::FLOAT"
    bad_rating = "number IS NULL OR NOT isfinite(number)" if rows.rated else "false"
    # Text without an offset is UTC, as the session is; a plain TIMESTAMP would pass over an offset without a word.
    time = {
        "none": "NULL::DOUBLE",
        "text": "coalesce(TRY_CAST(t AS DOUBLE), epoch(TRY_CAST(t AS TIMESTAMPTZ)))",
        "number": "TRY_CAST(t AS DOUBLE)",
        "seconds": "t::DOUBLE",
    }[rows.clock]
    bad_time = "false" if rows.clock == "none" else "time IS NULL OR NOT isfinite(time)"
    iso = "TRY_CAST(t AS DOUBLE) IS NULL" if rows.clock == "text" else "false"
    fault, said = ("fault", "said") if rows.has_fault else ("NULL", "NULL")
    scratch.run(
        f"""
        CREATE TABLE log AS SELECT u, i, number AS r, time AS t, iso{", record" if rows.has_record else ""},
            CASE WHEN {bad_rating} THEN coalesce(r::VARCHAR, '') END AS bad_r,
            CASE WHEN {bad_time} THEN coalesce(t::VARCHAR, '') END AS bad_t,
            {fault}::VARCHAR AS fault,
            CASE WHEN {fault} <> '' THEN {said}::VARCHAR END AS said,
            (CASE WHEN {fault} = '' THEN {NO_ROW} WHEN {fault} IS NOT NULL THEN {BAD_ROW} ELSE
                CASE WHEN {_missing("u")} THEN {NO_USER} ELSE 0 END
                + CASE WHEN {_missing("i")} THEN {NO_ITEM} ELSE 0 END
                + CASE WHEN {bad_rating} THEN {BAD_RATING} ELSE 0 END
                + CASE WHEN {bad_time} THEN {BAD_TIME} ELSE 0 END
            END)::UTINYINT AS faults
        FROM (SELECT *, {number} AS number, {time} AS time, {iso} AS iso FROM ({rows.sql}))""",  # noqa: S608
        rows.parameters,
    )


def settle_unit(scratch: Scratch, rows: Rows) -> int:
    """Return which of `UNITS` most numeric times are in, by their size; times in another become faults."""
    if rows.clock not in ("text", "number"):
        return 0
    inside = [f"abs(t) > {low} AND abs(t) <= {high}" for low, high in itertools.pairwise(UNIT_BOUNDS)]
    sizes = ", ".join(f"count(*) FILTER ({condition})" for condition in inside)
    counts = scratch.row(f"SELECT {sizes} FROM log WHERE faults = 0 AND NOT iso")  # noqa: S608  our own numbers
    unit = int(np.argmax(counts))
    if sum(counts) > counts[unit]:
        scratch.run(
            f"""UPDATE log SET faults = {BAD_TIME}, bad_t = t::VARCHAR
            WHERE faults = 0 AND NOT iso AND NOT ({inside[unit]})"""  # noqa: S608
        )
    return unit


@dataclass(frozen=True)
class Counts:
    """How many rows of the log there are: in all, at fault, below the least rating, and kept."""

    rows: int = 0
    bad: int = 0
    low: int = 0
    kept: int = 0


def count(scratch: Scratch, rows: Rows, min_rating: float | None) -> Counts:
    """Count the rows of ``log``."""
    low = _low(min_rating)
    total, bad, below, kept = scratch.row(
        f"""SELECT count(*) FILTER (faults <> {NO_ROW}), count(*) FILTER (faults > 0 AND faults <> {NO_ROW}),
            count(*) FILTER (faults = 0 AND {low}), count(*) FILTER (faults = 0 AND NOT {low}) FROM log"""  # noqa: S608
    )
    rejected = rows.records.rejected() if rows.records else 0
    return Counts(total + rejected, bad + rejected, below, kept)


def _low(min_rating: float | None) -> str:
    return "false" if min_rating is None else f"r < {float(min_rating)!r}::FLOAT"


def log_problems(scratch: Scratch, rows: Rows, unit: int) -> list[Problem]:
    """Return what is wrong with the rows of the log, one problem a kind."""
    found = rows.records.problems() if rows.records else []
    time = f"a time in {UNITS[unit][0]}, as most are" if unit else "a time (seconds since 1970, or ISO-8601)"
    faults = scratch.rows(f"SELECT DISTINCT fault FROM log WHERE faults = {BAD_ROW} ORDER BY 1")  # noqa: S608
    record = "record" if rows.has_record else "rowid"
    for column, expected, value, where in (
        (rows.names.user, "a user id", "u", f"faults & {NO_USER} > 0"),
        (rows.names.item, "an item id", "i", f"faults & {NO_ITEM} > 0"),
        (rows.names.rating or "", "a finite number", "bad_r", f"faults & {BAD_RATING} > 0"),
        (rows.names.timestamp or "", time, "bad_t", f"faults & {BAD_TIME} > 0"),
        *(("", str(fault), "said", f"fault = {literal(str(fault))}") for (fault,) in faults),
    ):
        (n,) = scratch.row(f"SELECT count(*) FROM log WHERE {where}")  # noqa: S608  our own conditions
        first = scratch.rows(
            f"SELECT {record}, coalesce({value}, '') FROM log WHERE {where} ORDER BY rowid LIMIT {SHOWN}"  # noqa: S608
        )
        if first:
            places = tuple(rows.place([number for number, _ in first]))
            found.append(Problem(places[0].file, column, expected, n, places, tuple(said for _, said in first)))
    return found


def number_ids(scratch: Scratch, min_rating: float | None) -> int:
    """Create the tables ``users`` and ``goods`` (raw id, id, code) in order of first appearance among kept rows.

    White space around an id is no part of it; returns how many ids had some. Time O(rows), by hashing.
    """
    trimmed = 0
    for table, column in (("users", "u"), ("goods", "i")):
        scratch.run(
            f"""
            CREATE TABLE {table} AS SELECT raw, id, (dense_rank() OVER (ORDER BY first) - 1)::INTEGER AS code FROM (
                SELECT raw, id, min(first) OVER (PARTITION BY id) AS first FROM (
                    SELECT {column} AS raw, trim({column}, {_SPACE}) AS id, min(rowid) AS first FROM log
                    WHERE faults = 0 AND NOT {_low(min_rating)} GROUP BY ALL))"""  # noqa: S608
        )
        trimmed += scratch.row(f"SELECT count(*) FILTER (raw <> id) FROM {table}")[0]  # noqa: S608
    return trimmed


def ids(scratch: Scratch, table: str) -> np.ndarray[Any, Any]:
    """Return the ids of ``users`` or ``goods`` in code order, an object array."""
    found = scratch.arrays(f"SELECT DISTINCT id, code FROM {table} ORDER BY code")  # noqa: S608  our own name
    return np.asarray(found["id"], dtype=object)


@dataclass(frozen=True)
class Events:
    """Kept events in file order: codes, ratings and times (seconds), as columns of equal length."""

    user: np.ndarray[Any, np.dtype[np.int32]]
    item: np.ndarray[Any, np.dtype[np.int32]]
    value: np.ndarray[Any, np.dtype[np.float32]] | None = None
    timestamp: np.ndarray[Any, np.dtype[np.float64]] | None = None

    def take(self, rows: np.ndarray[Any, np.dtype[np.intp]]) -> Events:
        """Return the events at ``rows``, in their order."""
        value = None if self.value is None else self.value[rows]
        timestamp = None if self.timestamp is None else self.timestamp[rows]
        return Events(self.user[rows], self.item[rows], value, timestamp)


def events(scratch: Scratch, rows: Rows, unit: int, min_rating: float | None) -> Events:
    """Return the kept events, with codes of `number_ids`. Time O(rows); memory 21 bytes a row, and a chunk of rows."""
    (total,) = scratch.row("SELECT count(*) FROM log")
    kept = np.zeros(total, dtype=bool)
    user, item = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.int32)
    value = np.empty(total, dtype=np.float32) if rows.rated else None
    timestamp = np.empty(total, dtype=np.float64) if rows.clock != "none" else None
    for start in range(0, total, CHUNK_ROWS):
        # A join may shuffle rows. Their numbers put them back in order, which is cheaper than sorting.
        chunk = scratch.arrays(
            f"""SELECT log.rowid AS n, users.code AS user, goods.code AS item, r, t, iso
            FROM log JOIN users ON u = users.raw JOIN goods ON i = goods.raw
            WHERE log.rowid >= ? AND log.rowid < ? AND faults = 0 AND NOT {_low(min_rating)}""",  # noqa: S608
            [start, start + CHUNK_ROWS],
        )
        n = chunk["n"]
        kept[n] = True
        user[n], item[n] = chunk["user"], chunk["item"]
        if value is not None:
            value[n] = chunk["r"]
        if timestamp is not None:
            timestamp[n] = chunk["t"] if unit == 0 else np.where(chunk["iso"], chunk["t"], chunk["t"] / UNITS[unit][1])
    if kept.all():
        return Events(user, item, value, timestamp)
    return Events(
        user[kept],
        item[kept],
        None if value is None else value[kept],
        None if timestamp is None else timestamp[kept],
    )


@dataclass(frozen=True)
class Items:
    """The items file: ids and fields in file order, each id once, and what was wrong with it."""

    ids: list[str]
    fields: dict[str, list[str]]
    rows: int
    bad: int
    repeated: int
    trimmed: int
    problems: list[Problem]


def read_items(scratch: Scratch, items: ItemRows) -> Items:
    """Return the items; the first of several rows with one id counts. Time O(rows)."""
    columns = [f"f{n}" for n in range(len(items.fields))]
    fault, said = ("fault", "said") if items.has_fault else ("NULL", "NULL")
    scratch.run(
        f"""CREATE TABLE items AS SELECT {", ".join(["id AS raw", *columns])}, coalesce(trim(id, {_SPACE}), '') AS id,
            {fault}::VARCHAR AS fault, {said}::VARCHAR AS said FROM ({items.sql})""",  # noqa: S608
        items.parameters,
    )
    good = "fault IS NULL AND id <> ''"
    total, usable, distinct, trimmed = scratch.row(
        f"""SELECT count(*) FILTER (fault IS DISTINCT FROM ''), count(*) FILTER ({good}),
            count(DISTINCT id) FILTER ({good}), count(*) FILTER ({good} AND raw <> id) FROM items"""  # noqa: S608
    )
    chosen = ", ".join(["id", *(f"coalesce({column}, '') AS {column}" for column in columns)])
    table = scratch.arrays(
        f"""SELECT {chosen} FROM items WHERE {good}
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY rowid) = 1 ORDER BY rowid"""  # noqa: S608
    )
    rejected = items.records.rejected() if items.records else 0
    return Items(
        ids=table["id"].tolist(),
        fields={name: table[column].tolist() for name, column in zip(items.fields, columns, strict=True)},
        rows=total + rejected,
        bad=total + rejected - usable,
        repeated=usable - distinct,
        trimmed=trimmed,
        problems=_item_problems(scratch, items, items.records),
    )


def _item_problems(scratch: Scratch, items: ItemRows, records: Records | None) -> list[Problem]:
    found = records.problems() if records else []
    for column, value, where in (
        (items.id_name, "raw", "fault IS NULL AND id = ''"),
        ("", "said", "fault <> ''"),
    ):
        bad = scratch.rows(
            f"SELECT rowid, coalesce({value}, ''), fault FROM items WHERE {where} ORDER BY 1 LIMIT {SHOWN}"  # noqa: S608
        )
        if bad:
            (n,) = scratch.row(f"SELECT count(*) FROM items WHERE {where}")  # noqa: S608  our own conditions
            places = tuple(items.place([number for number, _, _ in bad]))
            expected = bad[0][2] or "an item id"
            found.append(Problem(places[0].file, column, expected, n, places, tuple(text for _, text, _ in bad)))
    return found
