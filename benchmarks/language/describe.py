"""Do generated descriptions improve recommending by text, and what do they cost?

    python benchmarks/language/describe.py movielens-100k
    python benchmarks/language/describe.py movielens-1m
    python benchmarks/language/describe.py movielens-100k --llm llama-cpp --items 200    # how a model's words fare

Leave-last-out, the whole catalogue ranked, seen items left out. The plan is `content`: items whose text reads like the
history's, by shared words or by the default encoder. Its text is what the catalogue has (title and genres), or that
with a description from attributes alone, or from attributes and the audience. The audience is that of the *training*
events, so no held-out event is in any text; half-life and whitening are chosen on validation for each text alone.
Intervals: paired bootstrap over users. CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import product

os.environ.setdefault("FRUGALREC_THREADS", "1")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ["FRUGALREC_THREADS"])

from pathlib import Path

import numpy as np

from frugalrec import metrics, registry
from frugalrec.config import DataSection
from frugalrec.cost import Ledger
from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset, Split
from frugalrec.datasets import load_data
from frugalrec.evaluation import quick_values
from frugalrec.machine import describe as this_machine
from frugalrec.plan import Plan, Spec
from frugalrec.significance import bootstrap_interval, paired_difference
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.tasks.describe import Describer

HALF_LIVES = (0.0, 2.0, 5.0, 15.0)
WHITENINGS = (0.0, 0.3, 0.7)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", choices=["movielens-100k", "movielens-1m"])
    arguments.add_argument("--users", type=int, default=2000, help="test and validation users, drawn with the seed")
    arguments.add_argument("--encoders", nargs="*", default=["bag-of-words", "onnx"])
    arguments.add_argument("--llm", help="a language model: how many of its descriptions hold")
    arguments.add_argument("--items", type=int, default=200, help="items that --llm describes")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    dataset, _ = load_data(DataSection(dataset=given.name), Path())
    split = registry.build("split", "leave-last-out", {}).split(dataset)
    if given.llm:
        worded(split.train, given.llm, given.items, given.seed)
        return
    texts = {"catalogue": split.train.catalog}
    print(f"{given.name}, {dataset.fingerprint()}, seed {given.seed}")
    for label, audience in (("with attributes described", False), ("with audience described", True)):
        started = time.process_time()
        said = Describer(split.train, audience=audience).describe(range(dataset.n_items))
        seconds = time.process_time() - started
        texts[label] = with_descriptions(split.train.catalog, [each.text for each in said])
        words = np.mean([len(each.text.split()) for each in said])
        print(f"  {label}: {dataset.n_items:,} items in {seconds:.1f} CPU s, {words:.0f} words each, 0 tokens")
    for encoder in given.encoders:
        compare(split, texts, encoder, given.users, given.seed)
    print(json.dumps(this_machine()))


def with_descriptions(catalog: Catalog, said: list[str]) -> Catalog:
    return Catalog(catalog.items, {**catalog.fields, "description": said}, (*catalog.text, "description"))


def compare(split: Split, texts: dict[str, Catalog], encoder: str, users: int, seed: int) -> None:
    metric = metrics.parse("ndcg@10")
    store = ArrayCache()
    values = {}
    print(f"  content, {encoder}:")
    for label, catalog in texts.items():
        train = Dataset(split.train.interactions, catalog, split.train.name)
        ledger = Ledger()
        best = max(
            product(HALF_LIVES, WHITENINGS),
            key=lambda s: float(
                np.nanmean(
                    quick_values(
                        plan(encoder, *s).build(store).fit(train), split.validation.sample(users, seed), metric
                    )
                )
            ),
        )
        pipeline = plan(encoder, *best).build(store).fit(train, ledger)
        values[label] = quick_values(pipeline, split.test.sample(users, seed), metric)
        score = bootstrap_interval(values[label], seed=seed)
        cost = ledger.total()
        line = f"    {label}: NDCG@10 {score.mean:.4f} [{score.low:.4f}, {score.high:.4f}]"
        line += f", half-life {best[0]:g}, whitening {best[1]:g}; encode and fit {cost.cpu_seconds:.1f} CPU s"
        if label != "catalogue":
            gain = paired_difference(values[label], values["catalogue"], seed=seed)
            line += f"; gain {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        print(line, flush=True)


def plan(encoder: str, half_life: float, whitening: float) -> Plan:
    settings = {"encoder": Spec(encoder), "half_life": half_life, "whitening": whitening}
    return Plan("content", Spec("content", settings))


def worded(train: Dataset, name: str, n_items: int, seed: int) -> None:
    """Let a language model word the descriptions of some items: how many hold, and at what cost."""
    model = registry.build("llm", name, {})
    codes = np.sort(np.random.default_rng(seed).choice(train.n_items, size=n_items, replace=False)).tolist()
    ledger = Ledger()
    with ledger.span("describe"):
        said = Describer(train).describe(codes, model)
    cost = ledger.total()
    kept = sum(each.source != "template" for each in said)
    print(
        f"{name}: {kept} of {n_items} hold; {cost.cpu_seconds:.0f} CPU s, {cost.tokens_in:,.0f} tokens read, "
        f"{cost.tokens_out:,.0f} written"
    )
    for each in said[:12]:
        print(f"  {replace_newlines(each.text)}" + (f"\n      refused for: {each.rejected}" if each.rejected else ""))


def replace_newlines(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
