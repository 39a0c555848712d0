"""The whole report as one HTML file that needs nothing but a browser: no network, no script, no font."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources

import frugalrec
from frugalrec.cost import AMOUNTS, BASIS, Cost, Entry
from frugalrec.forecast import crossing
from frugalrec.planner import Choice, Decision, Worth
from frugalrec.report import plots, words
from frugalrec.report._markup import Child, Markup, joined, tag
from frugalrec.report._standing import by_quality, partial
from frugalrec.report.context import Context, Example
from frugalrec.report.tables import no_language_model, price_of
from frugalrec.significance import Estimate

MOST_PLANS = 200
MOST_LINES = 60
MOST_TRIED = 5
MOST_EXAMPLES = 6
MOST_ITEMS = 10
LONGEST_LINE = 400
LONGEST_CONFIG = 20_000
"""What a report holds at most, so that its size does not follow the data's."""

USE_SENTENCES = {
    "no": "it needs no language model",
    "once": "it uses a language model once, not on every request",
    "per request": "it asks a language model on every request",
}
SPLITS = {
    "leave-last-out": "Strict leave-last-out: weights are fitted on each user's events but the last two, settings are "
    "chosen on the second to last, and the last is the test.",
    "global-time": "Split at two moments: weights are fitted on all events before the first, settings are chosen on "
    "those up to the second, and what came after is the test.",
    "random": "Random: each event is in train, validation or test by chance, so the future helps to tell the past.",
    "cold-items": "Cold items: the items of validation and test have no event that weights were fitted on.",
}
LIST_WORDS = {
    "coverage": "share of the catalogue that is in somebody's list",
    "diversity": "how different the items of a list are in their texts",
    "gini": "how unevenly lists spread over the catalogue; 0 is evenly",
    "novelty": "how surprising the items are, in bits",
    "popularity-bias": "share of the catalogue that is less popular; chance is .5",
}


def render(decision: Decision, context: Context, entries: Sequence[Entry]) -> str:
    """Return the report: what was chosen and why at first glance, everything behind it below.

    ``entries`` are those of the run's ledger. Its size is bounded whatever the data's: long lists and texts are cut,
    and say so. Titles and names are escaped, and the page forbids any script but its own.
    """
    style, script = _asset("style.css"), _asset("sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{_headline_text(decision)} · {words.shorten(context.dataset)} · frugalrec"),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        tag(
            "main",
            _first_glance(decision, context),
            _plans(decision, context),
            _language_model(decision),
            _cost(decision, context, entries),
            _slices(decision),
            _other_metrics(decision),
            _settings(decision, entries),
            _examples(context.examples),
            _data(decision, context),
            _again(context),
            _unknowns(decision),
        ),
        tag("footer", f"frugalrec {frugalrec.__version__}. Every figure on this page was measured or computed in the run described on it; "
            "nothing on it is fetched from anywhere."),
        tag("script", Markup(script)),
    )  # fmt: skip
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _asset(name: str) -> str:
    return resources.files("frugalrec.report").joinpath(name).read_text(encoding="utf-8")


# First glance


def _headline_text(decision: Decision) -> str:
    if decision.plan is None:
        return "No plan meets the floor within the budget"
    return f"Run {words.shorten(decision.plan, 60)}"


