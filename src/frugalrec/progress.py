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

_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("frugalrec_progress", default=None)


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


def report(stage: str, done: int, total: int) -> None:
    """Say that ``done`` of ``total`` units of ``stage`` are finished; a stage ends with ``done == total``."""
    listener = _listener.get()
    if listener is not None:
        listener(stage, done, total)


__all__ = ["Listener", "listening", "report"]
