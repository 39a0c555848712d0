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
_FRESH = 1e-4  # seconds that a mark of memory serves: nobody fills more than the slack in them

# A stage must cost microseconds: looking these up each time would be a tenth of what it costs.
_clock, _cpu_clock = time.perf_counter, time.process_time
_used: Any = None if resource is None else resource.getrusage
_me = 0 if resource is None else resource.RUSAGE_SELF


class Usage:
    """Time by the clock, CPU time of all threads, and peak resident memory above the level at the start.

    Linux keeps a high-water mark of memory that a process may set back. Nested stages share that one mark, so a stage
    remembers the peaks of the stages inside it on a stack. Each call of the system takes most of a microsecond, so the
    mark is set back once in a tenth of a millisecond at most. A stage that ends within that time is not asked what it
    held, for it cannot have filled more than a few MiB, about what the kernel's counters are behind; and one that
    begins within it shares the level at which the mark was set back.
    """

    __slots__ = ("_base", "_highest", "cpu_seconds", "peak_bytes", "seconds")

    _base: float | None
    _highest: float
    seconds: float
    cpu_seconds: float
    peak_bytes: float | None  # None where the system does not tell

    def start(self) -> None:
        """Begin to measure."""
        self.seconds = now = _clock()
        if now < _stale:
            self._base, self.cpu_seconds = _resident, _cpu_clock()
        else:
            self._base, self.cpu_seconds = _set_back(now)
        self._highest = 0.0
        _open.append(self)

    def stop(self) -> None:
        """Stop measuring."""
        now = _clock()
        if now < _stale:
            cpu = _cpu_clock()
        else:
            highest, cpu = (_current or _counters()).read()
            self._note(highest)
        self.seconds = now - self.seconds
        # Two clocks of the system may have told, which round differently.
        self.cpu_seconds = cpu - self.cpu_seconds if cpu > self.cpu_seconds else 0.0
        if _open and _open[-1] is self:
            _open.pop()
        elif self in _open:  # stages of several threads end in any order
            _open.remove(self)
        base, highest = self._base, self._highest
        if _open:
            _open[-1]._note(highest)
        self.peak_bytes = None if base is None else highest - base if highest > base else 0.0

    def _note(self, mark: float | None) -> None:
        if mark is not None and mark > self._highest:
            self._highest = mark


_open: list[Usage] = []  # one high-water mark a process, so one stack
_resident: float | None = None  # what was resident when the mark was set back
_stale = 0.0  # when it must be set back again


def _set_back(now: float) -> tuple[float | None, float]:
    """Set the mark back, after the stage around has been told of it; return what is resident, and CPU seconds."""
    global _resident, _stale
    counters = _current or _counters()
    if _open:
        _open[-1]._note(counters.read()[0])
    _resident, cpu = counters.begin()
    _stale = now + _FRESH
    return _resident, cpu


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


class _Counters:
    """The kernel's counters of this process, kept open: opening files takes tens of microseconds."""

    def __init__(self) -> None:
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
        self._statm = _opened("/proc/self/statm", os.O_RDONLY)
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self._clear = _opened("/proc/self/clear_refs", os.O_WRONLY)
        # A process keeps the mark of what it was before exec in its resource usage, where no reset reaches it. Then
        # that quick way to read the mark is none.
        self._quick = False
        if _used is not None and (now := self.begin()[0]) is not None:
            self._quick = abs(_used(_me)[2] * 1024.0 - now) <= _SLACK_BYTES

    def begin(self) -> tuple[float | None, float]:
        """Set the high-water mark to what is resident now, and return that and CPU seconds; None where it cannot be."""
        if not self._reset():
            return None, _cpu_clock()
        if self._quick:
            return self.read()
        resident = None if self._statm < 0 else float(os.pread(self._statm, 256, 0).split()[1]) * self._page
        return resident, _cpu_clock()

    def read(self) -> tuple[float | None, float]:
        """Return the most bytes resident since the mark was set back, None where nobody tells, and CPU seconds."""
        if self._quick:
            used = _used(_me)
            return used[2] * 1024.0, used[0] + used[1]
        return self._told(), _cpu_clock()

    def _told(self) -> float | None:
        if self._status < 0:
            return None
        for line in os.pread(self._status, 8192, 0).splitlines():
            if line.startswith(b"VmHWM:"):
                return float(line.split()[1]) * 1024
        return None

    def _reset(self) -> bool:
        if self._clear < 0:
            return False
        try:
            os.write(self._clear, b"5")
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
    global _current, _stale
    _current, _stale = None, 0.0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a fork's counters must not be its parent's

__all__ = ["Usage", "give_back_memory"]
