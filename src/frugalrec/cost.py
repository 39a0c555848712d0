"""What compute was spent: `Cost` amounts, and the append-only `Ledger` of them.

Unknown is not zero: an amount that nobody measured or computed is ``None``, and a sum with an unknown part is unknown.
"""

from __future__ import annotations

import contextvars
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, ParamSpec, Self, TypeVar

from frugalrec.errors import ConfigError
from frugalrec.usage import Usage

Phase = Literal["once", "refresh", "request"]
"""When a cost is paid: before the first request only, at each refit, or for every request."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of compute. Adds up; an unknown part is ``None``, never 0.

    ``seconds`` (wall clock), ``cpu_seconds`` (all threads) and ``peak_bytes`` (memory above what the process held
    before) are measured; ``flops`` come from formulas; ``tokens_*`` are counted; ``joules`` are what a component of
    yours measured and charged, unknown otherwise (`frugalrec costs show` estimates them from CPU time); ``fees`` are
    money owed to others for tokens, in the currency of the price sheet: 0 unless something was bought, None where
    nobody knows for how much. ``peak_bytes`` of a sum is the larger one: stages run one after another.
    """

    seconds: float | None = None
    cpu_seconds: float | None = None
    gpu_seconds: float | None = None
    flops: float | None = None
    tokens_in: float | None = None
    tokens_out: float | None = None
    tokens_cached: float | None = None
    peak_bytes: float | None = None
    joules: float | None = None
    fees: float | None = 0.0

    @classmethod
    def zero(cls) -> Cost:
        """Return the cost of doing nothing: every amount known, and 0."""
        return cls(**dict.fromkeys(AMOUNTS, 0.0))

    def __add__(self, other: Cost) -> Cost:
        merged: dict[str, float | None] = {}
        for name in AMOUNTS:
            a, b = getattr(self, name), getattr(other, name)
            if a is None or b is None:
                merged[name] = None
            else:
                merged[name] = max(a, b) if name == "peak_bytes" else a + b
        return Cost(**merged)

    def __mul__(self, times: float) -> Cost:
        """Return the cost of doing this ``times`` over; memory does not grow with repetition."""
        scaled = {n: v if (v := getattr(self, n)) is None or n == "peak_bytes" else v * times for n in AMOUNTS}
        return Cost(**scaled)

    __rmul__ = __mul__

    def __truediv__(self, parts: float) -> Cost:
        return self * (1.0 / parts)

    def to_dict(self) -> dict[str, float | None]:
        """Return all amounts by name; unknown ones are ``None``."""
        return {name: getattr(self, name) for name in AMOUNTS}

    @classmethod
    def from_dict(cls, amounts: Mapping[str, float | None]) -> Cost:
        """Inverse of `to_dict`; amounts left out are unknown, and nothing was bought."""
        return cls(**{name: amounts[name] for name in AMOUNTS if name in amounts})


AMOUNTS: tuple[str, ...] = tuple(f.name for f in fields(Cost))

BASIS: Mapping[str, str] = {
    "seconds": "measured",
    "cpu_seconds": "measured",
    "gpu_seconds": "measured",
    "flops": "formula",
    "tokens_in": "counted",
    "tokens_out": "counted",
    "tokens_cached": "counted",
    "peak_bytes": "measured",
    "joules": "measured",
    "fees": "counted",
}
"""How each amount is known, where it is known at all."""

_NAMES = frozenset(AMOUNTS)
_NOTHING = Cost.zero()
_MANY_CHARGES = 256  # of a span, that are kept before they are added up


@dataclass(frozen=True, slots=True)
class Entry:
    """One closed span of a `Ledger`. ``cost`` was spent now; ``reused`` is what a cache spared, at its first price.

    What a search has fitted and another stage takes over is spared there too.
    """

    name: str
    plan: str
    phase: Phase
    units: int
    cost: Cost
    reused: Cost
    depth: int
    started: float

    @property
    def whole(self) -> Cost:
        """What the stage takes from nothing: what was spent and what was spared."""
        # What a cache spared is only a part of a stage; where it does not know, the stage's own figure stands.
        return self.cost + Cost(**{name: getattr(self.reused, name) or 0.0 for name in AMOUNTS})

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "name": self.name,
            "plan": self.plan,
            "phase": self.phase,
            "units": self.units,
            "depth": self.depth,
            "started": self.started,
            "cost": self.cost.to_dict(),
            "reused": self.reused.to_dict(),
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Entry:
        """Return what `to_dict` was made of."""
        return cls(**{**table, "cost": Cost.from_dict(table["cost"]), "reused": Cost.from_dict(table["reused"])})


