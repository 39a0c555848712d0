"""Numbers and reasons as people read them. Unknown is "unknown", never 0."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Reason
from frugalrec.plan import Spec
from frugalrec.significance import Estimate

UNKNOWN = "unknown"
TITLE_LENGTH = 80
"""Titles are cut here, in characters: some catalogues hold whole sentences."""

_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BY_HISTORY = "history"
_ABBREVIATIONS = frozenset({"auc", "hr", "mae", "map", "mrr", "ndcg", "rmse"})


def plain(text: str, *, lines: bool = False) -> str:
    """Return ``text`` without what could disturb a terminal or a page: control codes, lone surrogates, bidi overrides.

    White space becomes single spaces, unless ``lines``.

    >>> plain("Heat\\x1b[31m  (1995)")
    'Heat[31m (1995)'
    """
    if not text.isascii() or not text.isprintable():
        text = "".join(
            c
            for c in text.encode("utf-8", "replace").decode()
            if c not in _BIDI and (c in "\n\t" or unicodedata.category(c) != "Cc")
        )
    return text if lines else " ".join(text.split())


def shorten(text: str, length: int = TITLE_LENGTH) -> str:
    """Return ``text`` in one line of at most ``length`` characters, ending in … where it was cut.

    >>> shorten("a  long title", 8)
    'a long …'
    """
    text = plain(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def count(n: float | None) -> str:
    """Return a whole number with thousands apart.

    >>> count(1000209)
    '1,000,209'
    """
    return UNKNOWN if n is None else f"{n:,.0f}"


def counted(n: int, thing: str) -> str:
    """Return a count and what is counted, in the plural where there are several.

    >>> counted(1, "plan"), counted(12, "plan")
    ('1 plan', '12 plans')
    """
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def three_digits(value: float) -> str:
    """Return ``value`` with about three significant digits, never an exponent.

    >>> three_digits(14.23), three_digits(0.5), three_digits(1234.5)
    ('14.2', '0.50', '1,234')
    """
    return f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:,.0f}"


def factor(ratio: float) -> str:
    """Return how many times something is something else.

    >>> factor(1.0449), factor(1.6), factor(23.4)
    ('1.04', '1.6', '23')
    """
    return f"{ratio:.2f}" if ratio < 1.5 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"


def round_figure(value: float) -> str:
    """Return a number to two significant digits, without an exponent.

    >>> round_figure(123456), round_figure(1.49), round_figure(0.026)
    ('120,000', '1.5', '0.026')
    """
    if value >= 10:
        return f"{float(f'{value:.2g}'):,.0f}"
    return f"{float(f'{value:.2g}')}"


def duration(seconds: float | None) -> str:
    """Return a length of time in the unit that suits it.

    >>> duration(0.00042), duration(0.0351), duration(200), duration(7500), duration(None)
    ('420 µs', '35.1 ms', '3 min 20 s', '2 h 5 min', 'unknown')
    """
    if seconds is None:
        return UNKNOWN
    if seconds <= 0:
        return "0 s"
    if seconds < 1e-6:
        return "<1 µs"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (60.0, 1.0, "s")):
        if seconds < limit:
            return f"{three_digits(seconds * factor)} {unit}"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    days = seconds / 86400
    return f"{three_digits(days)} days" if days < 730 else f"{three_digits(days / 365.25)} years"


def size(n_bytes: float | None) -> str:
    """Return an amount of memory.

    >>> size(512), size(46 * 2**20), size(None)
    ('512 B', '46.0 MiB', 'unknown')
    """
    if n_bytes is None:
        return UNKNOWN
    for power, unit in ((0, "B"), (1, "KiB"), (2, "MiB"), (3, "GiB")):
        if n_bytes < 1024 ** (power + 1):
            return f"{n_bytes:.0f} B" if power == 0 else f"{three_digits(n_bytes / 1024**power)} {unit}"
    return f"{three_digits(n_bytes / 1024**4)} TiB"


def amount(value: float | None) -> str:
    """Return a sum of money without its currency; small ones keep two significant digits.

    >>> amount(0.000123), amount(4.2), amount(12345.6), amount(0), amount(None)
    ('0.00012', '4.20', '12,346', '0', 'unknown')
    """
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if value < 1e-6:
        return "<0.000001"
    if value < 1000:
        return f"{value:.{max(2, 1 - math.floor(math.log10(value)))}f}"
    for limit, unit in ((1e9, "billion"), (1e6, "million")):
        if value >= limit:
            return f"{three_digits(value / limit)} {unit}"
    return f"{value:,.0f}"


def money(value: float | None, currency: str) -> str:
    """Return a sum of money.

    >>> money(0.000123, "USD"), money(1e-9, "USD"), money(None, "USD")
    ('USD 0.00012', '<USD 0.000001', 'unknown')
    """
    if value is None:
        return UNKNOWN
    less = amount(value).startswith("<")
    return f"{'<' if less else ''}{currency} {amount(value).removeprefix('<')}"


def quantity(value: float | None) -> str:
    """Return a large number with its SI letter.

    >>> quantity(2.31e9), quantity(512), quantity(0), quantity(None)
    ('2.31 G', '512', '0', 'unknown')
    """
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if value < 1000:
        return f"{value:.3g}"
    for limit, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= limit:
            return f"{three_digits(value / limit)} {letter}"
    return f"{value:,.0f}"


def score(value: float | None, decimals: int = 4) -> str:
    """Return a value of a metric, without the 0 before the point.

    >>> score(0.07391), score(0.0), score(0.00001), score(9.314), score(None)
    ('.0739', '0', '<.0001', '9.31', 'unknown')
    """
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if abs(value) >= 1:
        return three_digits(value)
    if abs(value) < 0.5 * 10**-decimals:
        return f"{'>-' if value < 0 else '<'}.{'0' * (decimals - 1)}1"
    return f"{value:.{decimals}f}".replace("0.", ".", 1)


def interval(estimate: Estimate) -> str:
    """Return the interval of an estimate in brackets, with as many digits as tell its ends apart.

    >>> interval(Estimate(0.0739, 0.0671, 0.0812, 943)), interval(Estimate(0.5, None, None, 1))
    ('[.067, .081]', '[unknown]')
    """
    if estimate.low is None or estimate.high is None:
        return f"[{UNKNOWN}]"
    decimals = 3 if estimate.high - estimate.low >= 0.005 else 4
    return f"[{score(estimate.low, decimals)}, {score(estimate.high, decimals)}]"


def estimated(estimate: Estimate) -> str:
    """Return a mean and its interval.

    >>> estimated(Estimate(0.0739, 0.0671, 0.0812, 943)), estimated(Estimate(None, None, None, 0))
    ('.0739 [.067, .081]', 'unknown')
    """
    return UNKNOWN if estimate.mean is None else f"{score(estimate.mean)} {interval(estimate)}"


def signed(value: float | None) -> str:
    """Return a difference of two values of a metric with its sign, a true minus.

    >>> signed(0.0042), signed(-0.0042), signed(0.0), signed(None)
    ('+.0042', '−.0042', '0', 'unknown')
    """
    if value is None or value == 0:
        return score(value)
    return f"{'−' if value < 0 else '+'}{score(abs(value))}"


def change(share: float | None) -> str:
    """Return a relative difference in percent with its sign, a true minus.

    >>> change(0.0423), change(-0.5), change(None)
    ('+4.2%', '−50.0%', 'unknown')
    """
    return UNKNOWN if share is None else f"{'−' if share < 0 else '+'}{abs(share):,.1%}"


def metric_name(name: str) -> str:
    """Return how a metric is written: abbreviations in capitals.

    >>> metric_name("ndcg@10"), metric_name("recall@10")
    ('NDCG@10', 'recall@10')
    """
    base, at, cutoff = name.partition("@")
    return f"{base.upper() if base in _ABBREVIATIONS else base}{at}{cutoff}"


def listed(parts: Iterable[str]) -> str:
    """Return ``parts`` as an enumeration.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def setting(value: Any) -> str:
    """Return a setting as text: components with their own settings in brackets.

    >>> setting(Spec("ease", {"ridge": 300.0, "encoder": Spec("onnx")}))
    'ease(ridge=300, encoder=onnx)'
    """
    if isinstance(value, Spec):
        return f"{value.component}({settings(value.settings)})" if value.settings else value.component
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(setting, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings(table: Mapping[str, Any]) -> str:
    """Return settings as ``name=value``, apart by commas.

    >>> settings({"half_lives": (1.5, 15.0), "ridge": 300.0})
    'half-lives=[1.5, 15], ridge=300'
    """
    return ", ".join(f"{key.replace('_', '-')}={setting(value)}" for key, value in table.items())


def explain_words(reasons: tuple[Reason, ...], catalog: Catalog) -> str:
    """Return why an item was recommended, in one line that says no more than ``reasons`` do.

    Shares are parts of the score. History items that contributed nothing, or against, are not named as causes.
    """
    parts: dict[str, list[str]] = {}
    for reason in reasons:
        if reason.item is None:
            whole = reason.share >= 0.995
            words = plain(reason.words) or reason.kind
            parts.setdefault(words, []).append("" if whole else f" ({_share(reason.share)} of the score)")
        elif reason.share > 0:
            opening = "because of " if reason.kind == _BY_HISTORY else "its text resembles "
            of_score = "" if parts.get(opening) else " of the score"
            title = shorten(catalog.title(reason.item), 60)
            parts.setdefault(opening, []).append(f"{title} ({_share(reason.share)}{of_score})")
    return "; ".join(f"{opening}{listed(said)}" for opening, said in parts.items()) or "no reason is known"


def _share(share: float) -> str:
    return f"{share:.0%}" if abs(share) >= 0.005 else "less than 1%" if share >= 0 else "just below 0%"


__all__ = [
    "UNKNOWN",
    "amount",
    "change",
    "count",
    "counted",
    "duration",
    "estimated",
    "explain_words",
    "interval",
    "listed",
    "metric_name",
    "money",
    "plain",
    "quantity",
    "score",
    "setting",
    "settings",
    "shorten",
    "signed",
    "size",
    "three_digits",
]
