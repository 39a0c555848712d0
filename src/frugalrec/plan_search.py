"""Successive halving over plans: all on few users and few settings, the promising ones on more, under a budget.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016. Here a rung is a
share of the users, on which every plan may make as many fits; the last one is all users. How many fits, the time tells,
in steps wide enough for two runs on a busy machine to take the same ones. A plan of which fitting and judging would go
beyond what is left is dropped as soon as its first look tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from frugalrec import registry
from frugalrec.config import Config
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Split
from frugalrec.data.samples import sampled
from frugalrec.errors import AssetError, BudgetError, DataError, MissingExtraError
from frugalrec.floors import Floor
from frugalrec.interfaces import ArrayStore
from frugalrec.learned import Ready, distinct_bytes
from frugalrec.looks import LEAST_SECONDS, Looks
from frugalrec.machine import available_memory_bytes
from frugalrec.narrowing import BASELINES, Dropped, Looked, narrowed
from frugalrec.plan import Plan
from frugalrec.portfolio import references_of
from frugalrec.prices import PriceSheet
from frugalrec.rungs import Growth, Rung, rungs
from frugalrec.tuning_space import kin, search_space

SPARE = 1.5
"""How many times the time that fitting and judging the best plan is expected to take is kept back for it."""

LEAST_FITS = 6
"""So many fits a plan there should be on a rung; where time has none for that, fewer plans go on."""

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""How many fits a plan may make on a rung."""

ROOM = 2.0
"""How many times the time that its fits are expected to take a plan may have on a rung; on the last, as many fits."""

HELD_SHARE = 0.25
"""The share of the memory that is free which models may fill that wait to be judged."""

JUDGING_SECONDS = 2.5e-4
"""About how long judging a test query takes besides scores: metrics, slices, lists and their intervals."""


