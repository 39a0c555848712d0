"""Plans of a run, read back with the trackers' own readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frugalrec import run_trackers
from frugalrec.cli._app import run as command
from frugalrec.config import parse_config
from frugalrec.errors import MissingExtraError
from frugalrec.prices import PriceSheet
from frugalrec.run_costs import Run
from frugalrec.run_folder import document, write_decision
from frugalrec.study import Study
from frugalrec.testing.data import toy_dataset

PRICES = PriceSheet.load()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished study of two plans."""
    folder = tmp_path_factory.mktemp("tracked") / "shop-run"
    config = parse_config(
        {
            "data": {"interactions": "toy.csv"},
            "tuning": {"seconds": 1},
            "evaluation": {"timed_queries": 5},
            "plans": {"only": ["popularity", "ease"]},
        },
        "a test",
    )
    study = Study(config, toy_dataset(n_users=40, n_items=20), PRICES, folder)
    write_decision(folder, document(study.run(), study.traffic))
    return folder


def trials(folder: Path) -> dict[str, dict[str, object]]:
    lines = (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    return {trial["plan"]: trial for trial in map(json.loads, lines)}


def test_tensorboard_reads_what_was_written(finished: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert run_trackers.tensorboard(Run.read(finished), PRICES, tmp_path) == ["popularity", "ease"]
    for plan, trial in trials(finished).items():
        events = reader.EventAccumulator(str(tmp_path / plan))
        events.Reload()
        (quality,) = events.Scalars("quality/ndcg@10")
        assert quality.value == pytest.approx(trial["quality"]["ndcg@10"]["mean"], rel=1e-6)  # type: ignore[index]
        assert events.Scalars("cost/per_refresh/flops")[0].value > 0
        assert events.Scalars("cost/per_request/money")[0].value > 0
        assert [e.step for e in events.Scalars("tuning/value")] == list(range(len(trial["tuning"])))  # type: ignore[arg-type]
        assert not [tag for tag in events.Tags()["scalars"] if tag.startswith("slices/cold")]  # unknown is not 0


def test_mlflow_reads_what_was_written(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    assert command(["costs", "export", str(finished), "--format", "mlflow", "--out", str(tmp_path / "mlruns")]) == 0
    assert "2 plans written to" in capsys.readouterr().out
    client = tracking.MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("shop-run")
    found = {r.data.tags["frugalrec.plan"]: r for r in client.search_runs([experiment.experiment_id])}
    assert set(found) == {"popularity", "ease"}
    for plan, trial in trials(finished).items():
        data = found[plan].data
        assert data.metrics["quality/ndcg_at_10"] == pytest.approx(trial["quality"]["ndcg@10"]["mean"])  # type: ignore[index]
        assert data.metrics["cost/per_refresh/flops"] > 0
        assert found[plan].info.status == "FINISHED"
        assert data.tags["verdict"] in ("chosen", "feasible", "below the floor")
    assert found["ease"].data.params["recommender.component"] == "ease"
    assert float(found["ease"].data.params["recommender.ridge"]) > 0


def test_a_tracker_that_is_not_installed_is_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("tensorboard", "mlflow"):
        monkeypatch.setitem(__import__("sys").modules, f"{package}.compat.proto.event_pb2", None)
        monkeypatch.setitem(__import__("sys").modules, f"{package}.entities", None)
    with pytest.raises(MissingExtraError, match="'tensorboard' is not installed") as caught:
        run_trackers.tensorboard(Run.read(finished), PRICES, tmp_path)
    assert caught.value.hint == "pip install 'frugalrec[track]'"
    with pytest.raises(MissingExtraError, match="'mlflow' is not installed"):
        run_trackers.mlflow(Run.read(finished), PRICES, str(tmp_path))


def test_trackers_need_a_place(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["costs", "export", str(finished), "--format", "tensorboard"]) == 2
    assert "tensorboard needs a place to write to" in capsys.readouterr().err
