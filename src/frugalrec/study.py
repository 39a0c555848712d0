"""A study: every plan tuned, fitted, evaluated and priced on one split, and the decision among them.

Its folder holds what was done as soon as it is done, so that an interrupted study goes on where it stopped:
``trials.jsonl`` and ``values/``, and ``ledger.jsonl``. What is written at the end is in `run_folder`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import frugalrec
from frugalrec import progress, registry
from frugalrec.config import Config
from frugalrec.cost import Ledger, threads
from frugalrec.data.dataset import Dataset, Split
from frugalrec.errors import AssetError, ConfigError, DataError, FrugalrecError, MissingExtraError
from frugalrec.evaluation import Evaluation, Trial, evaluate
from frugalrec.forecast import Traffic, bill
from frugalrec.interfaces import ArrayStore, Matrix, TextEncoder
from frugalrec.pipeline import Pipeline
from frugalrec.plan import Plan, Spec
from frugalrec.planner import Budget, Decision, Floor, decide
from frugalrec.portfolio import chosen_plans, default_plans, not_applicable, references
from frugalrec.prices import PriceSheet
from frugalrec.tuning import Search, tune

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

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(self.folder / "ledger.jsonl")
        settings = {k.replace("-", "_"): v for k, v in (self.config.split.model_extra or {}).items()}
        where = f"[split] kind = '{self.config.split.kind}'"
        self.split: Split = registry.build("split", self.config.split.kind, settings, where=where).split(self.dataset)
        self.data_fingerprint = self.dataset.fingerprint()
        self._vectors = self._item_vectors()

    @property
    def traffic(self) -> Traffic:
        """How often the recommender is asked and refitted."""
        return Traffic(**self.config.traffic.model_dump())

    def plans(self) -> list[Plan]:
        """Return the plans to try, those they refer to included, in an order in which references point backwards."""
        known = [*default_plans(self.dataset), *self.config.own_plans()]
        names = [p.name for p in known]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two plans are called '{name}'", hint="give your own plan another name")
        wanted = self.config.plans.only
        for name in wanted:
            if name not in names and (reason := not_applicable(name, self.dataset)):
                raise ConfigError(f"the plan '{name}' does not apply to these data: {reason}")
        return chosen_plans(known, [*wanted, *(p.name for p in self.config.own_plans())] if wanted else names)

    def run(self) -> Decision:
        """Try every plan and decide; raises `DataError` when no plan could be tried."""
        plans = self.plans()
        finished = self._finished()
        trials: dict[str, Trial] = {}
        for i, plan in enumerate(plans):
            progress.report("plans", i, len(plans))
            reason = self._not_applicable(plan, trials)
            if reason is not None:
                self._skip(plan, reason)
                continue
            resolved = plan.resolved({n: t.plan for n, t in trials.items()})
            start = _found(resolved, trials)
            key = self._key(resolved, start)
            if key in finished:
                trials[plan.name] = finished[key]
                self.say(f"{plan.name}: already done, taken from {self.folder.name}")
                continue
            try:
                trials[plan.name] = self._try(resolved, start)
            except (DataError, MissingExtraError, AssetError, MemoryError) as error:
                self._skip(plan, str(error) or "out of memory")
                continue
            self._keep(trials[plan.name], key)
            self.say(_line(trials[plan.name]))
        progress.report("plans", len(plans), len(plans))
        bills = {t.name: bill(t, self.traffic, self.prices) for t in trials.values()}
        floor, budget = Floor.parse(self.config.quality.floor), Budget(**self.config.budget.model_dump())
        decision = decide(list(trials.values()), bills, floor, budget, seed=self.config.seed)
        return replace(decision, notes=tuple(f"{s.plan} was not tried: {s.reason}" for s in self.skipped))

    def final(self, plan: Plan) -> Pipeline:
        """Fit ``plan`` to all events, held-out ones included: the model to serve."""
        with self.ledger.span("final fit", plan=f"{plan.name} (to serve)", phase="refresh"):
            return plan.build(self.store).fit(self.dataset, self.ledger)

    def _item_vectors(self) -> Matrix | None:
        """Return unit vectors of the item texts, for the diversity of lists: the same whatever the plan."""
        if not any(text.strip() for text in self.dataset.catalog.texts()):
            return None
        encoder: TextEncoder = registry.build("encoder", "bag-of-words", {})
        return encoder.encode(self.dataset.catalog.texts(), role="item")

    def _not_applicable(self, plan: Plan, trials: dict[str, Trial]) -> str | None:
        for name in references(plan.recommender):
            if name not in trials:
                return f"it builds on {name}, which was not tried"
        if missing := plan.missing_extras():
            return "; ".join(f"pip install 'frugalrec[{extra}]'" for extra in missing)
        return None

    def _skip(self, plan: Plan, reason: str) -> None:
        self.skipped.append(Skipped(plan.name, reason))
        self.say(f"{plan.name}: not tried ({reason.splitlines()[0]})")

    def _try(self, plan: Plan, start: Spec | None) -> Trial:
        config = self.config
        search = Search(config.tuning.seconds, config.tuning.max_queries, seed=config.seed)
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
        tuned = tune(plan, self.split, how.metric, search, self.ledger, self.store, start.settings if start else {})
        pipeline = tuned.plan.build(self.store).fit(self.split.train, self.ledger)
        limit = config.evaluation.lm_queries if per_request else 0
        trial = evaluate(pipeline, self.split, how, self.ledger, max_queries=limit, vectors=self._vectors)
        validation = None if np.isnan(tuned.value) else tuned.value
        return replace(trial, validation=validation, tuning=tuned.tried)

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
        np.save(values / f"{key}.npy", trial.values)
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
                found[table["key"]] = Trial.from_dict(table, values)
            except (ValueError, KeyError, TypeError, OSError, EOFError, FrugalrecError):
                self.say("one trial of an earlier run could not be read and is done again")
        return found


def _line(trial: Trial) -> str:
    score = trial.score
    quality = "no answer" if score.mean is None else f"{score.mean:.4f}"
    if score.low is not None and score.high is not None:
        quality += f" [{score.low:.4f}, {score.high:.4f}]"
    seconds = (trial.cost["once"] + trial.cost["refresh"]).seconds
    return f"{trial.name}: {trial.metric} {quality}, ready in {seconds:.1f} s, {len(trial.tuning)} settings tried"


def _found(plan: Plan, trials: Mapping[str, Trial]) -> Spec | None:
    """Return the first tried recommender of the same kind: the search of a twin with text starts from its settings.

    So text is judged by what it adds to the best that was found without, not by how far two searches happened to get.
    """
    tried = (t.plan.recommender for t in trials.values())
    return next((spec for spec in tried if _kin(spec, plan.recommender)), None)


def _kin(tried: Spec, spec: Spec) -> bool:
    """Whether the settings found for ``tried`` may start the search of ``spec``: what ``spec`` fixes is the same."""
    return tried.component == spec.component and all(
        len(tried.settings[key]) == len(value) if key == "members" else tried.settings.get(key, value) == value
        for key, value in spec.settings.items()
        if key == "members" or not isinstance(value, Spec)
    )
