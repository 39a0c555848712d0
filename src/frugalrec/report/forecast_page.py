"""A forecast for people: the cells and sentences that the command prints, and a page with the plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frugalrec.forecast_rows import CHECKED, SPREAD, Break, PerRequestModel, Row, Size
from frugalrec.price_tables import Hardware
from frugalrec.report import words
from frugalrec.report._lines import lines
from frugalrec.report._markup import Markup, tag
from frugalrec.report._pieces import table
from frugalrec.report.page import page
from frugalrec.scale import Forecaster

MOST_CROSSINGS = 12
TOPOLOGY = (
    "topology", "on", "machines", "to refit", "item shards", "items a shard", "copies", "users a machine",
    "requests/s a machine", "network MB/s", "MB/s a machine",
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """All that a forecast says. ``breaks`` are by machine; lines and crossings are those of ``machine``."""

    rows: Sequence[Row]
    breaks: Mapping[str, Sequence[Break]]
    rates: Sequence[float]
    lines: Mapping[str, Sequence[float]]
    crossed: Sequence[tuple[float, str, str]]
    size: Size
    forecaster: Forecaster
    machine: Hardware
    model: PerRequestModel

    @property
    def sensitivity(self) -> dict[str, dict[str, float]]:
        """By what share of the month a doubling of each price would raise it, for each row whose money is known."""
        return {row.name: self.forecaster.sensitivity(row) for row in self.rows if row.month is not None}


def headings(currency: str) -> list[str]:
    """Return the columns of the table."""
    return [
        "plan", "on", "machines", f"{currency} a month", "kWh a month", "t CO2e a month", "refresh", "p95 at least",
        "model", "storage",
    ]  # fmt: skip


def cells(row: Row) -> list[str]:
    """Return a row of the table; what is unknown says so."""
    return [
        row.plan,
        row.hardware,
        words.count(row.machines),
        "unknown" if row.month is None else f"{row.month:,.0f}",
        words.count(row.kwh),
        "unknown" if row.co2e_kg is None else f"{row.co2e_kg / 1000:,.2f}",
        _duration(row.refresh_seconds),
        _duration(row.latency_seconds),
        _bytes(row.model_bytes),
        _bytes(row.storage_bytes),
    ]


def topology(row: Row) -> list[str]:
    """Return a row of the table of what would carry a plan, in the order of `TOPOLOGY`."""
    serving = None if row.item_shards is None or row.replicas is None else row.item_shards * row.replicas
    network = row.network_bytes_per_second
    return [
        row.plan,
        row.hardware,
        words.count(row.machines),
        words.count(row.refresh_machines),
        words.count(row.item_shards),
        words.count(row.items_a_shard),
        words.count(row.replicas),
        words.count(row.users_a_machine),
        _figure(row.requests_per_second / row.replicas if row.replicas else None),
        _figure(None if network is None else network / 1e6),
        _figure(None if network is None or not serving else network / serving / 1e6),
    ]


def lines_of(told: Told) -> list[str]:
    """Return what there is to say beside the tables."""
    rows, forecaster, size = told.rows, told.forecaster, told.size
    currency = forecaster.prices.currency
    found = [f"{row.plan}: unknown, {row.unknown}" for row in rows if row.unknown]
    if forecaster.torn:
        found.append(
            f"{words.counted(forecaster.torn, 'line')} of the run's trials could not be read: plans may be missing"
        )
    for name, breaks in told.breaks.items():
        on = f" on {name}" if len(told.breaks) > 1 else ""
        found += [
            f"{b.plan}{on} breaks first where {b.what}: at {b.users:,.0f} users, {b.items:,.0f} items, "
            f"{_figure(b.requests_per_second)} requests a second"
            for b in breaks
        ]
        whole = sorted({row.plan for row in rows if row.hardware == name and row.machines} - {b.plan for b in breaks})
        if whole:
            found.append(f"nothing breaks{on} up to the size asked for: {', '.join(whole)}")
    found += [
        f"from {_figure(at)} requests a second on, {above} is cheaper than {below}"
        for at, below, above in told.crossed[:MOST_CROSSINGS]
    ]
    if len(told.crossed) > MOST_CROSSINGS:
        found.append(f"{len(told.crossed) - MOST_CROSSINGS} more crossings: see --json")
    if not told.crossed and told.lines:
        found.append("no two plans cross: whichever is cheaper is cheaper at every traffic drawn")
    found += _refits(told)
    found += _doubled(told)
    found += _savings(rows, currency)
    found += _assumed(told)
    grown = size.users / max(forecaster.shape.users, 1.0), size.items / max(forecaster.shape.items, 1.0)
    if max(grown) > CHECKED:
        found.append(
            f"the run is {grown[0]:,.0f} times smaller in users and {grown[1]:,.0f} times in items: formulas were "
            f"checked over a factor of {CHECKED:g}, so take this for an order of magnitude"
        )
    else:
        found.append(f"compute may be off by a factor of {SPREAD:g}, which formulas were checked to at such sizes")
    return found


def _refits(told: Told) -> list[str]:
    """Return why a refit takes several machines, plan by plan, and what that presumes."""
    a, sheet, found = told.forecaster.assumptions, told.forecaster.prices, []
    shared = False
    for row in told.rows:
        if row.hardware not in sheet.machines or not row.refresh_machines or row.refresh_machines == 1:
            continue
        memory = sheet.hardware(row.hardware).memory_gib
        alone = f"{_duration(row.refresh_alone_seconds)} on one"
        allowed = _duration(a.refresh_share * 86_400 / told.size.refreshes_per_day)
        why = f"for its time, {alone}, of which {allowed} are allowed"
        if row.refresh_machines != row.refresh_machines_in_time:
            shared = True
            time = words.counted(int(row.refresh_machines_in_time or 1), "machine")
            why = f"for its memory, {_bytes(row.refresh_bytes)} at once; for its time, {alone}, {time} would do"
        found.append(f"{row.name}: a refit takes {row.refresh_machines:,.0f} machines of {memory:g} GiB {why}")
    if shared:
        found.append(
            "what a refit holds is, of linear models, mostly its sums: a cell for each pair of items that somebody "
            "chose. What is solved of them, block by block, is smaller. Machines are counted as if each held the sums "
            "of some items; this version adds sums up on several workers, but solves on one machine that holds all"
        )
    return found


def _doubled(told: Told) -> list[str]:
    """Return the sensitivity of the cheapest plan, and of the dearest."""
    found = []
    known = list(told.sensitivity.items())
    for name, shares in known if len(known) < 2 else (known[0], known[-1]):
        doubled = ", ".join(f"{p} {share:+.1%}" for p, share in sorted(shares.items(), key=lambda item: -item[1]))
        if doubled:
            found.append(f"{name}, were a price to double: {doubled}")
    return found


def _savings(rows: Sequence[Row], currency: str) -> list[str]:
    found = []
    for row in rows:
        if " a request" in row.plan and row.month:
            plain = next((r for r in rows if row.plan.startswith(f"{r.plan} + ") and r.month), None)
            if plain is not None and plain.month:
                found.append(
                    f"{row.plan} costs {row.month / plain.month:,.1f} times {plain.plan}: compiling the language model "
                    f"into weights saves {currency} {row.month - plain.month:,.0f} a month"
                )
    return found


def _assumed(told: Told) -> list[str]:
    a, sheet, shape = told.forecaster.assumptions, told.forecaster.prices, told.forecaster.shape
    machines = {row.hardware for row in told.rows} & set(sheet.machines)
    speeds = {name: sheet.hardware(name).speed for name in sorted(machines)}
    speed = ", ".join(
        f"a core of {name} {'' if s == 1 else f'{s:g} times '}as fast as the one measured" for name, s in speeds.items()
    )
    carbon = f"; grid of {sheet.region}, {sheet.carbon_of():g} kg CO2e a kWh" if sheet.region else ""
    return [
        f"assumed of plans: {a.utilisation:.0%} of cores busy, at least {a.replicas} copies of a shard, "
        f"{a.memory_share:.0%} of memory for the model, {a.parallel:.0%} of ideal speed-up, a fit in "
        f"{a.refresh_share:.0%} of the time between refreshes, {a.hop_seconds * 1000:g} ms a hop between machines, "
        f"{a.latency_limit * 1000:g} ms as what is still fast, {speed}",
        f"assumed of data: each user as active as now ({shape.mean_history:.0f} events), {a.history_bytes:g} bytes "
        f"an event, {a.list_length} items and {a.response_bytes:g} bytes an answer, "
        f"the model stored {a.stored_copies} times",
        f"assumed of a language model a request: {told.model.parameters / 1e9:g}B parameters on own GPUs, "
        f"{told.model.tokens_in:,.0f} tokens read and {told.model.tokens_out:,.0f} written, {a.gpu_share:.0%} of "
        f"a GPU's peak, {a.gpu_memory_share:.0%} of its memory for weights of 16 bits, "
        f"{a.gpu_batch} requests written at once",
        f"prices: {sheet.source}, {sheet.date}; energy: watts of the sheet, not measured{carbon}",
    ]


def render(told: Told) -> str:
    """Return the forecast as one HTML page."""
    size, sheet = told.size, told.forecaster.prices
    marks = [(size.requests_per_second, "asked for")]
    plot = lines(told.rates, told.lines, x_title="requests a second", y_title=f"{sheet.currency} a month", marks=marks)
    sensitivity = told.sensitivity
    prices = list(dict.fromkeys(price for shares in sensitivity.values() for price in shares))
    parts = [
        tag("tr", tag("td", name), [tag("td", f"{shares[p]:+.1%}" if p in shares else "", class_="n") for p in prices])
        for name, shares in sensitivity.items()
    ]
    about = f"{size.users:,.0f} users, {size.items:,.0f} items, {size.requests_per_second:,.6g} requests a second, "
    often = "1 refresh" if size.refreshes_per_day == 1 else f"{size.refreshes_per_day:.3g} refreshes"
    growth = f", {size.catalogue_growth:.1%} new items a month" if size.catalogue_growth else ""
    return page(
        "Forecast",
        tag("p", f"{about}{often} a day{growth}; prices of {sheet.date}", class_="lede"),
        tag("section", tag("h2", "Plans"), _table(headings(sheet.currency), [cells(row) for row in told.rows])),
        tag("section", tag("h2", f"Money and traffic, on {told.machine.name}"), tag("figure", plot)),
        tag("section", tag("h2", "What it means"), tag("ul", [tag("li", x) for x in lines_of(told)])),
        tag(
            "section",
            tag("h2", "What would carry it"),
            _table(TOPOLOGY, [topology(row) for row in told.rows if row.machines is not None]),
        ),
        tag(
            "section",
            tag("h2", "Which price matters"),
            tag("p", "By how much a month becomes dearer when a price doubles."),
            table([("plan", "", False), *((p, "", True) for p in prices)], parts),
        ),
    )


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    columns = [(heading, "", i > 1) for i, heading in enumerate(names)]
    return table(
        columns,
        [tag("tr", [tag("td", cell, class_="n" if i > 1 else None) for i, cell in enumerate(row)]) for row in rows],
    )


def _duration(seconds: float | None) -> str:
    return words.duration(seconds)


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _bytes(n: float | None) -> str:
    if n is None:
        return "unknown"
    for unit, scale in (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if n >= scale:
            return f"{n / scale:,.1f} {unit}"
    return f"{n:,.0f} B"


__all__ = ["TOPOLOGY", "Told", "cells", "headings", "lines_of", "render", "topology"]
