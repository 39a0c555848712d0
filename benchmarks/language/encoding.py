"""What encoders cost and what they are worth: texts a second, neighbours, and the quality of plans that read text.

    python benchmarks/language/encoding.py speed movielens-100k --reference FOLDER --exported FOLDER
    python benchmarks/language/encoding.py cache movielens-100k
    python benchmarks/language/encoding.py quality movielens-100k
    python benchmarks/language/encoding.py quality beauty --data DIR --reference FOLDER --exported FOLDER
    python benchmarks/language/encoding.py sequential movielens-100k
    python benchmarks/language/encoding.py chinese --data DIR
    python benchmarks/language/encoding.py preparation movielens-100k (or beauty, douban)

``speed`` encodes 300 texts five times with each encoder in turn at one thread and takes the best in CPU seconds, and
compares neighbours in the catalogue with those of sentence-transformers in full precision. ``quality`` fits content
alone and EASE + content with each encoder; half-life, whitening and the weight of text are chosen on validation users
for each encoder, test users are scored once. Intervals: bootstrap over users, paired where two are compared.
``chinese`` does the same on Chinese films, over three random splits. ``preparation`` compares raw, clean and bare
text, on up to 5,000 validation users alone: it decides a default. Each variant stands against its own encoder's
default. Static encoders distilled here learn from 80% of the catalogue's texts (``static-distilled``).
"""

from __future__ import annotations

import os

for variable in ("FRUGALREC_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _setting import (
    TEST_USERS,
    VALIDATION_USERS,
    Bench,
    dataset,
    overlap,
    quiet,
    remembered,
    split_of,
    values_of,
)

from frugalrec import assets, registry
from frugalrec.data.dataset import Dataset
from frugalrec.encoders._distillation import distil
from frugalrec.encoders.bag_of_words import BagOfWords
from frugalrec.encoders.bm25 import Bm25
from frugalrec.encoders.onnx import Onnx
from frugalrec.encoders.static import Static
from frugalrec.interfaces import Matrix, Role, TextEncoder
from frugalrec.recommenders.sequential_linear import SequentialLinear
from frugalrec.significance import bootstrap_interval, paired_difference
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.text.preparation import Preparation

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "cache", "quality", "sequential", "chinese", "preparation"])
    parser.add_argument("name", nargs="?", default="movielens-100k", choices=["movielens-100k", "beauty", "douban"])
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--reference", default="", help="folder or hub name of the full-precision sentence encoder")
    parser.add_argument("--exported", type=Path, help="folder from `frugalrec export-encoder`")
    parser.add_argument("--work", type=Path, default=Path("runs/encoders"), help="where distilled encoders are kept")
    parser.add_argument(
        "--rows", nargs="*", default=[], help="encoders that `quality` and `sequential` compare, all by default"
    )
    parser.add_argument("--sample", type=int, default=3000, help="texts that `speed` encodes")
    given = parser.parse_args()
    quiet()
    if given.what == "speed":
        speed(given)
    elif given.what == "cache":
        cache(given)
    elif given.what == "quality":
        quality(given)
    elif given.what == "sequential":
        sequential(given)
    elif given.what == "chinese":
        chinese(given)
    else:
        preparation(given)


def four_fifths(texts: list[str]) -> list[str]:
    """Return the texts that a static encoder is distilled from here."""
    return [text for i, text in enumerate(dict.fromkeys(texts)) if i % 5]


def distilled(given: argparse.Namespace, texts: list[str], teacher: TextEncoder, tokenizer: Path, name: str) -> Static:
    """Return the static encoder distilled from ``teacher`` on four fifths of the texts; made once."""
    folder = given.work / f"{given.name}-{name}"
    if not (folder / "model.safetensors").exists():
        kept = four_fifths(texts)
        print(f"{name}: {distil(kept, teacher, tokenizer, folder)}", flush=True)
    return Static(path=str(folder))


