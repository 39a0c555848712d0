"""A real local HTTP server that speaks OpenAI's protocol, with a free model behind it, and faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from frugalrec.testing.llms import UnigramModel


class Server:
    """Counts what it is asked. ``faults`` are used up first: status codes, or "cut", "nonsense", "slow".

    ``text`` replaces what the model behind writes (a `UnigramModel`); ``logprobs``, ``usage`` and ``cached`` say what
    answers tell of themselves.
    """

    def __init__(self) -> None:
        self.model = UnigramModel()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[int | str] = []
        self.retry_after = ""
        self.text: str | None = None
        self.cached = 0
        self.logprobs = True
        self.off_by_one = False
        self.usage = True
        self.url = ""
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request without faults."""
        chat = path.endswith("chat/completions")
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        (text,) = self.model.generate([prompt], max_tokens=body["max_tokens"])
        text = text if self.text is None else self.text
        used: dict[str, Any] = {
            "prompt_tokens": self.model.count_tokens(prompt),
            "completion_tokens": self.model.count_tokens(text),
        }
        if self.cached:
            used["prompt_tokens_details"] = {"cached_tokens": self.cached}
        if body.get("logprobs") and not body.get("echo"):
            text = f" {text}"  # as real models go on
        choice: dict[str, Any] = {"message": {"content": text}} if chat else {"text": text}
        if body.get("logprobs") and self.logprobs:
            written = {"token_logprobs": [float(self.model.loglikelihoods(prompt, [text])[0])]}
            choice["logprobs"] = self._echoed(prompt) if body.get("echo") else written
        return {"choices": [choice], **({"usage": used} if self.usage else {})}

    def _echoed(self, prompt: str) -> dict[str, Any]:
        """Return each word of ``prompt`` with the space before it as a token, and how likely it is after the rest."""
        tokens: list[str] = []
        for piece in prompt.split(" "):
            tokens.append(piece if not tokens else f" {piece}")
        offsets = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
        values = [float(self.model.loglikelihoods("".join(tokens[:i]), [t])[0]) for i, t in enumerate(tokens)]
        if self.off_by_one:
            values = [*values[1:], values[0]]
        return {"tokens": tokens, "text_offset": offsets, "token_logprobs": [None, *values[1:]]}


@contextmanager
def served() -> Iterator[Server]:
    """Run a server in a thread for as long as the block lasts.

    >>> from frugalrec.llms.http import Http
    >>> with served() as server:
    ...     Http(url=server.url, model="any").generate(["a b b"], max_tokens=1)
    ['b']
    """
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server looks for
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.requests.append(body)
                state.headers.append(dict(self.headers))
                fault = state.faults.pop(0) if state.faults else None
            with suppress(BrokenPipeError, ConnectionResetError):  # the client gave up, as some tests want
                self.reply(body, fault)

        def reply(self, body: dict[str, Any], fault: int | str | None) -> None:
            if fault == "slow":
                threading.Event().wait(0.6)
            if isinstance(fault, int):
                self.send(fault, json.dumps({"error": {"message": "not today"}}).encode())
                return
            if fault == "nonsense":
                self.send(200, b"<html>hello</html>")
                return
            # Counted while an answer is made: by the time it is sent, the client may have asked for the next.
            with state.lock:
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            found = state.answer(self.path, body)
            with state.lock:
                state.at_once -= 1
            if body.get("stream"):
                self.streamed(found, cut=fault == "cut")
                return
            content = json.dumps(found).encode()
            if fault == "cut":
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:10])
                self.close_connection = True
                return
            self.send(200, content)

        def send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            if state.retry_after and status != 200:
                self.send_header("Retry-After", state.retry_after)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def streamed(self, found: dict[str, Any], *, cut: bool) -> None:
            choice = found["choices"][0]
            text = choice["message"]["content"] if "message" in choice else choice["text"]
            self.send_response(200)
            self.end_headers()
            for i, piece in enumerate(text.split(" ")):
                said = piece if i == 0 else f" {piece}"
                event = {"choices": [{"delta": {"content": said}} if "message" in choice else {"text": said}]}
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                if cut:
                    return
            if "usage" in found:
                self.wfile.write(f"data: {json.dumps({'choices': [], 'usage': found['usage']})}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


__all__ = ["Server", "served"]
