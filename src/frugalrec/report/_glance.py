"""The first glance: one verdict, what it costs, quality against cost, and what the language model bought."""

from __future__ import annotations

from frugalrec.planner import Decision
from frugalrec.report import plots, words
from frugalrec.report._markup import Markup, joined, tag
from frugalrec.report._pieces import few, figure, line, number
from frugalrec.report._standing import partial
from frugalrec.report.context import Context
from frugalrec.report.tables import no_language_model

_USES = {
    "no": "it needs no language model",
    "once": "it uses a language model once, not on every request",
    "per request": "it asks a language model on every request",
}


def headline(decision: Decision) -> str:
    """Return the verdict in a few words."""
    if decision.plan is None:
        return "No plan meets the floor within the budget"
    return f"Run {words.shorten(decision.plan, 60)}"


def first_glance(decision: Decision, context: Context) -> Markup:
    """Return all that stands above the fold."""
    asked = f"{words.metric_name(decision.metric)} {decision.floor}"
    if decision.plan is None:
        verdict = f"{headline(decision)}."
        lede = f"Asked for: {asked}. {decision.nearest_miss or decision.reason}."
    else:
        use = decision.choice(decision.plan).trial.plan.language_model
        verdict, lede = f"{headline(decision)}: {_USES[use]}.", decision.reason
    sizes = (
        f" {words.count(context.n_users)} users, {words.count(context.n_items)} items, "
        f"{words.count(context.n_events)} events"
    )
    masthead = tag(
        "div",
        tag("span", tag("b", line(context.dataset, 80)), sizes),
        tag("span", f"{context.split}, {asked}"),
        tag("span", line(context.created, 60)),
        class_="masthead",
    )
    drawn = [
        plots.scatter(decision, context.traffic, dollars_per_month=context.budget.dollars_per_month, width=w, height=h)
        for w, h in ((752, 412), (343, 400))
    ]
    return joined(
        tag("header", masthead, tag("h1", verdict), tag("p", line(lede, 600), class_="lede")),
        _figures(decision),
        tag("div", figure(drawn, _caption(decision)), _worth(decision), class_="glance"),
    )


def _figures(decision: Decision) -> Markup | None:
    """The chosen plan in six numbers."""
    if decision.plan is None:
        return None
    choice = decision.choice(decision.plan)
    trial, bill = choice.trial, choice.bill
    start = trial.cost["once"] + trial.cost["refresh"]
    median = words.duration(trial.latency_seconds.get("p50"))
    on_disk = f", and {words.size(trial.disk_bytes)} on disk" if trial.disk_bytes else ""
    shown = [
        (words.metric_name(decision.metric), words.score(trial.score.mean), f"95% {words.interval(trial.score)}"),
        ("a month", words.money(bill.month, bill.currency), "requests and refits"),
        ("1,000 requests", words.money(bill.thousand_requests, bill.currency), "one at a time"),
        ("one request, p95", words.duration(trial.latency_seconds.get("p95")), f"median {median}"),
        ("before the first request", words.duration(start.seconds), "encode and fit"),
        ("memory", words.size(trial.model_bytes), f"all that was learned{on_disk}"),
    ]
    return tag(
        "dl",
        [tag("div", tag("dt", what), tag("dd", amount, tag("small", more))) for what, amount, more in shown],
        class_="figures",
    )


def _caption(decision: Decision) -> str:
    told = "Quality against cost, with 95% intervals over users. No plan beats one on the frontier in both."
    fewer = few(f"{name}: {words.count(n)}" for name, n in partial(decision).items())
    return f"{told} Hollow: tried on fewer users ({fewer}), drawn where it would be with all." if fewer else told


def _worth(decision: Decision) -> Markup:
    worth = decision.language_model
    heading = tag("h2", "What the language model bought")
    if worth is None:
        told = tag("p", no_language_model(decision))
        return tag("aside", heading, tag("p", "Nothing to tell", class_="found"), told, class_="worth")
    d = worth.difference
    if d.low is None:
        found = "Unknown"
    elif not worth.shown:
        found = "No gain shown"
    else:
        found = words.change(worth.relative) if worth.relative is not None else words.signed(d.mean)
    paid = sum(pair.paid for pair in decision.pairs)
    gained = f"{paid} of {words.counted(len(decision.pairs), 'like-for-like pair')} gained"
    link = tag("p", tag("a", gained, href="#language-model"), ".", class_="note")
    return tag(
        "aside",
        heading,
        tag("p", found, tag("small", words.metric_name(decision.metric)) if worth.shown else None, class_="found"),
        tag("p", line(worth.sentence)),
        plots.forest([worth], width=316) if d.low is not None else None,
        _prices(decision, (worth.with_lm, worth.without_lm)),
        link if decision.pairs else None,
        class_="worth",
    )


def _prices(decision: Decision, names: tuple[str, str]) -> Markup:
    heads = [tag("th", "best of each kind"), tag("th", "a month", class_="n"), tag("th", "p95", class_="n")]
    rows = []
    for choice in map(decision.choice, names):
        trial, bill = choice.trial, choice.bill
        name = tag("th", plots.icon(trial.plan.language_model), line(choice.name, 40), scope="row")
        month = number(words.money(bill.month, bill.currency))
        rows.append(tag("tr", name, month, number(words.duration(trial.latency_seconds.get("p95")))))
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows))
