"""``frugalrec costs``: what runs spent, how that changed, and how good past estimates were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from frugalrec.prices import PriceSheet
    from frugalrec.run_costs import Line
    from frugalrec.run_record import RunRecord

app = typer.Typer(name="costs", no_args_is_help=True, rich_markup_mode=None, help="What runs spent, and on what.")

_SHEET = "A price sheet; default: the one that comes along."
Sheet = Annotated[Path | None, typer.Option("--prices", metavar="FILE", help=_SHEET)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Page = Annotated[Path | None, typer.Option("--page", metavar="FILE.html", help="Write plots as a page.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of runs.")]


@app.command()
def show(runs: Runs, prices: Sheet = None, page: Page = None, as_json: Json = False) -> None:
    """Show what each run spent: by stage and by plan, and with several runs over time.

    Energy is an estimate, and marked so: CPU seconds times the watts of a busy core in the profile that the machine had
    (frugalrec doctor --calibrate) when it ran; without one it is unknown.

    \b
    Examples:
      frugalrec costs show shop-run
      frugalrec costs show nightly/* --page nightly.html
    """
    from frugalrec.prices import PriceSheet
    from frugalrec.run_costs import Run, by, stage_of

    sheet = PriceSheet.load(prices)
    read = [Run.read(folder) for folder in runs]
    found = [(run, by(run, stage_of, sheet), by(run, lambda e: e.plan or "(no plan)", sheet)) for run in read]
    totals = [(min(e.started for e in run.entries), by(run, lambda e: "all", sheet)[0], run) for run in read]
    totals.sort(key=lambda found: found[0])
    if page is not None:
        from frugalrec.report import costs_page

        _write(page, costs_page.render(read, sheet))
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "currency": sheet.currency,
                    "runs": [
                        {
                            "run": str(run.folder),
                            "unreadable_lines": run.torn,
                            "parts": [_part(part) for part in run.record.parts],
                            "by_stage": [_line(x, estimated=True) for x in stages],
                            "by_plan": [_line(x, estimated=True) for x in plans],
                        }
                        for run, stages, plans in found
                    ],
                    "over_time": [
                        {"started": at, **_line(line, estimated=True), "name": str(r.folder)} for at, line, r in totals
                    ],
                },
                indent=2,
            )
        )
        return
    for run, stages, plans in found:
        typer.echo(f"{run.folder}" + (f" ({run.torn} lines could not be read)" if run.torn else ""))
        if run.record.earlier:
            for part in run.record.parts:
                typer.echo(f"  {_told(part)}")
        powered = any(part.watts_a_core is not None for part in run.record.parts)
        _table("stage", stages, sheet, powered=powered)
        _table("plan", plans, sheet, powered=powered)
    if len(found) > 1:
        from datetime import UTC, datetime

        when = [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") for at, _, _ in totals]
        from dataclasses import replace

        lines = [replace(x, name=f"{at}  {r.folder.name}") for at, (_, x, r) in zip(when, totals, strict=True)]
        _table("over time", lines, sheet)


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="Folder of a run.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Folder of a later run.")],
    fail_if: Annotated[
        list[str] | None, typer.Option(metavar="LIMIT", help='Exit with 1 beyond, as in "+5% per_request".')
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Hold runs of different data against the limits all the same.")
    ] = False,
    prices: Sheet = None,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """Show how the cost of each plan that both runs have changed, and fail beyond a limit.

    A limit names a phase (once, per_refresh, per_request, total), perhaps an amount (money, flops, tokens_in,
    cpu_seconds, peak_bytes …; default money) and perhaps a plan. Seconds, and money made of them, vary with what else
    the machine does; FLOPs and tokens do not, so gates on them can be tight. An amount that one run does not know
    breaks the gate. Runs of different data are told apart by the fingerprint that they kept: larger data cost more,
    smaller ones hide what has become dearer, so a gate between them is an error without --accept-changes.

    \b
    Examples:
      frugalrec costs diff main-run branch-run
      frugalrec costs diff main-run branch-run --fail-if "+5% per_request" --fail-if "+0% once tokens_in"
      frugalrec costs diff main-run branch-run --fail-if "+10% per_refresh flops of ease"
    """
    from frugalrec.errors import ConfigError
    from frugalrec.prices import PriceSheet
    from frugalrec.run_costs import Gate, Run, changes, other_data

    gates = [Gate.parse(text) for text in fail_if or []]
    sheet = PriceSheet.load(prices)
    a, b = Run.read(before), Run.read(after)
    different = other_data(a, b)
    if different and gates and not accept_changes:
        raise ConfigError(
            f"--fail-if: {different}, so that a limit would compare them and not the code",
            hint="run both on the same data, or say that you mean it with --accept-changes",
        )
    note = f"{different}: what changed is not the code's cost alone" if different else ""
    if note:
        typer.echo(note, err=True)
    found = changes(a, b, sheet)
    broken = [line for gate in gates for line in gate.broken(found)]
    if page is not None:
        from frugalrec.report import costs_page

        _write(page, costs_page.render_changes(before.name, after.name, found, broken, sheet.currency, note=note))
    only = {"before": sorted(set(a.plans()) - set(b.plans())), "after": sorted(set(b.plans()) - set(a.plans()))}
    if as_json:
        shown = [
            {"plan": c.plan, "phase": c.phase, "amount": c.measure, "before": c.before, "after": c.after}
            | {"change": None if c.share is None or c.share == float("inf") else c.share}
            for c in found
        ]
        typer.echo(
            json.dumps(
                {"changes": shown, "only_in": only, "broken": broken, "different_data": bool(different)}, indent=2
            )
        )
    else:
        from rich.table import Table

        from frugalrec.cli._console import print_table

        table = Table(box=None, pad_edge=False)
        for heading in ("plan", "phase"):
            table.add_column(heading, no_wrap=True)
        measures = ("money", "cpu_seconds", "flops", "tokens_in", "peak_bytes")
        for measure in measures:
            table.add_column(sheet.currency if measure == "money" else measure, justify="right", no_wrap=True)
        cells = {(c.plan, c.phase, c.measure): c for c in found}
        for plan, phase in dict.fromkeys((c.plan, c.phase) for c in found):
            row = [cells[plan, phase, measure] for measure in measures]
            if any(c.before is not None or c.after is not None for c in row):
                table.add_row(plan, phase, *(_change(c.before, c.after, c.share) for c in row))
        print_table(table)
        for where, names in only.items():
            if names:
                typer.echo(f"only {where}: {', '.join(names)}")
        for line in broken:
            typer.echo(f"beyond the limit: {line}")
    raise typer.Exit(1 if broken else 0)


@app.command()
def top(
    runs: Runs,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 10,
    prices: Sheet = None,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """Show the stages that took most CPU time, over all runs given."""
    from frugalrec.prices import PriceSheet
    from frugalrec.run_costs import Line, Run, stage_of

    sheet = PriceSheet.load(prices)
    lines = [
        Line(f"{run.folder.name}  {e.plan}  {stage_of(e)}", 1, e.cost, sheet.price(e.cost))
        for run in map(Run.read, runs)
        for e in run.outermost
    ]
    lines = sorted(lines, key=lambda line: -(line.cost.cpu_seconds or 0.0))[:n]
    if page is not None:
        from frugalrec.report import costs_page

        _write(page, costs_page.render_top(lines, sheet))
    if as_json:
        typer.echo(json.dumps([_line(line) for line in lines], indent=2))
    else:
        _table("stage", lines, sheet)


@app.command()
def calibrate(
    runs: Runs,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report errors; correct nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Report how far past estimates were off, and correct this machine's profile by the median of each kind.

    "refined" compares with what the first batches of a stage told, where it reports how far it is.

    \b
    Examples:
      frugalrec costs calibrate shop-run
      frugalrec costs calibrate nightly/* --dry-run
    """
    from dataclasses import replace

    from frugalrec import machine_profile
    from frugalrec.errors import ConfigError
    from frugalrec.run_costs import corrected, errors

    profile = machine_profile.load()
    found = errors(runs, profile=None if profile is None else profile.created)
    if not dry_run:
        if profile is None:
            raise ConfigError("this machine has no profile to correct", hint="frugalrec doctor --calibrate")
        if found and not any(e.correction for e in found):
            raise ConfigError(
                f"these runs were estimated with another profile than this machine's of {profile.created}",
                hint="run frugalrec plan --fresh once more, or look with --dry-run",
            )
        profile = replace(profile, corrections=corrected(profile.corrections, found))
        profile.save()
    if as_json:
        names = ("key", "n", "median", "lowest", "highest", "within", "memory", "refined", "correction")
        shown = [{name: getattr(e, name) for name in names} for e in found]
        kept = {} if profile is None else dict(profile.corrections)
        typer.echo(json.dumps({"actual_over_expected": shown, "corrections": kept}, indent=2))
        return
    about = "actual over expected CPU seconds"
    headings = f"{'stages':>8}{'median':>9}{'lowest':>9}{'highest':>9}{'within 1.3':>12}{'memory':>9}{'refined':>9}"
    typer.echo(f"{about:<34}{headings}")
    for e in found:
        typer.echo(
            f"{e.key:<34}{e.n:>8}{e.median:>9.2f}{e.lowest:>9.2f}{e.highest:>9.2f}{e.within:>12.0%}"
            f"{'' if e.memory is None else f'{e.memory:.2f}':>9}"
            f"{'' if e.refined is None else f'{e.refined:.2f}':>9}"
        )
    n = sum(e.n for e in found)
    if n:
        typer.echo(f"{sum(e.within * e.n for e in found) / n:.0%} of {n} stages were within a factor of 1.3")
    if not dry_run:
        typer.echo("the profile is corrected: estimates from now on take these medians into account")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    form: Annotated[
        Literal["focus", "otel", "codecarbon", "tensorboard", "mlflow"], typer.Option("--format", help="In which form.")
    ],
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A file, a tracker's folder, or MLflow's URI; default: standard output."),
    ] = None,
    region: Annotated[str, typer.Option(help="The grid, as the sheet's [carbon] names it; default: its own.")] = "",
    prices: Sheet = None,
) -> None:
    """Write a run's ledger as FOCUS-style CSV, OpenTelemetry GenAI spans (OTLP JSON) or CodeCarbon's emissions.csv.

    Or its plans with quality, costs and settings as TensorBoard events or MLflow runs (extra "track"), below --out.

    \b
    Examples:
      frugalrec costs export shop-run --format focus --out focus.csv
      frugalrec costs export shop-run --format otel
      frugalrec costs export shop-run --format codecarbon --region us-average
      frugalrec costs export shop-run --format mlflow --out mlruns
    """
    from frugalrec import run_cost_exports
    from frugalrec.errors import ConfigError
    from frugalrec.prices import PriceSheet
    from frugalrec.run_costs import Run
    from frugalrec.run_folder import write_whole

    sheet, read = PriceSheet.load(prices), Run.read(run)
    if form in ("tensorboard", "mlflow"):
        from frugalrec import run_trackers

        if out is None:
            raise ConfigError(f"{form} needs a place to write to", hint="name a folder: --out tracked")
        if form == "tensorboard":
            plans = run_trackers.tensorboard(read, sheet, Path(out))
        else:
            plans = run_trackers.mlflow(read, sheet, out)
        typer.echo(f"{len(plans)} plans written to {out}")
        return
    if form == "focus":
        text = run_cost_exports.focus(read, sheet)
    elif form == "otel":
        text = run_cost_exports.opentelemetry(read)
    else:
        region = region or sheet.region
        carbon = sheet.carbon_of(region) if region else None
        text = run_cost_exports.codecarbon(read, carbon=carbon, region=region)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_whole(Path(out), text)


def _write(path: Path, text: str) -> None:
    from frugalrec.run_folder import write_whole

    write_whole(path, text)
    typer.echo(f"page: {path}", err=True)


def _line(line: Line, *, estimated: bool = False) -> dict[str, object]:
    shown = {"name": line.name, "stages": line.n, "cost": line.cost.to_dict(), "money": line.money}
    return shown | {"joules_estimate": line.joules} if estimated else shown


def _part(record: RunRecord) -> dict[str, object]:
    told = ("started", "command", "data", "machine", "watts_a_core", "watts_basis")
    return {name: getattr(record, name) for name in told}


def _told(record: RunRecord) -> str:
    from datetime import UTC, datetime

    at = None if record.started is None else datetime.fromtimestamp(record.started, UTC)
    when = "at an unknown time" if at is None else f"{at:%Y-%m-%d %H:%M}"
    return f"{when}: {record.command or 'an unknown command'}, on {record.machine.get('processor') or 'unknown'}"


def _table(first: str, lines: list[Line], sheet: PriceSheet, *, powered: bool = False) -> None:
    from rich.table import Table

    from frugalrec.cli._console import print_table

    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True, overflow="ellipsis")
    written = any(line.cost.tokens_out != 0 for line in lines)
    headings = ["stages", "seconds", "CPU seconds", "GFLOP", "tokens in", "cached", "peak MiB", sheet.currency]
    if powered:
        headings.append("joules (estimate)")
    if written:
        headings.insert(5, "tokens out")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        c = line.cost
        table.add_row(
            line.name,
            f"{line.n:,}",
            _shown(c.seconds),
            _shown(c.cpu_seconds),
            _shown(None if c.flops is None else c.flops / 1e9),
            "unknown" if c.tokens_in is None else f"{c.tokens_in:,.0f}",
            *(["unknown" if c.tokens_out is None else f"{c.tokens_out:,.0f}"] if written else []),
            "unknown" if c.tokens_cached is None else f"{c.tokens_cached:,.0f}",
            "unknown" if c.peak_bytes is None else f"{c.peak_bytes / 2**20:,.0f}",
            "unknown" if line.money is None else f"{line.money:.3g}",
            *([_shown(line.joules)] if powered else []),
        )
    print_table(table)
    typer.echo("")


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f}"


def _change(before: float | None, after: float | None, share: float | None) -> str:
    if before is None and after is None:
        return "unknown"
    if share is None:
        return f"{'unknown' if before is None else f'{before:.3g}'} → {'unknown' if after is None else f'{after:.3g}'}"
    if before == after:
        return f"{after:.3g}"
    return f"{after:.3g} ({share:+.1%})"
