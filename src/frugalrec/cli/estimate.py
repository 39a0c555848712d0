"""``frugalrec estimate``: what trying the plans of a configuration will take, before any of it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from frugalrec.config import Config
    from frugalrec.estimation import PlanEstimate, Range


def estimate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The configuration file.")],
    users: Annotated[
        str | None, typer.Option(metavar="N", help="As if there were so many users (100k, 2M), each as active as now.")
    ] = None,
    items: Annotated[str | None, typer.Option(metavar="N", help="As if there were so many items.")] = None,
    profile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A machine profile; default: this machine's own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what trying each plan will take: seconds, memory, tokens, money, each with a range. Nothing is computed.

    The data are read, since cost depends on them; nothing is fetched. Seconds need a machine profile (frugalrec doctor
    --calibrate). What no formula knows is shown as unknown, never as nothing. Exit code 1: memory does not suffice for
    a plan, or a cap of [study] would be broken.

    \b
    Examples:
      frugalrec estimate shop.toml
      frugalrec estimate shop.toml --users 10M --items 200k
      frugalrec estimate shop.toml --json | jq '.plans[] | {plan, seconds}'
    """
    from frugalrec import machine_profile
    from frugalrec.assets import without_fetching
    from frugalrec.cli._numbers import number_of
    from frugalrec.config import load_config
    from frugalrec.datasets import load_data
    from frugalrec.estimation import total
    from frugalrec.expectations import estimated_plans, estimator_for, not_installed, plans_of
    from frugalrec.machine import available_memory_bytes
    from frugalrec.prices import PriceSheet
    from frugalrec.trying import split_of

    settings = load_config(config)
    dataset, _ = load_data(settings.data, config.parent, offline=True, seed=settings.seed)
    prices = PriceSheet.load(config.parent / settings.prices.sheet if settings.prices.sheet else None)
    split = split_of(settings, dataset)
    estimator = estimator_for(settings, split, prices, machine_profile.load(profile))
    if users is not None or items is not None:
        estimator.shape = estimator.shape.scaled(
            users=None if users is None else number_of(users, "--users"),
            items=None if items is None else number_of(items, "--items"),
        )
    with without_fetching():
        found = estimated_plans(settings, dataset, estimator)
    seconds, money = total(found)
    memory = available_memory_bytes()
    too_large = [e.name for e in found if memory is not None and e.peak_bytes is not None and e.peak_bytes.low > memory]
    broken = over_caps(settings, found, prices.currency)
    missing = not_installed(plans_of(settings, dataset))
    if as_json:
        document = {
            "plans": [e.to_dict() for e in found],
            "total": {
                "seconds": None if seconds is None else seconds.to_dict(),
                "money": None if money is None else money.to_dict(),
                "currency": prices.currency,
            },
            "memory_available_bytes": memory,
            "too_large": too_large,
            "not_tried": missing,
            "caps_broken": broken,
        }
        typer.echo(json.dumps(document, indent=2))
    else:
        _print(found, seconds, money, prices.currency)
        for name, reason in missing.items():
            typer.echo(f"{name} will not be tried: {reason}")
        if memory is not None:
            typer.echo(f"memory that is free: {memory / 2**30:.1f} GiB")
        for name in too_large:
            typer.echo(f"{name} does not fit into memory: frugalrec plan will not start it")
        for line in (*broken, *unforeseen(settings, found)):
            typer.echo(line)
    raise typer.Exit(1 if too_large or broken else 0)


def over_caps(config: Config, estimates: list[PlanEstimate], currency: str) -> list[str]:
    """Return a line for each cap of ``[study]`` that what is known of the expected amount is above."""
    from frugalrec.estimation import total

    max_seconds, max_money = config.study.max_seconds, config.study.max_money
    seconds, money = total(estimates, known=True)
    unknown = [e.name for e in estimates if e.seconds is None or e.money is None]
    but = f", without what is unknown of {', '.join(unknown)}" if unknown else ""
    found = []
    if max_seconds is not None and seconds is not None and seconds.expected > max_seconds:
        found.append(
            f"the study is expected to take {seconds.expected:,.0f} s{but}, above max_seconds = {max_seconds:g}"
        )
    if max_money is not None and money is not None and money.expected > max_money:
        found.append(
            f"the study is expected to cost {currency} {money.expected:.2g}{but}, above max_money = {max_money:g}"
        )
    return found


