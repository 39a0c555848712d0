"""A study: every plan tuned, fitted, evaluated and priced on one split, and the decision among them.

Its folder holds what was done as soon as it is done, so that an interrupted study goes on where it stopped:
``trials.jsonl`` and ``values/``, and ``ledger.jsonl``. What is written at the end is in `run_folder`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import frugalrec
from frugalrec import progress, registry
from frugalrec.budgets import Budget
from frugalrec.config import Config
from frugalrec.cost import Ledger, threads
from frugalrec.data.dataset import Dataset, Split
from frugalrec.data.shape import DataShape
from frugalrec.errors import AssetError, BudgetError, ConfigError, DataError, FrugalrecError, MissingExtraError
from frugalrec.estimation import Estimator, PlanEstimate, Range
from frugalrec.evaluation import SLICES, Evaluation, Trial, evaluate
from frugalrec.floors import Floor, parse_slices
from frugalrec.forecast import Traffic, bill
from frugalrec.interfaces import ArrayStore, Matrix, TextEncoder
from frugalrec.machine import available_memory_bytes
from frugalrec.machine_profile import Profile
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.plan_search import BASELINES, Dropped, Halving, seconds_of
from frugalrec.planner import Decision, decide
from frugalrec.portfolio import chosen_plans, default_plans, not_applicable, references_of
from frugalrec.prices import PriceSheet
from frugalrec.spending import SpendCap, metering
from frugalrec.tuning import Search, kin, search_space, tune

LONG_SECONDS = 20.0
"""Of plans that are expected to take longer, it is said before they are begun."""

NOMINAL_FLOPS = 2e10
"""A second of a core without a profile, in FLOPs; only used to share out a search's time."""

SPARE = 1.5
"""How many times the time that judging what is left of a search is expected to take is kept back for it."""

