"""One plan of a study in full: tuned, fitted and evaluated, in this process or on a worker."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import registry
from frugalrec.config import Config
from frugalrec.cost import Entry, Ledger
from frugalrec.data.dataset import Dataset, Split
from frugalrec.errors import AssetError, BudgetError, DataError, MissingExtraError
from frugalrec.estimation import Range
from frugalrec.evaluation import Evaluation, Trial, evaluate
from frugalrec.interfaces import ArrayStore, Matrix, TextEncoder
from frugalrec.learned import Ready
from frugalrec.plan import Plan, Spec
from frugalrec.prices import PriceSheet
from frugalrec.spending import SpendCap, metering
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.trial_files import values_of, with_values
from frugalrec.tuning import Search, tune
from frugalrec.tuning_space import kin

NOT_TRIED = (DataError, MissingExtraError, AssetError, BudgetError, MemoryError)
"""What may stop one plan and leaves the others to be tried."""


@dataclass(frozen=True)
class Attempt:
    """A plan to try: resolved, as it was ``written`` with all references resolved, and where its search begins.

    What a search has fitted of it is ``ready``, and is not sent to workers.
    """

    plan: Plan
    written: Plan
    start: Spec | None = None
    seconds: float = 0.0
    first: str = ""
    ready: Ready | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        start = None if self.start is None else self.start.to_dict()
        return {
            "plan": self.plan.to_dict(),
            "written": self.written.to_dict(),
            "start": start,
            "seconds": self.seconds,
            "first": self.first,
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Attempt:
        """Return what `to_dict` was made of."""
        start = None if table["start"] is None else Spec.from_dict(table["start"], "an attempt")
        plan, written = Plan.from_dict(table["plan"]), Plan.from_dict(table["written"])
        return cls(plan, written, start, table["seconds"], table["first"])


@dataclass(frozen=True)
class Trying:
    """What every plan of a study is tried on, and how."""

    config: Config
    split: Split
    vectors: Matrix | None
    ledger: Ledger
    cap: SpendCap
    store: ArrayStore | None = None

    def __call__(self, attempt: Attempt) -> Trial:
        """Tune, fit and evaluate; raises one of `NOT_TRIED` where that plan cannot be."""
        config, plan = self.config, attempt.plan
        search = Search(
            attempt.seconds,
            config.tuning.max_queries,
            seed=config.seed,
            first=attempt.first,
            keep=True,
            costed=True,
        )
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
        begin = attempt.start.settings if attempt.start else {}
        tuned = tune(plan, self.split, how.metric, search, self.ledger, self.store, begin, attempt.written)
        ready = attempt.ready if tuned.plan == plan else None
        if tuned.fitted is not None:
            ready = tuned.fitted.ready()
        pipeline = tuned.plan.build(self.store).fit(self.split.train, self.ledger, ready)
        limit = config.evaluation.lm_queries if per_request else 0
        with self.ledger.span("evaluate", plan=f"{plan.name} (evaluation)", phase="once"):
            trial = evaluate(pipeline, self.split, how, self.ledger, max_queries=limit, vectors=self.vectors)
        if self.cap.refusals > refusals:
            # A reranker degrades where a call is refused. What was measured is then another plan than this one.
            raise BudgetError(
                f"the spend cap of {self.cap.currency} {self.cap.limit:g} was reached while it was tried",
                hint="raise [budget] lm_dollars",
            )
        validation = None if np.isnan(tuned.value) else tuned.value
        return replace(trial, validation=validation, tuning=tuned.tried)


@dataclass(frozen=True)
class Tried:
    """What came of a plan on a worker: a trial, or why there is none; with what was recorded and spent there."""

    trial: Trial | None
    reason: str
    entries: tuple[Entry, ...]
    spent: float | None

    def to_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return named arrays, the form in which workers answer."""
        told = {
            "trial": None if self.trial is None else self.trial.to_dict(),
            "reason": self.reason,
            "entries": [entry.to_dict() for entry in self.entries],
            "spent": self.spent,
        }
        values = np.empty((1, 0)) if self.trial is None else values_of(self.trial)
        return {"told": np.frombuffer(json.dumps(told).encode(), dtype=np.uint8), "values": values}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Tried:
        """Return what `to_arrays` was made of."""
        told = json.loads(arrays["told"].tobytes())
        trial = None if told["trial"] is None else with_values(told["trial"], np.array(arrays["values"]))
        return cls(trial, told["reason"], tuple(Entry.from_dict(e) for e in told["entries"]), told["spent"])


