"""What the study found, in full: plans, language model, cost, slices, other measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from frugalrec.budgets import Budget
from frugalrec.cost import AMOUNTS, BASIS, Entry
from frugalrec.evaluation import HEAD_SHARE
from frugalrec.forecast import crossing
from frugalrec.planner import Choice, Decision
from frugalrec.report import plots, words
from frugalrec.report._markup import Markup, joined, tag
from frugalrec.report._pieces import MOST_PLANS, figure, lines, number, row, section, sentence, table
from frugalrec.report._standing import by_quality, partial
from frugalrec.report.context import Context
from frugalrec.report.tables import alternatives_text, no_language_model, price_of
from frugalrec.significance import Estimate
from frugalrec.worth import LEVEL

WIDE, NARROW = 1104, 343
"""Widths of a plot in pixels: across the page, and across a phone."""

PHASES = (("once", "once", 1), ("refresh", "each refit", 1), ("request", "1,000 requests", 1000))
"""For each phase of a trial's cost what it is called, and how many of it are shown."""

_LIST_METRICS = {
    "coverage": "share of the catalogue that is in somebody's list",
    "diversity": "how different the items of a list are in their texts",
    "gini": "how unevenly lists spread over the catalogue, 0 is evenly",
    "novelty": "how surprising the items are, in bits",
    "popularity-bias": "share of the catalogue that is less popular, .5 by chance",
}
_AMOUNTS: Mapping[str, Callable[[float | None], str]] = {
    "seconds": words.duration,
    "cpu_seconds": words.duration,
    "gpu_seconds": words.duration,
    "peak_bytes": words.size,
}


def plans(decision: Decision, context: Context) -> Markup:
    """Return all plans with verdict and reason."""
    choices = by_quality(decision)
    currency = choices[0].bill.currency
    columns = [
        ("plan", "", False),
        ("language model", "", False),
        (words.metric_name(decision.metric), "95% interval", False),
        ("before the first", "request", True),
        (f"{currency} for 1,000", "requests", True),
        (f"{currency} a month", "", True),
        ("p95 of a", "request", True),
        ("memory", "", True),
        ("verdict", "", False),
    ]
    cut = f" The best {MOST_PLANS} of {len(choices)} are shown." if len(choices) > MOST_PLANS else ""
    return section(
        "plans",
        "Every plan that was tried",
        f"Best quality first; press a heading to sort. Floor: {decision.floor}, held against the lower end of the "
        f"interval, not the mean, of each plan by itself.{_of_slices(decision)} "
        f"Budget: {budget(context.budget, currency)}.{cut}",
        lines(alternatives_text(decision)),
        table(columns, [_plan(c, decision) for c in choices[:MOST_PLANS]], kind="sortable plans"),
        lines(decision.notes) if decision.notes else None,
    )


def _of_slices(decision: Decision) -> str:
    if not decision.slices:
        return ""
    asked = words.listed([f"{name} items {floor}" for name, floor in decision.slices.items()])
    return f" Floors of slices, held in the same way: {asked}."


def _plan(choice: Choice, decision: Decision) -> Markup:
    trial, bill = choice.trial, choice.bill
    start = (trial.cost["once"] + trial.cost["refresh"]).seconds
    p95 = trial.latency_seconds.get("p95")
    fewer = partial(decision).get(choice.name)
    about = " ".join(filter(None, (sentence(trial.plan.about), sentence(choice.reason))))
    on = choice.name in decision.frontier
    kind = "frontier" if on else "frontier with p95 and memory" if choice.name in decision.pareto else ""
    flag = tag("span", kind, class_="flag") if kind else None
    return row(
        choice,
        decision,
        tag("td", plots.icon(trial.plan.language_model), trial.plan.language_model, class_="nowrap"),
        number(
            words.score(trial.score.mean),
            trial.score.mean,
            tag("small", words.interval(trial.score)),
            tag("small", f"{words.counted(fewer, 'user')} only") if fewer is not None else None,
            style="nowrap",
        ),
        number(words.duration(start), start),
        number(words.amount(bill.thousand_requests), bill.thousand_requests),
        number(words.amount(bill.month), bill.month),
        number(words.duration(p95), p95),
        number(
            words.size(trial.model_bytes),
            trial.model_bytes,
            tag("small", f"and {words.size(trial.disk_bytes)} on disk") if trial.disk_bytes else None,
        ),
        tag("td", choice.verdict, class_="verdict nowrap"),
        below=joined(flag, tag("small", about)),
    )


def budget(limits: Budget, currency: str) -> str:
    """Return the budget in words."""
    said = []
    if limits.dollars_per_month is not None:
        said.append(f"{words.money(limits.dollars_per_month, currency)} a month")
    if limits.seconds_per_request_p95 is not None:
        said.append(f"{words.duration(limits.seconds_per_request_p95)} a request (p95)")
    if limits.memory_gib is not None:
        said.append(f"{limits.memory_gib:g} GiB of memory")
    if limits.once_seconds is not None:
        said.append(f"{words.duration(limits.once_seconds)} before the first request")
    return words.listed(said) if said else "no limit"


