from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np
import pytest

from frugalrec.batch import recommend_all
from frugalrec.cli._app import run as command_line
from frugalrec.config import DataSection
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset
from frugalrec.datasets import load_data, located
from frugalrec.errors import ConfigError
from frugalrec.executors import executing
from frugalrec.executors.local import Local
from frugalrec.plan import Plan, Spec
from frugalrec.run_costs import Run
from frugalrec.run_folder import PlanFile, load_model
from frugalrec.run_record import RunRecord

Row = tuple[str, str, int, float]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    lines = [f"u{u},i{i},{t}" for u in range(40) for t, i in enumerate(rng.permutation(30)[: 3 + u % 6])]
    (folder / "log.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(lines) + "\n")
    section = DataSection(interactions=str(folder / "log.csv"))
    dataset, _ = load_data(section, folder)
    plan = Plan("mine", recommender=Spec("sequential-linear", {"half_lives": [2.0]}))
    plan.build(None).fit(dataset, Ledger()).save(folder / "model")
    PlanFile(plan, section, dataset.fingerprint(), "", "").write(folder / "plan.toml")
    return folder, dataset


@pytest.mark.skipif(find_spec("fsspec") is None, reason="fsspec is not installed")
def test_data_may_be_at_urls(run: tuple[Path, Dataset], tmp_path: Path) -> None:
    import fsspec

    _, dataset = run
    (tmp_path / "log").mkdir()
    duckdb.sql(
        f"COPY (FROM '{run[0]}/log.csv') TO '{tmp_path}/log' (FORMAT parquet, PARTITION_BY (timestamp), OVERWRITE)"
    )
    fsspec.filesystem("memory").put(f"{tmp_path}/log", "/shop/log", recursive=True)
    for place in ("log", f"file://{tmp_path}/log", "memory://shop/log"):
        found, report = load_data(DataSection(interactions=place), tmp_path)
        assert found.name == "log"
        assert len(found.interactions) == len(dataset.interactions)
        assert found.interactions.timestamp is not None
        assert report.files == (place if "memory" in place else f"{tmp_path}/log",)
        assert located(place, tmp_path) == report.files[0]


def rows(out: Path) -> list[Row]:
    found: list[Row] = duckdb.sql(f"FROM '{out}/*.parquet' SELECT user, item, rank, score ORDER BY 1, 3").fetchall()
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_everybody_gets_what_they_would_get_alone(run: tuple[Path, Dataset], tmp_path: Path, workers: int) -> None:
    folder, dataset = run
    with executing(Local(workers=workers)) as executor:
        n = recommend_all(folder, dataset, str(tmp_path), k=4, executor=executor, users_a_part=15)
    assert n == 40
    assert len(list(tmp_path.iterdir())) == 3
    pipeline = load_model(folder, PlanFile.read(folder / "plan.toml").plan, None)
    expected = []
    for user, name in enumerate(dataset.interactions.users.ids):
        (ranking,) = pipeline.recommend([dataset.query(user)], 4)
        items = dataset.catalog.items.ids[ranking.items]
        expected += [(name, item, place) for place, item in enumerate(items, start=1)]
    found = rows(tmp_path)
    assert [row[:3] for row in found] == sorted(expected, key=lambda row: (row[0], row[2]))
    assert all(np.isfinite(row[3]) for row in found)


def test_a_plan_chosen_on_repeats_returns_items_of_the_history(run: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, dataset = run
    met = {
        (dataset.interactions.users.ids[u], i)
        for u, items in dataset.interactions.sequences()
        for i in dataset.catalog.items.ids[items]
    }
    again = tmp_path / "run"
    shutil.copytree(folder, again)
    replace(PlanFile.read(folder / "plan.toml"), repeats=True).write(again / "plan.toml")
    for place, out, some in ((folder, tmp_path / "new", False), (again, tmp_path / "all", True)):
        recommend_all(place, dataset, str(out), k=4, executor=Local())
        assert any((row[0], row[1]) in met for row in rows(out)) == some


def test_it_goes_on_where_it_stopped(run: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, dataset = run
    recommend_all(folder, dataset, str(tmp_path), k=4, executor=Local(), users_a_part=15)
    whole = rows(tmp_path)
    first, second, _ = sorted(tmp_path.iterdir())
    before = first.stat().st_mtime_ns
    second.unlink()
    recommend_all(folder, dataset, str(tmp_path), k=4, executor=Local(), users_a_part=15)
    assert rows(tmp_path) == whole
    assert first.stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="recommendations of another model, other data or another number of items"):
        recommend_all(folder, dataset, str(tmp_path), k=5, executor=Local(), users_a_part=15)


@pytest.mark.skipif(find_spec("fsspec") is None, reason="fsspec is not installed")
def test_the_memory_of_a_process_is_no_place_for_what_others_make(
    run: tuple[Path, Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    import fsspec

    folder, dataset = run
    with executing(Local(workers=2)) as executor, pytest.raises(ConfigError, match="a memory of its own") as refused:
        recommend_all(folder, dataset, "memory://all", k=4, executor=executor)
    assert "all workers reach" in str(refused.value.hint)
    with pytest.raises(ConfigError, match="checkpoints of several workers"):
        Local(workers=2, checkpoints="memory://parts")
    recommend_all(folder, dataset, "memory://all", k=4, executor=Local(checkpoints="memory://parts"))
    assert len(fsspec.filesystem("memory").ls("/all")) == 1
    assert command_line(["recommend-all", "--run", str(folder), "--out", "memory://all"]) == 2
    assert "recommendations cannot be in 'memory://all'" in capsys.readouterr().err


def test_the_commands(run: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, _ = run

    def command(*words: str) -> str:
        line = [sys.executable, "-m", "frugalrec", *words]
        return subprocess.run(line, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    assert command("recommend-all", "--run", str(folder), "--out", "all", "-k", "3", "--workers", "2") == "all\n"
    record, (spent,) = RunRecord.read(folder), [e for e in Run.read(folder).entries if e.stage == "recommend all"]
    assert record.at(spent.started).command == f"frugalrec recommend-all --run {folder} -k 3"
    found = rows(tmp_path / "all")
    assert len(found) == 120
    alone = json.loads(command("recommend", "--run", str(folder), "--user", "u7", "-k", "3", "--json"))
    assert [row[1] for row in found if row[0] == "u7"] == [item["item"] for item in alone["items"]]
    command("run", str(folder / "plan.toml"), "--out", "again", "--accept-changes", "--workers", "2")
    with np.load(folder / "model" / "model.npz") as one, np.load(tmp_path / "again" / "model" / "model.npz") as other:
        assert one.files == other.files
        assert all(np.array_equal(one[name], other[name]) for name in one.files)
