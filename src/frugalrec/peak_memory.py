"""How much memory a stage needed at most, as the operating system counts it."""

from __future__ import annotations

import os

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_SLACK_BYTES = 4 * 2**20  # counters of the kernel that should agree are this far apart at most


class PeakMemory:
    """Peak resident memory above the level at the start, in bytes; ``None`` where the system does not tell.

    Linux keeps a high-water mark that a process may reset. Nested spans share that one mark, so a span remembers
    the peaks of the spans inside it on a stack.
    """

    _stack: list[PeakMemory] = []  # noqa: RUF012  one high-water mark a process, so one stack

    def __init__(self) -> None:
        marks = _marks()
        self._highest = 0.0
        if self._stack:
            self._stack[-1]._note(marks)
        self._stack.append(self)
        self._known = marks.reset()
        self._base = marks.resident()

    def _note(self, marks: _Marks) -> None:
        self._highest = max(self._highest, marks.highest() or 0.0)

    def stop(self) -> float | None:
        """Stop measuring, and return the peak in bytes."""
        marks = _marks()
        self._note(marks)
        if self in self._stack:
            self._stack.remove(self)
        if self._stack:
            self._stack[-1]._highest = max(self._stack[-1]._highest, self._highest)
            marks.reset()
        if not self._known or self._base is None:
            return None
        return max(0.0, self._highest - self._base)


class _Marks:
    """The kernel's counters of this process, kept open: a span must cost microseconds, and opening files takes tens."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
        self._statm = _opened("/proc/self/statm", os.O_RDONLY)
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self._clear = _opened("/proc/self/clear_refs", os.O_WRONLY)
        # A process keeps the mark of what it was before exec in its resource usage, where no reset reaches it. Then
        # that quick way to read the mark is none.
        self._quick = False
        if resource is not None and self.reset():
            now, mark = self.resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
            self._quick = now is not None and abs(mark - now) <= _SLACK_BYTES

    def resident(self) -> float | None:
        """Return the bytes resident now."""
        if self._statm is None:
            return None
        return float(os.pread(self._statm, 256, 0).split()[1]) * self._page

    def highest(self) -> float | None:
        """Return the most bytes resident since the last reset."""
        if self._quick:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
        if self._status is None:
            return None
        for line in os.pread(self._status, 8192, 0).splitlines():
            if line.startswith(b"VmHWM:"):
                return float(line.split()[1]) * 1024
        return None

    def reset(self) -> bool:
        """Set the high-water mark to what is resident now; False where that cannot be done."""
        if self._clear is None:
            return False
        try:
            os.write(self._clear, b"5")
        except OSError:
            return False
        return True


def _opened(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None


_current: _Marks | None = None


def _marks() -> _Marks:
    """Return this process's counters; a fork's must not be its parent's."""
    global _current
    pid = os.getpid()
    if _current is None or _current.pid != pid:
        _current = _Marks(pid)
    return _current
