from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from frugalrec import metrics, progress, refitting, tuning
from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Fold, Query, Split
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.evaluation import quick_values
from frugalrec.interfaces import Matrix
from frugalrec.learned import held_bytes
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders import ease, sequential_linear
from frugalrec.recommenders._base import Scores
from frugalrec.recommenders._recalled import Recalled
from frugalrec.refitting import Fitted
from frugalrec.testing.data import toy_dataset
from frugalrec.tuning import Search, Tuned, _Climb, tune
from frugalrec.tuning_space import search_space

METRIC = "ndcg@10"
DAY = 86_400.0
WORDS = Spec("bag-of-words", {"dim": 64})


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveLastOut().split(toy_dataset(n_users=40, n_items=30))


def tuned(plan: Plan, split: Split, ledger: Ledger | None = None, **search: Any) -> Tuned:
    return tune(plan, split, METRIC, Search(**{"seconds": 60.0, **search}), ledger or Ledger())


def value_of(plan: Plan, split: Split) -> float:
    pipeline = plan.build().fit(split.train)
    return float(quick_values(pipeline, split.validation, metrics.parse(METRIC)).mean())


def fashion() -> Split:
    """What many chose three years ago against what a few chose this month, as all will from now on."""
    early = [(user, item, item) for user in range(40) for item in (0, 1)]
    late = [(user, item, 1000 + item) for user in range(40, 50) for item in (2, 3, 4)]
    user, item, day = np.array(early + late).T
    items = IdMap([f"i{i}" for i in range(20)])
    events = Interactions.from_events(
        user.astype(np.int32), item.astype(np.int32), IdMap([f"u{u}" for u in range(50)]), items, timestamp=day * DAY
    )
    train = Dataset(events, Catalog(items))
    fold = Fold([Query()] * 10, [np.array([2 + i % 3], dtype=np.int32) for i in range(10)])
    return Split("by hand", train, fold, fold)


def test_the_planted_value_is_found() -> None:
    split = fashion()
    plan = Plan("popularity", Spec("popularity"))
    found = tuned(plan, split)
    by_hand = {
        half_life: value_of(replace(plan, recommender=Spec("popularity", {"half_life_days": half_life})), split)
        for half_life in (0.0, 30.0, 90.0, 365.0)
    }
    best = max(by_hand, key=lambda h: by_hand[h])
    assert best > 0
    assert by_hand[best] > by_hand[0.0]
    assert found.plan.recommender == Spec("popularity", {"half_life_days": best})
    assert found.value == by_hand[best]
    assert {t["settings"]["half_life_days"]: t["value"] for t in found.tried} == by_hand
    assert found.complete


@pytest.mark.parametrize(
    "spec",
    [
        Spec("ease"),
        Spec("ease", {"encoder": WORDS}),
        Spec("item-knn"),
        Spec("user-knn"),
        Spec("sequential-linear"),
        Spec("content", {"encoder": WORDS}),
        Spec("hybrid", {"members": (Spec("item-knn"), Spec("content", {"encoder": WORDS}))}),
    ],
    ids=lambda spec: spec.component + (" with text" if "encoder" in spec.settings else ""),
)
def test_the_tuned_plan_is_as_good_as_it_says_and_no_worse_than_the_default(spec: Spec, split: Split) -> None:
    plan = Plan("p", spec)
    found = tuned(plan, split)
    # What was fitted piece by piece, with only what changed redone, is what a fit from nothing gives.
    assert found.value == pytest.approx(value_of(found.plan, split), abs=1e-9)
    assert found.value >= value_of(plan, split)
    assert found.value == max(t["value"] for t in found.tried)
    settings = [tuple(map(repr, t["settings"].values())) for t in found.tried]
    assert len(set(settings)) == len(settings), "tried the same settings twice"
    space = search_space(spec)
    assert set(found.plan.recommender.settings) == {*spec.settings, *space}


def test_settings_that_the_plan_fixes_stay(split: Split) -> None:
    spec = Spec("ease", {"history-half-life": 15.0})
    assert set(search_space(spec)) == {"ridge"}
    found = tuned(Plan("p", spec), split)
    assert found.plan.recommender.settings["history-half-life"] == 15.0
    assert set(found.plan.recommender.settings) == {"history-half-life", "ridge"}
    assert all(set(t["settings"]) == {"ridge"} for t in found.tried)


