"""Money against traffic, one line a plan: where plans cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from frugalrec.report import words
from frugalrec.report._axes import Scale
from frugalrec.report._markup import Markup, tag
from frugalrec.report._svg import svg, text

_STYLES = ("none", "once", "each")
MOST_LINES = 12


def lines(
    xs: Sequence[float],
    ys: Mapping[str, Sequence[float]],
    *,
    x_title: str,
    y_title: str,
    marks: Sequence[tuple[float, str]] = (),
    width: int = 760,
    height: int = 430,
) -> Markup:
    """Return lines over logarithmic axes, each named at its right end; ``marks`` are vertical lines with a word."""
    shown = dict(list(ys.items())[:MOST_LINES])
    if not shown or not xs:
        return tag("p", "Nothing to draw: no plan's money is known.")
    left, right, top, bottom = 62.0, width - 170.0, 26.0, height - 46.0
    across = Scale.logarithmic(xs, left, right)
    up = Scale.logarithmic([y for line in shown.values() for y in line], bottom, top)
    ends = _apart({name: up(line[-1]) for name, line in shown.items()})
    parts = []
    for i, (name, line) in enumerate(shown.items()):
        path = "M" + "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in zip(xs, line, strict=True))
        style = _STYLES[i % len(_STYLES)]
        dash = ("", "6 3", "2 3", "9 3 2 3")[i // len(_STYLES) % 4]
        parts.append(
            tag("path", d=path, fill="none", stroke=f"var(--{style})", stroke_width=1.6, stroke_dasharray=dash or None)
        )
        parts.append(text(right + 8, ends[name] + 4, words.shorten(name, 24), "small"))
        parts.append(
            tag("line", x1=across(xs[-1]), x2=right + 6, y1=up(line[-1]), y2=ends[name], stroke=f"var(--{style})")
        )
    summary = ", ".join(f"{name} {line[0]:.3g} to {line[-1]:.3g}" for name, line in shown.items())
    return svg(
        width,
        height,
        f"{y_title} against {x_title}: {summary}",
        [tag("line", x1=left, x2=right, y1=up(t), y2=up(t), class_="grid") for t in up.ticks(6)],
        [text(left - 6, up(t) + 4, f"{t:,.6g}", "muted end") for t in up.ticks(6)],
        tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="base"),
        [text(across(t), bottom + 17, f"{t:,.6g}", "muted middle") for t in across.ticks(6)],
        text(4, top - 12, y_title, "axis"),
        text(right, bottom + 36, f"{x_title}, log scale", "axis end"),
        [
            tag("line", x1=across(x), x2=across(x), y1=top, y2=bottom, class_="base", stroke_dasharray="3 3")
            for x, _ in marks
        ],
        [text(across(x) + 4, top + 12 + 14 * i, word, "small") for i, (x, word) in enumerate(marks)],
        parts,
    )


def _apart(wanted: Mapping[str, float], gap: float = 13.0) -> dict[str, float]:
    """Return places near those wanted and at least ``gap`` apart, in the same order."""
    placed: dict[str, float] = {}
    last = float("-inf")
    for name, y in sorted(wanted.items(), key=lambda item: item[1]):
        last = max(y, last + gap)
        placed[name] = last
    return placed


__all__ = ["lines"]
