"""How long a stage takes at the pace of its first batches: estimates, refined while work goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from frugalrec import progress
from frugalrec.cost import outermost
from frugalrec.estimation import Range, StageEstimate

LEAST_SHARE, LEAST_SECONDS = 0.02, 0.1
"""How much of a stage's work, and of CPU time, its batches after the first must take to tell its pace."""

NOT_ALL = {"evaluate": 5.0}
"""Metrics and intervals follow the last batch: a small part of what takes longer than this, a large one of the rest."""

LONG_SECONDS = 20.0
"""Of stages that take longer it is said where they leave the range that was expected."""


@dataclass
class _Pass:
    """One way through a stage: when it began, and when its first batch ended, with the share done by then."""

    began: float
    first: tuple[float, float] | None = None
    told: bool = False


@dataclass
class Pace:
    """Watches one plan being tried. ``refined``: CPU seconds of each stage that reports, as its first batches tell.

    ``expected`` is what was expected of the stages before. All up to the end of the first batch counts once, for that
    is when weights are loaded; the batches after it tell the pace. A plan with two encoders encodes twice, and what
    they take adds up.
    """

    plan: str
    expected: Mapping[str, StageEstimate]
    say: Callable[[str], None] = field(default=lambda line: None)
    refined: dict[str, float] = field(default_factory=dict)
    _passes: dict[str, _Pass] = field(default_factory=dict, init=False, repr=False)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is done inside the block."""
        with progress.pacing(self._note):
            yield

    def _note(self, stage: str, share: float) -> None:
        name, now = stage.split(" ")[0], time.process_time()
        span = outermost()
        if name == "encode" and span is not None and span.name == "evaluate":
            return  # texts of requests, which are a part of answering them
        if share <= 0:
            self._passes[name] = _Pass(now)
            return
        passed = self._passes.get(name)
        if passed is None or passed.told or share >= 1:
            return
        if passed.first is None:
            passed.first = now, share
            return
        then, begun = passed.first
        if share - begun < LEAST_SHARE or now - then < LEAST_SECONDS:
            return
        passed.told = True
        seconds = then - passed.began + (now - then) * (1 - begun) / (share - begun)
        if seconds >= NOT_ALL.get(name, 0.0):
            self.refined[name] = self.refined.get(name, 0.0) + seconds
            self._say(name, self.refined[name])

    def _say(self, name: str, seconds: float) -> None:
        known = self.expected.get(name)
        was = None if known is None else known.seconds
        if seconds >= LONG_SECONDS and (was is None or not was.within(seconds)):
            self.say(f"{self.plan}: {name} takes about {seconds:.0f} s at this pace{_instead(was)}")


def _instead(was: Range | None) -> str:
    return "" if was is None else f"; {was.low:.0f} to {was.high:.0f} s were expected"


__all__ = ["LEAST_SECONDS", "LEAST_SHARE", "Pace"]
