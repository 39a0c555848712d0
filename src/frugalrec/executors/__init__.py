"""Work in shards: one seam between what is computed and where it is.

A job is a function and shards; the function takes a shard's payload and returns named arrays. An executor runs it
here (`local.Local`), in processes of this machine (``Local(workers=2)``), or on a Ray cluster (`ray.Ray`), by one
scheduler: what is lost is done again, what straggles is begun a second time, and with ``checkpoints`` what is
finished is kept. The order in which results are added is fixed by the shards, so every executor gives the same
numbers, bit for bit.

Libraries do not ask for an executor: they look for the one in force (`current`), as charges look for their span.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

from frugalrec.errors import ConfigError
from frugalrec.executors._executor import Arrays, Executor, Function, Result, Shard
from frugalrec.executors._shared import zeros

KINDS = ("local", "ray")

_ambient: contextvars.ContextVar[Executor | None] = contextvars.ContextVar("frugalrec_executor", default=None)


@contextmanager
def executing(executor: Executor) -> Iterator[Executor]:
    """Let what is done inside the block (encoding, sums over users) use ``executor``; closes it at the end.

    >>> from frugalrec.executors.local import Local
    >>> with executing(Local()) as executor:
    ...     current() is executor
    True
    >>> current() is None
    True
    """
    token = _ambient.set(executor)
    try:
        yield executor
    finally:
        _ambient.reset(token)
        executor.close()


def current() -> Executor | None:
    """Return the executor in force, or None: then everything is done at once, in one piece."""
    return _ambient.get()


def opened(kind: str, *, workers: int = 1, checkpoints: str = "", address: str = "") -> Executor:
    """Return an executor by name; raises `ConfigError`, and `MissingExtraError` where Ray is not installed."""
    if kind == "local":
        if address:
            raise ConfigError("an address is that of a Ray cluster", hint="say executor = 'ray' as well")
        from frugalrec.executors.local import Local

        return Local(workers=workers, checkpoints=checkpoints)
    if kind == "ray":
        from frugalrec.executors.ray import Ray

        return Ray(workers=workers, checkpoints=checkpoints, address=address)
    raise ConfigError(f"executor must be 'local' or 'ray', not '{kind}'")


__all__ = ["KINDS", "Arrays", "Executor", "Function", "Result", "Shard", "current", "executing", "opened", "zeros"]
