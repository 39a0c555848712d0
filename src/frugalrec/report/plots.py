"""The report's plots, as SVG that takes its colours from the page.

Every plot is drawn for a width in pixels, so that its text stays readable on a phone: draw it again for another width
rather than scale it. The three uses of a language model differ in colour and in shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from frugalrec.cost import Entry
from frugalrec.forecast import Traffic
from frugalrec.planner import Choice, Decision, Worth
from frugalrec.report import words
from frugalrec.report._axes import Box, Scale, place_labels, text_width
from frugalrec.report._markup import Markup, joined, tag
from frugalrec.report._standing import by_quality, comparable, partial, reference
from frugalrec.significance import Estimate

MOST_ROWS = 40
"""Plots with a row a plan show so many of them, the best ones."""

USES: dict[str, tuple[str, str]] = {
    "no": ("none", "no language model"),
    "once": ("once", "language model once"),
    "per request": ("each", "language model per request"),
}
"""For each use of a language model its class in the style sheet and its words."""

Draw = Callable[[float, float, Sequence[float]], Markup]
"""Draws between two pixels across, with a row at each of the given heights."""

_SIZE = 12.0
_ROW = 26.0


def glyph(use: str, x: float = 7, y: float = 7, radius: float = 4.5) -> Markup:
    """Return the mark of a use of a language model: circle, square or triangle of about equal area."""
    style = f"mark {USES[use][0]}"
    if use == "no":
        return tag("circle", cx=x, cy=y, r=radius, class_=style)
    if use == "once":
        side = radius * 1.75
        return tag("rect", x=x - side / 2, y=y - side / 2, width=side, height=side, class_=style)
    r = radius * 1.4
    corners = ((x, y - r), (x + r * 0.87, y + r * 0.55), (x - r * 0.87, y + r * 0.55))
    return tag("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners), class_=style)


def icon(use: str) -> Markup:
    """Return the mark of a use of a language model, to stand in a line of text."""
    return tag("svg", glyph(use), class_="icon", width=14, height=14, viewBox="0 0 14 14", aria_hidden="true")


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
    return _svg(
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
        _point_labels(
            decision, points, xs, ys, Box(left + 2, top - 8, right - left + 10, bottom - top + 6), floor_box
        ),
        _text(left, height - 1, f"Not drawn, cost or quality unknown: {_few(missing)}", "small") if missing else None,
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
    return f"{chosen}On the frontier, cheapest first: {_few(decision.frontier)}."


def _legend(decision: Decision, width: int) -> tuple[Markup, float]:
    used = [use for use in USES if any(c.trial.plan.language_model == use for c in decision.choices)]
    parts: list[Markup] = []
    x, y = 4.0, 12.0
    for use in [*used, "frontier"]:
        label = "frontier" if use == "frontier" else USES[use][1]
        needed = 34 + text_width(label, _SIZE)
        if x + needed > width and x > 4:
            x, y = 4.0, y + 18
        if use == "frontier":
            parts.append(tag("path", d=f"M{x:.0f} {y + 4:.0f}h8v-8h8", class_="frontier"))
        else:
            parts.append(glyph(use, x + 8, y))
        parts.append(_text(x + 20, y + 4, label, "muted"))
        x += needed
    return joined(*parts), y + 6


def _quality_axis(ys: Scale, left: float, right: float, top: float, name: str) -> Markup:
    ticks = ys.ticks(5)
    decimals = _decimals(ticks)
    return joined(
        [tag("line", x1=left, x2=right, y1=ys(t), y2=ys(t), class_="grid") for t in ticks],
        [_text(left - 6, ys(t) + 4, _tick(t, decimals), "muted end") for t in ticks],
        _text(4, top - 8, name, "axis"),
    )


def _price_axis(xs: Scale, left: float, right: float, bottom: float, title: str, width: int) -> Markup:
    ticks = [(xs(t), _cost_tick(t)) for t in xs.ticks(max(4, width // 110))]
    if xs.zero is not None:
        ticks = [(xs.zero, "0"), *((x, t) for x, t in ticks if x > xs.zero + 20)]
    return joined(
        tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="base"),
        _break(xs, bottom),
        [tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="base") for x, _ in ticks],
        [_text(x, bottom + 17, label, "muted middle") for x, label in ticks],
        _text(right, bottom + 34, title, "axis end"),
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
    return joined(line, _text(left + 4, ys(value) + 13, label, "small")), [box]


def _budget_line(limit: float | None, xs: Scale, top: float, bottom: float, axis: str) -> Markup | None:
    if limit is None or "a month" not in axis or not xs.low <= limit <= xs.high:
        return None
    return joined(
        tag("line", x1=xs(limit), x2=xs(limit), y1=top, y2=bottom, class_="limit"),
        _text(xs(limit) - 4, bottom - 6, "budget", "small end"),
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
        f"{choice.name} ({USES[choice.trial.plan.language_model][1]})",
        f"{words.metric_name(decision.metric)} {words.estimated(choice.trial.score)}",
        f"{words.money(choice.bill.month, choice.bill.currency)} a month, "
        f"{words.money(choice.bill.thousand_requests, choice.bill.currency)} per 1,000 requests",
        f"{choice.verdict}: {choice.reason}",
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

    ordered = sorted(points, key=urgency)
    marks = [Box(xs(p.x) - 7, ys(p.mean) - 7, 14, 14) for p in points]
    lines = []
    for p in points:
        if p.quality.low is not None and p.quality.high is not None:
            lines.append(Box(xs(p.x) - 1.5, ys(p.quality.high), 3, ys(p.quality.low) - ys(p.quality.high)))
    corners = _steps(decision, points, xs, ys)
    for (x, y), (after_x, after_y) in zip(corners, corners[1:], strict=False):
        lines += [Box(x, y - 1.5, after_x - x, 3), Box(after_x - 1.5, after_y, 3, y - after_y)]
    lines += [Box(x, y - 1.5, area.x + area.width - x, 3) for x, y in corners[-1:]]
    wanted = [(xs(p.x), ys(p.mean), words.shorten(p.choice.name, 32), 9.0 if i == 0 else 6.0) for i, p in enumerate(ordered)]
    labels = place_labels(wanted, area, size=_SIZE + 0.5, avoid=[*marks, *taken], rather_not=lines, must=1)
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
        anchor, at = ("start", box.x) if box.x >= x else ("end", box.x + box.width) if middle < x - 8 else ("middle", middle)
        drawn.append(tag("text", label.text, x=at, y=box.y + box.height * 0.78, text_anchor=anchor, class_=style))
    return joined(*drawn)


def stage_bars(decision: Decision, entries: Iterable[Entry], *, width: int = 1100) -> Markup:
    """Return what each plan's stages take in seconds: before the first request, and for 1,000 requests.

    Bars are true to scale within a panel, each panel on its own, with the figure beside every bar: a logarithm would
    hide what a stacked bar is there to show. The third panel is what the search for settings took in this run.
    """
    choices = by_quality(decision)[:MOST_ROWS]
    searched: dict[str, float | None] = {}
    for entry in entries:
        if entry.depth == 0 and entry.plan.endswith(" (tuning)"):
            known, more = searched.get(entry.plan, 0.0), entry.cost.seconds
            searched[entry.plan] = None if known is None or more is None else known + more
    panels: list[tuple[str, list[list[tuple[str, float | None]]]]] = [
        (
            "before the first request",
            [[("encode", c.trial.cost["once"].seconds), ("fit", c.trial.cost["refresh"].seconds)] for c in choices],
        ),
        (
            "for 1,000 requests, one at a time",
            [[("recommend", (c.trial.cost["request"] * 1000).seconds)] for c in choices],
        ),
    ]
    if searched:
        panels.append(
            (
                "search for settings, this run",
                [[("tune", searched.get(f"{c.name} (tuning)", 0.0))] for c in choices],
            )
        )
    return _panels(
        choices,
        width,
        "Seconds a stage takes, for each plan",
        [(title, _bars(rows)) for title, rows in panels],
    )


def _bars(rows: Sequence[Sequence[tuple[str, float | None]]]) -> _Panel:
    longest = max((sum(s or 0.0 for _, s in row) for row in rows), default=0.0)

    def draw(start: float, stop: float, tops: Sequence[float]) -> Markup:
        room = max(10.0, stop - start - 84)
        parts: list[Markup] = []
        for row, top in zip(rows, tops, strict=True):
            x = start
            for stage, seconds in row:
                if not seconds:
                    continue
                length = max(0.75, seconds / longest * room)
                bar = tag("rect", tag("title", f"{stage}: {words.duration(seconds)}"), x=x, y=top + 6, width=length,
                          height=_ROW - 12, class_=f"bar {stage}")  # fmt: skip
                parts.append(bar)
                x += length
            known = [s for _, s in row if s is not None]
            total = words.duration(sum(known)) if len(known) == len(row) else words.UNKNOWN
            parts.append(_text(x + 6, top + _ROW / 2 + 4, total, "figure"))
        return joined(*parts)

    keys = tuple(dict.fromkeys(stage for row in rows for stage, _ in row))
    return _Panel(draw, keys=keys if len(keys) > 1 else ())


def slice_dots(decision: Decision, *, width: int = 1100) -> Markup:
    """Return the primary metric of each plan on each slice of the test answers, with intervals, a panel a slice.

    Slices without any test answer have no panel; `empty_slices` names them.
    """
    choices = by_quality(decision)[:MOST_ROWS]
    metric = words.metric_name(decision.metric)
    filled = [name for name in slices_of(decision) if name not in empty_slices(decision)]
    panels = []
    for name in filled:
        estimates = [c.trial.slices.get(name, _NOTHING) for c in choices]
        n = max(e.n for e in estimates)
        panels.append((f"{name} items, {words.counted(n, 'user')}", _dots(choices, estimates)))
    return _panels(choices, width, f"{metric} on each slice of the test answers, for each plan", panels)


_NOTHING = Estimate(None, None, None, 0)


def slices_of(decision: Decision) -> list[str]:
    """Return the names of all slices, in the order of the trials."""
    return list(dict.fromkeys(name for c in decision.choices for name in c.trial.slices))


def empty_slices(decision: Decision) -> list[str]:
    """Return the slices in which no plan was tried on anything."""
    return [
        s for s in slices_of(decision) if not any(c.trial.slices[s].n for c in decision.choices if s in c.trial.slices)
    ]


def _dots(choices: Sequence[Choice], estimates: Sequence[Estimate]) -> _Panel:
    def draw(start: float, stop: float, tops: Sequence[float]) -> Markup:
        ends = [v for e in estimates for v in (e.mean, e.low, e.high) if v is not None]
        xs = Scale.linear(ends, start + 4, stop - 64, from_zero=True)
        ticks = xs.ticks(4)
        foot = tops[-1] + _ROW
        decimals = _decimals(ticks)
        parts = [tag("line", x1=xs(t), x2=xs(t), y1=tops[0], y2=foot, class_="grid") for t in ticks]
        parts += [_text(xs(t), foot + 13, _tick(t, decimals), "muted middle") for t in ticks]
        for choice, estimate, top in zip(choices, estimates, tops, strict=True):
            y = top + _ROW / 2
            parts.append(_text(stop - 4, y + 4, words.score(estimate.mean), "figure end"))
            if estimate.mean is None:
                continue
            use = choice.trial.plan.language_model
            told = tag("title", f"{choice.name}: {words.estimated(estimate)}, {words.counted(estimate.n, 'user')}")
            ends_known = estimate.low is not None and estimate.high is not None
            whisker = tag("line", x1=xs(estimate.low or 0), x2=xs(estimate.high or 0), y1=y, y2=y,
                          class_=f"whisker {USES[use][0]}")  # fmt: skip
            parts.append(tag("g", told, whisker if ends_known else None, glyph(use, xs(estimate.mean), y, 4.2)))
        return joined(*parts)

    return _Panel(draw, foot=20)


def forest(pairs: Sequence[Worth], *, width: int = 1100) -> Markup:
    """Return what each language model bought: the difference and its interval against the zero line."""
    shown = list(pairs)[:MOST_ROWS]
    ends = [v for w in shown for v in (w.difference.mean, w.difference.low, w.difference.high) if v is not None]
    reach = max((abs(v) for v in ends), default=0.0) or 1e-3
    low, high = min([*ends, -0.25 * reach]), max([*ends, 0.25 * reach])
    narrow = width < 620
    names = 0.0 if narrow else max((text_width(_versus(w), _SIZE) for w in shown), default=0.0) + 24
    air = 0.05 * (high - low)
    xs = Scale(low - air, high + air, names + 6, width - (8 if narrow else 216))
    # Where it is narrow the words stand above each interval, and the grid keeps out of their line.
    row, words_above = (46.0, 20.0) if narrow else (30.0, 0.0)
    bottom = 4 + row * len(shown)
    ticks = xs.ticks(4 if narrow else 6)
    decimals = _decimals(ticks)
    parts: list[Markup] = []
    for i, worth in enumerate(shown):
        top, foot = 4 + row * i + words_above, 4 + row * (i + 1)
        for t in sorted({*ticks, 0.0}, key=bool, reverse=True):
            parts.append(tag("line", x1=xs(t), x2=xs(t), y1=top, y2=foot, class_="grid" if t else "zero"))
        parts.append(_interval(worth, xs, (top + foot) / 2))
        parts += _verdict(worth, width, top - 6 if narrow else (top + foot) / 2 + 4, narrow)
    parts += [_text(xs(t), bottom + 15, _tick(t, decimals, sign=True), "muted middle") for t in ticks]
    told = "; ".join(worth.sentence for worth in shown)
    return _svg(width, bottom + 20, f"Difference in quality by the language model. {told}", *parts)


def _versus(worth: Worth) -> str:
    return f"{words.shorten(worth.with_lm, 26)} against {words.shorten(worth.without_lm, 26)}"


def _interval(worth: Worth, xs: Scale, y: float) -> Markup:
    d = worth.difference
    parts: list[Markup] = [tag("title", worth.sentence)]
    if d.low is not None and d.high is not None:
        parts.append(tag("line", x1=xs(d.low), x2=xs(d.high), y1=y, y2=y, class_=f"whisker {USES[worth.kind][0]}"))
    if d.mean is not None:
        parts.append(glyph(worth.kind, xs(d.mean), y, 5))
    return tag("g", parts)


def _verdict(worth: Worth, width: float, y: float, narrow: bool) -> list[Markup]:
    d = worth.difference
    says = "paid" if worth.paid else words.UNKNOWN if d.low is None else "did not pay"
    parts = [_text(0, y, _versus(worth), ""), _text(width - 2, y, says, "figure end")]
    if not narrow:
        parts.append(_text(width - 150, y, words.signed(d.mean), "figure end"))
        parts.append(_text(width - 88, y, words.change(worth.relative), "figure end"))
    return parts


@dataclass(frozen=True)
class _Panel:
    """A column of a plot with a row a plan. ``draw(start, stop, tops)`` fills it; ``foot``: room for ticks below."""

    draw: Draw
    foot: float = 4
    keys: tuple[str, ...] = ()


def _panels(
    choices: Sequence[Choice], width: int, told: str, panels: Sequence[tuple[str, _Panel]]
) -> Markup:
    """Lay panels side by side, or, where it is narrow, below each other with the plans' names in each."""
    label = min(190.0, max(text_width(words.shorten(c.name, 26), _SIZE) for c in choices) + 30)
    narrow = width < 620
    parts: list[Markup] = []
    top, tallest = 0.0, 0.0
    for i, (title, panel) in enumerate(panels):
        across = width - label if narrow else (width - label) / len(panels)
        start = label if narrow else label + i * across
        head = top + (40 if panel.keys and narrow else 26)
        tops = [head + _ROW * j for j in range(len(choices))]
        if narrow or i == 0:
            parts += [_name(c, y) for c, y in zip(choices, tops, strict=True)]
        parts += [_text(0 if narrow else start, top + 13, title, "axis"), _keys(panel.keys, title, 0 if narrow else start, top, narrow)]
        parts.append(panel.draw(start, start + across - (0 if narrow else 18), tops))
        bottom = head + _ROW * len(choices) + panel.foot
        tallest = max(tallest, bottom)
        if narrow:
            top = bottom + 18
    return _svg(width, tallest, told, *parts)


