"""What does sharing a prefix save when titles are scored, and what does it change?

    python benchmarks/language/likelihood.py --titles 64 --repeats 3
    pip install gguf accelerate && python benchmarks/language/likelihood.py --float32 --titles 32 --repeats 1

SmolLM2-135M (Q4_1) by llama.cpp, one thread; with ``--float32`` the same weights, unpacked to float32, by transformers
(2 GB of memory). A history of films makes a prompt of about ``--tokens`` tokens; the titles
of other films (MovieLens-100K, drawn with the seed) are its continuations. *Shared*: one call for all. *Unshared*:
a call for each title, the prompt computed again in each. CPU seconds; the order of the two alternates.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("FRUGALREC_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from frugalrec import assets
from frugalrec.config import DataSection
from frugalrec.cost import Ledger
from frugalrec.datasets import load_data
from frugalrec.llms.llama_cpp import LlamaCpp
from frugalrec.llms.transformers import Transformers
from frugalrec.machine import describe


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--titles", type=int, default=64)
    arguments.add_argument("--tokens", type=int, default=128, help="length of the prompt, about")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--path", default="", help="another GGUF file")
    arguments.add_argument("--float32", action="store_true", help="unpacked, by transformers")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    dataset, _ = load_data(DataSection(dataset="movielens-100k"), Path())
    dice = np.random.default_rng(given.seed)
    titles = [dataset.catalog.title(int(c)) for c in dice.permutation(dataset.n_items)]
    with tempfile.TemporaryDirectory() as folder:
        model = unpacked(given.path, Path(folder)) if given.float32 else LlamaCpp(path=given.path)
        measure(model, titles, given)


def unpacked(gguf: str, folder: Path) -> Transformers:
    """Return the model of a GGUF file in float32, kept in ``folder``."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = Path(gguf) if gguf else next(iter(assets.fetch(LlamaCpp().model).files.values()))
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    del read.config.quantization_config  # what was read is called quantised still, and would not be saved
    plain = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    for made in (plain, AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)):
        made.save_pretrained(folder)
    return Transformers(path=str(folder))


def measure(model: Any, titles: list[str], given: argparse.Namespace) -> None:
    """Print what sharing the prompt saves and changes."""
    prompt = "Things that one person chose, in this order:"
    while model.count_tokens(prompt) < given.tokens:
        prompt += f"\n- {titles.pop()}"
    prompt += "\n-"
    continuations = [f" {title}" for title in titles[: given.titles]]
    model.loglikelihoods(prompt, continuations[:2])  # pages of the weights are read at the first call
    seconds: dict[str, list[float]] = {"shared": [], "unshared": []}
    found = {}
    costs = {}
    for repeat in range(given.repeats):
        for way in ("shared", "unshared") if repeat % 2 == 0 else ("unshared", "shared"):
            ledger = Ledger()
            started = time.process_time()
            with ledger.span(way):
                if way == "shared":
                    found[way] = model.loglikelihoods(prompt, continuations)
                else:
                    found[way] = np.concatenate([model.loglikelihoods(prompt, [c]) for c in continuations])
            seconds[way].append(time.process_time() - started)
            costs[way] = ledger.total()
    lengths = np.array([model.count_tokens(c) for c in continuations])
    shift = np.abs(found["shared"] - found["unshared"]) / lengths
    ratios = [b / a for a, b in zip(seconds["shared"], seconds["unshared"], strict=True)]
    print(f"prompt of {model.count_tokens(prompt)} tokens, {len(continuations)} titles of {lengths.mean():.1f} tokens")
    for way, taken in seconds.items():
        cost = costs[way]
        print(
            f"  {way}: {min(taken):.2f} to {max(taken):.2f} CPU s, "
            f"{len(continuations) / np.median(taken):.1f} titles/s, "
            f"{cost.tokens_in:,.0f} tokens computed, {cost.tokens_cached:,.0f} not, {cost.flops / 1e9:,.0f} GFLOP"
        )
    print(f"  unshared / shared: {min(ratios):.1f} to {max(ratios):.1f} in CPU s, "
          f"{costs['unshared'].flops / costs['shared'].flops:.1f} in FLOPs")  # fmt: skip
    print(f"  nats a token that log-probabilities differ by: median {np.median(shift):.2g}, most {shift.max():.2g}; "
          f"a title, most {(shift * lengths).max():.2g}")  # fmt: skip
    order = np.corrcoef(found["shared"].argsort().argsort(), found["unshared"].argsort().argsort())[0, 1]
    print(f"  rank correlation of the titles: {order:.4f}")
    print(json.dumps(describe()))


if __name__ == "__main__":
    main()
