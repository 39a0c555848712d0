from __future__ import annotations

from frugalrec import progress
from frugalrec.cost import with_context


def test_only_the_innermost_listener_hears() -> None:
    outer: list[tuple[str, int, int]] = []
    inner: list[tuple[str, int, int]] = []
    progress.report("a", 0, 1)
    with progress.listening(lambda *told: outer.append(told)):
        progress.report("b", 1, 2)
        with progress.listening(lambda *told: inner.append(told)):
            with_context(progress.report)("c", 2, 2)
        progress.report("d", 2, 2)
    progress.report("e", 0, 1)
    assert outer == [("b", 1, 2), ("d", 2, 2)]
    assert inner == [("c", 2, 2)]
