"""The instrument: measures the rate of one kind of work, within the time for all."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from frugalrec.machine import available_memory_bytes
from frugalrec.machine_profile import Profile
from frugalrec.work import Work

Points = list[tuple[float, float]]
Call = Callable[[], Any]

_SLICE = 0.04  # seconds for one rate, at least
_SLOW, _VERY_SLOW = 0.4, 0.6  # seconds of calls, above which one is enough, beside the first, and without it
_HURRY = 0.3  # times these seconds where there is little time left
_PATIENCE = 4
_MOST = 40  # times that what is fast is repeated
_AGAIN, _AGAIN_SLICE = 0.3, 0.003  # seconds for measuring a rate again at other moments, in all and each time
_BRIEF = 0.006  # seconds of a call, up to which the first of each time only warms up
_LEAST, _MORE = 60.0, 0.008  # seconds of a short calibration; and what each beyond them adds to those for a rate again
_ROOM = 3 << 30  # bytes that must be free for what is measured again to be kept


@dataclass
class _Measured:
    """What calls took whenever they were made: as many calls as kinds of work, of some ``amounts`` each."""

    kinds: Sequence[str]
    size: float
    amounts: Sequence[Sequence[float]]
    threads: int
    beside: Sequence[Work]
    calls: list[Call] = field(default_factory=list)
    seconds: list[list[float]] = field(default_factory=list)
    left: float = 0.0  # seconds for making the calls again

    def rates(self, known: Profile) -> list[float]:
        """Return the rate of each kind, from what its calls took in the middle."""
        whole = np.array([statistics.median(taken) for taken in self.seconds])
        # What is taken off was measured at another moment: it may not eat up what was looked for.
        whole = np.maximum(whole - (known.seconds(self.beside) or 0.0), whole / 10)
        table = np.array(self.amounts, dtype=np.float64)
        a_unit = np.linalg.solve(table, whole)
        # Noise may leave nothing for one of them: each takes at least a tenth of what it would if it were all there is.
        least = 0.1 * (whole[:, None] / table).min(axis=0)
        return [1.0 / float(seconds) for seconds in np.maximum(a_unit, least)]


class Bench:
    """Rates by kind of work, number of threads and size; notes on what could not be measured.

    A machine that others share has two speeds, each for seconds on end, and may be slow for one kind of work and not
    for another. So what does not take long is measured again whenever other work was (`again`), and what it took in the
    middle of all these moments counts: neither the best nor the worst is what work will take.
    """

    def __init__(self, seconds: float) -> None:
        self._until, self._at_last = time.process_time() + seconds, time.perf_counter() + _PATIENCE * seconds
        self.rates: dict[str, dict[int, Points]] = {}
        self.later: dict[str, dict[int, Points]] = {}  # in place of rates that hold while measuring
        self.notes: list[str] = []
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._measured: list[_Measured] = []
        self._again = _AGAIN + _MORE * max(0.0, seconds - _LEAST)
        self._ratios: list[float] = []
        self._pace = 1.0

    @property
    def over(self) -> bool:
        """Whether nothing more is to be begun: the CPU time is used up, or four times as long by the clock.

        A busy machine takes longer for the same measurements, and would otherwise end with half of them.
        """
        return time.process_time() > self._until or time.perf_counter() > self._at_last

    def hurry(self, needed: float) -> None:
        """Measure faster, and less surely, from here on where there are fewer CPU seconds than ``needed``."""
        self._pace = 1.0 if self.left >= needed else _HURRY

    @property
    def left(self) -> float:
        """CPU seconds that are left for all."""
        return self._until - time.process_time()

    @property
    def contention(self) -> float | None:
        """How many times its CPU time work took by the clock; None before anything was measured."""
        return statistics.median(self._ratios) if self._ratios else None

    @property
    def variation(self) -> float | None:
        """Within which factor nine of ten measurements were of what the same work took in the middle; None: unknown."""
        repeated = [taken for measured in self._measured for taken in measured.seconds if len(taken) > 2]
        if not repeated:
            return None
        off = np.concatenate([np.abs(np.log(np.array(taken) / statistics.median(taken))) for taken in repeated])
        return float(np.exp(np.quantile(off, 0.9)))

    def measure(
        self,
        kind: str,
        size: float,
        amount: float,
        call: Callable[..., Any],
        *given: Any,
        threads: int = 1,
        beside: Sequence[Work] = (),
    ) -> None:
        """Add the rate of ``amount`` units a call: of several, the first of which only warms up.

        A call does the work ``beside`` as well, whose rates are known by now; its time is taken off.
        """
        self._measure(_Measured((kind,), float(size), ((amount,),), threads, beside, [partial(call, *given)]))

    def together(
        self,
        kinds: Sequence[str],
        size: float,
        amounts: Sequence[Sequence[float]],
        call: Callable[[Any], Any],
        given: Any,
    ) -> None:
        """Add the rates of kinds of work that come together only: ``amounts`` of each in a call with each of ``given``.

        There are as many calls as kinds, and what each kind takes solves their equations.
        """
        self._measure(_Measured(kinds, float(size), amounts, 1, (), [partial(call, one) for one in given]))

    def again(self) -> bool:
        """Measure once more what does not take long, now that some time has passed; return whether anything was."""
        some = False
        for measured in self._measured:
            if self.over or self._pace < 1:
                break
            measured.left -= sum(taken[-1] for taken in measured.seconds)
            if measured.left < 0:
                measured.calls.clear()  # and what they hold
            for call, taken in zip(measured.calls, measured.seconds, strict=False):
                # What is brief would mostly be the coming back of what it needs into the caches.
                least = 2 if taken[-1] < _BRIEF else 1
                taken.append(self._middle(call, measured.threads, _AGAIN_SLICE, least))
                some = True
        for measured in self._measured:
            self._rate(measured)
        return some

    def _measure(self, measured: _Measured) -> None:
        if self.over:
            self.notes.append(f"{', '.join(measured.kinds)} {measured.size:,.0f}: not measured, out of time")
            return
        measured.left = self._again
        for call in measured.calls:
            measured.seconds.append([self._middle(call, measured.threads, _SLICE * self._pace)])
        if (available_memory_bytes() or 0) < _ROOM:
            measured.calls.clear()
        self._measured.append(measured)
        self._rate(measured)

    def _rate(self, measured: _Measured) -> None:
        known = Profile({}, {k: {n: sorted(p) for n, p in by.items()} for k, by in self.rates.items()})
        for kind, rate in zip(measured.kinds, measured.rates(known), strict=True):
            points = self.rates.setdefault(kind, {}).setdefault(measured.threads, [])
            points[:] = [(size, before) for size, before in points if size != measured.size]
            points.append((measured.size, rate))

    def _middle(self, call: Call, threads: int, seconds: float, least: int | None = None) -> float:
        """Return what a call takes in the middle of several, of CPU, or with threads by the clock.

        The first, which warms up, counts only where it is the only one.
        """
        with threadpool_limits(limits=threads):
            taken: list[float] = []
            begun = time.perf_counter()
            # Many of what is fast, two of what is slow, one of what is slower, beside the first, or none.
            while len(taken) < (least or _least_calls(taken, self._pace)) or (
                len(taken) < _MOST and time.perf_counter() - begun < seconds
            ):
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                if threads == 1 and cpu > 1e-3:
                    self._ratios.append(wall / cpu)
                taken.append(max(cpu if threads == 1 else wall, 1e-9))
        return statistics.median(taken[1:] or taken)


def _least_calls(taken: Sequence[float], pace: float) -> int:
    """Return how many calls there must be, by the seconds of those there were."""
    if taken and taken[0] > _VERY_SLOW * pace:
        return 1
    return 2 if sum(taken) > _SLOW * pace else 3


def by_the_clock(call: Callable[[], Any], amount: float) -> float:
    """Return ``amount`` by second of the clock, the better of two calls after one to warm up."""
    call()
    taken = []
    for _ in range(2):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return amount / min(taken)


__all__ = ["Bench", "Points", "by_the_clock"]
