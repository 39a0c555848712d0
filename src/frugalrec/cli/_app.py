"""Mounts the commands and turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

import frugalrec
from frugalrec.cli import (
    ask,
    assets,
    components,
    costs,
    data,
    demo,
    describe,
    distill,
    doctor,
    estimate,
    export_encoder,
    forecast,
    plan,
    profile,
    recommend,
    recommend_all,
)
from frugalrec.cli import run as run_command
from frugalrec.errors import FrugalrecError

INTERRUPTED = 130

app = typer.Typer(
    name="frugalrec",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""Which recommender should run on your data, what does a language model buy there, and what will it cost?

\b
Start here:
  frugalrec demo                        the whole job on MovieLens-100K, with a report
  frugalrec plan --example > my.toml    a configuration for your own data
  frugalrec plan my.toml                try every plan that applies, and choose
  frugalrec recommend --run DIR --user ID --explain
""",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(frugalrec.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command("demo")(demo.demo)
app.command("plan")(plan.plan)
app.command("estimate")(estimate.estimate)
app.command("forecast")(forecast.forecast)
app.command("run")(run_command.run)
app.command("recommend")(recommend.recommend)
app.command("recommend-all")(recommend_all.recommend_all)
app.command("distill")(distill.distill)
app.command("export-encoder")(export_encoder.export_encoder)
app.command("ask")(ask.ask)
app.command("profile")(profile.profile)
app.command("describe")(describe.describe)
app.command("components")(components.components)
app.command("doctor")(doctor.doctor)
app.add_typer(costs.app)
app.add_typer(data.app)
app.add_typer(assets.app)


def _shown(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Return what prints our warnings as a line of their own, without the line of code that gave them."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, UserWarning):
            print(f"warning: {message}", file=sys.stderr)
        else:
            otherwise(message, category, *where, **more)

    return show


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _shown(warnings.showwarning)
            code = app(args=arguments, standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except FrugalrecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python must not complain about it when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        # Wrong use of the command line. Which class says so depends on whether typer brings its own click.
        if not hasattr(error, "show"):
            raise
        error.show()
        return 2
    if code == INTERRUPTED:
        print("interrupted; what was finished is kept, and the same command goes on from there", file=sys.stderr)
    return code if isinstance(code, int) else 0
