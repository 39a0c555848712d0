"""What runs spent: ledgers of run folders read back, summed by stage or plan, compared, and gated for CI."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frugalrec import registry
from frugalrec.cost import AMOUNTS, Cost
from frugalrec.errors import ConfigError, FrugalrecError
from frugalrec.prices import PriceSheet
from frugalrec.run_record import RunRecord

PHASES = ("once", "per_refresh", "per_request", "total")
"""What a gate may look at. ``total`` is what the whole run spent."""

MEASURES = ("money", *AMOUNTS)

_LABEL = re.compile(r"(?P<plan>.*) \((?P<label>tuning|search|evaluation|to serve)\)")
_LEAST_BYTES = 16 * 2.0**20  # below, what the process held before says more than what a stage took
_PHASE_OF = {"once": "once", "refresh": "per_refresh", "request": "per_request"}


@dataclass(frozen=True)
class Spent:
    """One line of a run's ledger: a stage of a plan; ``label`` says what for: tuning, evaluation, to serve, or none."""

    plan: str
    label: str
    stage: str
    phase: str
    units: int
    depth: int
    started: float
    cost: Cost
    reused: Cost

    @property
    def whole(self) -> Cost:
        """What the stage takes from nothing: spent and spared by caches."""
        return self.cost + Cost(**{name: getattr(self.reused, name) or 0.0 for name in AMOUNTS})


