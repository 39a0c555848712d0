"""How long it takes, and how much memory, to load a log of many rows.

    python benchmarks/data/load_speed.py --rows 20_000_000

The log is synthetic: users drawn evenly, items by Zipf's law (the chance of item i is about 1/i), ratings 1 to 5, times
over ten years, in no order. It is loaded in a process of its own, whose peak resident memory is reported.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

from frugalrec.cost import threads

TARGET_SECONDS, TARGET_GIB = 60, 4  # for 20 million rows on two cores

LOAD = """
import json, resource, sys, time
from pathlib import Path
from frugalrec.data.loading import SourceConfig, load
start = time.perf_counter()
dataset, report = load(SourceConfig(interactions=Path(sys.argv[1])))
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "cpu_seconds": time.process_time(),
    "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "events": report.events, "users": report.users, "items": report.items,
    "fingerprint": dataset.interactions.fingerprint(),
}))
"""


def synthesise(path: Path, rows: int, users: int, items: int) -> None:
    """Write the log; the same arguments write the same bytes."""
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            """
            COPY (
                SELECT hash(n, 1) % $users AS user_id,
                       floor(exp((hash(n, 2) / 18446744073709551616.0) * ln($items)))::BIGINT AS item_id,
                       1 + hash(n, 3) % 5 AS rating,
                       1400000000 + hash(n, 4) % 315360000 AS timestamp
                FROM range($rows) AS numbers(n)
            ) TO $path (HEADER, DELIMITER ',')
            """,
            {"users": users, "items": items, "rows": rows, "path": str(path)},
        )


def measure(path: Path) -> dict[str, float]:
    """Load the log in a fresh process and return what it took."""
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the loading of a synthetic CSV log.")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load-speed-") as folder:
        path = Path(folder) / "log.csv"
        synthesise(path, asked.rows, asked.users, asked.items)
        size_mb = path.stat().st_size / 1e6
        result = measure(path)
    machine = (
        f"{platform.machine()}, {threads()} threads, Python {platform.python_version()}, DuckDB {duckdb.__version__}"
    )
    print(json.dumps({"rows": asked.rows, "csv_mb": round(size_mb), **result, "machine": machine}, indent=2))
    met = result["seconds"] <= TARGET_SECONDS and result["peak_rss_gib"] <= TARGET_GIB
    if asked.rows == 20_000_000:
        print(f"target ({TARGET_SECONDS} s, {TARGET_GIB} GiB): {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
