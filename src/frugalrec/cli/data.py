"""``frugalrec data``: the data sets that can be had by name, and a look into your own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Data sets: list those that can be fetched by name, inspect any.

\b
Examples:
  frugalrec data list
  frugalrec data inspect movielens-100k
  frugalrec data inspect shop.toml
""",
)


@app.command("list")
def list_data() -> None:
    """List the data sets that ``[data] dataset = "…"`` can name."""
    from frugalrec import assets
    from frugalrec.datasets import NAMED

    for name in NAMED:
        asset = assets.ASSETS[name]
        typer.echo(f"{name:<20}{asset.description}")
        typer.echo(f"{'':<20}licence: {asset.licence}")


@app.command()
def inspect(
    what: Annotated[str, typer.Argument(metavar="NAME|CONFIG.toml", help="A data set by name, or a configuration.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
) -> None:
    """Load a data set and say what is in it: counts, sparsity, histories, ties in time, text, wrong rows.

    \b
    Examples:
      frugalrec data inspect movielens-100k
      frugalrec data inspect shop.toml --json
    """
    import numpy as np

    from frugalrec.cli.assets import shown_on_stderr
    from frugalrec.config import DataSection, load_config
    from frugalrec.datasets import load_data

    is_file = what.endswith(".toml")
    section = load_config(Path(what)).data if is_file else DataSection(dataset=what)
    base = Path(what).parent if is_file else Path()
    with shown_on_stderr() as (notify, progress):
        dataset, report = load_data(section, base, offline=offline, notify=notify, progress=progress)
    log = dataset.interactions
    lengths = np.diff(log.offsets)
    lengths = lengths[lengths > 0]
    texts = dataset.catalog.texts()
    found = {
        "users": len(lengths),
        "items": dataset.n_items,
        "items without events": int(np.count_nonzero(log.popularity == 0)),
        "events": len(log),
        "density": len(log) / max(1, len(lengths) * dataset.n_items),
        "events a user (min, median, max)": [int(lengths.min()), float(np.median(lengths)), int(lengths.max())],
        "timestamps": log.timestamp is not None,
        "ratings": log.value is not None,
        "text": list(dataset.catalog.text),
        "items without text": sum(not t for t in texts),
        "longest text (characters)": max((len(t) for t in texts), default=0),
    }
    if as_json:
        typer.echo(json.dumps({"data": dataset.name, **found, "report": report.to_dict()}, indent=2))
        return
    for name, value in found.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        shown = ("yes" if value else "no") if isinstance(value, bool) else shown
        typer.echo(f"{name:<36}{shown:,}" if isinstance(shown, int) else f"{name:<36}{shown}")
    for line in report.lines():
        typer.echo(line)