def unforeseen(config: Config, estimates: list[PlanEstimate]) -> list[str]:
    """Return a line for each cap of ``[study]`` that cannot be held against anything, since nothing is known."""
    if any(e.seconds is not None for e in estimates):
        return []
    why = next((reason for e in estimates for reason in e.unknown), "no plan is estimated")
    caps = {"max_seconds": config.study.max_seconds, "max_money": config.study.max_money}
    return [f"{name} = {cap:g} cannot be foreseen: {why}" for name, cap in caps.items() if cap is not None]


def _print(found: list[PlanEstimate], seconds: Range | None, money: Range | None, currency: str) -> None:
    from rich.table import Table

    from frugalrec.cli._console import print_table
    from frugalrec.estimation import total

    table = Table(box=None, pad_edge=False)
    headings = ("encode", "tune", "fit", "evaluate", "all", "peak memory", "tokens", "request", f"{currency} a month")
    table.add_column("plan", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for e in found:
        stages, fit = e.stages, _time(e.stages["fit"].seconds, bounds=False)
        table.add_row(
            e.name,
            *(_time(stages[s].seconds, bounds=False) for s in ("encode", "tune")),
            f"({fit})" if e.fitted_by_search else fit,
            _time(stages["evaluate"].seconds, bounds=False),
            _time(e.seconds),
            _bytes(e.peak_bytes),
            _tokens(e),
            _time(stages["request"].seconds, bounds=False),
            "unknown" if e.month is None else _short(e.month.expected),
        )
    print_table(table)
    if any(e.fitted_by_search for e in found):
        typer.echo("(fit): a part of the search, and not done again after it")
    for reason in dict.fromkeys(reason for e in found for reason in e.unknown):
        names = [e.name for e in found if reason in e.unknown]
        about = "all plans" if len(names) == len(found) else ", ".join(names)
        typer.echo(f"unknown of {about}: {reason}")
    known = [e for e in found if e.seconds is not None]
    missing = [e.name for e in found if e.seconds is None]
    if seconds is None:
        seconds, money = total(known)
    spent = "" if money is None else f", {currency} {_money(money)} of compute"
    but = f" but {', '.join(missing)}" if missing else ""
    if known:
        typer.echo(f"all plans{but}, texts encoded once: {_time(seconds)}{spent}")


def _tokens(e: PlanEstimate) -> str:
    once = e.stages["encode"].tokens
    each = e.stages["request"].tokens
    shown = "unknown" if once is None else f"{once.expected:,.0f}"
    if each is None:
        return f"{shown} + unknown a request"
    return f"{shown} + {each.expected:,.0f} a request" if each.expected else shown


def _time(found: Range | None, *, bounds: bool = True) -> str:
    if found is None:
        return "unknown"
    if found.high == 0:
        return "0"
    unit, scale = ("ms", 1e3) if found.expected < 0.1 else ("s", 1.0) if found.expected < 300 else ("min", 1 / 60)
    shown = f"{_short(found.expected * scale)} {unit}"
    return f"{shown} ({_short(found.low * scale)}–{_short(found.high * scale)})" if bounds else shown


def _bytes(found: Range | None) -> str:
    if found is None:
        return "unknown"
    unit, scale = ("MiB", 2.0**20) if found.expected < 2**30 else ("GiB", 2.0**30)
    return f"{_short(found.expected / scale)} {unit} ({_short(found.low / scale)}–{_short(found.high / scale)})"


def _money(found: Range | None) -> str:
    return "unknown" if found is None else f"{found.expected:.2g} ({found.low:.2g}–{found.high:.2g})"


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
