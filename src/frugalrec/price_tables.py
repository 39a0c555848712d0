"""Tables of a price sheet: machines to rent, currencies, carbon of grids, and tokens from a published list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from frugalrec.errors import ConfigError, MissingExtraError, nearest


@dataclass(frozen=True)
class Hardware:
    """A machine to rent. ``hour``: its price in the sheet's currency; ``watts`` under load, of the whole machine.

    For machines with ``gpus``: memory and bandwidth of one of them, in GiB and GB/s, and its dense half-precision
    ``gpu_tflops``. What is None is unknown, and so is whatever needs it. ``speed`` is how fast one core is, the
    machine that was measured being 1. ``own``: its electricity is paid beside the hour, by the sheet's ``kwh``.
    """

    name: str
    hour: float
    cores: float
    memory_gib: float
    watts: float | None = None
    gpus: float = 0
    gpu_memory_gib: float | None = None
    gpu_bandwidth_gb_s: float | None = None
    gpu_tflops: float | None = None
    network_gb_s: float | None = None
    speed: float = 1.0
    own: bool = False
    source: str = ""
    date: str = ""


def check_tables(table: Mapping[str, Any], where: str) -> None:
    """Raise `ConfigError` naming the key unless [machines], [rates] and [carbon] of a price sheet are right."""
    if not isinstance(table.get("tokens_from", ""), str) or table.get("tokens_from", "") not in ("", "genai-prices"):
        raise ConfigError(f"{where}: 'tokens_from' must be \"genai-prices\", not {table['tokens_from']!r}")
    if not isinstance(table.get("region", ""), str):
        raise ConfigError(f"{where}: 'region' must be text, not {table['region']!r}")
    for name, unit in (("rates", "a rate"), ("carbon", "kg CO2e a kWh")):
        values = table.get(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{where}: [{name}] must be a table, not {values!r}")
        for key, value in values.items():
            if not _amount(value) or (name == "rates" and value == 0):
                raise ConfigError(f"{where}: [{name}] {key} must be {unit} above 0, not {value!r}")
    machines = table.get("machines", {})
    if not isinstance(machines, dict) or not all(isinstance(m, dict) for m in machines.values()):
        raise ConfigError(f"{where}: 'machines' must be a table a machine", hint="write [machines.cpu-16]")
    known = {f.name for f in fields(Hardware)} - {"name"} | {"currency"}
    for name, machine in machines.items():
        for key, value in machine.items():
            if key not in known:
                near = nearest(key, known)
                hint = f"did you mean '{near}'?" if near else f"known: {', '.join(sorted(known))}"
                raise ConfigError(f"{where}: unknown key '{key}' in [machines.{name}]", hint=hint)
            if key == "date":
                continue
            if key in ("source", "currency"):
                right, expected = isinstance(value, str), "text"
            elif key == "own":
                right, expected = isinstance(value, bool), "true or false"
            else:
                right, expected = _amount(value), "a number of at least 0"
            if not right:
                raise ConfigError(f"{where}: [machines.{name}] {key} must be {expected}, not {value!r}")
        lacking = [key for key in ("hour", "cores", "memory_gib") if key not in machine]
        if lacking:
            raise ConfigError(f"{where}: [machines.{name}] lacks {', '.join(lacking)}")
        if machine["cores"] <= 0 or machine["memory_gib"] <= 0:
            raise ConfigError(f"{where}: [machines.{name}] needs cores and memory_gib above 0")


@lru_cache(maxsize=256)
def token_prices(source: str, model: str) -> dict[str, float]:
    """Return prices in USD of a million tokens (``in``, ``out``, ``cached``) from the list that comes with a package.

    Nothing is fetched: genai-prices carries its list. ``model`` is a name, or provider/name. Raises `KeyError` where
    ``source`` is empty or does not list the model, and `MissingExtraError` when the package is not there.
    """
    if source != "genai-prices":
        raise KeyError(model)
    try:
        from genai_prices import Usage, calc_price
    except ImportError as error:
        raise MissingExtraError.of("genai-prices", "prices") from error
    provider, _, name = model.rpartition("/")
    # Some models cost more a token in long requests: asked for by the thousand, so that the usual price comes.
    thousand = 1_000
    usages = {
        "in": Usage(input_tokens=thousand),
        "out": Usage(output_tokens=thousand),
        # A cached token is an input token at another price.
        "cached": Usage(input_tokens=thousand, cache_read_tokens=thousand),
    }
    try:
        found = {
            kind: float(calc_price(usage, model_ref=name, provider_id=provider or None).total_price) * 1_000
            for kind, usage in usages.items()
        }
    except LookupError as error:
        raise KeyError(model) from error
    return {**found, "currency": "USD"}  # type: ignore[dict-item]


def _amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


__all__ = ["Hardware", "check_tables", "token_prices"]
