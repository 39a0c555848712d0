"""How much memory a stage needed at most, as the operating system counts it."""

from __future__ import annotations


class PeakMemory:
    """Peak resident memory above the level at the start, in bytes; ``None`` where the system does not tell.

    Linux keeps a high-water mark that a process may reset. Nested spans share that one mark, so a span remembers
    the peaks of the spans inside it on a stack.
    """

    _stack: list[PeakMemory] = []  # noqa: RUF012  one high-water mark a process, so one stack

    def __init__(self) -> None:
        self._base = _status_bytes("VmRSS")
        self._highest = 0.0
        if self._stack:
            self._stack[-1]._note()
        self._stack.append(self)
        self._known = self._base is not None and _reset_high_water()

    def _note(self) -> None:
        self._highest = max(self._highest, _status_bytes("VmHWM") or 0.0)

    def stop(self) -> float | None:
        """Stop measuring, and return the peak in bytes."""
        self._note()
        if self in self._stack:
            self._stack.remove(self)
        if self._stack:
            self._stack[-1]._highest = max(self._stack[-1]._highest, self._highest)
            _reset_high_water()
        if not self._known or self._base is None:
            return None
        return max(0.0, self._highest - self._base)


def _status_bytes(key: str) -> float | None:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return float(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _reset_high_water() -> bool:
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return False
    return True
