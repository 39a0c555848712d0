"""``frugalrec forecast``: what the plans of a run would take at another size."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from frugalrec.report.forecast_page import Told
    from frugalrec.scale import Forecaster, PerRequestModel, Row

REFRESHES = {"hourly": 24.0, "daily": 1.0, "weekly": 1 / 7, "monthly": 12 / 365.25}


def forecast(
    run: Annotated[Path, typer.Option(metavar="DIR", help="Folder of a finished run.")],
    users: Annotated[str, typer.Option(metavar="N", help="Users, as in 100M.")],
    items: Annotated[str, typer.Option(metavar="N", help="Items, as in 5M.")],
    requests_per_second: Annotated[str, typer.Option(metavar="N", help="Requests a second, a daily mean.")],
    catalogue_growth: Annotated[
        float, typer.Option(min=0.0, metavar="PERCENT", help="New items a month, in percent.")
    ] = 0.0,
    refresh: Annotated[
        str, typer.Option(metavar="WHEN", help="hourly, daily, weekly, monthly, or times a day.")
    ] = "daily",
    hardware: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A machine of the price sheet, or api; may be repeated."),
    ] = None,
    region: Annotated[
        str, typer.Option(metavar="NAME", help="The grid, as [carbon] of the price sheet names it.")
    ] = "",
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
    from dataclasses import replace

    from frugalrec import machine_profile
    from frugalrec.cli._numbers import number_of
    from frugalrec.errors import ConfigError
    from frugalrec.prices import PriceSheet
    from frugalrec.report import forecast_page
    from frugalrec.scale import Forecaster, Size, crossings

    sheet = PriceSheet.load(prices)
    if region:
        sheet.carbon_of(region)  # raises where the sheet does not know it
        sheet = replace(sheet, region=region)
    forecaster = Forecaster.read(run, sheet, machine_profile.load(profile))
    often = REFRESHES[refresh] if refresh in REFRESHES else _times_a_day(refresh)
    size = Size(
        number_of(users, "--users"),
        number_of(items, "--items"),
        number_of(requests_per_second, "--requests-per-second"),
        often,
        catalogue_growth / 100,
    )
    names = hardware or ["cpu-16", "gpu-h100", "api"]
    machines = [sheet.hardware(name) for name in names if name != "api"]
    if not machines:
        raise ConfigError("--hardware api alone serves nothing", hint="add a machine of the price sheet: cpu-16")
    # Plans run on machines without GPUs; where none was named, on those there are.
    plain = [m for m in machines if not m.gpus] or machines
    gpu, api = next((m for m in machines if m.gpus), None), lm_model if "api" in names else None
    model = _model(forecaster, number_of(lm_parameters, "--lm-parameters"), lm_candidates)
    rows = [row for machine in plain for row in forecaster.rows(size, machine)]
    rows.sort(key=lambda row: math.inf if row.month is None else row.month)
    base = _base([row for row in rows if row.month is not None], forecaster)
    beside = [] if base is None else forecaster.per_request_rows(base, size, model, gpu, api)
    breaks = {machine.name: forecaster.breaks(size, machine) for machine in plain}
    machine = plain[0] if base is None else next(m for m in plain if m.name == base.hardware)
    rates, lines = forecaster.by_traffic(
        size, machine, model=model, base="" if base is None else base.plan, gpu=gpu, api=api
    )
    told = forecast_page.Told(
        [*rows, *beside], breaks, rates, lines, crossings(rates, lines), size, forecaster, machine, model
    )
    if page is not None:
        from frugalrec.run_folder import write_whole

        write_whole(page, forecast_page.render(told))
        print(f"page: {page}", file=sys.stderr)
    if as_json:
        document = {
            "size": asdict(size),
            "machines": [asdict(machine) for machine in plain],
            "currency": sheet.currency,
            "assumptions": asdict(forecaster.assumptions),
            "language_model": asdict(model),
            "region": sheet.region,
            "rows": [row.to_dict() for row in told.rows],
            "breaks": [{"hardware": name, **asdict(b)} for name, found in breaks.items() for b in found],
            "crossings": [{"requests_per_second": at, "below": a, "above": b} for at, a, b in told.crossed],
            "sensitivity": told.sensitivity,
        }
        typer.echo(json.dumps(document, indent=2))
        return
    _print(told)


def _times_a_day(text: str) -> float:
    from frugalrec.cli._numbers import number_of
    from frugalrec.errors import ConfigError

    try:
        return number_of(text, "--refresh")
    except ConfigError as error:
        raise ConfigError(error.message, hint=f"write {', '.join(REFRESHES)}, or how many times a day") from error


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


def _print(told: Told) -> None:
    from rich.table import Table

    from frugalrec.cli._console import print_table
    from frugalrec.report import forecast_page

    currency = told.forecaster.prices.currency
    for headings, cells in (
        (forecast_page.headings(currency), forecast_page.cells),
        (forecast_page.TOPOLOGY, forecast_page.topology),
    ):
        table = Table(box=None, pad_edge=False)
        for i, heading in enumerate(headings):
            table.add_column(heading, justify="left" if i < 2 else "right", no_wrap=True)
        for row in told.rows:
            if row.machines is not None or cells is forecast_page.cells:
                table.add_row(*cells(row))
        print_table(table)
        typer.echo("")
    for line in forecast_page.lines_of(told):
        typer.echo(line)
