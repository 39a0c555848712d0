"""People without a past: recommendations from the newest 1, 2, 3 and 5 events, and from words alone.

    python benchmarks/quality/cold_users.py events movielens-1m
    python benchmarks/quality/cold_users.py events beauty --data DIR   # DIR holds sequences.txt.gz and items.tsv.gz
    python benchmarks/quality/cold_users.py words movielens-1m [--data DIR]   # DIR: agent4rec_movie_summaries.csv.gz

`events`: a tenth of the users, drawn by lot, take no part in fitting. Of each, the last event is asked for, given the
newest n before it and all; the whole catalogue is ranked, all earlier events left out, so that every n has the same
candidates. Settings are near those that `next_item.py` found, with one block of half-life 3, not searched here.

`words`: no history. "half a title": half the words of an item's title, at random, must find that item. "a genre":
the genre words of the test item are what the user asks for, and the list is judged by the item chosen. "a plot": a
one-sentence summary (written by a language model that was given the title) must find the film by its title and genres.
Ties are averaged. Intervals: bootstrap over users or queries. One thread.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
from dataclasses import replace
from pathlib import Path

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from frugalrec import metrics
from frugalrec.config import parse_config
from frugalrec.data.dataset import Dataset, Query
from frugalrec.datasets import load_data
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.onnx import Onnx
from frugalrec.interfaces import Recommender
from frugalrec.pipeline import Remembering
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders.chance import Chance
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.significance import bootstrap_interval, paired_difference

FILES = {"beauty": ("sequences.txt.gz", "items.tsv.gz")}
SETTINGS = {
    "movielens-1m": {
        "ease": {"ridge": 300.0},
        "sequential": {"ridge": 300.0, "frequency_ridge": 0.05},
        "text": {"whitening": 0.3, "text_weight": 4.0},
    },
    "beauty": {
        "ease": {"ridge": 100.0, "solver": "sparse"},
        "sequential": {"ridge": 100.0, "target_half_life": 2.0, "solver": "sparse"},
        "text": {"whitening": 0.7, "text_weight": 4.0},
    },
}
NEWEST = (1, 2, 3, 5, None)


def load(name: str, folder: Path | None) -> Dataset:
    files = FILES.get(name)
    table = {"dataset": name} if files is None else {"interactions": files[0], "items": files[1], "text": ["title"]}
    data, _ = load_data(parse_config({"data": table}, "the benchmark").data, folder if files and folder else Path())
    return data


def encoders(data: Dataset) -> dict[str, Remembering]:
    known = {"words": Remembering(BagOfWords()), "text": Remembering(Onnx())}
    for encoder in known.values():
        encoder.remember(data.catalog.texts())
    return known


def judged(model: Recommender, queries: list[Query], relevant: list[np.ndarray], metric: str = "ndcg@10") -> np.ndarray:
    parts = []
    for start in range(0, len(queries), 512):
        block = queries[start : start + 512]
        ranks = metrics.ranks_of(mask_scores(model.score(block), block), relevant[start : start + 512])
        parts.append(metrics.parse(metric)(ranks))
    return np.concatenate(parts)


def cell(values: np.ndarray) -> str:
    found = bootstrap_interval(values)
    return f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]"


def from_events(name: str, data: Dataset, seed: int) -> None:
    events = data.interactions
    strange = np.random.default_rng(seed).random(data.n_users) < 0.1
    train = data.with_interactions(events.take(~strange[events.user]))
    lengths = np.diff(events.offsets)
    asked = np.flatnonzero(strange & (lengths >= 6))
    whole = [data.query(int(user)) for user in asked]
    relevant = [query.history[-1:] for query in whole]
    settings, known = SETTINGS[name], encoders(data)
    sequential = settings["sequential"]
    models: dict[str, Recommender] = {
        "chance": Chance(),
        "popularity": Popularity(),
        "ease": Ease(**settings["ease"]),
        "sequential": SequentialLinear(**sequential),
        "sequential-words": SequentialLinear(**sequential, encoder=known["words"], **settings["text"]),
        "sequential-text": SequentialLinear(**sequential, encoder=known["text"], **settings["text"]),
    }
    print(f"{name}: {len(asked)} strangers with at least 6 events, {(~strange).sum()} users fitted, seed {seed}")
    print("| NDCG@10 from the newest | " + " | ".join(str(n or "all") for n in NEWEST) + " |")
    print("|---|" + "---|" * len(NEWEST))
    values: dict[str, list[np.ndarray]] = {}
    for label, model in models.items():
        model.fit(train)
        values[label] = [judged(model, [newest(query, n) for query in whole], relevant) for n in NEWEST]
        print(f"| {label} | " + " | ".join(cell(v) for v in values[label]) + " |", flush=True)
    for label, twin in (("sequential-text", "sequential"), ("sequential-words", "sequential"), ("sequential", "ease")):
        gains = [paired_difference(a, b) for a, b in zip(values[label], values[twin], strict=True)]
        shown = ", ".join(
            f"{n or 'all'}: {g.mean:+.4f} [{g.low:+.4f}, {g.high:+.4f}]" for n, g in zip(NEWEST, gains, strict=True)
        )
        print(f"{label} against {twin}, {shown}")


def newest(query: Query, n: int | None) -> Query:
    """The request of somebody whose newest ``n`` events before the last are known; nothing met may come back."""
    history = query.history[:-1]
    kept = slice(None) if n is None else slice(-n, None)
    times = None if query.times is None else query.times[:-1][kept]
    return Query(history=history[kept], times=times, exclude=history)


def from_words(name: str, data: Dataset, folder: Path | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = encoders(data)
    models: dict[str, Recommender] = {"chance": Chance(), "popularity": Popularity()}
    for label, encoder in known.items():
        for whitening in (0.0, 0.3, 0.7):
            models[f"content, {label}, whitening {whitening}"] = Content(encoder, whitening=whitening)
        models[f"sequential, {label}"] = SequentialLinear(
            **SETTINGS[name]["sequential"], encoder=encoder, **SETTINGS[name]["text"]
        )
    events = data.interactions
    last = np.zeros(len(events), dtype=bool)
    last[events.offsets[1:][np.diff(events.offsets) > 1] - 1] = True
    train = data.with_interactions(events.take(~last))
    warm = train.interactions.popularity > 0
    tasks: dict[str, tuple[list[str], list[int]]] = {}
    titles = [data.catalog.title(item).split() for item in range(data.n_items)]
    long = [item for item, words in enumerate(titles) if len(words) >= 2]
    some = rng.permutation(long)[:2000].tolist()
    halves = [" ".join(rng.permutation(titles[item])[: (len(titles[item]) + 1) // 2]) for item in some]
    tasks["half a title"] = (halves, some)
    if "genre" in data.catalog.fields:
        chosen = rng.permutation(events.item[last & warm[events.item]])[:2000].tolist()
        tasks["a genre"] = ([data.catalog.fields["genre"][item] for item in chosen], chosen)
    if folder is not None:
        plots = summaries(folder / "agent4rec_movie_summaries.csv.gz")
        named = [(plots[key], item) for item in range(data.n_items) if (key := film(data, item)) in plots]
        picked = [named[i] for i in rng.permutation(len(named))[:2000]]
        tasks["a plot"] = ([plot for plot, _ in picked], [item for _, item in picked])
    print(f"{name}, seed {seed}: " + ", ".join(f"{task} {len(texts)} queries" for task, (texts, _) in tasks.items()))
    print("| NDCG@10 from words alone | " + " | ".join(tasks) + " |")
    print("|---|" + "---|" * len(tasks))
    for label, model in models.items():
        model.fit(train)
        cells = []
        for texts, items in tasks.values():
            queries = [replace(Query(), text=text) for text in texts]
            cells.append(cell(judged(model, queries, [np.array([item], dtype=np.int32) for item in items])))
        print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def summaries(file: Path) -> dict[tuple[str, str], str]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as rows:
        return {(row["title"][:-7].strip(), row["title"][-5:-1]): row["summary"] for row in csv.DictReader(rows)}


def film(data: Dataset, item: int) -> tuple[str, str]:
    fields = data.catalog.fields
    return fields["movie_title"][item].strip(), fields["release_year"][item].strip()[:4]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("part", choices=["events", "words"])
    arguments.add_argument("name", choices=list(SETTINGS))
    arguments.add_argument("--data", type=Path, help="folder of the files")
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    if asked.name in FILES and asked.data is None:
        arguments.error(f"{asked.name} cannot be fetched: give its folder with --data")
    data = load(asked.name, asked.data)
    if asked.part == "events":
        from_events(asked.name, data, asked.seed)
    else:
        from_words(asked.name, data, None if asked.name in FILES else asked.data, asked.seed)


if __name__ == "__main__":
    main()
