"""How fast this machine does each kind of work: the `Profile` that ``frugalrec doctor --calibrate`` measures."""

from __future__ import annotations

import json
import math
import os
import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from frugalrec.assets import cache_dir
from frugalrec.errors import ConfigError
from frugalrec.machine import hardware
from frugalrec.work import UNITS, Work

VERSION = 9  # goes up when kinds of work change what they count
FOREIGN_SPREAD = 4.0
"""Times from a profile of other hardware may be off by this factor."""

OWN_SPREAD = 1.3
"""Times from this machine's own profile may be off by this factor, or by more where its `Profile.variation` is."""

KEPT = 5
"""The last calibrations of a machine, whose middle is its profile."""

_GROWING = ("factor-", "substitute-", "invert-", "eigen-")
"""Kinds whose rates still grow beyond what can be measured in seconds."""

Rates = Mapping[str, Mapping[int, Sequence[tuple[float, float]]]]
"""Kind (``kind model`` for language models) → threads → (size, units a second), ascending by size."""


@dataclass(frozen=True)
class Power:
    """Watts of the processor under load, and how they are known: ``measured`` (RAPL), ``estimated`` or ``unknown``."""

    watts: float | None = None
    basis: str = "unknown"
    source: str = ""


@dataclass(frozen=True)
class Profile:
    """Rates of every kind of work on one machine: those in the middle of its ``calibrations``, oldest first.

    ``threads`` recommends how many threads to compute with, by kind of library (``linear algebra``, ``encoder``).
    ``contention`` is the wall clock over the CPU time of single-threaded work while measuring: above 1, the machine had
    other work to do, and its rates may be lower than they would be alone. ``variation`` is the factor within which nine
    of ten measurements were of what the same work took in the middle of several moments; None where none was repeated.
    """

    hardware: Mapping[str, Any]
    rates: Rates
    threads: Mapping[str, int] = field(default_factory=dict)
    disk: Mapping[str, float | None] = field(default_factory=dict)
    power: Power = Power()
    contention: float | None = None
    variation: float | None = None
    created: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def watts_a_core(self) -> float | None:
        """What a busy core draws: measured with one at work, else its share of the processor's; None is unknown."""
        watts = self.power.watts
        if watts is None or self.power.basis == "measured":
            return watts
        return watts / int(self.hardware.get("cores") or 1)

    corrections: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    calibrations: tuple[Rates, ...] = ()

    @property
    def foreign(self) -> bool:
        """Whether it was measured on other hardware than this process runs on."""
        return key_of(self.hardware) != key_of(hardware())

    @property
    def spread(self) -> float:
        """Factor by which times from this profile may be off."""
        return FOREIGN_SPREAD if self.foreign else max(OWN_SPREAD, self.variation or 1.0)

    def rate(self, kind: str, size: float = 1.0, *, model: str = "", threads: int = 1) -> float | None:
        """Return units a second, between sizes by their logarithms; None where unknown.

        Beyond the largest size they stay as there, except those of factorisations, which go on as `extrapolated` says.
        Threads that were not measured take the nearest smaller number that was.
        """
        by_threads = self.rates.get(f"{kind} {model}".strip())
        if not by_threads:
            return None
        known = [n for n in by_threads if n <= threads] or [min(by_threads)]
        points = by_threads[max(known)]
        return extrapolated(points, size) if kind.startswith(_GROWING) else interpolated(points, size)

    def seconds(self, work: Iterable[Work] | None, *, threads: int = 1) -> float | None:
        """Return CPU seconds of ``work``; None where it, or a rate it needs, is not known."""
        if work is None:
            return None
        total = 0.0
        for piece in work:
            if piece.amount == 0:
                continue
            rate = self.rate(piece.kind, piece.size, model=piece.model, threads=threads)
            if not rate:
                return None
            total += piece.amount / rate
        return total

    def after(self, earlier: Profile | None) -> Profile:
        """Return this calibration with the last of those before it, on the same machine with the same libraries.

        A machine that others share is fast in one minute and slow in another: the middle is what it will mostly be.
        """
        mine = self.calibrations or (self.rates,)
        if earlier is None or (key_of(earlier.hardware), earlier.versions) != (key_of(self.hardware), self.versions):
            return replace(self, calibrations=mine)
        calibrations = (*(earlier.calibrations or (earlier.rates,)), *mine)[-KEPT:]
        variation = max(self.variation or 1.0, variation_of(calibrations))
        return replace(self, rates=middle_of(calibrations), calibrations=calibrations, variation=variation)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "version": VERSION,
            "created": self.created,
            "hardware": dict(self.hardware),
            "versions": dict(self.versions),
            "threads": dict(self.threads),
            "contention": self.contention,
            "variation": self.variation,
            "power": {"watts": self.power.watts, "basis": self.power.basis, "source": self.power.source},
            "disk": dict(self.disk),
            "corrections": dict(self.corrections),
            "notes": list(self.notes),
            "rates": _table_of(self.rates),
            "calibrations": [_table_of(rates) for rates in self.calibrations],
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], where: str) -> Profile:
        """Inverse of `to_dict`; raises `ConfigError` when it is no profile."""
        again = "measure again: frugalrec doctor --calibrate"
        try:
            if table["version"] != VERSION:
                raise ConfigError(f"{where}: a machine profile of version {table['version']}", hint=again)
            power = table["power"]
            profile = cls(
                hardware=dict(table["hardware"]),
                rates=_rates_of(table["rates"]),
                calibrations=tuple(map(_rates_of, table["calibrations"])),
                threads={str(k): int(v) for k, v in table["threads"].items()},
                disk=dict(table["disk"]),
                power=Power(
                    None if power["watts"] is None else float(power["watts"]), str(power["basis"]), str(power["source"])
                ),
                contention=table["contention"],
                variation=None if table["variation"] is None else float(table["variation"]),
                created=str(table["created"]),
                versions=dict(table["versions"]),
                corrections={str(k): float(v) for k, v in table["corrections"].items()},
                notes=tuple(map(str, table["notes"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{where}: not a machine profile: {error!r}", hint=again) from error
        wrong = [key for key, factor in profile.corrections.items() if not 0 < factor < math.inf]
        if wrong:
            raise ConfigError(f"{where}: the correction of '{wrong[0]}' must be above 0", hint=again)
        if profile.variation is not None and not 1 <= profile.variation < math.inf:
            raise ConfigError(f"{where}: a variation must be at least 1, not {profile.variation!r}", hint=again)
        if profile.power.watts is not None and not 0 < profile.power.watts < math.inf:
            raise ConfigError(f"{where}: watts must be above 0, not {profile.power.watts!r}", hint=again)
        for kind, by_threads in (kind for rates in (profile.rates, *profile.calibrations) for kind in rates.items()):
            for points in by_threads.values():
                if not points or any(not (0 < rate < math.inf) or not (0 < size < math.inf) for size, rate in points):
                    raise ConfigError(f"{where}: rates of '{kind}' must be above 0", hint=again)
        return profile

    def save(self, path: Path | None = None) -> Path:
        """Write the profile as JSON, whole or not at all, and return where; default: the cache, by hardware."""
        path = path_of(self.hardware) if path is None else path
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            written.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")
            os.replace(written, path)
        finally:
            written.unlink(missing_ok=True)
        return path


def middle_of(calibrations: Sequence[Rates]) -> Rates:
    """Return the rate in the middle of all calibrations that measured it at the same size, on as many threads."""
    return {
        kind: {
            n: tuple((size, math.exp(statistics.median(logs))) for size, logs in sorted(by_size.items()))
            for n, by_size in by_threads.items()
        }
        for kind, by_threads in _by_size(calibrations).items()
    }


def variation_of(calibrations: Sequence[Rates]) -> float:
    """Return the factor within which nine of ten rates are of that in the middle; 1 with one calibration."""
    found = [logs for by in _by_size(calibrations).values() for by_size in by.values() for logs in by_size.values()]
    off = sorted(abs(rate - statistics.median(logs)) for logs in found if len(logs) > 1 for rate in logs)
    return math.exp(off[math.ceil(0.9 * len(off)) - 1]) if off else 1.0


def _by_size(calibrations: Sequence[Rates]) -> dict[str, dict[int, dict[float, list[float]]]]:
    """Return logarithms of rates: kind → threads → size → one for each calibration that measured it."""
    found: dict[str, dict[int, dict[float, list[float]]]] = {}
    for rates in calibrations:
        for kind, by_threads in rates.items():
            for n, points in by_threads.items():
                by_size = found.setdefault(kind, {}).setdefault(n, {})
                for size, rate in points:
                    by_size.setdefault(size, []).append(math.log(rate))
    return found


def _table_of(rates: Rates) -> dict[str, dict[str, list[list[float]]]]:
    return {kind: {str(n): [list(point) for point in points] for n, points in by.items()} for kind, by in rates.items()}


def _rates_of(table: Mapping[str, Any]) -> Rates:
    return {
        str(kind): {
            int(n): tuple(sorted((float(size), float(rate)) for size, rate in points)) for n, points in by.items()
        }
        for kind, by in table.items()
    }


def interpolated(points: Sequence[tuple[float, float]], size: float) -> float:
    """Return the rate at ``size``, linear in the logarithms of both between the points, constant beyond them."""
    if size <= points[0][0]:
        return points[0][1]
    for (a, low), (b, high) in pairwise(points):
        if size <= b:
            share = math.log(size / a) / math.log(b / a)
            return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return points[-1][1]


def extrapolated(points: Sequence[tuple[float, float]], size: float) -> float:
    """Return the rate of a factorisation at ``size``: beyond the last point it goes on as between the last two.

    A factorisation of n rows takes a·n³ for its products and b·n² for what is done a row at a time, so that what a unit
    takes is a straight line in 1/n.
    """
    if len(points) < 2 or size <= points[-1][0]:
        return interpolated(points, size)
    (a, low), (b, high) = points[-2:]
    steep = (1 / low - 1 / high) / (1 / a - 1 / b)
    if steep <= 0:
        return high
    return 1 / max(1 / high - steep * (1 / b - 1 / size), 1 / (2 * high))  # noise must not make it endless


def key_of(found: Mapping[str, Any]) -> str:
    """Return a short name of some hardware."""
    memory = found.get("memory_gib")
    # The system keeps a little memory for itself, a little more or less with each kernel.
    parts = (found.get("processor"), found.get("cores"), None if memory is None else round(float(memory)))
    return sha256(json.dumps(parts).encode()).hexdigest()[:12]


def path_of(found: Mapping[str, Any]) -> Path:
    """Return where the profile of some hardware is kept."""
    return cache_dir() / "machine" / f"{key_of(found)}.json"


def load(path: Path | None = None) -> Profile | None:
    """Return the profile at ``path``, else this machine's own, else None where it was never calibrated.

    A profile of other hardware is returned with a warning; `Profile.spread` is wider then. This machine's own profile
    of an earlier version is none: a warning says to measure again.
    """
    where = path_of(hardware()) if path is None else path
    try:
        table = json.loads(where.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if path is None:
            return None
        raise ConfigError(f"{path}: no such file", hint="frugalrec doctor --calibrate measures a profile") from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{where}: cannot be read as a machine profile: {error}", hint="measure again: frugalrec doctor --calibrate"
        ) from error
    if path is None and isinstance(table, dict) and table.get("version") != VERSION:
        warnings.warn(
            f"{where}: this machine was measured for an earlier version, and its times are not known until it is "
            "measured again: frugalrec doctor --calibrate",
            stacklevel=2,
        )
        return None
    profile = Profile.from_dict(table, str(where))
    if profile.foreign:
        warnings.warn(
            f"{where}: this profile was measured on {profile.hardware.get('processor')} with "
            f"{profile.hardware.get('cores')} cores and {profile.hardware.get('memory_gib')} GiB, not on this machine: "
            f"times may be off by a factor of {FOREIGN_SPREAD:g}. Measure here: frugalrec doctor --calibrate",
            stacklevel=2,
        )
    return profile


def known() -> Profile | None:
    """Return this machine's own profile; None where it has none, or none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()
    except ConfigError:
        return None


__all__ = [
    "UNITS",
    "Power",
    "Profile",
    "extrapolated",
    "hardware",
    "interpolated",
    "key_of",
    "known",
    "load",
    "middle_of",
    "path_of",
    "variation_of",
]
