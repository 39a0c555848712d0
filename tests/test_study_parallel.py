"""A study whose plans are tried side by side, on two workers: the same trials, and nothing that is finished is lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frugalrec.data.dataset import Dataset
from frugalrec.errors import ConfigError
from frugalrec.executors import Shard, executing
from frugalrec.executors.local import Local
from frugalrec.planner import Decision
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.study import Study
from frugalrec.testing.data import toy_dataset
from test_study import PRICES, configured, interrupted_after, lines_of, qualities

PLANS = ["chance", "popularity", "item-knn", "ease", "sequential", "neighbours", "blend", "hybrid-words", "ease-text"]
SECTIONS: dict[str, Any] = {"compute": {"workers": 2, "parallel": "trials"}}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy_dataset(n_users=40, n_items=30, cold=2)


@pytest.fixture(scope="module")
def two() -> Iterator[Local]:
    executor = Local(workers=2)
    yield executor
    executor.close()


def on_two(two: Local, study: Study) -> Decision:
    with executing(Kept(two)):
        return study.run()


class Kept(Local):
    """The two processes of all tests: starting them takes longer than all else here."""

    def __init__(self, two: Local) -> None:
        super().__init__(workers=2)
        self._processes, self._functions = two._processes, two._functions

    def close(self) -> None:
        """Leave them for the next test."""


def beside(dataset: Dataset, folder: Path, **options: Any) -> Study:
    config = configured(only=PLANS, seconds=0.0, **{**SECTIONS, **options.pop("sections", {})})
    return Study(config, dataset, PRICES, folder, **options)


def test_trials_are_those_of_a_study_that_tries_one_after_the_other(
    two: Local, dataset: Dataset, tmp_path: Path
) -> None:
    said: list[str] = []
    parallel = beside(dataset, tmp_path / "two", say=said.append, store=ArrayCache(tmp_path / "cache"))
    found = on_two(two, parallel)
    alone = Study(configured(only=PLANS, seconds=0.0), dataset, PRICES, tmp_path / "one")
    wanted = alone.run()
    assert qualities(found) == qualities(wanted)
    assert [c.name for c in found.choices] == [c.name for c in wanted.choices]
    for choice, other in zip(found.choices, wanted.choices, strict=True):
        assert choice.trial.cost["refresh"].flops == other.trial.cost["refresh"].flops
        assert choice.trial.cost["refresh"].cpu_seconds
    assert found.notes == ("2 plans at a time were tried: seconds were taken beside other work",)
    assert sorted(line["plan"] for line in lines_of(tmp_path / "two")) == sorted(
        line["plan"] for line in lines_of(tmp_path / "one")
    )
    assert sum(" settings tried" in line for line in said) == len(wanted.choices)


def test_what_workers_spent_is_on_the_record(two: Local, dataset: Dataset, tmp_path: Path) -> None:
    parallel = beside(dataset, tmp_path / "two")
    on_two(two, parallel)
    alone = Study(configured(only=PLANS, seconds=0.0), dataset, PRICES, tmp_path / "one")
    alone.run()

    def told(study: Study) -> list[tuple[str, str, int, float | None]]:
        return sorted((e.plan, e.name, e.depth, e.cost.flops) for e in study.ledger.entries)

    assert told(parallel) == told(alone)
    assert all(e.cost.cpu_seconds is not None for e in parallel.ledger.entries)
    written = [json.loads(line) for line in (tmp_path / "two" / "ledger.jsonl").read_text().splitlines()]
    assert len(written) == len(parallel.ledger.entries)


def test_texts_that_several_plans_need_are_encoded_once(two: Local, dataset: Dataset, tmp_path: Path) -> None:
    store = ArrayCache(tmp_path / "arrays.sqlite")
    config = configured(only=["content-words", "sequential-words"], seconds=0.0, **SECTIONS)
    study = Study(config, dataset, PRICES, tmp_path / "run", store=store)
    costs = {c.name: c.trial.cost["once"].flops for c in on_two(two, study).choices}
    spent = {e.plan: e.cost.flops for e in study.ledger.entries if e.name == "encode" and e.depth == 0}
    assert spent["(study)"] == pytest.approx(costs["content-words"]) == pytest.approx(costs["sequential-words"])
    assert spent["content-words"] == spent["sequential-words"] == 0.0
    store.close()


def test_interrupted_it_keeps_what_is_finished_and_goes_on(two: Local, dataset: Dataset, tmp_path: Path) -> None:
    cut = beside(dataset, tmp_path, say=interrupted_after(2))
    early = on_two(two, cut)
    assert cut.interrupted
    assert len(early.choices) == len(lines_of(tmp_path)) == 2
    done = {c.name for c in early.choices}
    said: list[str] = []
    resumed = beside(dataset, tmp_path, say=said.append)
    decision = on_two(two, resumed)
    assert {f"{name}: already done, taken from {tmp_path.name}" for name in done} <= set(said)
    assert len(lines_of(tmp_path)) == len(decision.choices)
    alone = Study(configured(only=PLANS, seconds=0.0), dataset, PRICES, tmp_path / "one")
    assert qualities(decision) == qualities(alone.run())


def test_a_worker_that_is_killed_loses_no_finished_trial(dataset: Dataset, tmp_path: Path) -> None:
    executor = Local(workers=2)
    killed: list[int] = []

    def kill_one(message: str) -> None:
        if "settings tried" in message and not killed:
            pid = next(iter(executor._processes.values()))[0].pid
            assert pid is not None
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    with executing(executor):
        found = beside(dataset, tmp_path / "two", say=kill_one).run()
    assert killed
    alone = Study(configured(only=PLANS, seconds=0.0), dataset, PRICES, tmp_path / "one")
    assert qualities(found) == qualities(alone.run())


def test_what_cannot_be_tried_is_noted_and_the_rest_goes_on(two: Local, tmp_path: Path) -> None:
    silent = toy_dataset(n_users=30, n_items=20, timestamps=False, text=False)
    plans = [
        {"name": "timed", "recommender": {"component": "sequential-linear", "gap_half_life": 60.0}},
        {"name": "on-timed", "recommender": {"component": "hybrid", "members": [{"plan": "ease"}, {"plan": "timed"}]}},
    ]
    config = configured(*plans, only=["popularity", "ease"], seconds=0.0, **SECTIONS)
    study = Study(config, silent, PRICES, tmp_path)
    decision = on_two(two, study)
    assert [c.name for c in decision.choices] == ["popularity", "ease"]
    notes = dict(note.split(" was not tried: ", 1) for note in decision.notes if "not tried" in note)
    assert notes["timed"].startswith("gap_half_life needs timestamps, and this log has none")
    assert notes["on-timed"] == "it builds on timed, which was not tried"


def test_plans_that_do_not_fit_beside_each_other_are_tried_alone(
    two: Local, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = beside(dataset, tmp_path)
    largest = max(e.peak_bytes.expected for e in study.expected() if e.peak_bytes is not None)
    monkeypatch.setattr("frugalrec.study.available_memory_bytes", lambda: 1.5 * largest)
    sent: list[str] = []

    def noted(payload: Any) -> Shard:
        sent.append(payload["plan"]["name"])
        return Shard(payload)

    monkeypatch.setattr("frugalrec.study.Shard", noted)
    decision = on_two(two, study)
    assert len(decision.choices) == len(study.plans)
    assert 0 < len(sent) < len(decision.choices)


def test_a_search_tries_one_after_the_other(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one by one"):
        beside(dataset, tmp_path, sections={"search": {"seconds": 5.0}}).run()
