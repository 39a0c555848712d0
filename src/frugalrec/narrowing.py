"""Which of the plans that were looked at on few users are looked at on more.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016, halve by rank;
here plans are compared user by user, and no more go on than the next look has time for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.floors import Floor
from frugalrec.plan import Plan
from frugalrec.portfolio import references_of
from frugalrec.significance import Estimate, bootstrap_interval, paired_difference

BASELINES = ("chance", "popularity")
"""What any plan must beat costs next to nothing and is never dropped."""


@dataclass(frozen=True)
class Looked:
    """What a rung found of a plan: settings, the metric of each validation query, and what it took.

    ``fit_seconds`` and ``query_seconds`` are CPU time of one fit and of one query; ``growth`` is how many times as long
    a fit on everything is expected to take as one on this ``share`` of the users, ``query_growth`` how many times as
    long answering a query. ``fits`` were made, counted by
    their work; each with the settings that need none took ``setting_seconds`` of CPU. ``stopped_at`` is the setting at
    which there was no room for more: the next rung goes on there. ``tried``: notes on the settings that were tried.
    ``ready``: whether there is, or was, a model of just these settings fitted to everything.
    """

    plan: Plan
    values: FloatArray
    fit_seconds: float
    query_seconds: float
    cpu_seconds: float
    growth: float = 1.0
    share: float = 1.0
    stopped_at: str = ""
    fits: float = 1.0
    setting_seconds: float = 0.0
    tried: Sequence[Mapping[str, Any]] = ()
    ready: bool = False
    query_growth: float = 1.0

    @property
    def mean(self) -> float:
        """The mean over the queries that were tried."""
        known = self.values[~np.isnan(self.values)]
        return float(known.mean()) if len(known) else float("-inf")

    def setting_seconds_at(self, share: float) -> float:
        """Return about what one more setting takes on ``share`` of the users: between here and all by a power law."""
        if share == self.share or self.share == 1:
            return self.setting_seconds
        return self.setting_seconds * float(self.growth ** (1 - math.log(share) / math.log(self.share)))

    @property
    def whole_fit_seconds(self) -> float:
        """What a fit to all users is expected to take."""
        return self.fit_seconds * self.growth

    @property
    def whole_query_seconds(self) -> float:
        """What answering one query is expected to take after a fit to all users."""
        return self.query_seconds * self.query_growth


@dataclass(frozen=True)
class Dropped:
    """A plan that was not looked at further, and why."""

    plan: str
    reason: str


@dataclass(frozen=True)
class Narrowed:
    """What goes on: all of ``order``, best first. ``members`` of it only because others are built on them."""

    order: tuple[str, ...]
    judged: frozenset[str]
    dropped: tuple[Dropped, ...]
    members: tuple[Dropped, ...] = ()


def narrowed(
    looked: Mapping[str, Looked],
    plans: Mapping[str, Plan],
    floor: Floor,
    compute: Mapping[str, float],
    *,
    keep: int,
    judges: int,
    affords: Callable[[Set[str], Set[str]], bool] = lambda names, judged: True,
    strict: bool = False,
    seed: int = 0,
) -> Narrowed:
    """Return which of the plans that were looked at go on, and of each other one why not.

    A plan goes on among the best ``keep`` by the upper confidence bound of its difference to the best; or where nothing
    as good takes less ``compute`` and it may yet be shown to meet the floor: were its difference as good as that bound,
    and the interval as narrow as ``judges`` test users would make it. What goes on takes along its twin without a
    language model and what it is built on. There are fewer best ones where another look at all of that, and at those to
    be judged among them, is more than ``affords``.
    ``strict``: the best, too, only go on where it may be shown that they meet the floor.
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
    others, reached = {n for n in order if n in BASELINES}, float("-inf")
    for name in sorted(order, key=lambda n: (compute[n], n)):
        if looked[name].mean > reached:
            reached = looked[name].mean
            others |= {name} & hopeful
    for best_ones in range(keep, 0, -1):
        kept = others | {n for n in merit[:best_ones] if not strict or n in hopeful}
        judged = _with(kept, looked, lambda n: [plans[n].without_lm])
        needed = _with(judged, looked, lambda n: references_of(plans[n]))
        if affords(needed, judged):
            break
    at = f"at {len(looked[best].values):,} users: "

    def why(name: str) -> str:
        told = f"at best {looked[best].mean + uppers[name]:.4f} against {looked[best].mean:.4f} of {best}, "
        if strict and name not in hopeful:
            return f"{told}by which {judges:,} test users would not show that it is {floor}"
        time = ", for which there was time" if best_ones < keep else ""
        return f"{told}and it is not among the best {best_ones} by that bound{time}"

    dropped = [Dropped(n, f"dropped {at}{why(n)}") for n in order if n not in needed]
    members = []
    for name in sorted(needed - judged, key=order.index):
        users = ", ".join(n for n in order if n in needed and name in references_of(plans[n]))
        members.append(Dropped(name, f"kept only for {users}, which is built on it, {at}{why(name)}"))
    return Narrowed(tuple(n for n in order if n in needed), frozenset(judged), tuple(dropped), tuple(members))


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


__all__ = ["BASELINES", "Dropped", "Looked", "Narrowed", "narrowed"]