def _keys(keys: Sequence[str], title: str, start: float, top: float, narrow: bool) -> Markup:
    x, y = (start, top + 18.0) if narrow else (start + text_width(title, _SIZE) + 22, top + 4.0)
    parts: list[Markup] = []
    for key in keys:
        parts.append(tag("rect", x=x, y=y, width=9, height=9, class_=f"bar {key}"))
        parts.append(_text(x + 13, y + 9, key, "muted"))
        x += 28 + text_width(key, _SIZE)
    return joined(*parts)


def _name(choice: Choice, top: float) -> Markup:
    y = top + _ROW / 2
    style = "chosen" if choice.verdict == "chosen" else ""
    return joined(
        glyph(choice.trial.plan.language_model, 7, y, 4.2), _text(18, y + 4, words.shorten(choice.name, 26), style)
    )


def _svg(width: float, height: float, told: str, *children: Markup | Sequence[Markup | None] | None) -> Markup:
    return tag(
        "svg",
        *children,
        width=width,
        height=height,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=words.shorten(told, 1000),
        class_="plot",
    )


def _text(x: float, y: float, text: str, style: str) -> Markup:
    anchor = next((a for a in ("middle", "end") if a in style.split()), None)
    return tag("text", text, x=x, y=y, class_=style or None, text_anchor=anchor)


