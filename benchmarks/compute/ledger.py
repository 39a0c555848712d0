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

SPANS = 5000
LONGER = 40e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of tuning a plan")
    given = parser.parse_args()
    memory = span_seconds(Ledger()) - span_seconds(None)
    longer = span_seconds(Ledger(), work=LONGER) - span_seconds(None, work=LONGER)
    system = calls_seconds()
    with tempfile.TemporaryDirectory() as folder:
        kept = span_seconds(Ledger(Path(folder) / "ledger.jsonl")) - span_seconds(None)
        print(f"a span: {memory * 1e6:.1f} µs of CPU in memory, {kept * 1e6:.1f} µs written to a file")
        print(f"a span around {LONGER * 1e6:.0f} µs of work: {longer * 1e6:.1f} µs in memory")
        print(f"of them the calls of the system that measure it: {system * 1e6:.1f} µs")
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


def span_seconds(ledger: Ledger | None, work: float = 0.0) -> float:
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

    return _each(staged)


def calls_seconds() -> float:
    """Return CPU seconds of what the system is asked for a span: its memory mark set back, its usage told twice."""
    try:
        mark = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return float("nan")

    def ask() -> None:
        os.write(mark, b"5")
        resource.getrusage(resource.RUSAGE_SELF)
        resource.getrusage(resource.RUSAGE_SELF)

    try:
        return _each(ask)
    finally:
        os.close(mark)


def _each(once: Callable[[], None]) -> float:
    taken = []
    for times in (100, *[SPANS // 5] * 5):
        began = time.process_time()
        for _ in range(times):
            once()
        taken.append((time.process_time() - began) / times)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
