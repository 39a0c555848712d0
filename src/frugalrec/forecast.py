"""Trial × traffic × price sheet → money and machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from frugalrec.cost import Cost
from frugalrec.evaluation import Trial
from frugalrec.prices import PriceSheet

DAYS_A_MONTH = 365.25 / 12


@dataclass(frozen=True)
class Traffic:
    """How often the recommender is asked and refitted."""

    requests_per_day: float = 1_000_000
    refreshes_per_day: float = 1


@dataclass(frozen=True)
class Bill:
    """What a plan costs at some traffic, in ``currency``; ``None`` where an amount behind it is unknown.

    ``once``: to encode the catalogue; ``refresh``: one refit; ``thousand_requests``; ``month``: requests and
    refreshes of a month (encoding the catalogue is paid once and not part of it). Money is compute used × price:
    machines that stand idle are not in it.
    """

    currency: str
    once: float | None
    refresh: float | None
    thousand_requests: float | None
    month: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the amounts by name."""
        return {
            "currency": self.currency,
            "once": self.once,
            "refresh": self.refresh,
            "thousand_requests": self.thousand_requests,
            "month": self.month,
        }


def monthly(cost: dict[str, Cost], traffic: Traffic) -> Cost:
    """Return the compute of a month: all requests and all refreshes."""
    return (
        cost["request"] * (traffic.requests_per_day * DAYS_A_MONTH)
        + cost["refresh"] * (traffic.refreshes_per_day * DAYS_A_MONTH)
    )  # fmt: skip


def bill(trial: Trial, traffic: Traffic, prices: PriceSheet) -> Bill:
    """Price a trial at ``traffic``; raises `PriceError` when something it uses is not on the sheet."""
    cost = dict(trial.cost)
    return Bill(
        currency=prices.currency,
        once=prices.price(cost["once"]),
        refresh=prices.price(cost["refresh"]),
        thousand_requests=prices.price(cost["request"] * 1000),
        month=prices.price(monthly(cost, traffic)),
    )


def crossing(a: Bill, b: Bill, traffic: Traffic) -> float | None:
    """Return the requests a day at which ``a`` and ``b`` cost the same, with the same refreshes, or None."""
    if a.refresh is None or b.refresh is None or a.thousand_requests is None or b.thousand_requests is None:
        return None
    difference = (a.thousand_requests - b.thousand_requests) / 1000
    if difference == 0:
        return None
    at = (b.refresh - a.refresh) * traffic.refreshes_per_day / difference
    return at if at > 0 else None
