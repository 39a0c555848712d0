from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frugalrec.cost import Cost
from frugalrec.errors import ConfigError
from frugalrec.interfaces import Matrix
from frugalrec.stores.array_cache import ArrayCache

PRICE = Cost(seconds=0.5, flops=2e9, tokens_in=12.0)


def vector(fill: float, size: int = 256) -> Matrix:
    return np.full(size, fill, dtype=np.float32)


def rows(names: list[str], size: int = 256) -> dict[str, tuple[Matrix, Cost]]:
    return {name: (vector(i, size), PRICE) for i, name in enumerate(names)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "arrays.sqlite"


def test_gives_back_what_it_got(path: Path) -> None:
    cache = ArrayCache(path)
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    cache.put({"a": (matrix, PRICE), "b": (vector(1), Cost.zero())})
    found = cache.get(["a", "b", "c"])
    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["a"][0], matrix)
    assert found["a"][0].dtype == np.float32
    assert found["a"][1] == PRICE  # what was unknown is unknown still
    assert found["b"][1] == Cost.zero()
    assert len(cache) == 2
    cache.close()
    assert set(cache.get(["a"])) == {"a"}


SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


@given(st.dictionaries(st.text(), hnp.arrays(np.float32, SHAPES), max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_arrays_under_any_keys(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Matrix]) -> None:
    cache = ArrayCache(tmp_path_factory.mktemp("cache") / "arrays.sqlite")
    cache.put({key: (array, PRICE) for key, array in arrays.items()})
    found = cache.get(list(arrays))
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key][0], array)
    cache.close()


def test_the_first_price_stays(path: Path) -> None:
    cache = ArrayCache(path)
    cache.put({"a": (vector(1), PRICE)})
    cache.put({"a": (vector(2), Cost(seconds=9.0))})
    assert cache.get(["a"])["a"][1] == PRICE


def test_what_was_not_used_for_longest_goes_first(path: Path) -> None:
    now = 0.0
    cache = ArrayCache(path, max_bytes=400_000, clock=lambda: now)
    names = [f"k{i}" for i in range(400)]
    for start in range(0, 200, 50):
        now += 1
        cache.put(rows(names[start : start + 50]))
    assert len(cache) == 200
    now += 10_000
    assert set(cache.get(names[:50])) == set(names[:50])  # the oldest, used again
    for start in range(200, 400, 50):
        now += 1
        cache.put(rows(names[start : start + 50]))
        assert cache.size_bytes() <= 400_000
    kept = set(cache.get(names))
    assert set(names[350:]) <= kept
    assert set(names[:50]) <= kept
    assert not set(names[50:100]) & kept


def test_one_put_larger_than_the_limit_does_not_break_it(path: Path) -> None:
    cache = ArrayCache(path, max_bytes=60_000)
    cache.put(rows([f"k{i}" for i in range(500)]))
    assert cache.size_bytes() <= 60_000


def test_an_impossible_limit_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="max_bytes"):
        ArrayCache(path, max_bytes=0)


def _nonsense(path: Path) -> None:
    path.write_bytes(b"this is no database " * 500)


def _hole(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 8] = b"\xff" * (4096 * 7)
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 3 + 100])


@pytest.mark.parametrize("damage", [_nonsense, _hole, _cut])
def test_a_damaged_file_is_moved_aside_and_begun_anew(path: Path, damage: Callable[[Path], None]) -> None:
    names = [f"k{i}" for i in range(100)]
    cache = ArrayCache(path)
    cache.put(rows(names))
    cache.close()
    damage(path)
    cache = ArrayCache(path)
    with pytest.warns(UserWarning, match="was damaged: moved to arrays.sqlite.damaged"):
        assert cache.get(names) == {}
    assert path.with_name("arrays.sqlite.damaged").is_file()
    cache.put(rows(names))
    assert len(cache.get(names)) == 100


def test_damage_while_it_is_open(path: Path) -> None:
    names = [f"k{i}" for i in range(100)]
    cache = ArrayCache(path)
    cache.put(rows(names))
    assert cache._connection is not None
    cache._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    cache._connection.execute("PRAGMA cache_size = 0")
    _hole(path)
    with pytest.warns(UserWarning, match="was damaged"):
        cache.get(names)
    cache.put(rows(names))
    assert len(cache.get(names)) == 100