class Span(Usage):
    """A stage, open between ``with`` and its end. `charge` adds to it; closing it appends an `Entry` to the ledger."""

    __slots__ = (
        "_charges",
        "_closed",
        "_depth",
        "_entry",
        "_ledger",
        "_reused",
        "_started",
        "name",
        "parent",
        "phase",
        "plan",
        "units",
    )

    def __init__(self, ledger: Ledger, name: str, plan: str, phase: Phase, units: int) -> None:
        self.name, self.plan, self.phase, self.units = name, plan, phase, units
        self._ledger = ledger
        self._charges: list[Mapping[str, float | None]] = []
        self._reused = _NOTHING
        self._closed = False
        self._entry: Entry | None = None

    def __enter__(self) -> Self:
        parent = self.parent = _ambient.get()
        if parent is None:
            self._depth = 0
        else:
            self._depth = parent._depth + 1
            self.plan = self.plan or parent.plan
        _ambient.set(self)
        self._started = time.time()
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()
        _ambient.set(self.parent)
        self._closed = True
        self._ledger._close(self)

    @property
    def entry(self) -> Entry | None:
        """What the stage took; None until it is closed."""
        # Made when somebody asks: most spans of a run are never looked at while it runs.
        if self._entry is None and self._closed:
            charged = self.charged
            cost = Cost(
                seconds=self.seconds,
                cpu_seconds=_with(self.cpu_seconds, charged.get("cpu_seconds", 0.0)),
                gpu_seconds=charged.get("gpu_seconds", 0.0),
                flops=charged.get("flops"),
                tokens_in=charged.get("tokens_in", 0.0),
                tokens_out=charged.get("tokens_out", 0.0),
                tokens_cached=charged.get("tokens_cached", 0.0),
                peak_bytes=_with(self.peak_bytes, charged.get("peak_bytes", 0.0)),
                joules=charged.get("joules"),
                fees=charged.get("fees", 0.0),
            )
            made = Entry(self.name, self.plan, self.phase, self.units, cost, self._reused, self._depth, self._started)
            with _charging:
                self._entry = self._entry or made
        return self._entry

    def add(self, **amounts: float | None) -> None:
        """Add ``amounts`` to this span and to the spans around it; None makes an amount unknown for good.

        What comes after a span was closed goes to those around it alone.
        """
        self._add(amounts)

    def _add(self, amounts: dict[str, float | None]) -> None:
        for name in amounts:
            if name not in _NAMES:
                raise TypeError(f"not an amount of Cost: {name}")
        span: Span | None = self
        while span is not None:
            if not span._closed:
                # Atomic, whichever thread charges: most stages are charged once, and a lock takes longer than all else.
                charges = span._charges
                charges.append(amounts)
                if len(charges) > _MANY_CHARGES:
                    span._add_up()
            span = span.parent

    def _add_up(self) -> None:
        with _charging:
            charges = self._charges
            many = len(charges)  # what another thread charges by now comes after these
            charges[:many] = [_sum(charges[:many])]

    @property
    def charged(self) -> dict[str, float | None]:
        """What has been charged so far, by name; what nobody has charged is left out."""
        return _sum(self._charges.copy())

    @property
    def reused(self) -> Cost:
        """What caches have spared so far."""
        return self._reused

    def add_reused(self, cost: Cost) -> None:
        """Note that a cache spared ``cost``."""
        span: Span | None = self
        with _charging:
            while span is not None:
                if not span._closed:
                    span._reused = span._reused + cost
                span = span.parent


