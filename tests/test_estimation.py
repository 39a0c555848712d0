"""Estimates of plans: ranges, what is unknown and why, and totals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from frugalrec.config import Config, parse_config
from frugalrec.cost import Ledger
from frugalrec.data.dataset import Dataset, Split
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.estimation import JUDGED_ONCE, NOTHING, Estimator, PlanEstimate, Range, total
from frugalrec.evaluation import HEAD_SHARE
from frugalrec.expectations import estimated_plans, estimator_for, too_large
from frugalrec.machine_profile import Profile, hardware
from frugalrec.plan import Plan, Spec
from frugalrec.prices import PriceSheet
from frugalrec.recommenders import fusion
from frugalrec.spending import SpendCap
from frugalrec.testing.data import toy_dataset
from frugalrec.trying import Attempt, Trying, split_of
from frugalrec.work import UNITS

EVERY_RATE = {kind: {1: ((1.0, 1e6),)} for kind in UNITS}
PROFILE = Profile(hardware(), EVERY_RATE)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return toy_dataset(n_users=60, n_items=30, seed=1, cold=3)


def configured(**sections: object) -> Config:
    only = ["popularity", "ease", "sequential", "content-words", "hybrid-words", "sequential-words"]
    table = {"data": {"interactions": "log.csv"}, "plans": {"only": only}, **sections}
    return parse_config(table, "the test's configuration")


def estimates(dataset: Dataset, config: Config, profile: Profile | None) -> dict[str, PlanEstimate]:
    split: Split = split_of(config, dataset)
    estimator = estimator_for(config, split, PriceSheet.load(), profile)
    return {e.name: e for e in estimated_plans(config, dataset, estimator)}


def test_judging_takes_its_time_a_query_and_a_score(dataset: Dataset) -> None:
    nothing = {kind: {1: ((1.0, 1e30),)} for kind in UNITS}
    config = configured(plans={"only": ["popularity"]})
    split = split_of(config, dataset)

    def judged(**rates: float) -> float:
        profile = Profile(hardware(), nothing | {kind: {1: ((1.0, rate),)} for kind, rate in rates.items()})
        estimator = estimator_for(config, split, PriceSheet.load(), profile)
        seconds = estimator.estimate(Plan("all", Spec("popularity"))).stages["evaluate"].seconds
        assert seconds is not None
        return seconds.expected

    queries, tail = len(split.test), DataShape.of(split.train).tail(HEAD_SHARE)
    assert judged(**{"judge-query": 10.0}) == pytest.approx((queries + JUDGED_ONCE) / 10)
    assert judged(judge=1e3) == pytest.approx(queries * dataset.n_items * (2 + tail) / 1e3)


def test_vectors_are_stored_once_and_fetched_where_a_search_made_them(dataset: Dataset) -> None:
    rates = {kind: {1: ((1.0, 1e30),)} for kind in UNITS} | {
        kind: {1: ((1.0, rate),)} for kind, rate in (("store", 10.0), ("fetch", 100.0))
    }
    texts = len(set(dataset.catalog.texts()))
    for seconds, expected in ((0.0, texts / 10), (60.0, texts / 10 + texts / 100)):
        config = configured(tuning={"seconds": seconds})
        found = estimates(dataset, config, Profile(hardware(), rates))["content-words"].stages
        encode, fit = found["encode"].seconds, found["fit"].seconds
        assert encode is not None
        assert fit is not None
        assert encode.expected == pytest.approx(expected)
        assert fit.expected == pytest.approx(0.0, abs=1e-9)


def test_ranges_add_up() -> None:
    a, b = Range.around(10.0, 2.0), Range(1.0, 2.0, 3.0)
    assert a == Range(5.0, 10.0, 20.0)
    assert a + b == Range(6.0, 12.0, 23.0)
    assert (b * 2).to_dict() == {"low": 2.0, "expected": 4.0, "high": 6.0}
    assert b.within(1.0)
    assert not b.within(3.1)


def test_every_default_plan_without_a_transformer_is_known(dataset: Dataset) -> None:
    for name, found in estimates(dataset, configured(), PROFILE).items():
        assert found.seconds is not None, name
        assert found.seconds.low <= found.seconds.expected <= found.seconds.high, name
        assert found.peak_bytes is not None, name
        assert found.month is not None
        assert found.unknown == []
        fit = found.stages["fit"].seconds
        assert fit is not None
        assert fit.low <= fit.expected <= fit.high


def test_tuning_may_choose_what_takes_longer(dataset: Dataset) -> None:
    tuned = estimates(dataset, configured(), PROFILE)["sequential"].stages["fit"].seconds
    fixed = estimates(dataset, configured(tuning={"seconds": 0.0}), PROFILE)["sequential"].stages["fit"].seconds
    assert tuned is not None
    assert fixed is not None
    assert tuned.expected == pytest.approx(fixed.expected)
    assert tuned.high > 2 * fixed.high  # two blocks of states where one was expected


def test_what_tuning_fits_counts_once_as_it_is_fitted_once(dataset: Dataset) -> None:
    tuned, fixed = (estimates(dataset, configured(tuning={"seconds": s}), PROFILE) for s in (60.0, 0.0))
    for name, found in tuned.items():
        for one, stages in ((found, ("encode", "tune", "evaluate")), (fixed[name], ("encode", "fit", "evaluate"))):
            assert one.fitted_by_search == ("tune" in stages)
            times = [one.stages[stage].seconds for stage in stages]
            assert one.seconds == total([one])[0] == sum((t for t in times if t is not None), NOTHING)
    reranked = Plan("r", Spec("ease"), reranker=Spec("linear", {"retriever": Spec("popularity")}))
    learned = Plan("f", Spec("fusion", {"members": (Spec("ease"), Spec("popularity"))}))
    config = configured(tuning={"seconds": 1.0})
    estimator = estimator_for(config, split_of(config, dataset), PriceSheet.load(), PROFILE)
    assert not any(estimator.estimate(plan).fitted_by_search for plan in (reranked, learned))
    # As it then is: a fit of which nothing was spent now.
    ledger = Ledger()
    trying = Trying(config, split_of(config, dataset), None, ledger, SpendCap())
    plans = [*(tuned[name].plan for name in ("popularity", "ease", "hybrid-words")), learned]
    for plan in plans:
        trying(Attempt(plan, plan, seconds=1.0))
    spared = {e.plan: (e.reused.cpu_seconds or 0.0) > 0 for e in ledger.entries if e.name == "fit" and e.depth == 0}
    assert spared == {plan.name: estimator.estimate(plan).fitted_by_search for plan in plans}


def test_a_search_ends_by_its_limit(dataset: Dataset) -> None:
    tune = estimates(dataset, configured(tuning={"seconds": 3.0}), PROFILE)["sequential"].stages["tune"].seconds
    assert tune is not None
    assert tune.expected <= 3.0
    assert estimates(dataset, configured(tuning={"seconds": 0.0}), PROFILE)["ease"].stages["tune"].seconds == Range(
        0, 0, 0
    )


def test_without_a_profile_time_is_unknown_and_memory_is_not(dataset: Dataset) -> None:
    found = estimates(dataset, configured(), None)["ease"]
    assert found.seconds is None
    assert found.month is None
    assert found.peak_bytes is not None
    assert "doctor --calibrate" in " ".join(found.unknown)


def test_a_missing_rate_is_named(dataset: Dataset) -> None:
    profile = Profile(hardware(), {k: v for k, v in EVERY_RATE.items() if k != "invert-f32"})
    found = estimates(dataset, configured(), profile)["ease"]
    assert found.stages["fit"].seconds is None
    assert "invert-f32" in found.stages["fit"].unknown


class Untold(fusion.Fusion):
    """A component of somebody's own, without a formula."""

    expected = None  # type: ignore[assignment]


