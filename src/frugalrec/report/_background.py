"""What stands behind the findings: settings, examples, data, machine and prices, and what nobody knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frugalrec.cost import AMOUNTS, Entry
from frugalrec.planner import Decision
from frugalrec.report import words
from frugalrec.report._markup import Markup, joined, tag
from frugalrec.report._pieces import MOST_PLANS, facts, few, line, lines, number, row, section, sentence, table
from frugalrec.report._results import PHASES, budget
from frugalrec.report._rows import search_seconds
from frugalrec.report._standing import by_quality, partial
from frugalrec.report.context import Context, Example

MOST_TRIED = 5
MOST_EXAMPLES = 6
MOST_ITEMS = 10
MOST_CONFIG = 20_000
MOST_COMMAND = 2_000
"""Characters of the configuration and of the command that are shown."""

_SPLITS = {
    "leave-last-out": "Strict leave-last-out: weights are fitted on each user's events but the last two, settings are "
    "chosen on the second to last, and the last is the test.",
    "global-time": "Split at two moments: weights are fitted on the events before the first, settings are chosen on "
    "those up to the second, and what came after is the test.",
    "random": "Random split: every event is in train, validation or test by chance, whenever it happened.",
    "cold-items": "Cold items: no weight was fitted on any event of the items of validation and test.",
}


def settings(decision: Decision, entries: Sequence[Entry]) -> Markup:
    """Return the settings of every plan, and what else was tried."""
    took = search_seconds(entries)
    columns = [("plan", "", False), ("components and settings", "", False)]
    columns += [("tried", "", True), ("best on", "validation", True), ("search took", "in this run", True)]
    rows = []
    for choice in by_quality(decision)[:MOST_PLANS]:
        trial = choice.trial
        parts = [trial.plan.recommender, *([trial.plan.reranker] if trial.plan.reranker is not None else [])]
        code = tag("code", " → ".join(line(words.setting(part), 400) for part in parts), class_="settings")
        best = "on part of the users" if trial.tuning else "not tuned"
        rows.append(
            row(
                choice,
                decision,
                tag("td", code, _tried(trial.tuning)),
                number(words.count(len(trial.tuning))),
                number(words.score(trial.validation) if trial.validation is not None else best),
                number(words.duration(took[choice.name]) if choice.name in took else "no search"),
            )
        )
    about = "Chosen on the validation fold, never on the test. Settings that are not named keep their defaults."
    return section("settings", "Settings", about, table(columns, rows))


def _tried(tuning: Sequence[Mapping[str, Any]]) -> Markup | None:
    """The best few settings that were tried, and how many the data could not support."""
    whole = [note for note in tuning if note.get("value") is not None and not note.get("miniature")]
    valued = sorted(whole, key=lambda note: -note["value"])
    if not valued:
        return None
    best = valued[:MOST_TRIED]
    told = [f"{words.score(note['value'])}  {words.settings(note['settings'])}" for note in best]
    passed_over = sum("passed_over" in note for note in tuning)
    if passed_over:
        told.append(f"{words.count(passed_over)} passed over: the data could not support them")
    return tag("details", tag("summary", f"the best {len(best)} of {words.count(len(tuning))} tried"), lines(told))


def examples(shown: Sequence[Example]) -> Markup | None:
    """Return what real users would be recommended, and why."""
    if not shown:
        return None
    users = []
    for example in shown[:MOST_EXAMPLES]:
        latest = [tag("bdi", line(title, 60)) for title in reversed(example.history[-5:])]
        history = [joined("; " if i else "Last chose: ", title) for i, title in enumerate(latest)]
        items = [
            tag(
                "li",
                tag("span", words.three_digits(item.score), class_="score"),
                tag("bdi", line(item.title, 100)),
                tag("small", sentence(item.reason)),
            )
            for item in example.recommendations[:MOST_ITEMS]
        ]
        users.append(tag("div", tag("h3", line(example.user, 60)), tag("p", history), tag("ol", items)))
    title = f"What {'three ' if len(users) == 3 else ''}real {'user' if len(users) == 1 else 'users'} would see"
    about = "Recommended by the chosen plan, with its reasons; the score is on the right."
    return section("examples", title, about, tag("div", users, class_="users"))


def data(decision: Decision, context: Context) -> Markup:
    """Return what was learned from and how it was judged."""
    n = max(c.trial.score.n for c in decision.choices)
    fewer = few(f"{words.count(k)} for {name}" for name, k in partial(decision).items())
    repeats = context.split_settings.get("repeats")
    protocol = [
        _SPLITS.get(context.split, f"Split: {context.split}."),
        f"Full ranking over {words.counted(context.n_items, 'item')}, never over a sample of them;",
        f"items of the history {'may be recommended again' if repeats else 'are left out'};",
        "items with equal scores share their average rank.",
        f"{words.counted(n, 'test user')}{f' ({fewer})' if fewer else ''}.",
        "Intervals: 95% percentile bootstrap over users. Comparisons are paired: the same users on both sides.",
    ]
    known = {"users": context.n_users, "items": context.n_items, "events": context.n_events, "split": context.split}
    of_split = {key.replace("_", " "): value for key, value in context.split_settings.items() if key != "events"}
    read = lines(context.load_report) if context.load_report else tag("p", "Nothing to report.")
    return section(
        "data",
        "Data and protocol",
        " ".join(protocol),
        tag(
            "div",
            tag("div", tag("h3", "Data and split"), facts({**known, **of_split})),
            tag("div", tag("h3", "What reading the files found"), read),
            class_="columns",
        ),
    )


def again(context: Context) -> Markup:
    """Return how to do it again: command, configuration, machine, prices."""
    prices, currency = context.prices, context.prices.currency
    no_price = "no price on the sheet"
    hour = f"{words.money(prices.machine_hour, currency)} an hour: {prices.cores:g} cores, {prices.memory_gib:g} GiB"
    sheet = {
        "machine": prices.machine,
        "its price": hour,
        "GPU": f"{words.money(prices.gpu_hour, currency)} an hour" if prices.gpu_hour is not None else no_price,
        "energy": f"{words.money(prices.kwh, currency)} a kWh" if prices.kwh is not None else no_price,
        "source": prices.source,
        "date": prices.date,
    }
    asked = {
        "requests": f"{words.count(context.traffic.requests_per_day)} a day",
        "refits": f"{context.traffic.refreshes_per_day:g} a day",
        "budget": budget(context.budget, currency),
    }
    ran = {"ran": context.created, "took": words.duration(context.seconds), **context.machine}
    config = context.config
    if len(config) > MOST_CONFIG:
        config = f"{config[:MOST_CONFIG]}\n… cut here: {words.count(len(config))} characters in all"
    idle = tag("p", "Money is compute used times its price. Machines that stand idle are not in it.", class_="note")
    return section(
        "again",
        "How to do it again",
        "The same command on the same data gives the same quality, unless a search for settings ran out of time; "
        "times depend on the machine.",
        tag("pre", tag("code", context.command[:MOST_COMMAND])),
        tag(
            "div",
            tag("div", tag("h3", "Machine and run"), facts(ran), tag("h3", "Traffic and budget"), facts(asked)),
            tag("div", tag("h3", "Prices"), facts(sheet), idle),
            class_="columns",
        ),
        tag("h3", "Configuration"),
        tag("pre", tag("code", config)),
    )


def unknowns(decision: Decision) -> Markup:
    """Return what nobody measured or could compute, so that nobody takes it for zero."""
    metric = words.metric_name(decision.metric)
    found: dict[str, list[str]] = {}
    for choice in decision.choices:
        trial = choice.trial
        missing = [
            f"{name.replace('_', ' ')}, {label}"
            for phase, label, _ in PHASES
            for name in AMOUNTS
            if getattr(trial.cost[phase], name) is None
        ]
        missing += ["p95 of a request"] if "p95" not in trial.latency_seconds else []
        missing += ["price a month"] if choice.bill.month is None else []
        missing += [words.metric_name(name) for name, e in trial.quality.items() if e.mean is None]
        missing += [f"{metric} on {name} items" for name, e in trial.slices.items() if e.mean is None]
        missing += [name for name, e in trial.lists.items() if e.mean is None]
        missing += [f"interval of {metric}"] if trial.score.mean is not None and trial.score.low is None else []
        for what in missing:
            found.setdefault(what, []).append(choice.name)
    told = [
        f"{what}: {'all plans' if len(names) == len(decision.choices) else few(names)}" for what, names in found.items()
    ]
    about = "Unknown is not zero: no total on this page counts these as nothing." if told else "Nothing."
    return section("unknown", "What is unknown", about, lines(told) if told else None)


__all__ = ["again", "data", "examples", "settings", "unknowns"]
