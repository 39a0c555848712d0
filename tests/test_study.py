from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frugalrec import progress
from frugalrec.config import Config, parse_config
from frugalrec.cost import Cost
from frugalrec.data.dataset import Dataset
from frugalrec.data.interactions import Interactions
from frugalrec.errors import BudgetError, ConfigError, DataError, PriceError, UnknownNameError
from frugalrec.machine_profile import Profile, hardware
from frugalrec.narrowing import BASELINES
from frugalrec.plan import Spec
from frugalrec.plan_search import seconds_of
from frugalrec.planner import Decision
from frugalrec.prices import PriceSheet
from frugalrec.recommenders import ease
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.study import Study
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.openai_server import served
from frugalrec.work import UNITS

PRICES = PriceSheet.load()
CHEAP = ["chance", "popularity", "item-knn", "ease"]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy_dataset(n_users=40, n_items=30, cold=2)


def configured(*own: dict[str, Any], only: list[str] | None = None, seconds: float = 20.0, **sections: Any) -> Config:
    return parse_config(
        {
            "data": {"interactions": "toy.csv"},
            "tuning": {"seconds": seconds},
            "evaluation": {"metrics": ["hr@10"], "timed_queries": 5},
            "plans": {"only": CHEAP if only is None else only, "own": list(own)},
            **sections,
        },
        "a test",
    )


def study(dataset: Dataset, folder: Path, config: Config | None = None, **options: Any) -> Study:
    return Study(config or configured(), dataset, PRICES, folder, **options)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def fitted_in(study: Study) -> list[str]:
    return [e.plan for e in study.ledger.entries if e.name == "fit" and e.depth == 0]


def qualities(decision: Decision) -> dict[str, Any]:
    return {c.name: (c.trial.quality, c.trial.slices, c.trial.plan) for c in decision.choices}


