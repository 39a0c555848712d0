"""Without files: a data set, two plans, a fair comparison, and what each costs.

python examples/python_api.py
"""

from __future__ import annotations

from frugalrec import Ledger, Plan, PriceSheet, Trial
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.evaluation import Evaluation, evaluate
from frugalrec.significance import paired_difference
from frugalrec.testing.data import toy_dataset


def main() -> None:
    """Fit two plans on a toy log, compare them on the same users, and print price and quality."""
    dataset = toy_dataset(n_users=300, n_items=80)
    split = LeaveLastOut().split(dataset)
    ledger, prices = Ledger(), PriceSheet.load()
    trials: dict[str, Trial] = {}
    for component in ("popularity", "sequential-linear"):
        plan = Plan.from_dict({"name": component, "recommender": {"component": component}})
        pipeline = plan.build().fit(split.train, ledger)
        trials[component] = trial = evaluate(pipeline, split, Evaluation(timed_queries=50), ledger)
        score, request = trial.score, prices.price(trial.cost["request"])
        assert request is not None
        print(f"{component:<20}ndcg@10 {score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]", end="  ")
        print(f"{prices.currency} {1e6 * request:.4f} for a million requests")
    gain = paired_difference(trials["sequential-linear"].values, trials["popularity"].values)
    print(f"difference {gain.mean:.3f} [{gain.low:.3f}, {gain.high:.3f}] on {gain.n} users")


if __name__ == "__main__":
    main()
