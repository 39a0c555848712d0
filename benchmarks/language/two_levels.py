"""Bits in memory, bytes on disk: what EASE + content keeps when a request reads the vectors of few items in full.

    python benchmarks/language/two_levels.py validation beauty --data DIR
    python benchmarks/language/two_levels.py test beauty --data DIR --rescored 100

The default encoder's vectors are centred and whitened as `Content` does. Of each, memory holds the signs along axes
that were turned at random; a file, mapped into memory, holds a byte a dimension. A request reads the rows of its
history from the file, which makes its profile, ranks all items by the product of the profile with the signs, and reads
the rows of the ``rescored`` best, whose products take the place of those with signs. The signs' products of all other
items are scaled by what fits those of the rescored items best. ``validation`` compares numbers of rescored items and
turns of the axes (seeds) on validation users; ``test`` scores test users once.
"""

from __future__ import annotations

import os

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from _setting import Bench, dataset, quiet, remembered

from frugalrec.data.dataset import Dataset, Query
from frugalrec.encoders.compressed import Compressed
from frugalrec.encoders.onnx import Onnx
from frugalrec.interfaces import Matrix
from frugalrec.recommenders._base import query_matrix
from frugalrec.recommenders._text import unit_rows
from frugalrec.recommenders.content import Content
from frugalrec.significance import bootstrap_interval, paired_difference
from frugalrec.stores.array_cache import ArrayCache


@dataclass
class TwoLevels(Content):
    """`Content` that keeps signs in memory and reads single rows of bytes from a file."""

    rescored: int = 100
    seed: int = 0
    history: str = "file"
    """Where the vectors of the history come from: the file, or the signs."""

    def fit(self, dataset: Dataset) -> Self:
        super().fit(dataset)
        vectors, self.vectors_ = self.vectors_, np.empty((0, self.vectors_.shape[1]), np.float32)
        width = vectors.shape[1]
        drawn = np.random.default_rng(self.seed).standard_normal((width, width))
        self.turn_ = np.linalg.qr(drawn)[0].astype(np.float32)
        self.bits_ = np.packbits(vectors @ self.turn_ > 0, axis=1)
        self.told_ = np.packbits(vectors.any(axis=1))
        self.bytes_ = Compressed(self.encoder, "int8")
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name, "vectors.npy")
        np.save(file, self.bytes_.pack(vectors))
        self.file_ = np.load(file, mmap_mode="r")
        return self

    def score(self, queries: Sequence[Query]) -> Matrix:
        width = len(self.turn_)
        signs = 2.0 * np.unpackbits(self.bits_, axis=1, count=width).astype(np.float32) - 1.0
        signs *= np.unpackbits(self.told_, count=self.n_items_)[:, None] / np.float32(np.sqrt(width))
        histories = query_matrix(queries, self.n_items_, self.half_life)
        if self.history == "signs":
            profiles = unit_rows(histories @ signs @ self.turn_.T)
        else:
            profiles = np.zeros((len(queries), width), np.float32)
            for row in range(len(queries)):
                part = slice(histories.indptr[row], histories.indptr[row + 1])
                profiles[row] = histories.data[part] @ self._read(histories.indices[part])
            profiles = unit_rows(profiles)
        scores = profiles @ self.turn_ @ signs.T
        if not self.rescored:
            return scores
        best = np.argpartition(-scores, self.rescored - 1, axis=1)[:, : self.rescored]
        for row in range(len(queries)):
            exact, near = self._read(best[row]) @ profiles[row], scores[row, best[row]]
            scores[row] *= max(float(exact @ near), 0.0) / max(float(near @ near), 1e-12)
            scores[row, best[row]] = exact
        return scores

    def _read(self, items: np.ndarray) -> Matrix:
        return self.bytes_.unpack(np.asarray(self.file_[items]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["validation", "test"])
    parser.add_argument("name", choices=["movielens-100k", "beauty"])
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--work", type=Path, default=Path("runs/encoders"), help="where vectors are kept")
    parser.add_argument("--rescored", type=int, default=100, help="rows that `test` reads beside the history's")
    given = parser.parse_args()
    quiet()
    whole = dataset(given.name, given.data)
    teacher = remembered(Onnx(), whole, ArrayCache(given.work / "vectors.sqlite"))
    bench = Bench(given.name, whole)
    ways = [("file", given.rescored, 0)]
    if given.what == "validation":
        bench.test, bench.ease["test"] = bench.validation, bench.ease["validation"]  # nothing of the test fold is seen
        kinds = (("signs", 0), ("file", 0), ("file", 30), ("file", 100))
        ways = [(history, n, seed) for history, n in kinds for seed in range(3)]
    first = bench.quality(teacher)
    print(f"{len(first.hybrid)} users, {given.what}; full vectors: {np.nanmean(first.hybrid):.4f}; {first.settings}")
    for history, rescored, seed in ways:
        started = time.process_time()
        found = bench.quality(teacher, partial(TwoLevels, rescored=rescored, seed=seed, history=history))
        hybrid, change = bootstrap_interval(found.hybrid), paired_difference(found.hybrid, first.hybrid)
        print(
            f"| history from {history}, {rescored} rescored, seed {seed} | {np.nanmean(found.content):.4f} | "
            f"{hybrid.mean:.4f} [{hybrid.low:.4f}, {hybrid.high:.4f}] | "
            f"{100 * hybrid.mean / np.nanmean(first.hybrid):.1f}% | "
            f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}] | {found.validation:.4f} | "
            f"{time.process_time() - started:.0f} CPU s",
            flush=True,
        )
    fitted = TwoLevels(teacher).fit(bench.split.train)
    n = fitted.n_items_
    held = (fitted.bits_.nbytes + fitted.told_.nbytes) / n
    print(f"bytes an item: {held:.1f} in memory, {fitted.file_.nbytes / n:.0f} on disk; floats {4 * len(fitted.turn_)}")


if __name__ == "__main__":
    main()
