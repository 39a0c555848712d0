"""What the benchmarks of encoders share: data, splits, and the quality of plans that read text."""

from __future__ import annotations

import csv
import gzip
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frugalrec import metrics
from frugalrec.config import parse_config
from frugalrec.data.dataset import Dataset, Fold, Split
from frugalrec.data.interactions import FloatArray
from frugalrec.data.loading import SourceConfig, load
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.data.splits.random import RandomHoldout
from frugalrec.datasets import load_data
from frugalrec.encoders._cached import Cached
from frugalrec.interfaces import LearnsFromTexts, Matrix, TextEncoder
from frugalrec.recommenders._base import mask_scores
from frugalrec.recommenders._fused import standardised
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.stores.array_cache import ArrayCache

EASE_RIDGES = {"beauty": (300.0,)}
WHITENINGS = {"beauty": (0.7,)}
HALF_LIVES = {"beauty": (3.0,), "douban": (0.0,)}
"""What is tried on validation users, where it is not all: Beauty is large, the Chinese films have no order."""
VALIDATION_USERS, TEST_USERS = 2000, 5000


def dataset(name: str, data: Path | None, template: str = "") -> Dataset:
    """Return a data set by name; Beauty and the Chinese one are files of the user's own, in ``data``."""
    if name in ("movielens-100k", "movielens-1m"):
        return load_data(parse_config({"data": {"dataset": name}}, name).data, Path())[0]
    if data is None:
        raise SystemExit(f"--data: the folder of {name}")
    if name == "beauty":
        return load(
            SourceConfig(data / "sequences.txt.gz", data / "items.tsv.gz", format="sequences", text=("title",))
        )[0]
    return douban(data, template or "{title}[。类型：{genres}][。导演：{director}][。主演：{cast}][。{synopsis}]")


def douban(data: Path, template: str) -> Dataset:
    """Return the Chinese films; its interactions file has the column of a course's split, which is not used."""
    names = {"电影名称": "title", "类型": "genres", "导演": "director", "主演": "cast", "剧情简介": "synopsis"}
    with tempfile.TemporaryDirectory() as folder:
        films = Path(folder, "films.csv")
        with gzip.open(data / "interactions.csv.gz", "rt", encoding="utf-8") as read:
            chosen = {row["movie_id"] for row in csv.DictReader(read)}
        with gzip.open(data / "movies.csv.gz", "rt", encoding="utf-8") as read, films.open("w", newline="") as write:
            out = csv.writer(write)
            out.writerow(["movie_id", *names.values()])
            # Films that nobody chose can never be right: they would only make every encoder look worse.
            kept = [row for row in csv.DictReader(read) if row["movie_id"] in chosen]
            out.writerows([row["movie_id"], *(row[name] for name in names)] for row in kept)
        whole, _ = load(
            SourceConfig(
                data / "interactions.csv.gz", films, item="movie_id", timestamp=None, rating=None, template=template
            )
        )
    return whole


def split_of(name: str, whole: Dataset, seed: int = 0) -> Split:
    """Hold out each user's last two events; by lot where there is no order."""
    return RandomHoldout(seed=seed).split(whole) if name == "douban" else LeaveLastOut().split(whole)


def remembered(encoder: TextEncoder, whole: Dataset, store: ArrayCache) -> TextEncoder:
    """Return ``encoder`` with a cache around it, once it has learned from the catalogue if it must."""
    if isinstance(encoder, LearnsFromTexts):
        encoder.fit(whole.catalog.texts())
    return Cached(encoder, store)


@dataclass
class Quality:
    """NDCG@10 of each test user under content alone and under EASE + content, with the settings validation chose."""

    content: FloatArray
    hybrid: FloatArray
    settings: str
    validation: float
    """The hybrid's mean on validation users."""


