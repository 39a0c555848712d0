"""An embeddings endpoint in a thread, which answers, or fails in the ways that endpoints fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from frugalrec.testing.encoders import HashEncoder
from frugalrec.text.words import words

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


class EmbeddingServer:
    """Speaks OpenAI's embeddings protocol on a free port of this machine; vectors are those of `HashEncoder`.

    ``troubles`` are answers given in turn before it answers properly: ``(status, headers, body)``, a function of the
    request's body that returns one, or a number of seconds to keep silent. ``requests`` holds the bodies received,
    ``headers`` what came with them. Tokens are words. Use it in a ``with`` block.

    >>> import httpx
    >>> with EmbeddingServer(dim=8) as server:
    ...     answer = httpx.post(server.url + "/embeddings", json={"model": "m", "input": ["red apple"]}).json()
    >>> len(answer["data"][0]["embedding"]), answer["usage"]["prompt_tokens"]
    (8, 2)
    """

    def __init__(self, dim: int = 16) -> None:
        self.dim = dim
        self.troubles: list[Answer | float | Callable[[dict[str, Any]], Answer]] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, headers, content = outer._answer(body, {k.lower(): v for k, v in self.headers.items()})
                try:
                    self.send_response(status)
                    for name, value in {"content-length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # who asked has given up

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, float | int):
            time.sleep(trouble)
        elif trouble is not None:
            return trouble(body) if callable(trouble) else trouble
        return 200, {}, json.dumps(self.proper(body)).encode()

    def proper(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return what a well-behaved endpoint answers, with its vectors in another order, as it may."""
        vectors = HashEncoder(body.get("dimensions", self.dim)).encode(body["input"])
        data = [{"object": "embedding", "index": i, "embedding": v.tolist()} for i, v in enumerate(vectors)]
        tokens = sum(len(words(text)) for text in body["input"])
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": body["model"], "data": data[::-1], "usage": usage}


__all__ = ["Answer", "EmbeddingServer"]
