"""The order of plans by quality, the same in every table and plot."""

from __future__ import annotations

from frugalrec.evaluation import Trial
from frugalrec.floors import comparable_mean
from frugalrec.planner import Choice, Decision
from frugalrec.significance import Estimate


def by_quality(decision: Decision) -> list[Choice]:
    """Return what was decided about every plan, best quality first; plans without any come last."""
    standings = comparable(decision)
    return sorted(decision.choices, key=lambda c: (-(standings[c.name].mean or 0.0), not standings[c.name].n, c.name))


def reference(decision: Decision) -> Trial:
    """Return the plan that the planner measures the others against: the best of those tried on the most users."""
    fullest = max(c.trial.score.n for c in decision.choices)
    return max(
        (c.trial for c in decision.choices if c.trial.score.n == fullest),
        key=lambda t: (t.score.mean if t.score.mean is not None else float("-inf"), t.name),
    )


def comparable(decision: Decision) -> dict[str, Estimate]:
    """Return each plan's quality as if all had been tried on the same users, as the planner compares them.

    A plan tried on fewer users keeps the width of its own interval. Unknown where it shares no user with the others.
    """
    best = reference(decision)
    standings = {}
    for choice in decision.choices:
        own = choice.trial.score
        mean = comparable_mean(choice.trial, best) if own.n else float("-inf")
        if own.mean is None or mean == float("-inf"):
            standings[choice.name] = Estimate(None, None, None, 0)
            continue
        shift = mean - own.mean
        standings[choice.name] = Estimate(
            mean,
            None if own.low is None else own.low + shift,
            None if own.high is None else own.high + shift,
            own.n,
        )
    return standings


def partial(decision: Decision) -> dict[str, int]:
    """Return the plans tried on fewer users than the others, with how many."""
    fullest = max(c.trial.score.n for c in decision.choices)
    return {c.name: c.trial.score.n for c in decision.choices if c.trial.score.n < fullest}