def test_a_study_tries_every_plan_and_decides(dataset: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    done = study(dataset, tmp_path / "run", say=said.append)
    decision = done.run()
    assert [c.name for c in decision.choices] == CHEAP
    assert decision.plan in CHEAP
    assert decision.metric == "ndcg@10"
    assert decision.notes == ()
    assert fitted_in(done) == CHEAP
    trials = {c.name: c.trial for c in decision.choices}
    # Items follow one another in this log: whoever looks at what goes together beats popularity, which beats chance.
    assert trials["item-knn"].score.low > trials["popularity"].score.mean > trials["chance"].score.mean  # type: ignore[operator]
    assert trials["chance"].validation is None
    assert trials["ease"].validation is not None
    assert "ridge" in trials["ease"].plan.recommender.settings
    assert trials["ease"].tuning
    assert all(c.bill.month is not None and c.bill.currency == PRICES.currency for c in decision.choices)
    assert [line["plan"] for line in lines_of(tmp_path / "run")] == CHEAP
    assert len(list((tmp_path / "run" / "values").iterdir())) == len(CHEAP)
    assert (tmp_path / "run" / "ledger.jsonl").read_text().count("\n") == len(done.ledger.entries)
    assert [s.split(":")[0] for s in said] == CHEAP


def test_references_get_the_settings_that_were_chosen(dataset: Dataset, tmp_path: Path) -> None:
    both = {"name": "both", "recommender": {"component": "hybrid", "members": [{"plan": "ease"}, {"plan": "knn"}]}}
    knn = {"name": "knn", "recommender": {"component": "item-knn", "shrinkage": 10.0}}
    # "both" is declared before the plan of mine that it builds on.
    decision = study(dataset, tmp_path, configured(both, knn, only=["ease"])).run()
    trials = {c.name: c.trial.plan.recommender for c in decision.choices}
    assert list(trials) == ["ease", "knn", "both"]
    assert trials["both"].settings["members"] == (trials["ease"], trials["knn"])
    assert trials["knn"].settings["shrinkage"] == 10.0
    assert "neighbours" in trials["knn"].settings


def test_without_tuning_the_defaults_are_tried(dataset: Dataset, tmp_path: Path) -> None:
    decision = study(dataset, tmp_path, configured(only=["ease"], seconds=0.0)).run()
    assert decision.choice("ease").trial.plan.recommender == Spec("ease")
    assert decision.choice("ease").trial.validation is None


def interrupted_after(n: int) -> Callable[[str], None]:
    """Return a listener that ends the run when it hears the ``n``-th line."""
    heard: list[str] = []

    def say(line: str) -> None:
        heard.append(line)
        if len(heard) == n:
            raise KeyboardInterrupt

    return say


def test_an_interrupted_study_goes_on_where_it_stopped(dataset: Dataset, tmp_path: Path) -> None:
    cut = study(dataset, tmp_path, say=interrupted_after(2))
    early = cut.run()
    assert cut.interrupted
    assert [c.name for c in early.choices] == CHEAP[:2]
    assert early.notes == ("interrupted when 2 of 4 plans were done: the same command goes on from there",)
    before = (tmp_path / "trials.jsonl").read_text()
    assert [line["plan"] for line in lines_of(tmp_path)] == CHEAP[:2]
    said: list[str] = []
    resumed = study(dataset, tmp_path, say=said.append)
    decision = resumed.run()
    assert fitted_in(resumed) == CHEAP[2:]
    assert said[:2] == [f"{name}: already done, taken from {tmp_path.name}" for name in CHEAP[:2]]
    assert (tmp_path / "trials.jsonl").read_text().startswith(before)
    assert [line["plan"] for line in lines_of(tmp_path)] == CHEAP
    assert qualities(decision) == qualities(study(dataset, tmp_path / "in one go").run())


def test_interrupted_before_anything_is_done_there_is_nothing_to_decide(dataset: Dataset, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress.listening(interrupt):
        study(dataset, tmp_path).run()


def test_a_trial_in_the_middle_of_which_the_run_ends_is_done_again(dataset: Dataset, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "evaluate item-knn":
            raise KeyboardInterrupt

    with progress.listening(interrupt):
        assert len(study(dataset, tmp_path).run().choices) == 2
    resumed = study(dataset, tmp_path)
    resumed.run()
    assert fitted_in(resumed) == CHEAP[2:]
    # The record of what was spent in vain stays.
    record = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert sum(e["plan"] == "item-knn" and e["name"] == "fit" for e in record) == 2


def test_a_finished_study_does_nothing_again(dataset: Dataset, tmp_path: Path) -> None:
    first = study(dataset, tmp_path).run()
    again = study(dataset, tmp_path)
    assert again.run().to_dict() == first.to_dict()
    assert [e.name for e in again.ledger.entries] == ["prepare", "decide"]
    assert len(lines_of(tmp_path)) == len(CHEAP)


def test_half_a_line_at_the_end_is_no_trial(dataset: Dataset, tmp_path: Path) -> None:
    study(dataset, tmp_path).run()
    path = tmp_path / "trials.jsonl"
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:2]) + whole[2][: len(whole[2]) // 2])
    said: list[str] = []
    second = study(dataset, tmp_path, say=said.append)
    second.run()
    assert fitted_in(second) == CHEAP[2:]
    assert said[0] == "one trial of an earlier run could not be read and is done again"
    # What was done then did not end up on the half line.
    third = study(dataset, tmp_path)
    third.run()
    assert fitted_in(third) == []


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY\x01\x00"])
def test_a_trial_without_its_values_is_done_again(content: bytes | None, dataset: Dataset, tmp_path: Path) -> None:
    study(dataset, tmp_path).run()
    values = tmp_path / "values" / f"{lines_of(tmp_path)[1]['key']}.npy"
    values.unlink() if content is None else values.write_bytes(content)
    again = study(dataset, tmp_path)
    again.run()
    assert fitted_in(again) == [CHEAP[1]]


def test_other_prices_traffic_or_budget_need_no_new_trials(dataset: Dataset, tmp_path: Path) -> None:
    study(dataset, tmp_path).run()
    config = configured(traffic={"requests_per_day": 5}, budget={"dollars_per_month": 1e-12}, quality={"floor": 0.0001})
    again = Study(config, dataset, replace(PRICES, machine_hour=99.0), tmp_path)
    decision = again.run()
    assert fitted_in(again) == []
    assert decision.plan is None
    assert decision.nearest_miss is not None


@pytest.mark.parametrize(
    "sections",
    [{"seed": 1}, {"quality": {"metric": "hr@10"}}, {"split": {"min_events": 4}}, {"tuning": {"seconds": 19}}],
    ids=lambda sections: next(iter(sections)),
)
def test_another_way_to_measure_needs_new_trials(sections: dict[str, Any], dataset: Dataset, tmp_path: Path) -> None:
    study(dataset, tmp_path, configured(only=["chance"])).run()
    again = study(dataset, tmp_path, configured(only=["chance"], **sections))
    again.run()
    assert fitted_in(again) == ["chance"]


def test_other_data_need_new_trials(dataset: Dataset, tmp_path: Path) -> None:
    config = configured(only=["chance"])
    study(dataset, tmp_path, config).run()
    other = study(dataset.with_interactions(dataset.interactions.without_users(np.array([0]))), tmp_path, config)
    other.run()
    assert fitted_in(other) == ["chance"]


# Plans that are not tried


def test_what_cannot_be_tried_is_noted_and_the_rest_goes_on(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [
        {"name": "timed", "recommender": {"component": "sequential-linear", "gap_half_life": 60.0}},
        {"name": "on-als", "recommender": {"component": "hybrid", "members": [{"plan": "als"}, {"plan": "timed"}]}},
        {
            "name": "mute",
            "recommender": {"component": "content", "encoder": {"component": "bag-of-words"}},
        },
    ]
    silent = toy_dataset(n_users=30, n_items=20, timestamps=False, text=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said: list[str] = []
    done = study(silent, tmp_path, configured(*plans, only=["popularity", "als"]), say=said.append)
    decision = done.run()
    assert [c.name for c in decision.choices] == ["popularity"]
    assert [s.plan for s in done.skipped] == ["als", "timed", "on-als", "mute"]
    notes = dict(note.split(" was not tried: ", 1) for note in decision.notes)
    assert notes["als"] == "pip install 'frugalrec[als]'"
    assert notes["on-als"] == "it builds on als, which was not tried"
    assert notes["timed"].startswith("gap_half_life needs timestamps, and this log has none")
    assert notes["mute"].startswith("the catalogue has no text")
    assert "timed: not tried (gap_half_life needs timestamps, and this log has none)" in said


def test_a_plan_that_does_not_fit_into_memory_is_noted(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class Huge(ease.Ease):
        def accumulate(self, interactions: Interactions) -> Any:
            return np.empty((1 << 24, 1 << 24))  # more than a process can address

    monkeypatch.setattr(ease, "Ease", Huge)
    decision = study(dataset, tmp_path, configured(only=["popularity", "ease"])).run()
    assert [c.name for c in decision.choices] == ["popularity"]
    assert "ease was not tried" in decision.notes[0]


def test_what_does_not_fit_as_one_dense_system_is_solved_block_by_block(tmp_path: Path) -> None:
    data = toy_dataset(n_users=80, n_items=1500)
    names = ["popularity", "ease"]
    free = study(data, tmp_path / "free", configured(only=names, seconds=0)).run()
    dense = free.choice("ease").trial
    assert "solver" not in dense.plan.recommender.settings
    limit = {"memory_gib": 0.7 * dense.model_bytes / 2**30}
    tight = study(data, tmp_path / "tight", configured(only=names, seconds=0, budget=limit)).run()
    lean = tight.choice("ease").trial
    assert lean.plan.recommender.settings["solver"] == "sparse"
    assert lean.model_bytes < 0.7 * dense.model_bytes
    assert tight.choice("ease").verdict != "over budget"


def test_where_no_plan_can_be_tried_there_is_an_error(tmp_path: Path) -> None:
    data = toy_dataset(n_users=20, n_items=20, timestamps=False)
    plan = {"name": "timed", "recommender": {"component": "sequential-linear", "gap_half_life": 60.0}}
    config = configured(plan, only=["timed"])
    with pytest.raises(DataError, match="no trial to decide on"):
        study(data, tmp_path, config).run()


def test_plans_must_be_told_apart(dataset: Dataset, tmp_path: Path) -> None:
    config = configured({"name": "ease", "recommender": {"component": "ease", "ridge": 1.0}})
    with pytest.raises(ConfigError, match="two plans are called 'ease'") as caught:
        study(dataset, tmp_path, config).run()
    assert caught.value.hint == "give your own plan another name"


@pytest.mark.parametrize("only", [["chance"], []])
def test_a_reference_to_nothing_is_told_before_anything_is_tried(
    only: list[str], dataset: Dataset, tmp_path: Path
) -> None:
    config = configured({"name": "mine", "recommender": {"plan": "esae"}}, only=only)
    with pytest.raises(UnknownNameError, match="unknown plan 'esae'") as caught:
        study(dataset, tmp_path, config).run()
    assert caught.value.hint == "did you mean 'ease'?"
    assert not (tmp_path / "trials.jsonl").exists()


def test_by_default_every_plan_that_applies_is_tried(dataset: Dataset, tmp_path: Path) -> None:
    own = {"name": "mine", "recommender": {"plan": "ease"}}
    names = [p.name for p in study(dataset, tmp_path, configured(own, only=[])).plans]
    assert {"chance", "ease", "content", "sequential-text", "llm-rerank"} < set(names)
    assert names[-1] == "mine"


# Text, and the model to serve


def test_texts_are_encoded_once_for_all_plans_and_runs(dataset: Dataset, tmp_path: Path) -> None:
    store = ArrayCache(tmp_path / "arrays.sqlite")
    config = configured(only=["content-words", "sequential-words"], seconds=0.0)
    first = study(dataset, tmp_path / "one", config, store=store)
    costs = {c.name: c.trial.cost["once"].flops for c in first.run().choices}
    assert costs["content-words"] == pytest.approx(costs["sequential-words"])
    assert costs["content-words"] > 0  # type: ignore[operator]
    spent = [e.cost.flops for e in first.ledger.entries if e.name == "encode" and e.depth == 0]
    assert spent[0] == pytest.approx(costs["content-words"])
    assert spent[1] == 0.0
    second = study(dataset, tmp_path / "two", config, store=store)
    again = {c.name: c.trial.cost["once"].flops for c in second.run().choices}
    assert again == pytest.approx(costs)
    store.close()


def test_diversity_is_measured_on_the_same_vectors_for_all(dataset: Dataset, tmp_path: Path) -> None:
    decision = study(dataset, tmp_path, configured(only=["chance", "popularity"])).run()
    assert all(0 < c.trial.lists["diversity"].mean < 1 for c in decision.choices)  # type: ignore[operator]
    mute = study(toy_dataset(n_users=20, text=False), tmp_path / "mute", configured(only=["chance"])).run()
    assert mute.choice("chance").trial.lists["diversity"].mean is None


def test_the_model_to_serve_knows_all_events(dataset: Dataset, tmp_path: Path) -> None:
    done = study(dataset, tmp_path, configured(only=["popularity"], seconds=0.0))
    before = done.run().choice("popularity").trial
    pipeline = done.final(before.plan)
    known = np.log1p(dataset.interactions.popularity).astype(np.float32)
    np.testing.assert_array_equal(pipeline.recommender.scores_, known)  # type: ignore[attr-defined]
    # What it takes is on its own account.
    assert done.ledger.total(plan="popularity (to serve)").flops == len(dataset.interactions) + dataset.n_items
    assert done.ledger.total(plan="popularity", phase="refresh").flops == before.cost["refresh"].flops


def test_a_log_of_many_repeats_is_told_and_may_be_judged_by_them(dataset: Dataset, tmp_path: Path) -> None:
    log = dataset.interactions
    twice = np.repeat(np.arange(len(log)), 2)
    double = Interactions.from_events(log.user[twice], log.item[twice], log.users, log.items)
    again = int((~double.first_meetings).sum())
    only = ["popularity"]
    (note,) = study(dataset.with_interactions(double), tmp_path / "new", configured(only=only)).run().notes
    assert note.startswith(f"{again:,} of {2 * len(log):,} events return to an item of their user")
    asked = study(dataset.with_interactions(double), tmp_path / "all", configured(only=only, split={"repeats": True}))
    assert asked.run().notes == ()
    assert asked.repeats


def test_a_wrong_split_setting_says_where(dataset: Dataset, tmp_path: Path) -> None:
    config = configured(split={"kind": "leave-last-out", "min_events": 2})
    with pytest.raises(ConfigError, match="min_events must be at least 3"):
        study(dataset, tmp_path, config)


def test_a_twin_with_text_starts_where_the_plan_without_stopped(dataset: Dataset, tmp_path: Path) -> None:
    config = configured(only=["sequential", "sequential-words"], seconds=3.0)
    decision = study(dataset, tmp_path / "run", config).run()
    plain = decision.choice("sequential").trial.plan.recommender.settings
    first = decision.choice("sequential-words").trial.tuning[0]["settings"]
    assert {"ridge", "half_lives"} <= set(plain) & set(first)
    for name in set(plain) & set(first):
        assert first[name] == (list(plain[name]) if isinstance(plain[name], tuple) else plain[name]), name


def test_each_way_to_ask_a_model_is_held_against_its_own_input_order(dataset: Dataset, tmp_path: Path) -> None:
    ways = ("likelihood", "pointwise", "listwise", "setwise")
    with served() as server:
        model = {"component": "http", "url": server.url, "model": "x", "api": "completions", "price": "unknown"}
        own = [
            {
                "name": way,
                "recommender": {"plan": "popularity"},
                "without_lm": "popularity",
                "reranker": {"component": way, "model": model, "depth": 3},
            }
            for way in ways
        ]
        evaluation = {"metrics": ["hr@10"], "timed_queries": 1, "lm_queries": 6}
        config = configured(*own, only=["popularity"], seconds=0.0, evaluation=evaluation)
        decision = study(dataset, tmp_path, config).run()
    pairs = {worth.with_lm: worth for worth in decision.pairs}
    assert set(pairs) == set(ways)
    for way in ways:
        assert pairs[way].without_lm == "popularity"
        assert pairs[way].kind == "per request"
        # A model that counts words has nothing to say here, and every way of asking it says so.
        assert not pairs[way].paid
        assert pairs[way].sentence.startswith(f"The language model did not pay here: {way} ")
        reason = decision.choice(way).reason
        assert reason == "its language model is not shown to beat its own input order, popularity"
    assert decision.plan == "popularity"


def capped(limit: float | None) -> Config:
    model = {"component": "http", "url": "http://127.0.0.1:9/v1", "model": "x", "api": "completions"}
    reranker = {"component": "likelihood", "model": model}
    plan = {"name": "dear", "recommender": {"plan": "popularity"}, "reranker": reranker}
    budget = {} if limit is None else {"lm_dollars": limit}
    return configured(plans={"only": ["popularity"], "own": [plan]}, budget=budget)


def test_a_model_without_a_price_is_an_error_before_any_call(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="no token price for 'x'"):
        study(dataset, tmp_path, capped(None)).run()


def test_a_plan_that_reaches_the_cap_was_not_tried(dataset: Dataset, tmp_path: Path) -> None:
    with served() as server:
        config = capped(1.0).model_dump(mode="json", exclude_unset=True)
        model = config["plans"]["own"][0]["reranker"]["model"]
        model |= {"url": server.url}
        dear = replace(PRICES, tokens={"x": {"in": 2e3, "out": 2e3, "cached": 0.0}})
        done = study(dataset, tmp_path, parse_config(config, "test"))
        done.prices = dear
        decision = done.run()
        assert [c.name for c in decision.choices] == ["popularity"]
        assert any("dear was not tried" in note for note in decision.notes)
        assert done.cap.spent is not None
        assert 0 < done.cap.spent <= 1.0
        made = len(server.requests)
        assert made > 0
        again = study(dataset, tmp_path, parse_config(config, "test"))
        assert again.cap.spent == pytest.approx(done.cap.spent)  # a cap is of the study, not of the process


# Within a search budget

SEARCHED = ["chance", "popularity", "item-knn", "ease", "blend"]
LARGE = toy_dataset(n_users=450, n_items=24)


def searching(seconds: float | None = 60.0, **sections: Any) -> Config:
    return configured(only=SEARCHED, seconds=0.02, search={"seconds": seconds} if seconds else {}, **sections)


def test_a_search_drops_plans_early_and_says_why(tmp_path: Path) -> None:
    done = study(LARGE, tmp_path, searching())
    decision = done.run()
    judged = {c.name for c in decision.choices}
    dropped = {d.plan: d.reason for d in done.dropped}
    assert {"chance", "popularity"} < judged  # what any plan must beat stays in the table
    assert dropped
    assert not judged & set(dropped)
    assert any(re.match(r"dropped at \d+ users: at best 0\.\d+ against 0\.", reason) for reason in dropped.values())
    assert all(any(note.startswith(f"{name} was ") for note in decision.notes) for name in dropped)
    # Items follow one another in this log; what sees that is found among few users as among all.
    everything = study(LARGE, tmp_path / "all", searching(None)).run()
    found = decision.choice(str(decision.plan)).trial.score
    best = max((c.trial.score for c in everything.choices), key=lambda score: score.mean or 0.0)
    assert found.mean > 0.95 * best.mean  # type: ignore[operator]
    assert found.n == best.n  # a whole trial, on all test users


def test_a_budget_that_is_soon_over_still_finds_a_plan(tmp_path: Path) -> None:
    done = study(LARGE, tmp_path, searching(0.001))
    decision = done.run()
    assert decision.plan == "chance"  # the first that was looked at
    assert {d.plan for d in done.dropped} == {*SEARCHED, "sequential", "neighbours"} - {"chance"}
    assert "ease was not looked at: the search budget was over" in decision.notes


def test_a_budget_below_every_plan_is_told(tmp_path: Path) -> None:
    rates = {kind: {1: ((1.0, 1e-3),)} for kind in UNITS}  # a machine on which everything takes ages
    with pytest.raises(BudgetError, match=r"\[search\] leaves no plan to try .*expected to take at least"):
        study(LARGE, tmp_path, searching(0.001), profile=Profile(hardware(), rates)).run()


def test_money_is_a_budget_too() -> None:
    hour = PRICES.price(Cost(cpu_seconds=3600.0, gpu_seconds=0.0, fees=0.0))
    assert hour is not None
    assert seconds_of(None, None, PRICES) is None
    assert seconds_of(None, hour, PRICES) == pytest.approx(3600.0)
    assert seconds_of(60.0, hour, PRICES) == 60.0
    assert seconds_of(7200.0, hour, PRICES) == pytest.approx(3600.0)


def test_an_interrupted_search_goes_on_with_the_best_so_far_and_later_from_there(tmp_path: Path) -> None:
    def say(line: str) -> None:
        if line.startswith("search: "):  # the first rung is done
            raise KeyboardInterrupt

    cut = study(LARGE, tmp_path, searching(), say=say)
    decision = cut.run()
    assert cut.interrupted
    assert len(decision.choices) == 1
    assert decision.plan not in (None, "chance", "popularity")
    assert "interrupted when 1 of" in decision.notes[0]
    looked = (tmp_path / "search.jsonl").read_text(encoding="utf-8")
    resumed = study(LARGE, tmp_path, searching())
    assert decision.plan in {c.name for c in resumed.run().choices}
    after = (tmp_path / "search.jsonl").read_text(encoding="utf-8")
    assert after.startswith(looked)
    keys = [json.loads(line)["key"] for line in after.splitlines()]
    assert len(set(keys)) == len(keys)  # nothing is looked at twice


@pytest.mark.parametrize("moment", ["looking", "judging"])
def test_whenever_a_search_is_interrupted_it_answers_with_the_best_so_far_as_found(moment: str, tmp_path: Path) -> None:
    cut = study(LARGE, tmp_path, searching())
    stopped: list[list[str]] = []

    def report(stage: str, done: int, of: int) -> None:
        # The first plans were looked at on a part of the users; or the best of them all is being fitted.
        looked = [e.plan for e in cut.ledger.entries if e.name == "search"]
        looking = stage == "tune sequential" and "ease (search)" in looked
        if not stopped and (looking if moment == "looking" else stage == "plans"):
            stopped.append(looked)
            raise KeyboardInterrupt

    with progress.listening(report):
        decision = cut.run()
    assert cut.interrupted
    (judged,) = decision.choices
    assert judged.name not in BASELINES
    looked = [e.plan.removesuffix(" (search)") for e in cut.ledger.entries if e.name == "search"]
    assert len(looked) == len(stopped[0]) + (moment == "looking")  # the one that was cut off is the last
    assert not [e for e in cut.ledger.entries if e.name == "tune"]  # nothing is searched any more
    assert fitted_in(cut) == [judged.name]


def test_what_a_search_tried_is_told_of_the_plans_that_it_left(tmp_path: Path) -> None:
    decision = study(LARGE, tmp_path, searching()).run()
    best = decision.choice(str(decision.plan)).trial
    assert len(best.tuning) > 1
    assert best.validation == pytest.approx(max(note["value"] for note in best.tuning if "value" in note), rel=0.1)
    line = next(line for line in lines_of(tmp_path) if line["plan"] == best.name)
    assert line["tuning"] == json.loads(json.dumps(list(best.tuning)))


def test_what_was_fitted_to_all_users_is_judged_as_it_is(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    done = study(LARGE, whole, searching())
    decision = done.run()
    looks = [json.loads(line) for line in (whole / "search.jsonl").read_text(encoding="utf-8").splitlines()]
    ready = {line["plan"]["name"] for line in looks if line.get("ready")}
    judged = {choice.name: choice.trial for choice in decision.choices}
    assert {"popularity", str(decision.plan)} <= set(judged) <= ready
    fits = {entry.plan: entry for entry in done.ledger.entries if entry.name == "fit" and entry.depth == 0}
    assert fits.keys() == judged.keys()
    for name, fit in fits.items():
        assert fit.cost.flops == 0.0  # what it took is in the search
        assert fit.whole.flops == judged[name].cost["refresh"].flops
        assert judged[name].cost["refresh"].seconds > fit.cost.seconds  # type: ignore[operator]
    kept = [json.loads(line) for line in (whole / "estimates.jsonl").read_text(encoding="utf-8").splitlines()]
    actual = [line["actual"] for line in kept if line["plan"] == decision.plan]
    assert judged[str(decision.plan)].cost["refresh"].to_dict() in actual

    # An interruption before anything is judged loses the models: they are fitted again, and the decision is the same.
    cut = tmp_path / "cut"
    cut.mkdir()
    lines = [line for line in looks if "values" in line]
    (cut / "search.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    resumed = study(LARGE, cut, searching())
    again = resumed.run()
    assert again.plan == decision.plan
    assert qualities(again) == qualities(decision)
    assert [d.plan for d in resumed.dropped] == [d.plan for d in done.dropped]
    for choice in again.choices:
        assert choice.trial.cost["refresh"].flops == pytest.approx(judged[choice.name].cost["refresh"].flops, rel=1e-12)
        assert choice.trial.model_bytes == judged[choice.name].model_bytes
        np.testing.assert_array_equal(choice.trial.values, judged[choice.name].values)
    spent = {entry.plan: entry.cost.flops for entry in resumed.ledger.entries if entry.name == "fit"}
    assert all(
        spent[name] == choice.trial.cost["refresh"].flops for name, choice in zip(spent, again.choices, strict=True)
    )


def test_few_users_need_no_rungs(dataset: Dataset, tmp_path: Path) -> None:
    both = {"name": "both", "recommender": {"component": "hybrid", "members": [{"plan": "ease"}, {"plan": "timed"}]}}
    timed = {"name": "timed", "recommender": {"component": "sequential-linear", "gap_half_life": 60.0}}
    silent = toy_dataset(n_users=40, n_items=20, timestamps=False)
    done = study(silent, tmp_path, configured(both, timed, only=["chance", "ease"], search={"seconds": 60.0}))
    decision = done.run()
    assert [c.name for c in decision.choices] == ["chance", "ease"]
    assert decision.choice("ease").trial.tuning  # tuned as without a budget
    reasons = {s.plan: s.reason for s in done.skipped}
    assert reasons["timed"].startswith("gap_half_life needs timestamps")
    assert reasons["both"] == "it builds on timed, which was not tried"


def test_a_search_goes_on_when_only_traffic_changes(tmp_path: Path) -> None:
    study(LARGE, tmp_path, searching()).run()
    again = study(LARGE, tmp_path, searching(traffic={"requests_per_day": 5.0}))
    again.run()
    assert fitted_in(again) == []
    assert [e.plan for e in again.ledger.entries if e.name == "search"] == []
