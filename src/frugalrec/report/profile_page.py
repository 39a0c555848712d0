"""The machine profile for people: lines for the terminal, and a page with the roofline."""

from __future__ import annotations

from frugalrec.machine_profile import OWN_SPREAD, Profile
from frugalrec.report import words
from frugalrec.report._markup import Markup, tag
from frugalrec.report._pieces import table
from frugalrec.report._roofline import roofline
from frugalrec.report.page import page
from frugalrec.work import UNITS

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def rate_words(kind: str, rate: float) -> str:
    """Return a rate with its unit.

    >>> rate_words("gemm-f32", 4.56e10), rate_words("encode", 812.0)
    ('45.6 GFLOP/s', '812 token/s')
    """
    unit = UNITS.get(kind.removeprefix("clock ").split(" ")[0], "unit")
    scale, prefix = next((s, p) for s, p in _PREFIXES if rate >= s or s == 1.0)
    apart = "" if unit == "FLOP" else " "
    return f"{words.three_digits(rate / scale).removesuffix('.0')} {prefix}{apart if prefix else ''}{unit}/s"


def rows(profile: Profile) -> list[tuple[str, str, str, str]]:
    """Return ``(kind, threads, size, rate)`` of every rate, as shown."""
    return [
        (kind, str(n), "" if len(points) == 1 and size == 1 else words.count(size), rate_words(kind, rate))
        for kind, by_threads in sorted(profile.rates.items())
        for n, points in sorted(by_threads.items())
        for size, rate in points
    ]


def lines(profile: Profile) -> list[str]:
    """Return what there is to say beside the rates."""
    found = [f"threads to take: {n} for {name}" for name, n in profile.threads.items()]
    if any(n > 1 for n in profile.threads.values()):
        found.append(f"one thread is taken unless you say otherwise: FRUGALREC_THREADS={max(profile.threads.values())}")
    for kind, by_threads in sorted(profile.rates.items()):
        if kind.split(" ")[0] == "encode":
            name = kind.removeprefix("encode").strip() or "the default encoder"
            points = by_threads[min(by_threads)]
            each = ", ".join(f"{words.quantity(rate / size)} of {size:.0f} tokens" for size, rate in points)
            found.append(f"texts a second, {name} on one thread: {each}")
    if (rate := profile.disk.get("write_bytes_per_second")) is not None:
        found.append(f"disk: {rate / 1e6:,.0f} MB/s written")
    if (latency := profile.disk.get("fsync_seconds")) is not None:
        found.append(f"fsync: {latency * 1e3:.2f} ms")
    power = profile.power
    watts = "unknown" if power.watts is None else f"{power.watts:.0f} W ({power.basis}: {power.source})"
    found.append(f"power under load: {watts}")
    if profile.contention is not None and profile.contention > 1.15:
        found.append(
            f"the machine had other work to do while measuring: the clock ran {profile.contention:.1f} times the CPU "
            "time. Measure again on an idle machine for rates it can reach"
        )
    if (many := len(profile.calibrations)) > 1:
        found.append(f"rates are those in the middle of the last {many} calibrations")
    if profile.variation is not None and profile.variation > OWN_SPREAD:
        found.append(
            f"the same work took up to {profile.variation:.1f} times as long, or as short, at other moments, as on a "
            "machine that others share: ranges of estimates are as wide"
        )
    return [*found, *profile.notes]


def render(profile: Profile) -> str:
    """Return the profile as one HTML page: roofline, rates, notes."""
    shown = [tag("tr", tag("td", k), *(tag("td", cell, class_="n") for cell in rest)) for k, *rest in rows(profile)]
    machine = profile.hardware
    about = f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('memory_gib')} GiB; measured "
    columns = [("kind of work", "", False), ("threads", "", True), ("size", "", True), ("rate", "", True)]
    return page(
        "Machine profile",
        tag("p", about + profile.created, class_="lede"),
        tag("section", tag("h2", "Roofline"), tag("figure", roofline(profile))),
        tag("section", tag("h2", "What it means"), tag("ul", [tag("li", line) for line in lines(profile)])),
        tag("section", tag("h2", "Rates"), table(columns, [Markup(row) for row in shown])),
    )


__all__ = ["lines", "rate_words", "render", "rows"]
