"""Receiving over HTTP from servers that are silent, slow, or break off."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from toy_assets import DATA, PATIENCE, Reply, Server, asset_of, file_of, hang, send

from frugalrec import assets
from frugalrec.assets import Url
from frugalrec.errors import AssetError


def stall(server: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        send(handler, DATA, sent=1000)
        handler.wfile.flush()
        server.released.wait(20)

    return reply


@pytest.mark.parametrize("silent", [hang, stall])
def test_a_silent_source_is_given_up(server: Server, silent: Callable[..., Reply]) -> None:
    server.replies |= {"/silent": silent(server), "/right": DATA}
    other = Server()
    other.replies["/right"] = DATA
    asset = asset_of(file_of(DATA, Url(server.url("/silent")), Url(other.url("/right"))))
    said: list[str] = []
    try:
        fetched = assets.fetch(asset, notify=said.append, patience_seconds=PATIENCE)
    finally:
        other.close()
    assert fetched.files["toy.data"].read_bytes() == DATA
    assert any("passed over" in line and "/silent" in line for line in said)


def test_a_slow_download_that_moves_is_not_cut_off(server: Server) -> None:
    pieces = [DATA[i : i + 30_000] for i in range(0, len(DATA), 30_000)]

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        send(handler, DATA, sent=0)
        for piece in pieces:
            server.released.wait(PATIENCE / 6)
            handler.wfile.write(piece)
            handler.wfile.flush()

    server.replies["/slow"] = slowly
    fetched = assets.fetch(asset_of(file_of(DATA, Url(server.url("/slow")))), patience_seconds=PATIENCE)
    assert fetched.files["toy.data"].read_bytes() == DATA


def test_a_host_that_did_not_answer_is_not_asked_again_for_the_next_asset(server: Server) -> None:
    server.replies["/silent"] = hang(server)
    source = Url(server.url("/silent"))
    for name in ("first", "second"):
        with pytest.raises(AssetError) as caught:
            assets.fetch(asset_of(file_of(DATA, source), name=name), patience_seconds=PATIENCE)
    assert len(server.requests) == 1
    assert f"skipped: {server.host} did not answer a moment ago" in caught.value.message


def breaking_off(handler: BaseHTTPRequestHandler) -> None:
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    send(handler, DATA, start=start, sent=None if start else 100_000)


def test_a_broken_download_goes_on_where_it_stopped(server: Server) -> None:
    server.replies["/data"] = breaking_off
    asset = asset_of(file_of(DATA, Url(server.url("/data"))))
    with pytest.raises(AssetError, match="RemoteProtocolError"):
        assets.fetch(asset)
    assert assets.fetch(asset).files["toy.data"].read_bytes() == DATA
    assert server.requests == [("/data", ""), ("/data", "bytes=100000-")]


def test_a_server_that_cannot_go_on_begins_again(server: Server) -> None:
    server.replies["/data"] = breaking_off
    asset = asset_of(file_of(DATA, Url(server.url("/data"))))
    with pytest.raises(AssetError):
        assets.fetch(asset)
    server.replies["/data"] = DATA
    assert assets.fetch(asset).files["toy.data"].read_bytes() == DATA
    assert server.requests[1:] == [("/data", "bytes=100000-")]


@pytest.mark.parametrize("length", [100, len(DATA), len(DATA) + 1])
def test_an_earlier_part_with_the_wrong_bytes_costs_one_more_download(
    server: Server, tmp_path: Path, length: int
) -> None:
    part = tmp_path / "cache" / "assets" / "toy" / ".partial" / "toy.data.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * length)

    def ranged(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "bytes=0-")
        send(handler, DATA, start=int(asked.removeprefix("bytes=").removesuffix("-")))

    server.replies["/data"] = ranged
    fetched = assets.fetch(asset_of(file_of(DATA, Url(server.url("/data")))))
    assert fetched.files["toy.data"].read_bytes() == DATA
    assert server.requests[-1] == ("/data", "")
