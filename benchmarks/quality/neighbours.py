"""What neighbours among training states add to the sequential linear model on MovieLens-1M, strict next item.

    python benchmarks/quality/neighbours.py

Leave-last-out, file order of ties, whole catalogue, seen items left out. The linear model has the settings that
`next_item.py` found on validation; the weight of the neighbours is chosen on 2,000 validation users, and the test fold
is scored once with it. One thread.
"""

from __future__ import annotations

import os
import time

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import _table
import numpy as np

from frugalrec.cost import Ledger
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.encoders.onnx import Onnx
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.recommenders.state_knn import StateKnn
from frugalrec.significance import paired_difference

METRICS = ("ndcg@10", "hr@10")
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.2)


def main() -> None:
    given = _table.arguments_of(__doc__).parse_args()
    data = _table.read("movielens-1m")
    split = LeaveLastOut().split(data)
    linear = SequentialLinear(
        ridge=300.0,
        encoder=Onnx(),
        whitening=0.3,
        frequency_ridge=0.05,
        half_lives=(1.5, 15.0),
        gap_half_life=60.0,
    )
    neighbours = StateKnn()
    costs = []
    for name, model in (("linear", linear), ("neighbours", neighbours)):
        ledger = Ledger()
        with ledger.span(f"fit {name}"):
            model.fit(split.train)
        costs.append(ledger.total())
    validation = split.validation.sample(2000, seed=0)
    one, two = linear.score(validation.queries), neighbours.score(validation.queries)
    alone = _table.judged_scores(one, validation, METRICS[0])
    best, reached = 0.0, float(np.mean(alone))
    for weight in WEIGHTS:
        tried = _table.judged_scores(one + weight * two, validation, METRICS[0])
        gain = paired_difference(tried, alone)
        mean = float(np.mean(tried))
        _table.progress(f"validation, {weight}: {mean:.4f}, gain {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
        if mean > reached:
            best, reached = weight, mean
    protocol = f"strict leave-last-out, {len(split.test):,} users, file ties; weight of the neighbours by validation"
    table = _table.Table(data.name, data, METRICS, protocol=protocol, more=[_table.RANKING])
    table.head()
    started = time.process_time()
    one = linear.score(split.test.queries)
    middle = time.process_time()
    two = neighbours.score(split.test.queries)
    seconds = [middle - started, time.process_time() - middle]
    both = f"linear + {best} neighbours"
    for name, scores, cost, taken in (
        ("linear", one, costs[0], seconds[0]),
        ("neighbours", two, costs[1], seconds[1]),
        (both, one + best * two, costs[0] + costs[1], sum(seconds)),
    ):
        values = {metric: _table.judged_scores(scores, split.test, metric) for metric in METRICS}
        table.add(_table.Row(name, values, cost, more={_table.RANKING: f"{taken:.1f}"}))
    table.compare([(both, "linear"), (both, "neighbours")])
    table.close(given.out)


if __name__ == "__main__":
    main()
