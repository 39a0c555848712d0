"""What the tables of quality share: their arguments, their columns, who is shown to be better, and results as JSON.

Quality is a mean over users with its 95% percentile bootstrap interval. Compute is that of one fit with the chosen
settings: CPU seconds of all threads, FLOPs by the formulas of our ledger ("unknown" where nobody gives one), memory
above what the process held before. Differences are paired by user; p-values flip signs at random, and are corrected by
Holm's method for the number of comparisons under the table. A model with a random start counts with the mean over its
seeds, user by user, and the range of the seeds' means stands in brackets after its name.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import frugalrec
from frugalrec import metrics
from frugalrec.config import parse_config
from frugalrec.cost import Cost, Ledger
from frugalrec.data.dataset import Dataset, Fold, Split
from frugalrec.datasets import NAMED, load_data
from frugalrec.machine import describe
from frugalrec.metrics import ranks_of
from frugalrec.plan import Spec
from frugalrec.recommenders._base import mask_scores
from frugalrec.significance import Estimate, bootstrap_interval, holm, paired_difference, paired_p_value

FILES = {"beauty": ("sequences.txt.gz", "items.tsv.gz")}
"""Data that cannot be fetched by name: the files in the folder given with --data."""
DATASETS = (*NAMED, *FILES)
BLOCK = 1000
LEVEL, DRAWS = 0.05, 5000
PETA = 1e15
Values = np.ndarray[Any, np.dtype[np.float64]]


def arguments_of(about: str | None) -> argparse.ArgumentParser:
    """Return a parser that knows --out."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_out(parser)
    return parser


def add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="write the results here as JSON")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add a data set's name, --data and --ties."""
    parser.add_argument("name", choices=DATASETS)
    parser.add_argument("--data", type=Path, help="folder of the files, for data that cannot be fetched by name")
    parser.add_argument("--ties", default="file", choices=["file", "item-id", "random"])


def data_section(name: str, ties: str = "file") -> dict[str, Any]:
    files = FILES.get(name)
    data = {"dataset": name} if files is None else {"interactions": files[0], "items": files[1], "text": ["title"]}
    return {**data, "ties": ties}


def read(name: str, folder: Path | None = None, ties: str = "file") -> Dataset:
    """Return a data set of `DATASETS`."""
    if name in FILES and folder is None:
        raise SystemExit(f"{name} cannot be fetched: give its folder with --data")
    config = parse_config({"data": data_section(name, ties)}, "the benchmark's configuration")
    return load_data(config.data, folder or Path())[0]


def progress(*words: object) -> None:
    """Say on standard error what is being done; tables go to standard output."""
    print(*words, file=sys.stderr, flush=True)


def judged(model: Any, fold: Fold, names: Sequence[str]) -> dict[str, Values]:
    """Return each metric of each query, the whole catalogue ranked by ``model``, what the query forbids left out."""
    parsed = {name: metrics.parse(name) for name in names}
    parts: dict[str, list[Values]] = {name: [] for name in names}
    for start in range(0, len(fold), BLOCK):
        queries = fold.queries[start : start + BLOCK]
        found = ranks_of(mask_scores(model.score(queries), queries), fold.relevant[start : start + BLOCK])
        for name, metric in parsed.items():
            parts[name].append(metric(found))
    return {name: np.concatenate(values) for name, values in parts.items()}


def judged_scores(scores: Any, fold: Fold, metric: str) -> Values:
    """Return ``metric`` of each query of ``fold`` for scores ``(n_queries, n_items)``."""
    return metrics.parse(metric)(ranks_of(mask_scores(scores, fold.queries), fold.relevant))


@dataclass(frozen=True)
class Row:
    """One model: each metric of each user, what one fit took, and its chosen settings.

    ``seeds`` holds the mean of the table's first metric for each seed, where the model has a random start. ``more``
    are further columns. ``note`` says what must be known beside the figure.
    """

    name: str
    values: Mapping[str, Values]
    fit: Cost = field(default_factory=Cost)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[int, float] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Published:
    """A figure that others report, and how their protocol differs."""

    name: str
    quality: Mapping[str, float]
    differs: str


