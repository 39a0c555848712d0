"""What a language model bought: plans with one against plans without, on the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from frugalrec.evaluation import Trial
from frugalrec.floors import comparable_mean
from frugalrec.significance import Estimate, holm, paired_difference, paired_p_value

LEVEL = 0.05
"""The chance of any false "paid" or "worse" among the like-for-like pairs of a decision."""


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

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "with": self.with_lm,
            "without": self.without_lm,
            "use": self.kind,
            "difference": self.difference.mean,
            "interval": [self.difference.low, self.difference.high],
            "n": self.difference.n,
            "relative": self.relative,
            "p_value": self.p_value,
            "comparisons": self.comparisons,
            "paid": self.paid,
            "sentence": self.sentence,
        }

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


def _worth(with_lm: Trial, without: Trial, seed: int) -> Worth:
    difference = paired_difference(with_lm.values, without.values, seed=seed)
    both = ~np.isnan(with_lm.values) & ~np.isnan(without.values)
    base = float(without.values[both].mean()) if both.any() else 0.0
    relative = difference.mean / base if difference.mean is not None and base else None
    return Worth(with_lm.name, without.name, difference, relative, with_lm.plan.language_model)


def pairs_of(trials: Sequence[Trial], seed: int) -> tuple[Worth, ...]:
    """Compare each plan with a language model to its twin without; p-values are corrected for their number."""
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


def headline(
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


__all__ = ["LEVEL", "Worth", "headline", "pairs_of"]
