"""The same work on a Ray cluster of two workers on this machine; one cluster for all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import jobs
import numpy as np
import pytest

from frugalrec import array_files
from frugalrec.config import parse_config
from frugalrec.data.dataset import Dataset
from frugalrec.encoders._cached import Cached
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.errors import ConfigError, FrugalrecError, MissingExtraError
from frugalrec.executors import Executor, Shard, executing
from frugalrec.executors.local import Local
from frugalrec.prices import PriceSheet
from frugalrec.recommenders import _sharded
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.study import Study
from frugalrec.testing.data import toy_dataset


def test_ray_must_be_there_and_ask_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from frugalrec.executors.ray import require_ray

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'frugalrec\[ray\]'"):
        require_ray()
    old = ModuleType("ray")
    old.__version__ = "2.9.3"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", old)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ModuleType("ray.exceptions"))
    with pytest.raises(MissingExtraError, match=r"ray 2\.9\.3 is installed, expected 2\.52 or newer"):
        require_ray()


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    if find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")
    from frugalrec.executors.ray import Ray

    executor = Ray(workers=2, checkpoints=str(tmp_path_factory.mktemp("parts")))
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(jobs)  # workers do not see the folder of these tests
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def data() -> Dataset:
    return toy_dataset(n_users=400, n_items=60, cold=2)


@pytest.fixture
def in_force(ray: Executor, monkeypatch: pytest.MonkeyPatch) -> Executor:
    """The cluster as the executor in force, which stays open; small logs are cut as well."""
    monkeypatch.setattr(_sharded, "EVENTS_A_SHARD", 200)
    monkeypatch.setattr("frugalrec.executors._ambient", _Always(ray))
    return ray


class _Always:
    def __init__(self, executor: Executor) -> None:
        self.get = lambda: executor


def test_results_and_costs_are_those_of_a_local_run(ray: Executor) -> None:
    shards = [Shard(x) for x in range(5)]
    assert [float(r.load()["y"][0]) for r in ray.map(jobs.halves, shards)] == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_it_listens_on_loopback_alone_and_asks_for_a_token(ray: Executor) -> None:
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    list(ray.map(jobs.halves, [Shard(0)]))
    assert _listening() == {"127.0.0.1"}


def test_a_stranger_without_the_token_is_refused(ray: Executor) -> None:
    import ray as installed

    address = installed.get_runtime_context().gcs_address
    code = f"import ray; ray.init(address='{address}', configure_logging=False, log_to_driver=False); print('let in')"
    environment = {**os.environ, "RAY_AUTH_TOKEN": "0" * 64, "RAY_NUM_REDIS_GET_RETRIES": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert "let in" not in found.stdout
    assert found.returncode != 0


@pytest.mark.parametrize(("token", "words"), [("0" * 64, "lets nobody in from here"), ("", "no authentication token")])
def test_who_has_no_token_or_another_one_is_told_what_to_set(ray: Executor, token: str, words: str) -> None:
    import ray as installed

    address = installed.get_runtime_context().gcs_address
    code = (
        "from frugalrec.executors.ray import Ray\nfrom frugalrec.errors import ConfigError\n"
        f"try:\n    Ray(address='{address}')\nexcept ConfigError as error:\n    print(error)\n"
    )
    known = {key: value for key, value in os.environ.items() if key not in ("RAY_AUTH_TOKEN", "RAY_ADDRESS")}
    environment = {**known, **({"RAY_AUTH_TOKEN": token} if token else {}), "HOME": "/nonexistent"}
    environment["RAY_NUM_REDIS_GET_RETRIES"] = "1"
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert words in found.stdout, found.stderr[-1000:]
    assert "hint: set RAY_AUTH_TOKEN" in found.stdout


def test_more_workers_than_processors_are_refused_at_once(ray: Executor) -> None:
    from frugalrec.executors.ray import Ray

    with pytest.raises(ConfigError, match="3 workers are asked for, and the Ray cluster has 2 of the processors"):
        Ray(workers=3)
    assert [float(r.load()["y"][0]) for r in ray.map(jobs.halves, [Shard(4)])] == [2.0]  # ours goes on


def test_workers_that_never_begin_are_not_waited_for(ray: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    import frugalrec.executors.ray as module

    list(ray.map(jobs.halves, [Shard(x) for x in range(2)]))  # both processors are held
    monkeypatch.setattr(module, "STARTS_SECONDS", 1.0)
    other = module.Ray(workers=2)
    with pytest.raises(FrugalrecError, match="no worker began in 1 s: 0 of 2 processors of the Ray cluster are free"):
        list(other.map(jobs.halves, [Shard(0)]))
    other.close()
    assert [float(r.load()["y"][0]) for r in ray.map(jobs.halves, [Shard(4)])] == [2.0]


def test_a_cluster_of_another_version_is_told_from_ours(ray: Executor) -> None:
    import ray as installed

    address = installed.get_runtime_context().gcs_address
    code = (
        "import ray\nray.__version__ = '2.55.5'\n"
        "from frugalrec.executors.ray import Ray\nfrom frugalrec.errors import ConfigError\n"
        f"try:\n    Ray(address='{address}')\nexcept ConfigError as error:\n    print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert f"runs Ray {installed.__version__}" in found.stdout
    assert "here it is 2.55.5" in found.stdout
    assert "hint: install the cluster's version of Ray" in found.stdout


@pytest.mark.parametrize("model", [Ease(), SequentialLinear(half_lives=(1.5, 8.0))])
def test_sums_are_those_of_a_local_run_bit_for_bit(in_force: Executor, data: Dataset, model: Ease) -> None:
    there = _sharded.packed(_sharded.accumulated(model, data.interactions))
    whole = _sharded.packed(model.accumulate(data.interactions))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frugalrec.executors._ambient", _Always(Local()))
        here = _sharded.packed(_sharded.accumulated(model, data.interactions))
    assert there.keys() == here.keys() == whole.keys()
    for name, array in there.items():
        assert np.array_equal(array, here[name]), name
        if isinstance(model, Ease):
            assert np.array_equal(array, whole[name]), name
        else:
            np.testing.assert_allclose(array, whole[name], rtol=1e-6, atol=1e-9)


def test_a_fitted_model_answers_the_same(in_force: Executor, data: Dataset) -> None:
    queries = [data.query(user) for user in range(50)]
    there = SequentialLinear().fit(data).score(queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frugalrec.executors._ambient", _Always(None))  # type: ignore[arg-type]
        here = SequentialLinear().fit(data).score(queries)
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_texts_have_the_same_vectors(in_force: Executor, tmp_path: Path) -> None:
    texts = [f"story {i} of valley {i % 7}" for i in range(400)]
    there = Cached(BagOfWords(dim=64), ArrayCache(tmp_path / "there.sqlite")).encode(texts)
    assert np.array_equal(there, BagOfWords(dim=64).encode(texts))
    assert f"encode {BagOfWords(dim=64).fingerprint()}" in in_force._functions


def test_a_worker_that_is_killed_changes_nothing(ray: Executor, tmp_path: Path) -> None:
    shards = [Shard((x, str(tmp_path)), f"killed-{x}") for x in range(6)]
    assert ray.reduce(jobs.dies_once, jobs.plus, shards, stage="sum")["y"][0] == 7.5
    assert (tmp_path / "dies").exists()
    # What was finished is there for an executor that has nothing to do with the cluster.
    with executing(Local(checkpoints=ray.checkpoints)) as after:
        assert after.reduce(jobs.always_dies, jobs.plus, shards, stage="sum")["y"][0] == 7.5


def test_what_workers_leave_in_memory_is_added_there_and_freed(ray: Executor) -> None:
    assert ray.shares_memory
    shards = [Shard(x) for x in range(5)]
    total = ray.reduce(jobs.large, jobs.plus, shards, stage="sum", add_in_place=jobs.plus_in_place)
    assert np.array_equal(total["y"], np.full((300, 500), 10.0))
    assert isinstance(total["y"], np.memmap)
    assert ray._shared is not None
    assert [file.suffix for file in Path(ray._shared._folder.name).iterdir()] == [".lock"]


@pytest.mark.parametrize("lost", ["gcs_server", ""], ids=["head", "all"])
def test_a_cluster_that_is_lost_loses_no_finished_shard(lost: str, tmp_path: Path) -> None:
    """Without its head a job ends as if nothing had happened; without all of the cluster, the next run goes on."""
    if find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, str(Path(__file__).with_name("cluster_job.py")), str(tmp_path)]
    job = subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    done = tmp_path / "done"
    deadline = time.monotonic() + 120
    while not done.exists() or len(done.read_text().split()) < 3:
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for pid, name in _descendants(job.pid):
        if lost in name:
            os.kill(pid, signal.SIGKILL)
    if not lost:
        job.kill()  # Ray itself ends the process, after a minute
        job.communicate()
        kept = _finished(tmp_path / "parts")
        job = subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    else:
        kept = {str(x) for x in range(8)}
    said, _ = job.communicate(timeout=180)
    assert said.split()[-1] == "14.0"
    times = done.read_text().split()
    assert kept
    assert {times.count(x) for x in kept} == {1}
    assert set(times) == {str(x) for x in range(8)}


def _finished(parts: Path) -> set[str]:
    return {one.name.removeprefix("shard-") for one in parts.iterdir() if array_files.note_of(str(one)) is not None}


def _descendants(pid: int) -> list[tuple[int, str]]:
    """Return the processes below ``pid``, each with its name."""
    told = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in told.splitlines()]
    found, parents = [], [pid]
    while parents:
        parent = parents.pop()
        below = [(int(child), name) for child, above, name in rows if int(above) == parent]
        found += below
        parents += [child for child, _ in below]
    return found


def test_whole_plans_are_tried_as_in_one_process(
    ray: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy_dataset(n_users=40, n_items=30)
    only = ["popularity", "ease", "sequential", "neighbours", "blend"]

    def tried(folder: str, **compute: Any) -> dict[str, list[float]]:
        table = {"data": {"interactions": "toy.csv"}, "plans": {"only": only}, "tuning": {"seconds": 0.0}}
        study = Study(parse_config({**table, "compute": compute}, "a test"), data, PriceSheet.load(), tmp_path / folder)
        return {choice.name: choice.trial.values.tolist() for choice in study.run().choices}

    alone = tried("one")
    monkeypatch.setattr("frugalrec.executors._ambient", _Always(ray))
    assert tried("two", executor="ray", workers=2, parallel="trials") == alone
    assert list(alone) == only


def test_an_address_where_nothing_is() -> None:
    from frugalrec.executors.ray import _check_address

    with pytest.raises(ConfigError, match=r"no Ray cluster at '127\.0\.0\.1:1'") as caught:
        _check_address("127.0.0.1:1")
    assert "ray start --head" in caught.value.hint
    _check_address("auto")


def test_a_ray_that_was_imported_too_early() -> None:
    code = (
        "import ray\nfrom frugalrec.executors.ray import Ray\nfrom frugalrec.errors import ConfigError\n"
        "try:\n    Ray()\nexcept ConfigError as error:\n    print(error)\n"
    )
    if find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    found = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, timeout=120)
    assert "ray was imported before it could be told" in found.stdout


def _listening() -> set[str]:
    """Return the addresses on which this process and its descendants listen."""
    import socket
    import struct

    family = _family(os.getpid())
    inodes = set()
    for pid in family:
        try:
            links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                words = bytes.fromhex(fields[1].split(":")[0])
                address = words[-4:] if table == "tcp6" and words[:8] == bytes(8) else words
                parts = struct.pack(f"<{len(address) // 4}I", *struct.unpack(f">{len(address) // 4}I", address))
                found.add(socket.inet_ntop(socket.AF_INET if len(parts) == 4 else socket.AF_INET6, parts))
    return found


def _family(root: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found