def _first_glance(decision: Decision, context: Context) -> Markup:
    if decision.plan is None:
        verdict: Child = f"{_headline_text(decision)}."
        lede = f"Asked for: {words.metric_name(decision.metric)} {decision.floor}. {decision.nearest_miss or decision.reason}."
    else:
        use = decision.choice(decision.plan).trial.plan.language_model
        verdict, lede = f"{_headline_text(decision)}: {USE_SENTENCES[use]}.", decision.reason
    drawn = [
        plots.scatter(decision, context.traffic, dollars_per_month=context.budget.dollars_per_month, width=w, height=h)
        for w, h in ((752, 412), (343, 400))
    ]
    return joined(
        tag(
            "header",
            tag(
                "div",
                tag("span", tag("b", _line(context.dataset, 80)), " ", f"{words.count(context.n_users)} users, "
                    f"{words.count(context.n_items)} items, {words.count(context.n_events)} events"),
                tag("span", f"{context.split}, {words.metric_name(decision.metric)}, {decision.floor}"),
                tag("span", _line(context.created, 60)),
                class_="masthead",
            ),
            tag("h1", verdict),
            tag("p", _line(lede, 600), class_="lede"),
        ),
        _figures(decision),
        tag(
            "div",
            tag(
                "figure",
                _both(*drawn),
                tag("figcaption", _scatter_caption(decision)),
            ),
            _worth(decision),
            class_="glance",
        ),
    )  # fmt: skip


def _figures(decision: Decision) -> Markup | None:
    if decision.plan is None:
        return None
    choice = decision.choice(decision.plan)
    trial, bill = choice.trial, choice.bill
    start = trial.cost["once"] + trial.cost["refresh"]
    figures: list[tuple[str, str, str]] = [
        (words.metric_name(decision.metric), words.score(trial.score.mean), f"95% {words.interval(trial.score)}"),
        ("a month", words.money(bill.month, bill.currency), "requests and refits"),
        ("1,000 requests", words.money(bill.thousand_requests, bill.currency), "one at a time"),
        ("one request, p95", words.duration(trial.latency_seconds.get("p95")),
         f"median {words.duration(trial.latency_seconds.get('p50'))}"),
        ("before the first request", words.duration(start.seconds), "encode and fit"),
        ("memory", words.size(trial.model_bytes), "all that was learned"),
    ]  # fmt: skip
    return tag(
        "dl",
        [tag("div", tag("dt", what), tag("dd", figure, tag("small", more))) for what, figure, more in figures],
        class_="figures",
    )


def _scatter_caption(decision: Decision) -> str:
    fewer = partial(decision)
    told = "Quality against cost, with 95% intervals over users. No plan is both better and cheaper than one on the frontier."
    if fewer:
        told += f" Hollow: tried on fewer users ({_few(f'{n}: {words.count(k)}' for n, k in fewer.items())}), drawn where it would be with all."
    return told


def _worth(decision: Decision) -> Markup:
    worth = decision.language_model
    heading = tag("h2", "What the language model bought")
    if worth is None:
        return tag("aside", heading, tag("p", "Nothing to tell", class_="found"), tag("p", no_language_model(decision)), class_="worth")
    d = worth.difference
    if d.low is None:
        found = "Unknown"
    elif not d.excludes_zero:
        found = "No gain shown"
    else:
        found = words.change(worth.relative) if worth.relative is not None else words.signed(d.mean)
    paid = sum(pair.paid for pair in decision.pairs)
    against = tag("p", tag("a", f"{paid} of {words.counted(len(decision.pairs), 'like-for-like pair')} gained", href="#language-model"),
                  ".", class_="note") if decision.pairs else None  # fmt: skip
    bills = [(name, decision.choice(name)) for name in (worth.with_lm, worth.without_lm)]
    table = tag(
        "table",
        tag("thead", tag("tr", tag("th", "best of each kind"), tag("th", "a month", class_="n"), tag("th", "p95", class_="n"))),
        tag("tbody", [
            tag("tr", tag("th", plots.icon(c.trial.plan.language_model), _line(name, 40)),
                _money_cell(c.bill.month, c.bill.currency), _cell(words.duration(c.trial.latency_seconds.get("p95")), None))
            for name, c in bills
        ]),
    )  # fmt: skip
    return tag(
        "aside",
        heading,
        tag("p", found, tag("small", words.metric_name(decision.metric)) if d.excludes_zero else None, class_="found"),
        tag("p", _line(worth.sentence, 400)),
        _strip(worth),
        table,
        against,
        class_="worth",
    )


