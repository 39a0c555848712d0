"""What people see while work goes on: bars on a terminal, lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from frugalrec import progress

if TYPE_CHECKING:
    from rich.table import Table

Say = Callable[[str], None]


def print_table(table: Table) -> None:
    """Print a table to stdout as wide as it is: a figure that is cut off is none, so a narrow terminal wraps lines."""
    from rich.console import Console

    console = Console()
    needed = console.measure(table, options=console.options.update(width=1_000)).maximum
    Console(width=max(needed, console.width), soft_wrap=True).print(table)


@contextmanager
def shown_progress() -> Iterator[Say]:
    """Listen to progress reports inside the block, and yield a function that says a line beside them."""
    if not sys.stderr.isatty():
        yield lambda line: print(line, file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),  # at the pace so far: what was expected before is corrected by the first batches
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for other, task in list(tasks.items()):
                    if other != "plans":
                        bars.remove_task(task)
                        del tasks[other]
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total or None)
            if total and done >= total:
                bars.remove_task(tasks.pop(stage))

        with progress.listening(show):
            yield lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
