"""``frugalrec doctor``: is everything here, and how will it compute?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this machine (at most a minute) and keep its profile.")
    ] = False,
    tdp_watts: Annotated[
        float | None,
        typer.Option(min=0.1, help="Power of the processor, where the machine does not measure its own energy."),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=1.0,
            help="CPU seconds, or four times as many by the clock, after which none is begun; more than a minute "
            "measure at more moments, for a machine that others share.",
        ),
    ] = 53.0,
    llm: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="A language model of your own to measure: a GGUF file, or a folder."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget earlier calibrations instead of taking the middle of the last five.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.html|FILE.svg", help="Where to draw the roofline; default: the cache.")
    ] = None,
) -> None:
    """Show the machine, the threads and BLAS that will compute, missing extras, cached assets, and its profile.

    With --calibrate, measure how fast it does every kind of work that cost formulas are made of. Estimates of time need
    that profile. A machine that others share is fast in one minute and slow in another: calibrate it a few times, some
    minutes apart; the middle of the last five counts. Nothing is fetched: models that are not installed or cached are
    left out. A model that plans name by its path (a GGUF file of the llm llama-cpp, a folder of the llm transformers)
    is measured with --llm.

    \b
    Examples:
      frugalrec doctor
      FRUGALREC_THREADS=1 frugalrec doctor
      frugalrec doctor --calibrate
      frugalrec doctor --calibrate --llm models/smollm2-135m
    """
    from frugalrec import assets, machine_profile
    from frugalrec.machine import describe, missing_extras

    if calibrate:
        _calibrate(tdp_watts, seconds, llm or [], plot, fresh=fresh, as_json=as_json)
        return
    machine = describe()
    cached = [status.asset.name for status in assets.status() if status.variant is not None]
    profile = machine_profile.load()
    if as_json:
        found = {
            "machine": machine,
            "missing_extras": missing_extras(),
            "cached_assets": cached,
            "profile": None if profile is None else profile.to_dict(),
        }
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in machine.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{name.replace('_', ' '):<14}{'unknown' if shown is None else shown}")
    typer.echo(f"{'cache':<14}{assets.cache_dir()}")
    typer.echo(f"{'assets':<14}{', '.join(cached) or 'none cached yet: frugalrec assets list'}")
    measured = "none yet: frugalrec doctor --calibrate"
    if profile is not None:
        advice = ", ".join(f"{n} for {name}" for name, n in profile.threads.items())
        measured = f"measured {profile.created}; threads to take: {advice or 'unknown'}"
    typer.echo(f"{'profile':<14}{measured}")
    for name, why in missing_extras().items():
        typer.echo(f"{'missing':<14}{why}: pip install 'frugalrec[{name}]'")


def _calibrate(
    tdp_watts: float | None, seconds: float, own: list[Path], plot: Path | None, *, fresh: bool, as_json: bool
) -> None:
    from rich.console import Console
    from rich.table import Table

    from frugalrec import machine_profile
    from frugalrec.calibration import calibrate
    from frugalrec.cli._console import shown_progress
    from frugalrec.report import profile_page
    from frugalrec.report._roofline import roofline
    from frugalrec.report.page import standalone
    from frugalrec.run_folder import write_whole

    with shown_progress() as say:
        measured = calibrate(tdp_watts=tdp_watts, seconds=seconds, language_models=own)
        profile = measured.after(None if fresh else machine_profile.known())
        path = profile.save()
        drawn = path.with_suffix(".html") if plot is None else plot
        write_whole(drawn, standalone(roofline(profile)) if drawn.suffix == ".svg" else profile_page.render(profile))
        say(f"profile: {path}")
        say(f"roofline: {drawn}")
    if as_json:
        typer.echo(json.dumps(profile.to_dict(), indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading, right in (("kind of work", False), ("threads", True), ("size", True), ("rate", True)):
        table.add_column(heading, justify="right" if right else "left")
    for cells in profile_page.rows(profile):
        table.add_row(*cells)
    Console().print(table)
    for line in profile_page.lines(profile):
        typer.echo(line)
