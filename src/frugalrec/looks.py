"""Looks of a search at single plans: on a share of the users, kept in a file, on a budget of CPU seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import metrics
from frugalrec.config import Config
from frugalrec.cost import Ledger
from frugalrec.evaluation import quick_values
from frugalrec.interfaces import ArrayStore
from frugalrec.learned import Learned, Ready
from frugalrec.look_files import line_of, lines_of, looked_of
from frugalrec.narrowing import Looked
from frugalrec.plan import Plan
from frugalrec.rungs import Rung
from frugalrec.tuning import Search, tune
from frugalrec.tuning_space import kin, search_space

LEAST_SECONDS = 0.01
"""Whatever the budget, the settings that a search begins with are tried."""


@dataclass
class Looks:
    """Looks at ``plans``, by name as they were written, for at most ``seconds`` of CPU time, what follows included.

    Each is kept in ``path``, a line each, so that an interrupted search goes on; what it took then counts as spent
    where it is taken up. Of those in ``members`` others are built.
    """

    plans: Mapping[str, Plan]
    members: Set[str]
    config: Config
    seconds: float
    fingerprint: str
    path: Path
    ledger: Ledger
    store: ArrayStore | None = None
    _before: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._kept = lines_of(self.path)
        self._began = time.process_time()

    @property
    def left(self) -> float:
        """CPU seconds that are left of the budget; what a step took that an earlier run did is spent."""
        return float(self.seconds - self._before - (time.process_time() - self._began))

    def note(self, key: str, seconds: float, fitted_again: float = 0.0) -> None:
        """Keep for a later run what one more step took; a fit whose model was lost was on the budget once."""
        self._began += fitted_again
        self._write({"key": key, "cpu_seconds": max(0.0, seconds - fitted_again)})

    def taken(self, key: str) -> bool:
        """Whether an earlier run did a step; what it took is spent as soon as that is asked, as it was then."""
        self._before += self._kept[key]["cpu_seconds"] if key in self._kept else 0.0
        return key in self._kept

    def look(
        self,
        plan: Plan,
        rung: Rung,
        step: int,
        fits: float,
        seconds: float,
        before: Looked | None,
        seen: Mapping[str, Looked],
    ) -> tuple[Looked, Ready | None]:
        """Return what ``plan`` is worth on ``rung`` by ``fits`` or ``seconds`` of tuning, and its model if that serves.

        It goes on from the look ``before``; ``seen`` are those at other plans on this rung. What an earlier run looked
        at has no model.
        """
        key = self._key(plan.name, rung.share, step)
        if self.taken(key):
            return looked_of(self._kept[key]), None
        config, began = self.config, time.process_time()
        limit = min(max(seconds, LEAST_SECONDS), config.tuning.seconds)
        keep = plan.name in self.members or (rung.share == 1 and plan.reranker is None)
        search = Search(
            limit,
            config.tuning.max_queries,
            passes=2 if rung.share == 1 else 1,
            seed=config.seed,
            first="" if before is None else before.stopped_at,
            fits=fits,
            keep=keep,
            costed=rung.share == 1,
            again=rung.share == 1 and not keep,
        )
        with self.ledger.span("search", plan=f"{plan.name} (search)", phase="once"):
            settings, written = self._start(plan, before, seen), self._written(plan)
            tuned = tune(
                plan, rung.split, config.quality.metric, search, Ledger(), self.store, settings, written, rung.fitted
            )
            if tuned.fitted is not None and plan.name in self.members:
                rung.fitted.append(tuned.fitted)
            growth = rung.growth(plan.name)
            looked = Looked(
                tuned.plan,
                tuned.values,
                tuned.fit_seconds,
                tuned.query_seconds,
                0.0,
                growth.fit,
                rung.share,
                tuned.stopped_at,
                tuned.fits,
                tuned.setting_seconds,
                query_growth=growth.query,
            )
            ready = None if tuned.fitted is None else tuned.fitted.ready()
            if not len(tuned.values) or plan.reranker is not None:
                looked, ready = self._as_it_is(tuned.plan, rung)
        if rung.share < 1 or ready is None or not ready.fits(looked.plan):
            ready = None
        tried = tuned.tried if rung.share == 1 else [{**note, "share": rung.share} for note in tuned.tried]
        looked = replace(looked, ready=ready is not None, tried=tried, cpu_seconds=time.process_time() - began)
        self._write({"key": key, **line_of(looked)})
        return looked, ready

    def _start(self, plan: Plan, before: Looked | None, seen: Mapping[str, Looked]) -> dict[str, Any]:
        """Return the settings to begin with: those found before; a twin's with text are those found without."""
        settings = {} if before is None else dict(before.plan.recommender.settings)
        if before is not None and before.fits <= 1:
            # Nothing that needs a fit was searched: sums are open still.
            space = search_space(self._written(plan).recommender)
            settings = {n: v for n, v in settings.items() if space.get(n, ("", ()))[0] != "accumulate"}
        # A twin with text is judged by what text adds: what both have is what was found without, rung by rung.
        alike = (one.plan.recommender for one in seen.values() if kin(one.plan.recommender, plan.recommender))
        return settings | dict(next((spec.settings for spec in alike), {}))

    def _written(self, plan: Plan) -> Plan:
        return self.plans[plan.name].resolved(self.plans)

    def _as_it_is(self, plan: Plan, rung: Rung) -> tuple[Looked, Ready]:
        """Fit a plan without a search; one that asks a language model on every request answers few queries."""
        fold = rung.split.validation
        few = self.config.evaluation.lm_queries if plan.language_model == "per request" else len(fold)
        rows = np.sort(np.random.default_rng(self.config.seed).permutation(len(fold))[:few])
        began = time.process_time()
        pipeline = plan.build(self.store).fit(rung.split.train, ledger := Ledger())
        fitted = time.process_time()
        ready = Ready(plan.recommender, Learned.of(pipeline.recommender), ledger.entries[-1].whole)
        values = np.full(len(fold), np.nan)
        values[rows] = quick_values(pipeline, fold.take(rows), metrics.parse(self.config.quality.metric))
        done = time.process_time()
        each = (done - fitted) / max(1, len(rows))
        growth, seconds = rung.growth(plan.name), (fitted - began, each, 0.0)
        looked = Looked(
            plan, values, *seconds, growth.fit, rung.share, setting_seconds=done - began, query_growth=growth.query
        )
        return looked, ready

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _key(self, name: str, share: float, step: int) -> str:
        config = self.config
        parts = [self.fingerprint, self.plans[name].to_dict(), list(self.plans), share, step]
        parts += [config.split.model_dump(), config.quality.metric, config.tuning.model_dump()]
        parts += [config.seed, config.search.model_dump()]
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


__all__ = ["LEAST_SECONDS", "Looks"]
