"""Rows of a log and a catalogue, checked and numbered inside DuckDB: the tables ``log``, ``users``, ``goods`` and ``items``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frugalrec.data.sources._problems import SHOWN, Problem
from frugalrec.data.sources._scratch import Scratch, literal
from frugalrec.data.sources._source import ItemRows, Rows

# What str.isspace() calls white space, and the byte order mark.
SPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028"
)
SPACE += "\u2029\u202f\u205f\u3000\ufeff"
_SPACE = literal(SPACE)

NO_USER, NO_ITEM, BAD_RATING, BAD_TIME, BAD_ROW, NO_ROW = 1, 2, 4, 8, 16, 32
"""Bits of ``log.faults``; a blank line is no row."""

UNITS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_UNIT_FROM = (0.0, 1e11, 1e14, 1e17)
CHUNK_ROWS = 1 << 21


def _missing(column: str) -> str:
    # Trimming every kind of white space is slow, and most ids start with a visible ASCII letter.
    return (
        f"CASE WHEN {column} IS NULL THEN true WHEN {column} > '!' AND {column} < chr(133) THEN false "
        f"ELSE trim({column}, {_SPACE}) = '' END"
    )


def stage_log(scratch: Scratch, rows: Rows) -> None:
    """Create the table ``log``: one row an event, typed, with the faults of each; rows keep their order. Time O(rows)."""
    number = "TRY_CAST(r AS FLOAT)" if rows.rated else "NULL::FLOAT"
    iso = "false"
    if rows.clock == "text":
        time = "coalesce(TRY_CAST(t AS DOUBLE), epoch(TRY_CAST(t AS TIMESTAMP)))"
        iso = "TRY_CAST(t AS DOUBLE) IS NULL"
    else:
        time = "NULL::DOUBLE" if rows.clock == "none" else "TRY_CAST(t AS DOUBLE)"
    bad_rating = "number IS NULL OR NOT isfinite(number)" if rows.rated else "false"
    bad_time = "time IS NULL OR NOT isfinite(time)" if rows.clock != "none" else "false"
    fault, said = ("fault", "said") if rows.has_fault else ("NULL", "NULL")
    record = ", record" if rows.has_record else ""
    scratch.run(
        "CREATE TABLE log AS SELECT u, i, number AS r, time AS t, iso, "  # noqa: S608  the format's own query
        f"CASE WHEN {bad_rating} THEN coalesce(r::VARCHAR, '') END AS bad_r, "
        f"CASE WHEN {bad_time} THEN coalesce(t::VARCHAR, '') END AS bad_t, {fault}::VARCHAR AS fault, "
        f"{said}::VARCHAR AS said{record}, "
        f"CASE WHEN {fault} = '' THEN {NO_ROW} WHEN {fault} IS NOT NULL THEN {BAD_ROW} ELSE "
        f"(CASE WHEN {_missing('u')} THEN {NO_USER} ELSE 0 END + CASE WHEN {_missing('i')} THEN {NO_ITEM} ELSE 0 END "
        f"+ CASE WHEN {bad_rating} THEN {BAD_RATING} ELSE 0 END + CASE WHEN {bad_time} THEN {BAD_TIME} ELSE 0 END) "
        f"END::UTINYINT AS faults FROM (SELECT *, {number} AS number, {time} AS time, {iso} AS iso FROM ({rows.sql}))",
        rows.parameters,
    )


def settle_unit(scratch: Scratch, rows: Rows) -> str:
    """Return the unit that most numeric times are in, by their size; times in another become faults."""
    if rows.clock not in ("text", "number"):
        return "seconds"
    sizes = ", ".join(
        f"count(*) FILTER (abs(t) > {low} AND abs(t) <= {high})"
        for low, high in zip((-1.0, *_UNIT_FROM[1:]), (*_UNIT_FROM[1:], 1e308), strict=True)
    )
    counts = scratch.row(f"SELECT {sizes} FROM log WHERE faults = 0 AND NOT iso")  # noqa: S608
    chosen = int(np.argmax(counts))
    if sum(counts) > counts[chosen]:
        low = _UNIT_FROM[chosen] if chosen else -1.0
        high = _UNIT_FROM[chosen + 1] if chosen + 1 < len(_UNIT_FROM) else 1e308
        scratch.run(
            f"UPDATE log SET faults = {BAD_TIME}, bad_t = t::VARCHAR "  # noqa: S608
            f"WHERE faults = 0 AND NOT iso AND NOT (abs(t) > {low} AND abs(t) <= {high})"
        )
    return list(UNITS)[chosen]


def log_problems(scratch: Scratch, rows: Rows, unit: str) -> tuple[Problem, ...]:
    """Return what is wrong with the events, one problem a kind, those the parser rejected first."""
    found = list(rows.records.problems(scratch)) if rows.records else []
    if not scratch.row(f"SELECT count(*) FROM log WHERE faults > 0 AND faults <> {NO_ROW}")[0]:  # noqa: S608
        return tuple(found)
    times = (
        f"a time in {unit}, as most of the column is" if unit != "seconds" else "a number of seconds or ISO-8601 text"
    )
    for bit, column, expected, value in (
        (NO_USER, rows.names.user, "a user id", "u"),
        (NO_ITEM, rows.names.item, "an item id", "i"),
        (BAD_RATING, rows.names.rating or "", "a finite number", "bad_r"),
        (BAD_TIME, rows.names.timestamp or "", times, "bad_t"),
    ):
        found += _problems(scratch, rows, column, expected, value, f"faults & {bit} > 0")
    for (fault,) in scratch.rows(f"SELECT DISTINCT fault FROM log WHERE faults = {BAD_ROW} ORDER BY 1"):  # noqa: S608
        found += _problems(
            scratch, rows, "", str(fault), "said", f"faults = {BAD_ROW} AND fault = {literal(str(fault))}"
        )
    return tuple(found)


def _problems(scratch: Scratch, rows: Rows, column: str, expected: str, value: str, where: str) -> list[Problem]:
    (count,) = scratch.row(f"SELECT count(*) FROM log WHERE {where}")  # noqa: S608  conditions are ours
    if not count:
        return []
    record = "record" if rows.has_record else "rowid"
    first = scratch.rows(f"SELECT {record}, coalesce({value}, '') FROM log WHERE {where} ORDER BY rowid LIMIT {SHOWN}")  # noqa: S608
    places = tuple(rows.place([int(n) for n, _ in first]))
    return [Problem(places[0].file, column, expected, int(count), places, tuple(str(v) for _, v in first))]


@dataclass(frozen=True)
class Counts:
    """How many rows of the log there are: in all, at fault, below the least rating, and kept."""

    rows: int
    bad: int
    low: int
    kept: int


def count(scratch: Scratch, rows: Rows, min_rating: float | None) -> Counts:
    """Count the rows of ``log``."""
    low = _low(min_rating)
    total, bad, below, kept = scratch.row(
        f"SELECT count(*) FILTER (faults <> {NO_ROW}), count(*) FILTER (faults > 0 AND faults <> {NO_ROW}), "  # noqa: S608
        f"count(*) FILTER (faults = 0 AND {low}), count(*) FILTER (faults = 0 AND NOT {low}) FROM log"
    )
    rejected = rows.records.rejected(scratch) if rows.records else 0
    return Counts(int(total) + rejected, int(bad) + rejected, int(below), int(kept))


def _low(min_rating: float | None) -> str:
    return "false" if min_rating is None else f"r < {float(min_rating)!r}::FLOAT"


def number_ids(scratch: Scratch, min_rating: float | None) -> int:
    """Create the tables ``users`` and ``goods`` (raw id, id, code) in order of first appearance among kept rows.

    Surrounding white space is no part of an id; returns how many ids had some. Time O(rows), hashing.
    """
    trimmed = 0
    for table, column in (("users", "u"), ("goods", "i")):
        scratch.run(
            f"CREATE TABLE {table} AS SELECT raw, id, (dense_rank() OVER (ORDER BY first) - 1)::INTEGER AS code FROM "  # noqa: S608
            "(SELECT raw, id, min(first) OVER (PARTITION BY id) AS first FROM "
            f"(SELECT {column} AS raw, trim({column}, {_SPACE}) AS id, min(rowid) AS first FROM log "
            f"WHERE faults = 0 AND NOT {_low(min_rating)} GROUP BY ALL))"
        )
        trimmed += int(scratch.row(f"SELECT count(*) FILTER (raw <> id) FROM {table}")[0])  # noqa: S608
    return trimmed


@dataclass(frozen=True)
class Events:
    """Kept events in file order: codes, ratings and times as columns of equal length."""

    user: np.ndarray[Any, np.dtype[np.int32]]
    item: np.ndarray[Any, np.dtype[np.int32]]
    value: np.ndarray[Any, np.dtype[np.float32]] | None
    timestamp: np.ndarray[Any, np.dtype[np.float64]] | None


def events(scratch: Scratch, rows: Rows, unit: str, min_rating: float | None) -> Events:
    """Return the kept events. Time O(rows); memory about 21 bytes a row and one chunk."""
    total = int(scratch.row("SELECT count(*) FROM log")[0])
    kept = np.zeros(total, dtype=bool)
    user, item = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.int32)
    value = np.empty(total, dtype=np.float32) if rows.rated else None
    timestamp = np.empty(total, dtype=np.float64) if rows.clock != "none" else None
    chosen = (", r" if rows.rated else "") + (", t, iso" if rows.clock != "none" else "")
    for start in range(0, total, CHUNK_ROWS):
        # The join may shuffle rows; their numbers put them back, which is cheaper than sorting.
        chunk = scratch.arrays(
            f"SELECT log.rowid AS n, users.code AS user, goods.code AS item{chosen} FROM log "  # noqa: S608
            "JOIN users ON u = users.raw JOIN goods ON i = goods.raw "
            f"WHERE log.rowid >= ? AND log.rowid < ? AND faults = 0 AND NOT {_low(min_rating)}",
            [start, start + CHUNK_ROWS],
        )
        n = np.asarray(chunk["n"])
        kept[n] = True
        user[n], item[n] = np.asarray(chunk["user"]), np.asarray(chunk["item"])
        if value is not None:
            value[n] = np.asarray(chunk["r"])
        if timestamp is not None:
            times = np.asarray(chunk["t"])
            timestamp[n] = times if unit == "seconds" else np.where(chunk["iso"], times, times / UNITS[unit])
    if kept.all():
        return Events(user, item, value, timestamp)
    return Events(
        user[kept],
        item[kept],
        None if value is None else value[kept],
        None if timestamp is None else timestamp[kept],
    )


def ids(scratch: Scratch, table: str) -> np.ndarray[Any, Any]:
    """Return the ids of ``users`` or ``goods`` in code order, an object array."""
    return np.asarray(scratch.arrays(f"SELECT DISTINCT id, code FROM {table} ORDER BY code")["id"], dtype=object)  # noqa: S608


@dataclass(frozen=True)
class Items:
    """The items file: ids and fields in file order, each id once."""

    ids: list[str]
    fields: dict[str, list[str]]
    rows: int
    bad: int
    repeated: int
    trimmed: int
    problems: tuple[Problem, ...]


def read_items(scratch: Scratch, items: ItemRows) -> Items:
    """Return the items; the first of several rows with the same id counts. Time O(rows)."""
    numbered = [f"f{n}" for n in range(len(items.fields))]
    columns = "".join(f", {column}" for column in numbered)
    fault, said = ("fault", "said") if items.has_fault else ("NULL", "NULL")
    scratch.run(
        f"CREATE TABLE items AS SELECT id AS raw, trim(id, {_SPACE}) AS id{columns}, {fault}::VARCHAR AS fault, {said} AS said "  # noqa: S608
        f"FROM ({items.sql})",
        items.parameters,
    )
    problems = list(items.records.problems(scratch)) if items.records else []
    for column, expected, value, where in (
        (items.id_name, "an item id", "raw", "fault IS NULL AND coalesce(id, '') = ''"),
        ("", "", "said", "fault <> ''"),
    ):
        bad = scratch.rows(
            f"SELECT rowid, coalesce({value}, ''), fault FROM items WHERE {where} ORDER BY 1 LIMIT {SHOWN}"
        )  # noqa: S608
        if bad:
            (n,) = scratch.row(f"SELECT count(*) FROM items WHERE {where}")  # noqa: S608
            places = tuple(items.place([int(row) for row, _, _ in bad]))
            values = tuple(str(v) for _, v, _ in bad)
            problems.append(Problem(places[0].file, column, expected or str(bad[0][2]), int(n), places, values))
    good = "fault IS NULL AND coalesce(id, '') <> ''"
    rejected = items.records.rejected(scratch) if items.records else 0
    total, usable, distinct, trimmed = scratch.row(
        "SELECT count(*) FILTER (fault IS DISTINCT FROM ''), "  # noqa: S608
        f"count(*) FILTER ({good}), count(DISTINCT id) FILTER ({good}), count(*) FILTER ({good} AND raw <> id) FROM items"
    )
    whole = "".join(f", coalesce({column}, '') AS {column}" for column in numbered)
    table = scratch.arrays(
        f"SELECT id{whole} FROM items "  # noqa: S608
        f"WHERE {good} QUALIFY row_number() OVER (PARTITION BY id ORDER BY rowid) = 1 ORDER BY rowid"
    )
    return Items(
        ids=table["id"].tolist(),
        fields={name: table[c].tolist() for name, c in zip(items.fields, numbered, strict=True)},
        rows=int(total) + rejected,
        bad=int(total) + rejected - int(usable),
        repeated=int(usable) - int(distinct),
        trimmed=int(trimmed),
        problems=tuple(problems),
    )
