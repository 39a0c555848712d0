"""``frugalrec doctor``: is everything here, and how will it compute?"""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the machine, the threads and BLAS that will compute, missing extras, and cached assets.

    \b
    Examples:
      frugalrec doctor
      FRUGALREC_THREADS=1 frugalrec doctor
    """
    from frugalrec import assets
    from frugalrec.machine import describe, missing_extras

    machine = describe()
    cached = [status.asset.name for status in assets.status() if status.variant is not None]
    if as_json:
        found = {"machine": machine, "missing_extras": missing_extras(), "cached_assets": cached}
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in machine.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{name.replace('_', ' '):<14}{'unknown' if shown is None else shown}")
    typer.echo(f"{'cache':<14}{assets.cache_dir()}")
    typer.echo(f"{'assets':<14}{', '.join(cached) or 'none cached yet: frugalrec assets list'}")
    for name, why in missing_extras().items():
        typer.echo(f"{'missing':<14}{why}: pip install 'frugalrec[{name}]'")