def _sum(charges: list[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Add up what was charged; None is unknown and stays so."""
    total: dict[str, float | None] = {}
    for amounts in charges:
        for name, value in amounts.items():
            before = total.get(name, 0.0)
            if before is None or value is None:
                total[name] = None
            else:
                total[name] = max(before, value) if name == "peak_bytes" else before + value
    return total


_charging = threading.Lock()  # held for less than a microsecond, whatever span is charged


def _unlock() -> None:
    global _charging
    _charging = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)  # nobody would give back what another thread held

_ambient: contextvars.ContextVar[Span | None] = contextvars.ContextVar("frugalrec_span", default=None)


def outermost() -> Span | None:
    """Return the outermost open stage around this call; while it is open, its ``cpu_seconds`` is when it began."""
    span = _ambient.get()
    while span is not None and span.parent is not None:
        span = span.parent
    return span


def charge(**amounts: float | None) -> None:
    """Add what only the component knows (FLOPs, tokens) to the stage it runs in; outside a span, do nothing.

    ``charge(flops=None)`` says that work was done of which the amount is not known: the stage's sum is unknown then.
    """
    span = _ambient.get()
    if span is not None:
        span._add(amounts)


def charge_reused(cost: Cost) -> None:
    """Say that a cache spared ``cost``: it counts for what a plan takes from nothing, not for what was spent now."""
    span = _ambient.get()
    if span is not None:
        span.add_reused(cost)


def with_context(function: Callable[P, R]) -> Callable[P, R]:
    """Bind ``function`` to the ambient span, so that charges from a thread pool are not lost."""
    context = contextvars.copy_context()

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return call


_encode = json.JSONEncoder().encode


class Ledger:
    """Append-only record of what each stage spent.

    With ``path``, every closed span is written at once as a JSON line, so that a killed run keeps its record: a span
    takes about 20 microseconds then, and 5 in memory.

    >>> ledger = Ledger()
    >>> with ledger.span("solve", plan="ease", phase="refresh"):
    ...     charge(flops=2e9)
    >>> ledger.total(plan="ease").flops
    2000000000.0
    """

    def __init__(self, path: Path | None = None) -> None:
        self._closed: list[Span | Entry] = []
        self._path = path
        self._file: int | None = None  # kept open: opening it takes longer than all else a span does
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as file:
                # A run that was killed may have left half a line; the next entry must not end up on it.
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read() != b"\n":
                        file.write(b"\n")

    @property
    def kept(self) -> bool:
        """Whether spans are written to a file."""
        return self._path is not None

    @property
    def entries(self) -> list[Entry]:
        """The spans closed so far, in the order in which they were closed."""
        with self._lock:
            closed = list(self._closed)
        return [entry for e in closed if (entry := e if isinstance(e, Entry) else e.entry) is not None]

    def span(self, name: str, *, plan: str = "", phase: Phase = "refresh", units: int = 1) -> Span:
        """Open a stage with ``with``. ``units``: how many requests (or other units) its cost is spread over."""
        return Span(self, name, plan, phase, units)

    def append(self, entry: Entry) -> None:
        """Add a span that was closed elsewhere, by a worker."""
        self._close(entry)

    def _close(self, closed: Span | Entry) -> None:
        if self._path is None:
            self._closed.append(closed)  # atomic
            return
        entry = closed if isinstance(closed, Entry) else closed.entry
        assert entry is not None
        line = (_encode(entry.to_dict()) + "\n").encode()
        with self._lock:
            self._closed.append(entry)
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
            # Whole lines, straight to the system: what is there survives the end of this process, however it comes.
            os.write(self._file, line)

    def total(self, *, plan: str | None = None, phase: Phase | None = None, reused: bool = True) -> Cost:
        """Sum the outermost spans of ``plan`` and ``phase``; with ``reused``, count what caches spared as well."""
        chosen = [
            e
            for e in self.entries
            if e.depth == 0 and (plan is None or e.plan == plan) and (phase is None or e.phase == phase)
        ]
        total = Cost.zero()
        for entry in chosen:
            total = total + (entry.whole if reused else entry.cost)
        return total


def _with(measured: float | None, charged: float | None) -> float | None:
    """Add what other processes spent to what was measured in this one."""
    return None if measured is None or charged is None else measured + charged


def threads() -> int:
    """Return how many threads to compute with: ``FRUGALREC_THREADS``, or 1.

    One is the safe choice: on a machine that has other work to do, linear algebra libraries wait for their own threads
    by spinning, and two threads can take several times as long as one.
    """
    asked = os.environ.get("FRUGALREC_THREADS") or "1"
    if not asked.isdecimal() or int(asked) < 1:
        raise ConfigError(f"FRUGALREC_THREADS must be a whole number of at least 1, not '{asked}'")
    return int(asked)


__all__ = [
    "AMOUNTS",
    "BASIS",
    "Cost",
    "Entry",
    "Ledger",
    "Phase",
    "Span",
    "charge",
    "charge_reused",
    "outermost",
    "threads",
    "with_context",
]
