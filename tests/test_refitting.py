from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from frugalrec import refitting
from frugalrec.cost import Cost, Ledger, Span, charge
from frugalrec.data.dataset import Split
from frugalrec.data.interactions import Interactions
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.learned import distinct_bytes, held_bytes
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders import ease, item_knn, sequential_linear
from frugalrec.refitting import Fitted, Refitted
from frugalrec.testing.data import toy_dataset
from frugalrec.tuning_space import members_space, search_space

EASE = Spec("ease")
HUGE = 2.0**45
"""Bytes beside which what a test really takes is nothing."""


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveLastOut().split(toy_dataset(n_users=40, n_items=30))


def refitted(spec: Spec, split: Split, known: Sequence[Fitted] = (), written: Spec | None = None) -> Refitted:
    space = search_space(spec)
    space |= members_space(space, written or spec)
    return Refitted(
        Plan("p", spec), split.train, space, split.validation, known=known, training_seconds=1.0, costed=True
    )


def cost_of(spec: Spec, split: Split) -> Cost:
    """Return what fitting takes from nothing."""
    ledger = Ledger()
    Plan("p", spec).build().fit(split.train, ledger)
    return ledger.total(phase="refresh")


@dataclass
class DearSums(ease.Ease):
    """Sums take much memory, and so many seconds; solving takes half of that memory."""

    def accumulate(self, interactions: Interactions) -> Any:
        charge(peak_bytes=2 * HUGE, cpu_seconds=100.0)
        return super().accumulate(interactions)

    def solve(self, statistics: Any) -> Any:
        charge(peak_bytes=HUGE, cpu_seconds=10.0)
        return super().solve(statistics)


def test_a_fit_from_nothing_makes_the_sums_too(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "Ease", DearSums)
    model = refitted(EASE, split)
    for ridge in (300.0, 30.0):
        settings = {"ridge": ridge, "history_half_life": 0.0}
        with Ledger().span("search") as search:
            assert model.fit(settings) is not None
        spent = search.entry.cost.cpu_seconds if search.entry is not None else None
        assert spent == pytest.approx(110.0 if ridge == 300.0 else 10.0, abs=5.0)  # sums are made once
        fitted = model.kept(settings)
        assert fitted.cost is not None
        assert fitted.cost.flops == cost_of(fitted.spec, split).flops
        assert fitted.cost.cpu_seconds == pytest.approx(110.0, abs=5.0)
        assert fitted.cost.peak_bytes == pytest.approx(2 * HUGE, rel=1e-3)
        assert fitted.seconds < 5.0  # of this process
    assert model.fit({"ridge": 30.0, "history_half_life": 5.0}) is None


SUMS: list[weakref.ref[Any]] = []


class Summing(sequential_linear.SequentialLinear):
    """Remembers the sums it made; those of another fit must be gone by then."""

    def accumulate(self, interactions: Interactions) -> Any:
        assert all(made() is None for made in SUMS)
        sums = super().accumulate(interactions)
        SUMS.append(weakref.ref(sums))
        return sums


def test_old_sums_are_let_go_of_before_others_are_made(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequential_linear, "SequentialLinear", Summing)
    SUMS.clear()
    spec = Spec("sequential-linear")
    model = refitted(spec, split)
    settings = {name: values[0] for name, (_, values) in search_space(spec).items()}
    for half_life in (1.0, 2.0, 1.0):
        model.fit({**settings, "target_half_life": half_life})
    assert len(SUMS) == 3


@dataclass
class DearSolution(ease.Ease):
    def solve(self, statistics: Any) -> Any:
        charge(peak_bytes=HUGE)
        return super().solve(statistics)


@dataclass
class LargeKnn(item_knn.ItemKnn):
    """Says that its fit takes as much memory as that of `DearSolution`."""

    def fit(self, dataset: Any) -> Any:
        charge(peak_bytes=HUGE)
        return super().fit(dataset)