@dataclass
class Bench:
    """One split of one data set; EASE's scores are computed once."""

    name: str
    whole: Dataset
    seed: int = 0
    validation_users: int = VALIDATION_USERS

    def __post_init__(self) -> None:
        self.split = split_of(self.name, self.whole, self.seed)
        self.validation = self.split.validation.sample(self.validation_users, seed=0)
        self.test = self.split.test.sample(TEST_USERS, seed=0)
        self.warm = self.split.train.interactions.popularity > 0
        reached = -1.0
        for ridge in EASE_RIDGES.get(self.name, (100.0, 300.0, 1000.0)):
            fitted = Ease(ridge=ridge).fit(self.split.train)
            scores = fitted.score(self.validation.queries)
            if (mean := self._mean(scores, self.validation)) > reached:
                reached, self.ridge = mean, ridge
                tested = fitted.score(self.test.queries)
                self.ease = {
                    "validation": self.comparable(scores, self.validation),
                    "test": self.comparable(tested, self.test),
                }
        print(f"EASE: ridge {self.ridge:g}, chosen on {len(self.validation)} validation users", flush=True)

    def comparable(self, scores: Matrix, fold: Fold) -> Matrix:
        """Return scores with mean 0 and deviation 1 over what may be recommended, as the component ``hybrid`` does."""
        reference = np.isfinite(mask_scores(scores, fold.queries)) & self.warm
        return standardised(scores, reference)

    def quality(self, encoder: TextEncoder, make: Callable[..., Content] = Content) -> Quality:
        """Choose half-life, whitening and weight on validation users; return test users' values.

        ``make`` takes an encoder and a ``whitening``.
        """
        best: tuple[float, Content, float, float] | None = None
        best_hybrid: tuple[float, Content, float, float] | None = None
        for whitening in WHITENINGS.get(self.name, (0.0, 0.3, 0.7)):
            fitted = make(encoder, whitening=whitening).fit(self.split.train)
            for half_life in HALF_LIVES.get(self.name, (0.0, 3.0, 15.0)):
                fitted.half_life = half_life
                scores = fitted.score(self.validation.queries)
                alone = self._mean(scores, self.validation)
                if best is None or alone > best[0]:
                    best = alone, fitted, half_life, 0.0
                scaled = self.comparable(scores, self.validation)
                for weight in (0.1, 0.3, 1.0, 3.0):
                    both = self._mean(self.ease["validation"] + weight * scaled, self.validation)
                    if best_hybrid is None or both > best_hybrid[0]:
                        best_hybrid = both, fitted, half_life, weight
        assert best is not None
        assert best_hybrid is not None
        _, fitted, fitted.half_life, _ = best
        content = self.values(fitted.score(self.test.queries), self.test)
        said = f"content: whitening {fitted.whitening:g}, half-life {fitted.half_life:g}"
        reached, fitted, fitted.half_life, weight = best_hybrid
        scaled = self.comparable(fitted.score(self.test.queries), self.test)
        hybrid = self.values(self.ease["test"] + weight * scaled, self.test)
        said += f"; hybrid: whitening {fitted.whitening:g}, half-life {fitted.half_life:g}, weight {weight:g}"
        return Quality(content, hybrid, said, reached)

    def without_text(self) -> FloatArray:
        """Return the test users' values under EASE alone."""
        return self.values(self.ease["test"], self.test)

    def values(self, scores: Matrix, fold: Fold) -> FloatArray:
        """Return NDCG@10 a user."""
        return values_of(scores, fold)

    def _mean(self, scores: Matrix, fold: Fold) -> float:
        return float(np.nanmean(self.values(scores, fold)))


def values_of(scores: Matrix, fold: Fold) -> FloatArray:
    """Return NDCG@10 a user, items seen left out."""
    return metrics.parse("ndcg@10")(metrics.ranks_of(mask_scores(scores, fold.queries), fold.relevant))


def overlap(a: Matrix, b: Matrix, k: int = 10, sample: int = 1000, seed: int = 0) -> float:
    """Return the share of the ``k`` nearest neighbours that two sets of vectors, centred, have in common."""
    rows = np.random.default_rng(seed).permutation(len(a))[:sample]
    found = []
    for vectors in (a, b):
        centred = np.where(vectors.any(axis=1, keepdims=True), vectors - vectors.mean(axis=0), 0)
        unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
        products = unit[rows] @ unit.T
        products[np.arange(len(rows)), rows] = -2
        found.append(np.argpartition(-products, k, axis=1)[:, :k])
    return float(np.mean([len(set(x) & set(y)) / k for x, y in zip(*found, strict=True)]))


def quiet() -> None:
    """Say nothing about languages: this is about them."""
    warnings.filterwarnings("ignore", message=".*in a language that.*")
