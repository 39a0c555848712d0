from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frugalrec import registry
from frugalrec.config import parse_config
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset
from frugalrec.evaluation import Trial
from frugalrec.learned import Ready
from frugalrec.plan import Plan, Spec
from frugalrec.refitting import Fitted
from frugalrec.spending import SpendCap
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.data import toy_dataset
from frugalrec.trying import Attempt, Trying, item_vectors, split_of
from frugalrec.tuning import Search, tune

WORDS = Spec("bag-of-words", {"dim": 64})
EASE, SEQUENTIAL, NEIGHBOURS = Spec("ease"), Spec("sequential-linear"), Spec("state-knn")
READING = Spec("sequential-linear", {"encoder": WORDS})
CONTENT = Spec("content", {"encoder": WORDS})


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy_dataset(n_users=50, n_items=30, cold=3)


def trying(dataset: Dataset, store: ArrayCache | None = None) -> Trying:
    config = parse_config({"data": {"interactions": "x.csv"}, "evaluation": {"timed_queries": 3}}, "a test")
    return Trying(config, split_of(config, dataset), item_vectors(dataset), Ledger(), SpendCap(), store)


def searched(plan: Plan, where: Trying, known: list[Fitted], written: Plan | None = None) -> tuple[Plan, Fitted | None]:
    search = Search(60.0, keep=True, costed=True, passes=1)
    found = tune(plan, where.split, "ndcg@10", search, Ledger(), where.store, written=written, known=known)
    return found.plan, found.fitted


def assert_alike(one: Trial, other: Trial) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    assert one.slice_values.keys() == other.slice_values.keys()
    for name, values in other.slice_values.items():
        np.testing.assert_array_equal(one.slice_values[name], values)
    assert (one.plan, one.quality, one.slices, one.lists) == (other.plan, other.quality, other.slices, other.lists)
    assert (one.model_bytes, one.disk_bytes) == (other.model_bytes, other.disk_bytes)
    for phase in ("once", "refresh", "request"):
        assert one.cost[phase].flops == pytest.approx(other.cost[phase].flops, rel=1e-12)
        assert one.cost[phase].fees == other.cost[phase].fees
        assert one.cost[phase].joules == other.cost[phase].joules
    # Measured, not counted: what was spent in the search is not free.
    assert one.cost["refresh"].cpu_seconds > 0.0  # type: ignore[operator]


@pytest.mark.parametrize("stored", [False, True], ids=["", "stored"])
@pytest.mark.parametrize(
    "spec",
    [
        Spec("popularity"),
        Spec("item-knn"),
        Spec("user-knn"),
        Spec("als"),
        EASE,
        Spec("ease", {"encoder": WORDS}),
        SEQUENTIAL,
        NEIGHBOURS,
        READING,
        CONTENT,
        Spec("content", {"encoder": Spec("bm25")}),
        Spec("text-mapping", {"member": EASE, "encoder": WORDS}),
        Spec("hybrid", {"members": (EASE, CONTENT)}),
        Spec("hybrid", {"members": (READING, NEIGHBOURS, EASE), "method": "scale"}),
    ],
    ids=lambda spec: spec.component + ("" if "encoder" not in spec.settings else " with text"),
)
def test_what_a_search_has_fitted_is_judged_as_a_fit_from_nothing(
    spec: Spec, stored: bool, dataset: Dataset, tmp_path: Path
) -> None:
    if extra := registry.missing_extra("recommender", spec.component):
        pytest.skip(f"needs the extra '{extra}'")
    store = ArrayCache(tmp_path / "arrays.sqlite") if stored else None
    known: list[Fitted] = []
    members = []
    for place, member in enumerate(spec.settings.get("members", ())):
        plan, fitted = searched(Plan(f"m{place}", member), trying(dataset, store), known)
        members.append(plan.recommender)
        known += [fitted] if fitted is not None and place != 1 else []  # one of them is fitted with the whole
    written = Plan("p", spec)
    plan = Plan("p", spec.with_settings(members=tuple(members)) if members else spec)
    plan, fitted = searched(plan, trying(dataset, store), known, written)
    assert fitted is not None
    ready = fitted.ready()
    assert ready is not None
    assert ready.fits(plan)
    handed, afresh = trying(dataset, store), trying(dataset, store)
    one = handed(Attempt(plan, plan, ready=ready))
    other = afresh(Attempt(plan, plan))
    assert_alike(one, other)
    (fit,) = (entry for entry in handed.ledger.entries if entry.name == "fit" and entry.depth == 0)
    assert fit.cost.flops == 0.0  # it was spent in the search
    assert fit.whole.flops == one.cost["refresh"].flops
    if members:
        # Members' own settings were moved, and the fitted ones are as the plan says.
        assert plan.recommender.settings["members"] != written.recommender.settings["members"]
    if store is not None:
        store.close()


def test_only_the_very_same_plan_takes_what_is_ready(dataset: Dataset) -> None:
    where = trying(dataset)
    plan, fitted = searched(Plan("p", EASE), where, [])
    assert fitted is not None
    ready = fitted.ready()
    assert isinstance(ready, Ready)
    assert ready.fits(Plan("another name", plan.recommender))
    assert not ready.fits(Plan("p", plan.recommender.with_settings(ridge=17.0)))
    assert not ready.fits(Plan("p", plan.recommender, reranker=Spec("likelihood", {"model": Spec("llama-cpp")})))
    # Where settings are searched once more, what comes of that is what was fitted on the way.
    searched_again = where(Attempt(Plan("p", EASE), Plan("p", EASE), seconds=0.5, ready=ready))
    assert searched_again.tuning
    (fit,) = [entry for entry in where.ledger.entries if entry.name == "fit"]
    assert fit.cost.flops == 0.0
    assert fit.whole.flops == searched_again.cost["refresh"].flops
    assert fit.whole.flops is not None
    assert fit.whole.flops > 0.0
    afresh = where(Attempt(searched_again.plan, searched_again.plan))
    np.testing.assert_array_equal(afresh.values, searched_again.values)
    (_, again) = [entry for entry in where.ledger.entries if entry.name == "fit"]
    assert again.cost.flops == fit.whole.flops


def test_an_attempt_goes_to_workers_without_what_is_ready(dataset: Dataset) -> None:
    plan, fitted = searched(Plan("p", Spec("popularity")), trying(dataset), [])
    assert fitted is not None
    attempt = Attempt(plan, plan, ready=fitted.ready())
    assert Attempt.from_dict(attempt.to_dict()) == attempt
    assert Attempt.from_dict(attempt.to_dict()).ready is None


def test_what_tuning_fitted_is_taken_over_below_a_reranker_that_is_fitted_itself(dataset: Dataset) -> None:
    written = Plan("p", EASE, reranker=Spec("linear", {"retriever": Spec("popularity")}))
    tuning, afresh = trying(dataset), trying(dataset)
    one = tuning(Attempt(written, written, seconds=0.5))
    assert one.tuning
    assert one.plan.reranker == written.reranker
    assert_alike(replace(one, tuning=(), validation=None), afresh(Attempt(one.plan, one.plan)))
    (fit,) = (entry for entry in tuning.ledger.entries if entry.name == "fit" and entry.depth == 0)
    assert fit.reused.flops is not None
    assert fit.reused.flops > 0.0  # the recommender
    assert fit.cost.flops is not None
    assert fit.cost.flops > 0.0  # the reranker
