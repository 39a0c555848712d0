"""What this machine is and what is installed on it."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from frugalrec.cost import threads

EXTRAS: dict[str, tuple[str, str]] = {
    "als": ("implicit", "matrix factorisation (als)"),
    "ray": ("ray", "clusters of several machines (--executor ray)"),
    "llm": ("llama_cpp", "language models per request (llama-cpp)"),
}
"""What each extra installs: the package to look for, and what it is for."""


def describe() -> dict[str, Any]:
    """Return what a reader of a measurement must know: processor, cores, threads used, memory, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": _blas(),
        "packages": {name: metadata.version(name) for name in ("frugalrec", "numpy", "scipy", "onnxruntime")},
    }


def missing_extras() -> dict[str, str]:
    """Return the extras that are not installed, and what each is for."""
    return {name: why for name, (package, why) in EXTRAS.items() if util.find_spec(package) is None}


@cache
def hardware() -> dict[str, Any]:
    """Return what speed depends on most: processor, cores and memory."""
    return {"processor": _processor(), "cores": os.cpu_count(), "memory_gib": _memory_gib()}


def available_memory_bytes() -> float | None:
    """Return how much more memory this process may take: what is free, or what its control group leaves; or None."""
    found = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found += [float(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            found.append(float(limit) - float(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):
        pass
    return max(0.0, min(found)) if found else None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _blas() -> str:
    import numpy as np
    import scipy.linalg  # noqa: F401  so that its BLAS is loaded and can be asked
    from threadpoolctl import threadpool_info

    np.dot(np.ones(1), np.ones(1))
    found = {
        f"{pool['internal_api']} {pool.get('version') or ''} {pool.get('architecture') or ''}".strip()
        for pool in threadpool_info()
        if pool.get("user_api") == "blas"
    }
    return ", ".join(sorted(found)) or "unknown"
