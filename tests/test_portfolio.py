from __future__ import annotations

from dataclasses import replace

import pytest

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.errors import ConfigError, UnknownNameError
from frugalrec.plan import Plan, Spec
from frugalrec.portfolio import chosen_plans, default_plans, not_applicable, references, references_of
from frugalrec.testing.data import toy_dataset

COLLABORATIVE = ["chance", "popularity", "item-knn", "user-knn", "als", "ease", "sequential", "neighbours", "blend"]
FROM_WORDS = ["content-words", "hybrid-words", "sequential-words", "blend-words"]


def with_titles(dataset: Dataset, titles: list[str]) -> Dataset:
    items = dataset.catalog.items
    return replace(dataset, catalog=Catalog(items, {"title": (titles * len(items))[: len(items)]}, ("title",)))


def like(name: str) -> Spec:
    return Spec("plan", {"name": name})


def test_with_text_there_are_plans_with_and_without_a_language_model() -> None:
    plans = {p.name: p for p in default_plans(toy_dataset())}
    assert len(plans) >= 11
    resolved = [p.resolved(plans) for p in plans.values()]
    assert {p.language_model for p in resolved} == {"no", "once", "per request"}
    for plan in resolved:
        plan.check()
        assert plan.about
        twin = plan.without_lm
        # The plan that reorders on every request is compared with the same plan without that, texts encoded or not.
        expected = {"no": [""], "once": [n for n, p in plans.items() if p.language_model == "no"]}
        assert twin in expected.get(plan.language_model, list(plans))


def test_references_point_backwards() -> None:
    seen: set[str] = set()
    for plan in default_plans(toy_dataset()):
        assert set(references(plan.recommender)) <= seen
        assert plan.name not in seen
        seen.add(plan.name)


def test_without_text_there_are_collaborative_plans_only() -> None:
    for data in (toy_dataset(text=False), with_titles(toy_dataset(), [" "])):
        plans = default_plans(data)
        assert [p.name for p in plans] == COLLABORATIVE
        assert {p.language_model for p in plans} == {"no"}


def test_a_launch_is_planned_where_there_are_new_items() -> None:
    assert "launch-words" not in [p.name for p in default_plans(toy_dataset(cold=5))]
    plans = [p.name for p in default_plans(toy_dataset(cold=10))]
    assert [name for name in plans if name in FROM_WORDS or name == "launch-words"] == [*FROM_WORDS, "launch-words"]
    assert not_applicable("launch-words", toy_dataset()) == (
        "it is for new items, and 0 of 40 items have text and no events"
    )


def test_text_in_a_script_that_the_encoder_does_not_know_goes_to_one_that_does() -> None:
    plans = default_plans(with_titles(toy_dataset(), ["流浪地球", "霸王别姬"]))
    meaning = ["content", "ease-text", "hybrid", "sequential-text", "blend-text", "blend-both"]
    assert [p.name for p in plans] == [*COLLABORATIVE, *FROM_WORDS, *meaning]
    by_name = {p.name: p for p in plans}
    for name in meaning:
        resolved = by_name[name].resolved(by_name)
        resolved.check()
        assert "encoder:e5" in resolved.components()
        assert "encoder:onnx" not in resolved.components()
    mostly_latin = default_plans(with_titles(toy_dataset(), ["Alien", "Heat", "流浪地球"]))
    assert "sequential-text" in [p.name for p in mostly_latin]


A, B = Plan("a", Spec("ease")), Plan("b", Spec("item-knn"))
AB = Plan("ab", Spec("hybrid", {"members": (like("a"), like("b"))}))
ABC = Plan("abc", Spec("hybrid", {"members": (like("ab"), Spec("popularity"))}))


def test_chosen_plans_come_with_those_that_they_refer_to() -> None:
    plans = [A, B, AB, ABC, Plan("other", Spec("chance"))]
    assert chosen_plans(plans, ["abc"]) == [A, B, AB, ABC]
    assert chosen_plans(plans, ["b", "a"]) == [A, B]
    assert chosen_plans(plans, []) == []


def test_a_plan_comes_after_those_that_it_refers_to_whatever_the_order() -> None:
    assert chosen_plans([ABC, AB, B, A], ["abc", "b"]) == [A, B, AB, ABC]


def test_an_unknown_plan_names_the_nearest() -> None:
    for plans, names, told in (
        ([A, B], ["aa"], "unknown plan 'aa'"),
        ([B, ABC], ["abc"], "unknown plan 'ab' in plan 'abc'"),
    ):
        with pytest.raises(UnknownNameError, match=told):
            chosen_plans(plans, names)


def test_plans_that_refer_to_one_another_in_a_circle_are_refused() -> None:
    one, other = Plan("one", like("other")), Plan("other", like("one"))
    with pytest.raises(ConfigError, match="in a circle: one → other → one"):
        chosen_plans([one, other], ["one"])
    with pytest.raises(ConfigError, match="in a circle: self → self"):
        chosen_plans([Plan("self", like("self"))], ["self"])


def test_references_are_found_at_any_depth() -> None:
    assert references(like("a")) == ["a"]
    nested = Spec("hybrid", {"members": (AB.recommender, like("c"))})
    assert references(nested) == ["a", "b", "c"]
    assert references(Spec("ease", {"encoder": Spec("onnx")})) == []


def test_what_a_reranker_refers_to_comes_along() -> None:
    listed = Spec("linear", {"retriever": like("ease")})
    own = Plan("weighed", Spec("popularity"), Spec("gated", {"reranker": listed, "retriever": Spec("popularity")}))
    assert references_of(own) == ["ease"]
    assert [plan.name for plan in chosen_plans([own, Plan("ease", Spec("ease"))], ["weighed"])] == ["ease", "weighed"]
