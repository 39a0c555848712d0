"""What a newcomer pays: installed size, time to the first and second result of the demo, peak memory, import time.

    python benchmarks/first_run.py

Makes a fresh virtual environment and a fresh cache in a temporary folder, and runs the README's main job there twice.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = folder / "venv"
        venv.create(home, with_pip=True)
        python = home / "bin" / "python"
        before = size(home)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
        print(f"install: {timed(pip):.1f} s, {(size(home) - before) / 1e6:.0f} MB")
        torch = subprocess.run([str(python), "-c", "import torch"], capture_output=True, check=False)
        print(f"torch installed: {'yes' if torch.returncode == 0 else 'no'}")
        code = "import time; t = time.perf_counter(); import frugalrec; print(time.perf_counter() - t)"
        taken = [float(subprocess.check_output([str(python), "-c", code])) for _ in range(5)]
        print(f"import frugalrec: {min(taken) * 1000:.0f} ms (best of 5)")
        environment = {**os.environ, "FRUGALREC_CACHE": str(folder / "cache")}
        demo = [str(home / "bin" / "frugalrec"), "demo", "--out", str(folder / "demo")]
        for run in ("first", "second"):
            print(f"demo, {run} run: {timed(demo, environment):.1f} s")
        print(f"demo, vectors and data cached, plans done again: {timed([*demo, '--fresh'], environment):.1f} s")
        print(f"peak memory: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20:.2f} GiB")
        print(f"report: {(folder / 'demo' / 'report.html').stat().st_size / 1e3:.0f} kB")
        sys.stdout.flush()


def timed(command: list[str], environment: dict[str, str] | None = None) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def size(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


if __name__ == "__main__":
    main()