def test_a_component_without_a_formula_is_unknown(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "Fusion", Untold)
    own = {
        "name": "both",
        "recommender": {"component": "fusion", "members": [{"plan": "ease"}, {"plan": "popularity"}]},
    }
    found = estimates(dataset, configured(plans={"only": ["ease", "popularity"], "own": [own]}), PROFILE)["both"]
    assert found.stages["fit"].seconds is None
    assert found.peak_bytes is None
    assert "fusion has no cost formula" in found.unknown


def test_texts_that_an_endpoint_encodes_are_priced_and_no_time_is_made_up(dataset: Dataset) -> None:
    encoder = {"component": "http", "url": "http://localhost:1/v1", "model": "m", "dimensions": 8}
    own = {"name": "bought", "recommender": {"component": "content", "encoder": encoder}}
    config = configured(plans={"only": ["popularity"], "own": [own]})
    split = split_of(config, dataset)
    listed = replace(PriceSheet.load(), tokens={"m": {"in": 1e6, "out": 0.0, "cached": 0.0}})  # a token is 1
    unlisted = replace(listed, tokens={}, tokens_from="")
    for prices in (listed, unlisted):
        estimator = estimator_for(config, split, prices, PROFILE)
        encode = next(e for e in estimated_plans(config, dataset, estimator) if e.name == "bought").stages["encode"]
        assert encode.tokens is not None
        letters = sum(len(text) for text in set(split.train.catalog.texts()))
        assert encode.tokens.expected == pytest.approx(letters / 4)
        assert encode.tokens.high == pytest.approx(1.5 * encode.tokens.expected)
        assert encode.seconds is None
        assert encode.peak_bytes is not None
        if prices is unlisted:
            assert encode.money is None
            assert "no token price for 'm'" in encode.unknown
        else:
            assert encode.money is not None
            assert encode.money.expected == pytest.approx(encode.tokens.expected, rel=1e-3)
            assert encode.money.low == pytest.approx(encode.tokens.low, rel=1e-3)
            assert "how fast the endpoint of m answers" in encode.unknown


