from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from frugalrec.errors import ConfigError, FrugalrecError, UnknownNameError
from frugalrec.plan import Plan, Spec, is_language_model

CONTENT = Spec("content", {"encoder": Spec("bag-of-words", {"dim": 64})})

numbers = st.floats(0.01, 1e6)
encoders = st.builds(Spec, st.just("bag-of-words"), st.fixed_dictionaries({}, optional={"dim": st.just(64)}))
references = st.builds(lambda name: Spec("plan", {"name": name}), st.text(min_size=1))
leaves = st.one_of(
    st.builds(Spec, st.just("popularity"), st.fixed_dictionaries({}, optional={"half-life-days": numbers})),
    st.builds(Spec, st.just("item-knn"), st.fixed_dictionaries({}, optional={"neighbours": st.integers(1, 99)})),
    st.builds(
        Spec,
        st.just("sequential-linear"),
        st.fixed_dictionaries(
            {},
            optional={
                "half_lives": st.lists(numbers, min_size=1, max_size=3).map(tuple),
                "encoder": encoders,
                "precision": st.sampled_from(["float32", "float64"]),
            },
        ),
    ),
    references,
)
recommenders = st.recursive(
    leaves,
    lambda inner: st.builds(
        Spec,
        st.just("hybrid"),
        st.fixed_dictionaries(
            {"members": st.lists(inner, min_size=2, max_size=3).map(tuple)},
            optional={"weights": st.lists(numbers, min_size=1, max_size=2).map(tuple)},
        ),
    ),
    max_leaves=5,
)
rerankers = st.builds(
    Spec, st.just("likelihood"), st.fixed_dictionaries({"model": st.just(Spec("llama-cpp")), "depth": st.just(5)})
)
plans = st.builds(
    Plan, st.text(min_size=1), recommenders, st.none() | rerankers, without_lm=st.text(), about=st.text(max_size=20)
)


@given(plans)
def test_plans_survive_dicts_json_and_toml(plan: Plan) -> None:
    table = plan.to_dict()
    assert Plan.from_dict(table) == plan
    assert Plan.from_dict(json.loads(json.dumps(table))) == plan
    assert Plan.from_dict(tomllib.loads(tomli_w.dumps(table))) == plan


def test_a_plan_as_people_write_it() -> None:
    plan = Plan.from_dict(
        tomllib.loads(
            """
            name = "mine"
            recommender = { component = "hybrid", weights = [1, 0.5], members = [
              { plan = "ease" },
              { component = "content", encoder = { component = "bag-of-words" } },
            ] }
            """
        )
    )
    members = (Spec("plan", {"name": "ease"}), Spec("content", {"encoder": Spec("bag-of-words")}))
    assert plan == Plan("mine", Spec("hybrid", {"weights": (1, 0.5), "members": members}))
    assert plan.components() == ["recommender:hybrid", "recommender:content", "encoder:bag-of-words"]


EASE = {"component": "ease"}


