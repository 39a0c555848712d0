"""Next-item quality of a neural recommender under the strict protocol, for a given number of CPU seconds.

    python benchmarks/quality/neural.py sasrec --data movielens-1m --cpu-seconds 900
    python benchmarks/quality/neural.py sasrec --data movielens-1m --set length=200 --set layers=1
    python benchmarks/quality/neural.py blend --data movielens-1m    # closed form, to hold beside them

Settings are components' defaults unless --set says more. Leave-last-out: weights are fitted without the last two events
of every user, the epoch kept is chosen on the last event of what remains, and the last event of all is reported, with
the second to last in the history. The whole catalogue is ranked, seen items left out; events at the same time are in
file order. Intervals: percentile bootstrap over users. One thread unless FRUGALREC_THREADS says more. Neural models
need the extra torch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import tomllib
from pathlib import Path

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

from frugalrec import metrics, registry
from frugalrec.config import parse_config
from frugalrec.cost import Ledger
from frugalrec.datasets import NAMED, load_data
from frugalrec.evaluation import quick_values
from frugalrec.machine import describe
from frugalrec.plan import Plan, Spec
from frugalrec.portfolio import COLLABORATIVE
from frugalrec.progress import listening
from frugalrec.significance import bootstrap_interval

NEURAL = ("sasrec", "gru4rec", "two-tower")
DEFAULTS = {plan.name: plan for plan in COLLABORATIVE}
CLOSED_FORM = {
    "sequential-linear": Spec("sequential-linear"),
    **{name: DEFAULTS[name].resolved(DEFAULTS).recommender for name in ("ease", "neighbours", "blend")},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", choices=[*NEURAL, *CLOSED_FORM])
    arguments.add_argument("--data", default="movielens-100k", choices=[*NAMED])
    arguments.add_argument("--cpu-seconds", type=float, default=0.0, help="train no further than this; 0: no limit")
    arguments.add_argument("--fold", default="test", choices=["validation", "test"], help="settings: on validation")
    arguments.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as in TOML")
    given = arguments.parse_args()
    settings = tomllib.loads("\n".join(given.set))
    if given.model in NEURAL:
        settings = {"cpu-seconds": given.cpu_seconds, **settings}
        plan = Plan.from_dict({"name": given.model, "recommender": {"component": given.model, **settings}})
    else:
        plan = Plan(given.model, CLOSED_FORM[given.model].with_settings(**settings))

    config = parse_config({"data": {"dataset": given.data, "ties": "file"}}, "the benchmark's configuration")
    dataset, _ = load_data(config.data, Path())
    split = registry.build("split", "leave-last-out", {}).split(dataset)
    ledger, started = Ledger(), time.perf_counter()

    def say(stage: str, done: int, total: int) -> None:
        print(f"{stage}: {done} of {total}, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)

    with listening(say):
        pipeline = plan.build().fit(split.train, ledger)
    fold = split.test if given.fold == "test" else split.validation
    hits = quick_values(pipeline, fold, metrics.parse("hr@10"))
    with ledger.span("rank") as span:
        values = {"hr@10": hits, "ndcg@10": quick_values(pipeline, fold, metrics.parse("ndcg@10"))}
    assert span.entry is not None
    ranked = span.entry.cost / len(fold)
    model, fit = pipeline.recommender, ledger.total(plan=plan.name, phase="refresh")
    machine = describe()
    print(f"data: {dataset.name}, {dataset.fingerprint()}; {len(fold)} {given.fold} events")
    print(f"machine: {machine['processor']}, {machine['threads']} thread(s)")
    print(f"model: {given.model} {json.dumps(settings)}, {pipeline.model_bytes / 2**20:.1f} MiB")
    if given.model in NEURAL:
        print(f"epochs: {len(model.losses_)}, kept: {model.best_epoch_}, refit: {len(model.refit_losses_)}")
        for name, losses in (("loss", model.losses_), ("refit loss", model.refit_losses_)):
            print(f"{name} by epoch: {' '.join(f'{loss:.3f}' for loss in losses)}")
        print(f"NDCG@10 on events held out, by epoch: {' '.join(f'{quality:.4f}' for quality in model.qualities_)}")
    for name, each in values.items():
        interval = bootstrap_interval(each)
        print(f"{name}: {interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]")
    print(f"fit: {fit.flops / 1e9:,.3g} GFLOP, {fit.cpu_seconds:.1f} CPU s, {fit.seconds:.1f} s")
    print(f"a ranking: {ranked.flops / 1e6:.2f} MFLOP, {1000 * ranked.cpu_seconds:.2f} CPU ms, in batches")


if __name__ == "__main__":
    main()
