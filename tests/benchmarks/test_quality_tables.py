"""What the tables of benchmarks/quality share: columns, corrected differences, JSON, and the plot made of it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from frugalrec.cost import Cost
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.recommenders.als import Als
from frugalrec.recommenders.popularity import Popularity
from frugalrec.testing.data import toy_dataset

QUALITY = Path(__file__).parents[2] / "benchmarks" / "quality"
RNG = np.random.default_rng(0)
BASE = RNG.random(200)
METRICS = ("ndcg@10",)


def script(name: str) -> ModuleType:
    """Return a script of the benchmarks as a module; they are not part of the package."""
    spec = importlib.util.spec_from_file_location(name, QUALITY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there, and scripts import _table by name
    spec.loader.exec_module(module)
    return module


_table = script("_table")


def table(**options: Any) -> Any:
    return _table.Table("toy", None, METRICS, protocol="none", **options)


def row(name: str, values: np.ndarray[Any, Any], **cost: float) -> Any:
    return _table.Row(name, {"ndcg@10": values}, Cost(**cost))


def test_unknown_compute_is_said_to_be_unknown_and_not_zero(capsys: pytest.CaptureFixture[str]) -> None:
    made = table()
    made.add(row("known", BASE, flops=2e12, cpu_seconds=1.5, peak_bytes=2.0**29))
    made.add(row("unknown", BASE, cpu_seconds=1.5))
    known, unknown = capsys.readouterr().out.splitlines()[-2:]
    assert known.split(" | ")[2:] == ["1.5", "2,000.0", "0.50", f"{BASE.mean() / 2e-3:,.4g} |"]
    assert unknown.split(" | ")[2:] == ["1.5", "unknown", "unknown", "unknown |"]


def test_differences_from_the_best_are_corrected_for_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    noise = RNG.normal(0, 0.1, 200)
    noise -= noise.mean()
    made = table()
    made.add(row("best", BASE + noise + 0.016))  # 2.3 standard errors above each of the others
    for name in ("a", "b", "c"):
        made.add(row(name, BASE))
    made.compare_with_best()
    assert [(c["one"], c["other"]) for c in made.comparisons] == [("best", "a"), ("best", "b"), ("best", "c")]
    for found in made.comparisons:
        assert found["low"] > 0
        assert found["p"] < 0.05 < found["p_holm"]
        assert found["p_holm"] == pytest.approx(3 * found["p"])
    assert capsys.readouterr().out.count("not shown to differ") == 3


def test_the_json_says_how_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["beauty", "--data", "/home/me", "--trials", "/home/me/trials.jsonl", "--out", "x.json"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/table.py", *given])
    made = table()
    made.add(row("one", BASE, flops=1e15))
    made.not_installed("other", "pip install other")
    made.close(tmp_path / "x.json", [_table.Published("paper", {"ndcg@10": 0.5}, "GPU")])
    read = json.loads((tmp_path / "x.json").read_text())
    assert read["command"] == "table.py beauty --data DIR --trials FILE"
    assert read["rows"][0]["quality"]["ndcg@10"]["mean"] == pytest.approx(BASE.mean())
    assert read["rows"][0]["per_petaflop"] == pytest.approx(BASE.mean())
    assert read["not_installed"] == {"other": "pip install other"}
    assert read["published"][0]["differs"] == "GPU"
    assert {"version", "machine", "seed", "data"} <= set(read)


def test_a_model_with_a_random_start_counts_with_the_mean_over_its_seeds() -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=60, n_items=30))
    make = lambda seed: Als(factors=4, seed=seed)  # noqa: E731
    found = _table.measured("als", make, split, METRICS, seeds=3)
    alone = [_table.judged(make(s).fit(split.train), split.test, METRICS)["ndcg@10"] for s in range(3)]
    assert len({float(values.mean()) for values in alone}) > 1
    np.testing.assert_allclose(found.values["ndcg@10"], np.mean(alone, axis=0))
    assert found.seeds == {s: pytest.approx(values.mean()) for s, values in enumerate(alone)}
    assert found.fit.flops
    assert found.fit.cpu_seconds


def test_a_peer_is_ranked_as_our_models_are() -> None:
    pytest.importorskip("implicit")
    peers = script("peers")
    split = LeaveLastOut().split(toy_dataset(n_users=60, n_items=30))
    settings = {"factors": 8, "regularization": 0.1}
    peer = peers.implicit_als(settings, 3).fit(split.train)
    ours = Als(**settings, seed=3).fit(split.train)  # it runs the same library
    for name, values in peer.judge(split.test).items():
        np.testing.assert_allclose(values, _table.judged(ours, split.test, [name])[name])
    neighbours = peers.CONTENDERS["implicit cosine"].make({"K": 30}, 0).fit(split.train)
    history = neighbours.history(split.test.queries).toarray()
    X = split.train.interactions.matrix().toarray()
    norms = np.linalg.norm(X, axis=0)
    cosine = (X.T @ X) / np.where(norms > 0, norms, 1)[:, None] / np.where(norms > 0, norms, 1)
    np.testing.assert_allclose(neighbours.score(split.test.queries), history @ cosine, atol=1e-5)


def test_ratings_errors_have_intervals_by_user() -> None:
    ratings = script("ratings")
    made = ratings.RatingTable("toy", None, ("rmse", "mae"), protocol="none", lower_is_better=True)
    made.user = np.repeat(np.arange(50), 4)
    errors = RNG.normal(0, 1, 200)
    good, bad = (
        _table.Row(name, {"rmse": e**2, "mae": np.abs(e)}, Cost())
        for name, e in (("good", errors), ("bad", 2 * errors))
    )
    found = made.estimate(good)
    assert found.mean == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert found.low < found.mean < found.high
    made.add(bad)
    made.add(good)
    assert made.best() is good
    gap, p = made.difference(good, bad)
    assert gap.mean == pytest.approx(-found.mean)
    assert gap.high < 0
    assert p < 0.001


def test_the_plot_holds_every_model_at_its_place(tmp_path: Path) -> None:
    plot = script("plot")
    made = table()
    names = ("closed", "implicit ALS", "sasrec")
    for i, name in enumerate(names):
        made.add(row(name, BASE * (i + 1) / 3, flops=10.0 ** (9 + i)))
    made.add(row("LensKit ALS", BASE / 2))
    root = ElementTree.fromstring(plot.drawn([made.to_dict()], "ndcg@10"))
    svg = "{http://www.w3.org/2000/svg}"
    marks = [e for e in root.iter(f"{svg}circle") if e.find(f"{svg}title") is not None]
    places = sorted((float(e.get("cx", 0)), -float(e.get("cy", 0)), e.get("class")) for e in marks)
    assert [style for _, _, style in places] == ["closed", "peer", "neural"]
    assert places[0][1] < places[1][1] < places[2][1]  # the better, the higher
    assert places[1][0] - places[0][0] == pytest.approx(places[2][0] - places[1][0], abs=0.05)  # a decade each
    shown = [e.text for e in root.iter(f"{svg}text")]
    assert set(names) <= set(shown)
    assert any(text and text.startswith("FLOPs unknown or none: LensKit ALS") for text in shown)


def test_popularity_is_judged_over_the_whole_catalogue_without_what_was_seen() -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=40, n_items=20))
    model = Popularity().fit(split.train)
    scores = model.score(split.test.queries).astype(float)
    hits = []
    for query, scored, (truth,) in zip(split.test.queries, scores, split.test.relevant, strict=True):
        scored[query.history] = -np.inf
        hits.append(float(1 + np.sum(scored > scored[truth]) + (np.sum(scored == scored[truth]) - 1) / 2 <= 10))
    np.testing.assert_array_equal(_table.judged(model, split.test, ["hr@10"])["hr@10"], hits)
