"""Large numbers as people write them."""

from __future__ import annotations

import math
import re

from frugalrec.errors import ConfigError

_SUFFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}


def number_of(text: str, what: str, *, above: float = 0.0) -> float:
    """Return the number that ``text`` says, with k, M or G for thousands, millions and thousand millions.

    Raises `ConfigError` naming ``what`` unless it is a number above ``above``.

    >>> number_of("20k", "--requests-per-second"), number_of("100M", "--users"), number_of("1_000", "--items")
    (20000.0, 100000000.0, 1000.0)
    """
    match = re.fullmatch(r"\s*([+-]?[\d_,]*\.?\d*(?:[eE][+-]?\d+)?)\s*([kKmMgGbB]?)\s*", text)
    digits = match[1].replace("_", "").replace(",", "") if match else ""
    try:
        value = float(digits) * _SUFFIXES[match[2].lower()] if match else math.nan
    except ValueError:
        value = math.nan
    if not (above < value < math.inf):
        raise ConfigError(f"{what} must be a number above {above:g}, not '{text}'", hint="write 20000, 20k, 5M or 1.5G")
    return value


__all__ = ["number_of"]
