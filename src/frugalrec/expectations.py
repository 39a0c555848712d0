"""What a study expects of its plans before it begins them, and how that is said and kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from frugalrec import registry
from frugalrec.config import Config
from frugalrec.cost import Cost, Entry
from frugalrec.data.dataset import Dataset, Split
from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError
from frugalrec.estimation import Estimator, PlanEstimate, Range, correction_key
from frugalrec.evaluation import Trial
from frugalrec.machine_profile import Profile
from frugalrec.plan import Plan, Spec
from frugalrec.portfolio import chosen_plans, default_plans, not_applicable, references_of
from frugalrec.prices import PriceSheet


def plans_of(config: Config, dataset: Dataset) -> list[Plan]:
    """Return the plans to try, those they refer to included, in an order in which references point backwards."""
    known = [*default_plans(dataset), *config.own_plans()]
    names = [p.name for p in known]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two plans are called '{name}'", hint="give your own plan another name")
    wanted = config.plans.only
    for name in wanted:
        if name not in names and (reason := not_applicable(name, dataset)):
            raise ConfigError(f"the plan '{name}' does not apply to these data: {reason}")
    return chosen_plans(known, [*wanted, *(p.name for p in config.own_plans())] if wanted else names)


def estimator_for(config: Config, split: Split, prices: PriceSheet, profile: Profile | None) -> Estimator:
    """Return what estimates plans on the training part of ``split``."""
    queries = len(split.test)
    if config.evaluation.max_queries:
        queries = min(queries, config.evaluation.max_queries)
    return Estimator(config, DataShape.of(split.train), prices, profile, (float(queries), float(len(split.validation))))


def estimated_plans(config: Config, dataset: Dataset, estimator: Estimator) -> list[PlanEstimate]:
    """Return what trying each plan that can be tried will take, with the settings that its search begins with."""
    found: dict[str, Plan] = {}
    plans = plans_of(config, dataset)
    missing = not_installed(plans)
    for plan in plans:
        found[plan.name] = plan.resolved(found)
    return [estimator.estimate(plan) for name, plan in found.items() if name not in missing]


def not_installed(plans: Sequence[Plan]) -> dict[str, str]:
    """Return the plans that cannot be tried here, and why: an extra of theirs, or of what they build on, is missing."""
    found: dict[str, str] = {}
    for plan in plans:
        if missing := plan.missing_extras():
            found[plan.name] = "; ".join(f"pip install 'frugalrec[{extra}]'" for extra in missing)
        elif below := [name for name in references_of(plan) if name in found]:
            found[plan.name] = f"it builds on {below[0]}"
    return found


def too_large(expected: PlanEstimate, free_bytes: float | None) -> str | None:
    """Return why a plan is not begun: it would need more memory than there is, even if less than expected."""
    if free_bytes is None or expected.peak_bytes is None or expected.peak_bytes.low <= free_bytes:
        return None
    return (
        f"it is expected to need {expected.peak_bytes.expected / 2**30:.1f} GiB of memory, "
        f"and {free_bytes / 2**30:.1f} GiB are free"
    )


def within_memory(plan: Plan, estimator: Estimator, free_bytes: float | None, model_bytes: float | None) -> Plan:
    """Return ``plan``, or the same solved block by block where only so it is expected to fit.

    Its fit must fit into ``free_bytes``, what it learned into ``model_bytes``. Where neither way does, it stays as is.
    """

    def fits(one: Plan) -> bool:
        expected = estimator.estimate(one)
        small = model_bytes is None or expected.model_bytes is None or expected.model_bytes <= model_bytes
        return small and too_large(expected, free_bytes) is None

    lean = replace(plan, recommender=_block_by_block(plan.recommender))
    return lean if lean != plan and not fits(plan) and fits(lean) else plan


def _block_by_block(spec: Spec) -> Spec:
    """Return ``spec`` with the solver for large catalogues wherever it leaves that open."""
    members = {
        key: tuple(map(_block_by_block, value)) if isinstance(value, tuple) else _block_by_block(value)
        for key, value in spec.settings.items()
        if key in ("member", "members")
    }
    known = registry.settings_of(registry.load("recommender", spec.component))
    open_ = "solver" in known and "solver" not in spec.settings
    return spec.with_settings(**members, **({"solver": "sparse"} if open_ else {}))


def estimate_words(expected: PlanEstimate) -> str:
    """Return what is expected of a plan in a few words."""
    seconds, peak = expected.seconds, expected.peak_bytes
    told = [] if seconds is None else [f"{seconds.expected:.0f} s ({seconds.low:.0f} to {seconds.high:.0f})"]
    if peak is not None:
        told.append(f"{peak.expected / 2**30:.2f} GiB")
    return ", ".join(told)


def keep_comparison(
    path: Path,
    trial: Trial,
    before: PlanEstimate,
    estimator: Estimator,
    entries: Sequence[Entry],
    refined: Mapping[str, float],
) -> Range | None:
    """Add to ``path`` what was expected of each stage beside what it took; return how long until ready was expected.

    Of the fit, with the settings that tuning chose; of the rest, as it was before the plan was begun. ``refined``: what
    stages would take by their first batches, where they told.
    """
    with_settings = estimator.estimate(trial.plan)
    stages = {**with_settings.stages, "tune": before.stages["tune"]}
    spent: dict[str, Cost] = {
        "encode": trial.cost["once"],
        "fit": trial.cost["refresh"],
        "request": trial.cost["request"],
    }
    for name, label in (("tune", "tuning"), ("evaluate", "evaluation")):
        entry = next((e for e in reversed(entries) if e.plan == f"{trial.name} ({label})"), None)
        if entry is not None:
            spent[name] = entry.cost
    component = dict.fromkeys(spent, correction_key(trial.plan)) | {"encode": "encoder"}
    lines = [
        {
            "plan": trial.name,
            "component": component[name],
            "expected": stages[name].to_dict(),
            "refined": refined.get(name),
            "actual": cost.to_dict(),
            "profile": None if estimator.profile is None else estimator.profile.created,
            "correction": estimator.correction(component[name], name),
        }
        for name, cost in spent.items()
    ]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return with_settings.ready_seconds


__all__ = [
    "estimate_words",
    "estimated_plans",
    "estimator_for",
    "keep_comparison",
    "not_installed",
    "plans_of",
    "too_large",
    "within_memory",
]