def test_where_nothing_is_open_nothing_is_searched(split: Split) -> None:
    for spec in (Spec("chance"), Spec("popularity", {"half_life_days": 30.0})):
        found = tuned(Plan("p", spec), split)
        assert found.plan == Plan("p", spec)
        assert np.isnan(found.value)
        assert (found.tried, found.complete) == ((), True)


def test_settings_about_text_need_an_encoder() -> None:
    assert set(search_space(Spec("ease"))) == {"ridge", "history_half_life"}
    assert {"text_weight", "text_ridge", "whitening"} < set(search_space(Spec("ease", {"encoder": WORDS})))
    stage, values = search_space(Spec("ease"))["ridge"]
    assert stage == "solve"
    assert 300.0 in values


def test_no_time_or_no_requests_is_no_search(split: Split) -> None:
    plan = Plan("p", Spec("ease"))
    assert tuned(plan, split, seconds=0.0).tried == ()
    assert tuned(plan, replace(split, validation=Fold([], []))).tried == ()


@pytest.mark.parametrize("component", ["ease", "user-knn"])
def test_the_deadline_ends_the_search(component: str, split: Split) -> None:
    plan = Plan("p", Spec(component))
    found = tuned(plan, split, seconds=1e-9)
    assert not found.complete
    assert len(found.tried) == 1  # the defaults, which somebody has to be
    assert found.value == pytest.approx(value_of(plan, split), abs=1e-9)


class HeavyBlocks(sequential_linear.SequentialLinear):
    """Says of itself that a second block takes ten thousand times as long as one."""

    def work(self, n_items: int) -> float:
        return 1e4 ** len(self._decays())


def test_what_needs_no_other_fit_is_searched_though_the_first_took_all_the_time(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(tuning.time, "process_time", lambda: clock[0])
    fit = ease.Ease.solve

    def slow(self: ease.Ease, statistics: Any) -> ease.Ease:
        clock[0] += 90.0
        return fit(self, statistics)

    monkeypatch.setattr(ease.Ease, "solve", slow)
    found = tuned(Plan("ease", Spec("ease")), split, seconds=60.0)
    assert clock[0] == 90.0
    assert {note["settings"]["history_half_life"] for note in found.tried} == {0.0, 1.0, 2.0, 5.0, 15.0}
    assert {note["settings"]["ridge"] for note in found.tried} == {300.0}
    assert not found.complete


def test_what_would_not_be_done_in_time_is_not_begun(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequential_linear, "SequentialLinear", HeavyBlocks)
    found = tuned(Plan("p", Spec("sequential-linear")), split, seconds=5.0)
    assert not found.complete
    blocks = {len(t["settings"]["half_lives"]) + bool(t["settings"]["gap_half_life"]) for t in found.tried}
    assert blocks == {1}
    assert {t["settings"]["ridge"] for t in found.tried} == {10.0, 30.0, 100.0, 300.0}  # the rest goes on


def test_values_that_the_data_cannot_support_are_passed_over() -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=30, n_items=20, timestamps=False))
    found = tuned(Plan("p", Spec("sequential-linear")), split)
    passed_over = [t for t in found.tried if "passed_over" in t]
    assert passed_over
    assert all(t["settings"]["gap_half_life"] == 60.0 for t in passed_over)
    assert "needs timestamps" in passed_over[0]["passed_over"]
    assert all("value" not in t for t in passed_over)
    assert found.plan.recommender.settings["gap_half_life"] == 0.0
    assert found.value > 0


@dataclass
class CountingEase(ease.Ease):
    calls: ClassVar[Counter[str]] = Counter()

    def accumulate(self, interactions: Interactions) -> Any:
        self.calls["accumulate"] += 1
        return super().accumulate(interactions)

    def solve(self, statistics: Any) -> Any:
        self.calls["solve"] += 1
        return super().solve(statistics)


@dataclass
class CountingSequential(sequential_linear.SequentialLinear):
    seen: ClassVar[list[tuple[Any, ...]]] = []

    def accumulate(self, interactions: Interactions) -> Any:
        self.seen.append((self.half_lives, self.gap_half_life, self.target_half_life, self.reversed_weight))
        return super().accumulate(interactions)


