"""The client against llama.cpp's own OpenAI-compatible server, with a real model; slow."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec

import httpx
import pytest

from frugalrec import assets
from frugalrec.cost import Ledger
from frugalrec.errors import ConfigError
from frugalrec.llms.http import Http

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("llama_cpp", "sse_starlette", "starlette_context")),
        reason="needs llama-cpp-python[server]",
    ),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    (weights,) = assets.fetch("smollm2-135m-instruct-q4").files.values()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [
        "--model",
        str(weights),
        "--port",
        str(port),
        "--n_ctx",
        "1024",
        "--n_threads",
        "1",
        "--logits_all",
        "true",
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", "llama_cpp.server", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(240):
            assert server.poll() is None, "the server ended"
            try:
                httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=1.0)
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=30)


def model(url: str, **settings: object) -> Http:
    return Http(**{"url": url, "model": "smollm2", "timeout_seconds": 120.0, "parallel": 1, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", [False, True])
def test_completions(url: str, stream: bool) -> None:
    ledger = Ledger()
    with ledger.span("call"):
        (text,) = model(url, api="completions", stream=stream).generate(["The capital of France is"], max_tokens=4)
    assert "Paris" in text
    assert ledger.total().tokens_in > 0


def test_chat(url: str) -> None:
    (text,) = model(url).generate(["What is the capital of France? Answer in one word."], max_tokens=12)
    assert "Paris" in text


def test_json(url: str) -> None:
    schema = {
        "type": "object",
        "properties": {"genre": {"enum": ["Comedy", "Horror"]}},
        "required": ["genre"],
        "additionalProperties": False,
    }
    asked = model(url, json_mode="json-object").generate_json(["A horror film, as JSON."], schema, max_tokens=40)
    assert asked[0]["genre"] in ("Comedy", "Horror")


def test_loglikelihoods_are_right_or_refused(url: str) -> None:
    """Version 0.3.36 of this server tells of each word how likely it is as the *next* one: then it must be refused."""
    try:
        paris, banana = model(url, api="completions").loglikelihoods("The capital of France is", [" Paris", " banana"])
    except ConfigError as error:
        if "tells wrong log-probabilities" not in str(error):
            raise
    else:
        assert paris > banana
