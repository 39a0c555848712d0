"""The rungs of a search among plans: shares of the users, each with what was found about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from frugalrec.data.dataset import Split
from frugalrec.refitting import Fitted

FIRST_SHARE = 1 / 8
LEAST_USERS = 400
"""The first rung has this share of the users, or so many where that is more."""


@dataclass(frozen=True)
class Growth:
    """How many times as long a plan takes on everything as on a part of the users: its fit, and answering a query."""

    fit: float = 1.0
    query: float = 1.0


@dataclass
class Rung:
    """A share of the users; ``growth`` tells how many times as long a plan takes on everything as on these.

    ``fitted`` are the models that others may be built of.
    """

    split: Split
    share: float
    measured: Callable[[str, Rung], Growth]
    known: dict[str, Growth] = field(default_factory=dict)
    fitted: list[Fitted] = field(default_factory=list)

    def growth(self, plan: str) -> Growth:
        """Return how many times as long ``plan`` takes on everything; measured once."""
        if plan not in self.known:
            self.known[plan] = self.measured(plan, self)
        return self.known[plan]


def rungs(users: int) -> list[float]:
    """Return the shares of users of each rung, doubling while that saves something, then all; none for few users.

    >>> rungs(10_000), rungs(900), rungs(150)
    ([0.125, 0.25, 0.5, 1.0], [0.4444444444444444, 1.0], [])
    """
    share = max(FIRST_SHARE, LEAST_USERS / max(1, users))
    if share >= 1:
        return []
    found = [share]
    while (share := 2 * share) <= 0.5:
        found.append(share)
    return [*found, 1.0]


__all__ = ["Growth", "Rung", "rungs"]