def test_a_price_that_a_plan_calls_unknown_is_not_looked_up_on_the_sheet(dataset: Dataset) -> None:
    endpoint = {"component": "http", "url": "http://localhost:1/v1", "model": "m", "price": "unknown"}
    encoding = {"name": "read", "recommender": {"component": "content", "encoder": {**endpoint, "dimensions": 8}}}
    asking = {"name": "asked", "recommender": {"plan": "popularity"}}
    asking["reranker"] = {"component": "likelihood", "model": endpoint}
    config = configured(plans={"only": ["popularity"], "own": [encoding, asking]})
    listed = replace(PriceSheet.load(), tokens={"m": {"in": 1e6, "out": 1e6, "cached": 0.0}})
    estimator = estimator_for(config, split_of(config, dataset), listed, PROFILE)
    found = {e.name: e for e in estimated_plans(config, dataset, estimator)}
    for stage in (found["read"].stages["encode"], found["asked"].stages["request"]):
        assert stage.tokens is not None
        assert stage.money is None
        assert "nobody knows the price of m (price = 'unknown')" in stage.unknown
    for name in ("read", "asked"):
        assert found[name].money is None
    assert found["asked"].month is None


def test_the_fit_of_a_reranker_that_practises_is_known(dataset: Dataset) -> None:
    retriever = {"plan": "popularity"}
    own = [
        {"name": name, "recommender": retriever, "reranker": {"component": name, "retriever": retriever, **settings}}
        for name, settings in (
            ("linear", {}),
            ("gated", {"reranker": {"component": "linear", "retriever": retriever}}),
        )
    ]
    found = estimates(dataset, configured(plans={"only": ["popularity"], "own": own}), PROFILE)
    alone = found["popularity"].stages["fit"]
    for name in ("linear", "gated"):
        fit = found[name].stages["fit"]
        assert fit.seconds is not None
        assert alone.flops is not None
        assert fit.flops is not None
        assert fit.flops > 2 * alone.flops
    assert found["linear"].unknown == []
    assert found["gated"].unknown == ["gated cannot tell what a request takes"]


