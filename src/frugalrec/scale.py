"""A finished run × another size × machines to rent → what each plan would take there: machines, money, energy, limits.

Seconds and bytes at the other size are the run's own, times what the component's cost formula says they grow by. How
they are spread over machines is arithmetic with the assumptions of `Assumptions`, which every forecast prints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from frugalrec.data.shape import DataShape
from frugalrec.errors import ConfigError, PriceError
from frugalrec.estimation import expected_stages
from frugalrec.evaluation import Trial
from frugalrec.forecast import DAYS_A_MONTH
from frugalrec.forecast_rows import HOURS_A_MONTH, Assumptions, Break, PerRequestModel, Row, Size, crossings
from frugalrec.machine_profile import Profile
from frugalrec.price_tables import Hardware
from frugalrec.prices import PriceSheet
from frugalrec.work import Expected, answering


@dataclass
class Forecaster:
    """Forecasts the plans of one run."""

    trials: Sequence[Trial]
    shape: DataShape
    prices: PriceSheet
    profile: Profile | None = None
    assumptions: Assumptions = field(default_factory=Assumptions)
    torn: int = 0
    """Lines of the run's trials that could not be read."""

    @classmethod
    def read(cls, folder: Path, prices: PriceSheet, profile: Profile | None) -> Forecaster:
        """Read a run folder; raises `ConfigError` when it is none, or was made by a version that kept no shape."""
        try:
            shape = DataShape.from_dict(json.loads((folder / "shape.json").read_text(encoding="utf-8")))
            lines = (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{folder}: no run to forecast from: {error}", hint="frugalrec plan CONFIG.toml makes one"
            ) from error
        trials: dict[str, Trial] = {}
        torn = 0
        for line in lines:
            try:
                trial = Trial.from_dict(json.loads(line), np.empty(0))
            except (ValueError, KeyError, TypeError):
                torn += 1
                continue
            trials[trial.name] = trial
        if not trials:
            raise ConfigError(f"{folder}: the run has no trials", hint="run frugalrec plan again with --fresh")
        return cls(list(trials.values()), shape, prices, profile, torn=torn)

    def rows(self, size: Size, machine: Hardware) -> list[Row]:
        """Return each plan of the run at ``size`` on ``machine``, the cheapest first, unknown ones last."""
        rows = [self.row(trial, size, machine) for trial in self.trials]
        return sorted(rows, key=lambda row: math.inf if row.month is None else row.month)

    def row(self, trial: Trial, size: Size, machine: Hardware) -> Row:
        """Return one plan at ``size``."""
        nothing = Row(trial.name, machine.name, *[None] * 12)  # type: ignore[arg-type]
        if trial.plan.language_model == "per request":
            return replace(nothing, unknown="it asks a language model at every request: see the rows of those")
        found = self._grown(trial, size)
        if isinstance(found, str):
            return replace(nothing, unknown=found)
        fit_seconds, request_seconds, model_bytes, peak_bytes, tail = found
        disk_bytes = trial.disk_bytes * size.items / max(self.shape.items, 1.0)
        a = self.assumptions
        room = machine.memory_gib * 2**30 * a.memory_share
        shards = max(1, math.ceil(model_bytes / room))
        # A request asks every shard of the items at once; its work is shared out, and each hop costs a round trip.
        busy = size.requests_per_second * request_seconds / (machine.speed * machine.cores * a.utilisation)
        machines = max(shards * a.replicas, math.ceil(busy))
        machines = math.ceil(machines / shards) * shards
        latency = request_seconds * tail / machine.speed / shards + (a.hop_seconds if shards > 1 else 0.0)
        interval = 86_400.0 / size.refreshes_per_day
        one = fit_seconds / (machine.speed * (1 + a.parallel * (machine.cores - 1)))
        # The sums of users add up, and blocks of items are solved apart: a fit is shared out, its time at some loss.
        # Its memory is that of the sums, of which each machine has rows of its own; blocks are small beside them.
        allowed = a.refresh_share * interval
        in_time = 1 if one <= allowed else math.ceil(one / (allowed * a.parallel))
        refresh_machines = max(in_time, math.ceil(peak_bytes / (machine.memory_gib * 2**30)))
        refresh = one if refresh_machines == 1 else one / (refresh_machines * a.parallel)
        if machine.network_gb_s:
            refresh += (model_bytes + disk_bytes) / shards / (machine.network_gb_s * 1e9)
        log_bytes = size.users * self.shape.mean_history * a.history_bytes
        storage = log_bytes + a.stored_copies * (model_bytes + disk_bytes)
        network = size.requests_per_second * (
            a.response_bytes + (shards if shards > 1 else 0) * (self.shape.mean_history * 4 + a.list_length * 8)
        )
        hours = machines * HOURS_A_MONTH + refresh_machines * refresh / 3600 * size.refreshes_per_day * DAYS_A_MONTH
        once, new = trial.cost["once"], size.items * size.catalogue_growth / max(self.shape.items, 1.0)
        new_hours = None if once.cpu_seconds is None else once.cpu_seconds * new / machine.speed / machine.cores / 3600
        all_hours = None if new and new_hours is None else hours + (new_hours or 0.0)
        kwh = None if machine.watts is None or all_hours is None else machine.watts * all_hours / 1000
        money = self._money(trial, size, machine, hours, new_hours if new else 0.0, storage, kwh)
        return Row(
            trial.name,
            machine.name,
            float(machines),
            shards,
            machines // shards,
            float(refresh_machines),
            refresh,
            latency,
            model_bytes,
            storage,
            network,
            kwh,
            self._co2e(kwh),
            money if isinstance(money, dict) else None,
            request_seconds,
            size.items / shards,
            size.users / machines,
            size.requests_per_second,
            money if isinstance(money, str) else "",
            peak_bytes,
            one,
            float(in_time),
        )

    def _money(
        self,
        trial: Trial,
        size: Size,
        machine: Hardware,
        hours: float,
        new_hours: float | None,
        storage: float,
        kwh: float | None,
    ) -> dict[str, float] | str:
        """Return a month's money by what it pays for, or why it is unknown; raises `PriceError` for lacking prices."""
        prices, a = self.prices, self.assumptions
        for name, price in (("storage_gib_month", prices.storage_gib_month), ("egress_gib", prices.egress_gib)):
            if price is None:
                hint = f"add {name} = … to it, 0 where nothing is paid for it"
                raise PriceError(f"the price sheet has no '{name}', which every forecast needs", hint=hint)
        assert prices.storage_gib_month is not None
        assert prices.egress_gib is not None
        if new_hours is None:
            return "the run did not measure what encoding its items took"
        requests = size.requests_per_second * 86_400 * DAYS_A_MONTH
        new = size.items * size.catalogue_growth / max(self.shape.items, 1.0)
        times = {"request": requests, "refresh": size.refreshes_per_day * DAYS_A_MONTH, "once": new}
        bought = [0.0 if not n else None if (fee := trial.cost[p].fees) is None else fee * n for p, n in times.items()]
        if any(fee is None for fee in bought):
            return "nobody knows what it pays for tokens"
        money = {
            "machines": machine.hour * hours,
            "new items": machine.hour * new_hours,
            "storage": storage / 2**30 * prices.storage_gib_month,
            "egress": requests * a.response_bytes / 2**30 * prices.egress_gib,
        }
        if any(bought):
            money["tokens"] = sum(fee or 0.0 for fee in bought)
        if machine.own:
            if kwh is None:
                return f"[machines.{machine.name}] is your own and has no watts, so that its electricity is unknown"
            if prices.kwh is None:
                raise PriceError(
                    f"[machines.{machine.name}] is your own, and the price sheet has no 'kwh'",
                    hint="add kwh = … to it, the price of electricity",
                )
            money["electricity"] = kwh * prices.kwh
        return money

    def per_request_rows(
        self, base: Row, size: Size, model: PerRequestModel, gpu: Hardware | None, api: str | None
    ) -> list[Row]:
        """Return ``base`` with a language model at every request on top: on own GPUs, and through an API.

        Reading is bound by arithmetic (2 FLOPs a parameter and token), writing by reading the weights once a token for
        a batch of 32; a GPU must hold the weights in 16 bits. What is not on the sheet is a row that says so.
        """
        rows = []
        if gpu is not None:
            rows.append(self._on_gpus(base, size, model, gpu))
        if api is not None:
            rows.append(self._by_api(base, size, model, api))
        return rows

    def breaks(self, size: Size, machine: Hardware) -> list[Break]:
        """Return, for each plan, what first stops working on the way from the run's size to ``size``."""
        found = []
        for trial in self.trials:
            for step in np.linspace(0.0, 1.0, 61):
                at = self._towards(size, float(step))
                what = self._broken(trial, at, machine)
                if what is not None:
                    found.append(Break(trial.name, what, at.users, at.items, at.requests_per_second))
                    break
        return found

    def by_traffic(
        self,
        size: Size,
        machine: Hardware,
        points: int = 41,
        *,
        model: PerRequestModel | None = None,
        base: str = "",
        gpu: Hardware | None = None,
        api: str | None = None,
    ) -> tuple[list[float], dict[str, list[float]]]:
        """Return requests a second from 1 to ten times the size's, and each known plan's money a month there.

        With ``model``, lines of it at every request, on top of the plan ``base``, are among them.
        """
        rates = np.geomspace(min(1.0, size.requests_per_second), 10 * size.requests_per_second, points)
        found: dict[str, list[float | None]] = {}
        for rate in rates:
            at = replace(size, requests_per_second=float(rate))
            rows = [self.row(trial, at, machine) for trial in self.trials]
            below = next((row for row in rows if row.plan == base), None)
            if model is not None and below is not None:
                rows += self.per_request_rows(below, at, model, gpu, api)
            for row in rows:
                found.setdefault(row.plan, []).append(row.month)
        lines = {name: [m for m in months if m is not None] for name, months in found.items() if None not in months}
        return [float(r) for r in rates], lines

    def sensitivity(self, row: Row) -> dict[str, float]:
        """Return by what share of the month a doubling of each price would raise it."""
        if row.money is None or not row.month:
            return {}
        return {name: amount / row.month for name, amount in row.money.items() if amount}

    def _grown(self, trial: Trial, size: Size) -> tuple[float, float, float, float, float] | str:
        """Return fit seconds, request seconds, model bytes, peak bytes and p95 over mean, or why they are unknown."""
        fit, request = trial.cost["refresh"], trial.cost["request"]
        if fit.cpu_seconds is None or request.cpu_seconds is None:
            return "the run did not measure its CPU time"
        pipeline = trial.plan.build()
        component = trial.plan.recommender.component
        large = self.shape.scaled(users=size.users, items=size.items)
        now, then = (expected_stages(pipeline.recommender, s) for s in (self.shape, large))
        if now is None or then is None:
            return f"{component} has no cost formula"
        if trial.plan.reranker is not None:
            component = trial.plan.reranker.component
            asked, more = (expected_stages(pipeline.reranker, s) for s in (self.shape, large))
            if asked is None or more is None:
                return f"{component} has no cost formula"
            # What a request's reranking takes does not grow with the catalogue as its retrieval does. What a reranker
            # learns from is lists of its retriever: its fit is taken to grow as the retriever's.
            now, then = replace(now, score=now.score + asked.score), replace(then, score=then.score + more.score)
        grown_fit = self._growth(now.fit, then.fit)
        grown_request = self._growth(now.score + answering(self.shape.items), then.score + answering(large.items))
        if grown_fit is None or grown_request is None:
            return f"{component} cannot tell how its cost grows for these data"
        held = then.fit.held_bytes
        if held is None or then.fit.peak_bytes is None:
            return f"{component} cannot tell its memory"
        if now.fit.held_bytes:
            held *= trial.model_bytes / now.fit.held_bytes
        tail = trial.latency_seconds.get("p95", 0.0) / max(request.seconds or request.cpu_seconds, 1e-9)
        return (
            max(fit.cpu_seconds, 1e-4) * grown_fit,
            request.cpu_seconds * grown_request,
            max(held, float(trial.model_bytes)),
            then.fit.peak_bytes,
            max(1.0, tail),
        )

    def _growth(self, now: Expected, then: Expected) -> float | None:
        """Return how many times the work grows: by seconds where there is a profile, else by FLOPs."""
        if self.profile is not None:
            a, b = self.profile.seconds(now.work), self.profile.seconds(then.work)
            if a is not None and b is not None:
                # Beside what grows, every call has a fixed part of some tenths of a millisecond.
                return (b + 1e-4) / (a + 1e-4)
        if now.flops is None or then.flops is None:
            return None
        return (then.flops + 1e6) / (now.flops + 1e6)

    def _towards(self, size: Size, step: float) -> Size:
        """Return a size between the run's (0) and ``size`` (1), by logarithms; traffic starts at one a second."""

        def between(a: float, b: float) -> float:
            a = max(a, 1e-9)
            return min(max(math.exp(math.log(a) + step * (math.log(b) - math.log(a))), min(a, b)), max(a, b))

        return replace(
            size,
            users=between(self.shape.users, size.users),
            items=between(self.shape.items, size.items),
            requests_per_second=between(min(1.0, size.requests_per_second), size.requests_per_second),
        )

    def _broken(self, trial: Trial, size: Size, machine: Hardware) -> str | None:
        row = self.row(trial, size, machine)
        if row.machines is None or row.refresh_seconds is None or row.latency_seconds is None:
            return None
        a = self.assumptions
        found = self._grown(trial, size)
        assert not isinstance(found, str)
        fit_seconds, request_seconds, model_bytes, peak_bytes, tail = found
        memory = machine.memory_gib * 2**30
        if peak_bytes > memory:
            return f"a fit needs {peak_bytes / 2**30:,.0f} GiB, more than one machine's {machine.memory_gib:g}"
        if model_bytes > memory * a.memory_share:
            return f"the model is {model_bytes / 2**30:,.0f} GiB, too large for one machine"
        if fit_seconds / machine.speed / (1 + a.parallel * (machine.cores - 1)) > 86_400 / size.refreshes_per_day:
            return "a fit on one machine takes longer than the time between refreshes"
        if request_seconds * tail / machine.speed > a.latency_limit:
            return f"the slowest twentieth of requests takes more than {a.latency_limit * 1000:g} ms on one machine"
        if size.requests_per_second * request_seconds / machine.speed > machine.cores * a.utilisation:
            return "one machine no longer keeps up with requests"
        return None

    def _on_gpus(self, base: Row, size: Size, model: PerRequestModel, gpu: Hardware) -> Row:
        label = f"{base.plan} + {model.parameters / 1e9:g}B LM a request"
        row = replace(base, plan=label, hardware=f"{base.hardware} and {gpu.name}")
        a = self.assumptions
        if not gpu.gpus or gpu.gpu_tflops is None or gpu.gpu_bandwidth_gb_s is None or gpu.gpu_memory_gib is None:
            return replace(row, money=None, machines=None, unknown=f"[machines.{gpu.name}] does not describe its GPUs")
        reading = 2.0 * model.parameters * model.tokens_in / (gpu.gpu_tflops * 1e12 * a.gpu_share)
        writing = model.tokens_out * 2.0 * model.parameters / (gpu.gpu_bandwidth_gb_s * 1e9) / a.gpu_batch
        fit = max(1, math.ceil(2.0 * model.parameters / (gpu.gpu_memory_gib * 2**30 * a.gpu_memory_share)))
        machines = math.ceil(size.requests_per_second * (reading + writing) / a.utilisation / gpu.gpus)
        machines = math.ceil(max(a.replicas, machines) / fit) * fit
        hours = machines * HOURS_A_MONTH
        money = {**(base.money or {}), "language model": gpu.hour * hours}
        if gpu.own:
            if self.prices.kwh is None or gpu.watts is None:
                why = f"[machines.{gpu.name}] is your own, and its watts or the sheet's kwh are not there"
                return replace(row, money=None, machines=None, unknown=why)
            money["electricity"] = money.get("electricity", 0.0) + gpu.watts * hours / 1000 * self.prices.kwh
        kwh = None if gpu.watts is None or base.kwh is None else base.kwh + gpu.watts * hours / 1000
        latency = None
        if base.latency_seconds is not None:
            alone = model.tokens_out * 2.0 * model.parameters / (gpu.gpu_bandwidth_gb_s * 1e9)
            latency = base.latency_seconds + reading / fit + alone / fit + a.hop_seconds
        total = None if base.machines is None else base.machines + machines
        return replace(
            row,
            machines=total,
            money=None if base.money is None else money,
            kwh=kwh,
            co2e_kg=self._co2e(kwh),
            latency_seconds=latency,
        )

    def _by_api(self, base: Row, size: Size, model: PerRequestModel, api: str) -> Row:
        row = replace(base, plan=f"{base.plan} + {api} a request", hardware=f"{base.hardware} and api")
        try:
            each = self.prices.price_tokens(api, tokens_in=model.tokens_in, tokens_out=model.tokens_out)
        except PriceError as error:
            nobody = {"kwh": None, "co2e_kg": None, "latency_seconds": None}
            return replace(row, money=None, machines=None, **nobody, unknown=error.message)  # type: ignore[arg-type]
        requests = size.requests_per_second * 86_400 * DAYS_A_MONTH
        money = None if base.money is None else {**base.money, "language model": each * requests}
        # What the provider's machines draw, and how long they take, nobody tells.
        return replace(row, money=money, kwh=None, co2e_kg=None, latency_seconds=None)

    def _co2e(self, kwh: float | None) -> float | None:
        if kwh is None or not self.prices.region:
            return None
        return kwh * self.prices.carbon_of()


__all__ = ["Assumptions", "Break", "Forecaster", "PerRequestModel", "Row", "Size", "crossings"]
