"""The search of neural settings in benchmarks/quality: what is drawn, what goes on, and that no fit is made twice."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.plan import Plan
from frugalrec.testing.data import toy_dataset

QUALITY = Path(__file__).parents[2] / "benchmarks" / "quality"


@pytest.fixture(scope="module")
def search() -> Any:
    """Return the script as a module, found where its neighbours are."""
    sys.path.insert(0, str(QUALITY))
    try:
        spec = importlib.util.spec_from_file_location("neural_search", QUALITY / "neural_search.py")
        assert spec is not None
        assert spec.loader is not None
        module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(QUALITY))
    return module


@pytest.mark.parametrize("model", ["sasrec", "gru4rec", "two-tower"])
def test_the_components_own_settings_are_tried_and_every_value_about_as_often(search: Any, model: str) -> None:
    found = search.drawn(model, 8)
    assert found[0] == {}
    assert found == search.drawn(model, 8)
    for name in search.COMMON:
        counts = Counter(one[name] for one in found[1:])
        assert set(counts) == set(search.SPACE[model][name])
        assert max(counts.values()) - min(counts.values()) <= 1
    for settings in found:
        Plan.from_dict({"name": model, "recommender": {"component": model, **settings}})
        assert not ("n-negatives" in settings and settings["loss"] == "cross-entropy")


def test_the_best_go_on_and_no_fit_is_made_twice(search: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(search, "STOPPING", {"epochs": 2, "patience": 2})
    split = LeaveLastOut().split(toy_dataset(n_users=30, n_items=15))
    trials = search.Trials(tmp_path / "trials.jsonl", split, "toy")
    row = search.neural_row("gru4rec", [(2, 30.0), (1, 60.0)], 2, 60.0, trials)
    first, second, again, *tests = trials.rows
    assert again["settings"] == max(first, second, key=search.mean)["settings"]
    assert again["values"] == max(first, second, key=search.mean)["values"]  # its epochs were over: nothing is new
    assert [one["seed"] for one in tests] == [0, 1]
    assert {one["fold"] for one in tests} == {"test"}
    assert row.seeds == {one["seed"]: pytest.approx(search.mean(one)) for one in tests}

    known = search.Trials(tmp_path / "trials.jsonl", split, "toy")
    assert search.neural_row("gru4rec", [(2, 30.0), (1, 60.0)], 2, 60.0, known).seeds == row.seeds
    assert known.rows == trials.rows

    given = search.neural_row("gru4rec", [], 2, 60.0, known, dict(row.settings))
    assert known.rows == trials.rows  # the settings found are known already
    assert (given.seeds, given.more["settings tried"]) == (row.seeds, "given")


def test_a_model_may_be_searched_otherwise_than_the_rest(search: Any) -> None:
    found = search.searches_of(["8:50,2:130", "two-tower=4:50"])
    assert found == {"sasrec": [(8, 50.0), (2, 130.0)], "gru4rec": [(8, 50.0), (2, 130.0)], "two-tower": [(4, 50.0)]}