def test_a_foreign_profile_widens_the_range(dataset: Dataset) -> None:
    elsewhere = Profile({"processor": "Z80", "cores": 1, "memory_gib": 1}, EVERY_RATE)
    own, foreign = (estimates(dataset, configured(), p)["ease"].stages["fit"].seconds for p in (PROFILE, elsewhere))
    assert own is not None
    assert foreign is not None
    assert foreign.expected == own.expected
    assert foreign.high > 2 * own.high


def test_corrections_move_what_is_expected(dataset: Dataset) -> None:
    corrected = Profile(hardware(), EVERY_RATE, corrections={"ease.fit": 2.0})
    before, after = (estimates(dataset, configured(), p)["ease"].stages["fit"].seconds for p in (PROFILE, corrected))
    assert before is not None
    assert after is not None
    assert after.expected == pytest.approx(2 * before.expected)


def test_corrections_of_a_recommender_are_not_those_of_a_plan_that_reranks(dataset: Dataset) -> None:
    retriever = {"plan": "popularity"}
    own = [{"name": "ordered", "recommender": retriever, "reranker": {"component": "linear", "retriever": retriever}}]
    config = configured(plans={"only": ["popularity"], "own": own})

    def requests(corrections: dict[str, float]) -> dict[str, float]:
        found = estimates(dataset, config, Profile(hardware(), EVERY_RATE, corrections=corrections))
        return {name: e.stages["request"].seconds.expected for name, e in found.items() if e.stages["request"].seconds}

    plain = requests({})
    assert requests({"popularity.request": 2.0}) == plain | {"popularity": pytest.approx(2.0 * plain["popularity"])}
    assert requests({"popularity+linear.request": 2.0}) == plain | {"ordered": pytest.approx(2.0 * plain["ordered"])}


def test_texts_that_plans_share_are_encoded_once(dataset: Dataset) -> None:
    found = estimates(dataset, configured(), PROFILE)
    chosen = [found["content-words"], found["sequential-words"]]
    once = chosen[0].stages["encode"].seconds
    seconds, money = total(chosen)
    assert once is not None
    assert once.expected > 0
    assert seconds is not None
    assert money is not None
    alone = sum(e.seconds.expected for e in chosen if e.seconds is not None)
    assert seconds.expected == pytest.approx(alone - once.expected)
    untimed = replace(found["ease"], stages={"evaluate": replace(found["ease"].stages["evaluate"], seconds=None)})
    assert total([found["ease"], untimed])[0] is None


def test_what_cannot_fit_is_not_begun(dataset: Dataset) -> None:
    found = estimates(dataset, configured(), None)["ease"]
    assert too_large(found, None) is None
    assert too_large(found, 1e12) is None
    assert "GiB are free" in (too_large(found, 1000.0) or "")


def test_larger_data_take_more(dataset: Dataset) -> None:
    config = configured()
    estimator: Estimator = estimator_for(config, split_of(config, dataset), PriceSheet.load(), PROFILE)
    small = estimator.estimate(Plan("ease", Spec("ease")))
    estimator.shape = estimator.shape.scaled(users=6_000, items=3_000)
    large = estimator.estimate(Plan("ease", Spec("ease")))
    assert small.stages["fit"].flops is not None
    assert large.stages["fit"].flops is not None
    assert large.stages["fit"].flops > 1e4 * small.stages["fit"].flops
    with pytest.raises(ConfigError, match="items must be at least 1"):
        estimator.shape.scaled(items=0)
