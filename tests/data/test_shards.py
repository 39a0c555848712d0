from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np
import pytest

from frugalrec.data.loading import SourceConfig, load
from frugalrec.data.shards import ShardedLog
from frugalrec.data.sources._source import Columns
from frugalrec.errors import ConfigError, DataError

ROWS = [
    ("ann", "7", 30.0, 4.0),
    ("ben", "3", 10.0, 2.0),
    ("ann", "3", 20.0, 5.0),
    ("zoë", "11", 5.0, 1.0),
    ("ann", "11", 20.0, 3.0),
    ("ben", "7", 9.0, 2.0),
]


def written(path: Path, rows: list[tuple[object, ...]], names: str = "user_id, item_id, timestamp, rating") -> Path:
    with duckdb.connect() as database:
        database.execute("CREATE TABLE log (u VARCHAR, i VARCHAR, t DOUBLE, r DOUBLE)")
        for row in rows:
            database.execute("INSERT INTO log VALUES (?, ?, ?, ?)", row)
        path.parent.mkdir(parents=True, exist_ok=True)
        database.execute(f"COPY (SELECT * FROM log AS log({names})) TO '{path}' (FORMAT parquet)")  # noqa: S608
    return path


def histories(log: ShardedLog) -> dict[str, list[tuple[str, float, float]]]:
    found: dict[str, list[tuple[str, float, float]]] = {}
    for shard in range(log.n_shards):
        part = log.read(shard)
        assert part.items is log.items
        for user, items in part.sequences():
            rows = part.events_of(user)
            assert part.timestamp is not None
            assert part.value is not None
            name = str(part.users.ids[user])
            assert name not in found
            times, values = part.timestamp[rows].tolist(), part.value[rows].tolist()
            found[name] = list(zip(log.items.ids[items].tolist(), times, values, strict=True))
    return found


EXPECTED = {
    "ann": [("3", 20.0, 5.0), ("11", 20.0, 3.0), ("7", 30.0, 4.0)],
    "ben": [("7", 9.0, 2.0), ("3", 10.0, 2.0)],
    "zoë": [("11", 5.0, 1.0)],
}


@pytest.mark.parametrize("shards", [1, 4])
def test_every_user_is_whole_in_one_shard(tmp_path: Path, shards: int) -> None:
    log = ShardedLog.write(str(written(tmp_path / "log.parquet", ROWS)), str(tmp_path / "cut"), shards=shards)
    assert log.items.ids.tolist() == ["11", "3", "7"]
    assert log.n_events == 6
    assert histories(log) == EXPECTED
    again = ShardedLog.open(str(tmp_path / "cut"))
    assert again.fingerprint == log.fingerprint
    assert histories(again) == EXPECTED


def test_it_holds_what_the_loader_reads(tmp_path: Path) -> None:
    path = written(tmp_path / "log.parquet", ROWS)
    dataset, _ = load(SourceConfig(interactions=path))
    log, names = dataset.interactions, dataset.interactions.items.ids
    whole = {str(log.users.ids[user]): names[items].tolist() for user, items in log.sequences()}
    cut = histories(ShardedLog.write(str(path), str(tmp_path / "cut"), shards=4))
    assert {user: [item for item, _, _ in events] for user, events in cut.items()} == whole


def test_a_partitioned_log_is_one_log(tmp_path: Path) -> None:
    for day, rows in (("1", ROWS[:2]), ("2", ROWS[2:])):
        written(tmp_path / "log" / f"day={day}" / "part.parquet", rows, "who, what, moment, stars")
    columns = Columns(user="who", item="what", timestamp="moment", rating="stars")
    for source in (tmp_path / "log", tmp_path / "log" / "day=*" / "*.parquet"):
        log = ShardedLog.write(str(source), str(tmp_path / "cut"), shards=2, columns=columns)
        assert histories(log) == EXPECTED


