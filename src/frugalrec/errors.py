"""Every error frugalrec raises on purpose.

    FrugalrecError
    ├── DataError           (ValueError)   a file, row or column is not what was declared
    ├── ConfigError         (ValueError)   a configuration or plan file is wrong
    ├── UnknownNameError    (KeyError)     a name that nothing answers to: component, user, item, asset
    ├── NotFittedError      (RuntimeError) used before ``fit``
    ├── MissingExtraError   (ImportError)  an optional dependency is not installed
    ├── AssetError          (OSError)      a data set or weights could not be had, or failed their checksum
    ├── PriceError          (LookupError)  a price that is not on the sheet
    └── BudgetError         (RuntimeError) a spend cap would be broken

A message says what was expected, what came and where; ``hint`` says what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FrugalrecError(Exception):
    """Base of every deliberate error. ``hint`` is one imperative sentence, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class DataError(FrugalrecError, ValueError):
    """A file, row or column is not what was declared."""


class ConfigError(FrugalrecError, ValueError):
    """A configuration or plan file is wrong."""


class UnknownNameError(FrugalrecError, KeyError):
    """A name that nothing answers to."""

    @classmethod
    def of(cls, what: str, name: str, known: Iterable[str], *, where: str = "") -> UnknownNameError:
        """Build the error for an unknown ``what`` called ``name``, naming the nearest known one."""
        known = sorted(known)
        near = nearest(name, known)
        place = f" in {where}" if where else ""
        if near:
            hint = f"did you mean '{near}'?"
        elif known:
            shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
            hint = f"known: {shown}"
        else:
            hint = ""
        return cls(f"unknown {what} '{name}'{place}", hint=hint)


class NotFittedError(FrugalrecError, RuntimeError):
    """A component was used before ``fit``."""


class MissingExtraError(FrugalrecError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """Build the error for ``package``, which the extra ``extra`` installs."""
        return cls(f"'{package}' is not installed", hint=f"pip install 'frugalrec[{extra}]'")


class AssetError(FrugalrecError, OSError):
    """A data set or model weights could not be had, or failed their checksum."""


class PriceError(FrugalrecError, LookupError):
    """A price that is not on the price sheet."""


class BudgetError(FrugalrecError, RuntimeError):
    """A spend cap would be broken."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to ``name``, or None when none is close."""
    folded = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None
