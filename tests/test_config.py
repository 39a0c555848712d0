from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from frugalrec.config import EXAMPLE, Config, DataSection, load_config, parse_config
from frugalrec.errors import ConfigError, FrugalrecError, UnknownNameError
from frugalrec.plan import Plan, Spec

DATA = {"interactions": "log.csv"}


def parse(**sections: Any) -> Config:
    return parse_config({"data": DATA, **sections}, "my.toml")


def test_only_the_data_must_be_given() -> None:
    config = parse()
    assert config.split.kind == "leave-last-out"
    assert config.quality.metric == "ndcg@10"
    assert config.quality.floor == "within 2% of best"
    assert config.traffic.requests_per_day == 1_000_000
    assert config.budget.dollars_per_month is None
    assert config.own_plans() == []


def test_the_example_shows_the_defaults() -> None:
    config = parse_config(tomllib.loads(EXAMPLE), "the example")
    data = DataSection(interactions="interactions.csv", items="items.csv", text=("title", "genres"))
    assert config == Config(data=data)


def test_what_the_example_leaves_out_is_right_as_well() -> None:
    whole = re.sub(r"^# (?=\w+ = |\[\[)", "", EXAMPLE, flags=re.MULTILINE)
    config = parse_config(tomllib.loads(whole), "the example")
    assert config.budget.model_dump() == {
        "dollars_per_month": 500.0,
        "seconds_per_request_p95": 0.05,
        "memory_gib": 4.0,
        "once_seconds": 600.0,
        "lm_dollars": 5.0,
    }
    assert config.plans.only == ("popularity", "ease", "sequential-text")
    own, other = config.own_plans()
    assert (own.name, other.name) == ("short-memory[encoder=bag-of-words]", "short-memory[encoder=onnx]")
    assert other == Plan(other.name, Spec("sequential-linear", {"half_lives": (2.0,), "encoder": Spec("onnx")}))


def test_a_whole_configuration_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        """
        seed = 3
        [data]
        interactions = "log.tsv"
        user = "客户"
        text = ["名称"]
        duplicates = "last"
        [split]
        kind = "random"
        fractions = [0.8, 0.1, 0.1]
        [quality]
        metric = "hr@5"
        floor = 1
        [evaluation]
        metrics = ["auc"]
        """,
        encoding="utf-8",
    )
    config = load_config(path)
    assert (config.seed, config.data.user, config.data.text, config.data.duplicates) == (3, "客户", ("名称",), "last")
    assert config.split.model_extra == {"fractions": [0.8, 0.1, 0.1]}
    assert config.quality.floor == 1.0
    assert config.evaluation.metrics == ("auc",)


