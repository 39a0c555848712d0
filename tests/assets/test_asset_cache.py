"""A cache that is corrupt, wanted by two at once, or cannot be written."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from toy_assets import DATA, Server, asset_of, file_of, send

from frugalrec import assets
from frugalrec.assets import Url
from frugalrec.errors import AssetError


def test_a_corrupt_cache_is_noticed_and_fetched_again(server: Server) -> None:
    server.replies["/data"] = DATA
    asset = asset_of(file_of(DATA, Url(server.url("/data"))))
    path = assets.fetch(asset).files["toy.data"]
    for damaged in (DATA[:-1] + b"!", DATA[:100], b""):
        path.write_bytes(damaged)
        with pytest.raises(AssetError, match=r"toy\.data is corrupt"):
            assets.verify(asset)
        with pytest.raises(AssetError, match=r"toy\.data is corrupt.*fetching is forbidden"):
            assets.fetch(asset, offline=True)
        said: list[str] = []
        assets.fetch(asset, notify=said.append)
        assert any("corrupt" in line and "fetching it again" in line for line in said)
        assert assets.verify(asset).files["toy.data"].read_bytes() == DATA


def test_of_two_that_fetch_at_once_one_downloads_and_the_other_waits(server: Server) -> None:
    arrived, answer = threading.Event(), threading.Event()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        arrived.set()
        answer.wait(20)
        send(handler, DATA)

    server.replies["/data"] = wait
    asset = asset_of(file_of(DATA, Url(server.url("/data"))))
    waiting = threading.Event()
    results: list[assets.FetchedAsset] = []

    def notify(line: str) -> None:
        if "waiting for another process" in line:
            waiting.set()

    def run() -> None:
        results.append(assets.fetch(asset, notify=notify))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert arrived.wait(20)
    assert waiting.wait(20)
    answer.set()
    for thread in threads:
        thread.join(20)
    assert len(results) == 2
    assert results[0] == results[1]
    assert len(server.requests) == 1


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path / "taken"))
    server.replies["/data"] = DATA
    with pytest.raises(AssetError, match="cannot write the cache") as caught:
        assets.fetch(asset_of(file_of(DATA, Url(server.url("/data")))))
    assert "FRUGALREC_CACHE" in caught.value.hint