def test_statistics_are_summed_up_once_for_many_solves(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "Ease", CountingEase)
    CountingEase.calls.clear()
    found = tuned(Plan("p", Spec("ease")), split)
    ridges = {t["settings"]["ridge"] for t in found.tried}
    assert ridges == {30.0, 100.0, 300.0, 1000.0, 3000.0}
    assert len(found.tried) > len(ridges)
    assert CountingEase.calls["accumulate"] == 1
    # Half-lives of the history are tried on weights that are there already.
    assert CountingEase.calls["solve"] < len(found.tried)


def test_statistics_are_summed_up_again_only_when_they_change(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequential_linear, "SequentialLinear", CountingSequential)
    CountingSequential.seen.clear()
    found = tuned(Plan("p", Spec("sequential-linear")), split)
    seen = CountingSequential.seen
    assert all(one != next_ for one, next_ in itertools.pairwise(seen))
    assert len(seen) < len(found.tried)


def test_a_reranker_is_left_out_of_the_search_and_kept_in_the_plan(split: Split) -> None:
    reranker = Spec("likelihood", {"model": Spec("llama-cpp")})
    found = tuned(Plan("p", Spec("popularity"), reranker=reranker, about="x"), split)
    assert found.plan.reranker == reranker
    assert found.plan.about == "x"
    assert found.tried


def test_a_sample_of_the_validation_fold_is_searched_on(split: Split) -> None:
    plan = Plan("p", Spec("popularity"))
    values = {tuned(plan, split, max_queries=10, seed=seed).value for seed in (1, 1, 2, 3)}
    assert len(values) > 1
    assert tuned(plan, split, max_queries=10, seed=1).value in values


def test_the_search_is_on_nobody_s_bill_but_its_own(split: Split) -> None:
    ledger = Ledger()
    heard: list[str] = []
    with progress.listening(lambda stage, done, total: heard.append(stage)):
        tuned(Plan("p", Spec("popularity")), split, ledger)
    assert ledger.total(plan="p").seconds == 0.0
    assert ledger.total(plan="p (tuning)", phase="once").seconds > 0  # type: ignore[operator]
    assert set(heard) == {"tune p"}


@dataclass(init=False)
class Opinion(Scores):
    """Scores that do not depend on the query; counts how often it is asked."""

    best: tuple[int, ...]
    asked: int

    def __init__(self, *best: int) -> None:
        self.best, self.asked = best, 0

    def fit(self, dataset: Dataset) -> Opinion:
        self.n_items_ = dataset.n_items
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        self.asked += 1
        scores = np.zeros((len(queries), self.n_items_), dtype=np.float32)
        scores[:, list(self.best)] = 1.0
        return scores


def test_each_member_gets_a_weight_of_its_own_and_is_asked_once() -> None:
    # Items 2, 3 and 4 are chosen: the second member misleads, the third knows.
    split = fashion()
    specs = tuple(Spec("chance", {"seed": seed}) for seed in range(3))
    opinions = (Opinion(0), Opinion(5, 6, 7, 8), Opinion(2, 3, 4))
    known = [Fitted(spec, one.fit(split.train), 2.0) for spec, one in zip(specs, opinions, strict=True)]
    plan = Plan("blend", Spec("hybrid", {"members": specs, "method": "scale"}))
    climb = _Climb(plan, split, METRIC, Search(), None, search_space(plan.recommender), {}, math.inf, known)
    assert climb._settings == {"weights": (1.0, 1.0, 1.0)}
    found = climb.run()
    first, misled, knows = found.plan.recommender.settings["weights"]
    assert misled == 0.0
    assert knows > 0
    # The first member is no better: with it alone at weight 0, the value is reached too.
    assert first < 1.0 or found.value == max(entry["value"] for entry in found.tried if entry["settings"]["weights"][0])
    # Once to learn the scale of its scores, once for the first block of the fold, once for the rest.
    assert climb._model.pipeline is not None
    assert [member.asked for member in climb._model.pipeline.recommender.members] == [3, 3, 3]
    assert found.value == max(entry["value"] for entry in found.tried)
    # Members that are known are not fitted again, and stay as they are; what they took is told.
    assert [one.recommender.asked for one in known] == [0, 0, 0]
    assert found.fit_seconds > 6.0


