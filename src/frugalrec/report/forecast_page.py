"""A forecast for people: the cells and sentences that the command prints, and a page with the plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from frugalrec.report import words
from frugalrec.report._lines import lines
from frugalrec.report._markup import tag
from frugalrec.report._pieces import table
from frugalrec.report.page import page
from frugalrec.scale import Break, Forecaster, Row, Size

Crossings = Sequence[tuple[float, str, str]]


def headings(currency: str) -> list[str]:
    """Return the columns of the table."""
    return [
        "plan", "machines", "shards × copies", f"{currency} a month", "kWh a month", "t CO2e a month", "refresh",
        "p95 at least", "model", "storage",
    ]  # fmt: skip


def cells(row: Row) -> list[str]:
    """Return a row of the table; what is unknown says so."""
    spread = "unknown" if row.item_shards is None else f"{row.item_shards} × {row.replicas}"
    return [
        row.plan,
        words.count(row.machines),
        spread,
        "unknown" if row.month is None else f"{row.month:,.0f}",
        words.count(row.kwh),
        "unknown" if row.co2e_kg is None else f"{row.co2e_kg / 1000:,.2f}",
        _duration(row.refresh_seconds),
        _duration(row.latency_seconds),
        _bytes(row.model_bytes),
        _bytes(row.storage_bytes),
    ]


def told(
    rows: Sequence[Row],
    breaks: Sequence[Break],
    crossed: Crossings,
    sensitivity: Mapping[str, Mapping[str, float]],
    size: Size,
    forecaster: Forecaster,
    currency: str,
) -> list[str]:
    """Return what there is to say beside the table."""
    found = [f"{row.plan}: unknown, {row.unknown}" for row in rows if row.unknown]
    found += [
        f"{b.plan} breaks first where {b.what}: at {b.users:,.0f} users, {b.items:,.0f} items, "
        f"{b.requests_per_second:,.0f} requests a second"
        for b in breaks
    ]
    found += [f"at {at:,.0f} requests a second, {above} becomes cheaper than {below}" for at, below, above in crossed]
    if not crossed:
        found.append("no plan becomes the cheapest as traffic grows: the same one is at every traffic drawn")
    for row in rows[:1]:
        parts = sorted(sensitivity.get(row.plan, {}).items(), key=lambda item: -item[1])
        if parts:
            doubled = ", ".join(f"{name} {share:+.0%}" for name, share in parts)
            found.append(f"{row.plan}, were a price to double: {doubled}")
    base = min((r for r in rows if r.month and " a request" not in r.plan), key=lambda r: r.month or 0.0, default=None)
    for row in rows:
        if " a request" in row.plan and row.month:
            plain = next((r for r in rows if row.plan.startswith(f"{r.plan} + ")), base)
            if plain is not None and plain.month:
                found.append(
                    f"{row.plan} costs {row.month / plain.month:,.1f} times {plain.plan}: compiling the language model "
                    f"into weights saves {currency} {row.month - plain.month:,.0f} a month"
                )
    a = forecaster.assumptions
    found.append(
        f"assumed: {a.utilisation:.0%} of cores busy, at least {a.replicas} copies of a shard, {a.memory_share:.0%} of "
        f"memory for the model, {a.parallel:.0%} of ideal speed-up, one core as fast as the one measured, "
        f"{a.response_bytes:g} bytes an answer; each user as active as now ({forecaster.shape.mean_history:.0f} events)"
    )
    grown = size.users / forecaster.shape.users, size.items / forecaster.shape.items
    if max(grown) > 10:
        found.append(
            f"the run is {grown[0]:,.0f} times smaller in users and {grown[1]:,.0f} times in items: formulas were "
            "checked over a factor of ten, so take this for an order of magnitude"
        )
    return found


def render(
    rows: Sequence[Row],
    breaks: Sequence[Break],
    rates: Sequence[float],
    drawn: Mapping[str, Sequence[float]],
    crossed: Crossings,
    sensitivity: Mapping[str, Mapping[str, float]],
    size: Size,
    forecaster: Forecaster,
) -> str:
    """Return the forecast as one HTML page."""
    currency = forecaster.prices.currency
    columns = [(heading, "", i > 0) for i, heading in enumerate(headings(currency))]
    shown = [
        tag("tr", [tag("td", cell, class_="n" if i else None) for i, cell in enumerate(cells(row))]) for row in rows
    ]
    marks = [(size.requests_per_second, "asked for"), *((at, f"{b} from here") for at, _, b in crossed)]
    plot = lines(rates, drawn, x_title="requests a second", y_title=f"{currency} a month", marks=marks)
    parts = [
        tag("tr", tag("td", name), [tag("td", f"{price} {share:.0%}") for price, share in shares.items()])
        for name, shares in sensitivity.items()
    ]
    about = f"{size.users:,.0f} users, {size.items:,.0f} items, {size.requests_per_second:,.0f} requests a second, "
    sheet = forecaster.prices
    return page(
        "Forecast",
        tag("p", f"{about}{size.refreshes_per_day:g} refreshes a day; prices of {sheet.date}", class_="lede"),
        tag("section", tag("h2", "Plans"), table(columns, shown)),
        tag("section", tag("h2", "Money and traffic"), tag("figure", plot)),
        tag(
            "section",
            tag("h2", "What it means"),
            tag("ul", [tag("li", x) for x in told(rows, breaks, crossed, sensitivity, size, forecaster, currency)]),
        ),
        tag(
            "section", tag("h2", "Which price matters"), tag("div", tag("table", tag("tbody", parts)), class_="scroll")
        ),
    )


def _duration(seconds: float | None) -> str:
    return words.duration(seconds)


def _bytes(n: float | None) -> str:
    if n is None:
        return "unknown"
    for unit, scale in (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if n >= scale:
            return f"{n / scale:,.1f} {unit}"
    return f"{n:,.0f} B"


__all__ = ["cells", "headings", "render", "told"]
