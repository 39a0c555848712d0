"""The scheduler behind every executor, in this process and in two."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs
import numpy as np
import pytest

from frugalrec import array_files, progress
from frugalrec.cost import Ledger
from frugalrec.errors import ConfigError, DataError, FrugalrecError
from frugalrec.executors import Executor, Shard, _shared, current, executing, opened
from frugalrec.executors.local import Local


@pytest.fixture(scope="module")
def two() -> Iterator[Executor]:
    executor = Local(workers=2)
    yield executor
    executor.close()


def values(executor: Executor, function: object, payloads: object) -> list[float]:
    shards = [Shard(payload) for payload in payloads]  # type: ignore[attr-defined]
    return [float(result.load()["y"][0]) for result in executor.map(function, shards)]  # type: ignore[arg-type]


def in_folder(folder: Path, n: int = 6) -> list[tuple[int, str]]:
    return [(x, str(folder)) for x in range(n)]


def left_behind(executor: Executor) -> list[str]:
    assert executor._shared is not None
    return [file.name for file in Path(executor._shared._folder.name).iterdir() if file.name != _shared._LOCK]


def test_results_come_in_the_order_of_shards(two: Executor) -> None:
    for executor in (Local(), two):
        assert values(executor, jobs.halves, range(7)) == [x / 2 for x in range(7)]
        assert values(executor, jobs.halves, []) == []


def test_sums_are_a_fixed_tree_whoever_makes_them(two: Executor) -> None:
    parts = [1e16, 1.0, -1e16, 3.0, 0.1, 0.2, 0.7]
    shards = [Shard(part) for part in parts]
    x = [part / 2 for part in parts]
    by_hand = ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + x[6])
    for executor in (Local(), two):
        found = executor.reduce(jobs.halves, jobs.plus, shards, stage="sum")
        assert found["y"][0] == by_hand
        assert found["empty"].shape == (0, 3)
        assert executor.reduce(jobs.halves, jobs.plus, shards[:1], stage="sum")["y"][0] == x[0]


def test_large_results_are_passed_on_and_freed(two: Executor) -> None:
    total = two.reduce(jobs.large, jobs.plus, [Shard(x) for x in range(5)], stage="sum")
    assert np.array_equal(total["y"], np.full((300, 500), 10.0))
    assert total["empty"].shape == (0,)
    assert left_behind(two) == []


@pytest.mark.parametrize("in_place", [jobs.plus_in_place, jobs.not_in_place, None])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_sums_in_the_memory_of_their_parts_are_the_same_tree(
    two: Executor, n: int, in_place: Any, tmp_path: Path
) -> None:
    parts = [1e16, 1.0, -1e16, 3.0, 0.1, 0.2, 0.7][:n]
    x = list(parts)
    while len(x) > 1:
        x = [sum(pair) for pair in zip(x[::2], x[1::2], strict=False)] + x[len(x) // 2 * 2 :]
    shards = [Shard((part, str(tmp_path))) for part in parts]
    added: list[bool] = []

    def adds(left: Any, right: Any) -> bool:
        assert in_place is not None
        added.append(in_place(left, right))
        return added[-1]

    found = two.reduce(
        jobs.large_that_dies_once, jobs.plus, shards, stage="sum", add_in_place=None if in_place is None else adds
    )
    assert np.array_equal(found["y"], np.full((300, 500), x[0]))
    assert sum(added) == (n - 1 if in_place is jobs.plus_in_place else 0)
    assert (tmp_path / "dies").exists() == (n == 7)
    assert left_behind(two) == []


def test_a_worker_that_is_killed_changes_nothing(two: Executor, tmp_path: Path) -> None:
    assert values(two, jobs.dies_once, in_folder(tmp_path)) == [x / 2 for x in range(6)]
    assert (tmp_path / "dies").exists()


def test_a_shard_that_kills_every_worker_ends_the_job(two: Executor) -> None:
    with pytest.raises(FrugalrecError, match=r"died 3 times over one shard \(1 of 1\)"):
        values(two, jobs.always_dies, [0])
    assert values(two, jobs.halves, [1]) == [0.5]


def test_a_script_without_a_guard_is_told_of_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(jobs.__file__).parent)!r})\n"
        "import jobs\n"
        "from frugalrec.executors import Shard, executing, opened\n"
        "with executing(opened('local', workers=2)) as executor:\n"
        "    print([int(r.load()['y'][0]) for r in executor.map(jobs.halves, [Shard(2), Shard(4)])])\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert "FrugalrecError: a worker's process could not go on (exit code 1)" in ran.stderr
    assert "if __name__ == '__main__':" in ran.stderr.splitlines()[-1]
    assert ran.stderr.count("Traceback") <= 3  # that of each worker, and this process's own


def test_what_a_killed_owner_left_in_memory_is_deleted_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_shared, "_MEMORY", tmp_path)
    monkeypatch.setattr(_shared, "_YOUNG_SECONDS", -1.0)
    monkeypatch.setattr(_shared, "_LARGE_BYTES", 0)
    code = (
        "import os, signal; from pathlib import Path; from frugalrec.executors import _shared\n"
        f"_shared._MEMORY, _shared._LARGE_BYTES = Path({str(tmp_path)!r}), 0\n"
        "folder = _shared.SharedFolder(); os.mkdir(folder.place(0)); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=120, check=False)
    (orphan,) = tmp_path.iterdir()
    lives = _shared.SharedFolder()
    assert not orphan.exists()
    # Nothing of these is anybody's: one without a lock, one whose lock is a link, and a link to a folder with a lock.
    others = [tmp_path / f"frugalrec-{name}" for name in ("bare", "linked", "link")]
    elsewhere = tmp_path / "elsewhere"
    for folder in (*others[:2], elsewhere):
        folder.mkdir()
    (elsewhere / _shared._LOCK).touch()
    (others[1] / _shared._LOCK).symlink_to(elsewhere / _shared._LOCK)
    others[2].symlink_to(elsewhere)
    second = _shared.SharedFolder()
    assert {Path(lives._folder.name), Path(second._folder.name), elsewhere, *others} == set(tmp_path.iterdir())
    assert (elsewhere / _shared._LOCK).exists()
    lives.close()
    second.close()
    assert {elsewhere, *others} == set(tmp_path.iterdir())


def test_what_straggles_is_begun_again(tmp_path: Path) -> None:
    with executing(Local(workers=2, straggles=1.0)) as executor:
        assert values(executor, jobs.hangs_once, in_folder(tmp_path)) == [x / 2 for x in range(6)]
    assert (tmp_path / "hangs").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_missing_file_is_looked_for_again(workers: int, tmp_path: Path) -> None:
    with executing(Local(workers=workers)) as executor:
        assert values(executor, jobs.no_file_once, in_folder(tmp_path, 3)) == [0.0, 0.5, 1.0]
        with pytest.raises(FileNotFoundError):
            values(Local(attempts=1), jobs.no_file_once, [(1, str(tmp_path / "elsewhere"))])


def test_errors_of_the_function_end_the_job(two: Executor, tmp_path: Path) -> None:
    for executor in (Local(), two):
        with pytest.raises(FrugalrecError, match="this and that"):
            values(executor, jobs.fails, [1])
        (tmp_path / "refused").unlink(missing_ok=True)
        with pytest.raises(DataError, match="a bad shard") as caught:
            values(executor, jobs.refuses_the_last, in_folder(tmp_path))
        assert caught.value.hint == "mend it"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_takes_finished_shards_from_checkpoints(workers: int, tmp_path: Path) -> None:
    parts = tmp_path / "parts"

    def run() -> float:
        shards = [Shard(payload, f"shard-{payload[0]}") for payload in in_folder(tmp_path, 5)]
        with executing(Local(workers=workers, checkpoints=str(parts))) as executor:
            return float(executor.reduce(jobs.refuses_the_last, jobs.plus, shards, stage="sum")["y"][0])

    with pytest.raises(DataError):
        run()
    assert len((tmp_path / "done").read_text().split()) >= 3
    assert run() == 5.0
    again = (tmp_path / "done").read_text().split()
    assert [again.count(shard) for shard in "012"] == [1, 1, 1]
    (kept,) = parts.iterdir()  # what went into the whole is gone
    ledger = Ledger()
    with ledger.span("again") as span:
        assert run() == 5.0
    assert span.reused.seconds is not None
    assert span.reused.seconds > 0
    (kept / "y.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match="cannot be read"):
        run()


def test_a_function_is_sent_to_a_worker_once_and_stays(two: Executor) -> None:
    pids = {int(r.load()["pid"][0]) for r in two.map(jobs.process_number, [Shard(i) for i in range(8)])}
    again = {int(r.load()["pid"][0]) for r in two.map(jobs.process_number, [Shard(i) for i in range(8)])}
    assert len(pids) == 2
    assert again == pids


@pytest.mark.parametrize("workers", [1, 2])
def test_what_workers_spend_counts(workers: int) -> None:
    ledger, heard = Ledger(), []
    listening = progress.listening(lambda *said: heard.append(said))
    with executing(Local(workers=workers)) as executor, ledger.span("job"), listening:
        values(executor, jobs.halves, range(5))
    (entry,) = ledger.entries
    assert entry.cost.flops == 10.0
    assert entry.cost.tokens_in == 5.0
    assert entry.cost.cpu_seconds is not None
    assert entry.cost.cpu_seconds > 0
    assert heard[0] == ("shards", 0, 5)
    assert heard[-1] == ("shards", 5, 5)


def test_the_executor_in_force() -> None:
    assert current() is None
    with executing(Local()) as outer:
        with executing(Local()) as inner:
            assert current() is inner
        assert current() is outer
    assert current() is None


def test_functions_are_remembered_by_key() -> None:
    executor = Local()
    made = executor.remembered("a", lambda: functools.partial(jobs.halves))
    assert executor.remembered("a", lambda: functools.partial(jobs.halves)) is made


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("local", {"workers": 0}, "workers must be at least 1"),
        ("cloud", {}, "must be 'local' or 'ray', not 'cloud'"),
        ("local", {"address": "auto"}, "an address is that of a Ray cluster"),
    ],
)
def test_wrong_settings(kind: str, settings: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        opened(kind, **settings)  # type: ignore[arg-type]


def test_only_numbers_are_kept(tmp_path: Path) -> None:
    executor = Local(checkpoints=str(tmp_path))
    with pytest.raises(TypeError, match="only numbers are kept"):
        list(executor.map(lambda _: {"names": np.array(["a"])}, [Shard(0, "key")]))
    assert not list(tmp_path.iterdir())


def test_what_went_into_a_kept_sum_is_deleted_at_a_restart(tmp_path: Path) -> None:
    """As when a job ends after a sum was kept and before its parts were deleted."""
    parts = tmp_path / "parts"
    shards = [Shard(payload, f"shard-{payload[0]}") for payload in in_folder(tmp_path, 2)]

    def run() -> float:
        with executing(Local(checkpoints=str(parts))) as executor:
            return float(executor.reduce(jobs.noted, jobs.plus, shards, stage="sum")["y"][0])

    whole = run()
    for shard in shards:
        array_files.write(str(parts / shard.key), {"y": np.ones(1)}, {})
    assert len(list(parts.iterdir())) == 3
    assert run() == whole
    assert len(list(parts.iterdir())) == 1


def test_what_is_finished_first_comes_first_where_that_is_asked(two: Executor, tmp_path: Path) -> None:
    shards = [Shard(payload) for payload in in_folder(tmp_path, 4)]
    for executor, waits in ((two, jobs.first_waits_for_others), (Local(), jobs.halves_of)):
        found = [
            (place, float(result.load()["y"][0])) for place, result in executor.completed(waits, shards, stage="waits")
        ]
        assert sorted(found) == [(x, x / 2) for x in range(4)]
        places = [place for place, _ in found]
        # Number 3 is sent off when 1 and 2 are in; 0, which waits for it, may come in along with it.
        assert places[:2] == ([1, 2] if executor is two else [0, 1])


def test_what_is_slow_is_not_begun_twice_where_order_does_not_matter(tmp_path: Path) -> None:
    with executing(Local(workers=2, straggles=0.0)) as executor:
        shards = [Shard(payload) for payload in in_folder(tmp_path, 5)]
        assert len(list(executor.completed(jobs.counted_and_slow, shards, stage="slow"))) == 5
    assert sorted((tmp_path / "begun").read_text().split()) == ["0", "1", "2", "3", "4"]