def test_what_does_not_fit_into_memory_is_asked_again() -> None:
    member, queries = Opinion(1), [Query(), Query()]
    member.fit(fashion().train)
    recalled = Recalled(member, Fold(queries, []), limit_bytes=4 * 20 * 2)
    first = recalled.score(queries)
    assert recalled.score(queries) is first
    recalled.score(queries[:1])
    recalled.score(queries[:1])
    assert member.asked == 3
    assert recalled.best == (1,)
    recalled.score([Query()])
    recalled.change("best", (2,))
    assert recalled.score(queries)[0, 2] == 1.0
    recalled.change("best", (1,))
    assert recalled.score(queries) is first
    assert member.asked == 5


def test_what_is_fitted_to_the_same_data_is_not_fitted_again() -> None:
    train, other = fashion().train, toy_dataset(n_users=5, n_items=3)
    member = Opinion(1).fit(train)
    recalled = Recalled(member, Fold([], []), limit_bytes=0, fitted=train)
    assert recalled.fit(train)._member is member
    assert recalled.fit(other).n_items_ == 3
    assert member.n_items_ == train.n_items  # a copy was fitted
    assert recalled.fit(train).n_items_ == train.n_items


def test_a_search_keeps_what_it_fitted_with_the_chosen_settings(split: Split) -> None:
    for component in ("ease", "item-knn", "state-knn", "sequential-linear"):
        plan = Plan(component, Spec(component))
        found = tune(plan, split, METRIC, Search(500.0, keep=True), Ledger())
        assert found.fitted is not None
        assert found.fitted.spec == found.plan.recommender
        queries = split.validation.queries
        again = found.plan.build().fit(split.train).recommender
        np.testing.assert_array_equal(found.fitted.recommender.score(queries), again.score(queries))
        assert found.fitted.cost is None  # nobody asked
        assert tune(plan, split, METRIC, Search(500.0), Ledger()).fitted is None
        costed = tune(plan, split, METRIC, Search(500.0, keep=True, costed=True), Ledger()).fitted
        assert costed is not None
        assert costed.spec == found.fitted.spec
        assert costed.cost is not None