def test_each_part_of_a_fit_is_done_beside_what_is_held_of_those_before(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ease, "Ease", DearSolution)
    monkeypatch.setattr(item_knn, "ItemKnn", LargeKnn)
    monkeypatch.setattr(refitting, "held_bytes", lambda component: 3 * int(HUGE))
    peaks, lent = {}, []
    for component in ("ease", "item-knn"):
        model = refitted(Spec(component), split)
        settings = dict.fromkeys(search_space(Spec(component)))
        settings = {name: getattr(Plan("p", Spec(component)).build().recommender, name) for name in settings}
        model.fit(settings)
        fitted = model.kept(settings)
        assert fitted.cost is not None
        peaks[component] = fitted.cost.peak_bytes
        lent.append(fitted)
    # Texts are read, and held, before the sums are solved.
    assert peaks == {"ease": pytest.approx(4 * HUGE, rel=1e-3), "item-knn": pytest.approx(HUGE, rel=1e-3)}
    members = Spec("hybrid", {"members": (Spec("item-knn"), Spec("item-knn")), "weights": (1.0, 1.0)})
    model = refitted(members, split)
    model.fit({"method": "scale"})
    fitted = model.kept({"method": "scale"})
    assert fitted.cost is not None
    # Six of them are held when the scales of the scores are learned; that needs next to nothing more.
    assert fitted.cost.peak_bytes == pytest.approx(6 * HUGE, rel=1e-3)
    # What was lent is fitted in its turn: after another member that is held then, or before it.
    linear = lent[0]
    for pair, most in (((Spec("item-knn"), linear.spec), 7), ((linear.spec, Spec("item-knn")), 6)):
        model = refitted(Spec("hybrid", {"members": pair, "weights": (1.0, 1.0)}), split, [linear])
        model.fit({"method": "scale"})
        fitted = model.kept({"method": "scale"})
        assert fitted.cost is not None
        assert fitted.cost.peak_bytes == pytest.approx(most * HUGE, rel=1e-3)


@dataclass
class SlowKnn(item_knn.ItemKnn):
    """Takes a second of the test's clock to be fitted."""

    def fit(self, dataset: Any) -> Any:
        CLOCK.append(1.0)
        return super().fit(dataset)


CLOCK: list[float] = []


