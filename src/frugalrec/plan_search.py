"""Successive halving over plans: all on few users and few settings, the promising ones on more, under a budget.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016. Here a plan's
rung is a share of the users and of the time for its settings, and plans are compared user by user.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from frugalrec import metrics
from frugalrec.config import Config
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Split
from frugalrec.data.interactions import FloatArray
from frugalrec.data.samples import sampled
from frugalrec.errors import AssetError, BudgetError, DataError, FrugalrecError, MissingExtraError
from frugalrec.evaluation import quick_values
from frugalrec.floors import Floor
from frugalrec.interfaces import ArrayStore
from frugalrec.plan import Plan
from frugalrec.portfolio import references_of
from frugalrec.prices import PriceSheet
from frugalrec.significance import Estimate, bootstrap_interval, paired_difference
from frugalrec.tuning import Search, kin, tune

FIRST_SHARE = 1 / 8
LEAST_USERS = 400
"""The first rung has this share of the users, or so many where that is more."""

RUNGS_SHARE = 0.65
"""Of the budget that halving may take; the rest is for what it leaves over, on all users."""

LEAST_SECONDS = 0.01
"""Whatever the budget, the settings that a search begins with are tried."""

BASELINES = ("chance", "popularity")
"""What any plan must beat costs next to nothing and is never dropped."""


@dataclass(frozen=True)
class Looked:
    """What a rung found of a plan: settings, the metric of each validation query, and what it took.

    ``fit_seconds`` and ``query_seconds`` are CPU time of one fit and of one query; ``growth`` is how many times as long
    a fit on everything is expected to take, by users and by items to the third power. ``stopped_at`` is the setting
    at which its time was over: the next rung goes on there.
    """

    plan: Plan
    values: FloatArray
    fit_seconds: float
    query_seconds: float
    cpu_seconds: float
    growth: float = 1.0
    stopped_at: str = ""

    @property
    def mean(self) -> float:
        """The mean over the queries that were tried."""
        known = self.values[~np.isnan(self.values)]
        return float(known.mean()) if len(known) else float("-inf")

    def whole_seconds(self, queries: int) -> float:
        """Return what fitting to all users and answering ``queries`` are expected to take."""
        return self.fit_seconds * self.growth + self.query_seconds * math.sqrt(self.growth) * queries


@dataclass(frozen=True)
class Dropped:
    """A plan that was not looked at further, and why."""

    plan: str
    reason: str


@dataclass(frozen=True)
class Narrowed:
    """What goes on: all of ``order``, best first. Those not in ``judged`` only because others are built on them."""

    order: tuple[str, ...]
    judged: frozenset[str]
    dropped: tuple[Dropped, ...]


def narrowed(
    looked: Mapping[str, Looked],
    plans: Mapping[str, Plan],
    floor: Floor,
    compute: Mapping[str, float],
    *,
    keep: int,
    judges: int,
    strict: bool = False,
    seed: int = 0,
) -> Narrowed:
    """Return which of the plans that were looked at go on, and of each other one why not.

    A plan goes on among the best ``keep`` by the upper confidence bound of its difference to the best; or where nothing
    as good takes less ``compute`` and it may yet be shown to meet the floor: were its difference as good as that bound,
    and the interval as narrow as ``judges`` test users would make it. What goes on takes along its twin without a
    language model and what it is built on. ``strict``: the best, too, only go on where that may be shown.
    """
    counts = {name: int(np.count_nonzero(~np.isnan(one.values))) for name, one in looked.items()}
    best = max((n for n in looked if counts[n] == max(counts.values())), key=lambda n: (looked[n].mean, n))
    gaps = {n: paired_difference(one.values, looked[best].values, seed=seed, draws=500) for n, one in looked.items()}
    uppers = {n: math.inf if gap.high is None else gap.high for n, gap in gaps.items()}
    order = sorted(looked, key=lambda n: (-uppers[n], n))
    if floor.margin is not None:
        hopeful = {n for n in order if _at_best(gaps[n], judges) >= -floor.margin * looked[best].mean}
    else:
        own = {n: bootstrap_interval(looked[n].values, seed=seed) for n in order}
        hopeful = {n for n in order if _at_best(own[n], judges) >= (floor.value or 0.0)} | {best}
    merit = [n for n in order if n not in BASELINES]
    kept = {n for n in merit[:keep] if not strict or n in hopeful} | {n for n in order if n in BASELINES}
    reached = float("-inf")
    for name in sorted(order, key=lambda n: (compute[n], n)):
        if looked[name].mean > reached:
            reached = looked[name].mean
            kept |= {name} & hopeful
    judged = _with(kept, looked, lambda n: [plans[n].without_lm])
    needed = _with(judged, looked, lambda n: references_of(plans[n]))
    against = f"against {looked[best].mean:.4f} of {best}"
    users = len(looked[best].values)
    dropped = [
        Dropped(n, f"dropped at {users:,} users: at best {looked[best].mean + uppers[n]:.4f} {against}")
        for n in order
        if n not in needed
    ]
    return Narrowed(tuple(n for n in order if n in needed), frozenset(judged), tuple(dropped))


def _with(names: set[str], among: Mapping[str, Any], more: Callable[[str], Sequence[str]]) -> set[str]:
    """Return ``names`` and whatever ``more`` of them, and of that, is there."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name in among and name not in found:
            found.add(name)
            queue += more(name)
    return found


