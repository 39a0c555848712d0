"""Logs that need not fit into memory: Parquet files in, events by shards of users out, each small enough to hold."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from frugalrec import array_files
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.sources import parquet
from frugalrec.data.sources._scratch import literal
from frugalrec.data.sources._source import Columns, roles
from frugalrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    import duckdb

MEMORY = "256MiB"
"""What DuckDB may hold while a log is cut or a shard is read; beyond it, the disk is used."""

_NOTE, _ITEMS, _EVENTS = "log.json", "items.parquet", "events"


@dataclass(frozen=True, eq=False)
class ShardedLog:
    """Events in ``n_shards`` parts, each with all events of its users, and the items, coded alike in all parts.

    Users go to shards by a hash of their id, so a shard is a fair sample of them. Items are coded in the order of their
    ids. ``fingerprint`` changes whenever events do.
    """

    folder: str
    n_shards: int
    items: IdMap
    fingerprint: str
    n_events: int

    @classmethod
    def write(cls, source: str, folder: str, *, shards: int = 16, columns: Columns | None = None) -> Self:
        """Cut a log into ``shards`` parts in ``folder`` and open it.

        ``source`` is a Parquet file, a pattern (``day=*/*.parquet``), a folder of Parquet files, or any of these as a
        URL that fsspec knows; ``folder`` may be a URL too. ``columns`` says what its columns are called. Rows are
        streamed: memory is `MEMORY`, and the ids of items. Raises `DataError` for what cannot be read, and for rows
        without an id.
        """
        if shards < 1:
            raise ConfigError(f"shards must be at least 1, not {shards}")
        names = columns or Columns()
        with _database() as database, tempfile.TemporaryDirectory(prefix="frugalrec-") as scratch:
            chosen = _chosen(database, source, names)
            items = f"{scratch}/{_ITEMS}"
            try:
                database.execute(
                    f"COPY (SELECT DISTINCT i AS id FROM ({chosen}) WHERE i IS NOT NULL ORDER BY 1) "  # noqa: S608
                    f"TO {literal(items)} (FORMAT parquet)"
                )
                database.execute(
                    f"CREATE TABLE items AS SELECT id, (row_number() OVER () - 1)::INTEGER AS code "  # noqa: S608
                    f"FROM read_parquet({literal(items)})"
                )
                database.execute(
                    f"COPY (SELECT u AS user, code AS item, r AS rating, t AS timestamp, row, "  # noqa: S608
                    f"(md5_number_lower(u) % {shards})::INTEGER AS shard FROM ({chosen}) LEFT JOIN items ON i = id) "
                    f"TO {literal(f'{scratch}/{_EVENTS}')} (FORMAT parquet, PARTITION_BY (shard))"
                )
                if not list(Path(scratch).glob(f"{_EVENTS}/**/*.parquet")):
                    raise DataError(f"{source}: expected rows, found none", hint="check that it is the right place")
                written = f"read_parquet({literal(f'{scratch}/{_EVENTS}/**/*.parquet')})"
                counted = database.execute(
                    f"""SELECT count(*), count(*) FILTER (user IS NULL OR item IS NULL OR user = ''), count(rating),
                    count(timestamp), bit_xor(hash(user, item, rating, timestamp, row))::VARCHAR FROM {written}"""  # noqa: S608
                ).fetchone()
            except _refusals() as error:
                raise DataError(f"{source}: cannot be read: {str(error).splitlines()[0]}") from error
            assert counted is not None
            rows, bad, rated, timed, mark = counted
            if bad or rated not in (0, rows) or timed not in (0, rows):
                found = f"{bad} without one" if bad else f"{rated} with a rating and {timed} with a time"
                raise DataError(f"{source}: expected {rows:,} rows with ids, ratings and times, found {found}")
            note = {"shards": shards, "events": rows, "rated": bool(rated), "timed": bool(timed), "fingerprint": mark}
            (Path(scratch) / _NOTE).write_text(json.dumps(note), encoding="utf-8")
            _moved(scratch, folder)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str) -> Self:
        """Open what `write` wrote; raises `DataError` where it is not there."""
        try:
            with _file(folder, _NOTE) as path:
                note = json.loads(path.read_text(encoding="utf-8"))
            with _file(folder, _ITEMS) as path, _database() as database:
                ids = database.execute(f"SELECT id FROM read_parquet({literal(str(path))})").fetchnumpy()["id"]  # noqa: S608
            items = IdMap(np.asarray(ids), what="item")
            return cls(array_files.absolute(folder), note["shards"], items, note["fingerprint"], note["events"])
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise DataError(f"{folder}: not a log in shards: {error!r}", hint="ShardedLog.write makes one") from error

    def read(self, shard: int) -> Interactions:
        """Return the events of one shard: users coded within it, items as everywhere."""
        with _part(self.folder, shard) as path, _database() as database:
            if path is None:
                nothing = np.empty(0, dtype=np.int32)
                return Interactions.from_events(nothing, nothing, IdMap([], what="user"), self.items)
            database.execute(f"CREATE VIEW part AS FROM read_parquet({literal(f'{path}/*.parquet')})")
            users = database.execute("SELECT DISTINCT user FROM part ORDER BY 1").fetchnumpy()["user"]
            found = database.execute(
                """SELECT (dense_rank() OVER (ORDER BY user) - 1)::INTEGER AS user, item, rating, timestamp
                FROM part ORDER BY row"""
            ).fetchnumpy()
        value, timestamp = (_whole(found[name]) for name in ("rating", "timestamp"))
        return Interactions.from_events(
            np.asarray(found["user"]),
            np.asarray(found["item"]),
            IdMap(np.asarray(users), what="user"),
            self.items,
            value=value,
            timestamp=timestamp,
        )


