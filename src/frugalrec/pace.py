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
class Pace:
    """Watches one plan being tried. ``refined``: CPU seconds of each stage that reports, as its first batches tell.

    ``expected`` is what was expected of the stages before. All up to the end of the first batch counts once, for that
    is when weights are loaded; the batches after it tell the pace.
    """

    plan: str
    expected: Mapping[str, StageEstimate]
    say: Callable[[str], None] = field(default=lambda line: None)
    refined: dict[str, float] = field(default_factory=dict)
    _first: dict[str, tuple[float, float, float]] = field(default_factory=dict, init=False, repr=False)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is done inside the block."""
        with progress.pacing(self._note):
            yield

    def _note(self, stage: str, share: float) -> None:
        span = outermost()
        # Texts that are encoded while settings are searched are a part of that stage, not one of their own.
        if share <= 0 or span is None or span.name != stage.split(" ")[0] or span.name in self.refined:
            return
        now = time.process_time()
        if span.name not in self._first:
            self._first[span.name] = now, now - span.cpu_seconds, share
            return
        then, before, begun = self._first[span.name]
        if share - begun < LEAST_SHARE or now - then < LEAST_SECONDS or share >= 1:
            return
        seconds = before + (now - then) * (1 - begun) / (share - begun)
        if seconds < NOT_ALL.get(span.name, 0.0):
            return
        self.refined[span.name] = seconds
        known = self.expected.get(span.name)
        was = None if known is None else known.seconds
        if seconds >= LONG_SECONDS and (was is None or not was.within(seconds)):
            self.say(f"{self.plan}: {span.name} takes about {seconds:.0f} s at this pace{_instead(was)}")


def _instead(was: Range | None) -> str:
    return "" if was is None else f"; {was.low:.0f} to {was.high:.0f} s were expected"


__all__ = ["LEAST_SECONDS", "LEAST_SHARE", "Pace"]
