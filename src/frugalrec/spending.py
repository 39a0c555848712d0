"""A hard limit on money: reserved before a call, refused at the cap, settled after.

Whoever runs something opens `metering` with a price sheet and a cap. Components that buy tokens ask `purchase` before
each call, those that compute at home ask `computing`. Without a meter nothing is limited, and what was bought is known
in tokens but not in money.
"""

from __future__ import annotations

import contextvars
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from frugalrec.cost import Cost, Ledger, charge
from frugalrec.errors import BudgetError, ConfigError
from frugalrec.prices import PriceSheet

UNKNOWN = "unknown"
"""The explicit price of what nobody can price: every sum that it is part of is unknown."""

MARGIN = 1.5
"""How much more than at the rate measured so far is reserved for computing at home."""


class SpendCap:
    """A sum of money that must not be spent beyond ``limit`` (None: only counted); safe to share between threads.

    ``spent`` is what was settled, None once a part of it is unknown; ``reserved`` is held for calls under way. What
    settles above its reservation still counts in full, so a reservation should be an upper bound. With ``path``, every
    settled sum is kept there at once (JSON lines), and a cap opened on it again goes on from their total.

    >>> cap = SpendCap(1.0)
    >>> with cap.reserve(0.8) as reservation:
    ...     reservation.settle(0.25)
    >>> cap.spent, cap.left
    (0.25, 0.75)
    """

    def __init__(self, limit: float | None = None, *, currency: str = "", path: Path | None = None) -> None:
        if limit is not None and not (limit > 0 and math.isfinite(limit)):
            raise ConfigError(f"a spend cap must be above 0, not {limit}")
        self.limit, self.currency, self.path = limit, currency, path
        self.refusals = 0
        self._lock = threading.Lock()
        self._reserved = 0.0
        self._spent: float | None = 0.0
        for amount in _kept(path):
            self._spent = None if self._spent is None or amount is None else self._spent + amount

    @property
    def spent(self) -> float | None:
        """Money settled so far; None when a part of it is unknown."""
        return self._spent

    @property
    def reserved(self) -> float:
        """Money held for calls under way."""
        return self._reserved

    @property
    def left(self) -> float | None:
        """Money that may still be reserved; None without a limit, or when what was spent is unknown."""
        with self._lock:
            if self.limit is None or self._spent is None:
                return None
            return max(0.0, self.limit - self._spent - self._reserved)

    def reserve(self, amount: float | None, *, what: str = "this call") -> Reservation:
        """Hold ``amount`` for a call; raises `BudgetError` when it does not fit, or is unknown under a limit."""
        if amount is not None and not (amount >= 0 and math.isfinite(amount)):
            raise ValueError(f"expected an amount of at least 0, got {amount}")
        with self._lock:
            if self.limit is not None:
                if amount is None or self._spent is None:
                    self.refusals += 1
                    raise BudgetError(
                        f"the price of {what} is unknown, so that a cap of {self._money(self.limit)} cannot be kept",
                        hint="put its price on the price sheet, or set no cap",
                    )
                full = self._spent + self._reserved >= self.limit
                if full or self._spent + self._reserved + amount > self.limit:
                    self.refusals += 1
                    raise BudgetError(
                        f"{what} may cost up to {self._money(amount)}; of the cap of {self._money(self.limit)}, "
                        f"{self._money(self._spent)} are spent and {self._money(self._reserved)} reserved",
                        hint="raise the cap ([budget] lm_dollars), or ask for less",
                    )
            self._reserved += amount or 0.0
        return Reservation(self, amount)

    def _settle(self, held: float, actual: float | None) -> None:
        with self._lock:
            self._reserved = max(0.0, self._reserved - held)
            self._spent = None if self._spent is None or actual is None else self._spent + actual
            if self.path is not None and actual != 0:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(actual) + "\n")

    def _money(self, amount: float) -> str:
        return f"{self.currency} {amount:.6g}".strip()


