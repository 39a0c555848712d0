"""Files out of zip archives, wheels and folders, well-meant and not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from toy_assets import DATA, TEXT, Server, asset_of, cached_files, file_of, wheel, zipped

from frugalrec import assets
from frugalrec.assets import Asset, Url
from frugalrec.errors import AssetError


def test_one_download_of_a_zip_serves_all_its_files(server: Server, tmp_path: Path) -> None:
    body = zipped(tmp_path / "made.zip", **{"toy/u.data": DATA, "toy/u.item": TEXT, "toy/README": b"read me"})
    server.replies["/toy.zip"] = body
    url = server.url("/toy.zip")
    asset = asset_of(
        file_of(DATA, Url(url, "toy/u.data", len(body)), name="u.data"),
        file_of(TEXT, Url(url, "toy/u.item", len(body)), name="u.item"),
    )
    fetched = assets.fetch(asset)
    assert [p.read_bytes() for p in fetched.files.values()] == [DATA, TEXT]
    assert len(server.requests) == 1
    assert cached_files(tmp_path) == ["toy/plain/u.data", "toy/plain/u.item"]


@pytest.mark.parametrize(
    ("member", "content", "damage", "reason"),
    [
        ("toy.data", b"\0" * 50_000_000, b"", "has 50,000,000 bytes, not 300,000"),
        ("other.data", DATA, b"", "the archive has no toy.data"),
        ("../../toy.data", DATA, b"", "the archive has no toy.data"),
        ("toy.data", DATA[::-1], b"", "wrong content"),
        ("toy.data", DATA, b"no zip at all", "not a readable zip archive"),
    ],
)
def test_archives_that_are_not_as_declared_are_refused(
    server: Server, tmp_path: Path, member: str, content: bytes, damage: bytes, reason: str
) -> None:
    body = damage or zipped(tmp_path / "made.zip", **{member: content})
    server.replies["/toy.zip"] = body
    asset = asset_of(file_of(DATA, Url(server.url("/toy.zip"), "toy.data", len(body))))
    with pytest.raises(AssetError, match=reason):
        assets.fetch(asset)
    assert [name for name in cached_files(tmp_path) if not name.startswith("toy/.partial")] == []
    assert not list(tmp_path.glob("toy.data"))


def test_a_zip_that_lies_about_sizes_is_read_no_further_than_declared(server: Server, tmp_path: Path) -> None:
    bomb = b"\0" * 20_000_000
    body = bytearray(zipped(tmp_path / "made.zip", **{"toy.data": bomb}))
    # Both headers of the member declare the size that the asset expects.
    for place in (22, body.rindex(b"PK\x01\x02") + 24):
        body[place : place + 4] = len(DATA).to_bytes(4, "little")
    server.replies["/toy.zip"] = bytes(body)
    asset = asset_of(file_of(DATA, Url(server.url("/toy.zip"), "toy.data", len(body))))
    with pytest.raises(AssetError):
        assets.fetch(asset)


def local(tmp_path: Path) -> Asset:
    never = Url("https://never.invalid/asked")
    return asset_of(file_of(DATA, never, name="u.data"), file_of(TEXT, never, name="u.item"))


def in_folder(folder: Path) -> Path:
    (folder / "u.data").write_bytes(DATA)
    (folder / "u.item").write_bytes(TEXT)
    return folder


def in_zip(folder: Path) -> Path:
    zipped(folder / "home.zip", **{"../evil/u.data": b"no", "toy/u.data": DATA, "toy/u.item": TEXT})
    return folder / "home.zip"


def in_folder_with_archives(folder: Path) -> Path:
    (folder / "broken.zip").write_bytes(b"broken")
    zipped(folder / "home.zip", **{"toy/u.data": DATA})
    wheel(folder, **{"toy_data/u.item": TEXT})
    return folder


@pytest.mark.parametrize("place", [in_folder, in_zip, in_folder_with_archives])
def test_a_path_takes_the_place_of_all_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], Path]
) -> None:
    monkeypatch.setenv("FRUGALREC_OFFLINE", "1")
    (tmp_path / "given").mkdir()
    fetched = assets.fetch(local(tmp_path), path=place(tmp_path / "given"))
    assert [p.read_bytes() for p in fetched.files.values()] == [DATA, TEXT]
    assert cached_files(tmp_path) == ["toy/plain/u.data", "toy/plain/u.item"]
    assert not (tmp_path / "evil").exists()


def test_a_path_may_be_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "renamed").write_bytes(DATA)
    asset = asset_of(file_of(DATA, Url("https://never.invalid/asked")))
    assert assets.fetch(asset, path=tmp_path / "renamed").files["toy.data"].read_bytes() == DATA


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file or folder"), ({}, r"has no u\.data"), ({"u.data": TEXT}, "wrong content")],
)
def test_a_path_that_does_not_have_it_is_an_error_and_no_reason_to_download(
    tmp_path: Path, content: dict[str, bytes] | None, reason: str
) -> None:
    given_path = tmp_path / "given"
    if content is not None:
        given_path.mkdir()
        for name, body in content.items():
            (given_path / name).write_bytes(body)
    with pytest.raises(AssetError, match=reason) as caught:
        assets.fetch(local(tmp_path), path=given_path)
    assert "never.invalid" not in caught.value.message
    assert "u.data and u.item" in caught.value.hint
