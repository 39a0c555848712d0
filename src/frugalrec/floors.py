"""How good is good enough: a floor for a plan's quality, and whether a plan is shown to meet it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from frugalrec.data.interactions import FloatArray
from frugalrec.errors import ConfigError, UnknownNameError
from frugalrec.evaluation import SLICES, Trial
from frugalrec.significance import Estimate, paired_difference


@dataclass(frozen=True)
class Floor:
    """The quality asked for: at least ``value``, or within ``margin`` (a share) of the best plan."""

    value: float | None = None
    margin: float | None = 0.02

    @classmethod
    def parse(cls, text: float | str, where: str = "quality.floor") -> Floor:
        """Read a number, or "within 2% of best"; raises `ConfigError`."""
        if isinstance(text, int | float) and not isinstance(text, bool):
            return cls(value=float(text), margin=None)
        match = re.fullmatch(r"\s*within\s+(\d+(?:\.\d+)?)\s*%\s+of\s+best\s*", str(text), re.IGNORECASE)
        if match is None:
            key = where.rpartition(".")[2]
            raise ConfigError(
                f"{where} must be a number or like 'within 2% of best', not {text!r}",
                hint=f'write {key} = 0.17, or {key} = "within 2% of best"',
            )
        return cls(value=None, margin=float(match[1]) / 100)

    def __str__(self) -> str:
        if self.value is not None:
            return f"at least {self.value:g}"
        return f"within {100 * (self.margin or 0.0):g}% of best"


def parse_slices(table: Mapping[str, float | str], where: str = "quality.slices") -> dict[str, Floor]:
    """Read a floor for each slice named; raises `UnknownNameError` or `ConfigError`."""
    for name in table:
        if name not in SLICES:
            raise UnknownNameError.of("slice", name, SLICES, where=where)
    return {name: Floor.parse(text, f"{where}.{name}") for name, text in table.items()}


@dataclass(frozen=True)
class Standing:
    """Whether a plan is shown to meet a floor, and why.

    ``turning`` is the floor at which it just does, a value or a margin as the floor is one; None where none would do.
    """

    meets: bool
    why: str
    turning: float | None = None


def standing(trial: Trial, best: Trial, floor: Floor, seed: int) -> Standing:
    """Hold the lower confidence bound of ``trial`` against ``floor``; against the best plan, that of the difference."""
    score = trial.score
    if score.mean is None:
        return Standing(False, "no test query could be answered")
    if floor.value is not None:
        return _against_a_number(score, floor.value)
    if trial is best:
        return Standing(True, f"{trial.metric} {score.mean:.4f}, the best of all plans", 0.0)
    return _against_the_best(trial.values, best.values, best.name, floor, seed)


def slice_standing(name: str, trial: Trial, others: Sequence[Trial], floor: Floor, seed: int) -> Standing:
    """Hold the quality of ``trial`` on one slice of the test answers against ``floor``, as `standing` does for all.

    "Best" is the best of ``others`` on that slice. Where no test answer is in the slice, nothing can be shown.
    """
    label = f"{name} items"
    score = trial.slices.get(name)
    if score is None or score.mean is None:
        return Standing(False, f"{label}: no test answer is one, so that a floor is not shown to be met")
    if floor.value is not None:
        found = _against_a_number(score, floor.value)
    else:
        known = [t for t in others if name in t.slices and t.slices[name].mean is not None and name in t.slice_values]
        best = max(known, key=lambda t: (t.slices[name].n, t.slices[name].mean or 0.0, t.name), default=None)
        if best is None or name not in trial.slice_values:
            return Standing(False, f"{label}: the values of single users were not kept")
        if trial is best:
            return Standing(True, f"{label}: the best of all plans", 0.0)
        found = _against_the_best(trial.slice_values[name], best.slice_values[name], best.name, floor, seed)
    return Standing(found.meets, f"{label}: {found.why}", found.turning)


def _against_a_number(score: Estimate, value: float) -> Standing:
    low = score.low if score.low is not None else -np.inf
    bound = "unknown" if score.low is None else f"{score.low:.4f}"
    return Standing(low >= value, f"lower bound {bound} against a floor of {value:g}", score.low)


def _against_the_best(values: FloatArray, best: FloatArray, name: str, floor: Floor, seed: int) -> Standing:
    assert floor.margin is not None
    gap = paired_difference(values, best, seed=seed)
    if gap.low is None or gap.mean is None:
        return Standing(False, "too few users to compare with the best plan")
    reference = float(np.nanmean(best[~np.isnan(values)]))
    if not reference:
        return Standing(gap.low >= 0, "no signal", 0.0 if gap.low >= 0 else None)
    worst = max(gap.low / reference, -1.0)  # nothing can lose more than all
    why = f"{gap.mean / reference:+.1%} against {name} (at worst {worst:+.1%})"
    return Standing(gap.low >= -floor.margin * reference, why, max(0.0, -gap.low / reference))


def mean_of(trial: Trial) -> float:
    """Return the mean of a trial's metric; unknown is below all."""
    return trial.score.mean if trial.score.mean is not None else float("-inf")


def comparable_mean(trial: Trial, reference: Trial) -> float:
    """Return the mean of ``trial`` as if on all users of ``reference``: its gain over it on the users both saw."""
    if trial.score.n == reference.score.n:
        return mean_of(trial)
    gain = paired_difference(trial.values, reference.values, draws=1).mean
    return mean_of(reference) + gain if gain is not None else float("-inf")


__all__ = ["Floor", "Standing", "comparable_mean", "mean_of", "parse_slices", "slice_standing", "standing"]
