"""One plan's recommender, fitted to the same data again and again: of each fit, only what changed is done again."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from frugalrec import registry
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Dataset, Fold
from frugalrec.interfaces import ArrayStore
from frugalrec.learned import Learned, Ready, copied, held_bytes, learned_by, size_of
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.recommenders._recalled import Recalled
from frugalrec.recommenders._sharded import accumulated
from frugalrec.recommenders._statistics import DENSE_ROWS
from frugalrec.tuning_space import place_of, placed
from frugalrec.usage import give_back_memory

RECALL_BYTES = 2**30
"""How much of their members' scores a search over fused recommenders may keep."""

DENSE_ITEMS = 6_000
"""On a larger catalogue, settings are compared with block by block solutions, where a component can choose."""

UNCHARGED = ("flops", "joules")
"""Amounts that are unknown of a fit of which no part says them."""


@dataclass(frozen=True)
class Fitted:
    """A recommender that a search has fitted to its data as ``spec`` says, and the CPU seconds that took, all of it.

    ``cost`` is what a fit from nothing takes. None where nobody asked, and where it is not quite what fitting the plan
    would make: solved block by block where the plan is not, trained for a part of the time, or a fusion that learns.
    """

    spec: Spec
    recommender: Any
    seconds: float
    cost: Cost | None = None

    def ready(self) -> Ready | None:
        """Return what the plan needs no other fit with; None where it does."""
        return None if self.cost is None else Ready(self.spec, Learned.of(self.recommender), self.cost)


@dataclass(frozen=True)
class _Step:
    """A part of a fit: what it took, ``seconds`` of this process, and the bytes that are held of it during the next."""

    cost: Cost
    seconds: float
    held: int = 0