@dataclass(frozen=True)
class Run:
    """The ledger of a run folder. ``torn`` counts lines that could not be read.

    ``models``: the names of the ``encoder`` and the ``llm`` of each plan that has one.
    """

    folder: Path
    entries: Sequence[Spent]
    torn: int = 0
    models: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    record: RunRecord = field(default_factory=RunRecord)

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read ``ledger.jsonl`` of a run; raises `ConfigError` when there is none, or nothing in it."""
        path = folder / "ledger.jsonl" if folder.is_dir() else folder
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: no ledger to read: {getattr(error, 'strerror', None) or error}",
                hint="give the folder of a run: frugalrec plan and frugalrec demo write one",
            ) from error
        entries, torn = [], 0
        for line in lines:
            if not line.strip():
                continue
            try:
                entries.append(_entry(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError):
                torn += 1
        if not entries:
            raise ConfigError(f"{path}: the ledger is empty", hint="run frugalrec plan again with --fresh")
        return cls(path.parent, entries, torn, _models(path.parent), RunRecord.read(path.parent))

    @property
    def outermost(self) -> list[Spent]:
        """Stages that are inside no other: they add up to the run."""
        return [e for e in self.entries if e.depth == 0]

    def joules(self, entries: Iterable[Spent]) -> float | None:
        """Return about what stages took, by CPU seconds and the watts of their part of the run; None is unknown."""
        found = [self.record.at(e.started).joules(e.cost.cpu_seconds) for e in entries]
        return None if None in found else sum(joules or 0.0 for joules in found)

    def plans(self) -> list[str]:
        """Return the plans, in the order in which they were begun; what belongs to none is not among them."""
        return list(dict.fromkeys(e.plan for e in self.entries if e.plan and e.plan != "(study)"))

    def costs(self, plan: str) -> dict[str, Cost]:
        """Return what ``plan`` takes once, at each refresh and for each request, from nothing; the newest of each."""
        found: dict[str, Cost] = {}
        for entry in self.entries:
            if entry.plan == plan and not entry.label and entry.stage in ("encode", "fit", "recommend"):
                if entry.stage != "recommend" and entry.depth > 0:
                    continue  # a part of an encode or fit that is counted already
                cost = entry.whole
                found[_PHASE_OF[entry.phase]] = cost / entry.units if entry.phase == "request" else cost
        total = Cost.zero()
        for entry in self.outermost:
            if entry.plan == plan:
                total += entry.cost
        found["total"] = total
        return found


@dataclass(frozen=True)
class Line:
    """A line of a table: what it is about, how many stages, and what they spent; ``joules`` are an estimate."""

    name: str
    n: int
    cost: Cost
    money: float | None
    joules: float | None = None


def by(run: Run, key: Callable[[Spent], str], prices: PriceSheet) -> list[Line]:
    """Return what the outermost stages spent, summed by ``key``, the dearest first."""
    groups: dict[str, list[Spent]] = {}
    for entry in run.outermost:
        groups.setdefault(key(entry), []).append(entry)
    lines = []
    for name, entries in groups.items():
        cost = _sum(e.cost for e in entries)
        lines.append(Line(name, len(entries), cost, prices.price(cost), run.joules(entries)))
    return sorted(lines, key=lambda line: -(line.cost.cpu_seconds or 0.0))


def stage_of(entry: Spent) -> str:
    """Return the stage of an entry, told apart by what it was for."""
    plain = not entry.label or entry.stage in ("tune", "search", "evaluate")
    return entry.stage if plain else f"{entry.stage} ({entry.label})"


@dataclass(frozen=True)
class Change:
    """One amount of a plan in two runs; None is unknown, or not there."""

    plan: str
    phase: str
    measure: str
    before: float | None
    after: float | None
    there: bool = True
    """Whether either run has the phase at all: a plan without texts is never encoded."""

    @property
    def share(self) -> float | None:
        """By how much it grew, as a share of what it was; None where that cannot be said."""
        if self.before is None or self.after is None:
            return None
        if self.before == 0:
            return 0.0 if self.after == 0 else float("inf")
        return self.after / self.before - 1.0


def changes(a: Run, b: Run, prices: PriceSheet, measures: Sequence[str] = MEASURES) -> list[Change]:
    """Return every amount of every plan that both runs have, before and after."""
    shared = [plan for plan in a.plans() if plan in set(b.plans())]
    found = []
    for plan in shared:
        old, new = a.costs(plan), b.costs(plan)
        for phase in PHASES:
            for measure in measures:
                before, after = (_amount(costs.get(phase), measure, prices) for costs in (old, new))
                found.append(Change(plan, phase, measure, before, after, there=phase in old or phase in new))
    return found


def other_data(a: Run, b: Run) -> str:
    """Return how two runs differ in their data, empty where they do not or nobody knows."""
    if not a.record.data or not b.record.data or a.record.data == b.record.data:
        return ""
    return f"the two runs are of different data (fingerprints {a.record.data} and {b.record.data})"


@dataclass(frozen=True)
class Gate:
    """A limit on growth: "+5% per_request", "+0% once tokens_in", "+10% per_refresh flops of ease"."""

    share: float
    phase: str
    measure: str
    plan: str | None

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read a gate; raises `ConfigError` saying what is expected."""
        words = text.split()
        hint = 'write "+5% per_request", "+0% once tokens_in" or "+10% per_refresh flops of ease"'
        match = re.fullmatch(r"\+?(\d+(?:\.\d+)?)%", words[0]) if words else None
        plan = None
        if "of" in words:
            place = words.index("of")
            plan, words = " ".join(words[place + 1 :]), words[:place]
        if match is None or not 2 <= len(words) <= 3 or plan == "":
            raise ConfigError(
                f"--fail-if takes a limit, a phase, perhaps an amount and a plan, not '{text}'", hint=hint
            )
        measure = words[2] if len(words) == 3 else "money"
        if words[1] not in PHASES:
            raise ConfigError(f"--fail-if: '{words[1]}' is no phase: {', '.join(PHASES)}", hint=hint)
        if measure not in MEASURES:
            raise ConfigError(f"--fail-if: '{measure}' is no amount: {', '.join(MEASURES)}", hint=hint)
        return cls(float(match[1]) / 100, words[1], measure, plan)

    def broken(self, found: Iterable[Change]) -> list[str]:
        """Return a line for each change that goes beyond the limit, and for each that cannot be told.

        Raises `ConfigError` when the gate is about nothing that both runs have: a gate that checks nothing must fail.
        """
        mine = [c for c in found if c.phase == self.phase and c.measure == self.measure and self.plan in (None, c.plan)]
        if not mine:
            about = self.plan or "any plan"
            raise ConfigError(f"--fail-if is about {about}, which the two runs do not share", hint="check the folders")
        mine = [c for c in mine if c.there]
        if not mine:
            raise ConfigError(f"--fail-if is about {self.phase}, which no plan of the two runs has")
        lines = []
        for change in mine:
            if change.share is None:
                both = change.before is None and change.after is None
                where = "both runs" if both else "one of the runs"
                lines.append(f"{change.plan}: {self.phase} {self.measure} is unknown in {where}")
            elif change.share > self.share + 1e-9:
                lines.append(
                    f"{change.plan}: {self.phase} {self.measure} grew by {change.share:+.1%}, "
                    f"from {change.before:.4g} to {change.after:.4g}; the limit is +{self.share:.1%}"
                )
        return lines


@dataclass(frozen=True)
class Error:
    """How past estimates of one kind turned out: actual over expected seconds, of ``n`` stages.

    ``within``: share of stages within a factor of 1.3. ``memory``: median of actual over expected peak memory, where
    enough was taken to tell. ``refined``: median of actual over what the first batches told, of stages that told how
    far they were. ``correction``: what to multiply uncorrected estimates by; None where all of them were
    made with another profile than the one asked about.
    """

    key: str
    n: int
    median: float
    lowest: float
    highest: float
    within: float
    memory: float | None = None
    refined: float | None = None
    correction: float | None = None


