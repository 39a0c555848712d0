"""What a stage took of this process, as the operating system counts it: time, and memory at most."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_SLACK_BYTES = 4 * 2**20  # counters of the kernel that should agree are this far apart at most

# A stage must cost microseconds: looking these up each time would be a tenth of what it costs.
_clock, _cpu_clock, _write = time.perf_counter, time.process_time, os.write
_used = None if resource is None else resource.getrusage
_me = 0 if resource is None else resource.RUSAGE_SELF


class Usage:
    """Time by the clock, CPU time of all threads, and peak resident memory above the level at the start.

    Linux keeps a high-water mark of memory that a process may reset. Nested stages share that one mark, so a stage
    remembers the peaks of the stages inside it on a stack. Each call of the system takes most of a microsecond: where
    it can, one call tells both time and memory.
    """

    __slots__ = ("_base", "_highest", "cpu_seconds", "peak_bytes", "seconds")

    _base: float | None
    _highest: float
    seconds: float
    cpu_seconds: float
    peak_bytes: float | None  # None where the system does not tell

    def start(self) -> None:
        """Begin to measure."""
        counters = _current or _counters()
        if _open:
            _open[-1]._note(counters.highest())
        if counters.quick:
            _write(counters.clear, b"5")
            used = _used(_me)
            self.cpu_seconds, self._base = used[0] + used[1], used[2] * 1024.0
        else:
            self._base = counters.begin()
            self.cpu_seconds = _cpu_clock()
        self._highest = 0.0
        _open.append(self)
        self.seconds = _clock()

    def stop(self) -> None:
        """Stop measuring."""
        self.seconds = _clock() - self.seconds
        if _open and _open[-1] is self:
            _open.pop()
        elif self in _open:  # stages of several threads end in any order
            _open.remove(self)
        counters = _current or _counters()
        if counters.quick:
            used = _used(_me)
            self.cpu_seconds = used[0] + used[1] - self.cpu_seconds
            if (mark := used[2] * 1024.0) > self._highest:
                self._highest = mark
        else:
            self.cpu_seconds = _cpu_clock() - self.cpu_seconds
            self._note(counters.highest())
        if _open:
            _open[-1]._note(self._highest)
            counters.reset()
        base = self._base
        self.peak_bytes = None if base is None else self._highest - base if self._highest > base else 0.0

    def _note(self, mark: float | None) -> None:
        if mark is not None and mark > self._highest:
            self._highest = mark


def give_back_memory() -> None:
    """Let the allocator give the system what it keeps free, where it can (glibc); milliseconds.

    What a stage finds free in the process does not count as its own; a stage that follows another one that freed much
    would seem to need little.
    """
    if _trim is not None:
        _trim(0)


def _trimmer() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return None


_trim = _trimmer()
_open: list[Usage] = []  # one high-water mark a process, so one stack


class _Counters:
    """The kernel's counters of this process, kept open: opening files takes tens of microseconds."""

    def __init__(self) -> None:
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
        self._statm = _opened("/proc/self/statm", os.O_RDONLY)
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self.clear = _opened("/proc/self/clear_refs", os.O_WRONLY)
        # A process keeps the mark of what it was before exec in its resource usage, where no reset reaches it. Then
        # that quick way to read the mark is none.
        self.quick = False
        if _used is not None and (now := self.begin()) is not None:
            self.quick = abs(_used(_me)[2] * 1024.0 - now) <= _SLACK_BYTES

    def begin(self) -> float | None:
        """Set the high-water mark to what is resident now, and return it; None where that cannot be done."""
        if not self.reset() or self._statm < 0:
            return None
        return float(os.pread(self._statm, 256, 0).split()[1]) * self._page

    def highest(self) -> float | None:
        """Return the most bytes resident since the last reset."""
        if self.quick:
            return _used(_me)[2] * 1024.0
        if self._status < 0:
            return None
        for line in os.pread(self._status, 8192, 0).splitlines():
            if line.startswith(b"VmHWM:"):
                return float(line.split()[1]) * 1024
        return None

    def reset(self) -> bool:
        """Set the high-water mark to what is resident now; False where that cannot be done."""
        if self.clear < 0:
            return False
        try:
            os.write(self.clear, b"5")
        except OSError:
            return False
        return True


def _opened(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return -1


_current: _Counters | None = None


def _counters() -> _Counters:
    global _current
    _current = _Counters()
    return _current


def _forget() -> None:
    global _current
    _current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a fork's counters must not be its parent's

__all__ = ["Usage", "give_back_memory"]
