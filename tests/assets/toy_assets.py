"""A web server on this machine, and small assets, archives and wheels for it to serve."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from frugalrec.assets import Asset, AssetFile, Url, Variant, Wheel

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


def hang(server: Server) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        server.released.wait(20)

    return reply


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