def minilm_tokenizer() -> Path:
    return assets.fetch("all-minilm-l6-v2-int8").files["tokenizer.json"]


class Library:
    """sentence-transformers by itself: our component counts tokens as well, which it should not be charged for here."""

    is_language_model = True

    def __init__(self, folder: str) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(1)
        self.model = SentenceTransformer(folder, device="cpu", local_files_only=True)
        self.model.max_seq_length = 128

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        return np.asarray(self.model.encode(list(texts), batch_size=32, show_progress_bar=False), dtype=np.float32)

    def fingerprint(self) -> str:
        return "sentence-transformers"


def speed(given: argparse.Namespace) -> None:
    texts = [text for text in dataset(given.name, given.data).catalog.texts() if text]
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[: given.sample]]
    tokenizer = Onnx(threads=1)._loaded().tokenizer
    lengths = [len(tokenizer.encode(text).ids) for text in texts]
    print(f"{len(texts)} texts of {np.mean(lengths):.1f} tokens (MiniLM's), longest {max(lengths)}", flush=True)
    encoders: dict[str, TextEncoder] = {}
    if given.reference:
        encoders["sentence-transformers fp32"] = Library(given.reference)
        encoders["transformers fp32"] = registry.build(
            "encoder", "transformers", {"path": given.reference, "threads": 1}
        )
    encoders["onnx int8"] = Onnx(threads=1)
    if given.exported:
        for kind in ("fp32", "int8"):
            encoders[f"onnx, exported {kind}"] = Onnx(path=str(given.exported / kind), threads=1)
    else:
        static = distilled(given, texts, Onnx(threads=1), minilm_tokenizer(), "static-distilled")
        encoders |= {
            "static, distilled on the catalogue": static,
            "static, packaged": Static(),
            "bag-of-words": BagOfWords(),
            "bm25": Bm25().fit(texts),
        }
        if registry.missing_extra("encoder", "e5") is None:
            encoders["e5"] = registry.build("encoder", "e5", {"threads": 1})
    timed = texts[:300]
    rates = dict.fromkeys(encoders, 0.0)
    vectors_of = {name: encoder.encode(texts) for name, encoder in encoders.items()}
    for _ in range(ROUNDS):  # in turns, so that what else the machine does meets all alike
        for name, encoder in encoders.items():
            started = time.process_time()
            encoder.encode(timed)
            rates[name] = max(rates[name], len(timed) / (time.process_time() - started))
    reference, first = next(iter(vectors_of.values())), next(iter(rates.values()))
    for name, vectors in vectors_of.items():
        near = overlap(reference, vectors)
        held = ""
        if name.startswith("static, dist"):
            fitted = set(four_fifths(texts))
            unseen = np.array([i for i, text in enumerate(texts) if text not in fitted])
            held = f" (texts it was not fitted on: {overlap(reference[unseen], vectors[unseen]):.3f})"
        print(f"| {name} | {rates[name]:,.0f} | {rates[name] / first:.1f} | {near:.3f}{held} |", flush=True)


def cache(given: argparse.Namespace) -> None:
    """Encode the catalogue twice through a new cache."""
    whole = dataset(given.name, given.data)
    with tempfile.TemporaryDirectory() as folder:
        store = ArrayCache(Path(folder, "arrays.sqlite"))
        for attempt in ("first", "second"):
            encoder = remembered(Onnx(threads=1), whole, store)
            started = time.process_time()
            encoder.encode(whole.catalog.texts())
            print(
                f"{attempt} encode of {len(whole.catalog):,} texts: {time.process_time() - started:.3f} CPU s",
                flush=True,
            )


def quality(given: argparse.Namespace) -> None:
    whole = dataset(given.name, given.data)
    bench = Bench(given.name, whole)
    without_text(bench)
    rows(bench, all_of(given, whole))