@dataclass
class Halving:
    """One search. `run` looks at the plans rung by rung; ``found`` then has what is left, ``dropped`` the rest.

    ``members`` of it are there for others alone. Interrupted on the first rung, ``found`` has what was seen of it.
    ``seconds`` is CPU time for everything, this and what follows. What was looked at is kept in ``path``, a line each,
    so that an interrupted search goes on; what it took then counts as spent where it is taken up. ``refuses`` says why
    a plan is not to be tried, ``expects`` how long fitting it to everything will take at least, where that is known,
    ``weighs`` how much time it needs beside others, on everything or on a smaller split, and ``asks`` how much a
    request to it. Of plans that were looked at on all users, ``ready`` has the models, so that they are judged without
    another fit, and ``lost`` the names of those whose models went with an interrupted run.
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
    weighs: Callable[[Plan, Split | None], float | None] = field(default=lambda plan, split: None)
    asks: Callable[[Plan, Split | None], float | None] = field(default=lambda plan, split: None)
    found: dict[str, Looked] = field(default_factory=dict)
    judged: frozenset[str] = frozenset()
    members: tuple[Dropped, ...] = ()
    dropped: list[Dropped] = field(default_factory=list)
    skipped: list[Dropped] = field(default_factory=list)
    ready: dict[str, Ready] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._by_name = {plan.name: plan for plan in self.plans}
        self._order = list(self._by_name)
        members = {name for plan in self.plans for name in references_of(plan)}
        self.looks = Looks(
            self._by_name, members, self.config, self.seconds, self.fingerprint, self.path, self.ledger, self.store
        )

    @property
    def left(self) -> float:
        """CPU seconds that are left of the budget."""
        return self.looks.left

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

    def run(self) -> None:
        """Look at the plans, rung by rung, until all users were looked at, or until the budget calls for an end."""
        shares = rungs(int(np.count_nonzero(np.diff(self.split.train.interactions.offsets))))
        # One fit each, with the settings that plans begin with, tells how many there is time for.
        share, fits, seconds = shares[0] if shares else 0.0, 1.0, self.seconds / 4
        for step in range(2 * len(shares)):
            rung = self._rung(share)
            seen = None if rung is None else self._climb(rung, step, fits, seconds)
            if rung is None or seen is None:
                return
            self.found = seen
            shares = [s for s in shares if s > share or (s == share and step == 0)]
            self._narrow(rung, shares)
            if not shares:
                return
            share, fits, seconds = self._next(self._order, self.judged, shares)
            if fits < 1:
                return

    def _next(self, names: Iterable[str], judged: Set[str], shares: Sequence[float]) -> tuple[float, float, float]:
        """Return on which share of the users to look again, at how many fits a plan, and the seconds for it.

        It is the largest share on which every plan can make enough, in half of the time where it is not the last. Where
        there is none, it is all users, where nothing is fitted in vain: what was fitted is judged as it is. There are
        no fits where even one of each takes longer than there is.
        """
        names = list(names)
        for share in reversed(shares):
            part = self._for_looks(share)
            if (fits := self._fits(names, judged, share, part)) >= _enough(share):
                return share, fits, part
        seconds = self._for_looks(1.0)
        # Settings that need no other fit were searched before: again, as far as there is time.
        once = sum(self._least_seconds(name) for name in names)
        return 1.0, max(self._fits(names, judged, 1.0, seconds), float(once <= seconds)), seconds

    def _affords(self, names: Set[str], judged: Set[str], shares: Sequence[float]) -> bool:
        share, fits, _ = self._next(names, judged, shares)
        return fits >= _enough(share)

    def _for_looks(self, share: float) -> float:
        """Return the seconds that there are for looks at a share of the users, and no other before the last."""
        seconds = max(0.0, self.left - self._reserve(share))
        return seconds if share == 1 else seconds / 2

    def _least_seconds(self, name: str) -> float:
        """Return what a look at all users takes at least; what a plan is built on is looked at before it."""
        one = self.found.get(name)
        if one is None or references_of(self._by_name[name]):
            return 0.0
        return one.whole_fit_seconds if one.plan.reranker is None else one.setting_seconds_at(1.0)

    def _rung(self, share: float) -> Rung | None:
        split = sampled(self.split, share, max_queries=self.config.tuning.max_queries, seed=self.config.seed)
        return Rung(split, share, self._growth) if len(split.validation) else None

    def _growth(self, plan: str, rung: Rung) -> Growth:
        """Return how many times as long a plan is expected to take on everything as on ``rung``."""
        if rung.share == 1:
            return Growth()
        resolved = self._by_name[plan].resolved(self._by_name)
        whole, part = self.weighs(resolved, None), self.weighs(resolved, rung.split)
        queries = min(self.config.tuning.max_queries, len(self.split.validation)) / len(rung.split.validation)
        fit = 1 / rung.share if whole is None or not part else max(1.0, queries, whole / part)
        asked, less = self.asks(resolved, None), self.asks(resolved, rung.split)
        return Growth(fit, math.sqrt(fit) if asked is None or not less else max(1.0, asked / less))

    def _reserve(self, share: float) -> float:
        """Return the seconds to keep, while plans are looked at on ``share``, for what the best one takes after it."""
        return SPARE * self.whole(self.found[self._best], fitted=share == 1)

    def _fits(self, names: Iterable[str], judged: Set[str], share: float, seconds: float) -> float:
        """Return how many fits each of the plans can make on a share of users in ``seconds``: of `STEPS`, or 0."""
        searched = self._searched(judged)
        most = {n: self._most_fits(n) if n in searched else 1.0 for n in names}
        each = {n: (self.found[n].setting_seconds_at(share), most[n]) for n in names if n in self.found}
        fitting = (step for step in STEPS if sum(s * min(step, most) for s, most in each.values()) <= seconds)
        return float(max(fitting, default=0))

    def _searched(self, judged: Set[str]) -> Set[str]:
        """Return the plans that make more than one fit: those to be judged, and what the best so far is built on."""
        return judged | set(references_of(self._by_name[self._best]))

    def _most_fits(self, name: str) -> float:
        """Return how many fits a plan can make at most, one setting after another; where they have a weight, no end."""
        spec = self._by_name[name].resolved(self._by_name).recommender
        if hasattr(registry.load("recommender", spec.component), "work"):
            return math.inf
        return 1.0 + sum(len(values) - 1 for stage, values in search_space(spec).values() if stage != "score")

    def _climb(self, rung: Rung, step: int, fits: float, seconds: float) -> dict[str, Looked] | None:
        """Look at every plan left on one rung; None where not all could be seen, and others had been before."""
        first = step == 0
        seen: dict[str, Looked] = {}
        late: list[Dropped] = []
        if first:
            self.found = seen
        names = self._best_first(rung)
        weights = {n: self._takes(n) for n in names}
        searched = set(names) if first else self._searched(self.judged)
        for i, name in enumerate(names):
            plan = self._by_name[name]
            if first and seen and self._out_of_time(name, rung, seen):
                self.dropped.append(Dropped(name, "not looked at: the search budget was over"))
                self._order.remove(name)
                continue
            if (reason := self._hindered(plan, seen)) is not None:
                self._skip(name, reason)
                continue
            resolved = plan.resolved({n: one.plan for n, one in seen.items()})
            if first and (reason := self._too_dear(resolved)) is not None:
                self._skip(name, reason)
                continue
            if not first and self._short(name, rung, {**self.found, **seen}):
                if rung.share == 1 and name not in self._with_members({self._best}):
                    late.append(Dropped(name, "not looked at on all users: the search budget was over"))
                    continue
                self.say(f"search: the budget ends at {len(rung.split.validation):,} users, before {name}")
                return None
            before = self.found.get(name)
            expected = 0.0 if before is None else before.setting_seconds_at(rung.share)
            share = seconds * weights[name] / sum(weights[n] for n in names[i:])
            most = fits if name in searched else 1.0
            limit = max(ROOM * most * expected, share)
            if not first:
                later = sum(self.found[n].setting_seconds_at(rung.share) for n in names[i + 1 :] if n in self.found)
                now = {**self.found, **seen}
                limit = min(limit, self.left - self._after(rung, (self._best, name), now) - later)
                # Nothing comes after all users: what others leave of the time is for more fits.
                most *= ROOM if rung.share == 1 and name in searched else 1.0
                most = min(most, max(1.0, limit / max(expected, LEAST_SECONDS)))
            try:
                seen[name] = self._look(resolved, rung, step, most, limit, seen)
                self._hold(seen)
            except (DataError, MissingExtraError, AssetError, BudgetError, MemoryError) as error:
                self._skip(name, str(error) or "out of memory")
        self.dropped += late if seen else []
        return seen or None

    def _best_first(self, rung: Rung) -> list[str]:
        """Return the plans to look at, in an order in which what a plan is built on, or begins with, comes before it.

        On all users the best so far comes as early as it may: what time there is at last is for it.
        """
        names = [name for name in self._by_name if name in self._order]
        if rung.share < 1 or self._best not in names:
            return names
        spec, before = self._by_name[self._best].recommender, names[: names.index(self._best)]
        first = self._with_members({self._best, *(n for n in before if kin(self._by_name[n].recommender, spec))})
        return sorted(names, key=lambda n: n not in first)

    @property
    def _best(self) -> str:
        """The plan that is best by now; empty before anything was looked at."""
        return max(self.found, key=lambda n: self.found[n].mean, default="")

    def _with_members(self, names: set[str]) -> set[str]:
        """Return ``names`` and all that they are built on."""
        while more := {member for n in names for member in references_of(self._by_name[n])} - names:
            names = names | more
        return names

    def _narrow(self, rung: Rung, shares: Sequence[float]) -> None:
        """Leave out plans that are not to be looked at on one of ``shares``; without any, those not to be judged."""
        if shares:
            self._afford(rung)
        seen = self.found
        keep = max(1, math.ceil(sum(name not in BASELINES for name in seen) / 2))
        left = narrowed(
            seen,
            self._by_name,
            Floor.parse(self.config.quality.floor),
            self._compute(seen),
            keep=keep,
            judges=len(self.split.test),
            affords=lambda names, judged: not shares or self._affords(names, judged, shares),
            strict=not shares,
            seed=self.config.seed,
        )
        self.dropped += left.dropped
        self._order, self.judged, self.members = list(left.order), left.judged, left.members
        self.found = {name: seen[name] for name in left.order}
        self.ready = {name: model for name, model in self.ready.items() if name in left.judged}
        on, users = ", ".join(left.order), len(rung.split.validation)
        self.say(f"search: {len(seen)} plans at {users:,} users; on with {on} ({self.left:.0f} s left)")

    def _afford(self, rung: Rung) -> None:
        """Leave out plans that cannot be fitted to everything and judged in what is left, but for the cheapest one."""
        needed = {name: self.whole(one) for name, one in self.found.items()}
        kept = {name for name, seconds in needed.items() if seconds <= self.left} or {
            min(needed, key=needed.__getitem__)
        }
        for name in reversed(self.found):
            kept |= set(references_of(self._by_name[name])) if name in kept else set()
        self.dropped += [
            Dropped(
                name,
                f"dropped at {len(rung.split.validation):,} users: fitting and judging it is expected to take "
                f"{needed[name]:.3g} s of CPU, and {max(0.0, self.left):.3g} s are left",
            )
            for name in self.found
            if name not in kept
        ]
        self.found = {name: one for name, one in self.found.items() if name in kept}

    def _takes(self, name: str) -> float:
        """Return about how long trying one more setting of a plan takes, beside those of others."""
        one = self.found.get(name)
        if one is None:
            return self.weighs(self._by_name[name].resolved(self._by_name), None) or LEAST_SECONDS
        return LEAST_SECONDS + one.setting_seconds

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

    def _out_of_time(self, name: str, rung: Rung, seen: Mapping[str, Looked]) -> bool:
        """Whether a first look at a plan would not leave enough to fit the best so far to everything.

        What needs more than half of the budget for that is no reason to leave plans unseen that may do with less.
        """
        needed = {n: self.whole(one, seen) for n, one in seen.items()}
        modest = [n for n in seen if needed[n] <= min(self.left, self.seconds / 2)]
        kept = needed[max(modest, key=lambda n: seen[n].mean)] if modest else 0.0
        return kept + (self.weighs(self._by_name[name].resolved(self._by_name), rung.split) or 0.0) > self.left

    def _short(self, name: str, rung: Rung, seen: Mapping[str, Looked]) -> bool:
        """Whether looking at a plan again would not leave enough to fit the best so far to everything."""
        before, best = seen[name], max(seen.values(), key=lambda one: one.mean)
        itself = rung.share == 1 and best.plan.name == name
        fit = before.whole_fit_seconds / rung.growth(name).fit
        return fit + self.whole(best, fitted=itself) > self.left

    def _after(self, rung: Rung, names: Iterable[str], seen: Mapping[str, Looked]) -> float:
        """Return the seconds to keep for fitting and judging the dearest of ``names`` after a look on ``rung``."""
        last = rung.share == 1
        return max(self.whole(seen[n], seen, fitted=last) for n in names) * (SPARE if last else 1.0)

    def whole(self, one: Looked, seen: Mapping[str, Looked] | None = None, *, fitted: bool = False) -> float:
        """Return what fitting a plan to all users, unless its model waits, and judging it are expected to take.

        ``seen``: what is known by now of the plans that it is built on. ``fitted``: its model will be waiting by then.
        """
        asked, name = self.config.evaluation, one.plan.name
        limits = (asked.max_queries, asked.lm_queries if one.plan.language_model == "per request" else 0)
        queries = min([len(self.split.test), *(limit for limit in limits if limit)])
        known = self.found if seen is None else seen
        members = [known[member] for member in references_of(self._by_name[name]) if member in known]
        # A search keeps what members say: with it, a query takes a blend less than all of them.
        each = max(one.whole_query_seconds, sum(member.whole_query_seconds for member in members))
        fit = sum(member.whole_fit_seconds for member in members) or one.whole_fit_seconds
        waits = fitted or (one.ready and (name in self.ready or name in self.lost))
        return (0.0 if waits else fit) + (each + JUDGING_SECONDS) * queries

    def _hold(self, seen: Mapping[str, Looked]) -> None:
        """Let go of models of lesser plans where all of them would fill too much of the memory."""
        if not self.ready:
            return
        held = distinct_bytes(model.learned for model in self.ready.values())
        if (free := available_memory_bytes()) is None or held <= HELD_SHARE * (free + held):
            return
        kept: dict[str, Ready] = {}
        for name in sorted(self.ready, key=lambda n: -seen[n].mean):
            more = {**kept, name: self.ready[name]}
            if distinct_bytes(model.learned for model in more.values()) <= HELD_SHARE * (free + held):
                kept = more
        self.ready = kept

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(Dropped(name, reason))
        self.found.pop(name, None)
        self._order.remove(name)
        self.say(f"{name}: not tried ({reason.splitlines()[0]})")

    def _compute(self, seen: Mapping[str, Looked]) -> dict[str, float]:
        """Return about how many CPU seconds a day each plan would take, for the frontier."""
        traffic = self.config.traffic
        return {
            name: one.whole_query_seconds * traffic.requests_per_day + one.whole_fit_seconds * traffic.refreshes_per_day
            for name, one in seen.items()
        }

    def _look(
        self, plan: Plan, rung: Rung, step: int, fits: float, seconds: float, seen: Mapping[str, Looked]
    ) -> Looked:
        looked, ready = self.looks.look(plan, rung, step, fits, seconds, self.found.get(plan.name), seen)
        if ready is not None:
            self.ready[plan.name] = ready
        elif looked.ready:
            self.lost.add(plan.name)
        return looked


def _enough(share: float) -> float:
    """Return how many fits a plan there should be on a share; on all users, plans make more where others leave time."""
    return LEAST_FITS / ROOM if share == 1 else LEAST_FITS


def seconds_of(seconds: float | None, dollars: float | None, prices: PriceSheet) -> float | None:
    """Return a search budget in CPU seconds: the lesser of time, and of what money buys at ``prices``."""
    hour = prices.price(Cost(cpu_seconds=3600.0, gpu_seconds=0.0, fees=0.0))
    bought = None if dollars is None or not hour else dollars / hour * 3600
    return min((limit for limit in (seconds, bought) if limit is not None), default=None)


__all__ = ["SPARE", "Halving", "seconds_of"]