@pytest.mark.parametrize(
    ("table", "error", "message", "hint"),
    [
        (
            {"name": "p", "recomender": EASE},
            UnknownNameError,
            "unknown key 'recomender'",
            "did you mean 'recommender'?",
        ),
        ({"recommender": EASE}, ConfigError, "a plan needs a name", 'add name = "…"'),
        ({"name": 3, "recommender": EASE}, ConfigError, "a plan needs a name", ""),
        ({"name": "p"}, ConfigError, "plan 'p' needs a recommender", "[recommender]"),
        ({"name": "p", "recommender": "ease"}, ConfigError, "plan 'p' needs a recommender", ""),
        ({"name": "p", "recommender": EASE, "reranker": "likelihood"}, ConfigError, "must be a table", "component ="),
        ({"name": "p", "recommender": {"ridge": 1}}, ConfigError, "p'.recommender: a component needs a name", ""),
        ({"name": "p", "recommender": {"component": "eese"}}, UnknownNameError, "recommender 'eese'", "'ease'"),
        (
            {"name": "p", "recommender": {**EASE, "rigde": 1}},
            UnknownNameError,
            "unknown setting 'rigde' in recommender 'ease' of plan 'p'",
            "did you mean 'ridge'?",
        ),
        (
            {"name": "p", "recommender": {**EASE, "ridge": "high"}},
            ConfigError,
            "recommender 'ease' of plan 'p'.ridge must be float, not 'high'",
            "",
        ),
        ({"name": "p", "recommender": {**EASE, "encoder": "onnx"}}, ConfigError, "must be a component", "component ="),
        (
            {"name": "p", "recommender": {**EASE, "encodr": {"component": "onnx"}}},
            UnknownNameError,
            "unknown setting 'encodr' in recommender 'ease' at plan 'p'.recommender",
            "did you mean 'encoder'?",
        ),
        (
            {"name": "p", "recommender": {**EASE, "ridge": {"component": "onnx"}}},
            ConfigError,
            "setting 'ridge' of recommender 'ease' at plan 'p'.recommender does not take a component",
            "",
        ),
        (
            {"name": "p", "recommender": {**EASE, "encoder": {"component": "onxx"}}},
            UnknownNameError,
            "unknown encoder 'onxx' in plan 'p'.recommender.encoder",
            "did you mean 'onnx'?",
        ),
        (
            {"name": "p", "recommender": {"component": "hybrid", "members": [EASE, {"component": "eese"}]}},
            UnknownNameError,
            "unknown recommender 'eese' in plan 'p'.recommender.members[1]",
            "did you mean 'ease'?",
        ),
        (
            {"name": "p", "recommender": EASE, "reranker": {"component": "linear", "retriever": {"component": "eese"}}},
            UnknownNameError,
            "unknown recommender 'eese' in plan 'p'.reranker.retriever",
            "did you mean 'ease'?",
        ),
        (
            {"name": "p", "recommender": {**EASE, "encoder": {"plan": "words"}}},
            ConfigError,
            "plan 'p'.recommender.encoder: a plan stands for its recommender",
            "component =",
        ),
        (
            {"name": "p", "recommender": {**EASE, "encoder": {"component": "bag-of-words", "dims": 8}}},
            UnknownNameError,
            "unknown setting 'dims' in encoder 'bag-of-words'",
            "did you mean 'dim'?",
        ),
        (
            {"name": "p", "recommender": {"plan": "ease", "ridge": 3}},
            ConfigError,
            "a reference to a plan takes no settings",
            'write { plan = "name" }',
        ),
    ],
)
def test_a_wrong_plan_says_what_is_wrong(
    table: dict[str, Any], error: type[FrugalrecError], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        Plan.from_dict(table)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_references_are_filled_in_at_any_depth() -> None:
    tuned = Plan("ease", Spec("ease", {"ridge": 7.0}))
    outer = Plan("both", Spec("hybrid", {"members": (Spec("plan", {"name": "ease"}), CONTENT)}))
    twice = Plan("twice", Spec("hybrid", {"members": (Spec("plan", {"name": "both"}), Spec("plan", {"name": "ease"}))}))
    plans = {p.name: p for p in (tuned, outer)}
    resolved = twice.resolved(plans).recommender
    assert resolved.settings["members"] == (
        Spec("hybrid", {"members": (tuned.recommender, CONTENT)}),
        tuned.recommender,
    )
    assert twice.resolved(plans).name == "twice"
    assert tuned.resolved({}) == tuned


def test_an_unknown_reference_names_the_nearest() -> None:
    plan = Plan("p", Spec("plan", {"name": "esae"}))
    with pytest.raises(UnknownNameError, match="unknown plan 'esae'") as caught:
        plan.resolved({"ease": Plan("ease", Spec("ease"))})
    assert caught.value.hint == "did you mean 'ease'?"


def test_how_a_plan_uses_a_language_model() -> None:
    plain = Plan("p", Spec("ease"))
    assert plain.language_model == "no"
    assert Plan("p", CONTENT).language_model == "no"
    assert Plan("p", Spec("ease", {"encoder": Spec("onnx")})).language_model == "once"
    assert replace(plain, reranker=Spec("likelihood", {"model": Spec("llama-cpp")})).language_model == "per request"
    assert is_language_model("llm", "llama-cpp")
    assert is_language_model("encoder", "onnx")
    assert not is_language_model("encoder", "bag-of-words")


def test_missing_extras_are_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan("p", Spec("hybrid", {"members": (Spec("als"), Spec("als"), Spec("ease"))}))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert plan.missing_extras() == ["als"]
    assert Plan("p", Spec("ease")).missing_extras() == []


def test_paper_needs_no_arrays() -> None:
    code = "import sys, frugalrec.plan; print([m for m in ('numpy', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
