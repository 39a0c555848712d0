"""Options of commands that can use several workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from frugalrec.executors import Executor, executing, opened

ExecutorOption = Annotated[
    str, typer.Option("--executor", metavar="local|ray", help="Where work is done: on this machine, or a Ray cluster.")
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Workers that share the work.")]
AddressOption = Annotated[
    str, typer.Option("--ray-address", help="A Ray cluster that runs already; default: one for this command.")
]
CheckpointsOption = Annotated[
    str, typer.Option("--checkpoints", metavar="DIR|URL", help="Keep finished parts here; the same command goes on.")
]


@contextmanager
def working(executor: str, workers: int, checkpoints: str, address: str) -> Iterator[Executor]:
    """Open the executor that the options ask for, as the one in force."""
    with executing(opened(executor, workers=workers, checkpoints=checkpoints, address=address)) as found:
        yield found