def errors(
    folders: Sequence[Path], *, profile: str | None = None, least_seconds: float = 0.01, tolerance: float = 1.3
) -> list[Error]:
    """Return the errors of the estimates that runs kept, by component and stage; stages of no time are left out.

    Where a plan has a reranker its component is ``recommender+reranker``: what a reranker takes is no error of the
    recommender alone. CPU seconds are compared, so that a busy machine is no error. ``profile``: when the profile to
    correct was measured; estimates made with another one count as errors, and correct nothing. Raises `ConfigError`
    when no run kept any.
    """
    ratios: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    refined: dict[str, list[float]] = {}
    corrections: dict[str, list[float]] = {}
    seen = 0
    for folder in folders:
        path = folder / "estimates.jsonl"
        if not path.exists():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                table = json.loads(line)
                expected, actual = table["expected"]["seconds"], table["actual"]["cpu_seconds"]
                peaks = (table["expected"].get("peak_bytes") or {}).get("expected"), table["actual"].get("peak_bytes")
                used, made_with = float(table.get("correction", 1.0)), table.get("profile")
                key = f"{table['component']}.{table['expected']['stage']}"
            except (ValueError, KeyError, TypeError):
                continue
            seen += 1
            if expected is None or actual is None or expected["expected"] <= 0 or actual < _least(key, least_seconds):
                continue
            if key.endswith(".tune"):
                continue  # a search ends by its own limit
            ratios.setdefault(key, []).append(actual / expected["expected"])
            if peaks[0] and peaks[1] and min(peaks) >= _LEAST_BYTES:
                memory.setdefault(key, []).append(peaks[1] / peaks[0])
            if (told := table.get("refined")) is not None and told > 0:
                refined.setdefault(key, []).append(actual / told)
            if profile is not None and made_with == profile:
                # What was expected had a correction in it already: twice the same runs must not correct twice.
                corrections.setdefault(key, []).append(used * actual / expected["expected"])
    if not seen:
        raise ConfigError(
            "no estimates in these runs", hint="frugalrec doctor --calibrate, then frugalrec plan keeps them"
        )
    return [
        Error(
            key,
            len(values),
            statistics.median(values),
            min(values),
            max(values),
            sum(1 / tolerance <= value <= tolerance for value in values) / len(values),
            statistics.median(memory[key]) if key in memory else None,
            statistics.median(refined[key]) if key in refined else None,
            statistics.median(corrections[key]) if key in corrections else None,
        )
        for key, values in sorted(ratios.items())
    ]


def corrected(before: Mapping[str, float], found: Iterable[Error]) -> dict[str, float]:
    """Return corrections by component and stage, so that the median of what was seen would have been right."""
    return {**before, **{error.key: round(error.correction, 4) for error in found if error.correction}}


def _least(key: str, seconds: float) -> float:
    return 0.0 if key.endswith(".request") else seconds


def _entry(table: Mapping[str, Any]) -> Spent:
    match = _LABEL.fullmatch(table["plan"])
    return Spent(
        plan=match["plan"] if match else table["plan"],
        label=match["label"] if match else "",
        stage=table["name"],
        phase=table["phase"],
        units=max(1, int(table["units"])),
        depth=int(table["depth"]),
        started=float(table["started"]),
        cost=Cost.from_dict(table["cost"]),
        reused=Cost.from_dict(table["reused"]),
    )


def _models(folder: Path) -> dict[str, dict[str, str]]:
    """Return the encoder and the language model of each plan of the run that has one, by the names of their weights."""
    found: dict[str, dict[str, str]] = {}
    path = folder / "trials.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            table = json.loads(line)
            found[table["plan"]] = dict(_named(table["settings"]))
        except (ValueError, KeyError, TypeError, FrugalrecError):
            continue
    return found


def _named(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        for spec in value if isinstance(value, list) else (value,):
            if not isinstance(spec, dict):
                continue
            kind = {"encoder": "encoder", "model": "llm"}.get(key)
            if kind is not None and "component" in spec:
                known = registry.settings_of(registry.load(kind, spec["component"])).get("model")
                default = known.default if known is not None and isinstance(known.default, str) else spec["component"]
                own = Path(str(spec.get("path", ""))).name  # what a path leads to is read in place of a named model
                yield kind, own or str(spec.get("model") or default)
            yield from _named(spec)


def _sum(costs: Iterable[Cost]) -> Cost:
    total = Cost.zero()
    for cost in costs:
        total += cost
    return total


def _amount(cost: Cost | None, measure: str, prices: PriceSheet) -> float | None:
    if cost is None:
        return None
    return prices.price(cost) if measure == "money" else getattr(cost, measure)


__all__ = [
    "MEASURES",
    "PHASES",
    "Change",
    "Error",
    "Gate",
    "Line",
    "Run",
    "Spent",
    "by",
    "changes",
    "corrected",
    "errors",
    "other_data",
    "stage_of",
]
