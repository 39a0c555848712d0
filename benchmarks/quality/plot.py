"""NDCG@10 against the FLOPs of training, from the JSON that the tables write: one SVG for one data set.

    python benchmarks/quality/plot.py next.json peers.json sasrec.json --svg docs/images/ndcg-flops.svg

Each mark is a model at its chosen settings, its line the 95% interval; names come from the tables. Models of unknown or
no FLOPs cannot stand on a logarithmic scale and are named below. Published figures without a FLOP count are lines
across. All files must be of the same data and protocol.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frugalrec.report._axes import Box, Scale, place_labels
from frugalrec.report._markup import Markup, joined, tag
from frugalrec.report._svg import decimals, text, tick

WIDTH, HEIGHT = 760.0, 470.0
STYLE = """
svg { --paper: #fdfdfc; --ink: #1c2127; --muted: #5d6670; --faint: #8a929b; --grid: #e4e5e6; }
svg { --closed: #2166ac; --neural: #b2502a; --peer: #7a828a; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #14171a; --ink: #e7e9ea; --muted: #a2abb4; --faint: #78818a; --grid: #2a3036; }
  svg { --closed: #7ab6ea; --neural: #e8916c; --peer: #9aa3ab; }
}
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.muted, .axis, .small { fill: var(--muted); } .small { font-size: 11px; }
.label { paint-order: stroke; stroke: var(--paper); stroke-width: 3.5px; stroke-linejoin: round; }
.grid { stroke: var(--grid); } .base { stroke: var(--faint); } .leader { stroke: var(--faint); stroke-width: .8; }
.published { stroke: var(--faint); stroke-dasharray: 4 4; }
.whisker { stroke-width: 1.6; stroke-opacity: .5; stroke-linecap: round; }
.closed { fill: var(--closed); } .neural { fill: var(--neural); } .peer { fill: var(--peer); }
.whisker.closed { stroke: var(--closed); } .whisker.neural { stroke: var(--neural); }
.whisker.peer { stroke: var(--peer); }
"""
KINDS = {"closed": "ours, without gradients", "neural": "ours, trained by gradients", "peer": "other libraries"}
NEURAL = ("sasrec", "gru4rec", "two-tower")
PEERS = ("implicit", "RecTools", "LensKit")


@dataclass(frozen=True)
class Point:
    name: str
    flops: float | None
    mean: float
    low: float
    high: float

    @property
    def kind(self) -> str:
        if self.name.startswith(NEURAL):
            return "neural"
        return "peer" if self.name.startswith(PEERS) else "closed"


def points_of(tables: list[dict[str, Any]], metric: str) -> list[Point]:
    """Return one point a model; where several tables have it, that of the first."""
    found: dict[str, Point] = {}
    for table in tables:
        for row in table["rows"]:
            quality = row["quality"][metric]
            point = Point(row["name"], row["fit"]["flops"], quality["mean"], quality["low"], quality["high"])
            found.setdefault(point.name, point)
    return list(found.values())


def drawn(tables: list[dict[str, Any]], metric: str) -> Markup:
    """Return the plot."""
    points = points_of(tables, metric)
    placed = [p for p in points if p.flops]
    missing = [p for p in points if not p.flops]
    published = {p["name"]: p["quality"][metric] for table in tables for p in table["published"]}
    left, right, top, bottom = 48.0, WIDTH - 16.0, 62.0, HEIGHT - 62.0
    xs = Scale.logarithmic((p.flops or 0.0 for p in placed), left + 10, right - 10)
    ys = Scale.linear([v for p in placed for v in (p.low, p.high)] + [*published.values()], bottom, top, from_zero=True)
    marks = [(xs(p.flops or 0.0), ys(p.mean)) for p in placed]
    boxes = [Box(x - 6, y - 6, 12, 12) for x, y in marks]
    lines = [Box(x - 1.5, ys(p.high), 3, ys(p.low) - ys(p.high)) for p, (x, _) in zip(placed, marks, strict=True)]
    order = sorted(range(len(placed)), key=lambda i: -placed[i].mean)
    labels = place_labels(
        [(*marks[i], placed[i].name, 5.0) for i in order],
        Box(left, top - 8, right - left, bottom - top + 6),
        size=12,
        avoid=boxes,
        rather_not=lines,
        must=len(placed),
    )
    ticks = ys.ticks(5)
    names = [
        joined(
            tag("line", x1=marks[i][0], y1=marks[i][1], x2=end[0], y2=end[1], class_="leader")
            if label.joined
            else None,
            text(label.box.x, label.box.y + 11, label.text, "label"),
        )
        for i, label in zip(order, labels, strict=True)
        if label is not None and (end := label.box.nearest(*marks[i]))
    ]
    return tag(
        "svg",
        tag("title", f"{metric.upper()} against training FLOPs, {tables[0]['title']}"),
        tag("style", Markup(STYLE)),
        tag("rect", x=0, y=0, width=WIDTH, height=HEIGHT, fill="var(--paper)"),
        [text(4, 16, f"{metric.upper()}, {tables[0]['title']}, {tables[0]['protocol']}", "axis")],
        legend({p.kind for p in placed}),
        [tag("line", x1=left, x2=right, y1=ys(t), y2=ys(t), class_="grid") for t in ticks],
        [text(left - 6, ys(t) + 4, tick(t, decimals(ticks)), "muted end") for t in ticks],
        tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="base"),
        [text(xs(t), bottom + 17, power(t), "muted middle") for t in xs.ticks(7)],
        text(right, bottom + 34, "FLOPs of one fit with the chosen settings, log scale", "axis end"),
        [
            joined(
                tag("line", x1=left, x2=right, y1=ys(value), y2=ys(value), class_="published"),
                text(left + 4, ys(value) - 4, f"published, FLOPs unknown: {name}", "small"),
            )
            for name, value in published.items()
        ],
        [
            tag("line", x1=x, x2=x, y1=ys(p.low), y2=ys(p.high), class_=f"whisker {p.kind}")
            for p, (x, _) in zip(placed, marks, strict=True)
        ],
        [
            tag("circle", tag("title", f"{p.name}: {p.mean:.4f}, {p.flops:.3g} FLOPs"), cx=x, cy=y, r=5, class_=p.kind)
            for p, (x, y) in zip(placed, marks, strict=True)
        ],
        names,
        text(4, HEIGHT - 8, f"FLOPs unknown or none: {words_of(missing)}", "small") if missing else None,
        xmlns="http://www.w3.org/2000/svg",
        width=WIDTH,
        height=HEIGHT,
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
    )


def legend(kinds: set[str]) -> list[Markup]:
    parts, x = [], 10.0
    for kind, says in KINDS.items():
        if kind in kinds:
            parts += [tag("circle", cx=x, cy=34, r=5, class_=kind), text(x + 10, 38, says, "muted")]
            x += 34 + 6.6 * len(says)
    return parts


def power(value: float) -> str:
    """Return a tick as a power of ten, where it is one."""
    exponent = math.log10(value)
    if abs(exponent - round(exponent)) < 1e-9:
        return f"10{str(round(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return f"{value:.0e}"


def words_of(points: list[Point]) -> str:
    return ", ".join(f"{p.name} ({p.mean:.4f})" for p in points)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("results", type=Path, nargs="+", help="JSON of tables; of the same model the first counts")
    arguments.add_argument("--svg", type=Path, required=True, help="the picture to write")
    arguments.add_argument("--metric", default="ndcg@10")
    given = arguments.parse_args()
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in given.results]
    for path, table in zip(given.results, tables, strict=True):
        if table["data"] != tables[0]["data"]:
            raise SystemExit(f"{path}: other data ({table['data']}) than {given.results[0]} ({tables[0]['data']})")
    given.svg.parent.mkdir(parents=True, exist_ok=True)
    given.svg.write_text(f"{drawn(tables, given.metric)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
