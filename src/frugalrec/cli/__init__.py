"""The command line: one file a command.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 no feasible plan, 2 wrong use or input.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit."""
    # Threads that spin while they wait can make two slower than one. Libraries read this when they are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    from frugalrec.cli._app import run

    sys.exit(run(sys.argv[1:]))


__all__ = ["main"]
