"""A machine profile as a roofline: how fast each kind of work runs against how much it computes on a byte."""

from __future__ import annotations

import math
from collections.abc import Sequence

from frugalrec.machine_profile import Profile
from frugalrec.report._axes import Box, Scale, place_labels
from frugalrec.report._markup import Markup, tag
from frugalrec.report._svg import svg, text

_BYTES = {"f32": 4.0, "f64": 8.0}


def points_of(profile: Profile) -> list[tuple[str, float, float]]:
    """Return ``(name, FLOPs a byte, FLOP/s)`` of each measured kind whose traffic can be told from its size.

    Dense work on n rows reads and writes its matrices once: a product 2n³ FLOPs on three matrices, a factorisation
    n³/3 on one read and written. A gather takes 2 FLOPs a float32 weight; a copy takes none and sets the slope.
    """
    found = []
    for name, flops, matrices in (("gemm", 2.0, 3.0), ("factor", 1 / 3, 2.0), ("invert", 1.0, 2.0)):
        for precision, width in _BYTES.items():
            for size, rate in profile.rates.get(f"{name}-{precision}", {}).get(1, ()):
                found.append((f"{name} {precision} {size:,.0f}", flops * size / (matrices * width), rate))
    for size, rate in profile.rates.get("gather", {}).get(1, ()):
        found.append((f"gather {size:,.0f}", 0.5, 2.0 * rate))
    return found


def roofline(profile: Profile, *, width: int = 760, height: int = 430) -> Markup:
    """Return the roofline of one thread as SVG, or a line that says what is missing for it."""
    points = points_of(profile)
    copies = profile.rates.get("stream", {}).get(1)
    bandwidth = copies[-1][1] if copies else None  # of the largest copy, which no cache holds
    if not points or bandwidth is None:
        return tag("p", "No roofline: products, factors or memory were not measured.")
    roofs = {
        p: max((r for n, _, r in points if n.startswith("gemm") and f" {p} " in f" {n} "), default=None) for p in _BYTES
    }
    left, right, top, bottom = 62.0, width - 16.0, 26.0, height - 46.0
    xs = Scale.logarithmic([0.1, *(x for _, x, _ in points)], left, right)
    peaks = [r for r in roofs.values() if r is not None]
    ys = Scale.logarithmic([*(y for _, _, y in points), *peaks], bottom, top)
    area = Box(left + 2, top - 6, right - left, bottom - top + 4)
    placed = place_labels(
        [(xs(x), ys(y), name, 3.5) for name, x, y in _largest_last(points)],
        area,
        size=11,
        avoid=[Box(right - 130, ys(r) - 20, 130, 18) for r in peaks],
    )
    return svg(
        width,
        height,
        f"Roofline of one thread: memory {bandwidth / 1e9:.1f} GB/s; "
        + ", ".join(f"{p} at most {r / 1e9:.0f} GFLOP/s" for p, r in roofs.items() if r is not None),
        [tag("line", x1=left, x2=right, y1=ys(t), y2=ys(t), class_="grid") for t in ys.ticks(6)],
        [text(left - 6, ys(t) + 4, _short(t), "muted end") for t in ys.ticks(6)],
        tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="base"),
        [text(xs(t), bottom + 17, f"{t:g}", "muted middle") for t in xs.ticks(7)],
        text(4, top - 12, "FLOP/s, one thread", "axis"),
        text(right, bottom + 36, "FLOPs a byte moved, log scale", "axis end"),
        [_roof(xs, ys, bandwidth, peak) for peak in peaks],
        [text(right - 4, ys(r) - 5, f"{p}: {r / 1e9:.0f} GFLOP/s", "muted end") for p, r in roofs.items() if r],
        [tag("circle", cx=xs(x), cy=ys(y), r=3.5, class_="mark once") for _, x, y in points],
        [
            text(label.box.x, label.box.y + 10, label.text, "small")
            for label in placed
            if label is not None and not label.joined
        ],
    )


def _largest_last(points: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    return sorted(points, key=lambda p: -p[1])


def _roof(xs: Scale, ys: Scale, bandwidth: float, peak: float) -> Markup:
    ridge = peak / bandwidth
    start = max(xs.low, ys.low / bandwidth)
    path = f"M{xs(start):.1f} {ys(bandwidth * start):.1f}"
    if ridge > start:
        path += f"L{xs(min(ridge, xs.high)):.1f} {ys(min(peak, bandwidth * xs.high)):.1f}"
    return tag("path", d=f"{path}H{xs(xs.high):.1f}", class_="frontier")


def _short(value: float) -> str:
    power = math.floor(math.log10(value) / 3)
    return f"{value / 1000.0**power:g} {('', 'k', 'M', 'G', 'T', 'P')[max(0, min(power, 5))]}"


__all__ = ["points_of", "roofline"]
