"""Trials → Decision: the cheapest plan that meets the quality asked for within the budget. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from frugalrec.budgets import Budget, digits, out_of_reach, overspends
from frugalrec.errors import DataError
from frugalrec.evaluation import Trial
from frugalrec.flips import PRICE_TIE, Flips, Option, cheapest, flips
from frugalrec.floors import Floor, Standing, comparable_mean, mean_of, slice_standing, standing
from frugalrec.forecast import Bill, Traffic
from frugalrec.significance import paired_difference
from frugalrec.worth import Worth, headline, pairs_of

Verdict = Literal["chosen", "feasible", "below the floor", "over budget"]


@dataclass(frozen=True)
class Choice:
    """What was decided about one plan and why."""

    trial: Trial
    bill: Bill
    verdict: Verdict
    reason: str
    shortfalls: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.trial.name


@dataclass(frozen=True)
class Decision:
    """The chosen plan (None when nothing is feasible), why, the frontiers, and what was decided about every plan.

    ``frontier``: no other plan is both better and cheaper. ``pareto``: no other is as good in quality, money a month,
    p95 and memory at once, and better in one. ``runner_up`` would be chosen if the chosen plan were not there;
    ``flips`` says what else would change the choice. ``cheapest_infeasible``: the cheapest plan that will not do.
    """

    plan: str | None
    reason: str
    metric: str
    floor: Floor
    frontier: tuple[str, ...]
    choices: tuple[Choice, ...]
    language_model: Worth | None
    pairs: tuple[Worth, ...] = ()
    nearest_miss: str | None = None
    notes: tuple[str, ...] = field(default=())
    slices: Mapping[str, Floor] = field(default_factory=dict)
    pareto: tuple[str, ...] = ()
    runner_up: str | None = None
    flips: Flips = field(default_factory=Flips)
    cheapest_infeasible: str | None = None

    def choice(self, name: str) -> Choice:
        """Return what was decided about the plan called ``name``."""
        return next(c for c in self.choices if c.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""

        def worth(w: Worth) -> dict[str, Any]:
            bill = self.choice(w.with_lm).bill
            cost = {"once": bill.once, "thousand_requests": bill.thousand_requests, "currency": bill.currency}
            return {**w.to_dict(), "cost": cost}

        failed = None if self.cheapest_infeasible is None else self.choice(self.cheapest_infeasible)
        return {
            "plan": self.plan,
            "reason": self.reason,
            "metric": self.metric,
            "floor": str(self.floor),
            "slices": [f"{name}: {floor}" for name, floor in self.slices.items()],
            "frontier": list(self.frontier),
            "pareto": list(self.pareto),
            "runner_up": self.runner_up,
            "flips": self.flips.to_dict(),
            "cheapest_infeasible": {
                "plan": None if failed is None else failed.name,
                "reason": None if failed is None else f"{failed.verdict}: {failed.reason}",
            },
            "language_model": None if self.language_model is None else worth(self.language_model),
            "language_model_pairs": [worth(w) for w in self.pairs],
            "nearest_miss": self.nearest_miss,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Draft:
    """What is known of a plan before any is chosen. ``asked``: how it stands to the floor of all users."""

    trial: Trial
    bill: Bill
    asked: Standing
    hindrances: tuple[str, ...]
    over: tuple[tuple[str, str], ...]
    mean: float

    @property
    def good(self) -> bool:
        return self.asked.meets and not self.hindrances

    @property
    def why(self) -> str:
        return "; ".join([*([] if self.asked.meets and self.hindrances else [self.asked.why]), *self.hindrances])

    @property
    def broken(self) -> tuple[str, ...]:
        return tuple(text for _, text in self.over)

    @property
    def option(self) -> Option:
        seconds = self.trial.cost["request"].seconds
        return Option(self.trial.name, self.bill, seconds, self.mean, self.asked.meets, self.asked.turning)


def decide(
    trials: Sequence[Trial],
    bills: Mapping[str, Bill],
    floor: Floor,
    budget: Budget,
    *,
    slices: Mapping[str, Floor] | None = None,
    traffic: Traffic | None = None,
    seed: int = 0,
) -> Decision:
    """Choose the cheapest plan whose lower confidence bound meets ``floor``, and that of ``slices``, within ``budget``.

    Against a number, the plan's own interval counts. Against the best plan, the paired interval of the difference does
    (non-inferiority): its lower end must be above -margin × best. "Cheapest" is money a month, or seconds a request
    where no price is known; plans within `PRICE_TIE` of the cheapest count as equally cheap, and of those the best is
    chosen. The best plan is sought among those tried on the most users; one tried on fewer is compared with it on those
    users. A plan that runs a language model on every request must moreover be shown to beat the same plan without.
    ``traffic`` is that of the ``bills``: with it, the decision tells at which other traffic it would change.

    What is said of several like-for-like pairs is corrected for their number (Holm, 1979). The headline is one question
    asked once, and is not, unless it is one of the pairs. The floor is held against each plan alone, at 95%: the more
    plans, the likelier that one passes by luck.
    """
    if not trials:
        raise DataError("there is no trial to decide on", hint="give at least one plan that applies to the data")
    slices = slices or {}
    only_chance = all(map(_is_chance, trials))
    pairs = pairs_of(trials, seed)
    idle = {w.with_lm: w for w in pairs if w.kind == "per request" and not w.paid}
    # What may not be chosen is no measure for the others either.
    eligible = [t for t in trials if t.name not in idle and not _is_chance(t)] or trials
    fullest = max(t.score.n for t in eligible)
    best = max((t for t in eligible if t.score.n == fullest), key=lambda t: (mean_of(t), t.name))
    drafts = []
    for trial in trials:
        hindrances = ["a random order is there to be beaten"] if _is_chance(trial) and not only_chance else []
        if trial.name in idle:
            without = idle[trial.name].without_lm
            hindrances.append(f"its language model is not shown to beat its own input order, {without}")
        for name, asked in slices.items():
            found = slice_standing(name, trial, eligible, asked, seed)
            hindrances += [] if found.meets else [found.why]
        bill = bills[trial.name]
        over = tuple(overspends(trial, bill, budget))
        stands = standing(trial, best, floor, seed)
        drafts.append(_Draft(trial, bill, stands, tuple(hindrances), over, comparable_mean(trial, best)))
    feasible = {d.trial.name: d for d in drafts if d.good and not d.over}
    won = cheapest([d.option for d in feasible.values()])
    chosen = None if won is None else feasible[won.name]
    choices = []
    for draft in drafts:
        verdict: Verdict
        if draft is chosen:
            verdict, reason = "chosen", f"{_rank(draft, feasible)} plan that is {floor}: {draft.why}"
        elif draft.trial.name in feasible:
            assert chosen is not None
            verdict, reason = "feasible", _dearer(draft, chosen)
        elif not draft.good:
            verdict, reason = "below the floor", draft.why
        else:
            verdict, reason = "over budget", "; ".join(draft.broken)
        choices.append(Choice(draft.trial, draft.bill, verdict, reason, draft.broken))
    miss = None if chosen is not None else _nearest_miss(drafts, budget)
    others = [d for d in drafts if d.trial.name not in feasible]
    money = {"dollars_per_month"}
    open_to_money = [d.option for d in drafts if not d.hindrances and {key for key, _ in d.over} <= money]
    limit = floor.value if floor.value is not None else floor.margin or 0.0
    runner_up = cheapest([d.option for d in feasible.values() if d is not chosen])
    weighed = [d for d in drafts if not _is_chance(d.trial)] or drafts
    return Decision(
        plan=None if chosen is None else chosen.trial.name,
        reason=_reason(chosen, best, floor, drafts, feasible, miss),
        metric=best.metric,
        floor=floor,
        frontier=_frontier(weighed),
        choices=tuple(choices),
        notes=() if chosen is None else tuple(_beside_chance(chosen.trial, trials, seed)),
        language_model=headline(trials, None if chosen is None else chosen.trial, best, pairs, seed),
        pairs=pairs,
        nearest_miss=miss,
        slices=slices,
        pareto=_pareto(weighed),
        runner_up=None if runner_up is None else runner_up.name,
        flips=Flips()
        if won is None
        else flips(open_to_money, won, traffic, budget.dollars_per_month, floor=limit, margin=floor.value is None),
        cheapest_infeasible=min(others, key=_price).trial.name if others else None,
    )


def _is_chance(trial: Trial) -> bool:
    return trial.plan.recommender.component == "chance"


def _beside_chance(chosen: Trial, trials: Sequence[Trial], seed: int) -> Iterator[str]:
    """Say so where ``chosen`` is not shown to beat a random order."""
    for chance in trials:
        gap = paired_difference(chosen.values, chance.values, seed=seed)
        if _is_chance(chance) and chance is not chosen and (gap.low is None or gap.low <= 0):
            yield (
                f"{chosen.name} is not shown to beat a random order ({chosen.metric} {mean_of(chosen):.4f} against "
                f"{mean_of(chance):.4f}, {gap.n:,} users): there are too few events to learn from or to judge by"
            )


def _asked(floor: Floor, best: Trial) -> float:
    return floor.value if floor.value is not None else (1 - (floor.margin or 0.0)) * mean_of(best)


def _price(draft: _Draft) -> tuple[float, float, float]:
    month, seconds = draft.bill.month, draft.trial.cost["request"].seconds
    return (np.inf if month is None else month, np.inf if seconds is None else seconds, -mean_of(draft.trial))


def _rank(chosen: _Draft, feasible: Mapping[str, _Draft]) -> str:
    return "cheapest" if chosen is min(feasible.values(), key=_price) else "best of the equally cheap"


def _dearer(draft: _Draft, chosen: _Draft) -> str:
    a, b = draft.bill.month, chosen.bill.month
    name = chosen.trial.name
    if a is None or b is None or b == 0:
        return f"good enough, but not shown to be cheaper than {name}"
    if a <= b * (1 + PRICE_TIE):
        return f"good enough and about as cheap as {name}, which is better"
    return f"good enough, but {a / b:.1f} × the price of {name}"


def _frontier(drafts: Sequence[_Draft]) -> tuple[str, ...]:
    """Return the plans that no other beats in both mean quality and price, cheapest first."""
    kept: list[str] = []
    reached = float("-inf")
    for draft in sorted(drafts, key=_price):
        if draft.mean > reached:
            kept.append(draft.trial.name)
            reached = draft.mean
    return tuple(kept)


def _pareto(drafts: Sequence[_Draft]) -> tuple[str, ...]:
    """Return the plans that no other equals or beats in everything asked of plans; what is unknown is beaten by all."""
    unknown = float("inf")
    points = np.array(
        [
            [
                -d.mean,
                unknown if d.bill.month is None else d.bill.month,
                d.trial.latency_seconds.get("p95", unknown),
                d.trial.model_bytes,
            ]
            for d in drafts
        ]
    )
    beaten = [bool(((points <= p).all(axis=1) & (points < p).any(axis=1)).any()) for p in points]
    return tuple(d.trial.name for d, out in zip(drafts, beaten, strict=True) if not out)


def _nearest_miss(drafts: Sequence[_Draft], budget: Budget) -> str:
    """Name the limits that no plan keeps, and the plan that breaks the fewest conditions: the best of equals."""
    nearest = min(drafts, key=lambda d: (len(d.over) + (not d.good), -mean_of(d.trial)))
    broken = [*nearest.broken] if nearest.good else [f"quality: {nearest.why}", *nearest.broken]
    told = f"{nearest.trial.name} comes nearest ({'; '.join(broken)})"
    return ". ".join([*out_of_reach([(d.trial, d.bill) for d in drafts], budget), told])


def _reason(
    chosen: _Draft | None,
    best: Trial,
    floor: Floor,
    drafts: Sequence[_Draft],
    feasible: Mapping[str, _Draft],
    miss: str | None,
) -> str:
    """Say why in two sentences."""
    if chosen is None:
        return f"No plan is {floor} within the budget. {miss}."
    name, mean, price = chosen.trial.name, mean_of(chosen.trial), chosen.bill
    month = "at an unknown price" if price.month is None else f"for {price.currency} {digits(price.month)} a month"
    first = f"{name} is the {_rank(chosen, feasible)} plan that is {floor}: {best.metric} {mean:.4f} {month}."
    if chosen.trial is not best:
        more = mean_of(best) / mean - 1 if mean else 0.0
        dear = next(d for d in drafts if d.trial is best).bill.month
        ratio = f" at {dear / price.month:.1f} × the price" if dear and price.month else ""
        if round(more, 3) <= 0:
            return f"{first} {best.name} is as good{ratio}."
        return f"{first} The best, {best.name}, reaches {mean_of(best):.4f} ({more:+.1%}){ratio}."
    cheaper = [d for d in drafts if not d.good and _price(d) < _price(chosen)]
    if cheaper:
        next_best = max(cheaper, key=lambda d: mean_of(d.trial))
        reached = f"The best cheaper plan, {next_best.trial.name}, reaches"
        if comparable_mean(next_best.trial, best) >= _asked(floor, best):
            return f"{first} {reached} {mean_of(next_best.trial):.4f}, which is not enough to be sure: {next_best.why}."
        return f"{first} {reached} only {mean_of(next_best.trial):.4f}."
    return f"{first} No plan is both cheaper and as good."


__all__ = ["Choice", "Decision", "Verdict", "decide"]
