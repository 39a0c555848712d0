"""``frugalrec plan``: the whole job on your own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plan(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG.toml", help="The configuration file.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: CONFIG's name with -run, beside it.")
    ] = None,
    on_bad_rows: Annotated[
        str | None, typer.Option(metavar="error|skip|report", help="What to do with wrong rows; overrides the file.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do finished plans again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision and all trials as JSON.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a configuration with comments and exit.")] = False,
) -> None:
    """Try every plan that applies to your data, and choose the cheapest that is good enough within the budget.

    Writes plan.toml (the choice), trials.jsonl, ledger.jsonl, decision.json, model/ and report.html. Interrupted, the
    same command goes on where it stopped. Exit code 1: no plan is feasible; the nearest miss is named.

    \b
    Examples:
      frugalrec plan --example > shop.toml
      frugalrec plan shop.toml
      frugalrec plan shop.toml --json | jq .decision.plan
      frugalrec plan shop.toml --on-bad-rows skip
    """
    from frugalrec.config import EXAMPLE, load_config, parse_config
    from frugalrec.errors import ConfigError

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    if config is None:
        raise ConfigError("no configuration given", hint="frugalrec plan --example > my.toml, then edit it")
    settings = load_config(config)
    if on_bad_rows is not None:
        table = settings.model_dump(exclude_unset=True)
        table["data"]["on_bad_rows"] = on_bad_rows
        settings = parse_config(table, "--on-bad-rows")
    from frugalrec.cli._study import run_study

    folder = out if out is not None else config.with_name(f"{config.stem}-run")
    command = f"frugalrec plan {config}"
    raise typer.Exit(run_study(settings, config.parent, folder, command, offline=offline, as_json=as_json, fresh=fresh))