class Table:
    """Prints rows as they come; `close` prints who is shown to be better, and writes the JSON."""

    def __init__(
        self,
        title: str,
        dataset: Dataset | None,
        names: Sequence[str],
        *,
        protocol: str,
        more: Sequence[str] = (),
        compute: bool = True,
        seed: int = 0,
        scale: float = 1.0,
        lower_is_better: bool = False,
    ) -> None:
        self.title, self.names, self.more, self.seed, self.scale = title, tuple(names), tuple(more), seed, scale
        self.protocol, self.compute, self.lower_is_better = protocol, compute, lower_is_better
        self.fingerprint = "" if dataset is None else dataset.fingerprint()
        self.rows: list[Row] = []
        self.absent: dict[str, str] = {}
        self.comparisons: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        machine = describe()
        print(f"{title}; data {self.fingerprint or 'below'}; seed {seed}; {protocol}")
        print(f"machine: {machine['processor']}, {machine['threads']} thread(s), {machine['blas']}")

    def head(self) -> None:
        """Print the columns; call it when no other line will come between the rows."""
        first = self.names[0].upper()
        columns = ["model", f"{first} [95% interval]", *(n.upper() for n in self.names[1:])]
        if self.compute:
            columns += ["fit CPU s", "fit GFLOP", "fit peak GiB"]
            columns += [] if self.lower_is_better else [f"{first} per PFLOP"]
        columns += self.more
        print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)

    def add(self, row: Row) -> None:
        """Print a row at once, so that an interrupted run has shown what it found."""
        self.rows.append(row)
        cells = [row.name + self._range(row), self._interval(self.estimate(row))]
        cells += [self._interval(self.estimate(row, name)) for name in self.names[1:]]
        if self.compute:
            flops, peak = row.fit.flops, row.fit.peak_bytes
            cells += [
                _shown(row.fit.cpu_seconds, "{:.1f}"),
                _shown(None if flops is None else flops / 1e9, "{:,.1f}"),
                _shown(None if peak is None else peak / 2**30, "{:.2f}"),
            ]
            cells += [] if self.lower_is_better else [_shown(self._per_petaflop(row), "{:,.4g}")]
        cells += [str(row.more.get(name, "")) for name in self.more]
        print(f"| {' | '.join(cells)} |", flush=True)

    def not_installed(self, name: str, how: str) -> None:
        """Name a model that would be in the table if its package were installed."""
        self.absent[name] = how

    def estimate(self, row: Row, name: str = "") -> Estimate:
        """Return a metric of a row, the first one if none is named, and its interval."""
        return bootstrap_interval(self.scale * row.values[name or self.names[0]], seed=self.seed)

    def difference(self, one: Row, other: Row) -> tuple[Estimate, float]:
        """Return one row less another in the first metric, and the p-value of "there is none"."""
        a, b = (self.scale * row.values[self.names[0]] for row in (one, other))
        return paired_difference(a, b, seed=self.seed), paired_p_value(a, b, draws=DRAWS, seed=self.seed)

    def best(self) -> Row:
        """Return the row that is best in the first metric."""
        sign = -1.0 if self.lower_is_better else 1.0
        return max(self.rows, key=lambda row: sign * (self.estimate(row).mean or 0.0))

    def compare(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print the differences of ``pairs`` (one, other) in the first metric, corrected for their number."""
        rows = {row.name: row for row in self.rows}
        pairs = [(one, other) for one, other in pairs if one in rows and other in rows and one != other]
        if not pairs:
            return
        found = [self.difference(rows[one], rows[other]) for one, other in pairs]
        corrected = holm([p for _, p in found])
        print(f"\nDifferences in {self.names[0].upper()}, paired by user; p corrected for {len(pairs)} (Holm):")
        for (one, other), (gain, raw), p in zip(pairs, found, corrected.tolist(), strict=True):
            verdict = "" if p <= LEVEL else ", not shown to differ"
            print(f"- {one} against {other}: {self._signed(gain)}, p {_p(p)}{verdict}")
            self.comparisons.append({"one": one, "other": other, **gain.to_dict(), "p": raw, "p_holm": p})

    def compare_with_best(self) -> None:
        """Compare every other row with the best one."""
        best = self.best().name
        self.compare([(best, row.name) for row in self.rows if row.name != best])

    def close(self, out: Path | None = None, published: Sequence[Published] = ()) -> None:
        """Print notes, what is not installed and published figures; write the JSON."""
        for row in self.rows:
            if row.note:
                print(f"- {row.name}: {row.note}")
        for name, how in self.absent.items():
            print(f"- {name}: not installed ({how})")
        for one in published:
            quality = ", ".join(f"{name.upper()} {value:g}" for name, value in one.quality.items())
            print(f"- published, {one.name}: {quality} ({one.differs})")
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(self.to_dict(published), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def to_dict(self, published: Sequence[Published] = ()) -> dict[str, Any]:
        return {
            "title": self.title,
            "command": _command(sys.argv),
            "version": frugalrec.__version__,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": self.fingerprint,
            "seed": self.seed,
            "machine": describe(),
            "protocol": self.protocol,
            "metrics": list(self.names),
            "scale": self.scale,
            "rows": [
                {
                    "name": row.name,
                    "quality": {name: self.estimate(row, name).to_dict() for name in self.names},
                    "fit": row.fit.to_dict(),
                    "per_petaflop": self._per_petaflop(row),
                    "settings": plain(row.settings),
                    "seeds": dict(row.seeds),
                    "more": dict(row.more),
                    "note": row.note,
                }
                for row in self.rows
            ],
            "not_installed": self.absent,
            "comparisons": self.comparisons,
            "published": [{"name": p.name, "quality": dict(p.quality), "differs": p.differs} for p in published],
            **self.facts,
        }

    def _per_petaflop(self, row: Row) -> float | None:
        mean = self.estimate(row).mean
        return None if mean is None or not row.fit.flops else mean / (row.fit.flops / PETA)

    def _interval(self, found: Estimate) -> str:
        if found.mean is None or found.low is None or found.high is None:
            return "unknown"
        digits = 4 if self.scale == 1.0 else 1
        return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"

    def _signed(self, found: Estimate) -> str:
        if found.mean is None or found.low is None or found.high is None:
            return "unknown"
        digits = 4 if self.scale == 1.0 else 1
        return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"

    def _range(self, row: Row) -> str:
        if len(row.seeds) < 2:
            return ""
        low, high = min(row.seeds.values()), max(row.seeds.values())
        return f" ({len(row.seeds)} seeds: {_leading(low)} to {_leading(high)})"


RANKING = "rank all users CPU s"
"""The column of `measured`: scoring the catalogue for every test user and finding where the truth stands."""


def measured(
    name: str,
    make: Callable[[int], Any],
    split: Split,
    names: Sequence[str],
    *,
    seeds: int = 1,
    judge: Callable[[Any, Fold], Mapping[str, Values]] | None = None,
    **row: Any,
) -> Row:
    """Return the row of a model: made and fitted once for each seed, and judged on the test fold.

    Values and costs are means over the seeds. A model has ``fit`` and ``score`` as a recommender or a pipeline has.
    """
    found: list[Mapping[str, Values]] = []
    taken: list[float] = []
    total = Cost.zero()
    for seed in range(seeds):
        model, ledger = make(seed), Ledger()
        with ledger.span("fit", plan=name):
            model = model.fit(split.train)
        started = time.process_time()
        found.append(judge(model, split.test) if judge else judged(model, split.test, names))
        taken.append(time.process_time() - started)
        total = total + ledger.total()
        del model
    return Row(
        name,
        {each: np.mean([values[each] for values in found], axis=0) for each in names},
        total / seeds,
        seeds={seed: float(np.nanmean(values[names[0]])) for seed, values in enumerate(found)} if seeds > 1 else {},
        more={RANKING: f"{np.mean(taken):.1f}"},
        **row,
    )


def plain(value: Any) -> Any:
    """Return settings as JSON can hold them."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Spec):
        return value.to_dict()
    return value if isinstance(value, str | int | float | bool | type(None)) else repr(value)


def _command(words: Sequence[str]) -> str:
    """Return the command without the folders of this machine."""
    parts = [Path(words[0]).name, *words[1:]]
    for option, shown in (("--data", ["--data", "DIR"]), ("--trials", ["--trials", "FILE"]), ("--out", [])):
        if option in parts:
            at = parts.index(option)
            parts[at : at + 2] = shown
    return shlex.join(parts)


def _shown(value: float | None, form: str) -> str:
    return "unknown" if value is None else form.format(value)


def _leading(value: float) -> str:
    return f"{value:.4f}".replace("0.", ".", 1)


def _p(value: float) -> str:
    return "below .001" if value < 0.001 else f"{value:.3f}".replace("0.", ".", 1)