LEAST_WEIGHT = 0.1
"""What any plan weighs when a search's time is shared out, in seconds: there is more to a plan than its fit."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Skipped:
    """A plan that was not tried, and why."""

    plan: str
    reason: str


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
        self._vectors = self._item_vectors()
        # What an earlier run of this folder spent counts: a cap is of the study, not of the process.
        self.cap = SpendCap(
            self.config.budget.lm_dollars, currency=self.prices.currency, path=self.folder / "spent.jsonl"
        )

    @property
    def traffic(self) -> Traffic:
        """How often the recommender is asked and refitted."""
        return Traffic(**self.config.traffic.model_dump())

    def plans(self) -> list[Plan]:
        """Return the plans to try, those they refer to included, in an order in which references point backwards."""
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
        plans = self.plans()
        limit = seconds_of(self.config.search.seconds, self.config.search.dollars, self.prices)
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
        return replace(decision, notes=tuple(self._notes(plans, trials)))

    def _notes(self, plans: Sequence[Plan], trials: Mapping[str, Trial]) -> Iterator[str]:
        if self.interrupted:
            yield f"interrupted when {len(trials)} of {len(plans)} plans were done: the same command goes on from there"
        yield from (f"{s.plan} was not tried: {s.reason}" for s in self.skipped)
        yield from (f"{d.plan} was {d.reason}" for d in self.dropped)

    def _try_all(self, plans: Sequence[Plan], trials: dict[str, Trial]) -> None:
        finished = self._finished()
        for i, plan in enumerate(plans):
            progress.report("plans", i, len(plans))
            reason = self._not_applicable(plan, trials)
            if reason is not None:
                self._skip(plan.name, reason)
                continue
            resolved = plan.resolved({n: t.plan for n, t in trials.items()})
            start = _found(resolved, trials)
            self._finish(resolved, start, self.config.tuning.seconds, self._key(resolved, start), finished, trials)
        progress.report("plans", len(plans), len(plans))

    def _search(self, plans: Sequence[Plan], trials: dict[str, Trial], limit: float) -> None:
        """Drop plans early, then try what is left in full, within ``limit`` CPU seconds, the best first."""
        finished = self._finished()
        asked_for = [self.config.search.model_dump(), [plan.to_dict() for plan in plans]]
        key = sha256(json.dumps(asked_for, sort_keys=True).encode()).hexdigest()[:8]
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
            expects=self._least_seconds,
            weighs=self._weight,
        )
        try:
            halving.run()
        except KeyboardInterrupt:
            if not halving.found:
                raise
            self.interrupted = True
            self.say("interrupted: going on with the best so far alone; press Ctrl-C again to stop at once")
        names = halving.finalists
        self.dropped, kept = halving.dropped, halving.found
        for one in halving.skipped:
            self.skipped.append(Skipped(one.plan, one.reason))
        if not names:
            least = "; ".join(f"{s.plan}: {s.reason}" for s in self.skipped)
            raise BudgetError(f"[search] leaves no plan to try ({least})", hint="raise [search] seconds or dollars")
        by_name, asked = {p.name: p for p in plans}, len(self.split.test)
        for i, name in enumerate(names[:1] if self.interrupted else names):
            progress.report("plans", i, len(names))
            known = {n: k.plan for n, k in kept.items()} | {n: t.plan for n, t in trials.items()}
            if (reason := self._not_applicable(by_name[name], known)) is not None:
                self._skip(name, reason)
                continue
            plan = by_name[name].resolved(known)
            look = kept.get(name)
            rest = sum(kept[n].whole_seconds(asked) for n in names[i:] if n in kept)
            if trials and halving.left < (look.whole_seconds(asked) if look else 0.0):
                self.dropped.append(Dropped(name, "not judged on the test users: the search budget was over"))
                continue
            contenders = sum(n not in BASELINES for n in names[i:])
            room = (halving.left - SPARE * rest) / max(1, contenders)
            # A search of settings starts with those of the last rung: it is worth it where another fit finds room.
            fit = 0.0 if look is None else look.fit_seconds * look.growth
            seconds = min(self.config.tuning.seconds, room) if room > 2 * fit else 0.0
            start = None if look is None else look.plan.recommender
            if start is not None and (alike := _found(plan, trials)) is not None:
                start = start.with_settings(**alike.settings)
            if not seconds and start is not None:
                found = {n: v for n, v in start.settings.items() if n in search_space(plan.recommender)}
                plan = replace(plan, recommender=plan.recommender.with_settings(**found))
            began = time.process_time()
            own = f"{key}-{self._key(by_name[name], None)}"
            first = "" if look is None else look.stopped_at
            if self._finish(plan, start, seconds, own, finished, trials, first):
                halving.note(own, time.process_time() - began)
        progress.report("plans", len(names), len(names))

    def _finish(
        self,
        plan: Plan,
        start: Spec | None,
        seconds: float,
        key: str,
        finished: Mapping[str, Trial],
        trials: dict[str, Trial],
        first: str = "",
    ) -> bool:
        """Try a resolved plan in full, or take what an earlier run found; whether anything was done."""
        if key in finished:
            trials[plan.name] = finished[key]
            self.say(f"{plan.name}: already done, taken from {self.folder.name}")
            return False
        expected = self.estimator.estimate(plan, start.settings if start else None)
        if (reason := too_large(expected, available_memory_bytes())) is not None:
            self._skip(plan.name, reason)
            return False
        if expected.seconds is not None and expected.seconds.expected > LONG_SECONDS:
            self.say(f"{plan.name}: {estimate_words(expected)} expected")
        try:
            trial = self._try(plan, start, seconds, first)
        except (DataError, MissingExtraError, AssetError, BudgetError, MemoryError) as error:
            self._skip(plan.name, str(error) or "out of memory")
            return False
        self._keep(trial, key)
        trials[plan.name] = trial
        self.say(_line(trial, self._compare(trial, expected)))
        return True

    def _too_large(self, plan: Plan) -> str | None:
        known = {p.name: p for p in self.plans()}
        return too_large(self.estimator.estimate(plan.resolved(known)), available_memory_bytes())

    def _weight(self, plan: Plan) -> float:
        """Return about how long a fit takes: as the machine profile says, or by FLOPs alone."""
        fit = self.estimator.estimate(plan).stages["fit"]
        return LEAST_WEIGHT + (fit.seconds.expected if fit.seconds is not None else (fit.flops or 0.0) / NOMINAL_FLOPS)

    def _least_seconds(self, plan: Plan) -> float | None:
        """Return what fitting a plan to everything will take at least, where a machine profile tells."""
        ready = self.estimator.estimate(plan).ready_seconds
        return None if ready is None else ready.low

    def final(self, plan: Plan) -> Pipeline:
        """Fit ``plan`` to all events, held-out ones included: the model to serve."""
        with (
            metering(self.prices, self.cap),
            self.ledger.span("final fit", plan=f"{plan.name} (to serve)", phase="refresh"),
        ):
            return plan.build(self.store).fit(self.dataset, self.ledger)

    def _item_vectors(self) -> Matrix | None:
        """Return unit vectors of the item texts, for the diversity of lists: the same whatever the plan."""
        if not any(text.strip() for text in self.dataset.catalog.texts()):
            return None
        encoder: TextEncoder = registry.build("encoder", "bag-of-words", {})
        return encoder.encode(self.dataset.catalog.texts(), role="item")

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

    def _try(self, plan: Plan, start: Spec | None, seconds: float, first: str = "") -> Trial:
        config = self.config
        search = Search(seconds, config.tuning.max_queries, seed=config.seed, first=first)
        how = Evaluation(
            config.quality.metric,
            config.evaluation.metrics,
            config.evaluation.max_queries,
            config.evaluation.timed_queries,
            config.seed,
        )
        per_request = plan.language_model == "per request"
        if per_request:
            how = replace(how, timed_queries=min(how.timed_queries, config.evaluation.lm_queries))
        refusals = self.cap.refusals
        begin = start.settings if start else {}
        by_name = {p.name: p for p in self.plans()}
        written = by_name[plan.name].resolved(by_name)
        tuned = tune(plan, self.split, how.metric, search, self.ledger, self.store, begin, written)
        pipeline = tuned.plan.build(self.store).fit(self.split.train, self.ledger)
        limit = config.evaluation.lm_queries if per_request else 0
        with self.ledger.span("evaluate", plan=f"{plan.name} (evaluation)", phase="once"):
            trial = evaluate(pipeline, self.split, how, self.ledger, max_queries=limit, vectors=self._vectors)
        if self.cap.refusals > refusals:
            # A reranker degrades where a call is refused. What was measured is then another plan than this one.
            raise BudgetError(
                f"the spend cap of {self.prices.currency} {self.cap.limit:g} was reached while it was tried",
                hint="raise [budget] lm_dollars",
            )
        validation = None if np.isnan(tuned.value) else tuned.value
        return replace(trial, validation=validation, tuning=tuned.tried)

    def _compare(self, trial: Trial, before: PlanEstimate) -> Range | None:
        """Keep what was expected of each stage beside what it took, and return how long until ready was expected.

        Of the fit, with the settings that tuning chose; of the rest, as it was before the plan was begun.
        """
        with_settings = self.estimator.estimate(trial.plan)
        stages = {**with_settings.stages, "tune": before.stages["tune"]}
        spent = {"encode": trial.cost["once"], "fit": trial.cost["refresh"], "request": trial.cost["request"]}
        for name, label in (("tune", "tuning"), ("evaluate", "evaluation")):
            entry = next((e for e in self.ledger.entries[::-1] if e.plan == f"{trial.name} ({label})"), None)
            if entry is not None:
                spent[name] = entry.cost
        lines = [
            {
                "plan": trial.name,
                "component": "encoder" if name == "encode" else trial.plan.recommender.component,
                "expected": stages[name].to_dict(),
                "actual": cost.to_dict(),
                "profile": None if self.profile is None else self.profile.created,
            }
            for name, cost in spent.items()
        ]
        with (self.folder / "estimates.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        return with_settings.ready_seconds

    def _key(self, plan: Plan, start: Spec | None) -> str:
        config = self.config
        parts: list[Any] = [
            frugalrec.__version__,
            self.data_fingerprint,
            plan.to_dict(),
            config.split.model_dump(),
            config.quality.metric,
            config.tuning.model_dump(),
            config.evaluation.model_dump(),
            config.seed,
            threads(),
            *([start.to_dict()] if start else []),
        ]
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _keep(self, trial: Trial, key: str) -> None:
        values = self.folder / "values"
        values.mkdir(exist_ok=True)
        np.save(values / f"{key}.npy", np.stack([trial.values, *(trial.slice_values[name] for name in SLICES)]))
        with (self.folder / "trials.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **trial.to_dict()}) + "\n")

    def _finished(self) -> dict[str, Trial]:
        """Return the trials that an earlier run left in the folder, by key; half a line at the end is no trial."""
        found: dict[str, Trial] = {}
        path = self.folder / "trials.jsonl"
        if not path.exists():
            return found
        text = path.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")  # so that the next trial does not end up on the half line
        for line in text.splitlines():
            try:
                table = json.loads(line)
                values = np.load(self.folder / "values" / f"{table['key']}.npy", allow_pickle=False)
                whole, *parts = np.atleast_2d(values)  # runs of before slices were kept have one row
                found[table["key"]] = Trial.from_dict(table, whole, dict(zip(SLICES, parts, strict=False)))
            except (ValueError, KeyError, TypeError, OSError, EOFError, FrugalrecError):
                self.say("one trial of an earlier run could not be read and is done again")
        return found


def split_of(config: Config, dataset: Dataset) -> Split:
    """Return the split that ``[split]`` asks for."""
    settings = {k.replace("-", "_"): v for k, v in (config.split.model_extra or {}).items()}
    where = f"[split] kind = '{config.split.kind}'"
    split: Split = registry.build("split", config.split.kind, settings, where=where).split(dataset)
    return split


def plans_of(config: Config, dataset: Dataset) -> list[Plan]:
    """Return the plans to try, those they refer to included, in an order in which references point backwards."""
    known = [*default_plans(dataset), *config.own_plans()]
    names = [p.name for p in known]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two plans are called '{name}'", hint="give your own plan another name")
    wanted = config.plans.only
    for name in wanted:
        if name not in names and (reason := not_applicable(name, dataset)):
            raise ConfigError(f"the plan '{name}' does not apply to these data: {reason}")
    return chosen_plans(known, [*wanted, *(p.name for p in config.own_plans())] if wanted else names)


def estimator_for(config: Config, split: Split, prices: PriceSheet, profile: Profile | None) -> Estimator:
    """Return what estimates plans on the training part of ``split``."""
    queries = len(split.test)
    if config.evaluation.max_queries:
        queries = min(queries, config.evaluation.max_queries)
    return Estimator(config, DataShape.of(split.train), prices, profile, (float(queries), float(len(split.validation))))


def estimated_plans(config: Config, dataset: Dataset, estimator: Estimator) -> list[PlanEstimate]:
    """Return what trying each plan will take with the settings that its search begins with."""
    found: dict[str, Plan] = {}
    for plan in plans_of(config, dataset):
        found[plan.name] = plan.resolved(found)
    return [estimator.estimate(plan) for plan in found.values()]


def too_large(expected: PlanEstimate, free_bytes: float | None) -> str | None:
    """Return why a plan is not begun: it would need more memory than there is, even if less than expected."""
    if free_bytes is None or expected.peak_bytes is None or expected.peak_bytes.low <= free_bytes:
        return None
    return (
        f"it is expected to need {expected.peak_bytes.expected / 2**30:.1f} GiB of memory, "
        f"and {free_bytes / 2**30:.1f} GiB are free"
    )


def estimate_words(expected: PlanEstimate) -> str:
    """Return what is expected of a plan in a few words."""
    seconds, peak = expected.seconds, expected.peak_bytes
    told = [] if seconds is None else [f"{seconds.expected:.0f} s ({seconds.low:.0f} to {seconds.high:.0f})"]
    if peak is not None:
        told.append(f"{peak.expected / 2**30:.2f} GiB")
    return ", ".join(told)


def _line(trial: Trial, expected: Range | None = None) -> str:
    score = trial.score
    quality = "no answer" if score.mean is None else f"{score.mean:.4f}"
    if score.low is not None and score.high is not None:
        quality += f" [{score.low:.4f}, {score.high:.4f}]"
    seconds = (trial.cost["once"] + trial.cost["refresh"]).seconds
    told = "" if expected is None else f" (expected {expected.low:.1f} to {expected.high:.1f} of CPU)"
    tried = f"{len(trial.tuning)} settings tried"
    return f"{trial.name}: {trial.metric} {quality}, ready in {seconds:.1f} s{told}, {tried}"


def _found(plan: Plan, trials: Mapping[str, Trial]) -> Spec | None:
    """Return the first tried recommender of the same kind: the search of a twin with text starts from its settings.

    So text is judged by what it adds to the best that was found without, not by how far two searches happened to get.
    """
    tried = (t.plan.recommender for t in trials.values())
    return next((spec for spec in tried if kin(spec, plan.recommender)), None)
