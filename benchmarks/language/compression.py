"""What vectors keep of their worth in fewer bytes: the quality of EASE + content against bytes a text.

    python benchmarks/language/compression.py movielens-100k
    python benchmarks/language/compression.py beauty --data DIR --ways int8 "opq, 188 axes, 4 a byte"

The default encoder's vectors, compressed in each way; half-life, whitening and the weight of text are chosen on
validation users for each row, test users are scored once. "Kept" is the mean NDCG@10 as a share of that of full
vectors; intervals are of the paired difference over users. Bytes are those of what `Compressed.pack` returns, a text;
what has to be kept once (axes, centroids) is not counted. Neighbours: the ten nearest in common with full vectors.
The last column is the hybrid's NDCG@10 on validation users, by which a way may be chosen.
"""

from __future__ import annotations

import os

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _setting import Bench, dataset, overlap, quiet, remembered

from frugalrec.encoders.compressed import Compressed
from frugalrec.encoders.onnx import Onnx
from frugalrec.significance import bootstrap_interval, paired_difference
from frugalrec.stores.array_cache import ArrayCache

WAYS: dict[str, dict[str, Any]] = {
    "PCA, 256 axes": {"method": "pca", "dim": 256},
    "PCA, 128 axes": {"method": "pca", "dim": 128},
    "PCA, 64 axes": {"method": "pca", "dim": 64},
    "PCA, 32 axes": {"method": "pca", "dim": 32},
    "first 192 dimensions": {"method": "truncate", "dim": 192},
    "first 96 dimensions": {"method": "truncate", "dim": 96},
    "int8": {"method": "int8"},
    "binary, requests in floats": {"method": "binary"},
    "product, 4 dimensions a byte": {"method": "product", "part": 4},
    "product, 8 dimensions a byte": {"method": "product", "part": 8},
    "product, 16 dimensions a byte": {"method": "product", "part": 16},
    "opq, all axes, 8 a byte": {"method": "opq", "dim": 0, "part": 8},
    "opq, 188 axes, 4 a byte": {"method": "opq", "dim": 188, "part": 4},
    "opq, 192 axes, 8 a byte": {"method": "opq", "dim": 192, "part": 8},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="movielens-100k", choices=["movielens-100k", "beauty"])
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--work", type=Path, default=Path("runs/encoders"), help="where vectors are kept")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    given = parser.parse_args()
    quiet()
    whole = dataset(given.name, given.data)
    texts = whole.catalog.texts()
    teacher = remembered(Onnx(), whole, ArrayCache(given.work / "vectors.sqlite"))
    full = teacher.encode(texts)
    bench = Bench(given.name, whole)
    base = bench.without_text()
    first = bench.quality(teacher)
    print(f"{len(base)} users; EASE alone {np.nanmean(base):.4f}; full vectors: {first.settings}")
    for name, way in {"full": {}, **{name: WAYS[name] for name in given.ways}}.items():
        encoder = Compressed(teacher, **way).fit(texts) if way else teacher
        found = bench.quality(encoder) if way else first
        size = encoder.pack(full).nbytes / len(full) if isinstance(encoder, Compressed) else full.nbytes / len(full)
        hybrid = bootstrap_interval(found.hybrid)
        change = paired_difference(found.hybrid, first.hybrid)
        kept = 100 * hybrid.mean / np.nanmean(first.hybrid)
        print(
            f"| {name} | {size:.0f} | {full.nbytes / len(full) / size:.1f} | "
            f"{overlap(full, encoder.encode(texts)):.3f} | {np.nanmean(found.content):.4f} | "
            f"{hybrid.mean:.4f} [{hybrid.low:.4f}, {hybrid.high:.4f}] | {kept:.1f}% | "
            f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}] | {found.validation:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