def _at_best(found: Estimate, judges: int) -> float:
    """Return the lower bound that ``judges`` users would give were the mean as high as this interval allows."""
    if found.mean is None or found.high is None:
        return math.inf
    return found.high - (found.high - found.mean) * math.sqrt(found.n / max(1, judges))


@dataclass
class Halving:
    """One search. `run` looks at the plans rung by rung; ``found`` then has what is left, ``dropped`` the rest.

    ``seconds`` is CPU time for everything, this and what follows. What was looked at is kept in ``path``, a line each,
    so that an interrupted search goes on; what it took then counts as spent. ``refuses`` says why a plan is not to be
    tried, ``expects`` how long fitting it to everything will take at least, where that is known, and ``weighs`` how
    much time it needs beside others.
    """

    plans: Sequence[Plan]
    split: Split
    config: Config
    seconds: float
    fingerprint: str
    path: Path
    ledger: Ledger
    store: ArrayStore | None = None
    say: Callable[[str], None] = field(default=lambda line: None)
    refuses: Callable[[Plan], str | None] = field(default=lambda plan: None)
    expects: Callable[[Plan], float | None] = field(default=lambda plan: None)
    weighs: Callable[[Plan], float] = field(default=lambda plan: 1.0)
    found: dict[str, Looked] = field(default_factory=dict)
    judged: frozenset[str] = frozenset()
    dropped: list[Dropped] = field(default_factory=list)
    skipped: list[Dropped] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_name = {plan.name: plan for plan in self.plans}
        self._order = list(self._by_name)
        self._kept = _lines(self.path)
        self._before = sum(line["cpu_seconds"] for line in self._kept.values())
        self._began = time.process_time()

    @property
    def left(self) -> float:
        """CPU seconds that are left of the budget; what earlier runs of the same search took is spent."""
        return float(self.seconds - self._before - (time.process_time() - self._began))

    @property
    def finalists(self) -> list[str]:
        """Plans to fit to everything and to judge, the best first, baselines last; all where there was no rung."""
        if not self.found:
            return [name for name in self._order if name not in {s.plan for s in self.skipped}]
        judged = [n for n in self.found if n in self.judged or not self.judged]
        ordered = sorted(judged, key=lambda n: (n in BASELINES, -self.found[n].mean))
        twins = {n: self._by_name[n].without_lm for n in ordered}
        # A twin without a language model comes just before the plan with one, which starts from its settings.
        placed = [name for n in ordered for name in ((twins[n], n) if twins[n] in ordered else (n,))]
        return list(dict.fromkeys(placed))

    def note(self, key: str, seconds: float) -> None:
        """Keep for a later run what one more step took."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "cpu_seconds": seconds}) + "\n")

    def run(self) -> None:
        """Look at the plans, rung by rung, until the last rung, or until the budget calls for an end."""
        shares = rungs(int(np.count_nonzero(np.diff(self.split.train.interactions.offsets))))
        for i, share in enumerate(shares):
            limit = self.seconds * (1 - RUNGS_SHARE * (i + 1) / len(shares))
            if not self._climb(share, limit, first=i == 0, last=i + 1 == len(shares)):
                return

    def _climb(self, share: float, limit: float, *, first: bool, last: bool) -> bool:
        """Look at every plan left on one rung, until ``limit`` seconds are left; False where not all could be seen."""
        smaller = sampled(self.split, share, max_queries=self.config.tuning.max_queries, seed=self.config.seed)
        if not len(smaller.validation):
            return False
        growth = max(1 / share, (self.split.train.n_items / smaller.train.n_items) ** 3)
        seen: dict[str, Looked] = {}
        names = [name for name in self._by_name if name in self._order]
        takes = {n: self._takes(n) for n in names}
        for i, name in enumerate(names):
            plan = self._by_name[name]
            if (reason := self._hindered(plan, seen)) is not None:
                self._skip(name, reason)
                continue
            resolved = plan.resolved({n: one.plan for n, one in seen.items()})
            if first and (reason := self._too_dear(resolved)) is not None:
                self._skip(name, reason)
                continue
            if self._short(name, growth):
                self.say(f"search: the budget ends at {len(smaller.validation):,} users, before {name}")
                if first:
                    self.dropped += [Dropped(n, "not looked at: the search budget was over") for n in names[i:]]
                return False
            try:
                # As many settings for each, not as many seconds: the time goes by what a fit takes.
                part = takes[name] / sum(takes[n] for n in names[i:])
                seen[name] = self._look(resolved, smaller, share, growth, (self.left - limit) * part, seen)
            except (DataError, MissingExtraError, AssetError, BudgetError, MemoryError) as error:
                self._skip(name, str(error) or "out of memory")
                continue
            if first:
                self.found[name] = seen[name]
        if not seen:
            return False
        keep = max(1, math.ceil(sum(name not in BASELINES for name in seen) / 2))
        floor = Floor.parse(self.config.quality.floor)
        compute = self._compute(seen)
        judges, seed = len(self.split.test), self.config.seed
        left = narrowed(seen, self._by_name, floor, compute, keep=keep, judges=judges, strict=last, seed=seed)
        self.dropped += left.dropped
        self._order, self.judged = list(left.order), left.judged
        self.found = {name: seen[name] for name in left.order}
        on = ", ".join(left.order)
        self.say(
            f"search: {len(seen)} plans at {len(smaller.validation):,} users; on with {on} ({self.left:.0f} s left)"
        )
        return True

    def _takes(self, name: str) -> float:
        """Return about how long trying one more setting of a plan takes, beside those of others."""
        one = self.found.get(name)
        if one is None:
            return self.weighs(self._by_name[name].resolved(self._by_name))
        return LEAST_SECONDS + one.fit_seconds + one.query_seconds * len(one.values)

    def _hindered(self, plan: Plan, seen: Mapping[str, Looked]) -> str | None:
        missing = next((name for name in references_of(plan) if name not in seen), None)
        return self.refuses(plan) if missing is None else f"it builds on {missing}, which was not tried"

    def _too_dear(self, plan: Plan) -> str | None:
        """Say why a plan is not begun: fitting it to everything alone would go beyond the budget."""
        needed = self.expects(plan)
        if needed is None or needed <= self.left:
            return None
        return (
            f"fitting it is expected to take at least {needed:.3g} s of CPU, and {max(0.0, self.left):.3g} s are left"
        )

    def _short(self, name: str, growth: float) -> bool:
        """Whether looking at a plan would not leave enough to fit the best so far to everything."""
        if not self.found:
            return False
        best = max(self.found.values(), key=lambda one: one.mean)
        before = self.found.get(name)
        expected = 0.0 if before is None else before.fit_seconds * before.growth / growth
        return expected + best.whole_seconds(len(self.split.test)) > self.left

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(Dropped(name, reason))
        self.found.pop(name, None)
        self._order.remove(name)
        self.say(f"{name}: not tried ({reason.splitlines()[0]})")

    def _compute(self, seen: Mapping[str, Looked]) -> dict[str, float]:
        """Return about how many CPU seconds a day each plan would take, for the frontier."""
        traffic = self.config.traffic
        return {
            name: one.query_seconds * traffic.requests_per_day
            + one.fit_seconds * one.growth * traffic.refreshes_per_day
            for name, one in seen.items()
        }

    def _look(
        self, plan: Plan, smaller: Split, share: float, growth: float, seconds: float, seen: Mapping[str, Looked]
    ) -> Looked:
        key = self._key(plan.name, share)
        if key in self._kept:
            return _read(self._kept[key])
        config, began = self.config, time.process_time()
        before = self.found.get(plan.name)
        # A twin with text is judged by what text adds: what both have is what was found without, rung by rung.
        alike = (one.plan.recommender for one in seen.values() if kin(one.plan.recommender, plan.recommender))
        settings = {} if before is None else dict(before.plan.recommender.settings)
        settings |= next((spec.settings for spec in alike), {})
        limit = min(max(seconds, LEAST_SECONDS), config.tuning.seconds)
        on = "" if before is None else before.stopped_at
        search = Search(limit, config.tuning.max_queries, passes=1, seed=config.seed, first=on)
        with self.ledger.span("search", plan=f"{plan.name} (search)", phase="once"):
            written = self._by_name[plan.name].resolved(self._by_name)
            tuned = tune(plan, smaller, config.quality.metric, search, Ledger(), self.store, settings, written)
            timed = tuned.fit_seconds, tuned.query_seconds
            looked = Looked(tuned.plan, tuned.values, *timed, 0.0, growth, tuned.stopped_at)
            if not len(tuned.values) or plan.reranker is not None:
                looked = self._as_it_is(tuned.plan, smaller, growth)
        looked = replace(looked, cpu_seconds=time.process_time() - began)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **_written(looked)}) + "\n")
        return looked

    def _as_it_is(self, plan: Plan, smaller: Split, growth: float) -> Looked:
        """Fit a plan without a search; one that asks a language model on every request answers few queries."""
        fold = smaller.validation
        few = self.config.evaluation.lm_queries if plan.language_model == "per request" else len(fold)
        rows = np.sort(np.random.default_rng(self.config.seed).permutation(len(fold))[:few])
        began = time.process_time()
        pipeline = plan.build(self.store).fit(smaller.train)
        fitted = time.process_time()
        values = np.full(len(fold), np.nan)
        values[rows] = quick_values(pipeline, fold.take(rows), metrics.parse(self.config.quality.metric))
        each = (time.process_time() - fitted) / max(1, len(rows))
        return Looked(plan, values, fitted - began, each, 0.0, growth)

    def _key(self, name: str, share: float) -> str:
        config = self.config
        parts = [self.fingerprint, self._by_name[name].to_dict(), [p.name for p in self.plans], share, config.seed]
        parts += [config.split.model_dump(), config.quality.metric, config.tuning.model_dump()]
        return sha256(json.dumps([*parts, config.search.model_dump()], sort_keys=True).encode()).hexdigest()[:16]


def rungs(users: int) -> list[float]:
    """Return the shares of users of each rung, doubling, below 1.

    >>> rungs(10_000), rungs(600), rungs(150)
    ([0.125, 0.25, 0.5], [0.6666666666666666], [])
    """
    share = max(FIRST_SHARE, LEAST_USERS / max(1, users))
    found = []
    while share < 1:
        found.append(share)
        share *= 2
    return found


def seconds_of(seconds: float | None, dollars: float | None, prices: PriceSheet) -> float | None:
    """Return a search budget in CPU seconds: the lesser of time, and of what money buys at ``prices``."""
    hour = prices.price(Cost(cpu_seconds=3600.0, gpu_seconds=0.0, fees=0.0))
    bought = None if dollars is None or not hour else dollars / hour * 3600
    return min((limit for limit in (seconds, bought) if limit is not None), default=None)


def _written(looked: Looked) -> dict[str, Any]:
    values = [None if np.isnan(v) else round(float(v), 6) for v in looked.values]
    found = {"plan": looked.plan.to_dict(), "values": values, "stopped_at": looked.stopped_at}
    return found | {n: getattr(looked, n) for n in ("fit_seconds", "query_seconds", "cpu_seconds", "growth")}


def _read(line: Mapping[str, Any]) -> Looked:
    values = np.array([np.nan if v is None else v for v in line["values"]], dtype=np.float64)
    numbers = {n: float(line[n]) for n in ("fit_seconds", "query_seconds", "cpu_seconds", "growth")}
    return Looked(Plan.from_dict(line["plan"]), values, **numbers, stopped_at=line["stopped_at"])


def _lines(path: Path) -> dict[str, dict[str, Any]]:
    """Return what an earlier run kept, by key; what cannot be read is done again."""
    found: dict[str, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                table = json.loads(line)
                found[table["key"]] = {**table, "cpu_seconds": float(table["cpu_seconds"])}
            except (ValueError, KeyError, TypeError, FrugalrecError):
                continue
    return found


__all__ = ["BASELINES", "Dropped", "Halving", "Looked", "Narrowed", "narrowed", "rungs", "seconds_of"]