@pytest.mark.skipif(find_spec("fsspec") is None, reason="fsspec is not installed")
def test_both_ends_may_be_urls(tmp_path: Path) -> None:
    import fsspec

    path = written(tmp_path / "log.parquet", ROWS)
    fsspec.filesystem("memory").pipe_file("/shop/log.parquet", path.read_bytes())
    log = ShardedLog.write("memory://shop/log.parquet", "memory://shop/cut", shards=3)
    assert histories(log) == EXPECTED
    assert histories(ShardedLog.open("memory://shop/cut")) == EXPECTED


def test_without_times_and_ratings_the_order_of_rows_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "log.parquet", ROWS, "user_id, item_id, a, b")
    (part,) = (ShardedLog.write(str(path), str(tmp_path / "cut"), shards=1).read(0),)
    assert part.timestamp is None
    assert part.value is None
    assert part.items.ids[part.item].tolist() == ["7", "3", "11", "3", "7", "11"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "expected rows, found none"),
        ([*ROWS, (None, "3", 1.0, 1.0)], "found 1 without one"),
        ([*ROWS, ("ann", None, 1.0, 1.0)], "found 1 without one"),
        ([*ROWS, ("", "3", 1.0, 1.0)], "found 1 without one"),
        ([*ROWS, ("ann", "3", None, 1.0)], "found 7 with a rating and 6 with a time"),
    ],
)
def test_rows_that_are_wrong_are_refused(tmp_path: Path, rows: list[tuple[object, ...]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        ShardedLog.write(str(written(tmp_path / "log.parquet", rows)), str(tmp_path / "cut"))


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        ShardedLog.write(str(tmp_path / "nothing.parquet"), str(tmp_path / "cut"))
    with pytest.raises(DataError, match="expected a column 'user_id'"):
        ShardedLog.write(str(written(tmp_path / "log.parquet", ROWS, "who, item_id, a, b")), str(tmp_path / "cut"))
    with pytest.raises(DataError, match="not a log in shards"):
        ShardedLog.open(str(tmp_path))
    with pytest.raises(ConfigError, match="shards must be at least 1"):
        ShardedLog.write("log.parquet", "cut", shards=0)


STREAMED = """
import resource, sys
from frugalrec.data.shards import ShardedLog
from frugalrec.recommenders._sharded import accumulated_from
from frugalrec.recommenders.ease import Ease
import duckdb, numpy, scipy.sparse, frugalrec.data.loading
folder, way = sys.argv[1:]
held = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (held + (220 << 20),) * 2)
if way == "streamed":
    log = ShardedLog.write(f"{folder}/log.parquet", f"{folder}/cut", shards=12)
    statistics = accumulated_from(Ease(), log)
    print(statistics.n_users, statistics.n_events, int(statistics.gram.sum()))
else:
    from pathlib import Path
    from frugalrec.data.loading import SourceConfig, load
    load(SourceConfig(interactions=Path(folder) / "log.parquet"))
    print("it fits")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is Linux's")
def test_a_log_larger_than_memory_is_summed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, n_users, n_items = 1_500_000, 75_000, 300
    user = np.repeat(np.arange(n_users), n // n_users)
    item = (user * 7 + np.tile(np.arange(n // n_users), n_users) * 13) % n_items
    columns = {"user_id": user, "item_id": item, "timestamp": rng.random(n) * 1e9}
    with duckdb.connect() as database:
        database.register("columns", columns)
        database.execute(f"COPY (FROM columns) TO '{tmp_path}/log.parquet' (FORMAT parquet)")
    program = tmp_path / "streamed.py"
    program.write_text(STREAMED)
    command = [sys.executable, str(program), str(tmp_path)]
    found = subprocess.run([*command, "streamed"], capture_output=True, text=True, timeout=250)
    assert found.returncode == 0, found.stderr[-2000:]
    distinct = n // n_users  # 13 and 300 share no factor, so nobody meets an item twice
    assert found.stdout.split() == [str(n_users), str(n), str(n_users * distinct**2)]
    whole = subprocess.run([*command, "whole"], capture_output=True, text=True, timeout=250)
    assert "it fits" not in whole.stdout
