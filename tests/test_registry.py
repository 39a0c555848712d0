from __future__ import annotations

import dataclasses

import pytest

from frugalrec import registry
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.errors import ConfigError, FrugalrecError, UnknownNameError
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.testing.encoders import HashEncoder


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_component_loads_and_its_name_is_its_file(kind: str) -> None:
    for name in registry.names(kind):
        component = registry.load(kind, name)
        assert dataclasses.is_dataclass(component)
        assert component.__module__ == f"frugalrec.{registry.KINDS[kind]}.{name.replace('-', '_')}"


def test_names_are_sorted_and_hide_private_files() -> None:
    names = registry.names("recommender")
    assert list(names) == sorted(names)
    assert {"chance", "ease", "item-knn"} <= set(names)
    assert not any(name.startswith(("_", "-")) for name in names)


def test_an_unknown_component_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown recommender 'item-kn'") as caught:
        registry.load("recommender", "item-kn")
    assert caught.value.hint == "did you mean 'item-knn'?"
    with pytest.raises(UnknownNameError) as caught:
        registry.load("recommender", "item_knn")
    assert caught.value.hint == "did you mean 'item-knn'?"


def test_what_a_component_needs_is_told_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.missing_extra("recommender", "ease") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert registry.missing_extra("recommender", "als") == "als"
    assert registry.missing_extra("llm", "llama-cpp") == "llm"


def test_settings_are_the_fields_a_plan_may_set() -> None:
    settings = registry.settings_of(ItemKnn)
    assert list(settings) == ["feature-weighting", "neighbours", "shrinkage", "half-life"]
    assert "encoder" in registry.settings_of(registry.load("recommender", "ease"))


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ("TextEncoder", "encoder"),
        ("TextEncoder | None", "encoder"),
        ("tuple[Recommender, ...]", "recommender"),
        ("LanguageModel", "llm"),
        ("Reranker", "reranker"),
        ("float", None),
        ("tuple[float, ...]", None),
    ],
)
def test_the_kind_of_component_that_a_field_takes(annotation: str, kind: str | None) -> None:
    assert registry.kind_of(annotation) == kind


def test_settings_are_given_with_hyphens_or_underscores() -> None:
    for key in ("half-life", "half_life"):
        assert registry.build("recommender", "item-knn", {key: 2.0}).half_life == 2.0


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown setting 'neighbors' in recommender 'item-knn'") as caught:
        registry.build("recommender", "item-knn", {"neighbors": 3})
    assert caught.value.hint == "did you mean 'neighbours'?"
    with pytest.raises(UnknownNameError, match="in the plan 'mine'"):
        registry.build("recommender", "item-knn", {"neighbors": 3}, where="the plan 'mine'")


def test_learned_state_is_no_setting() -> None:
    for key in ("similarity_", "n_items_", "similarity-"):
        with pytest.raises(UnknownNameError):
            registry.build("recommender", "item-knn", {key: 1})


def test_lists_become_tuples_and_whole_numbers_become_floats() -> None:
    model = registry.build("recommender", "sequential-linear", {"half_lives": [1, 2.5], "ridge": 3})
    assert model.half_lives == (1.0, 2.5)
    assert all(type(h) is float for h in model.half_lives)
    assert type(model.ridge) is float


def test_values_of_the_right_type_pass() -> None:
    assert registry.build("recommender", "ease", {"precision": "float64"}).precision == "float64"
    assert registry.build("recommender", "ease", {"encoder": None}).encoder is None
    assert registry.build("split", "leave-last-out", {"repeats": True}).repeats is True
    assert registry.build("recommender", "item-knn", {"neighbours": 7}).neighbours == 7


@pytest.mark.parametrize(
    ("kind", "name", "settings", "message"),
    [
        ("recommender", "item-knn", {"neighbours": 2.0}, "item-knn.neighbours must be int, not 2.0 (float)"),
        ("recommender", "item-knn", {"neighbours": True}, "item-knn.neighbours must be int, not True (bool)"),
        ("recommender", "item-knn", {"half-life": False}, "item-knn.half-life must be float, not False (bool)"),
        ("recommender", "item-knn", {"half-life": "2"}, "item-knn.half-life must be float, not '2' (str)"),
        ("recommender", "ease", {"precision": "float16"}, "must be one of 'float32', 'float64', not 'float16'"),
        ("recommender", "sequential-linear", {"half-lives": 2.0}, "half-lives must be a list, not 2.0 (float)"),
        ("recommender", "sequential-linear", {"half-lives": [2.0, "3"]}, "half-lives must be float, not '3' (str)"),
        ("split", "leave-last-out", {"repeats": 1}, "leave-last-out.repeats must be bool, not 1 (int)"),
    ],
)
def test_values_of_the_wrong_type_are_refused(kind: str, name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.build(kind, name, settings)
    assert message in caught.value.message


def test_the_component_itself_may_refuse_a_value() -> None:
    with pytest.raises(ConfigError, match="ridge must be above 0"):
        registry.build("recommender", "ease", {"ridge": 0})


def test_collaborators_are_handed_through() -> None:
    encoder = HashEncoder()
    assert registry.build("recommender", "content", {"encoder": encoder}).encoder is encoder
    members = [registry.build("recommender", name, {}) for name in ("ease", "item-knn")]
    assert registry.build("recommender", "hybrid", {"members": members}).members == tuple(members)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("content", {"encoder": "onnx"}, "content.encoder must be a component, not 'onnx'"),
        ("content", {"encoder": None}, "content.encoder must be a component, not None"),
        ("ease", {"encoder": [BagOfWords()]}, "ease.encoder must be a component"),
        ("hybrid", {"members": ItemKnn()}, "hybrid.members must be a list of components"),
        ("hybrid", {"members": ["ease", "item-knn"]}, "hybrid.members must be a component, not 'ease'"),
    ],
)
def test_a_plain_value_is_no_component(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.build("recommender", name, settings)
    assert message in caught.value.message
    assert caught.value.hint == 'write a component as { component = "its name" }'


def test_settings_can_be_checked_without_building() -> None:
    assert registry.checked("recommender", "ease", {"ridge": 3}) == {"ridge": 3.0}
    with pytest.raises(FrugalrecError):
        registry.checked("recommender", "ease", {"rigde": 3})


def test_what_a_component_cannot_do_without_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="plan 'mine': reranker 'linear' needs 'retriever'") as caught:
        registry.build("reranker", "linear", {}, where="plan 'mine': reranker 'linear'")
    assert caught.value.hint == 'write retriever = { component = "…" } in it'
    with pytest.raises(ConfigError, match="reranker 'linear' needs 'retriever'"):
        registry.build("reranker", "linear", {})
