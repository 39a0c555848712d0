from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.config import DataSection, parse_config
from frugalrec.errors import ConfigError, FrugalrecError, NotFittedError, UnknownNameError
from frugalrec.plan import Plan, Spec
from frugalrec.prices import PriceSheet
from frugalrec.run_folder import PlanFile, document, load_model, write_decision, write_whole
from frugalrec.study import Study
from frugalrec.testing.data import toy_dataset

PRICES = PriceSheet.load()
PLAN = Plan(
    "mine",
    Spec("sequential-linear", {"half_lives": (1.5, 15.0), "ridge": 30.0, "encoder": Spec("bag-of-words")}),
    without_lm="ease",
    about='short memory, "as they say"',
)
DATA = DataSection(interactions="/data/événements.csv", text=("title", "类型"), min_rating=3.5)


def plan_file(**changes: Any) -> PlanFile:
    fresh = PlanFile(PLAN, DATA, toy_dataset(n_users=3).fingerprint(), "", PRICES.fingerprint())
    return replace(fresh, **changes)


def test_a_plan_file_survives_being_written(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    changes: list[dict[str, Any]] = [
        {},
        {"price_sheet": "/prices/our own.toml"},
        {"data": DataSection(dataset="x")},
        {"repeats": True},
    ]
    for file in (plan_file(**each) for each in changes):
        file.write(path)
        assert PlanFile.read(path) == file
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Chosen by frugalrec.")
    assert "half_lives = [" in text
    assert [p.name for p in tmp_path.iterdir()] == ["plan.toml"]


@given(
    ridge=st.floats(1e-9, 1e9),
    half_lives=st.lists(st.floats(0.1, 1e6), min_size=1, max_size=4),
    about=st.text(max_size=30),
)
def test_settings_come_back_to_the_last_bit(
    ridge: float, half_lives: list[float], about: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "settings-plan.toml"
    spec = Spec("sequential-linear", {"ridge": ridge, "half_lives": tuple(half_lives)})
    file = plan_file(plan=Plan("p", spec, about=about))
    file.write(path)
    assert PlanFile.read(path) == file


def test_changed_data_are_refused() -> None:
    data = toy_dataset(n_users=3)
    file = plan_file()
    file.check_data(data.fingerprint())
    fewer = data.with_interactions(data.interactions.without_users(np.array([0])))
    with pytest.raises(ConfigError, match="the data have changed since the plan was chosen") as caught:
        file.check_data(fewer.fingerprint())
    assert data.fingerprint() in caught.value.message
    assert fewer.fingerprint() in caught.value.message
    assert "--accept-changes" in caught.value.hint


def test_changed_prices_are_refused() -> None:
    plan_file().check_prices(PRICES)
    with pytest.raises(ConfigError, match="prices have changed since the plan was chosen") as caught:
        plan_file().check_prices(replace(PRICES, machine_hour=9.0))
    assert "--accept-changes" in caught.value.hint


def broken(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "plan.toml"
    plan_file().write(path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "error", "message", "hint"),
    [
        ("[fingerprints]", "[fingerprint]", UnknownNameError, "unknown key 'fingerprint'", "'fingerprints'"),
        ("[plan]", "[plans]", UnknownNameError, "unknown key 'plans'", "'plan'"),
        ("[data]\n", '[data]\nusr = "x"\n', ConfigError, "unknown key 'usr' in [data]", "'user'"),
        ("interactions = ", "items = ", ConfigError, "[data] needs either 'dataset' or 'interactions'", ""),
        ("min_rating = 3.5", 'min_rating = "3"', ConfigError, "data.min_rating must be a valid number", ""),
        ("ridge = ", "rigde = ", UnknownNameError, "unknown setting 'rigde'", "'ridge'"),
        ('component = "bag-of-words"', 'component = "bag-of-wods"', UnknownNameError, "encoder", "'bag-of-words'"),
        ("= ", "", ConfigError, "cannot be read as a plan", ""),
    ],
)
def test_a_wrong_plan_file_says_what_is_wrong(
    tmp_path: Path, old: str, new: str, error: type[FrugalrecError], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        PlanFile.read(broken(tmp_path, old, new))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_table_that_is_missing_or_none(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    for text, table in (("", "plan"), ("plan = 3\n[data]\n", "plan"), ("[plan]\n[data]\n", "fingerprints")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=rf"the table \[{table}\] is missing") as caught:
            PlanFile.read(path)
        assert caught.value.hint == "is this the plan.toml of a run?"
    path.write_text("prices = 3\n[plan]\n[data]\n[fingerprints]\n")
    with pytest.raises(ConfigError, match=r"\[prices\]"):
        PlanFile.read(path)


def test_a_plan_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        PlanFile.read(tmp_path / "plan.toml")
    assert "frugalrec demo" in caught.value.hint


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "text.json"
    write_whole(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "after \ud800")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["text.json"]


def test_a_run_from_decision_to_served_model(tmp_path: Path) -> None:
    config = parse_config(
        {
            "data": {"interactions": "toy.csv"},
            "tuning": {"seconds": 0},
            "evaluation": {"timed_queries": 3},
            "plans": {"only": ["popularity", "ease"]},
        },
        "a test",
    )
    dataset = toy_dataset(n_users=30, n_items=20)
    study = Study(config, dataset, PRICES, tmp_path)
    decision = study.run()
    write_decision(tmp_path, document(decision, study.traffic))
    told = json.loads((tmp_path / "decision.json").read_text(encoding="utf-8"))
    assert told["decision"]["plan"] == decision.plan
    assert {"plan", "reason", "frontier", "language_model"} <= set(told["decision"])
    assert [t["plan"] for t in told["trials"]] == ["popularity", "ease"]
    for trial in told["trials"]:
        assert {"components", "settings", "quality", "slices", "cost", "verdict", "reason"} <= set(trial)
        assert set(trial["quality"]["ndcg@10"]) == {"mean", "low", "high", "n"}
        assert {"warm", "cold", "tail"} == set(trial["slices"])
        cost = trial["cost"]
        assert {"once", "per_refresh", "per_request", "per_month", "currency"} == set(cost)
        bill = decision.choice(trial["plan"]).bill
        assert cost["per_request"]["money"] * 1000 == pytest.approx(bill.thousand_requests)
        assert cost["per_month"]["money"] == bill.month
        assert cost["per_month"]["cpu_seconds"] > cost["per_request"]["cpu_seconds"] * 1_000_000

    assert decision.plan is not None
    plan = decision.choice(decision.plan).trial.plan
    with pytest.raises(NotFittedError, match="no saved model"):
        load_model(tmp_path, plan, None)
    served = study.final(plan)
    served.save(tmp_path / "model")
    PlanFile(plan, config.data, study.data_fingerprint, "", PRICES.fingerprint()).write(tmp_path / "plan.toml")
    again = PlanFile.read(tmp_path / "plan.toml")
    again.check_data(dataset.fingerprint())
    query = dataset.query(3)
    np.testing.assert_array_equal(load_model(tmp_path, again.plan, None).score([query]), served.score([query]))


def test_an_unknown_price_is_null_in_the_document(tmp_path: Path) -> None:
    config = parse_config({"data": {"interactions": "x"}, "tuning": {"seconds": 0}, "plans": {"only": ["chance"]}}, "x")
    study = Study(config, toy_dataset(n_users=10), PRICES, tmp_path)
    decision = study.run()
    (choice,) = decision.choices
    dark = replace(choice, bill=replace(choice.bill, thousand_requests=None, month=None))
    (trial,) = document(replace(decision, choices=(dark,)), study.traffic)["trials"]
    assert trial["cost"]["per_request"]["money"] is None
    assert trial["cost"]["per_month"]["money"] is None
    assert trial["cost"]["once"]["money"] is not None
