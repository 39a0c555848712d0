from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec.config import parse_config
from frugalrec.errors import ConfigError, UnknownNameError
from frugalrec.plan import Plan
from frugalrec.plan_space import MOST_PLANS, expanded

MINE: dict[str, Any] = {
    "name": "mine",
    "recommender": {"component": "sequential-linear", "encoder": {"component": "bag-of-words"}},
    "reranker": {"component": "likelihood", "model": {"component": "llama-cpp"}},
}


def test_every_combination_is_a_plan() -> None:
    space = {"recommender.encoder.component": ["bag-of-words", "onnx"], "reranker.depth": [5, 10, 20]}
    plans = expanded({**MINE, "space": space})
    assert [p["name"] for p in plans] == [
        f"mine[encoder={encoder},depth={depth}]" for encoder in ("bag-of-words", "onnx") for depth in (5, 10, 20)
    ]
    built = [Plan.from_dict(p) for p in plans]
    assert [p.recommender.settings["encoder"].component for p in built] == ["bag-of-words"] * 3 + ["onnx"] * 3
    assert [p.reranker.settings["depth"] for p in built] == [5, 10, 20] * 2  # type: ignore[union-attr]
    assert "depth" not in MINE["reranker"]  # the table that was given stays as it is


def test_tables_lists_and_leaving_out_are_values_too() -> None:
    space = {
        "reranker": [False, {"component": "likelihood", "model": {"component": "llama-cpp"}}],
        "recommender.half_lives": [[3.0], [1.5, 15.0]],
    }
    plans = expanded({**MINE, "space": space})
    assert [p["name"] for p in plans] == [
        "mine[reranker=no,half_lives=3]",
        "mine[reranker=no,half_lives=1.5+15]",
        "mine[reranker=likelihood,half_lives=3]",
        "mine[reranker=likelihood,half_lives=1.5+15]",
    ]
    assert ["reranker" in p for p in plans] == [False, False, True, True]


def test_without_a_space_a_plan_is_itself() -> None:
    assert expanded(MINE) == [MINE]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "must be a table of lists"),
        ([1], "must be a table of lists"),
        ({"recommender.ridge": 3.0}, "recommender.ridge needs a list of values, not 3.0"),
        ({"recommender.ridge": []}, "recommender.ridge needs a list of values"),
        ({"recommender.ridge": [1.0, 1.0]}, "recommender.ridge has a value twice"),
        ({"recomender.ridge": [1.0]}, "there is no table 'recomender' on the way to recomender.ridge"),
        ({"recommender.ridge": [float(i) for i in range(MOST_PLANS + 1)]}, "holds 201 plans, and 200 are the most"),
    ],
)
def test_what_is_no_space_is_told(space: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expanded({**MINE, "space": space})


def test_a_configuration_checks_every_plan_of_a_space() -> None:
    def config(space: dict[str, Any]) -> Any:
        own = [{"name": "mine", "recommender": {"component": "ease"}, "space": space}]
        return parse_config({"data": {"interactions": "x.csv"}, "plans": {"own": own}}, "a test")

    assert [p.name for p in config({"recommender.ridge": [1.0, 2.0]}).own_plans()] == ["mine[ridge=1]", "mine[ridge=2]"]
    with pytest.raises(UnknownNameError) as caught:
        config({"recommender.rigde": [1.0]})
    assert caught.value.hint == "did you mean 'ridge'?"


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["ridge", "seed", "solver"]), st.sets(st.integers(0, 9), min_size=1, max_size=5), min_size=1
    )
)
def test_names_tell_plans_apart_and_stay_the_same(space: dict[str, set[int]]) -> None:
    table = {**MINE, "space": {f"recommender.{key}": sorted(values) for key, values in space.items()}}
    names = [p["name"] for p in expanded(table)]
    assert len(set(names)) == len(names)
    assert names == [p["name"] for p in expanded(table)]
