"""Limits on what a plan may take, and which of them a plan breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from frugalrec.evaluation import Trial
from frugalrec.forecast import Bill


@dataclass(frozen=True)
class Budget:
    """Limits on what a plan may take; None is no limit."""

    dollars_per_month: float | None = None
    seconds_per_request_p95: float | None = None
    memory_gib: float | None = None
    once_seconds: float | None = None


class _Limit(NamedTuple):
    key: str
    what: str
    spent: float | None
    limit: float | None
    form: Callable[[float], str]


def overspends(trial: Trial, bill: Bill, budget: Budget) -> list[tuple[str, str]]:
    """Return the limits that a plan breaks, or that it cannot be shown to keep: the key, and how."""
    broken = []
    for key, what, spent, limit, form in _limits(trial, bill, budget):
        if limit is None:
            continue
        if spent is None:
            broken.append((key, f"{what} is unknown, the limit is {form(limit)}"))
        elif spent > limit:
            broken.append((key, f"{what} {form(spent)} is over {form(limit)}"))
    return broken


def _limits(trial: Trial, bill: Bill, budget: Budget) -> list[_Limit]:
    once = (trial.cost["once"] + trial.cost["refresh"]).seconds
    p95 = trial.latency_seconds.get("p95")
    memory = trial.model_bytes / 2**30
    return [
        _Limit("dollars_per_month", "money a month", bill.month, budget.dollars_per_month,
               lambda money: f"{bill.currency} {digits(money)}"),
        _Limit("seconds_per_request_p95", "p95 of a request", p95, budget.seconds_per_request_p95, "{:.4f} s".format),
        _Limit("memory_gib", "memory", memory, budget.memory_gib, _memory),
        _Limit("once_seconds", "seconds before the first request", once, budget.once_seconds, "{:.1f} s".format),
    ]  # fmt: skip


def out_of_reach(plans: Sequence[tuple[Trial, Bill]], budget: Budget) -> list[str]:
    """Say which limits no plan keeps, and what the least is that a plan takes."""
    told = []
    for limits in zip(*(_limits(trial, bill, budget) for trial, bill in plans), strict=True):
        known = [(limit.spent, i) for i, limit in enumerate(limits) if limit.spent is not None]
        first = limits[0]
        if first.limit is None or not known or min(known)[0] <= first.limit:
            continue
        least, i = min(known)
        name = plans[i][0].name
        told.append(
            f"{first.key} = {first.limit:g} is less than any plan that was tried takes: the least is "
            f"{first.form(least)}, of {name}"
        )
    return told


def _memory(gib: float) -> str:
    return f"{gib:.3g} GiB" if gib >= 0.1 else f"{gib * 1024:.3g} MiB"


def digits(money: float) -> str:
    """Return a sum of money in digits that say something."""
    return f"{money:,.2f}" if money >= 1 or money == 0 else f"{money:#.2g}"


__all__ = ["Budget", "digits", "out_of_reach", "overspends"]
