"""Trials → Decision: the cheapest plan that meets the quality asked for within the budget. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from frugalrec.errors import ConfigError, DataError
from frugalrec.evaluation import Trial
from frugalrec.forecast import Bill
from frugalrec.significance import Estimate, holm, paired_difference, paired_p_value

Verdict = Literal["chosen", "feasible", "below the floor", "over budget"]

LEVEL = 0.05
"""The chance of any false "paid" or "worse" among the like-for-like pairs of a decision."""


@dataclass(frozen=True)
class Floor:
    """The quality asked for: at least ``value``, or within ``margin`` (a share) of the best plan."""

    value: float | None = None
    margin: float | None = 0.02

    @classmethod
    def parse(cls, text: float | str) -> Floor:
        """Read a number, or "within 2% of best"; raises `ConfigError`."""
        if isinstance(text, int | float) and not isinstance(text, bool):
            return cls(value=float(text), margin=None)
        match = re.fullmatch(r"\s*within\s+(\d+(?:\.\d+)?)\s*%\s+of\s+best\s*", str(text), re.IGNORECASE)
        if match is None:
            raise ConfigError(
                f"quality.floor must be a number or like 'within 2% of best', not {text!r}",
                hint='write floor = 0.17, or floor = "within 2% of best"',
            )
        return cls(value=None, margin=float(match[1]) / 100)

    def __str__(self) -> str:
        if self.value is not None:
            return f"at least {self.value:g}"
        return f"within {100 * (self.margin or 0.0):g}% of best"


@dataclass(frozen=True)
class Budget:
    """Limits on what a plan may take; None is no limit."""

    dollars_per_month: float | None = None
    seconds_per_request_p95: float | None = None
    memory_gib: float | None = None
    once_seconds: float | None = None


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
class Worth:
    """What a language model bought: the plan with it against the plan without, on the same users.

    Where it is one of several ``comparisons``, ``p_value`` is corrected for their number by Holm's method.
    """

    with_lm: str
    without_lm: str
    difference: Estimate
    relative: float | None
    kind: str
    p_value: float | None = None
    comparisons: int = 1

    @property
    def shown(self) -> bool:
        """Whether there is a difference: 0 is outside the interval, and the corrected p-value is small."""
        return self.difference.excludes_zero and (self.p_value is None or self.p_value <= LEVEL)

    @property
    def paid(self) -> bool:
        """Whether a gain is shown."""
        return self.shown and self.difference.low is not None and self.difference.low > 0

    @property
    def sentence(self) -> str:
        """The finding in words."""
        d = self.difference
        if d.mean is None or d.low is None or d.high is None:
            return f"What the language model bought in {self.with_lm} is unknown: too few users."
        change = f" ({self.relative:+.1%})" if self.relative is not None else ""
        interval = f"{d.mean:+.4f}{change}, 95% interval {d.low:+.4f} to {d.high:+.4f}, {d.n:,} users"
        if self.p_value is not None and self.comparisons > 1:
            interval += f", p = {self.p_value:.3f} corrected for {self.comparisons} comparisons"
        if self.paid:
            return f"The language model paid here: {self.with_lm} against {self.without_lm} gains {interval}."
        if d.high < 0 and self.shown:
            return f"The language model did not pay here: {self.with_lm} is worse than {self.without_lm} by {interval}."
        return (
            f"The language model did not pay here: {self.with_lm} against {self.without_lm} is not shown to gain "
            f"({interval})."
        )


@dataclass(frozen=True)
class Decision:
    """The chosen plan (None when nothing is feasible), why, the frontier, and what was decided about every plan."""

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

    def choice(self, name: str) -> Choice:
        """Return what was decided about the plan called ``name``."""
        return next(c for c in self.choices if c.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""

        def worth(w: Worth, choices: Mapping[str, Choice]) -> dict[str, Any]:
            bill = choices[w.with_lm].bill
            return {
                "with": w.with_lm,
                "without": w.without_lm,
                "use": w.kind,
                "difference": w.difference.mean,
                "interval": [w.difference.low, w.difference.high],
                "n": w.difference.n,
                "relative": w.relative,
                "p_value": w.p_value,
                "comparisons": w.comparisons,
                "paid": w.paid,
                "cost": {"once": bill.once, "thousand_requests": bill.thousand_requests, "currency": bill.currency},
                "sentence": w.sentence,
            }

        by_name = {c.name: c for c in self.choices}
        return {
            "plan": self.plan,
            "reason": self.reason,
            "metric": self.metric,
            "floor": str(self.floor),
            "frontier": list(self.frontier),
            "language_model": None if self.language_model is None else worth(self.language_model, by_name),
            "language_model_pairs": [worth(w, by_name) for w in self.pairs],
            "nearest_miss": self.nearest_miss,
            "notes": list(self.notes),
        }


def decide(
    trials: Sequence[Trial], bills: Mapping[str, Bill], floor: Floor, budget: Budget, *, seed: int = 0
) -> Decision:
    """Choose the cheapest plan whose lower confidence bound meets ``floor``, within ``budget``.

    Against a number, the plan's own interval counts. Against the best plan, the paired interval of the difference does
    (non-inferiority): its lower end must be above -margin × best. "Cheapest" is money a month, then
    seconds a request; the best of equals is the better one. The best plan is sought among those tried on the most
    users; one tried on fewer is compared with it on those users. A plan that runs a language model on every request
    must moreover be shown to beat the same plan without.

    What is said of several like-for-like pairs is corrected for their number (Holm, 1979). The headline is one question
    asked once, and is not, unless it is one of the pairs. The floor is held against each plan alone, at 95%: the more
    plans, the likelier that one passes by luck.
    """
    if not trials:
        raise DataError("there is no trial to decide on", hint="give at least one plan that applies to the data")
    pairs = _pairs(trials, seed)
    idle = {w.with_lm: w for w in pairs if w.kind == "per request" and not w.paid}
    # What may not be chosen is no measure for the others either.
    eligible = [t for t in trials if t.name not in idle] or trials
    fullest = max(t.score.n for t in eligible)
    best = max((t for t in eligible if t.score.n == fullest), key=lambda t: (_mean(t), t.name))
    drafts: list[tuple[Trial, bool, str, tuple[str, ...]]] = []
    for trial in trials:
        good, why = _meets(trial, best, floor, seed)
        if good and trial.name in idle:
            good, why = (
                False,
                f"its language model is not shown to beat its own input order, {idle[trial.name].without_lm}",
            )
        drafts.append((trial, good, why, tuple(_overspends(trial, bills[trial.name], budget))))
    feasible = [trial for trial, good, _, over in drafts if good and not over]
    chosen = min(feasible, key=lambda t: _price(t, bills), default=None)
    choices = []
    for trial, good, why, over in drafts:
        verdict: Verdict
        if trial is chosen:
            verdict, reason = "chosen", f"cheapest plan that is {floor}: {why}"
        elif good and not over:
            verdict, reason = "feasible", _dearer(trial, chosen, bills)
        elif not good:
            verdict, reason = "below the floor", why
        else:
            verdict, reason = "over budget", "; ".join(over)
        choices.append(Choice(trial, bills[trial.name], verdict, reason, over))
    frontier = _frontier(trials, best, bills)
    miss = None if chosen is not None else _nearest_miss(drafts)
    return Decision(
        plan=None if chosen is None else chosen.name,
        reason=_reason(chosen, best, floor, choices, bills, miss),
        metric=best.metric,
        floor=floor,
        frontier=frontier,
        choices=tuple(choices),
        language_model=_headline(trials, chosen, best, pairs, seed),
        pairs=pairs,
        nearest_miss=miss,
    )


def _mean(trial: Trial) -> float:
    return trial.score.mean if trial.score.mean is not None else float("-inf")


def _price(trial: Trial, bills: Mapping[str, Bill]) -> tuple[float, float, float]:
    month = bills[trial.name].month
    seconds = trial.cost["request"].seconds
    return (np.inf if month is None else month, np.inf if seconds is None else seconds, -_mean(trial))


def _meets(trial: Trial, best: Trial, floor: Floor, seed: int) -> tuple[bool, str]:
    score = trial.score
    if score.mean is None:
        return False, "no test query could be answered"
    if floor.value is not None:
        low = score.low if score.low is not None else -np.inf
        bound = "unknown" if score.low is None else f"{score.low:.4f}"
        return low >= floor.value, f"lower bound {bound} against a floor of {floor.value:g}"
    if trial is best:
        return True, f"{trial.metric} {score.mean:.4f}, the best of all plans"
    assert floor.margin is not None
    gap = paired_difference(trial.values, best.values, seed=seed)
    if gap.low is None or gap.mean is None:
        return False, "too few users to compare with the best plan"
    reference = float(np.nanmean(best.values[~np.isnan(trial.values)]))
    allowed = -floor.margin * reference
    text = (
        f"{gap.mean / reference:+.1%} against {best.name} (at worst {gap.low / reference:+.1%})"
        if reference
        else "no signal"
    )
    return gap.low >= allowed, text


def _overspends(trial: Trial, bill: Bill, budget: Budget) -> list[str]:
    """Return the limits that a plan breaks, or that it cannot be shown to keep."""
    once = (trial.cost["once"] + trial.cost["refresh"]).seconds
    p95 = trial.latency_seconds.get("p95")
    limits: list[tuple[str, float | None, float | None, Callable[[float], str]]] = [
        ("money a month", bill.month, budget.dollars_per_month, lambda money: f"{bill.currency} {_digits(money)}"),
        ("p95 of a request", p95, budget.seconds_per_request_p95, "{:.4f} s".format),
        ("memory", trial.model_bytes / 2**30, budget.memory_gib, _memory),
        ("seconds before the first request", once, budget.once_seconds, "{:.1f} s".format),
    ]
    broken = []
    for what, spent, limit, form in limits:
        if limit is None:
            continue
        if spent is None:
            broken.append(f"{what} is unknown, the limit is {form(limit)}")
        elif spent > limit:
            broken.append(f"{what} {form(spent)} is over {form(limit)}")
    return broken


def _dearer(trial: Trial, chosen: Trial | None, bills: Mapping[str, Bill]) -> str:
    assert chosen is not None
    a, b = bills[trial.name].month, bills[chosen.name].month
    if a is None or b is None or b == 0:
        return f"good enough, but not shown to be cheaper than {chosen.name}"
    return f"good enough, but {a / b:.1f} × the price of {chosen.name}"


def _frontier(trials: Sequence[Trial], best: Trial, bills: Mapping[str, Bill]) -> tuple[str, ...]:
    """Return the plans that no other beats in both mean quality and price, cheapest first."""
    kept: list[str] = []
    reached = float("-inf")
    for trial in sorted(trials, key=lambda t: _price(t, bills)):
        standing = comparable_mean(trial, best)
        if standing > reached:
            kept.append(trial.name)
            reached = standing
    return tuple(kept)


def comparable_mean(trial: Trial, reference: Trial) -> float:
    """Return the mean of ``trial`` as if on all users of ``reference``: its gain over it on the users both saw."""
    if trial.score.n == reference.score.n:
        return _mean(trial)
    gain = paired_difference(trial.values, reference.values, draws=1).mean
    return _mean(reference) + gain if gain is not None else float("-inf")


def _nearest_miss(drafts: Sequence[tuple[Trial, bool, str, tuple[str, ...]]]) -> str:
    """Name the plan that breaks the fewest conditions, and which: the best of equals."""
    trial, good, why, over = min(drafts, key=lambda d: (len(d[3]) + (not d[1]), -_mean(d[0])))
    broken = [*over] if good else [f"quality: {why}", *over]
    return f"{trial.name} comes nearest ({'; '.join(broken)})"


def _worth(with_lm: Trial, without: Trial, seed: int) -> Worth:
    difference = paired_difference(with_lm.values, without.values, seed=seed)
    both = ~np.isnan(with_lm.values) & ~np.isnan(without.values)
    base = float(without.values[both].mean()) if both.any() else 0.0
    relative = difference.mean / base if difference.mean is not None and base else None
    return Worth(with_lm.name, without.name, difference, relative, with_lm.plan.language_model)


def _pairs(trials: Sequence[Trial], seed: int) -> tuple[Worth, ...]:
    by_name = {t.name: t for t in trials}
    compared = [
        (t, by_name[t.plan.without_lm])
        for t in trials
        if t.plan.language_model != "no" and t.plan.without_lm in by_name
    ]
    found = [_worth(one, other, seed) for one, other in compared]
    if len(found) < 2:
        return tuple(found)
    draws = max(2000, 200 * len(found))  # so that the smallest p-value there can be passes the correction easily
    raw = [paired_p_value(one.values, other.values, draws=draws, seed=seed) for one, other in compared]
    corrected = holm(raw).tolist()
    return tuple(replace(w, p_value=p, comparisons=len(found)) for w, p in zip(found, corrected, strict=True))


def _headline(
    trials: Sequence[Trial], chosen: Trial | None, best: Trial, pairs: Sequence[Worth], seed: int
) -> Worth | None:
    """Compare a plan with a language model to the best without.

    The one with is the chosen plan where that has one, else the best on validation, so that luck on the test users does
    not speak for it (where nothing was tuned, they must do); the one without is the best on the test users themselves,
    the hardest to beat.
    """

    def validated(trial: Trial) -> tuple[float, float]:
        return -np.inf if trial.validation is None else trial.validation, comparable_mean(trial, best)

    learned = [t for t in trials if t.plan.language_model != "no"]
    plain = [t for t in trials if t.plan.language_model == "no"]
    if not learned or not plain:
        return None
    with_lm = chosen if chosen is not None and any(t is chosen for t in learned) else max(learned, key=validated)
    without = max(plain, key=lambda t: comparable_mean(t, best))
    same = (w for w in pairs if (w.with_lm, w.without_lm) == (with_lm.name, without.name))
    return next(same, None) or _worth(with_lm, without, seed)


def _memory(gib: float) -> str:
    return f"{gib:.3g} GiB" if gib >= 0.1 else f"{gib * 1024:.3g} MiB"


def _digits(money: float) -> str:
    return f"{money:,.2f}" if money >= 1 or money == 0 else f"{money:#.2g}"


def _reason(
    chosen: Trial | None,
    best: Trial,
    floor: Floor,
    choices: Sequence[Choice],
    bills: Mapping[str, Bill],
    miss: str | None,
) -> str:
    """Say why in two sentences."""
    if chosen is None:
        return f"No plan is {floor} within the budget. {miss}."
    price = bills[chosen.name]
    month = "at an unknown price" if price.month is None else f"for {price.currency} {_digits(price.month)} a month"
    first = f"{chosen.name} is the cheapest plan that is {floor}: {best.metric} {_mean(chosen):.4f} {month}."
    if chosen is not best:
        more = _mean(best) / _mean(chosen) - 1 if _mean(chosen) else 0.0
        dear = bills[best.name].month
        ratio = f" at {dear / price.month:.1f} × the price" if dear and price.month else ""
        if round(more, 3) <= 0:
            return f"{first} {best.name} is as good{ratio}."
        return f"{first} The best, {best.name}, reaches {_mean(best):.4f} ({more:+.1%}){ratio}."
    cheaper = [c for c in choices if c.verdict == "below the floor" and _price(c.trial, bills) < _price(chosen, bills)]
    if cheaper:
        next_best = max(cheaper, key=lambda c: _mean(c.trial))
        return f"{first} The best cheaper plan, {next_best.name}, reaches only {_mean(next_best.trial):.4f}."
    return f"{first} No plan is both cheaper and as good."