def _strip(worth: Worth) -> Markup | None:
    return None if worth.difference.low is None else plots.forest([worth], width=316)


# Plans


def _plans(decision: Decision, context: Context) -> Markup:
    choices = by_quality(decision)
    shown = choices[:MOST_PLANS]
    currency = choices[0].bill.currency
    columns: list[tuple[Child, str, bool]] = [
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
    head = tag("tr", [
        tag("th", name, tag("small", more) if more else None, class_="n" if right else None, data_least=right or None, scope="col")
        for name, more, right in columns
    ])  # fmt: skip
    rows = [_plan_row(choice, decision) for choice in shown]
    cut = f" The best {len(shown)} of {len(choices)} are shown." if len(shown) < len(choices) else ""
    return _section(
        "plans",
        "Every plan that was tried",
        f"Best quality first; press a heading to sort. Floor: {decision.floor}, held against the lower end of the "
        f"interval, not the mean. Budget: {_budget(context)}.{cut}",
        tag("div", tag("table", tag("thead", head), tag("tbody", rows), class_="sortable plans"), class_="scroll"),
        _notes(decision),
    )


def _plan_row(choice: Choice, decision: Decision) -> Markup:
    trial, bill = choice.trial, choice.bill
    start = (trial.cost["once"] + trial.cost["refresh"]).seconds
    p95 = trial.latency_seconds.get("p95")
    use = trial.plan.language_model
    about = f"{_line(trial.plan.about, 160)}. " if trial.plan.about else ""
    fewer = partial(decision).get(choice.name)
    name = joined(
        _line(choice.name, 80),
        tag("span", "frontier", class_="flag") if choice.name in decision.frontier else None,
        tag("small", about, _capital(_line(choice.reason)), "." if choice.reason else None),
    )
    quality = joined(tag("span", words.score(trial.score.mean), class_="nowrap"), tag("small", words.interval(trial.score), class_="nowrap"),
                     tag("small", f"{words.counted(fewer, 'user')} only", class_="nowrap") if fewer is not None else None)  # fmt: skip
    return tag(
        "tr",
        tag("th", name, data_value=words.shorten(choice.name), scope="row"),
        tag("td", plots.icon(use), use, class_="nowrap"),
        tag("td", quality, data_value=_sortable(trial.score.mean)),
        _cell(words.duration(start), start),
        _cell(words.amount(bill.thousand_requests), bill.thousand_requests),
        _cell(words.amount(bill.month), bill.month),
        _cell(words.duration(p95), p95),
        _cell(words.size(trial.model_bytes), trial.model_bytes),
        tag("td", choice.verdict, class_="verdict nowrap"),
        class_="chosen" if choice.name == decision.plan else None,
    )


def _budget(context: Context) -> str:
    b, currency = context.budget, context.prices.currency
    limits = [
        words.money(b.dollars_per_month, currency) + " a month" if b.dollars_per_month is not None else "",
        f"{words.duration(b.seconds_per_request_p95)} a request (p95)" if b.seconds_per_request_p95 is not None else "",
        f"{b.memory_gib:g} GiB of memory" if b.memory_gib is not None else "",
        f"{words.duration(b.once_seconds)} before the first request" if b.once_seconds is not None else "",
    ]
    return words.listed([limit for limit in limits if limit]) or "no limit"


def _notes(decision: Decision) -> Markup | None:
    return _lines(decision.notes) if decision.notes else None


# Language model


def _language_model(decision: Decision) -> Markup:
    pairs = decision.pairs[:MOST_PLANS]
    if not pairs:
        return _section("language-model", "The language model, like for like", f"{no_language_model(decision)}" if decision.language_model is None
                        else "No plan names the plan that is the same without its language model, so there is no pair.")  # fmt: skip
    findings = [*pairs]
    if decision.language_model is not None and decision.language_model not in findings:
        findings.insert(0, decision.language_model)
    return _section(
        "language-model",
        "The language model, like for like",
        "Each plan with a language model against the same plan without it, on the same users: the difference in "
        f"{words.metric_name(decision.metric)} and its 95% interval. It paid where the whole interval is above 0.",
        tag("figure", _both(plots.forest(pairs, width=1104), plots.forest(pairs, width=343))),
        _lines([f"{worth.sentence} {price_of(worth, decision)}" for worth in findings]),
    )


# Cost


def _cost(decision: Decision, context: Context, entries: Sequence[Entry]) -> Markup:
    spent, spared = _spent(entries)
    told = [
        "Bars are true to scale within each panel. What a cache spared is counted at its first price, so these are costs from nothing."
    ]
    if entries:
        told.append(f"This run itself spent {spent}; caches spared {spared}.")
    return _section(
        "cost",
        "Cost of each stage",
        " ".join(told),
        tag("figure", _both(*(plots.stage_bars(decision, entries, width=w) for w in (1104, 343)))),
        _crossings(decision, context),
        tag("details", tag("summary", "All amounts: CPU time, FLOPs, tokens, memory, energy"), _amounts(decision)),
    )


def _spent(entries: Iterable[Entry]) -> tuple[str, str]:
    outer = [e for e in entries if e.depth == 0]
    seconds = [e.cost.seconds for e in outer]
    spared = [e.reused.seconds for e in outer]
    return (
        words.duration(None if None in seconds else sum(s for s in seconds if s is not None)),
        words.duration(None if None in spared else sum(s for s in spared if s is not None)),
    )


def _crossings(decision: Decision, context: Context) -> Markup | None:
    if decision.plan is None:
        return None
    chosen = decision.choice(decision.plan)
    found = []
    for other in decision.choices:
        if other.verdict != "feasible":
            continue
        at = crossing(chosen.bill, other.bill, context.traffic)
        if at is not None:
            found.append(f"{chosen.name} and {other.name} cost the same at {words.count(at)} requests a day.")
    return _lines(found) if found else None


_AMOUNT_WORDS: Mapping[str, Callable[[float | None], str]] = {
    "seconds": words.duration, "cpu_seconds": words.duration, "gpu_seconds": words.duration,
    "peak_bytes": words.size,
}  # fmt: skip
_PHASES = (("once", "once", 1.0), ("refresh", "each refit", 1.0), ("request", "1,000 requests", 1000.0))


def _amounts(decision: Decision) -> Markup:
    shown = by_quality(decision)[:MOST_PLANS]
    names = ["plan", "phase", *(name.replace("_", " ") for name in AMOUNTS)]
    head = tag("tr", [tag("th", name, tag("small", BASIS.get(AMOUNTS[i - 2], "")) if i > 1 else None, class_="n" if i > 1 else None)
                      for i, name in enumerate(names)])  # fmt: skip
    rows = []
    for choice in shown:
        for phase, label, times in _PHASES:
            cost: Cost = choice.trial.cost[phase] * times
            cells = [_cell(_AMOUNT_WORDS.get(a, words.quantity)(getattr(cost, a)), None) for a in AMOUNTS]
            rows.append(tag("tr", tag("th", _line(choice.name, 60)), tag("td", label, class_="nowrap"), cells))
    return tag("div", tag("table", tag("thead", head), tag("tbody", rows)), class_="scroll")


# Quality beyond the first figure


def _slices(decision: Decision) -> Markup:
    empty = plots.empty_slices(decision)
    filled = [s for s in plots.slices_of(decision) if s not in empty]
    about = (
        f"{words.metric_name(decision.metric)} on the test answers that are warm items (with events in train), tail items "
        "(warm, outside the most popular fifth) and cold items (without events)."
    )
    if empty:
        about += f" No test answer is {words.listed([f'a {s} item' for s in empty])}, so quality there is unknown."
    figure = tag("figure", _both(*(plots.slice_dots(decision, width=w) for w in (1104, 343)))) if filled else None
    return _section("slices", "Quality on each slice", about, figure)


def _other_metrics(decision: Decision) -> Markup:
    choices = by_quality(decision)[:MOST_PLANS]
    return _section(
        "metrics",
        "Other measures",
        "The best figure of each accuracy metric is bold. Intervals are 95%, over users.",
        _estimates(choices, lambda c: c.trial.quality, {}, decision, bold=True),
        tag("h3", "Beyond accuracy"),
        _estimates(choices, lambda c: c.trial.lists, LIST_WORDS, decision, bold=False),
    )


def _estimates(
    choices: Sequence[Choice],
    of: Callable[[Choice], Mapping[str, Estimate]],
    about: Mapping[str, str],
    decision: Decision,
    *,
    bold: bool,
) -> Markup:
    names = list(dict.fromkeys(name for c in choices for name in of(c)))
    nothing = Estimate(None, None, None, 0)
    best = {n: max((e.mean for c in choices if (e := of(c).get(n, nothing)).mean is not None), default=None) for n in names}
    head = tag("tr", tag("th", "plan", scope="col"), [tag("th", words.metric_name(n), class_="n", scope="col") for n in names])
    rows = []
    for choice in choices:
        cells = []
        for name in names:
            e = of(choice).get(name, nothing)
            leads = bold and e.mean is not None and e.mean == best[name]
            bounds = tag("small", words.interval(e)) if e.low is not None and e.low != e.high else None
            style = "n unknown" if e.mean is None else "n best" if leads else "n"
            cells.append(tag("td", words.score(e.mean), bounds, class_=style, data_value=_sortable(e.mean)))
        rows.append(
            tag("tr", tag("th", _line(choice.name, 60), scope="row"), cells, class_="chosen" if choice.name == decision.plan else None)
        )
    key = tag("p", "; ".join(f"{words.metric_name(n)}: {about[n]}" for n in names if n in about), ".", class_="note") if about else None
    return joined(tag("div", tag("table", tag("thead", head), tag("tbody", rows), class_="sortable"), class_="scroll"), key)


# Settings


def _settings(decision: Decision, entries: Sequence[Entry]) -> Markup:
    choices = by_quality(decision)[:MOST_PLANS]
    took = {e.plan: e.cost.seconds for e in entries if e.depth == 0 and e.plan.endswith(" (tuning)")}
    head = tag("tr", [tag("th", n, class_="n" if i > 1 else None) for i, n in
                      enumerate(("plan", "components and settings", "tried", "best on validation", "search took"))])  # fmt: skip
    rows = []
    for choice in choices:
        trial = choice.trial
        parts = [words.setting(trial.plan.recommender)]
        if trial.plan.reranker is not None:
            parts.append(words.setting(trial.plan.reranker))
        rows.append(tag(
            "tr",
            tag("th", _line(choice.name, 60), scope="row"),
            tag("td", tag("code", " → ".join(_line(p, 600) for p in parts), class_="settings"), _tried(trial.tuning)),
            tag("td", words.count(len(trial.tuning)), class_="n"),
            _cell(words.score(trial.validation) if trial.tuning or trial.validation is not None else "not tuned", None),
            _cell(words.duration(took[key]) if (key := f"{choice.name} (tuning)") in took else "none in this run", None),
            class_="chosen" if choice.name == decision.plan else None,
        ))  # fmt: skip
    return _section(
        "settings",
        "Settings",
        "Chosen on the validation fold, never on the test.",
        tag("div", tag("table", tag("thead", head), tag("tbody", rows)), class_="scroll"),
    )


def _tried(tuning: Sequence[Mapping[str, object]]) -> Markup | None:
    """The best few settings that were tried, and how many the data could not support."""
    tried: list[tuple[float, Mapping[str, object]]] = []
    for note in tuning:
        value, settings = note.get("value"), note.get("settings")
        if isinstance(value, int | float) and isinstance(settings, Mapping):
            tried.append((float(value), settings))
    if not tried:
        return None
    tried.sort(key=lambda t: -t[0])
    lines = [f"{words.score(value)}  {_line(words.settings(settings), 300)}" for value, settings in tried[:MOST_TRIED]]
    passed_over = sum("passed_over" in note for note in tuning)
    if passed_over:
        lines.append(f"{words.count(passed_over)} passed over: the data could not support them")
    return tag("details", tag("summary", f"the best {min(MOST_TRIED, len(tried))} of {len(tried)} tried"), _lines(lines))


# Examples, data, how to do it again


def _examples(examples: Sequence[Example]) -> Markup | None:
    if not examples:
        return None
    users = []
    for example in examples[:MOST_EXAMPLES]:
        recent = [tag("bdi", _line(title, 60)) for title in reversed(example.history[-5:])]
        history = joined(*(joined("; " if i else "", title) for i, title in enumerate(recent)))
        items = [
            tag("li", tag("span", words.three_digits(item.score), class_="score"), tag("bdi", _line(item.title, 100)), tag("small", _capital(_line(item.reason)), "."))
            for item in example.recommendations[:MOST_ITEMS]
        ]
        users.append(tag("div", tag("h3", _line(example.user, 60)), tag("p", "Last chose: ", history) if recent else None, tag("ol", items)))
    return _section("examples", "What three real users would see" if len(users) == 3 else "What real users would see",
                    "Recommended by the chosen plan, with its reasons.", tag("div", users, class_="users"))  # fmt: skip


def _data(decision: Decision, context: Context) -> Markup:
    n = max(c.trial.score.n for c in decision.choices)
    repeats = context.split_settings.get("repeats")
    seen = "items of the history may be recommended again" if repeats else "items of the history are left out"
    fewer = [f"{words.count(k)} for {name}" for name, k in partial(decision).items()]
    protocol = (
        f"{SPLITS.get(context.split, context.split)} Full ranking over {words.counted(context.n_items, 'item')}, never "
        f"over a sample of them; {seen}; items with equal scores share their average rank. {words.counted(n, 'test user')}"
        f"{f' ({_few(fewer)})' if fewer else ''}. Intervals: 95% percentile "
        "bootstrap over users. Comparisons are paired: the same users, the same draws."
    )
    facts = {
        "users": words.count(context.n_users),
        "items": words.count(context.n_items),
        "events": words.count(context.n_events),
        "split": context.split,
    } | {key.replace("_", " "): _value(value) for key, value in context.split_settings.items()}
    return _section(
        "data",
        "Data and protocol",
        protocol,
        tag(
            "div",
            tag("div", tag("h3", "Data and split"), _facts(facts)),
            tag("div", tag("h3", "What reading the files found"), _lines(context.load_report) if context.load_report else tag("p", "Nothing to report.")),
            class_="columns",
        ),
    )


def _again(context: Context) -> Markup:
    prices = context.prices
    sheet = {
        "machine": prices.machine,
        "its price": f"{words.money(prices.machine_hour, prices.currency)} an hour for {prices.cores:g} cores, {prices.memory_gib:g} GiB",
        "GPU": f"{words.money(prices.gpu_hour, prices.currency)} an hour" if prices.gpu_hour is not None else "no price on the sheet",
        "energy": f"{words.money(prices.kwh, prices.currency)} a kWh" if prices.kwh is not None else "no price on the sheet",
        "source": prices.source,
        "date": prices.date,
    }
    asked = {
        "requests": f"{words.count(context.traffic.requests_per_day)} a day",
        "refits": f"{context.traffic.refreshes_per_day:g} a day",
        "budget": _budget(context),
    }
    ran = {"ran": context.created, "took": words.duration(context.seconds)} | {k: _value(v) for k, v in context.machine.items()}
    config = context.config
    if len(config) > LONGEST_CONFIG:
        config = f"{config[:LONGEST_CONFIG]}\n… cut here, {words.count(len(context.config))} characters in all"
    return _section(
        "again",
        "How to do it again",
        "The same command on the same data and machine gives the same decision, up to the noise of timing.",
        tag("pre", tag("code", words.plain(context.command, lines=True)[:4000])),
        tag(
            "div",
            tag("div", tag("h3", "Machine and run"), _facts(ran)),
            tag("div", tag("h3", "Traffic and budget"), _facts(asked), tag("h3", "Prices"), _facts(sheet),
                tag("p", "Money is compute used times its price. Machines that stand idle are not in it.", class_="note")),
            class_="columns",
        ),
        tag("h3", "Configuration"),
        tag("pre", tag("code", config)),
    )  # fmt: skip


def _unknowns(decision: Decision) -> Markup:
    """What nobody measured or could compute, so that nobody takes it for zero."""
    trials = [c.trial for c in decision.choices]
    found: dict[str, list[str]] = {}
    for trial in trials:
        for phase, label, _ in _PHASES:
            for name in AMOUNTS:
                if getattr(trial.cost[phase], name) is None:
                    found.setdefault(f"{name.replace('_', ' ')}, {label}", []).append(trial.name)
        if "p95" not in trial.latency_seconds:
            found.setdefault("p95 of a request", []).append(trial.name)
        for table in (trial.quality, trial.slices, trial.lists):
            for name, e in table.items():
                if e.mean is None:
                    found.setdefault(words.metric_name(name), []).append(trial.name)
        if trial.score.mean is not None and trial.score.low is None:
            found.setdefault(f"interval of {words.metric_name(decision.metric)}", []).append(trial.name)
    for choice in decision.choices:
        if choice.bill.month is None:
            found.setdefault("price a month", []).append(choice.name)
    lines = [
        f"{what}: {'all plans' if len(names) == len(trials) else _few(names)}" for what, names in found.items()
    ]
    return _section(
        "unknown",
        "What is unknown",
        "Unknown is not zero: no total on this page counts these as nothing." if lines else "Everything was measured or computed.",
        tag("div", _lines(lines), class_="columns") if lines else None,
    )


# Pieces


def _section(anchor: str, title: str, about: str, *children: Child) -> Markup:
    return tag("section", tag("h2", title), tag("p", _line(about, 2000)), *children, id=anchor)


def _both(wide: Markup, narrow: Markup) -> Markup:
    return joined(tag("div", wide, class_="wide"), tag("div", narrow, class_="narrow"))


def _line(text: str, length: int = LONGEST_LINE) -> str:
    return words.shorten(text, length)


def _lines(lines: Sequence[str]) -> Markup:
    more = len(lines) - MOST_LINES
    shown = [tag("li", _line(line)) for line in lines[:MOST_LINES]]
    return tag("ul", shown, tag("li", f"and {words.count(more)} more") if more > 0 else None, class_="plain")


def _facts(facts: Mapping[str, str]) -> Markup:
    shown = list(facts.items())[:MOST_LINES]
    return tag("dl", [joined(tag("dt", _line(k, 60)), tag("dd", _line(v))) for k, v in shown], class_="facts")


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(k).replace('_', ' ')} {_value(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return words.count(value)
    if value is None:
        return words.UNKNOWN
    return words.setting(value)


def _cell(text: str, value: float | None) -> Markup:
    unknown = text == words.UNKNOWN
    return tag("td", text, class_="n unknown" if unknown else "n", data_value=_sortable(value))


def _money_cell(value: float | None, currency: str) -> Markup:
    return _cell(words.money(value, currency), value)


def _sortable(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _few(names: Iterable[str], most: int = 6) -> str:
    known = [words.shorten(name, 48) for name in names]
    return f"{', '.join(known[:most])} and {len(known) - most} more" if len(known) > most else words.listed(known)


__all__ = ["render"]
