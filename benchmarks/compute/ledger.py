"""What the ledger itself takes, and whether the stages of a run add up to its wall time.

python benchmarks/compute/ledger.py
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("FRUGALREC_THREADS", "1")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from frugalrec.cli._study import run_study
from frugalrec.config import parse_config
from frugalrec.cost import Ledger, charge
from frugalrec.run_costs import Run

SPANS, ROUNDS = 300, 200
LONGER = 200e-6  # seconds: beyond what stages that follow at once share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of tuning a plan")
    given = parser.parse_args()
    memory, least = taken_by_spans(lambda: Ledger())
    longer, least_longer = taken_by_spans(lambda: Ledger(), work=LONGER)
    system, least_system = calls_seconds()
    with tempfile.TemporaryDirectory() as folder:
        kept, least_kept = taken_by_spans(lambda: Ledger(Path(folder) / "ledger.jsonl"))
        for what, taken, lowest in (
            ("a span, in memory", memory, least),
            (f"a span around {LONGER * 1e6:.0f} µs of work, in memory", longer, least_longer),
            ("of it the calls of the system that measure it", system, least_system),
            ("a span, written to a file", kept, least_kept),
        ):
            print(f"{what}: {taken * 1e6:.1f} µs of CPU ({lowest * 1e6:.1f} at its calmest)")
        only = ["popularity", "item-knn", "als", "ease", "sequential", "sequential-words"]
        table = {
            "data": {"dataset": "movielens-100k"},
            "tuning": {"seconds": given.seconds},
            "plans": {"only": only},
        }
        run = Path(folder) / "run"
        config = parse_config(table, "the benchmark's configuration")
        shown, sys.stdout = sys.stdout, sys.stderr  # the study prints its report
        began, cpu = time.perf_counter(), time.process_time()
        try:
            run_study(config, Path(folder), run, "benchmark", offline=True, as_json=False, fresh=True)
        finally:
            sys.stdout = shown
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        found = Run.read(run)
        told = sum(e.cost.seconds or 0.0 for e in found.outermost)
        n = len(found.entries)
        print(f"a run of {len(only)} plans: {wall:.2f} s of wall time, {cpu:.2f} s of CPU, {n} spans")
        print(f"spans of it: {n * kept / cpu:.3%} of its CPU time")
        print(f"stages add up to {told:.2f} s, {told / wall - 1:+.2%} of the wall time")


def taken_by_spans(ledger: Callable[[], Ledger], work: float = 0.0) -> tuple[float, float]:
    """Return CPU seconds of a span and its charge, in the middle and at least: with a ledger, less without one."""
    spans = SPANS if not work else SPANS // 10
    rounds = [span_seconds(ledger(), work, spans) for _ in range(ROUNDS)]
    alone = [span_seconds(None, work, spans) for _ in range(ROUNDS)]
    return statistics.median(rounds) - statistics.median(alone), min(rounds) - min(alone)


def span_seconds(ledger: Ledger | None, work: float, spans: int) -> float:
    """Return CPU seconds of a span, its charge and the work in it; without a ledger, of the work alone."""

    def once() -> None:
        if ledger is not None:
            charge(flops=1.0)
        until = time.perf_counter() + work
        while work and time.perf_counter() < until:
            pass

    def staged() -> None:
        if ledger is None:
            once()
        else:
            with ledger.span("stage"):
                once()

    return _each(staged, spans)


def calls_seconds() -> tuple[float, float]:
    """Return CPU seconds of what the system is asked for such a span: its mark set back, its usage told twice."""
    try:
        mark = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return float("nan"), float("nan")

    def ask() -> None:
        os.write(mark, b"5")
        resource.getrusage(resource.RUSAGE_SELF)
        resource.getrusage(resource.RUSAGE_SELF)

    try:
        taken = [_each(ask, SPANS) for _ in range(ROUNDS)]
    finally:
        os.close(mark)
    return statistics.median(taken), min(taken)


def _each(once: Callable[[], None], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        once()
    return (time.process_time() - began) / times


if __name__ == "__main__":
    main()
