"""``frugalrec forecast``: what the plans of a run would take at another size."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from frugalrec.scale import Break, Forecaster, PerRequestModel, Row, Size

REFRESHES = {"hourly": 24.0, "daily": 1.0, "weekly": 1 / 7, "monthly": 12 / 365.25}


def forecast(
    run: Annotated[Path, typer.Option(metavar="DIR", help="Folder of a finished run.")],
    users: Annotated[str, typer.Option(metavar="N", help="Users, as in 100M.")],
    items: Annotated[str, typer.Option(metavar="N", help="Items, as in 5M.")],
    requests_per_second: Annotated[str, typer.Option(metavar="N", help="Requests a second, a daily mean.")],
    catalogue_growth: Annotated[
        float, typer.Option(min=0.0, metavar="PERCENT", help="New items a month, in percent.")
    ] = 0.0,
    refresh: Annotated[str, typer.Option(metavar="WHEN", help="hourly, daily, weekly, or times a day.")] = "daily",
    hardware: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Machines of the price sheet to compute on; may be repeated; and api."),
    ] = None,
    lm_parameters: Annotated[str, typer.Option(metavar="N", help="Size of a language model asked each time.")] = "8G",
    lm_model: Annotated[str, typer.Option(metavar="NAME", help="Language model of the API.")] = "gpt-4o-mini",
    lm_candidates: Annotated[int, typer.Option(min=1, help="Candidates whose titles it reads.")] = 20,
    prices: Annotated[Path | None, typer.Option(metavar="FILE", help="A price sheet.")] = None,
    profile: Annotated[Path | None, typer.Option(metavar="FILE", help="A machine profile.")] = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write tables and plots as a page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Forecast each plan of a run at another size: machines, money, energy, time to refresh, latency, storage, limits.

    Cost grows as the components' formulas say, from what the run measured. A language model at every request, on own
    GPUs and through an API, stands beside the plans, so that one sees what compiling it into weights saves. All that is
    assumed is printed.

    \b
    Examples:
      frugalrec forecast --run shop-run --users 10M --items 200k --requests-per-second 2k
      frugalrec forecast --run shop-run --users 100M --items 5M --requests-per-second 20k --page forecast.html
    """
    from frugalrec import machine_profile
    from frugalrec.cli._numbers import number_of
    from frugalrec.errors import ConfigError
    from frugalrec.prices import PriceSheet
    from frugalrec.scale import Forecaster, Size, crossings

    sheet = PriceSheet.load(prices)
    forecaster = Forecaster.read(run, sheet, machine_profile.load(profile))
    often = REFRESHES[refresh] if refresh in REFRESHES else number_of(refresh, "--refresh")
    size = Size(
        number_of(users, "--users"),
        number_of(items, "--items"),
        number_of(requests_per_second, "--requests-per-second"),
        often,
        catalogue_growth / 100,
    )
    names = hardware or ["cpu-16", "gpu-h100", "api"]
    machines = [sheet.hardware(name) for name in names if name != "api"]
    plain = [m for m in machines if not m.gpus]
    if not plain and not machines:
        raise ConfigError("--hardware api alone serves nothing", hint="add a machine of the price sheet: cpu-16")
    machine = (plain or machines)[0]
    gpu = next((m for m in machines if m.gpus), None)
    rows = forecaster.rows(size, machine)
    known = [row for row in rows if row.month is not None]
    beside: list[Row] = []
    model = _model(forecaster, number_of(lm_parameters, "--lm-parameters"), lm_candidates)
    base = _base(known, forecaster)
    if base is not None:
        beside = forecaster.per_request_rows(base, size, model, gpu, lm_model if "api" in names else None)
    breaks = forecaster.breaks(size, machine)
    rates, lines = forecaster.by_traffic(size, machine)
    crossed = crossings(rates, lines)
    sensitivity = {row.plan: forecaster.sensitivity(row) for row in [*known, *beside]}
    if page is not None:
        from frugalrec.report import forecast_page
        from frugalrec.run_folder import write_whole

        drawn = forecast_page.render([*rows, *beside], breaks, rates, lines, crossed, sensitivity, size, forecaster)
        write_whole(page, drawn)
        print(f"page: {page}", file=sys.stderr)
    if as_json:
        document = {
            "size": asdict(size),
            "machine": asdict(machine),
            "currency": sheet.currency,
            "assumptions": asdict(forecaster.assumptions),
            "language_model": asdict(model),
            "rows": [row.to_dict() for row in [*rows, *beside]],
            "breaks": [asdict(b) for b in breaks],
            "crossings": [{"requests_per_second": at, "below": a, "above": b} for at, a, b in crossed],
            "sensitivity": sensitivity,
        }
        typer.echo(json.dumps(document, indent=2))
        return
    _print([*rows, *beside], breaks, crossed, sensitivity, size, forecaster, sheet.currency, model)


def _model(forecaster: Forecaster, parameters: float, candidates: int) -> PerRequestModel:
    """Return a model that reads the titles of 20 history items and the candidates, and writes a list of numbers."""
    from frugalrec.scale import PerRequestModel

    texts = forecaster.shape.texts
    title = 2.0 + (len(texts[0]) / 4.0 if texts else 6.0)
    read = 100.0 + (min(20.0, forecaster.shape.mean_history) + candidates) * title
    return PerRequestModel(parameters, read, 3.0 * 10)


def _base(known: list[Row], forecaster: Forecaster) -> Row | None:
    """Return the row to put a language model on: of the best plan by quality among those whose cost is known."""
    quality = {t.name: t.score.mean or 0.0 for t in forecaster.trials}
    return max(known, key=lambda row: quality.get(row.plan, 0.0), default=None)


def _print(
    rows: list[Row],
    breaks: list[Break],
    crossed: list[tuple[float, str, str]],
    sensitivity: dict[str, dict[str, float]],
    size: Size,
    forecaster: Forecaster,
    currency: str,
    model: PerRequestModel,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from frugalrec.report import forecast_page

    console = Console(width=None if sys.stdout.isatty() else 178)
    table = Table(box=None, pad_edge=False)
    for i, heading in enumerate(forecast_page.headings(currency)):
        table.add_column(heading, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*forecast_page.cells(row))
    console.print(table)

    lines = forecast_page.told(rows, breaks, crossed, sensitivity, size, forecaster, currency)
    lines.append(
        f"the language model a request: {model.parameters / 1e9:g}B parameters on own GPUs, reads "
        f"{model.tokens_in:,.0f} tokens and writes {model.tokens_out:,.0f}"
    )
    for line in lines:
        console.print(line, markup=False, highlight=False)
