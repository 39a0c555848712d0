"""How far long work has come: whoever does it reports, whoever is interested listens.

The listener lives in a context variable, so that work deep inside a library call reaches it without being handed it
through every layer. Without a listener a report costs next to nothing.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int], None]
"""Called with the stage, how many units are done, and how many there are."""

Pacer = Callable[[str, float], None]
"""Called with the stage and the share of its work that is done."""

_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("frugalrec_progress", default=None)


_pacer: contextvars.ContextVar[Pacer | None] = contextvars.ContextVar("frugalrec_pace", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send every report made inside the block to ``listener``, and to no listener outside it.

    >>> with listening(lambda stage, done, total: print(f"{stage}: {done} of {total}")):
    ...     report("encode", 128, 1682)
    encode: 128 of 1682
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def pacing(pacer: Pacer) -> Iterator[None]:
    """Tell ``pacer``, beside any listener, how much of the work of each stage inside the block is done."""
    token = _pacer.set(pacer)
    try:
        yield
    finally:
        _pacer.reset(token)


def report(stage: str, done: int, total: int, *, share: float | None = None) -> None:
    """Say that ``done`` of ``total`` units of ``stage`` are finished; a stage ends with ``done == total``.

    ``share``: how much of its work that is, where units differ: long texts come before short ones.
    """
    listener, pacer = _listener.get(), _pacer.get()
    if listener is not None:
        listener(stage, done, total)
    if pacer is not None and total:
        pacer(stage, done / total if share is None else share)


__all__ = ["Listener", "Pacer", "listening", "pacing", "report"]