class Refitted:
    """The recommender of ``plan``, fitted to ``train`` with whatever settings of ``space`` are asked for.

    Members of a fusion that are ``known``, fitted to this very data, are not fitted again, and scores of members for
    the queries of ``fold`` are kept. Where a component can end its training at a time limit, it is trained for at most
    ``training_seconds``. ``costed``: what is kept says what a fit from nothing takes.
    """

    def __init__(
        self,
        plan: Plan,
        train: Dataset,
        space: Mapping[str, tuple[str, tuple[Any, ...]]],
        fold: Fold,
        store: ArrayStore | None = None,
        known: Sequence[Fitted] = (),
        *,
        training_seconds: float = 0.0,
        costed: bool = False,
    ) -> None:
        self.plan, self.train, self._space = plan, train, space
        self._fold, self._store, self._known = fold, store, known
        self.own = [name for name in space if not name.startswith("members.")]
        given = {name.replace("_", "-"): value for name, value in plan.recommender.settings.items()}
        self._training_seconds = min(float(given.get("cpu-seconds", 0.0)) or training_seconds, training_seconds)
        self.pipeline: Pipeline | None = None
        self._settings: dict[str, Any] = {}
        self._statistics: tuple[tuple[Any, ...], Any] | None = None
        self._costed = self._exact = costed
        self._steps: dict[str, _Step] = {}
        self._lent: dict[int, _Step] = {}
        self._charged: set[str] = set()

    @property
    def seconds(self) -> float:
        """CPU seconds of the last fit, with what earlier ones and other searches had made of it."""
        return sum(step.seconds for step in self._steps.values())

    @property
    def member_seconds(self) -> float:
        """CPU seconds of the last fit that went into members which nobody had lent; all where it is not told apart."""
        recommender = self._recommender
        places = [place for place, _ in enumerate(getattr(recommender, "members", ())) if place not in self._lent]
        if places and not hasattr(recommender, "rescale"):
            return self.seconds
        return sum(self._steps[f"member {place}"].seconds for place in places)

    @property
    def keeping_seconds(self) -> float:
        """CPU seconds that `kept` is expected to take, after a fit: what it does again of that took as long."""
        return self._steps["fit"].seconds if self._costed and hasattr(self._recommender, "rescale") else 0.0

    @property
    def held_bytes(self) -> int:
        """Bytes of what the last fit made."""
        return held_bytes(_unwrapped(copy.copy(self._recommender)))

    @property
    def _recommender(self) -> Any:
        assert self.pipeline is not None
        return self.pipeline.recommender

    def spec(self, settings: Mapping[str, Any]) -> Spec:
        """Return the recommender with ``settings``, those of its members among them."""
        spec = self.plan.recommender.with_settings(**{name: settings[name] for name in self.own})
        for name in settings.keys() - set(self.own):
            place, setting = place_of(name)
            members = spec.settings["members"]
            spec = spec.with_settings(
                members=placed(members, place, members[place].with_settings(**{setting: settings[name]}))
            )
        return spec

    def work(self, settings: Mapping[str, Any]) -> float:
        """Return how much work fitting with ``settings`` is, as the recommender says; 0 where it does not."""
        if self.pipeline is None or not hasattr(self.pipeline.recommender, "work"):
            return 0.0
        candidate: Any = copy.copy(self.pipeline.recommender)
        for name, value in settings.items():
            setattr(candidate, name, value)
        return float(candidate.work(self.train.n_items))

    def fit(self, settings: dict[str, Any]) -> float | None:
        """Make the recommender what ``settings`` say; return the CPU seconds of a fit, None where it needed none.

        Members are fitted once; only how they score may change.
        """
        if self.pipeline is None:
            self.pipeline = self._built(settings)
        recommender: Any = self.pipeline.recommender
        different = [n for n, v in settings.items() if n not in self._settings or self._settings[n] != v]
        changed = {self._space[name][0] for name in different}
        took = None
        for name in self.own:
            setattr(recommender, name, settings[name])
        if not changed <= {"score"} or not self._settings:
            self._settings = {}  # whatever fails below leaves the model neither here nor there
            began = time.process_time()
            self._fit(recommender, settings)
            took = time.process_time() - began
        elif of_members := [name for name in different if name not in self.own]:
            for name in of_members:
                place, setting = place_of(name)
                recommender.members[place].change(setting, settings[name])
            recommender.rescale(self.train, {place_of(name)[0] for name in of_members})
        self._settings = dict(settings)
        return took

    def is_fitted(self, settings: Mapping[str, Any]) -> bool:
        """Whether the last fit was one with those of ``settings`` that need one."""
        dear = [name for name, (stage, _) in self._space.items() if stage != "score"]
        return bool(self._settings) and all(self._settings[name] == settings[name] for name in dear)

    def kept(self, settings: dict[str, Any]) -> Fitted:
        """Return a copy of the recommender with ``settings``, of which those that need a fit are those of the last."""
        self.fit(settings)
        model: Any = copy.copy(self._recommender)
        if self._costed and hasattr(model, "rescale"):
            # Members are there: what is left of a fit is done again with their settings as chosen, and measured.
            self._steps["fit"] = self._measured(model.fit, self.train)[1]
        model = _unwrapped(model)
        return Fitted(self.spec(settings), copied(model), self.seconds, self._cost() if self._exact else None)

    def _cost(self) -> Cost:
        """Return what a fit from nothing takes: its parts one after another, each beside what is held of the others."""
        total, held = Cost.zero(), 0
        for step in self._steps.values():
            peak = step.cost.peak_bytes
            total += replace(step.cost, peak_bytes=None if peak is None else held + peak)
            held += step.held
        return replace(total, **{name: None for name in UNCHARGED if name not in self._charged})

    def _measured(self, function: Callable[..., Any], *given: Any) -> tuple[Any, _Step]:
        began = time.process_time()
        with Ledger().span("fit") as span:
            made = function(*given)
        took = time.process_time() - began
        assert span.entry is not None
        self._charged |= span.charged.keys()
        unsaid = {name: 0.0 for name in UNCHARGED if name not in span.charged}
        return made, _Step(replace(span.entry.whole, **unsaid), took)

    def _fit(self, recommender: Any, settings: Mapping[str, Any]) -> None:
        if self._statistics is not None and self._statistics[0] != self._key(settings):
            self._statistics = None  # frees the old sums before the new ones are made
        if self._costed:
            # A fit from nothing finds nothing learned, and no memory that others left. A small one takes longer so.
            for name, _ in list(learned_by(recommender)):
                delattr(recommender, name)
            give_back_memory()
        if hasattr(recommender, "accumulate"):
            self._solve(recommender, settings)
            return
        for place, recalled in enumerate(getattr(recommender, "members", ())):
            if place in self._lent:
                self._steps[f"member {place}"] = self._lent[place]
            elif f"member {place}" not in self._steps and hasattr(recommender, "rescale"):
                step = self._measured(recalled.fit, self.train)[1]
                self._steps[f"member {place}"] = replace(step, held=held_bytes(recalled.member))
        self._steps["fit"] = self._measured(recommender.fit, self.train)[1]

    def _solve(self, recommender: Any, settings: Mapping[str, Any]) -> None:
        """Fit from sums, those of an earlier fit where they are the same."""
        read = self._measured(recommender.read, self.train.catalog)[1]
        self._steps["read"] = replace(read, held=held_bytes(recommender))
        if self._statistics is None:
            sums, step = self._measured(accumulated, recommender, self.train.interactions)
            self._statistics = (self._key(settings), sums)
            self._steps["sums"] = replace(step, held=size_of([sums, *getattr(sums, "__dict__", {}).values()]))
            if self._costed:
                give_back_memory()
        self._steps["solve"] = self._measured(recommender.solve, self._statistics[1])[1]

    def _key(self, settings: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the settings that sums depend on."""
        return tuple(settings[n] for n, (stage, _) in self._space.items() if stage == "accumulate")

    def _built(self, settings: Mapping[str, Any]) -> Pipeline:
        """Return the plan's pipeline, members that are known fitted already."""
        plan = replace(self.plan, recommender=self.spec(settings), reranker=None)
        pipeline = plan.build(self._store).encode(self.train)
        recommender: Any = pipeline.recommender
        members, known = list(getattr(recommender, "members", ())), {}
        for place, spec in enumerate(self.plan.recommender.settings["members"] if members else ()):
            if (lent := next((one for one in self._known if one.spec == spec), None)) is None:
                continue
            known[place], members[place] = self.train, copy.copy(lent.recommender)
            self._exact &= lent.cost is not None
            self._lent[place] = _Step(lent.cost or Cost.zero(), lent.seconds, held_bytes(lent.recommender))
            self._charged |= {name for name in UNCHARGED if getattr(lent.cost, name, None) is not None}
        fitted_here = [recommender, *(member for place, member in enumerate(members) if place not in known)]
        self._exact &= is_exact(fitted_here, self.train.n_items)
        for part in fitted_here:
            self._hurry(part)
        if _is_trained(recommender):
            recommender.cpu_seconds = self._training_seconds
        if not members:
            return pipeline
        for name in settings.keys() - set(self.own):
            place, setting = place_of(name)
            setattr(members[place], setting, settings[name])
        limit = RECALL_BYTES // len(members)
        recommender.members = tuple(Recalled(m, self._fold, limit, known.get(p)) for p, m in enumerate(members))
        return pipeline

    def _hurry(self, part: Any) -> None:
        """Let a recommender, or a member, be fitted faster: by blocks where it may, with what is near remembered."""
        if _is_solved_otherwise(part, self.train.n_items):
            part.solver = "sparse"
        if getattr(part, "recalled", {}) is None:
            part.recalled = {}


def is_exact(parts: Sequence[Any], n_items: float) -> bool:
    """Whether what a search fits is just what fitting the plan makes: a recommender and those members that it fits."""
    recommender = parts[0]
    learns = hasattr(recommender, "members") and not hasattr(recommender, "rescale")
    return not (learns or _is_trained(recommender) or any(_is_solved_otherwise(part, n_items) for part in parts))


def _is_trained(recommender: Any) -> bool:
    """Whether a search trains it for a part of the time alone."""
    return "cpu-seconds" in registry.settings_of(type(recommender))


def _is_solved_otherwise(part: Any, n_items: float) -> bool:
    """Whether a search solves it block by block and its plan does not."""
    # Beyond DENSE_ROWS what is left open is solved block by block by itself.
    return DENSE_ITEMS < n_items <= DENSE_ROWS and getattr(part, "solver", "") == "auto"


def _unwrapped(model: Any) -> Any:
    """Give a fusion its members back, without what remembers their scores."""
    if hasattr(model, "members"):
        model.members = tuple(recalled.member for recalled in model.members)
    return model


__all__ = ["DENSE_ITEMS", "RECALL_BYTES", "Fitted", "Refitted", "is_exact"]
