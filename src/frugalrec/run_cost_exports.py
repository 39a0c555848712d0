"""A run's ledger in the formats of others: FOCUS-style CSV, OpenTelemetry GenAI spans, CodeCarbon's emissions.csv.

FOCUS: https://focus.finops.org (columns of version 1.1 that a ledger can fill). OpenTelemetry: the GenAI semantic
conventions, as OTLP JSON. CodeCarbon: the columns that version 3 writes; what the machine did not measure stays empty.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import frugalrec
from frugalrec.prices import PriceSheet
from frugalrec.run_costs import Run, Spent

JOULES_A_KWH = 3.6e6

_FOCUS = (
    "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodStart", "ChargePeriodEnd",
    "BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "ConsumedUnit",
    "PricingQuantity", "PricingUnit", "ListUnitPrice", "ProviderName", "PublisherName", "InvoiceIssuerName",
    "ResourceId", "ResourceName", "ServiceCategory", "ServiceName", "SkuId", "Tags",
)  # fmt: skip
_CODECARBON = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate", "cpu_power",
    "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "water_consumed",
    "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version",
    "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude", "ram_total_size",
    "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent", "ram_utilization_percent", "ram_used_gb",
    "on_cloud", "pue", "wue",
)  # fmt: skip


def focus(run: Run, prices: PriceSheet) -> str:
    """Return FOCUS-style CSV: a charge an outermost stage, and one more for tokens that it bought.

    Where a price is unknown its cells are empty, never 0.
    """
    out = io.StringIO()
    rows = csv.DictWriter(out, _FOCUS, restval="", lineterminator="\n")
    rows.writeheader()
    unit_price = prices.machine_hour / prices.cores
    for i, entry in enumerate(run.outermost):
        cost = entry.cost
        hours = None if cost.cpu_seconds is None else cost.cpu_seconds / 3600
        computed = _charge(run, entry, prices, i, prices.price(replace(cost, fees=0.0)))
        quantity = "" if hours is None else f"{hours:.12f}"
        computed |= {"ConsumedQuantity": quantity, "ConsumedUnit": "Core-Hours", "SkuId": prices.machine}
        if not cost.gpu_seconds:  # else two prices are in one charge
            computed |= {"PricingQuantity": quantity, "PricingUnit": "Core-Hours", "ListUnitPrice": f"{unit_price:.6f}"}
        rows.writerow(computed)
        if cost.fees == 0:
            continue
        # Tokens have another seller and another unit: a charge of their own.
        counts = (cost.tokens_in, cost.tokens_out, cost.tokens_cached)
        tokens = None if None in counts else sum(n or 0.0 for n in counts)
        bought = _charge(run, entry, prices, i, cost.fees)
        bought |= {"ConsumedQuantity": "" if tokens is None else f"{tokens:.0f}", "ConsumedUnit": "Tokens"}
        models = run.models.get(entry.plan, {})
        bought["SkuId"] = models.get("llm") or models.get("encoder", "")
        bought["ResourceId"] += "-tokens"
        rows.writerow(bought)
    return out.getvalue()


def _charge(run: Run, entry: Spent, prices: PriceSheet, i: int, money: float | None) -> dict[str, str]:
    """Return what a charge for a stage says of when, what for and how much."""
    start = datetime.fromtimestamp(entry.started, UTC)
    month = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    tags = {"plan": entry.plan, "stage": entry.stage, "phase": entry.phase, "for": entry.label}
    cost = "" if money is None else f"{money:.12f}"
    return {
        "BillingAccountId": "frugalrec",
        "BillingAccountName": "frugalrec",
        "BillingCurrency": prices.currency,
        "BillingPeriodStart": _iso(month),
        "BillingPeriodEnd": _iso(following),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{entry.stage} of {entry.plan}" + (f" ({entry.label})" if entry.label else ""),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _iso(start),
        "ChargePeriodEnd": _iso(datetime.fromtimestamp(entry.started + (entry.cost.seconds or 0.0), UTC)),
        **dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), cost),
        **dict.fromkeys(("ProviderName", "PublisherName", "InvoiceIssuerName"), prices.source),
        "ResourceId": f"{run.folder.name}#{i}",
        "ResourceName": entry.plan,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "frugalrec",
        "Tags": json.dumps(tags),
    }


def opentelemetry(run: Run) -> str:
    """Return OTLP JSON with a span for each stage; those that read or write tokens carry ``gen_ai`` attributes.

    Innermost stages are included, each under a parent found by time.
    What was read from a cache counts as read, as the convention has it.
    """
    trace = sha256(f"{run.folder.name}{run.entries[0].started}".encode()).hexdigest()[:32]
    spans = [_span(i, entry, trace, run) for i, entry in enumerate(run.entries)]
    for i, parent in _parents(run):
        spans[i]["parentSpanId"] = spans[parent]["spanId"]
    resource = {"attributes": _attributes({"service.name": "frugalrec", "service.version": frugalrec.__version__})}
    scope = {"name": "frugalrec", "version": frugalrec.__version__}
    document = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}
    return json.dumps(document, indent=1) + "\n"


def codecarbon(run: Run, *, carbon: float | None, region: str = "") -> str:
    """Return a line in CodeCarbon's form for each part of a run that was interrupted and went on, else one.

    Energy is measured joules, else watts times CPU time, else empty. Watts and machine are those that the run kept.
    ``carbon`` is the grid's kg CO2e a kWh; without it emissions stay empty.
    """
    out = io.StringIO()
    rows = csv.DictWriter(out, _CODECARBON, restval="", lineterminator="\n")
    rows.writeheader()
    parts: dict[float | None, list[Spent]] = {}
    for entry in sorted(run.entries, key=lambda e: e.started):
        parts.setdefault(run.record.at(entry.started).started, []).append(entry)
    for entries in parts.values():
        filled = _emissions(run, entries, carbon) | {"region": region}
        rows.writerow({k: "" if v is None else v for k, v in filled.items()})
    return out.getvalue()


def _emissions(run: Run, entries: Sequence[Spent], carbon: float | None) -> dict[str, Any]:
    """Return the cells of a line about ``entries`` of one part of a run, the oldest first."""
    first = entries[0].started
    record = run.record.at(first)
    duration = max(e.started + (e.cost.seconds or 0.0) for e in entries) - first
    outermost = [e for e in entries if e.depth == 0]
    joules = [e.cost.joules for e in outermost]
    energy: float | None = None
    mode = "unknown"
    if all(j is not None for j in joules):
        energy, mode = sum(j or 0.0 for j in joules) / JOULES_A_KWH, "measured"
    elif (estimated := run.joules(outermost)) is not None:
        energy, mode = estimated / JOULES_A_KWH, "estimated from power and CPU time"
    emissions = None if energy is None or carbon is None else energy * carbon
    return {
        "timestamp": datetime.fromtimestamp(first, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "project_name": "frugalrec",
        "run_id": sha256(str(run.folder.resolve()).encode()).hexdigest()[:32],
        "experiment_id": run.folder.name,
        "duration": duration,
        "emissions": emissions,
        "emissions_rate": None if emissions is None or not duration else emissions / duration,
        "cpu_power": record.watts_a_core,
        "cpu_energy": energy,
        "energy_consumed": energy,
        "os": record.machine.get("system"),
        "python_version": record.machine.get("python"),
        "cpu_count": record.machine.get("cores"),
        "cpu_model": record.machine.get("processor"),
        "ram_total_size": record.machine.get("memory_gib"),
        "tracking_mode": mode,
        "pue": 1.0,
    }


def _span(i: int, entry: Spent, trace: str, run: Run) -> dict[str, Any]:
    start = round(entry.started * 1e9)
    cost = entry.cost
    known: dict[str, Any] = {
        "frugalrec.plan": entry.plan,
        "frugalrec.stage": entry.stage,
        "frugalrec.for": entry.label or None,
        "frugalrec.phase": entry.phase,
        "frugalrec.units": entry.units,
        "frugalrec.cpu_seconds": cost.cpu_seconds,
        "frugalrec.flops": cost.flops,
        "frugalrec.peak_bytes": cost.peak_bytes,
    }
    name = f"{entry.stage} {entry.plan}"
    if cost.tokens_in or cost.tokens_out or cost.tokens_cached:
        models = run.models.get(entry.plan, {})
        asks = entry.stage != "encode" and ("llm" in models or bool(cost.tokens_out))
        operation, model = "text_completion" if asks else "embeddings", models.get("llm" if asks else "encoder")
        # The convention counts what came from a cache among what was read; a ledger keeps the two apart.
        known_in = cost.tokens_in is not None and cost.tokens_cached is not None
        tokens_in = int((cost.tokens_in or 0) + (cost.tokens_cached or 0)) if known_in else None
        known |= {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "frugalrec",
            "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": tokens_in,
            "gen_ai.usage.output_tokens": None if cost.tokens_out is None else int(cost.tokens_out),
            "gen_ai.usage.cache_read.input_tokens": None if cost.tokens_cached is None else int(cost.tokens_cached),
        }
        name = f"{operation} {model or ''}".strip()
    return {
        "traceId": trace,
        "spanId": sha256(f"{trace}{i}".encode()).hexdigest()[:16],
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + round((cost.seconds or 0.0) * 1e9)),
        "attributes": _attributes(known),
    }


def _parents(run: Run) -> Iterator[tuple[int, int]]:
    """Yield each inner stage with the stage it was in: entries are written as they end, so it comes later."""
    for i, entry in enumerate(run.entries):
        if entry.depth == 0:
            continue
        for j in range(i + 1, len(run.entries)):
            if run.entries[j].depth == entry.depth - 1 and run.entries[j].started <= entry.started:
                yield i, j
                break


def _attributes(known: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for key, value in known.items():
        if value is None:
            continue
        if isinstance(value, int):
            found.append({"key": key, "value": {"intValue": str(value)}})
        elif isinstance(value, float):
            found.append({"key": key, "value": {"doubleValue": value}})
        else:
            found.append({"key": key, "value": {"stringValue": str(value)}})
    return found


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ["codecarbon", "focus", "opentelemetry"]
