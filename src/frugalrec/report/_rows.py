"""Plots with a row a plan, or a row a pair of plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from frugalrec.cost import Entry
from frugalrec.planner import Choice, Decision
from frugalrec.report import words
from frugalrec.report._axes import Scale, text_width
from frugalrec.report._markup import Markup, joined, tag
from frugalrec.report._standing import by_quality
from frugalrec.report._svg import SIZE, USES, decimals, glyph, svg, text, tick
from frugalrec.significance import Estimate
from frugalrec.worth import Worth

MOST_ROWS = 40
"""Plots with a row a plan show so many of them, the best ones."""

Draw = Callable[[float, float, Sequence[float]], Markup]
"""Draws between two pixels across, with a row at each of the given heights."""

_NOTHING = Estimate(None, None, None, 0)
_ROW = 26.0


def stage_bars(decision: Decision, entries: Iterable[Entry], *, width: int = 1100) -> Markup:
    """Return what each plan's stages take in seconds: before the first request, and for 1,000 requests.

    Bars are true to scale within a panel, each panel on its own, with the figure beside every bar: a logarithm would
    hide what a stacked bar is there to show. The third panel is what the search for settings took in this run.
    """
    choices = by_quality(decision)[:MOST_ROWS]
    searched = search_seconds(entries)
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
                [[("tune", searched.get(c.name, 0.0))] for c in choices],
            )
        )
    return _panels(
        choices,
        width,
        "Seconds a stage takes, for each plan",
        [(title, _bars(rows)) for title, rows in panels],
    )


def search_seconds(entries: Iterable[Entry]) -> dict[str, float | None]:
    """Return what looking for the settings of each plan took, in full or within a search budget."""
    searched: dict[str, float | None] = {}
    for entry in entries:
        name, _, kind = entry.plan.rpartition(" ")
        if entry.depth == 0 and kind in ("(tuning)", "(search)"):
            known, more = searched.get(name, 0.0), entry.cost.seconds
            searched[name] = None if known is None or more is None else known + more
    return searched


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
            parts.append(text(x + 6, top + _ROW / 2 + 4, total, "figure"))
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
        places = decimals(ticks)
        parts = [tag("line", x1=xs(t), x2=xs(t), y1=tops[0], y2=foot, class_="grid") for t in ticks]
        parts += [text(xs(t), foot + 13, tick(t, places), "muted middle") for t in ticks]
        for choice, estimate, top in zip(choices, estimates, tops, strict=True):
            y = top + _ROW / 2
            parts.append(text(stop - 4, y + 4, words.score(estimate.mean), "figure end"))
            if estimate.mean is None:
                continue
            use = choice.trial.plan.language_model
            told = tag(
                "title",
                f"{words.shorten(choice.name)}: {words.estimated(estimate)}, {words.counted(estimate.n, 'user')}",
            )
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
    names = 0.0 if narrow else max((text_width(_versus(w), SIZE) for w in shown), default=0.0) + 24
    air = 0.05 * (high - low)
    xs = Scale(low - air, high + air, names + 6, width - (8 if narrow else 216))
    # Where it is narrow the words stand above each interval, and the grid keeps out of their line.
    row, words_above = (46.0, 20.0) if narrow else (30.0, 0.0)
    bottom = 4 + row * len(shown)
    ticks = xs.ticks(4 if narrow else 6)
    places = decimals(ticks)
    parts: list[Markup] = []
    for i, worth in enumerate(shown):
        top, foot = 4 + row * i + words_above, 4 + row * (i + 1)
        parts += [tag("line", x1=xs(t), x2=xs(t), y1=top, y2=foot, class_="grid") for t in ticks if t]
        parts.append(tag("line", x1=xs(0), x2=xs(0), y1=top, y2=foot, class_="zero"))
        parts.append(_interval(worth, xs, (top + foot) / 2))
        parts += _verdict(worth, width, top - 6 if narrow else (top + foot) / 2 + 4, narrow)
    parts += [text(xs(t), bottom + 15, tick(t, places, sign=True), "muted middle") for t in ticks]
    told = "; ".join(worth.sentence for worth in shown)
    return svg(width, bottom + 20, f"Difference in quality by the language model. {told}", *parts)


def _versus(worth: Worth) -> str:
    return f"{words.shorten(worth.with_lm, 26)} against {words.shorten(worth.without_lm, 26)}"


def _interval(worth: Worth, xs: Scale, y: float) -> Markup:
    d = worth.difference
    parts: list[Markup] = [tag("title", words.shorten(worth.sentence, 400))]
    if d.low is not None and d.high is not None:
        parts.append(tag("line", x1=xs(d.low), x2=xs(d.high), y1=y, y2=y, class_=f"whisker {USES[worth.kind][0]}"))
    if d.mean is not None:
        parts.append(glyph(worth.kind, xs(d.mean), y, 5))
    return tag("g", parts)


def _verdict(worth: Worth, width: float, y: float, narrow: bool) -> list[Markup]:
    d = worth.difference
    says = "paid" if worth.paid else words.UNKNOWN if d.low is None else "did not pay"
    parts = [text(0, y, _versus(worth), ""), text(width - 2, y, says, "figure end")]
    if not narrow:
        parts.append(text(width - 150, y, words.signed(d.mean), "figure end"))
        parts.append(text(width - 88, y, words.change(worth.relative), "figure end"))
    return parts


@dataclass(frozen=True)
class _Panel:
    """A column of a plot with a row a plan. ``draw(start, stop, tops)`` fills it; ``foot``: room for ticks below."""

    draw: Draw
    foot: float = 4
    keys: tuple[str, ...] = ()


def _panels(choices: Sequence[Choice], width: int, told: str, panels: Sequence[tuple[str, _Panel]]) -> Markup:
    """Lay panels side by side, or, where it is narrow, below each other with the plans' names in each."""
    label = min(190.0, max(text_width(words.shorten(c.name, 26), SIZE) for c in choices) + 30)
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
        parts += [
            text(0 if narrow else start, top + 13, title, "axis"),
            _keys(panel.keys, title, 0 if narrow else start, top, narrow),
        ]
        parts.append(panel.draw(start, start + across - (0 if narrow else 18), tops))
        bottom = head + _ROW * len(choices) + panel.foot
        tallest = max(tallest, bottom)
        if narrow:
            top = bottom + 18
    return svg(width, tallest, told, *parts)


def _keys(keys: Sequence[str], title: str, start: float, top: float, narrow: bool) -> Markup:
    x, y = (start, top + 18.0) if narrow else (start + text_width(title, SIZE) + 22, top + 4.0)
    parts: list[Markup] = []
    for key in keys:
        parts.append(tag("rect", x=x, y=y, width=9, height=9, class_=f"bar {key}"))
        parts.append(text(x + 13, y + 9, key, "muted"))
        x += 28 + text_width(key, SIZE)
    return joined(*parts)


def _name(choice: Choice, top: float) -> Markup:
    y = top + _ROW / 2
    style = "chosen" if choice.verdict == "chosen" else ""
    return joined(
        glyph(choice.trial.plan.language_model, 7, y, 4.2), text(18, y + 4, words.shorten(choice.name, 26), style)
    )