def language_model(decision: Decision) -> Markup:
    """Return every plan with a language model against the same without it."""
    pairs = decision.pairs[:MOST_PLANS]
    findings = [*pairs]
    if decision.language_model is not None and decision.language_model not in findings:
        findings.insert(0, decision.language_model)
    told = [f"{worth.sentence} {price_of(worth, decision)}" for worth in findings] or [no_language_model(decision)]
    about = (
        "Each plan with a language model against the same plan without it, on the same users: the difference in "
        f"{words.metric_name(decision.metric)} and its 95% interval. It paid where the whole interval is above 0"
        f"{_corrected(len(decision.pairs))}."
        if pairs
        else "No plan here has a counterpart that is the same but for the language model."
    )
    drawn = figure([plots.forest(pairs, width=w) for w in (WIDE, NARROW)]) if pairs else None
    return section("language-model", "The language model, like for like", about, drawn, lines(told, 600))


def _corrected(pairs: int) -> str:
    return f" and p, corrected for {pairs} comparisons (Holm), is at most {LEVEL:g}" if pairs > 1 else ""


def cost(decision: Decision, context: Context, entries: Sequence[Entry]) -> Markup:
    """Return what every stage takes."""
    about = (
        "Bars are true to scale within each panel. What was there already is counted at its first price, so these are "
        "costs from nothing."
    )
    outermost = [e for e in entries if e.depth == 0]
    if outermost:
        spent = words.duration(_total(e.cost.seconds for e in outermost))
        spared = words.duration(_total(e.reused.seconds for e in outermost))
        about += f" This run itself spent {spent} on its stages; caches, and fits of its search, spared {spared}."
    crossings = _crossings(decision, context)
    return section(
        "cost",
        "Cost of each stage",
        about,
        figure([plots.stage_bars(decision, entries, width=w) for w in (WIDE, NARROW)]),
        lines(crossings) if crossings else None,
        tag("details", tag("summary", "All amounts: CPU time, FLOPs, tokens, memory, energy"), _amounts(decision)),
    )


def _total(amounts: Iterable[float | None]) -> float | None:
    known = list(amounts)
    return None if None in known else sum(a for a in known if a is not None)


def _crossings(decision: Decision, context: Context) -> list[str]:
    """Say at which traffic another plan that is good enough costs the same as the chosen one."""
    if decision.plan is None:
        return []
    chosen = decision.choice(decision.plan)
    found = []
    for other in decision.choices:
        at = crossing(chosen.bill, other.bill, context.traffic) if other.verdict == "feasible" else None
        if at is not None:
            found.append(f"{chosen.name} and {other.name} cost the same at {words.count(at)} requests a day.")
    return found


def _amounts(decision: Decision) -> Markup:
    columns = [("plan", "", False), ("phase", "", False)]
    columns += [(name.replace("_", " "), BASIS.get(name, ""), True) for name in AMOUNTS]
    rows = []
    for choice in by_quality(decision)[:MOST_PLANS]:
        for phase, label, times in PHASES:
            spent = choice.trial.cost[phase] * times
            cells = [number(_AMOUNTS.get(name, words.quantity)(getattr(spent, name))) for name in AMOUNTS]
            rows.append(row(choice, decision, tag("td", label, class_="nowrap"), *cells))
    return table(columns, rows)


def slices(decision: Decision) -> Markup:
    """Return the primary metric on warm, tail and cold items."""
    empty = plots.empty_slices(decision)
    about = (
        f"{words.metric_name(decision.metric)} on the test answers that are warm items (with events in train), tail "
        f"items (warm, outside the most popular {HEAD_SHARE:.0%}) and cold items (without events)."
    )
    if empty:
        unmet = words.listed([f"a {name} item" for name in empty])
        about += f" No test answer is {unmet}, so quality there is unknown."
    drawn = None
    if len(empty) < len(plots.slices_of(decision)):
        drawn = figure([plots.slice_dots(decision, width=w) for w in (WIDE, NARROW)])
    return section("slices", "Quality on each slice", about, drawn)


def measures(decision: Decision) -> Markup:
    """Return all other metrics, and what lists look like whether or not they answer."""
    key = "; ".join(f"{name}: {about}" for name, about in _LIST_METRICS.items())
    return section(
        "measures",
        "Other measures",
        "The best figure of each accuracy metric is bold. Intervals are 95%, over users.",
        _estimates(decision, lambda choice: choice.trial.quality, bold=True),
        tag("h3", "Beyond accuracy"),
        _estimates(decision, lambda choice: choice.trial.lists, bold=False),
        tag("p", f"{key}.", class_="note"),
    )


def _estimates(decision: Decision, of: Callable[[Choice], Mapping[str, Estimate]], *, bold: bool) -> Markup:
    choices = by_quality(decision)[:MOST_PLANS]
    nothing = Estimate(None, None, None, 0)
    names = list(dict.fromkeys(name for choice in choices for name in of(choice)))
    best = {
        name: max((m for c in choices if (m := of(c).get(name, nothing).mean) is not None), default=None)
        for name in names
    }
    rows = []
    for choice in choices:
        cells = []
        for name in names:
            found = of(choice).get(name, nothing)
            leads = bold and found.mean is not None and found.mean == best[name]
            bounds = tag("small", words.interval(found)) if found.low is not None and found.low != found.high else None
            cells.append(number(words.score(found.mean), found.mean, bounds, style="n best" if leads else "n"))
        rows.append(row(choice, decision, *cells))
    columns = [("plan", "", False), *((words.metric_name(name), "", True) for name in names)]
    return table(columns, rows, kind="sortable")


__all__ = ["PHASES", "budget", "cost", "language_model", "measures", "plans", "slices"]
