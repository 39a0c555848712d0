"""What compute costs in money: the `PriceSheet`. ``prices.toml``, beside this file, is the one that comes along."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from frugalrec.cost import Cost
from frugalrec.errors import ConfigError, PriceError, nearest
from frugalrec.price_tables import Hardware, check_tables, token_prices


@dataclass(frozen=True)
class PriceSheet:
    """Prices of compute, dated and sourced. A price that is not on the sheet is a `PriceError`, never zero.

    ``machine_hour``: price of the machine for an hour; ``cores``: how many cores that buys; ``gpu_hour`` and
    ``tokens`` (per million: ``{model: {"in": …, "out": …, "cached": …}}``) where something uses them.
    """

    currency: str
    machine: str
    machine_hour: float
    cores: float
    memory_gib: float
    source: str
    date: str
    gpu_hour: float | None = None
    kwh: float | None = None
    tokens: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tokens_from: str = ""
    storage_gib_month: float | None = None
    egress_gib: float | None = None
    machines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    carbon: Mapping[str, float] = field(default_factory=dict)
    region: str = ""

    @classmethod
    def load(cls, path: Path | None = None) -> PriceSheet:
        """Read a TOML price sheet; without ``path``, the one that comes with frugalrec."""
        if path is None:
            text = resources.files("frugalrec").joinpath("prices.toml").read_text(encoding="utf-8")
        else:
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise ConfigError(f"{path}: cannot read the price sheet: {reason}") from error
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not valid TOML: {error}") from error
        known = {f.name for f in fields(cls)}
        for key in table:
            if key not in known:
                near = nearest(key, known)
                raise ConfigError(
                    f"{path}: unknown key '{key}' in the price sheet",
                    hint=f"did you mean '{near}'?" if near else f"known: {', '.join(sorted(known))}",
                )
        missing = [
            k
            for k in ("currency", "machine", "machine_hour", "cores", "memory_gib", "source", "date")
            if k not in table
        ]
        if missing:
            raise ConfigError(f"{path}: the price sheet lacks {', '.join(missing)}")
        table["date"] = str(table["date"])
        try:
            date.fromisoformat(table["date"])
        except ValueError as error:
            raise ConfigError(
                f"{path}: 'date' must be a day, not {table['date']!r}", hint="write the day of the prices: 2026-01-31"
            ) from error
        for key in ("currency", "machine", "source"):
            if not isinstance(table[key], str) or not table[key].strip():
                raise ConfigError(f"{path}: '{key}' must be text, not {table[key]!r}")
        for key in ("machine_hour", "cores", "memory_gib", "gpu_hour", "kwh", "storage_gib_month", "egress_gib"):
            if key in table and not _is_price(table[key]):
                raise ConfigError(f"{path}: '{key}' must be a number of at least 0, not {table[key]!r}")
        tokens = table.get("tokens", {})
        if not isinstance(tokens, dict) or not all(isinstance(prices, dict) for prices in tokens.values()):
            raise ConfigError(
                f"{path}: 'tokens' must be a table a model, not {tokens!r}", hint='write [tokens."the model"]'
            )
        for model, prices in tokens.items():
            for key, price in prices.items():
                if (key in ("currency", "source") and isinstance(price, str)) or key == "date":
                    continue
                if key not in ("in", "out", "cached") or not _is_price(price):
                    raise ConfigError(
                        f'{path}: [tokens."{model}"] takes prices of at least 0 for in, out and cached, '
                        f"not {key} = {price!r}"
                    )
        check_tables(table, f"{path}")
        if table["cores"] <= 0:
            raise ConfigError(f"{path}: 'cores' must be above 0")
        return cls(**table)

    def fingerprint(self) -> str:
        """Return a short hash of every price on the sheet."""
        text = json.dumps({f.name: getattr(self, f.name) for f in fields(self)}, sort_keys=True, default=str)
        return sha256(text.encode()).hexdigest()[:16]

    def price(self, cost: Cost) -> float | None:
        """Return what ``cost`` costs in ``currency``: fees, and CPU and GPU time at their prices.

        Unknown CPU time or unknown fees make the price unknown (``None``). GPU time without a GPU price raises
        `PriceError`.
        """
        if cost.cpu_seconds is None or cost.gpu_seconds is None or cost.fees is None:
            return None
        money = cost.fees + cost.cpu_seconds / 3600 * self.machine_hour / self.cores
        if cost.gpu_seconds:
            if self.gpu_hour is None:
                raise PriceError(
                    "GPU time was spent but the price sheet has no 'gpu_hour'",
                    hint="add gpu_hour = … to the price sheet",
                )
            money += cost.gpu_seconds / 3600 * self.gpu_hour
        return money

    def exchanged(self, amount: float, currency: str | None) -> float:
        """Return an amount in the sheet's currency; raises `PriceError` where [rates] does not say how."""
        if currency is None or currency == self.currency:
            return amount
        if currency not in self.rates:
            raise PriceError(
                f"a price is in {currency}, the sheet in {self.currency}, and [rates] has no {currency}",
                hint=f"add {currency} = … (one {currency} in {self.currency}) to [rates] of the price sheet",
            )
        return amount * self.rates[currency]

    def hardware(self, name: str) -> Hardware:
        """Return a machine of ``[machines]``, its price in the sheet's currency; raises `PriceError` when not there."""
        if name not in self.machines:
            raise PriceError(
                f"no machine '{name}' on the price sheet",
                hint=f"known: {', '.join(sorted(self.machines)) or 'none'}; add [machines.{name}] to it",
            )
        table = self.machines[name]
        found = {f.name: table[f.name] for f in fields(Hardware) if f.name in table}
        found["date"] = str(found.get("date", ""))  # TOML has days of its own
        return Hardware(**{"name": name, **found, "hour": self.exchanged(table["hour"], table.get("currency"))})

    def carbon_of(self, region: str = "") -> float:
        """Return kg CO2e a kWh of a region's grid, by default the sheet's own; raises `PriceError` when unknown."""
        region = region or self.region
        if region not in self.carbon:
            raise PriceError(
                f"no carbon intensity of the region '{region}' on the price sheet",
                hint=f"known: {', '.join(sorted(self.carbon)) or 'none'}; add it to [carbon], in kg CO2e a kWh",
            )
        return self.carbon[region]

    def price_tokens(
        self, model: str, *, tokens_in: float, tokens_out: float = 0.0, tokens_cached: float = 0.0
    ) -> float:
        """Return the price of tokens bought from ``model``'s provider; raises `PriceError` when it is not listed."""
        try:
            prices: Mapping[str, Any] = self.tokens.get(model) or token_prices(self.tokens_from, model)
            amount = float(
                tokens_in * prices["in"]
                + (tokens_out * prices["out"] if tokens_out else 0.0)
                + (tokens_cached * prices["cached"] if tokens_cached else 0.0)
            )
            return self.exchanged(amount / 1e6, prices.get("currency"))
        except KeyError as error:
            raise PriceError(
                f"no token price for '{model}' ({error.args[0]!r} is missing)",
                hint=f'add [tokens."{model}"] with "in", "out" and "cached" to the price sheet',
            ) from error


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