@pytest.mark.parametrize(
    ("sections", "message", "hint"),
    [
        ({"qualty": {}}, "unknown key 'qualty'", "did you mean 'quality'?"),
        ({"sead": 1}, "unknown key 'sead'", "did you mean 'seed'?"),
        ({"zzz": 1}, "unknown key 'zzz'", "known: budget, compute, data"),
        ({"data": {**DATA, "timestmp": "t"}}, "unknown key 'timestmp' in [data]", "did you mean 'timestamp'?"),
        ({"quality": {"metrc": "auc"}}, "unknown key 'metrc' in [quality]", "did you mean 'metric'?"),
        (
            {"budget": {"dollars_a_month": 5}},
            "unknown key 'dollars_a_month' in [budget]",
            "did you mean 'dollars_per_month'?",
        ),
        ({"traffic": {"request_per_day": 5}}, "in [traffic]", "did you mean 'requests_per_day'?"),
        ({"prices": {"shet": "x"}}, "in [prices]", "did you mean 'sheet'?"),
        ({"tuning": {"second": 5}}, "in [tuning]", "did you mean 'seconds'?"),
        ({"evaluation": {"metric": ["auc"]}}, "in [evaluation]", "did you mean 'metrics'?"),
        ({"plans": {"onyl": []}}, "in [plans]", "did you mean 'only'?"),
        ({"split": {"knd": "random"}}, "unknown key 'knd' in [split] of my.toml", "did you mean 'kind'?"),
        ({"split": {"min_event": 5}}, "unknown key 'min_event' in [split]", "did you mean 'min_events'?"),
        ({"split": {"kind": "leave-lastout"}}, "unknown split 'leave-lastout'", "did you mean 'leave-last-out'?"),
        ({"quality": {"metric": "ndgc@10"}}, "unknown metric 'ndgc'", "did you mean 'ndcg'?"),
        ({"evaluation": {"metrics": ["recal@10"]}}, "unknown metric 'recal'", "did you mean 'recall'?"),
        (
            {"plans": {"own": [{"name": "p", "recommender": {"component": "eas"}}]}},
            "unknown recommender 'eas'",
            "did you mean 'ease'?",
        ),
        (
            {"plans": {"own": [{"name": "p", "recommender": {"component": "ease", "rigde": 1}}]}},
            "unknown setting 'rigde'",
            "did you mean 'ridge'?",
        ),
        ({"plans": {"own": [{"nam": "p"}]}}, "unknown key 'nam' in a plan", "did you mean 'name'?"),
    ],
)
def test_a_typo_names_the_nearest(sections: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(FrugalrecError) as caught:
        parse(**sections)
    assert isinstance(caught.value, ConfigError | UnknownNameError)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": 3}, "my.toml: data must be a table, not 3"),
        ({"data": {**DATA, "user": 3}}, "data.user must be a valid string, not 3"),
        ({"data": {**DATA, "text": "title"}}, "data.text must be a list, not 'title'"),
        ({"data": {**DATA, "text": [1]}}, "data.text.0 must be a valid string, not 1"),
        ({"data": {**DATA, "ties": "fiel"}}, "data.ties must be 'auto', 'file', 'item-id' or 'random', not 'fiel'"),
        ({"data": {**DATA, "on_bad_rows": "ignore"}}, "data.on_bad_rows must be 'error', 'skip' or 'report'"),
        ({"budget": {"memory_gib": True}}, "budget.memory_gib must be a valid number, not True"),
        ({"budget": {"memory_gib": "4"}}, "budget.memory_gib must be a valid number, not '4'"),
        ({"budget": {"memory_gib": 0}}, "budget.memory_gib must be greater than 0, not 0"),
        ({"budget": {"once_seconds": float("inf")}}, "budget.once_seconds must be a finite number, not inf"),
        ({"traffic": {"requests_per_day": -1}}, "traffic.requests_per_day must be greater than or equal to 0"),
        ({"traffic": {"requests_per_day": float("nan")}}, "traffic.requests_per_day must be"),
        ({"quality": {"floor": ["0.1"]}}, "quality.floor must be a valid number, not ['0.1']"),
        ({"quality": {"floor": True}}, "quality.floor must be a valid number, not True"),
        ({"quality": {"floor": "0.17"}}, "quality.floor must be a number or like 'within 2% of best', not '0.17'"),
        ({"quality": {"metric": "ndcg"}}, "metric 'ndcg' needs a cut-off"),
        ({"evaluation": {"timed_queries": 0}}, "evaluation.timed_queries must be greater than or equal to 1"),
        ({"evaluation": {"max_queries": 1.5}}, "evaluation.max_queries must be a valid integer, not 1.5"),
        ({"split": {"min_events": "five"}}, "my.toml: split.min-events must be int, not 'five'"),
        ({"split": {"kind": 3}}, "split.kind must be a valid string, not 3"),
        ({"plans": {"own": {"name": "p"}}}, "plans.own must be a list"),
        ({"plans": {"own": [{"name": "p", "recommender": "ease"}]}}, "plan 'p' needs a recommender"),
        ({"seed": "1"}, "seed must be a valid integer, not '1'"),
    ],
)
def test_a_wrong_value_says_what_was_expected(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**sections)
    assert message in caught.value.message


@pytest.mark.parametrize("data", [{}, {"dataset": "movielens-100k", "interactions": "log.csv"}, {"items": "i.csv"}])
def test_data_are_either_named_or_files(data: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"my.toml: \[data\] needs either 'dataset' or 'interactions'"):
        parse(data=data)


def test_data_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"my.toml: 'data' is missing") as caught:
        parse_config({"seed": 1}, "my.toml")
    assert caught.value.hint == "frugalrec plan --example prints a configuration"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.toml: no such file") as caught:
        load_config(tmp_path / "absent.toml")
    assert "--example" in caught.value.hint
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)
    (tmp_path / "broken.toml").write_text("[data\n")
    with pytest.raises(ConfigError, match=r"broken.toml: not valid TOML: .*line 1"):
        load_config(tmp_path / "broken.toml")
    (tmp_path / "latin.toml").write_bytes("# é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin.toml: cannot be read"):
        load_config(tmp_path / "latin.toml")


def test_a_configuration_is_fixed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().seed = 3  # type: ignore[misc]


def test_a_configuration_survives_being_written_out() -> None:
    config = parse(
        split={"kind": "random", "fractions": [0.8, 0.1, 0.1]},
        plans={"only": ["ease"], "own": [{"name": "p", "recommender": {"component": "ease"}}]},
    )
    assert parse_config(config.model_dump(exclude_unset=True), "again") == config
    assert parse_config(config.model_dump(mode="json", exclude_none=True), "again") == config
