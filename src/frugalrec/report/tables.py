"""The decision in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from frugalrec.flips import Flip
from frugalrec.planner import Choice, Decision
from frugalrec.report import words
from frugalrec.report._standing import by_quality, partial
from frugalrec.report.context import Example
from frugalrec.worth import Worth

CHOSEN, FRONTIER = ">", "*"
GAP = 2
"""Spaces between columns."""


@dataclass(frozen=True)
class _Column:
    """A column and how soon it goes when there is no room: 0 stays."""

    header: str
    cells: list[str]
    leaves: int = 0
    right: bool = True
    wraps: bool = False

    @property
    def natural(self) -> int:
        """Width in which no cell wraps."""
        return max(map(len, self._lines()))

    @property
    def narrowest(self) -> int:
        """Width below which words would be cut."""
        return max(len(part) for line in self._lines() for part in (line.split() if self.wraps else [line]))

    def _lines(self) -> list[str]:
        return [line for cell in (self.header, *self.cells) for line in cell.split("\n")]


def frontier_table(decision: Decision, width: int = 120) -> Table:
    """Return all plans, best first, in at most ``width`` columns of text: pass the console's width.

    Where there is less room, money paid once, memory, latency, seconds paid once and the use of the language model are
    left out, in that order. The chosen plan is bold and marked with ``>``, plans on the frontier with ``*``; there are
    no lines to spoil a pipe.
    """
    choices = by_quality(decision)
    shown = _columns(decision, choices)
    while sum(c.narrowest + GAP for c in shown) - GAP > width and any(c.leaves for c in shown):
        shown.remove(min((c for c in shown if c.leaves), key=lambda c: c.leaves))
    cramped = sum(c.natural + GAP for c in shown) - GAP > width
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", caption_style="dim")
    table.caption = Text(_legend(decision, once=any(c.header.startswith("once") for c in shown)))
    table.caption_justify = "left"
    for column in shown:
        table.add_column(
            column.header if "\n" in column.header else f"\n{column.header}",
            justify="right" if column.right else "left",
            overflow="fold",
            # Only the plans' names may be cut in the middle, and only when nothing else helps.
            min_width=column.narrowest if column.header != "plan" else None,
            max_width=column.narrowest if cramped and column.wraps else None,
        )
    for i, choice in enumerate(choices):
        style = "bold green" if choice.verdict == "chosen" else "" if choice.name in decision.frontier else "dim"
        table.add_row(*(Text(c.cells[i], style=style) for c in shown))
    return table


def _columns(decision: Decision, choices: Sequence[Choice]) -> list[_Column]:
    currency = choices[0].bill.currency
    metric = words.metric_name(decision.metric)
    once = [c.trial.cost["once"] + c.trial.cost["refresh"] for c in choices]
    p95 = [c.trial.latency_seconds.get("p95") for c in choices]
    return [
        _Column("plan", [f"{_mark(c, decision)} {words.shorten(c.name, 40)}" for c in choices], right=False),
        _Column("LM use", [c.trial.plan.language_model for c in choices], 5, right=False, wraps=True),
        _Column(metric, [words.estimated(c.trial.score) for c in choices], right=False),
        _Column("once\ns", [words.UNKNOWN if c.seconds is None else _number(c.seconds) for c in once], 4),
        _Column(f"once\n{currency}", [_sum(c.bill.once, c.bill.refresh) for c in choices], 1),
        _Column(f"1,000 req.\n{currency}", [words.amount(c.bill.thousand_requests) for c in choices]),
        _Column("p95\nms", [words.UNKNOWN if s is None else _number(s * 1000) for s in p95], 3),
        _Column("memory", [words.size(c.trial.model_bytes) for c in choices], 2),
        _Column("verdict", [c.verdict.replace("the ", "") for c in choices], right=False),
    ]


def _mark(choice: Choice, decision: Decision) -> str:
    return CHOSEN if choice.name == decision.plan else FRONTIER if choice.name in decision.frontier else " "


def _number(value: float) -> str:
    return words.three_digits(value) if value >= 0.01 or value == 0 else f"{value:.1g}" if value >= 1e-4 else "<0.0001"


def _sum(a: float | None, b: float | None) -> str:
    return words.amount(None if a is None or b is None else a + b)


def _legend(decision: Decision, *, once: bool) -> str:
    lines = ["once: encode the catalogue and fit, before the first request"] if once else []
    marks = [f"{FRONTIER} on the frontier: no plan is both better and cheaper"]
    if decision.plan is not None:
        marks.insert(0, f"{CHOSEN} chosen")
    lines.insert(0, "   ".join(marks))
    lines += [
        f"{words.shorten(name)}: tried on {words.counted(n, 'user')} only" for name, n in partial(decision).items()
    ]
    return "\n".join(lines)


def decision_text(decision: Decision) -> str:
    """Return what was decided and why, what else might be, then the notes, one a line.

    Print it without markup: names may hold brackets.
    """
    found = (decision.reason, *alternatives_text(decision), *decision.notes)
    return "\n".join(words.plain(line) for line in found)


def alternatives_text(decision: Decision) -> list[str]:
    """Return the runner-up, what would change the choice, the cheapest plan that will not do, and the full frontier."""
    told = []
    flips, price = decision.flips, decision.flips.price
    if decision.runner_up is not None:
        other = decision.choice(decision.runner_up)
        line = (
            f"Runner-up: {other.name}, {words.score(other.trial.score.mean)} for "
            f"{words.money(other.bill.month, other.bill.currency)} a month"
        )
        if price.at is not None:
            then = "it" if price.plan == other.name else _then(price)
            line += f"; {then} would be chosen if {decision.plan} cost {words.factor(price.at)} times as much"
        told.append(f"{line}.")
    elif decision.plan is not None:
        told.append("No runner-up: no other plan that was tried is good enough and within the budget.")
    traffic = ((flips.fewer_requests, "under"), (flips.more_requests, "over"))
    changes = [
        f"{_then(flip)} {side} {words.round_figure(flip.at)} requests a day"
        for flip, side in traffic
        if flip.at is not None
    ]
    floors = ((flips.stricter, True), (flips.looser, False))
    changes += [
        f"{_then(flip)} {_floor_at(decision, flip.at, stricter=stricter)}"
        for flip, stricter in floors
        if flip.at is not None
    ]
    if decision.runner_up is None and price.at is not None:
        changes.append(f"{_then(price)} if {decision.plan} cost {words.factor(price.at)} times as much")
    if changes:
        told.append(f"Chosen instead: {'; '.join(changes)}.")
    if decision.cheapest_infeasible is not None:
        failed = decision.choice(decision.cheapest_infeasible)
        told.append(f"Cheapest plan that will not do: {failed.name}, {failed.verdict} ({failed.reason}).")
    if others := [name for name in decision.pareto if name not in decision.frontier]:
        told.append(f"On the frontier as well, where p95 and memory count: {words.listed(others)}.")
    return told


def _floor_at(decision: Decision, at: float, *, stricter: bool) -> str:
    """Say where the floor would change the choice, rounded so that it is true."""
    if decision.floor.value is not None:
        return f"with a floor {'over' if stricter else 'of'} {math.floor(at * 1e4) / 1e4:.4f}"
    share = at * 1000
    rounded = math.floor(share) / 10 if stricter else math.ceil(share) / 10
    return f"with a floor {'stricter than ' if stricter else ''}within {rounded:g}% of best"


def _then(flip: Flip) -> str:
    return "no plan" if flip.plan is None else flip.plan


def language_model_text(decision: Decision) -> list[str]:
    """Return what the language model bought, one finding a line, the main one first."""
    findings = [decision.language_model] if decision.language_model is not None else []
    findings += [pair for pair in decision.pairs if not any(_same(pair, other) for other in findings)]
    if not findings:
        return [no_language_model(decision)]
    return [f"{words.plain(f.sentence)} {price_of(f, decision)}" for f in findings]


def no_language_model(decision: Decision) -> str:
    """Say why there is no finding about the language model."""
    if all(c.trial.plan.language_model == "no" for c in decision.choices):
        return "No plan that was tried uses a language model."
    return "Every plan that was tried uses a language model, so what it bought is unknown."


def price_of(worth: Worth, decision: Decision) -> str:
    """Return in words what the plans of a finding cost a month and before the first request."""
    bills = [decision.choice(name).bill for name in (worth.with_lm, worth.without_lm)]
    month, before = (
        [words.money(b.month, b.currency) for b in bills],
        [words.money(b.once, b.currency) for b in bills],
    )
    return f"It costs {month[0]} a month against {month[1]}, and {before[0]} once against {before[1]}."


def _same(a: Worth, b: Worth) -> bool:
    return (a.with_lm, a.without_lm) == (b.with_lm, b.without_lm)


def recommendations_text(examples: Iterable[Example], *, recent: int = 3) -> str:
    """Return what each user is recommended and why. Print it without markup: titles may hold brackets."""
    blocks = []
    for example in examples:
        latest = [words.shorten(title, 50) for title in reversed(example.history[-recent:])]
        lines = [f"{words.shorten(example.user)}, who last chose {words.listed(latest)}" if latest else example.user]
        for place, item in enumerate(example.recommendations, 1):
            lines.append(f"  {place:>2}. {words.shorten(item.title, 60)}")
            lines.append(f"      {words.plain(item.reason)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


__all__ = ["alternatives_text", "decision_text", "frontier_table", "language_model_text", "recommendations_text"]