def test_where_memory_has_no_room_for_two_models_none_is_kept(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan("ease", Spec("ease"))
    kept = tune(plan, split, METRIC, Search(500.0, keep=True), Ledger())
    assert kept.fitted is not None
    model = held_bytes(kept.fitted.recommender)
    for free, there in ((4 * model, True), (4 * model - 1, False), (None, True)):
        monkeypatch.setattr(tuning, "available_memory_bytes", lambda free=free: free)
        found = tune(plan, split, METRIC, Search(500.0, keep=True), Ledger())
        assert (found.fitted is not None) == there
        assert found.plan == kept.plan


def test_members_are_set_for_the_whole_unless_the_plan_was_written_with_their_settings(split: Split) -> None:
    found = tuned(Plan("p", Spec("ease")), split).plan.recommender
    alone = found.settings["history_half_life"]
    others = [life for life in (0.0, 1.0, 2.0, 5.0, 15.0) if life != alone]
    best = found.with_settings(history_half_life=others[0])
    plan = Plan("both", Spec("hybrid", {"members": (best, Spec("popularity"))}))
    written = Plan("both", Spec("hybrid", {"members": (Spec("ease"), Spec("popularity"))}))
    open_ = tune(plan, split, METRIC, Search(500.0), Ledger(), written=written)
    tried = {note["settings"]["members.0.history_half_life"] for note in open_.tried}
    assert tried == {0.0, 1.0, 2.0, 5.0, 15.0}
    assert open_.tried[0]["settings"]["members.0.history_half_life"] == others[0]
    ease = open_.plan.recommender.settings["members"][0]
    assert ease.settings.keys() == best.settings.keys()
    assert ease.settings["ridge"] == best.settings["ridge"]
    assert open_.value == value_of(open_.plan, split)
    fixed = tune(plan, split, METRIC, Search(500.0), Ledger())
    assert fixed.plan.recommender.settings["members"] == plan.recommender.settings["members"]
    assert open_.value >= fixed.value
    again = tune(plan, split, METRIC, Search(1e-9), Ledger(), start=open_.plan.recommender.settings, written=written)
    assert again.plan.recommender == open_.plan.recommender


SUMS = {"target_half_life", "reversed_weight", "half_lives", "gap_half_life"}


def test_on_a_large_catalogue_sums_are_chosen_on_a_miniature(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "SMALL_ITEMS", 10)
    summed: list[int] = []
    accumulate = sequential_linear.SequentialLinear.accumulate

    def counted(self: Any, log: Interactions) -> Any:
        summed.append(log.n_items)
        return accumulate(self, log)

    monkeypatch.setattr(sequential_linear.SequentialLinear, "accumulate", counted)
    found = tuned(Plan("sequential", Spec("sequential-linear")), split)
    small = [note for note in found.tried if note.get("miniature")]
    whole = [note for note in found.tried if not note.get("miniature")]
    best = max((note for note in small if "value" in note), key=lambda note: note["value"])
    assert best["settings"].keys() >= SUMS
    assert summed.count(split.train.n_items) == 1
    assert summed.count(10) == len(summed) - 1 > 1
    settings = found.plan.recommender.settings
    chosen = {name: list(v) if isinstance(v := settings[name], tuple) else v for name in SUMS}
    assert chosen == {name: best["settings"][name] for name in SUMS}
    assert all(not SUMS & note["settings"].keys() for note in whole)
    assert found.value == max(note["value"] for note in whole) == value_of(found.plan, split)

    again = tune(Plan("twin", Spec("sequential-linear")), split, METRIC, Search(60.0), Ledger(), start=dict(settings))
    assert not any(note.get("miniature") for note in again.tried)
    assert {name: again.plan.recommender.settings[name] for name in SUMS} == {name: settings[name] for name in SUMS}


def test_on_a_large_catalogue_the_search_solves_block_by_block(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refitting, "DENSE_ITEMS", 20)
    solvers: list[str] = []
    solve = ease.Ease.solve

    def noted(self: Any, statistics: Any) -> Any:
        solvers.append(self.solver)
        return solve(self, statistics)

    monkeypatch.setattr(ease.Ease, "solve", noted)
    found = tuned(Plan("ease", Spec("ease")), split)
    assert set(solvers) == {"sparse"}
    assert "solver" not in found.plan.recommender.settings
    solvers.clear()
    tuned(Plan("ease", Spec("ease", {"solver": "dense"})), split)
    assert set(solvers) == {"dense"}
    solvers.clear()
    members = tuple(Spec("ease", {"solver": solver}) for solver in ("auto", "dense"))
    tuned(Plan("both", Spec("hybrid", {"members": members, "method": "scale"})), split)
    assert solvers == ["sparse", "dense"]


def test_members_of_a_fusion_are_fitted_before_its_time_begins(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.time, "process_time", clock := iter(range(10**6)).__next__)
    fit = ease.Ease.fit

    def slow(self: Any, dataset: Any) -> Any:
        for _ in range(1000):
            clock()
        return fit(self, dataset)

    monkeypatch.setattr(ease.Ease, "fit", slow)
    members = (Spec("ease"), Spec("popularity"))
    plan = Plan("both", Spec("hybrid", {"members": members, "method": "scale"}))
    assert len(tuned(plan, split, seconds=500.0).tried) > 5


def test_a_search_of_so_many_fits_does_the_same_however_long_they_take() -> None:
    split = LeaveLastOut().split(toy_dataset(n_users=60, n_items=30, seed=1))
    plan = Plan("sequential", Spec("sequential-linear", {"solver": "dense"}))
    found = {n: tune(plan, split, "ndcg@10", Search(60.0, fits=n), Ledger()) for n in (1.0, 4.0, 5.0)}
    assert [len(one.tried) for one in found.values()] == [1, 4, 5]
    assert [one.fits for one in found.values()] == [1.0, 4.0, 5.0]
    # Sums come first; two blocks of states would take more than all of these.
    assert [one.stopped_at for one in found.values()] == ["target_half_life", "half_lives", "half_lives"]
    assert not any(one.complete for one in found.values())
    # rows³ / 3 + 2 · rows² · items with two blocks of states is 32/7 of what it is with one.
    on = {**{n: found[5.0].plan.recommender.settings[n] for n in ("ridge", "frequency_ridge")}}
    for fits, tried in ((5.5, 1), (5.6, 2)):
        search = Search(60.0, fits=fits, first="half_lives", passes=1)
        last = tune(plan, split, "ndcg@10", search, Ledger(), start=on).tried
        assert sum(note["settings"]["half_lives"] == [1.5, 15.0] for note in last) == tried - 1
