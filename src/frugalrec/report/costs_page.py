"""What runs spent, for people: pages with bars by stage, by plan and over time, and of how costs changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from frugalrec.prices import PriceSheet
from frugalrec.report import words
from frugalrec.report._axes import text_width
from frugalrec.report._markup import Markup, tag
from frugalrec.report._svg import SIZE, svg, text
from frugalrec.report.page import page
from frugalrec.run_costs import Change, Line, Run, Spent, by, stage_of

MOST_BARS = 40
MOST_SHARE = 2.0
_ROW = 22.0
_FROM_NOTHING = "from nothing"


def render(runs: Sequence[Run], prices: PriceSheet) -> str:
    """Return a page about ``runs``: each by stage and by plan; several over time, and so a request of each plan."""
    sections = []
    for run in runs:
        for title, key in (("stage", stage_of), ("plan", _plan_of)):
            sections.append(_section(f"{run.folder.name}, by {title}", by(run, key, prices), prices))
    if len(runs) > 1:
        ordered = sorted(runs, key=lambda run: min(e.started for e in run.entries))
        whole = [_renamed(by(run, lambda e: "", prices)[0], _when(run)) for run in ordered]
        sections.insert(0, _section("Over time", whole, prices))
        sections.append(_requests(ordered, prices))
    return page("What runs spent", *sections)


def render_top(lines: Sequence[Line], prices: PriceSheet) -> str:
    """Return a page about the stages that took most."""
    return page("What took most", _section("By CPU time", lines, prices))


def render_changes(
    before: str, after: str, found: Sequence[Change], broken: Sequence[str], currency: str, *, note: str = ""
) -> str:
    """Return a page about how the money of each plan and phase changed, and which limits it broke.

    ``note`` says what else than code is not the same in the two runs.
    """
    rows = [c for c in found if c.measure == "money" and c.share is not None]
    limits = [tag("li", line) for line in broken]
    return page(
        "What changed",
        tag("p", f"{after} against {before}: money, at the same prices", class_="lede"),
        tag("p", note) if note else None,
        tag("section", tag("h2", "Change"), tag("figure", changed(rows, currency))),
        tag("section", tag("h2", "Beyond a limit"), tag("ul", limits)) if limits else None,
    )


def bars(rows: Sequence[tuple[str, float | None, str]], *, told: str, width: int = 860) -> Markup:
    """Return a bar a row: its name, its length (None: unknown, and drawn as none) and what stands at its end."""
    shown = rows[:MOST_BARS]
    names = [words.shorten(name, 44) for name, _, _ in shown]
    left = max((text_width(name, SIZE) for name in names), default=0.0) + 14
    right = width - max((text_width(end, SIZE) for _, _, end in shown), default=0.0) - 14
    longest = max((value or 0.0 for _, value, _ in shown), default=0.0) or 1.0
    parts = []
    for i, (name, (whole, value, end)) in enumerate(zip(names, shown, strict=True)):
        top = _ROW * i
        length = max(0.75, (value or 0.0) / longest * (right - left)) if value else 0.0
        parts.append(text(0, top + _ROW / 2 + 4, name, ""))
        if length:
            parts.append(
                tag("rect", tag("title", whole), x=left, y=top + 5, width=length, height=_ROW - 10, class_="bar")
            )
        parts.append(text(left + length + 6, top + _ROW / 2 + 4, end, "figure"))
    if len(rows) > MOST_BARS:
        parts.append(text(0, _ROW * len(shown) + 14, f"and {len(rows) - MOST_BARS} more", "muted"))
    height = _ROW * len(shown) + (20 if len(rows) > MOST_BARS else 4)
    return svg(width, height, f"{told}: " + "; ".join(f"{name} {end}" for name, _, end in shown), parts)


def changed(rows: Sequence[Change], currency: str, *, width: int = 860) -> Markup:
    """Return a bar a change, to the left of zero where it became cheaper; the longest are cut at `MOST_SHARE`."""
    if not rows:
        return tag("p", "Nothing to draw: no plan's money is known in both runs.")
    names = [words.shorten(f"{c.plan}, {c.phase.replace('_', ' ')}", 44) for c in rows]
    left = max(text_width(name, SIZE) for name in names) + 14
    right = width - 190.0
    reach = max(0.05, min(MOST_SHARE, max(abs(c.share or 0.0) for c in rows)))
    zero, unit = (left + right) / 2, (right - left) / 2 / reach
    parts = []
    for i, (name, c) in enumerate(zip(names, rows, strict=True)):
        top, share = _ROW * i, c.share or 0.0
        to = zero + unit * max(-reach, min(reach, share))
        end = _FROM_NOTHING if share == float("inf") else words.change(share)
        parts.append(text(0, top + _ROW / 2 + 4, name, ""))
        if share:
            start, length = min(zero, to), max(0.75, abs(to - zero))
            style = "bar encode" if share > 0 else "bar"
            parts.append(tag("rect", x=start, y=top + 5, width=length, height=_ROW - 10, class_=style))
        told = f"{end}, {currency} {c.before:.3g} to {c.after:.3g}"
        parts.append(text(width - 184, top + _ROW / 2 + 4, told, "small"))
    foot = _ROW * len(rows)
    parts.append(tag("line", x1=zero, x2=zero, y1=0, y2=foot, class_="zero"))
    summary = "; ".join(f"{n} {words.change(c.share)}" for n, c in zip(names, rows, strict=True))
    return svg(width, foot + 4, f"Change of money: {summary}", parts)


def _section(title: str, lines: Sequence[Line], prices: PriceSheet) -> Markup:
    rows = [
        (
            line.name,
            line.cost.cpu_seconds,
            f"{words.duration(line.cost.cpu_seconds)} of CPU, {words.money(line.money, prices.currency)}",
        )
        for line in lines
    ]
    return tag("section", tag("h2", title), tag("figure", bars(rows, told=f"{title}: CPU time and money")))


def _requests(runs: Sequence[Run], prices: PriceSheet) -> Markup:
    """Return what a request of each plan that several of the runs have costs, run by run."""
    found: dict[str, list[tuple[str, float | None]]] = {}
    for run in runs:
        for plan in run.plans():
            if (cost := run.costs(plan).get("per_request")) is not None:
                found.setdefault(plan, []).append((_when(run), prices.price(cost * 1000)))
    rows = [
        (f"{plan}, {when}", money, words.money(money, prices.currency))
        for plan, series in found.items()
        if len(series) > 1
        for when, money in series
    ]
    return tag(
        "section",
        tag("h2", "A thousand requests of each plan, over time"),
        tag("figure", bars(rows, told="Money of a thousand requests")) if rows else tag("p", "No plan is in two runs."),
    )


def _plan_of(entry: Spent) -> str:
    return entry.plan or "(no plan)"


def _when(run: Run) -> str:
    at = datetime.fromtimestamp(min(e.started for e in run.entries), UTC)
    return f"{at:%Y-%m-%d %H:%M} {run.folder.name}"


def _renamed(line: Line, name: str) -> Line:
    return Line(name, line.n, line.cost, line.money)


__all__ = ["bars", "changed", "render", "render_changes", "render_top"]