def test_an_empty_file_is_a_new_cache(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    cache = ArrayCache(path)
    cache.put(rows(["a"]))
    assert set(cache.get(["a"])) == {"a"}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE arrays SET data = zeroblob(1024) WHERE key = 'b'",
        "UPDATE arrays SET data = 7 WHERE key = 'b'",
        "UPDATE arrays SET shape = '[1' WHERE key = 'b'",
        "UPDATE arrays SET price = '' WHERE key = 'b'",
        "UPDATE arrays SET checksum = 'x' WHERE key = 'b'",
    ],
)
def test_a_damaged_array_is_not_given_out(path: Path, damage: str) -> None:
    cache = ArrayCache(path)
    cache.put(rows(["a", "b"]))
    cache.close()
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    connection.close()
    with pytest.warns(UserWarning, match="1 cached arrays are damaged"):
        assert set(cache.get(["a", "b"])) == {"a"}
    cache.put(rows(["a", "b"]))
    np.testing.assert_array_equal(cache.get(["b"])["b"][0], vector(1))


def test_a_file_of_another_schema_is_begun_anew(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE arrays (key)")
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    cache = ArrayCache(path)
    cache.put(rows(["a"]))
    assert set(cache.get(["a"])) == {"a"}


def test_on_a_full_disk_it_reads_on_and_stores_no_more(path: Path) -> None:
    cache = ArrayCache(path)
    cache.put(rows(["a", "b"]))
    assert cache._connection is not None
    cache._connection.execute("PRAGMA max_page_count = 20")
    with pytest.warns(UserWarning, match="going on without storing: database or disk is full"):
        cache.put(rows([f"k{i}" for i in range(500)]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(rows(["c"]))
        assert set(cache.get(["a", "b", "c", "k0"])) == {"a", "b"}
    again = ArrayCache(path)
    again.put(rows(["c"]))
    assert set(again.get(["a", "c"])) == {"a", "c"}


LIMITED = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from frugalrec.cost import Cost
from frugalrec.stores.array_cache import ArrayCache

resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
cache = ArrayCache(Path(sys.argv[1]))
row = np.ones(256, np.float32), Cost.zero()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for start in range(0, 1000, 50):
        cache.put({f"k{i}": row for i in range(start, start + 50)})
kept = len(cache.get([f"k{i}" for i in range(1000)]))
print(len(caught), "going on without storing" in str(caught[0].message), 0 < kept < 1000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_when_the_system_refuses_to_write(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True", "True"]
    assert len(ArrayCache(path)) > 0


def test_where_there_can_be_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ArrayCache(tmp_path / "file" / "arrays.sqlite")
    with pytest.warns(UserWarning, match="going on without the cache"):
        assert cache.get(["a"]) == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(rows(["a"]))
        assert cache.get(["a"]) == {}


WRITER = """
import sys
import time
from pathlib import Path
import numpy as np
from frugalrec.cost import Cost
from frugalrec.stores.array_cache import ArrayCache

cache = ArrayCache(Path(sys.argv[1]))
sys.stdin.readline()
for i in range(20):
    row = np.full(8, i, np.float32), Cost.zero()
    cache.put({f"{sys.argv[2]}-{i}": row, f"all-{i}": row})
    assert f"all-{i}" in cache.get([f"all-{i}"])
"""


def test_processes_share_one_file(path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE) for n in range(3)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(ArrayCache(path)) == 20 + 3 * 20


def test_threads_share_one_cache(path: Path) -> None:
    cache = ArrayCache(path)

    def work(n: int) -> int:
        cache.put(rows([f"{n}-{i}" for i in range(10)]))
        return len(cache.get([f"{n}-{i}" for i in range(10)]))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(12))) == [10] * 12


def test_the_default_place_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path))
    assert ArrayCache().path == tmp_path / "arrays.sqlite"


ENDLESS = """
import sys
import time
from pathlib import Path
import numpy as np
from frugalrec.cost import Cost
from frugalrec.stores.array_cache import ArrayCache

cache = ArrayCache(Path(sys.argv[1]))
for batch in range(10_000):
    cache.put({f"{batch}-{i}": (np.full(1024, batch, np.float32), Cost.zero()) for i in range(200)})
    print(batch, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no kill -9")
@pytest.mark.parametrize("patience_seconds", [0.0, 0.004, 0.011, 0.03])
def test_killed_in_mid_write_it_keeps_whole_batches(path: Path, patience_seconds: float) -> None:
    command = [sys.executable, "-c", ENDLESS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        time.sleep(patience_seconds)  # so that the next batch, a transaction of 800 kB, is under way
        process.kill()
        said = 3 + len(process.stdout.read().splitlines())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is damaged, nothing is given up
        cache = ArrayCache(path)
        kept = len(cache)
        assert kept % 200 == 0
        assert said <= kept // 200 <= said + 1
        for batch in range(kept // 200):
            found = cache.get([f"{batch}-{i}" for i in range(200)])
            assert len(found) == 200
            assert all((array == batch).all() for array, _ in found.values())
        cache.put(rows(["after"]))
        assert set(cache.get(["after"])) == {"after"}
    cache.close()
