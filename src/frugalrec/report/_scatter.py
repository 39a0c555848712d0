"""Quality against cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from frugalrec.forecast import Traffic
from frugalrec.planner import Choice, Decision
from frugalrec.report import words
from frugalrec.report._axes import Box, Scale, place_labels, text_width
from frugalrec.report._markup import Markup, joined, tag
from frugalrec.report._standing import by_quality, comparable, partial, reference
from frugalrec.report._svg import SIZE, USES, decimals, few, glyph, svg, text, tick
from frugalrec.significance import Estimate

MOST_LABELS = 40
"""So many plans have a label at most; the others have their tooltip."""


@dataclass(frozen=True)
class _Point:
    choice: Choice
    x: float
    quality: Estimate
    mean: float


def scatter(
    decision: Decision, traffic: Traffic, *, dollars_per_month: float | None = None, width: int = 760, height: int = 430
) -> Markup:
    """Return quality against cost, one mark a plan, with intervals and the frontier.

    The cost is money a month, or CPU seconds a request where no plan's price is known. Plans whose cost or quality is
    unknown are named below the plot. ``dollars_per_month`` draws the budget.
    """
    standings = comparable(decision)
    cost, axis = _cost_axis(decision, traffic)
    points = [
        _Point(c, x, standings[c.name], mean)
        for c in by_quality(decision)
        if (x := cost[c.name]) is not None and (mean := standings[c.name].mean) is not None
    ]
    legend = _legend(decision, width)
    top, left, right = legend[1] + 34.0, 46.0, width - 14.0
    bottom = height - 44.0
    xs = Scale.logarithmic((p.x for p in points), left + 14, right - 10)
    ends = [v for p in points for v in (p.mean, p.quality.low, p.quality.high) if v is not None]
    ys = Scale.linear(ends, bottom, top)
    floor, floor_box = _floor_line(decision, ys, left, right)
    missing = [c.name for c in decision.choices if c.name not in {p.choice.name for p in points}]
    return svg(
        width,
        height,
        f"Quality against cost of {words.counted(len(points), 'plan')}; {axis}. {_summary(decision)}",
        legend[0],
        _quality_axis(ys, left, right, top, words.metric_name(decision.metric)),
        _price_axis(xs, left, right, bottom, axis, width),
        floor,
        _budget_line(dollars_per_month, xs, top, bottom, axis),
        _frontier(decision, points, xs, ys, right),
        [_whisker(p, xs(p.x), ys) for p in points],
        [_mark(p, xs(p.x), ys(p.mean), decision) for p in reversed(points)],
        _point_labels(decision, points, xs, ys, Box(left + 2, top - 8, right - left + 10, bottom - top + 6), floor_box),
        text(left, height - 1, f"Not drawn, cost or quality unknown: {few(missing)}", "small") if missing else None,
    )


def _cost_axis(decision: Decision, traffic: Traffic) -> tuple[dict[str, float | None], str]:
    months = {c.name: c.bill.month for c in decision.choices}
    if any(m is not None for m in months.values()):
        currency = decision.choices[0].bill.currency
        return months, f"{currency} a month at {words.count(traffic.requests_per_day)} requests a day, log scale"
    seconds = {c.name: c.trial.cost["request"].cpu_seconds for c in decision.choices}
    return seconds, "CPU seconds a request, log scale (prices are unknown)"


def _summary(decision: Decision) -> str:
    chosen = f"Chosen: {decision.plan}. " if decision.plan is not None else "No plan is feasible. "
    return f"{chosen}On the frontier, cheapest first: {few(decision.frontier)}."


def _legend(decision: Decision, width: int) -> tuple[Markup, float]:
    used = [use for use in USES if any(c.trial.plan.language_model == use for c in decision.choices)]
    parts: list[Markup] = []
    x, y = 4.0, 12.0
    for use in [*used, "frontier"]:
        label = "frontier" if use == "frontier" else USES[use][1]
        needed = 34 + text_width(label, SIZE)
        if x + needed > width and x > 4:
            x, y = 4.0, y + 18
        if use == "frontier":
            parts.append(tag("path", d=f"M{x:.0f} {y + 4:.0f}h8v-8h8", class_="frontier"))
        else:
            parts.append(glyph(use, x + 8, y))
        parts.append(text(x + 20, y + 4, label, "muted"))
        x += needed
    return joined(*parts), y + 6


def _quality_axis(ys: Scale, left: float, right: float, top: float, name: str) -> Markup:
    ticks = ys.ticks(5)
    places = decimals(ticks)
    return joined(
        [tag("line", x1=left, x2=right, y1=ys(t), y2=ys(t), class_="grid") for t in ticks],
        [text(left - 6, ys(t) + 4, tick(t, places), "muted end") for t in ticks],
        text(4, top - 8, name, "axis"),
    )


def _price_axis(xs: Scale, left: float, right: float, bottom: float, title: str, width: int) -> Markup:
    ticks = [(xs(t), _cost_tick(t)) for t in xs.ticks(max(4, width // 110))]
    if xs.zero is not None:
        ticks = [(xs.zero, "0"), *((x, t) for x, t in ticks if x > xs.zero + 20)]
    return joined(
        tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="base"),
        _break(xs, bottom),
        [tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="base") for x, _ in ticks],
        [text(x, bottom + 17, label, "muted middle") for x, label in ticks],
        text(right, bottom + 34, title, "axis end"),
    )


def _break(xs: Scale, bottom: float) -> Markup | None:
    """Two strokes through the axis: left of them is 0, which no logarithm reaches."""
    if xs.zero is None:
        return None
    x = (xs.zero + xs.start) / 2
    return joined(
        [tag("path", d=f"M{x + shift - 2:.1f} {bottom + 4:.1f}l4 -8", class_="base") for shift in (-2, 2)],
    )


def _floor_line(decision: Decision, ys: Scale, left: float, right: float) -> tuple[Markup | None, list[Box]]:
    floor, best = decision.floor, reference(decision).score.mean
    if floor.value is not None:
        value, label = floor.value, f"floor {words.score(floor.value)}"
    elif best is not None and floor.margin is not None:
        value, label = best * (1 - floor.margin), f"{floor.margin:.0%} below best"
    else:
        return None, []
    if not ys.low <= value <= ys.high:
        return None, []
    line = tag("line", x1=left, x2=right, y1=ys(value), y2=ys(value), class_="limit")
    box = Box(left + 4, ys(value) + 2, text_width(label, 11), 14)
    return joined(line, text(left + 4, ys(value) + 13, label, "small")), [box]


def _budget_line(limit: float | None, xs: Scale, top: float, bottom: float, axis: str) -> Markup | None:
    if limit is None or "a month" not in axis or not xs.low <= limit <= xs.high:
        return None
    return joined(
        tag("line", x1=xs(limit), x2=xs(limit), y1=top, y2=bottom, class_="limit"),
        text(xs(limit) - 4, bottom - 6, "budget", "small end"),
    )


def _steps(decision: Decision, points: Sequence[_Point], xs: Scale, ys: Scale) -> list[tuple[float, float]]:
    """Return where the frontier passes, cheapest first, only ever upwards."""
    corners: list[tuple[float, float]] = []
    for point in sorted((p for p in points if p.choice.name in decision.frontier), key=lambda p: (p.x, -p.mean)):
        if not corners or ys(point.mean) < corners[-1][1]:
            corners.append((xs(point.x), ys(point.mean)))
    return corners


def _frontier(decision: Decision, points: Sequence[_Point], xs: Scale, ys: Scale, right: float) -> Markup | None:
    corners = _steps(decision, points, xs, ys)
    if not corners:
        return None
    path = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in corners[1:])
    return tag("path", d=f"{path}H{right:.1f}", class_="frontier")


def _whisker(point: _Point, x: float, ys: Scale) -> Markup | None:
    low, high = point.quality.low, point.quality.high
    if low is None or high is None:
        return None
    style = f"whisker {USES[point.choice.trial.plan.language_model][0]}"
    return tag("line", x1=x, x2=x, y1=ys(low), y2=ys(high), class_=style)


def _mark(point: _Point, x: float, y: float, decision: Decision) -> Markup:
    choice = point.choice
    fewer = partial(decision).get(choice.name)
    told = [
        f"{words.shorten(choice.name, 60)} ({USES[choice.trial.plan.language_model][1]})",
        f"{words.metric_name(decision.metric)} {words.estimated(choice.trial.score)}",
        f"{words.money(choice.bill.month, choice.bill.currency)} a month, "
        f"{words.money(choice.bill.thousand_requests, choice.bill.currency)} per 1,000 requests",
        f"{choice.verdict}: {words.shorten(choice.reason, 120)}",
    ]
    if fewer is not None:
        told.append(f"tried on {words.counted(fewer, 'user')} only; drawn where it would be with all")
    chosen = choice.name == decision.plan
    return tag(
        "g",
        tag("title", "\n".join(told)),
        tag("circle", cx=x, cy=y, r=14, class_="touch"),
        tag("circle", cx=x, cy=y, r=10, class_="ring") if chosen else None,
        glyph(choice.trial.plan.language_model, x, y, 6 if chosen else 5),
        class_="point fewer" if fewer is not None else "point",
    )


def _point_labels(
    decision: Decision, points: Sequence[_Point], xs: Scale, ys: Scale, area: Box, taken: Sequence[Box]
) -> Markup:
    def urgency(point: _Point) -> tuple[bool, bool, float]:
        return (point.choice.name != decision.plan, point.choice.name not in decision.frontier, -point.mean)

    ordered = sorted(points, key=urgency)[:MOST_LABELS]
    marks = [Box(xs(p.x) - 7, ys(p.mean) - 7, 14, 14) for p in points]
    lines = [
        Box(xs(p.x) - 1.5, ys(p.quality.high), 3, ys(p.quality.low) - ys(p.quality.high))
        for p in points
        if p.quality.low is not None and p.quality.high is not None
    ]
    corners = _steps(decision, points, xs, ys)
    for (x, y), (after_x, after_y) in pairwise(corners):
        lines += [Box(x, y - 1.5, after_x - x, 3), Box(after_x - 1.5, after_y, 3, y - after_y)]
    lines += [Box(x, y - 1.5, area.x + area.width - x, 3) for x, y in corners[-1:]]
    wanted = [
        (xs(p.x), ys(p.mean), words.shorten(p.choice.name, 32), 9.0 if i == 0 else 6.0) for i, p in enumerate(ordered)
    ]
    labels = place_labels(wanted, area, size=SIZE + 0.5, avoid=[*marks, *taken], rather_not=lines, must=1)
    drawn: list[Markup] = []
    for point, (x, y, _, _), label in zip(ordered, wanted, labels, strict=True):
        if label is None:
            continue
        box = label.box
        if label.joined:
            to_x, to_y = box.nearest(x, y)
            drawn.append(tag("line", x1=x, y1=y, x2=to_x, y2=to_y, class_="leader"))
        style = "label chosen" if point.choice.name == decision.plan else "label"
        middle = box.x + box.width / 2
        # Anchored at the end that is nearest to the point, so that a wrong guess of the width does no harm.
        anchor, at = (
            ("start", box.x) if box.x >= x else ("end", box.x + box.width) if middle < x - 8 else ("middle", middle)
        )
        drawn.append(tag("text", label.text, x=at, y=box.y + box.height * 0.78, text_anchor=anchor, class_=style))
    return joined(*drawn)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _cost_tick(value: float) -> str:
    power = math.log10(value)
    if abs(power - round(power)) < 1e-9 and not -4 <= round(power) <= 6:
        return f"10{str(round(power)).translate(_SUPERSCRIPTS)}"
    if value < 1:
        return f"{value:.{max(1, math.ceil(-power) + (0 if abs(power - round(power)) < 1e-9 else 1))}f}".rstrip("0")
    return f"{value:,.6g}" if value < 1e6 else f"{value:,.0f}"