@dataclass(frozen=True)
class TryingElsewhere:
    """`Trying` as the function of an executor's job: a payload is an `Attempt`, as a table. ``cache``: kept vectors."""

    config: Config
    dataset: Dataset
    prices: PriceSheet
    cache: Path | None

    def __call__(self, payload: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Return a `Tried`, as arrays."""
        # Spans of the trial are outermost ones, as they are in a study's own process, and not parts of the shard's.
        return contextvars.Context().run(self._tried, Attempt.from_dict(payload)).to_arrays()

    def _tried(self, attempt: Attempt) -> Tried:
        ledger, cap, trial, reason = Ledger(), SpendCap(currency=self.prices.currency), None, ""
        split, vectors = self._loaded
        with metering(self.prices, cap):
            trying = Trying(
                self.config, split, vectors, ledger, cap, None if self.cache is None else ArrayCache(self.cache)
            )
            try:
                trial = trying(attempt)
            except NOT_TRIED as error:
                reason = str(error) or "out of memory"
        return Tried(trial, reason, tuple(ledger.entries), cap.spent)

    @cached_property
    def _loaded(self) -> tuple[Split, Matrix | None]:
        return split_of(self.config, self.dataset), item_vectors(self.dataset)


def split_of(config: Config, dataset: Dataset) -> Split:
    """Return the split that ``[split]`` asks for."""
    settings = {k.replace("-", "_"): v for k, v in (config.split.model_extra or {}).items()}
    where = f"[split] kind = '{config.split.kind}'"
    split: Split = registry.build("split", config.split.kind, settings, where=where).split(dataset)
    return split


def item_vectors(dataset: Dataset) -> Matrix | None:
    """Return unit vectors of the item texts, for the diversity of lists: the same whatever the plan."""
    if not any(text.strip() for text in dataset.catalog.texts()):
        return None
    encoder: TextEncoder = registry.build("encoder", "bag-of-words", {})
    return encoder.encode(dataset.catalog.texts(), role="item")


def told(trial: Trial, expected: Range | None = None) -> str:
    """Return a line of progress: what a trial reached, what it took, and what was expected."""
    score = trial.score
    quality = "no answer" if score.mean is None else f"{score.mean:.4f}"
    if score.low is not None and score.high is not None:
        quality += f" [{score.low:.4f}, {score.high:.4f}]"
    ready = trial.cost["once"] + trial.cost["refresh"]
    cpu = "" if ready.cpu_seconds is None else f", {ready.cpu_seconds:.1f} of CPU"
    forecast = "" if expected is None else f" (expected {expected.low:.1f} to {expected.high:.1f})"
    tried = f"{len(trial.tuning)} settings tried"
    return f"{trial.name}: {trial.metric} {quality}, ready in {ready.seconds:.1f} s{cpu}{forecast}, {tried}"


def found_alike(plan: Plan, trials: Sequence[Trial]) -> Spec | None:
    """Return the first tried recommender of the same kind: the search of a twin with text starts from its settings.

    So text is judged by what it adds to the best that was found without, not by how far two searches happened to get.
    """
    tried = (trial.plan.recommender for trial in trials)
    return next((spec for spec in tried if kin(spec, plan.recommender)), None)


__all__ = [
    "NOT_TRIED",
    "Attempt",
    "Tried",
    "Trying",
    "TryingElsewhere",
    "found_alike",
    "item_vectors",
    "split_of",
    "told",
]