def sequential(given: argparse.Namespace) -> None:
    """Fit the sequential linear model with each encoder; ridge, whitening and weight of text chosen on validation."""
    whole = dataset(given.name, given.data)
    split = split_of(given.name, whole)
    validation, test = split.validation.sample(VALIDATION_USERS), split.test.sample(TEST_USERS)
    first: np.ndarray | None = None
    encoders: dict[str, TextEncoder | None] = {**all_of(given, whole), "none": None}
    for name, encoder in encoders.items():
        reached, chosen, best = -1.0, "", np.empty(0)
        for ridge in (30.0, 100.0, 300.0):
            for whitening in (0.3, 0.7) if encoder else (0.7,):
                fitted = SequentialLinear(ridge=ridge, encoder=encoder, whitening=whitening).fit(split.train)
                for weight in (1.0, 3.0, 6.0) if encoder else (fitted.text_weight,):
                    fitted.text_weight = weight
                    mean = float(np.nanmean(values_of(fitted.score(validation.queries), validation)))
                    if mean > reached:
                        reached, chosen = mean, f"ridge {ridge:g}, whitening {whitening:g}, text weight {weight:g}"
                        best = values_of(fitted.score(test.queries), test)
        first = best if first is None else first
        found, change = bootstrap_interval(best), paired_difference(best, first)
        print(
            f"| {name} | {found.mean:.4f} [{found.low:.4f}, {found.high:.4f}] | "
            f"{100 * found.mean / np.nanmean(first):.1f}% | "
            f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}] | {chosen} |",
            flush=True,
        )


def all_of(given: argparse.Namespace, whole: Dataset) -> dict[str, TextEncoder]:
    """Return the encoders that are compared, the one that the others are compared with first."""
    texts = [text for text in whole.catalog.texts() if text]
    store = ArrayCache(given.work / "vectors.sqlite")
    teacher = remembered(Onnx(), whole, store)
    encoders: dict[str, TextEncoder] = {}
    if given.reference:
        full = registry.build("encoder", "transformers", {"path": given.reference})
        encoders["transformer fp32"] = remembered(full, whole, store)
    encoders["onnx int8"] = teacher
    if given.exported:
        encoders["onnx, exported int8"] = remembered(Onnx(path=str(given.exported / "int8")), whole, store)
    encoders |= {
        "static, distilled on the catalogue": distilled(given, texts, teacher, minilm_tokenizer(), "static-distilled"),
        "static, packaged": Static(),
        "bag-of-words": BagOfWords(),
        "bm25": remembered(Bm25(), whole, store),
        "tf-idf": remembered(Bm25(weighting="tf-idf"), whole, store),
    }
    return {name: encoder for name, encoder in encoders.items() if not given.rows or name in given.rows}


