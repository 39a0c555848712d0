"""The door of the assets: once fetched and then cached, offline, status, verify, remove."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_assets import DATA, Server, asset_of, cached_files, file_of

from frugalrec import assets
from frugalrec.assets import Url
from frugalrec.errors import AssetError, UnknownNameError


def test_fetches_once_says_the_licence_first_and_then_uses_the_cache(server: Server, tmp_path: Path) -> None:
    server.replies["/data"] = DATA
    asset = asset_of(file_of(DATA, Url(server.url("/data"))))
    said: list[str] = []
    seen: list[tuple[str, int, int | None]] = []

    def progress(what: str, done: int, total: int | None) -> None:
        assert "licence: free for all" in said
        seen.append((what, done, total))

    first = assets.fetch(asset, notify=said.append, progress=progress)
    assert first.files["toy.data"].read_bytes() == DATA
    assert (first.name, first.format, first.folder) == ("toy", "plain", tmp_path / "cache" / "assets" / "toy" / "plain")
    assert seen[-1] == ("data", len(DATA), len(DATA))
    said.clear()
    assert assets.fetch(asset, notify=said.append) == first
    assert assets.fetch(asset, offline=True) == first
    assert said == []
    assert len(server.requests) == 1
    assert cached_files(tmp_path) == ["toy/plain/toy.data"]


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_forbids_any_fetch(server: Server, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    server.replies["/data"] = DATA
    asset = asset_of(file_of(DATA, Url(server.url("/data"))))
    with pytest.raises(AssetError, match="asked for offline work") as caught:
        assets.fetch(asset, offline=True)
    assert "frugalrec assets fetch toy" in caught.value.hint
    monkeypatch.setenv("FRUGALREC_OFFLINE", value)
    with pytest.raises(AssetError, match="FRUGALREC_OFFLINE is set"):
        assets.fetch(asset)
    assert server.requests == []
    monkeypatch.setenv("FRUGALREC_OFFLINE", "0")
    assert assets.fetch(asset)


def test_status_verify_and_remove(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.replies["/data"] = DATA
    asset = asset_of(file_of(DATA, Url(server.url("/data"))))
    monkeypatch.setattr(assets, "ASSETS", {"toy": asset})
    with pytest.raises(AssetError, match="nothing of it is in the cache"):
        assets.verify("toy")
    assert [status.variant for status in assets.status()] == [None]
    assert assets.remove("toy") == 0
    fetched = assets.fetch("toy")
    assert [status.variant for status in assets.status()] == [asset.variants[0]]
    assert assets.verify("toy") == fetched
    assert assets.remove("toy") == len(DATA)
    assert not fetched.folder.exists()
    assert [status.variant for status in assets.status()] == [None]


def test_an_unknown_name_is_told_the_nearest() -> None:
    for act in (assets.fetch, assets.verify, assets.remove):
        with pytest.raises(UnknownNameError, match="did you mean 'movielens-100k'"):
            act("movielens-100")
