"""The pieces that plots are drawn from: marks, text and ticks, as SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Sequence

from frugalrec.report import words
from frugalrec.report._markup import Markup, tag

USES: dict[str, tuple[str, str]] = {
    "no": ("none", "no language model"),
    "once": ("once", "language model once"),
    "per request": ("each", "language model per request"),
}
"""For each use of a language model its class in the style sheet and its words."""

SIZE = 12.0
"""Size of most text on a plot, in pixels."""


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


def svg(width: float, height: float, told: str, *children: Markup | Sequence[Markup | None] | None) -> Markup:
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


def text(x: float, y: float, text: str, style: str) -> Markup:
    anchor = next((a for a in ("middle", "end") if a in style.split()), None)
    return tag("text", text, x=x, y=y, class_=style or None, text_anchor=anchor)


def tick(value: float, decimals: int, *, sign: bool = False) -> str:
    """Return a tick of a metric's axis; all ticks of an axis have the same decimals."""
    if value == 0:
        return "0"
    size = f"{abs(value):.{decimals}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{abs(value):.{decimals}f}"
    return f"{'−' if value < 0 else '+' if sign else ''}{size}"


def decimals(ticks: Sequence[float]) -> int:
    return max((len(f"{t:.8f}".rstrip("0").partition(".")[2]) for t in ticks), default=2)


def few(names: Sequence[str], most: int = 6) -> str:
    shown = [words.shorten(name, 32) for name in names[:most]]
    more = len(names) - most
    return f"{', '.join(shown)} and {more} more" if more > 0 else words.listed(shown)
