"""What plans weigh when the time of a search is shared out among them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from frugalrec import registry
from frugalrec.config import Config, TuningSection
from frugalrec.data.dataset import Split
from frugalrec.estimation import Estimator
from frugalrec.expectations import estimator_for
from frugalrec.machine_profile import Profile
from frugalrec.plan import Plan
from frugalrec.prices import PriceSheet
from frugalrec.refitting import DENSE_ITEMS

NOMINAL_FLOPS = 2e10
"""A second of a core without a profile, in FLOPs; only used to share out a search's time."""

LEAST_WEIGHT = 0.1
"""What any plan weighs, in seconds: there is more to a plan than its fit."""


@dataclass
class Weights:
    """Tells about how long a fit or a request takes, by the machine profile or by FLOPs alone; on a smaller split too.

    On a smaller split, large catalogues are solved block by block: see `frugalrec.refitting`.
    """

    config: Config
    estimator: Estimator
    prices: PriceSheet
    profile: Profile | None
    _of_sample: tuple[Split, Estimator] | None = field(default=None, init=False, repr=False)

    def fit(self, plan: Plan, split: Split | None) -> float | None:
        """Return the seconds of fitting ``plan`` to everything, or to ``split``; None where nothing is known of it."""
        seconds = self._stage("fit", plan, split)
        return None if seconds is None else LEAST_WEIGHT + seconds

    def request(self, plan: Plan, split: Split | None) -> float | None:
        """Return the seconds of one request to ``plan`` fitted to everything, or to ``split``; None as in `fit`."""
        return self._stage("request", plan, split)

    def _stage(self, stage: str, plan: Plan, split: Split | None) -> float | None:
        estimator = self.estimator
        if split is not None:
            if self._of_sample is None or self._of_sample[0] is not split:
                config = self.config.model_copy(update={"tuning": TuningSection(seconds=0)})
                self._of_sample = (split, estimator_for(config, split, self.prices, self.profile))
            estimator = self._of_sample[1]
            known = registry.settings_of(registry.load("recommender", plan.recommender.component))
            if split.train.n_items > DENSE_ITEMS and "solver" in known and "solver" not in plan.recommender.settings:
                plan = replace(plan, recommender=plan.recommender.with_settings(solver="sparse"))
        found = estimator.estimate(plan).stages[stage]
        if found.seconds is None and found.flops is None:
            return None
        return found.seconds.expected if found.seconds is not None else (found.flops or 0.0) / NOMINAL_FLOPS


def least_seconds(plan: Plan, estimator: Estimator) -> float | None:
    """Return what fitting ``plan`` to everything will take at least, where a machine profile tells."""
    ready = estimator.estimate(plan).ready_seconds
    return None if ready is None else ready.low


__all__ = ["Weights", "least_seconds"]
