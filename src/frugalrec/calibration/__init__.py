"""Measures a machine profile: the rate of every kind of work that cost formulas are made of, in less than a minute.

Where the work is ours (sums over pairs of events, answering a request), the component that does it is run on a made-up
log; where it is a library's, the library. Single-threaded rates are by CPU time, so that other work on the machine
moves them little; rates of several threads are by the clock, since that is what threads are for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from frugalrec import progress
from frugalrec.calibration import _arithmetic, _hardware, _reading, _recommending
from frugalrec.calibration._bench import Bench
from frugalrec.calibration._hardware import candidates, disk_latency, recommended_threads
from frugalrec.machine_profile import Profile, hardware

SECONDS = 53.0
"""No measurement is begun after this many seconds of CPU, or four times as many by the clock."""

Step = tuple[str, Callable[[Bench], None], float]

_STEPS: tuple[Step, ...] = (
    ("matrix products", _arithmetic.products, 2),
    ("factorisations", _arithmetic.factors, 6),
    ("memory and sparse tables", _arithmetic.memory, 9),
    ("square tables", _arithmetic.turned, 0.5),
    ("sums over users", _recommending.pairs, 7),
    ("answers", _recommending.answers, 0.5),
    ("judging", _recommending.judging, 3.5),
    ("requests", _recommending.scores, 6),
    ("texts", _reading.texts, 6),
    ("threads", _hardware.threads, 1.5),
    ("large catalogues", _recommending.solving, 3),
    ("matrix factorisation", _recommending.als, 4),
    ("more encoders", _reading.more_encoders, 2.5),
)
"""What is measured, and about how many CPU seconds it takes; where there are fewer for all that is left, in a hurry."""

_SPARE = 1.0  # CPU seconds beside what is left to measure, for measuring again in between


def calibrate(
    *, tdp_watts: float | None = None, seconds: float = SECONDS, language_models: Sequence[Path] = ()
) -> Profile:
    """Measure this machine. Nothing is fetched: what is not installed or cached is left out, and a note says so.

    More ``seconds`` than a minute go into measuring at more moments, and what is slow as well.

    ``language_models``: GGUF files and folders of one's own to measure, beside the models that are cached. Raises
    `ConfigError` or `MissingExtraError` before anything is measured where one is no model or cannot be run.
    """
    own = [_reading.own_model(path) for path in language_models]
    models: Step = ("language models", lambda bench: _reading.language_models(bench, own), 0.0)
    # What was asked for comes first.
    steps = (models, *_STEPS) if own else (*_STEPS, models)
    bench = Bench(seconds)
    taken = planned = 1.0
    for i, (name, step, needed) in enumerate(steps):
        progress.report("calibrate", i, len(steps))
        if bench.over:
            bench.notes.append(f"{name}: not measured, out of time")
            continue
        # A busy machine takes longer for what is left, as it did for what was.
        slower, later = max(1.0, taken / planned), sum(needed for *_, needed in steps[i + 1 :])
        before = bench.left
        bench.hurry(slower * (needed + later))
        step(bench)
        taken, planned = taken + before - bench.left, planned + needed
        if bench.left > slower * later + _SPARE:
            bench.again()
    bench.hurry(0.0)
    while not bench.over and bench.again():
        pass
    progress.report("calibrate", len(steps), len(steps))
    return Profile(
        hardware=hardware(),
        rates={
            kind: {n: tuple(sorted(p)) for n, p in by.items()} for kind, by in {**bench.rates, **bench.later}.items()
        },
        threads=_hardware.threads_of(bench),
        disk=disk_latency(),
        power=_hardware.power(tdp_watts),
        contention=bench.contention,
        variation=bench.variation,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        versions={name: metadata.version(name) for name in ("frugalrec", "numpy", "scipy", "onnxruntime")},
        notes=tuple(bench.notes),
    )


__all__ = ["SECONDS", "calibrate", "candidates", "disk_latency", "recommended_threads"]
