"""A study: every plan tuned, fitted, evaluated and priced on one split, and the decision among them.

Its folder holds what was done as soon as it is done, so that an interrupted study goes on where it stopped:
``trials.jsonl`` and ``values/``, and ``ledger.jsonl``. What is written at the end is in `run_folder`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import frugalrec
from frugalrec import progress
from frugalrec.budgets import Budget
from frugalrec.config import Config
from frugalrec.cost import Ledger, threads
from frugalrec.data.dataset import Dataset, Split
from frugalrec.errors import BudgetError, ConfigError
from frugalrec.estimation import PlanEstimate, encoders_of
from frugalrec.evaluation import Trial
from frugalrec.executors import Executor, Shard, current
from frugalrec.expectations import (
    estimate_words,
    estimated_plans,
    estimator_for,
    keep_comparison,
    plans_of,
    too_large,
    within_memory,
)
from frugalrec.floors import Floor, parse_slices
from frugalrec.forecast import Traffic, bill
from frugalrec.interfaces import ArrayStore
from frugalrec.learned import Ready
from frugalrec.machine import available_memory_bytes
from frugalrec.machine_profile import Profile
from frugalrec.narrowing import BASELINES, Dropped, Looked
from frugalrec.pace import Pace
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.plan_search import SPARE, Halving, seconds_of
from frugalrec.plan_weights import Weights, least_seconds
from frugalrec.planner import Decision, decide
from frugalrec.portfolio import references_of
from frugalrec.prices import PriceSheet
from frugalrec.spending import SpendCap, metering
from frugalrec.trial_files import TrialFiles, key_of
from frugalrec.trying import (
    NOT_TRIED,
    Attempt,
    Tried,
    Trying,
    TryingElsewhere,
    found_alike,
    item_vectors,
    split_of,
    told,
)
from frugalrec.tuning_space import kin, search_space

LONG_SECONDS = 20.0
"""Of plans that are expected to take longer, it is said before they are begun."""

MANY_REPEATS = 0.1
"""The share of events with an item that their user met before from which on it is said that plans leave them out."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Skipped:
    """A plan that was not tried, and why."""

    plan: str
    reason: str


@dataclass(frozen=True)
class _Begun:
    """A plan that is to be tried, under which key it is kept, what is expected of it, and what a search found of it."""

    attempt: Attempt
    key: str
    expected: PlanEstimate
    look: Looked | None = None