class Reservation:
    """Money held for one call. Leaving the block unsettled counts it as spent: the call may have been billed."""

    def __init__(self, cap: SpendCap, amount: float | None) -> None:
        self._cap, self.amount, self._open = cap, amount, True

    def settle(self, actual: float | None) -> None:
        """Say what the call cost in the end; None when nobody knows."""
        if self._open:
            self._open = False
            self._cap._settle(self.amount or 0.0, actual)

    def release(self) -> None:
        """Say that the call never happened."""
        self.settle(0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle(self.amount)


@dataclass(frozen=True)
class Meter:
    """Prices and the cap that hold for whatever runs inside `metering`."""

    prices: PriceSheet
    cap: SpendCap


_ambient: contextvars.ContextVar[Meter | None] = contextvars.ContextVar("frugalrec_meter", default=None)


@contextmanager
def metering(prices: PriceSheet, cap: SpendCap | None = None) -> Iterator[SpendCap]:
    """Price and limit everything inside the block by ``prices`` and ``cap``; yields the cap.

    Threads must be started with `frugalrec.cost.with_context`, as for charges.
    """
    cap = cap if cap is not None else SpendCap(currency=prices.currency)
    token = _ambient.set(Meter(prices, cap))
    try:
        yield cap
    finally:
        _ambient.reset(token)


@dataclass
class Purchase:
    """Tokens being bought. `settle` says how many it were, and charges them as fees."""

    model: str
    price: str
    _meter: Meter | None
    _reservation: Reservation | None
    _settled: bool = field(default=False)

    def settle(self, *, tokens_in: float, tokens_out: float = 0.0, tokens_cached: float = 0.0) -> None:
        """Charge what was bought: ``tokens_in`` at the price for reading, of which ``tokens_cached`` at theirs."""
        self._settled = True
        fees = None
        if self._meter is not None:
            fees = _price(
                self._meter.prices, self.model, self.price, tokens_in - tokens_cached, tokens_out, tokens_cached
            )
        charge(fees=fees)
        if self._reservation is not None:
            self._reservation.settle(fees)

    def release(self) -> None:
        """Say that nothing was bought: the request was refused before any work was done."""
        self._settled = True
        if self._reservation is not None:
            self._reservation.release()


@contextmanager
def purchase(model: str, *, tokens_in: float, tokens_out: float = 0.0, price: str = "") -> Iterator[Purchase]:
    """Reserve the price of at most so many tokens of ``model`` for the block, which must settle the purchase.

    Raises `PriceError` when the sheet does not list the model (unless ``price`` is "unknown"), and `BudgetError` at the
    cap. What is not settled, because the call failed on the way, counts as spent in full.
    """
    if price not in ("", UNKNOWN):
        raise ConfigError(
            f"price must be left out or 'unknown', not '{price}'", hint="prices of tokens stand on the price sheet"
        )
    meter = _ambient.get()
    if meter is None:
        bought = Purchase(model, price, None, None)
        yield bought
        if not bought._settled:
            charge(fees=None)
        return
    amount = _price(meter.prices, model, price, tokens_in, tokens_out, 0.0)
    with meter.cap.reserve(amount, what=f"a call of {model}") as reservation:
        bought = Purchase(model, price, meter, reservation)
        try:
            yield bought
        finally:
            if not bought._settled:
                charge(fees=amount)


class Rate:
    """What computing at home has cost for each unit of work so far; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._money = self._units = 0.0

    def expected(self, units: float) -> float:
        """Return what ``units`` will cost at the rate so far, with a margin; 0 before anything is known."""
        with self._lock:
            return MARGIN * units * self._money / self._units if self._units else 0.0

    def add(self, units: float, money: float) -> None:
        """Note that ``units`` cost ``money``."""
        with self._lock:
            self._units += units
            self._money += money


@contextmanager
def computing(what: str, units: float, rate: Rate) -> Iterator[None]:
    """Reserve the price of computing ``units`` (tokens, characters) at home, and settle it by the time it took.

    A price by time is only known afterwards: what is reserved goes by ``rate``, so one call (the first, or an
    unusually slow one) may end above the cap, and no call begins there.
    """
    meter = _ambient.get()
    if meter is None or units <= 0:
        yield
        return
    with meter.cap.reserve(rate.expected(units), what=f"a call of {what}") as reservation:
        with Ledger().span("compute") as span:
            yield
        assert span.entry is not None
        # Fees are settled where they are bought; here it is about time alone.
        time = Cost(cpu_seconds=span.entry.cost.cpu_seconds, gpu_seconds=span.entry.cost.gpu_seconds, fees=0.0)
        money = meter.prices.price(time)
        reservation.settle(money)
        rate.add(units, money or 0.0)


def _price(
    prices: PriceSheet, model: str, price: str, tokens_in: float, tokens_out: float, cached: float
) -> float | None:
    if price == UNKNOWN:
        return None
    return prices.price_tokens(model, tokens_in=tokens_in, tokens_out=tokens_out, tokens_cached=cached)


def _kept(path: Path | None) -> Iterator[float | None]:
    if path is None or not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            amount = json.loads(line)
        except ValueError:
            amount = None  # half a line: something was spent, and nobody knows how much
        yield float(amount) if isinstance(amount, int | float) and not isinstance(amount, bool) else None


__all__ = ["UNKNOWN", "Meter", "Purchase", "Rate", "Reservation", "SpendCap", "computing", "metering", "purchase"]
