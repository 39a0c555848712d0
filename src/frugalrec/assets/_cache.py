"""The cache: where an asset's folder is, the lock that one process writes it under, and the check of what it holds."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from frugalrec.assets._kinds import Asset, AssetFile, FetchedAsset, Notify, Variant
from frugalrec.errors import AssetError


def cache_dir() -> Path:
    """Return the folder of everything frugalrec caches: ``FRUGALREC_CACHE``, or the platform's own place for caches."""
    import platformdirs

    asked = os.environ.get("FRUGALREC_CACHE", "")
    return Path(asked).expanduser() if asked else Path(platformdirs.user_cache_dir("frugalrec", appauthor=False))


def root_of(asset: Asset) -> Path:
    """Return the folder of an asset: inside it one folder a variant, and what is not complete yet."""
    return cache_dir() / "assets" / asset.name


def from_cache(asset: Asset, root: Path) -> FetchedAsset | None:
    """Return the first variant that is complete and right, every file hashed; ``None`` when there is none."""
    for variant in asset.variants:
        if not any(problem_of(root / variant.format, file) for file in variant.files):
            return fetched(asset, variant, root)
    return None


def fetched(asset: Asset, variant: Variant, root: Path) -> FetchedAsset:
    """Return where the files of ``variant`` are; looks at none of them."""
    folder = root / variant.format
    sums = "".join(file.sha256 for file in variant.files)
    return FetchedAsset(
        name=asset.name,
        format=variant.format,
        folder=folder,
        files={file.name: folder / file.name for file in variant.files},
        fingerprint=hashlib.sha256(sums.encode()).hexdigest()[:16],
    )


def has_size(path: Path, size: int) -> bool:
    """Return whether ``path`` is a file of ``size`` bytes."""
    return path.is_file() and path.stat().st_size == size


def problem_of(folder: Path, file: AssetFile) -> str:
    """Return what is wrong with a cached file, or an empty string."""
    path = folder / file.name
    if not path.is_file():
        return "missing"
    if not has_size(path, file.size_bytes):
        return f"corrupt: {path.stat().st_size:,} bytes, not {file.size_bytes:,}"
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return "" if found == file.sha256 else f"corrupt: {wrong_content(found, file)}"


def problems(variants: Iterable[Variant], root: Path) -> list[str]:
    """Return one line for each wrong or missing file of the variants that have a folder."""
    return [
        f"{file.name} is {problem}"
        for variant in variants
        if (root / variant.format).is_dir()
        for file in variant.files
        if (problem := problem_of(root / variant.format, file))
    ]


def wrong_content(found: str, file: AssetFile) -> str:
    """Say that ``found`` is not the sha256 of ``file``."""
    return f"wrong content (sha256 {found[:12]}…, not {file.sha256[:12]}…)"


def tree_bytes(folder: Path) -> int:
    """Return the size of all files below ``folder``, which may change meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                # pip moves its files about while they are counted.
                continue
    return total


@contextmanager
def writing(root: Path, notify: Notify) -> Iterator[None]:
    """Hold an asset's folder against other processes; the system lets go of it when this one ends, however it ends."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with (root.parent / f"{root.name}.lock").open("a") as file:
            waiting = False
            while not _try_lock(file.fileno()):
                if not waiting:
                    notify(f"waiting for another process that holds {file.name}")
                waiting = True
                time.sleep(0.1)
            yield
    except AssetError:
        raise
    except OSError as error:
        raise AssetError(
            f"cannot write the cache {root}: {error.strerror or error}",
            hint="free some space, or set FRUGALREC_CACHE to another folder; what is complete is kept",
        ) from error


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
