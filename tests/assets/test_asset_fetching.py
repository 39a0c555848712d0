"""The order in which variants and sources are tried, and what is told when none delivers."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_assets import DATA, TEXT, Server, asset_of, cached_files, file_of, wheel

from frugalrec import assets
from frugalrec.assets import Asset, Url, Variant, Wheel
from frugalrec.errors import AssetError


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (DATA[:-1] + b"!", "wrong content"),
        (DATA + b"!", "more than the 300,000 bytes"),
        (b"<html>sign in</html>", "sent 20 bytes, not 300,000"),
        (b"", "sent 0 bytes"),
    ],
)
def test_wrong_bytes_are_thrown_away_and_the_next_source_is_tried(
    server: Server, tmp_path: Path, body: bytes, reason: str
) -> None:
    server.replies |= {"/wrong": body, "/right": DATA}
    asset = asset_of(file_of(DATA, Url(server.url("/wrong")), Url(server.url("/right"))))
    said: list[str] = []
    fetched = assets.fetch(asset, notify=said.append)
    assert fetched.files["toy.data"].read_bytes() == DATA
    assert [line for line in said if reason in line and "/wrong" in line]
    assert f"from {server.url('/right')}" in said[-1]
    assert cached_files(tmp_path) == ["toy/plain/toy.data"]


def test_a_refusing_port_and_a_missing_page_are_passed_over(server: Server, refusing: str) -> None:
    server.replies["/right"] = DATA
    sources = (Url(refusing), Url(server.url("/missing")), Url(server.url("/right")))
    said: list[str] = []
    assert assets.fetch(asset_of(file_of(DATA, *sources)), notify=said.append)
    passed_over = [line for line in said if "passed over" in line]
    assert len(passed_over) == 2
    assert "ConnectError" in passed_over[0]
    assert "HTTP 404" in passed_over[1]


def test_when_all_sources_fail_the_error_names_each_and_why_but_no_secret(server: Server, refusing: str) -> None:
    secret = refusing.replace("http://", "http://me:hunter2@") + "?token=hunter3"
    sources = (Url(secret), Url(server.url("/missing")), Wheel("nowhere-to-be-found==1.0", "x"))
    with pytest.raises(AssetError) as caught:
        assets.fetch(asset_of(file_of(DATA, *sources)), notify=lambda line: None)
    message = str(caught.value)
    for part in ("***@127.0.0.1", "HTTP 404", "pip download nowhere-to-be-found==1.0", "No matching distribution"):
        assert part in message
    assert "hunter" not in message
    assert "--path" in caught.value.hint


def test_the_home_format_comes_first_and_another_format_when_home_is_gone(
    server: Server, tmp_path: Path, refusing: str
) -> None:
    wheel(tmp_path / "wheels", **{"toy_data/a.inter": TEXT})
    server.replies["/u.data"] = DATA
    home = Variant("home", (file_of(DATA, Url(server.url("/u.data")), name="u.data"),))
    packaged = Variant("packaged", (file_of(TEXT, Wheel("toy-data==1.0", "toy_data/a.inter"), name="a.inter"),))
    gone = Variant("home", (home.files[0], file_of(DATA, Url(refusing), name="u.item")))
    asset = Asset("toy", "dataset", "a toy", "free", (gone, packaged))
    fetched = assets.fetch(asset)
    assert fetched.format == "packaged"
    # Half a variant would only be in the way of the whole one.
    assert cached_files(tmp_path) == ["toy/packaged/a.inter"]
    both = Asset("both", "dataset", "a toy", "free", (home, packaged))
    assert assets.fetch(both).format == "home"
    assert assets.fetch(both).fingerprint != fetched.fingerprint


def test_an_interruption_leaves_what_is_complete(server: Server, tmp_path: Path) -> None:
    server.replies |= {"/a": DATA, "/b": TEXT}
    asset = asset_of(
        file_of(DATA, Url(server.url("/a")), name="a"),
        file_of(TEXT, Url(server.url("/b")), name="b"),
    )

    def interrupt(what: str, done: int, total: int | None) -> None:
        if what == "b":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assets.fetch(asset, progress=interrupt)
    assert "toy/plain/a" in cached_files(tmp_path)
    assert assets.fetch(asset).files["b"].read_bytes() == TEXT
    assert [path for path, _ in server.requests] == ["/a", "/b", "/b"]
