"""The instrument: measures the rate of one kind of work, within the time for all."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from frugalrec.machine_profile import Profile
from frugalrec.work import Work

Points = list[tuple[float, float]]

_SLICE = 0.1  # seconds for one rate, at least
_SLOW, _VERY_SLOW = 0.4, 0.6  # seconds of calls, above which one is enough, beside the first, and without it
_HURRY = 0.3  # times these seconds where there is little time left
_PATIENCE = 4
_MOST = 40  # times that what is fast is repeated
_PULSES, _CALM = 4, 1.15
_WAIT, _TRIES = 0.2, 4  # seconds to wait for a calm moment, and how often for one rate
_SPARE = 0.06  # of the time for all, for what is measured again


class Bench:
    """Rates by kind of work, number of threads and size; notes on what could not be measured."""

    def __init__(self, seconds: float) -> None:
        self._until, self._at_last = time.process_time() + seconds, time.perf_counter() + _PATIENCE * seconds
        self.rates: dict[str, dict[int, Points]] = {}
        self.notes: list[str] = []
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._ratios: list[float] = []
        self._pulse, self._spare = float("inf"), _SPARE * seconds
        self._pace = 1.0
        self._calm, self._rough = True, set[tuple[str, int, float]]()

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

    def is_rough(self, kind: str) -> bool:
        """Whether a rate of a kind of work was measured while the machine was busy, and not better since."""
        return any(kind == known for known, *_ in self._rough)

    @property
    def contention(self) -> float | None:
        """How many times its CPU time work took by the clock; None before anything was measured."""
        return statistics.median(self._ratios) if self._ratios else None

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
        if self.over:
            self.notes.append(f"{kind} {size:,.0f}: not measured, out of time")
            return
        self._calm = True
        whole = self._seconds(call, given, threads)
        known = Profile({}, {k: {n: sorted(p) for n, p in by.items()} for k, by in self.rates.items()}).seconds(beside)
        # What is taken off was measured at another moment: it may not eat up what was looked for.
        own = max(whole - (known or 0.0), whole / 10)
        self._add(kind, size, amount / own, threads)

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
        if self.over:
            self.notes.append(f"{', '.join(kinds)} {size:,.0f}: not measured, out of time")
            return
        self._calm = True
        table = np.array(amounts, dtype=np.float64)
        taken = np.array([self._seconds(call, (one,), 1) for one in given])
        a_unit = np.linalg.solve(table, taken)
        # Noise may leave nothing for one of them: each takes at least a tenth of what it would if it were all there is.
        least = 0.1 * (taken[:, None] / table).min(axis=0)
        for kind, seconds in zip(kinds, np.maximum(a_unit, least), strict=True):
            self._add(kind, size, 1.0 / float(seconds), 1)

    def _add(self, kind: str, size: float, rate: float, threads: int) -> None:
        """Keep a rate; of what was measured before on a busy machine, that of a calm moment, or the better one."""
        key, points = (kind, threads, float(size)), self.rates.setdefault(kind, {}).setdefault(threads, [])
        before = next((known for at, known in points if at == key[2]), None)
        if before is not None and key not in self._rough:
            return
        if before is not None:
            points.remove((key[2], before))
            rate = rate if self._calm else max(rate, before)
        points.append((key[2], rate))
        (self._rough.discard if self._calm else self._rough.add)(key)

    def _seconds(self, call: Callable[..., Any], given: Sequence[Any], threads: int) -> float:
        """Return what a call takes: of CPU, or with threads by the clock.

        A host that lends the processor to others for milliseconds at a time counts that as time of the call; it does so
        for seconds on end, and then hardly at all. So a fixed piece of work is timed before and after: where it is
        slower than it has been, the least of several tries counts, with some time between them.
        """
        found = float("inf")
        for tried in range(_TRIES):
            began, calm = time.process_time(), self._is_calm()
            found = min(found, self._quartile(call, given, threads))
            self._spare -= time.process_time() - began if tried else 0.0
            calm = calm and self._is_calm()
            if calm or self._spare <= 0 or self._pace < 1 or self.over:
                break
            time.sleep(_WAIT)
        self._calm = self._calm and calm
        return found

    def _is_calm(self) -> bool:
        """Whether a fixed piece of work takes about the least that it has taken so far."""
        began = time.process_time()
        for _ in range(_PULSES):
            _pulse()
        took = time.process_time() - began
        self._pulse = min(self._pulse, took)
        return took <= _CALM * self._pulse

    def _quartile(self, call: Callable[..., Any], given: Sequence[Any], threads: int) -> float:
        """Return the lower quartile of several calls after one that warms up, or of that one where it is very slow."""
        with threadpool_limits(limits=threads):
            taken: list[float] = []
            begun = time.perf_counter()
            # Many of what is fast, two of what is slow, one of what is slower, beside the first, or none.
            while len(taken) < _least_calls(taken, self._pace) or (
                len(taken) < _MOST and time.perf_counter() - begun < _SLICE * self._pace
            ):
                wall, cpu = time.perf_counter(), time.process_time()
                call(*given)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                if threads == 1 and cpu > 1e-3:
                    self._ratios.append(wall / cpu)
                taken.append(max(cpu if threads == 1 else wall, 1e-9))
        counted = sorted(taken[1:] or taken)
        return counted[len(counted) // 4]


def _least_calls(taken: Sequence[float], pace: float) -> int:
    """Return how many calls there must be, by the seconds of those there were."""
    if taken and taken[0] > _VERY_SLOW * pace:
        return 1
    return 2 if sum(taken) > _SLOW * pace else 3


def _pulse() -> None:
    known: dict[int, int] = {}
    for i in range(20_000):
        known[i & 255] = 3 * i + len(known)


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