def _chosen(database: duckdb.DuckDBPyConnection, source: str, names: Columns) -> str:
    """Return SQL that yields user, item, rating, time and the number of each row."""
    if array_files.is_url(source):
        files, _ = array_files.file_system(source)
        database.register_filesystem(files)
    elif Path(source).is_dir():
        source = f"{source}/**/*.parquet"
    read = f"read_parquet({literal(source)}, binary_as_string=true, hive_partitioning=true, hive_types_autocast=false)"
    try:
        described = database.execute(f"SELECT * FROM {read} LIMIT 0").description or []  # noqa: S608
    except _refusals() as error:
        raise DataError(f"{source}: cannot be read: {str(error).splitlines()[0]}") from error
    types = {str(column[0]): str(column[1]) for column in described}
    listed, path = list(types), Path(source)
    found = roles(listed, names, path)
    user, item = (parquet.id_sql(path, name, types[name]) for name in (listed[found.user], listed[found.item]))
    rating = time = "NULL"
    if found.rating is not None:
        rating = parquet.rating_sql(path, listed[found.rating], types[listed[found.rating]])
    if found.timestamp is not None:
        time, clock = parquet.time_sql(path, listed[found.timestamp], types[listed[found.timestamp]])
        if clock == "text":
            time = f"coalesce(TRY_CAST({time} AS DOUBLE), epoch({time}::TIMESTAMPTZ))"
    return (
        f"SELECT {user} AS u, {item} AS i, ({rating})::FLOAT AS r, ({time})::DOUBLE AS t, "  # noqa: S608
        f"row_number() OVER () AS row FROM {read}"
    )


def _whole(column: Any) -> Any:
    """Return a column, or None where nothing is in it."""
    masked = np.ma.getmaskarray(column)
    return None if len(masked) and masked.all() else np.ma.getdata(column)


@contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    with tempfile.TemporaryDirectory(prefix="frugalrec-") as spill:
        config: dict[str, Any] = {"threads": "1", "memory_limit": MEMORY, "temp_directory": spill}
        with duckdb.connect(":memory:", config=config) as database:
            database.execute("SET TimeZone = 'UTC'")
            database.execute("SET enable_progress_bar = false")
            yield database


def _refusals() -> tuple[type[Exception], ...]:
    import duckdb

    return duckdb.OperationalError, duckdb.DataError, duckdb.InvalidInputException, duckdb.IOException


def _moved(scratch: str, folder: str) -> None:
    """Move a written log to ``folder``; its note comes last."""
    if array_files.is_url(folder):
        files, path = array_files.file_system(folder)
        if files.exists(path):
            files.rm(path, recursive=True)
        for file in sorted(Path(scratch).rglob("*"), key=lambda file: file.name == _NOTE):
            if file.is_file():
                target = f"{path}/{file.relative_to(scratch).as_posix()}"
                files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                files.put_file(str(file), target)
        return
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / _NOTE).unlink(missing_ok=True)
    shutil.rmtree(place / _EVENTS, ignore_errors=True)
    for name in (_EVENTS, _ITEMS, _NOTE):
        shutil.move(f"{scratch}/{name}", place / name)


@contextmanager
def _file(folder: str, name: str) -> Iterator[Path]:
    if not array_files.is_url(folder):
        yield Path(folder) / name
        return
    files, path = array_files.file_system(folder)
    with tempfile.TemporaryDirectory(prefix="frugalrec-") as scratch:
        files.get_file(f"{path}/{name}", f"{scratch}/{name}")
        yield Path(scratch) / name


@contextmanager
def _part(folder: str, shard: int) -> Iterator[Path | None]:
    place = array_files.joined(folder, f"{_EVENTS}/shard={shard}")
    if not array_files.names_in(place):
        yield None
        return
    with array_files.got(place) as here:
        yield here


__all__ = ["MEMORY", "ShardedLog"]
