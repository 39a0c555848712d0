"""Receiving a file over HTTPS: goes on where it stopped, gives up on silence, leaves silent hosts alone for a while."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from frugalrec.assets._kinds import Progress
from frugalrec.assets._sources import SourceError

_silent_hosts: dict[str, float] = {}
"""Hosts that did not answer, and until when (monotonic clock) they are not asked again."""

_SILENCE_SECONDS = 300.0


def download(url: str, size: int, target: Path, patience_seconds: float, progress: Progress) -> None:
    """Bring ``target`` to ``size`` bytes from ``url``, going on after the bytes it has."""
    have = target.stat().st_size if target.exists() else 0
    if have >= size:
        return
    label = urlsplit(url).path.rpartition("/")[2]
    with target.open("ab") as out, closing(_receive(url, have, patience_seconds)) as received:
        for item in received:
            if isinstance(item, bool):
                have = have if item else 0
                out.truncate(have)
            else:
                have += len(item)
                if have > size:
                    raise SourceError(f"sent more than the {size:,} bytes expected")
                out.write(item)
            progress(label, have, size)
    if have < size:
        raise SourceError(f"sent {have:,} bytes, not {size:,}")


def _receive(url: str, start: int, patience_seconds: float) -> Generator[bytes | bool, None, None]:
    """Yield whether the server goes on at byte ``start`` (or begins again), then the bytes as they come.

    A thread receives and this generator waits for it, so that nothing, a name look-up or a handshake included, can
    hold the caller for longer than ``patience_seconds`` without a byte.
    """
    import httpx

    host = urlsplit(url).netloc.rpartition("@")[2]
    if _silent_hosts.get(host, 0.0) > time.monotonic():
        raise SourceError(f"skipped: {host} did not answer a moment ago", partial=True)
    inbox: queue.Queue[bytes | bool | Exception | None] = queue.Queue(maxsize=64)
    abandoned = threading.Event()

    def put(item: bytes | bool | Exception | None) -> bool:
        """Hand ``item`` over; returns whether anybody still waits for more."""
        while not abandoned.is_set():
            with suppress(queue.Full):
                inbox.put(item, timeout=0.1)
                return True
        return False

    def receive() -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        timeout = httpx.Timeout(patience_seconds, connect=patience_seconds / 2)
        try:
            with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=timeout) as response:
                if response.status_code not in (200, 206):
                    said = f"HTTP {response.status_code} {response.reason_phrase}"
                    raise SourceError(said, partial=response.status_code != 416)
                if put(response.status_code == 206) and all(put(chunk) for chunk in response.iter_bytes()):
                    put(None)
        except Exception as error:  # handed to whoever waits, whatever it is
            put(error)

    threading.Thread(target=receive, name=f"receive {host}", daemon=True).start()
    answered = False
    try:
        while True:
            try:
                item = inbox.get(timeout=patience_seconds)
            except queue.Empty:
                item = TimeoutError(f"nothing came for {patience_seconds:g} s")
            if item is None:
                return
            if isinstance(item, SourceError):
                raise item
            if isinstance(item, Exception):
                if not answered:
                    _silent_hosts[host] = time.monotonic() + _SILENCE_SECONDS
                said = str(item) or f"nothing came for {patience_seconds:g} s"
                raise SourceError(f"{type(item).__name__}: {said}", partial=True) from item
            answered = True
            yield item
    finally:
        abandoned.set()