def test_what_members_take_is_told_apart_unless_they_were_lent(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    CLOCK.clear()
    monkeypatch.setattr(item_knn, "ItemKnn", SlowKnn)
    monkeypatch.setattr(refitting.time, "process_time", lambda: sum(CLOCK))
    knn, scale = Spec("item-knn"), {"method": "scale"}
    alone = refitted(knn, split)
    settings = {name: getattr(Plan("p", knn).build().recommender, name) for name in search_space(knn)}
    assert alone.fit(settings) == 1.0
    assert (alone.member_seconds, alone.keeping_seconds) == (0.0, 0.0)
    lent = alone.kept(settings)
    pair = Spec("hybrid", {"members": (lent.spec, Spec("ease")), "weights": (1.0, 1.0)})
    for known, seconds in (((), 1.0), ((lent,), 0.0)):
        model = refitted(pair, split, known)
        assert model.fit(dict(scale)) == seconds
        assert model.member_seconds == seconds
        CLOCK.append(2.0)
        model._steps["fit"] = replace(model._steps["fit"], seconds=0.5)
        assert model.keeping_seconds == 0.5  # scales of scores are learned again
    # A fusion that fits its members itself does not tell them apart.
    fusion = Spec("fusion", {"members": (lent.spec, Spec("ease"))})
    model = refitted(fusion, split)
    took = model.fit({"held_share": 0.0})
    assert took == model.member_seconds
    assert took is not None
    assert took >= 1.0
    assert model.keeping_seconds == 0.0


@dataclass
class Untold(ease.Ease):
    def accumulate(self, interactions: Interactions) -> Any:
        charge(flops=None)
        return super().accumulate(interactions)


def say_nothing_of_flops(span: Span | None) -> None:
    assert span is not None
    assert "flops" in span.charged
    span._charges[:] = [{name: n for name, n in span.charged.items() if name != "flops"}]


class Silent(ease.Ease):
    def accumulate(self, interactions: Interactions) -> Any:
        with Ledger().span("of nobody") as span:
            sums = super().accumulate(interactions)
        say_nothing_of_flops(span.parent)
        return sums

    def solve(self, statistics: Any) -> Any:
        with Ledger().span("of nobody") as span:
            super().solve(statistics)
        say_nothing_of_flops(span.parent)
        return self


@pytest.mark.parametrize("component", [Untold, Silent])
def test_work_of_which_nobody_knows_the_amount_stays_unknown(
    component: type, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ease, "Ease", component)
    assert cost_of(EASE, split).flops is None
    model = refitted(EASE, split)
    for ridge in (300.0, 30.0):
        settings = {"ridge": ridge, "history_half_life": 0.0}
        model.fit(settings)
        cost = model.kept(settings).cost
        assert cost is not None
        assert cost.flops is None
        assert cost.cpu_seconds is not None
    ready = model.kept(settings).ready()
    assert ready is not None
    ledger = Ledger()
    Plan("p", ready.spec).build().fit(split.train, ledger, ready)
    assert ledger.total(phase="refresh").flops is None


def test_what_stands_in_for_the_plan_is_not_ready(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"ridge": 300.0, "history_half_life": 0.0}

    def fitted(spec: Spec = EASE) -> Fitted:
        model = refitted(spec, split)
        model.fit(settings)
        return model.kept(settings)

    assert fitted().ready() is not None
    monkeypatch.setattr(refitting, "DENSE_ITEMS", 20)
    stand_in = fitted()
    assert stand_in.recommender.solver == "sparse"
    assert stand_in.cost is None
    assert stand_in.ready() is None
    assert fitted(Spec("ease", {"solver": "dense"})).ready() is not None
    # Neither is what is built on it; with members of its own fitted as the plan says, it is.
    pair = Spec("hybrid", {"members": (stand_in.spec, Spec("popularity")), "weights": (1.0,)})
    for lent, exact in ((stand_in, False), (replace(stand_in, cost=Cost.zero()), True)):
        model = refitted(pair, split, [lent])
        model.fit({"method": "scale"})
        assert (model.kept({"method": "scale"}).ready() is not None) == exact
    # So large a catalogue that the plan itself is solved block by block.
    monkeypatch.setattr(refitting, "DENSE_ROWS", 25)
    assert fitted().ready() is not None


@dataclass
class Timed(ease.Ease):
    cpu_seconds: float = field(default=0.0, metadata={"stage": "accumulate"})


def test_a_training_for_a_part_of_the_time_is_not_ready(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "Ease", Timed)
    model = refitted(EASE, split)
    settings = {"ridge": 300.0, "history_half_life": 0.0}
    model.fit(settings)
    fitted = model.kept(settings)
    assert fitted.recommender.cpu_seconds == 1.0
    assert fitted.ready() is None


def test_a_fusion_that_learns_its_weights_is_not_ready(split: Split) -> None:
    model = refitted(Spec("fusion", {"members": (Spec("item-knn"), Spec("popularity"))}), split)
    for held_share in (0.0, 0.1):
        model.fit({"held_share": held_share})
    fitted = model.kept({"held_share": 0.1})
    assert fitted.ready() is None
    alone = Plan("p", fitted.spec).build().fit(split.train)
    queries = split.validation.queries
    np.testing.assert_array_equal(fitted.recommender.score(queries), alone.score(queries))


def test_what_is_kept_stays_what_it_is_when_others_are_fitted(split: Split) -> None:
    words = Spec("bag-of-words", {"dim": 64})
    members = (Spec("ease"), Spec("content", {"encoder": words}))
    for spec, one, other in (
        (Spec("text-mapping", {"member": Spec("ease"), "encoder": words}), {"ridge": 3.0}, {"ridge": 100.0}),
        (Spec("hybrid", {"members": members, "method": "scale"}), {"members.0.history_half_life": 1.0}, {}),
    ):
        model = refitted(spec, split)
        defaults = {"ridge": 10.0, "whitening": 0.7, "weights": (1.0, 1.0)}
        defaults |= {"members.0.history_half_life": 0.0, "members.1.half_life": 0.0}
        defaults = {name: value for name, value in defaults.items() if name in model._space}
        first, second = {**defaults, **one}, {**defaults, **other}
        model.fit(first)
        fitted = model.kept(first)
        ready = fitted.ready()
        assert ready is not None
        model.fit(second)
        model.kept(second)
        queries = split.validation.queries
        alone = Plan("p", fitted.spec).build().fit(split.train)
        handed = Plan("p", fitted.spec).build().fit(split.train, ready=ready)
        np.testing.assert_array_equal(handed.score(queries), alone.score(queries))
        np.testing.assert_array_equal(fitted.recommender.score(queries), alone.score(queries))
        assert handed.model_bytes == alone.model_bytes == distinct_bytes([ready.learned])
        assert held_bytes(fitted.recommender) >= alone.model_bytes


def test_models_share_what_their_members_learned(split: Split) -> None:
    model = refitted(EASE, split)
    settings = {"ridge": 300.0, "history_half_life": 0.0}
    model.fit(settings)
    lent = model.kept(settings)
    pair = refitted(Spec("hybrid", {"members": (lent.spec, Spec("popularity")), "weights": (1.0,)}), split, [lent])
    pair.fit({"method": "scale"})
    alone, both = lent.ready(), pair.kept({"method": "scale"}).ready()
    assert alone is not None
    assert both is not None
    assert distinct_bytes([alone.learned, both.learned]) == distinct_bytes([both.learned])
