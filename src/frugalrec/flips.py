"""Which of the plans that will do is the cheapest, and what would have to change for another to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from frugalrec.forecast import DAYS_A_MONTH, Bill, Traffic

PRICE_TIE = 0.10
"""Plans within this share of the cheapest price count as equally cheap. Times of the same work vary by as much."""

_NUDGE = 1e-9
"""How far beyond a threshold the choice is looked at again, as a share of it."""


@dataclass(frozen=True)
class Option:
    """A plan as a candidate. ``seconds``: of a request, where no price is known; ``mean``: comparable quality.

    ``turning`` is the floor, a value or a margin, at which it is just good enough; None where no floor helps it.
    ``good``: whether it is now.
    """

    name: str
    bill: Bill
    seconds: float | None
    mean: float
    good: bool = True
    turning: float | None = None


def cheapest(options: Sequence[Option]) -> Option | None:
    """Return the best of the cheapest ``options``: those whose month costs at most `PRICE_TIE` more than the least.

    Where no price is known, seconds a request take its place. Of equals in quality the cheaper is taken.
    """

    def amounts(option: Option) -> tuple[float, float]:
        month, seconds = option.bill.month, option.seconds
        return (_INFINITE if month is None else month, _INFINITE if seconds is None else seconds)

    if not options:
        return None
    by = 0 if any(o.bill.month is not None for o in options) else 1
    limit = min(amounts(o)[by] for o in options) * (1 + PRICE_TIE)
    return min((o for o in options if amounts(o)[by] <= limit), key=lambda o: (-o.mean, *amounts(o), o.name))


_INFINITE = float("inf")


@dataclass(frozen=True)
class Flip:
    """Another choice: from ``at`` on ``plan`` is chosen, None being no plan. Without ``at``, nothing changes it."""

    at: float | None = None
    plan: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return both by name."""
        return {"at": self.at, "plan": self.plan}


@dataclass(frozen=True)
class Flips:
    """What it would take for another plan to be chosen, one thing changed at a time.

    ``price``: how many times its price the chosen plan would have to cost. ``more_requests``, ``fewer_requests``: a
    day. ``looser``, ``stricter``: the floor, a margin or a value as it is one.
    """

    price: Flip = Flip()
    fewer_requests: Flip = Flip()
    more_requests: Flip = Flip()
    stricter: Flip = Flip()
    looser: Flip = Flip()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {name: flip.to_dict() for name, flip in vars(self).items()}


def flips(
    options: Sequence[Option], chosen: Option, traffic: Traffic | None, cap: float | None, *, floor: float, margin: bool
) -> Flips:
    """Return what would change the choice of ``chosen`` among ``options``, by choosing again at every threshold.

    ``options`` are the plans that only the floor or the ``cap`` on money a month may keep from being chosen. Prices are
    linear in requests and compared by ratio, so the choice can only change where two of them are equal or differ by
    `PRICE_TIE`, or where one meets the cap; the floor only matters where a plan just meets it. Nothing is guessed.
    """
    good = [o for o in options if o.good]

    def pick(candidates: Iterable[Option]) -> Option | None:
        return cheapest([o for o in candidates if _within(o.bill.month, cap)])

    def scaled(factor: float) -> Option | None:
        month = chosen.bill.month
        return pick(_at(o, None if month is None else month * factor) if o.name == chosen.name else o for o in good)

    def busy(requests: float) -> Option | None:
        assert traffic is not None
        return pick(_at(o, _month(o.bill, traffic, requests)) for o in good)

    def floored(limit: float) -> Option | None:
        known = ((o, o.turning) for o in options if o.turning is not None)
        return pick(o for o, turning in known if (turning <= limit if margin else turning >= limit))

    price = Flip()
    if chosen.bill.month:
        months = [o.bill.month for o in good if o.name != chosen.name and o.bill.month is not None]
        ratios = [m * share / chosen.bill.month for m in months for share in _SHARES]
        price = _first(chosen, scaled, sorted(r for r in [*ratios, *_capped(cap, chosen.bill.month)] if r > 1), up=True)
    fewer = more = Flip()
    if traffic is not None:
        at, now = _crossings(good, traffic, cap), traffic.requests_per_day
        more = _first(chosen, busy, sorted(t for t in at if t >= now), up=True)
        fewer = _first(chosen, busy, sorted((t for t in at if t <= now), reverse=True), up=False)
    # A plan that is short by more than all of the best one's quality is good enough for no margin.
    turning = sorted({o.turning for o in options if o.turning is not None and not (margin and o.turning >= 1)})
    above = _first(chosen, floored, [t for t in turning if t >= floor], up=True)
    below = _first(chosen, floored, [t for t in reversed(turning) if t <= floor], up=False)
    stricter, looser = (below, above) if margin else (above, below)
    return Flips(price, fewer, more, stricter, looser)


_SHARES = (1 / (1 + PRICE_TIE), 1.0, 1 + PRICE_TIE)


def _first(chosen: Option, choose: Callable[[float], Option | None], thresholds: Iterable[float], *, up: bool) -> Flip:
    for at in thresholds:
        found = choose(at * (1 + _NUDGE if up else 1 - _NUDGE))
        if found is None or found.name != chosen.name:
            return Flip(at, None if found is None else found.name)
    return Flip()


def _at(option: Option, month: float | None) -> Option:
    return replace(option, bill=replace(option.bill, month=month))


def _within(month: float | None, cap: float | None) -> bool:
    return cap is None or (month is not None and month <= cap)


def _capped(cap: float | None, month: float) -> list[float]:
    return [] if cap is None else [cap / month]


def _line(bill: Bill, traffic: Traffic) -> tuple[float, float] | None:
    """Return the price of a month without requests, and what each request a day adds."""
    if bill.refresh is None or bill.thousand_requests is None:
        return None
    return bill.refresh * traffic.refreshes_per_day * DAYS_A_MONTH, bill.thousand_requests / 1000 * DAYS_A_MONTH


def _month(bill: Bill, traffic: Traffic, requests: float) -> float | None:
    line = _line(bill, traffic)
    return None if line is None else line[0] + line[1] * requests


def _crossings(options: Sequence[Option], traffic: Traffic, cap: float | None) -> list[float]:
    lines = [line for o in options if (line := _line(o.bill, traffic)) is not None]
    others = [(share * fixed, share * slope) for fixed, slope in lines for share in _SHARES]
    others += [] if cap is None else [(cap, 0.0)]
    found = [(b[0] - a[0]) / (a[1] - b[1]) for a in lines for b in others if a[1] != b[1]]
    return [at for at in found if at > 0]


__all__ = ["PRICE_TIE", "Flip", "Flips", "Option", "cheapest", "flips"]