@dataclass
class Study:
    """All that a study needs. `run` does it."""

    config: Config
    dataset: Dataset
    prices: PriceSheet
    folder: Path
    store: ArrayStore | None = None
    say: Say = field(default=lambda message: None)
    skipped: list[Skipped] = field(default_factory=list)
    profile: Profile | None = None
    ledger: Ledger = field(default_factory=Ledger)
    dropped: list[Dropped] = field(default_factory=list, init=False)
    interrupted: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.ledger.kept:
            self.ledger = Ledger(self.folder / "ledger.jsonl")
        self.split: Split = split_of(self.config, self.dataset)
        self.estimator = estimator_for(self.config, self.split, self.prices, self.profile)
        self.data_fingerprint = self.dataset.fingerprint()
        # What an earlier run of this folder spent counts: a cap is of the study, not of the process.
        self.cap = SpendCap(
            self.config.budget.lm_dollars, currency=self.prices.currency, path=self.folder / "spent.jsonl"
        )
        self._files = TrialFiles(self.folder, self.say)
        vectors = item_vectors(self.dataset)
        self._trying = Trying(self.config, self.split, vectors, self.ledger, self.cap, self.store)

    @property
    def traffic(self) -> Traffic:
        """How often the recommender is asked and refitted."""
        return Traffic(**self.config.traffic.model_dump())

    @property
    def repeats(self) -> bool:
        """Whether requests may return items of the history."""
        return bool(self.split.settings.get("repeats"))

    @cached_property
    def plans(self) -> list[Plan]:
        """The plans to try, those they refer to included, in an order in which references point backwards."""
        return plans_of(self.config, self.dataset)

    def expected(self) -> list[PlanEstimate]:
        """Return what trying each plan will take, as `estimated_plans`."""
        return estimated_plans(self.config, self.dataset, self.estimator)

    def run(self) -> Decision:
        """Try every plan, or within ``[search]`` the promising ones, and decide.

        Interrupted, it decides among the plans that are finished and sets ``interrupted``; raises `KeyboardInterrupt`
        where none is, `DataError` when no plan could be tried, `BudgetError` when ``[search]`` allows none.
        """
        with metering(self.prices, self.cap):
            return self._run()

    def _run(self) -> Decision:
        with self.ledger.span("prepare", plan="(study)", phase="once"):
            plans = self.plans
        limit = seconds_of(self.config.search.seconds, self.config.search.dollars, self.prices)
        if limit is not None and self.config.compute.parallel == "trials":
            raise ConfigError(
                "[search] drops plans by what those before them reached: they are tried one by one",
                hint="leave out parallel = 'trials', or [search]",
            )
        trials: dict[str, Trial] = {}
        try:
            if limit is None:
                self._try_all(plans, trials)
            else:
                self._search(plans, trials, limit)
        except KeyboardInterrupt:
            if not trials:
                raise
            self.interrupted = True
            self.say("interrupted: deciding among what was finished; press Ctrl-C again to stop at once")
        with self.ledger.span("decide", plan="(study)", phase="once"):
            return self._decided(plans, trials)

    def _decided(self, plans: Sequence[Plan], trials: dict[str, Trial]) -> Decision:
        (self.folder / "shape.json").write_text(json.dumps(self.estimator.shape.to_dict()), encoding="utf-8")
        bills = {t.name: bill(t, self.traffic, self.prices) for t in trials.values()}
        decision = decide(
            list(trials.values()),
            bills,
            Floor.parse(self.config.quality.floor),
            Budget(**self.config.budget.model_dump(exclude={"lm_dollars"})),
            slices=parse_slices(self.config.quality.slices),
            traffic=self.traffic,
            seed=self.config.seed,
        )
        return replace(decision, notes=(*decision.notes, *self._notes(plans, trials)))

    def _notes(self, plans: Sequence[Plan], trials: Mapping[str, Trial]) -> Iterator[str]:
        log = self.dataset.interactions
        again = len(log) - int(log.first_meetings.sum())
        if not self.repeats and again > MANY_REPEATS * len(log):
            yield (
                f"{again:,} of {len(log):,} events return to an item of their user; plans are judged by new items and "
                "return no others ([split] repeats = true, of leave-last-out, for both)"
            )
        if self.interrupted:
            yield f"interrupted when {len(trials)} of {len(plans)} plans were done: the same command goes on from there"
        if self._side_by_side:
            yield f"{self.config.compute.workers} plans at a time were tried: seconds were taken beside other work"
        yield from (f"{s.plan} was not tried: {s.reason}" for s in self.skipped)
        yield from (f"{d.plan} was {d.reason}" for d in self.dropped)

    def _try_all(self, plans: Sequence[Plan], trials: dict[str, Trial]) -> None:
        finished = self._files.finished()
        workers = current() if self._side_by_side else None
        waiting = list(plans)
        while waiting:
            ready = [plan for plan in waiting if self._settled(plan, plans, waiting)] if workers else waiting[:1]
            waiting = [plan for plan in waiting if plan not in ready]
            begun: dict[str, _Begun] = {}
            for plan in ready:
                progress.report("plans", len(plans) - len(waiting) - len(ready), len(plans))
                if (one := self._begin(plan, plans, finished, trials)) is None:
                    continue
                if workers is not None and self._beside_others(one, workers):
                    begun[plan.name] = one
                else:
                    self._finish(one, trials)
            if workers is not None and begun:
                self._finish_elsewhere(begun, workers, trials)
        progress.report("plans", len(plans), len(plans))
        order = {plan.name: place for place, plan in enumerate(plans)}
        in_order = sorted(trials.items(), key=lambda item: order[item[0]])
        trials.clear()
        trials.update(in_order)

    @property
    def _side_by_side(self) -> bool:
        return self.config.compute.parallel == "trials" and self.config.compute.workers > 1

    def _settled(self, plan: Plan, plans: Sequence[Plan], waiting: Sequence[Plan]) -> bool:
        """Whether all that ``plan`` builds on, and the plan whose settings its search begins with, have been tried."""
        open_, skipped = {p.name for p in waiting}, {s.plan for s in self.skipped}
        if not open_.isdisjoint(references_of(plan)):
            return False
        before = plans[: plans.index(plan)]
        alike = (p for p in before if p.name not in skipped and kin(p.recommender, plan.recommender))
        first = next(alike, None)
        return first is None or first.name not in open_

    def _begin(
        self, plan: Plan, plans: Sequence[Plan], finished: Mapping[str, Trial], trials: dict[str, Trial]
    ) -> _Begun | None:
        if (reason := self._not_applicable(plan, trials)) is not None:
            self._skip(plan.name, reason)
            return None
        resolved = plan.resolved({n: t.plan for n, t in trials.items()})
        start = found_alike(resolved, [trials[p.name] for p in plans if p.name in trials])
        attempt = self._attempt(resolved, start, self.config.tuning.seconds)
        if attempt.plan != resolved:
            self.say(f"{plan.name}: solved block by block, as one dense system is not expected to fit into memory")
        key = key_of(attempt.plan, start, self.config, self.data_fingerprint)
        return self._expected(attempt, key, finished, trials)

    def _beside_others(self, one: _Begun, workers: Executor) -> bool:
        """Whether as many plans like this one as there are workers fit into memory, and no cap on money is shared."""
        if self.cap.limit is not None and one.attempt.plan.language_model:
            return False
        free, peak = available_memory_bytes(), one.expected.peak_bytes
        return free is None or (peak is not None and peak.expected * workers.workers <= free)

    def _finish_elsewhere(self, begun: Mapping[str, _Begun], workers: Executor, trials: dict[str, Trial]) -> None:
        """Try plans side by side; each is kept as soon as it is finished."""
        key = f"trials of {self.folder.resolve()} {self.data_fingerprint}"
        cache = getattr(self.store, "path", None)
        make = partial(TryingElsewhere, self.config, self.dataset, self.prices, cache)
        function = workers.remembered(key, make)
        self._encode_for([one.attempt.plan for one in begun.values()])
        shards = [Shard(one.attempt.to_dict()) for one in begun.values()]
        for place, result in workers.completed(function, shards, stage="trials"):
            one = list(begun.values())[place]
            tried = Tried.from_arrays(result.load())
            for entry in tried.entries:
                self.ledger.append(entry)
            self.cap.reserve(0.0).settle(tried.spent)
            if tried.trial is None:
                self._skip(one.attempt.plan.name, tried.reason)
            else:
                self._note(one, tried.trial, trials)

    def _search(self, plans: Sequence[Plan], trials: dict[str, Trial], limit: float) -> None:
        """Drop plans early, then try what is left in full, within ``limit`` CPU seconds, the best first."""
        asked_for = [self.config.search.model_dump(), [plan.to_dict() for plan in plans]]
        key = sha256(json.dumps(asked_for, sort_keys=True).encode()).hexdigest()[:8]
        weights = Weights(self.config, self.estimator, self.prices, self.profile)
        halving = Halving(
            plans,
            self.split,
            self.config,
            limit,
            f"{frugalrec.__version__} {self.data_fingerprint} {threads()}",
            self.folder / "search.jsonl",
            self.ledger,
            self.store,
            self.say,
            refuses=lambda plan: self._not_applicable(plan, None) or self._too_large(plan),
            expects=lambda plan: least_seconds(plan, self.estimator),
            weighs=weights.fit,
            asks=weights.request,
        )
        try:
            halving.run()
        except KeyboardInterrupt:
            if not halving.found:
                raise
            self._cut()
        self.dropped, names = halving.dropped, halving.finalists
        self.dropped += [one for one in halving.members if one.plan not in names]
        self.skipped += [Skipped(one.plan, one.reason) for one in halving.skipped]
        if not names:
            least = "; ".join(f"{s.plan}: {s.reason}" for s in self.skipped)
            raise BudgetError(f"[search] leaves no plan to try ({least})", hint="raise [search] seconds or dollars")
        try:
            self._judge(names, halving, plans, trials, key)
        except KeyboardInterrupt:
            if trials or self.interrupted:
                raise
            self._cut()
            self._judge(names, halving, plans, trials, key)

    def _cut(self) -> None:
        self.interrupted = True
        self.say("interrupted: going on with the best so far alone; press Ctrl-C again to stop at once")

    def _judge(
        self, names: Sequence[str], halving: Halving, plans: Sequence[Plan], trials: dict[str, Trial], key: str
    ) -> None:
        """Try what a search has left, the best first, while there is time; interrupted, the best alone as found."""
        finished, kept, by_name = self._files.finished(), halving.found, {p.name: p for p in plans}
        for i, name in enumerate(names):
            if self.interrupted and trials:
                return
            progress.report("plans", i, len(names))
            known = {n: k.plan for n, k in kept.items()} | {n: t.plan for n, t in trials.items()}
            if (reason := self._not_applicable(by_name[name], known)) is not None:
                self._skip(name, reason)
                continue
            plan, look = by_name[name].resolved(known), kept.get(name)
            rest = 0.0 if look is None else halving.whole(look)
            if trials and halving.left < rest:
                self.dropped.append(Dropped(name, "not judged on the test users: the search budget was over"))
                continue
            start, seconds, first = None, 0.0, ""
            if look is not None and look.share == 1.0:
                # Searched on all users: nothing is left to find.
                plan = replace(plan, recommender=look.plan.recommender)
            else:
                room = 0.0 if self.interrupted else halving.left - SPARE * rest
                start, seconds = self._rest_of_search(plan, look, trials, room, names[i:])
                first = "" if look is None else look.stopped_at
                if not seconds and start is not None:
                    found = {n: v for n, v in start.settings.items() if n in search_space(plan.recommender)}
                    plan = replace(plan, recommender=plan.recommender.with_settings(**found))
            began = time.process_time()
            own = f"{key}-{key_of(by_name[name], None, self.config, self.data_fingerprint)}"
            attempt = self._attempt(plan, start, seconds, first, halving.ready.get(name))
            begun = self._expected(attempt, own, finished, trials)
            if begun is None:
                halving.looks.taken(own)
            elif self._finish(replace(begun, look=look), trials):
                again = look.fit_seconds if look is not None and name in halving.lost else 0.0
                halving.looks.note(own, time.process_time() - began, again)
            halving.ready.pop(name, None)
        progress.report("plans", len(names), len(names))

    def _rest_of_search(
        self, plan: Plan, look: Looked | None, trials: Mapping[str, Trial], room: float, names: Sequence[str]
    ) -> tuple[Spec | None, float]:
        """Return where a search of settings on all users begins, and its seconds: 0 where ``room`` has no other fit."""
        seconds = room / max(1, sum(n not in BASELINES for n in names))
        if look is None:
            return None, max(0.0, min(self.config.tuning.seconds, seconds))
        start = look.plan.recommender
        if (alike := found_alike(plan, list(trials.values()))) is not None:
            start = start.with_settings(**alike.settings)
        enough = seconds > 2 * look.whole_fit_seconds
        return start, min(self.config.tuning.seconds, seconds) if enough else 0.0

    def _encode_for(self, plans: Sequence[Plan]) -> None:
        """Put vectors that several of ``plans`` need into the store, by all workers: they would be made for each."""
        makers: dict[str, list[Plan]] = {}
        for plan in plans if self.store is not None else ():
            for encoder in {json.dumps(spec.to_dict(), sort_keys=True) for spec in encoders_of(plan)}:
                makers.setdefault(encoder, []).append(plan)
        for plan in {users[0].name: users[0] for users in makers.values() if len(users) > 1}.values():
            # What goes wrong here goes wrong in the plans' own trials, and is told there.
            with suppress(*NOT_TRIED), self.ledger.span("encode", plan="(study)", phase="once"):
                plan.build(self.store).encode(self.split.train)

    def _attempt(
        self, plan: Plan, start: Spec | None, seconds: float, first: str = "", ready: Ready | None = None
    ) -> Attempt:
        by_name, lean = {p.name: p for p in self.plans}, self._within_memory(plan)
        ready = ready if ready is not None and ready.fits(lean) else None
        return Attempt(lean, by_name[plan.name].resolved(by_name), start, seconds, first, ready)

    def _within_memory(self, plan: Plan) -> Plan:
        gib = self.config.budget.memory_gib
        return within_memory(plan, self.estimator, available_memory_bytes(), None if gib is None else gib * 2**30)

    def _expected(
        self, attempt: Attempt, key: str, finished: Mapping[str, Trial], trials: dict[str, Trial]
    ) -> _Begun | None:
        """Return a plan with what is expected of it; None where an earlier run did it, or it does not fit."""
        plan = attempt.plan
        if key in finished:
            trials[plan.name] = finished[key]
            self.say(f"{plan.name}: already done, taken from {self.folder.name}")
            return None
        with self.ledger.span("estimate", plan="(study)", phase="once"):
            expected = self.estimator.estimate(plan, attempt.start.settings if attempt.start else None)
        if attempt.ready is not None:
            return _Begun(attempt, key, expected)
        if (reason := too_large(expected, available_memory_bytes())) is not None:
            self._skip(plan.name, reason)
            return None
        if expected.seconds is not None and expected.seconds.expected > LONG_SECONDS:
            self.say(f"{plan.name}: {estimate_words(expected)} expected")
        return _Begun(attempt, key, expected)

    def _finish(self, one: _Begun, trials: dict[str, Trial]) -> bool:
        """Try a plan in full, in this process; whether that could be done."""
        pace = Pace(one.attempt.plan.name, one.expected.stages, self.say)
        try:
            with pace.watching():
                trial = self._trying(one.attempt)
        except NOT_TRIED as error:
            self._skip(one.attempt.plan.name, str(error) or "out of memory")
            return False
        if one.look is not None and not trial.tuning:
            known = one.look.share == 1.0 and one.look.tried and trial.plan.reranker is None
            trial = replace(trial, validation=one.look.mean if known else None, tuning=one.look.tried)
        self._note(one, trial, trials, pace.refined)
        return True

    def _note(
        self, one: _Begun, trial: Trial, trials: dict[str, Trial], refined: Mapping[str, float] | None = None
    ) -> None:
        with self.ledger.span("keep", plan="(study)", phase="once"):
            self._files.keep(trial, one.key)
            trials[trial.name] = trial
            compared = keep_comparison(
                self.folder / "estimates.jsonl", trial, one.expected, self.estimator, self.ledger.entries, refined or {}
            )
        self.say(told(trial, compared))

    def _too_large(self, plan: Plan) -> str | None:
        known = {p.name: p for p in self.plans}
        lean = self._within_memory(plan.resolved(known))
        return too_large(self.estimator.estimate(lean), available_memory_bytes())

    def final(self, plan: Plan) -> Pipeline:
        """Fit ``plan`` to all events, held-out ones included: the model to serve."""
        with (
            metering(self.prices, self.cap),
            self.ledger.span("final fit", plan=f"{plan.name} (to serve)", phase="refresh"),
        ):
            return plan.build(self.store).fit(self.dataset, self.ledger)

    def _not_applicable(self, plan: Plan, tried: Mapping[str, Any] | None) -> str | None:
        for name in references_of(plan):
            if tried is not None and name not in tried:
                return f"it builds on {name}, which was not tried"
        if missing := plan.missing_extras():
            return "; ".join(f"pip install 'frugalrec[{extra}]'" for extra in missing)
        return None

    def _skip(self, plan: str, reason: str) -> None:
        self.skipped.append(Skipped(plan, reason))
        self.say(f"{plan}: not tried ({reason.splitlines()[0]})")