def chinese(given: argparse.Namespace) -> None:
    given.name = "douban"
    whole = dataset("douban", given.data)
    store = ArrayCache(given.work / "vectors.sqlite")
    encoders: dict[str, TextEncoder] = {
        # The template puts title, genres and people first; 96 tokens reach into the synopsis.
        "e5 (multilingual)": remembered(registry.build("encoder", "e5", {"max_tokens": 96}), whole, store),
        "bag-of-words, pairs": BagOfWords(),
        "bag-of-words, rjieba": BagOfWords(segmentation="dictionary", stop_words="iso"),
        "tf-idf, rjieba": remembered(
            Bm25(weighting="tf-idf", segmentation="dictionary", stop_words="iso"), whole, store
        ),
        "bm25, rjieba": remembered(Bm25(segmentation="dictionary", stop_words="iso"), whole, store),
        "bm25, pairs": remembered(Bm25(), whole, store),
        "static, packaged (multilingual)": Static(),
        "onnx int8 (English)": remembered(Onnx(), whole, store),
    }
    collected: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    users: list[dict[int | None, int]] = []
    for seed in range(3):
        bench = Bench("douban", whole, seed)
        users.append({query.user: row for row, query in enumerate(bench.test.queries)})
        print(f"seed {seed}: {len(bench.test)} test users; EASE alone {np.nanmean(bench.without_text()):.4f}")
        for name, encoder in encoders.items():
            found = bench.quality(encoder)
            collected.setdefault(name, []).append((found.content, found.hybrid))
            print(
                f"  {name}: content {np.nanmean(found.content):.4f}, hybrid {np.nanmean(found.hybrid):.4f}; "
                f"{found.settings}",
                flush=True,
            )
        collected.setdefault("EASE alone", []).append((bench.without_text(),) * 2)
    # A user's values under the three splits are not independent: their mean is one value.
    shared = [user for user in users[0] if all(user in seen for seen in users)]
    joined = {
        name: [
            np.mean([[part[seen[user]] for user in shared] for part, seen in zip(parts, users, strict=True)], axis=0)
            for parts in zip(*found, strict=True)
        ]
        for name, found in collected.items()
    }
    print(f"{len(shared)} users in all three test folds")
    for name, (content, hybrid) in joined.items():
        said = []
        for values, against in ((content, "e5 (multilingual)"), (hybrid, "e5 (multilingual)")):
            estimate = bootstrap_interval(values)
            which = 0 if values is content else 1
            lead = paired_difference(joined[against][which], values)
            said.append(
                f"{estimate.mean:.4f} [{estimate.low:.4f}, {estimate.high:.4f}] | "
                f"{lead.mean:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]"
            )
        print(f"| {name} | {' | '.join(said)} |", flush=True)


def preparation(given: argparse.Namespace) -> None:
    whole = dataset(given.name, given.data)
    store = ArrayCache(given.work / "vectors.sqlite")
    bench = Bench(given.name, whole, validation_users=TEST_USERS)
    bench.test = bench.validation  # a default is chosen here: nothing of the test fold may be seen
    bench.ease["test"] = bench.ease["validation"]
    without_text(bench)
    stops = ("short", "iso", "none")  # each family begins with its default
    ways: tuple[Preparation, ...] = ("clean", "raw", "words")
    if given.name == "douban":
        read = [registry.build("encoder", "e5", {"text": how, "max_tokens": 96}) for how in ways]
        rows(bench, {f"e5, {encoder.text}": remembered(encoder, whole, store) for encoder in read})
        cut = [BagOfWords(segmentation="dictionary", stop_words=left_out) for left_out in stops]
        rows(bench, {f"bag-of-words, rjieba, stop words {encoder.stop_words}": encoder for encoder in cut})
    else:
        rows(bench, {f"onnx, {how}": remembered(Onnx(text=how), whole, store) for how in ways})
    rows(bench, {f"bag-of-words, stop words {left_out}": BagOfWords(stop_words=left_out) for left_out in stops})
    rows(
        bench,
        {f"bm25, stop words {left_out}": remembered(Bm25(stop_words=left_out), whole, store) for left_out in stops},
    )


def without_text(bench: Bench) -> None:
    """Print what EASE reaches alone."""
    base = bench.without_text()
    alone = bootstrap_interval(base)
    print(f"{len(base)} users; EASE alone {alone.mean:.4f} [{alone.low:.4f}, {alone.high:.4f}]", flush=True)


def rows(bench: Bench, encoders: dict[str, TextEncoder]) -> None:
    """Print content and hybrid, each with its difference from that of the first encoder."""
    first = None
    for name, encoder in encoders.items():
        found = bench.quality(encoder)
        first = first or found
        content, hybrid = bootstrap_interval(found.content), bootstrap_interval(found.hybrid)
        change = paired_difference(found.hybrid, first.hybrid)
        apart = paired_difference(found.content, first.content)
        print(
            f"| {name} | {content.mean:.4f} [{content.low:.4f}, {content.high:.4f}] | "
            f"{apart.mean:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}] | {hybrid.mean:.4f} "
            f"[{hybrid.low:.4f}, {hybrid.high:.4f}] | {100 * hybrid.mean / np.nanmean(first.hybrid):.1f}% | "
            f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}] | {found.settings} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