def _tick(value: float, decimals: int, *, sign: bool = False) -> str:
    """Return a tick of a metric's axis; all ticks of an axis have the same decimals."""
    if value == 0:
        return "0"
    size = f"{abs(value):.{decimals}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{abs(value):.{decimals}f}"
    return f"{'−' if value < 0 else '+' if sign else ''}{size}"


def _decimals(ticks: Sequence[float]) -> int:
    return max((len(f"{t:.8f}".rstrip("0").partition(".")[2]) for t in ticks), default=2)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _cost_tick(value: float) -> str:
    power = math.log10(value)
    if abs(power - round(power)) < 1e-9 and not -4 <= round(power) <= 6:
        return f"10{str(round(power)).translate(_SUPERSCRIPTS)}"
    if value < 1:
        return f"{value:.{max(1, math.ceil(-power) + (0 if abs(power - round(power)) < 1e-9 else 1))}f}".rstrip("0")
    return f"{value:,.6g}" if value < 1e6 else f"{value:,.0f}"


def _few(names: Sequence[str], most: int = 6) -> str:
    shown = [words.shorten(name, 32) for name in names[:most]]
    more = len(names) - most
    return f"{', '.join(shown)} and {more} more" if more > 0 else words.listed(shown)


__all__ = ["empty_slices", "forest", "glyph", "icon", "scatter", "slice_dots", "slices_of", "stage_bars"]
