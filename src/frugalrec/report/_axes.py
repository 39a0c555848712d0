"""Where things go on a plot: scales with ticks people can read, and labels that do not cover each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CHARACTER = 0.56
"""Width of an average character in its font's size."""


@dataclass(frozen=True)
class Scale:
    """Values ``low`` to ``high`` on pixels ``start`` to ``stop``, evenly or by their logarithms.

    On a logarithmic scale 0 has a place of its own, ``zero``, outside the rest; without one it is at the start.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False
    zero: float | None = None

    @classmethod
    def linear(cls, values: Iterable[float], start: float, stop: float, *, from_zero: bool = False) -> Scale:
        """Fit ``values`` with some air; 0 is included where it is near, or asked for."""
        known = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
        low, high = min(known), max(known)
        if high - low <= 1e-6 * max(abs(low), abs(high)):
            air = abs(low) * 0.5 or 1.0
            low, high = low - air, high + air
        span = high - low
        if from_zero or 0 <= min(known) <= 0.4 * span:
            low = min(0.0, *known)  # values that are all 0 are on an axis that begins there
        else:
            low -= 0.06 * span
        return cls(low, high + 0.06 * span, start, stop)

    @classmethod
    def logarithmic(cls, values: Iterable[float], start: float, stop: float) -> Scale:
        """Fit the positive ``values`` with some air, with a place for 0 where there are any."""
        known = [v for v in values if math.isfinite(v)]
        positive = [v for v in known if v > 0] or [1.0]
        zero = start if len(positive) < len(known) or positive == [1.0] else None
        air = max(1.25, (max(positive) / min(positive)) ** 0.06)
        if max(positive) / min(positive) < 2:
            air = 2.0
        inner = start + 0.09 * (stop - start) if zero is not None else start
        return cls(min(positive) / air, max(positive) * air, inner, stop, True, zero)

    def __call__(self, value: float) -> float:
        """Return the pixel of ``value``."""
        if not self.log:
            return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)
        if value <= 0:
            return self.start if self.zero is None else self.zero
        share = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return self.start + share * (self.stop - self.start)

    def ticks(self, n: int) -> list[float]:
        """Return about ``n`` round values on the scale, ascending."""
        if self.log:
            return self._log_ticks(n)
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / max(1, n)))
        step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (step * m) <= n + 1e-9)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [0.0 if i == 0 else round(i * step, 12) for i in range(first, last + 1)]

    def _log_ticks(self, n: int) -> list[float]:
        low, high = math.log10(self.low), math.log10(self.high)
        whole = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
        if len(whole) >= 3:
            every = math.ceil(len(whole) / max(2, n))
            return [10.0**power for power in whole if power % every == 0]
        for steps in ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
            found = [
                m * 10.0**power
                for power in range(math.floor(low) - 1, math.ceil(high) + 1)
                for m in steps
                if self.low <= m * 10.0**power <= self.high
            ]
            if len(found) >= 2:
                return found[:: math.ceil(len(found) / max(2, n))]
        return [math.sqrt(self.low * self.high)]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, ``y`` downwards."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """Return the area that both cover."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return across * down if across > 0 and down > 0 else 0.0

    def within(self, other: Box) -> bool:
        """Whether all of it lies in ``other``."""
        return (
            self.x >= other.x
            and self.y >= other.y
            and self.x + self.width <= other.x + other.width
            and self.y + self.height <= other.y + other.height
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return its point nearest to another point."""
        return min(max(x, self.x), self.x + self.width), min(max(y, self.y), self.y + self.height)

    def distance(self, x: float, y: float) -> float:
        """Return how far it is from a point; 0 inside."""
        return math.dist((x, y), self.nearest(x, y))


@dataclass(frozen=True)
class Label:
    """A text and where it stands: its box, and whether it is so far from its point that a line should join them."""

    text: str
    box: Box
    joined: bool


def text_width(text: str, size: float) -> float:
    """Return about how wide ``text`` is; wide scripts count double."""
    return sum(CHARACTER * (1 if ord(c) < 0x2E80 else 2) for c in text) * size


def place_labels(
    points: Sequence[tuple[float, float, str, float]],
    area: Box,
    *,
    size: float,
    avoid: Sequence[Box],
    rather_not: Sequence[Box] = (),
    must: int = 0,
) -> list[Label | None]:
    """Return a label for each of ``points`` (x, y, text, radius), or None where there is no room.

    Greedy, in the order given: each label takes the free place nearest to its point, and of those the one that covers
    least of ``rather_not``. A place that would be read as another point's is none: one nearer to it than to its own, or
    one joined by a line that passes it. The first ``must`` labels are placed whatever they cover.
    """
    placed: list[Label | None] = []
    taken = list(avoid)
    for i, (x, y, text, radius) in enumerate(points):
        width, height = text_width(text, size), size * 1.2
        best: tuple[float, Label] | None = None
        for distance in (radius + 3, radius + 10, radius + 22, radius + 36, radius + 54):
            for rank, box in enumerate(_around(x, y, width, height, distance)):
                if not box.within(area):
                    continue
                blocked = sum(box.overlap(other) for other in taken)
                if blocked and i >= must:
                    continue
                joined = distance > radius + 10
                others = [(a, b) for j, (a, b, _, _) in enumerate(points) if j != i]
                if joined:
                    line = ((x, y), box.nearest(x, y))
                    mistaken = sum(_to_segment(other, *line) < radius + 2 for other in others)
                else:
                    mistaken = sum(box.distance(*other) < box.distance(x, y) + 2 for other in others)
                if mistaken and i >= must:
                    continue
                soft = sum(box.overlap(other) for other in rather_not)
                price = 50 * blocked + 25 * mistaken + soft + 4 * (distance - radius) + rank
                if best is None or price < best[0]:
                    best = price, Label(text, box, joined)
        placed.append(None if best is None else best[1])
        if best is not None:
            taken.append(best[1].box)
    return placed


def _to_segment(point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]) -> float:
    """Return the distance of a point from the line between two others."""
    along = (end[0] - start[0], end[1] - start[1])
    length = along[0] ** 2 + along[1] ** 2
    share = ((point[0] - start[0]) * along[0] + (point[1] - start[1]) * along[1]) / length if length else 0.0
    share = min(max(share, 0.0), 1.0)
    return math.dist(point, (start[0] + share * along[0], start[1] + share * along[1]))


def _around(x: float, y: float, width: float, height: float, distance: float) -> list[Box]:
    near = distance * 0.6
    return [
        Box(x + distance, y - height / 2, width, height),
        Box(x - distance - width, y - height / 2, width, height),
        Box(x - width / 2, y - distance - height, width, height),
        Box(x - width / 2, y + distance, width, height),
        Box(x + near, y - near - height, width, height),
        Box(x + near, y + near, width, height),
        Box(x - near - width, y - near - height, width, height),
        Box(x - near - width, y + near, width, height),
    ]
