from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frugalrec.cost import Ledger
from frugalrec.encoders._cached import Cached
from frugalrec.encoders.http import Http
from frugalrec.errors import AssetError, BudgetError, ConfigError, DataError, PriceError
from frugalrec.prices import PriceSheet
from frugalrec.spending import SpendCap, metering
from frugalrec.stores.array_cache import ArrayCache
from frugalrec.testing.encoders import HashEncoder
from frugalrec.testing.servers import EmbeddingServer

TEXTS = [f"title {i}" for i in range(10)]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as running:
        yield running


def client(server: EmbeddingServer, **settings: Any) -> tuple[Http, list[float]]:
    encoder = Http(url=server.url, model="m", **settings)
    waits: list[float] = []
    encoder._sleep = waits.append
    return encoder, waits


def test_vectors_come_in_the_order_of_the_texts(server: EmbeddingServer) -> None:
    encoder, _ = client(server, batch_size=4)
    found = encoder.encode([*TEXTS, "", "🎬", "<br/>"])
    np.testing.assert_allclose(found[:10], HashEncoder().encode(TEXTS), atol=1e-6)
    assert not found[10:].any()
    assert [len(body["input"]) for body in server.requests] == [4, 4, 2]  # nothing is asked about nothing


def test_what_is_sent(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    encoder, _ = client(server, api_key_variable="SOME_KEY", dimensions=8, query_prefix="query: ", max_tokens=4)
    assert encoder.encode(["<b>Heat</b> is a long film"], role="query").shape == (1, 8)
    (body,) = server.requests
    assert body["input"] == ["query: Heat is a"]
    assert (body["model"], body["dimensions"]) == ("m", 8)
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert "secret" not in repr(encoder) + encoder.fingerprint()


def test_without_a_key_none_is_sent(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    client(server)[0].encode(["Heat"])
    assert "authorization" not in server.headers[0]


def test_tokens_are_those_the_endpoint_counts(server: EmbeddingServer) -> None:
    ledger = Ledger()
    with ledger.span("known"):
        client(server, parameters=1000)[0].encode(TEXTS)
    with ledger.span("no parameters"):
        client(server)[0].encode(TEXTS)
    server.troubles = [lambda body: (200, {}, json.dumps({"data": server.proper(body)["data"]}).encode())]
    with ledger.span("no usage"):
        client(server, parameters=1000)[0].encode(TEXTS)
    known, unpriced, unknown = (entry.cost for entry in ledger.entries)
    assert (known.tokens_in, known.flops) == (20, 2 * 1000 * 20)
    assert (unpriced.tokens_in, unpriced.flops) == (20, None)
    assert (unknown.tokens_in, unknown.flops) == (None, None)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_refusals_that_pass_are_tried_again(server: EmbeddingServer, status: int) -> None:
    server.troubles = [(status, {}, b"busy")] * 3
    encoder, waits = client(server)
    np.testing.assert_allclose(encoder.encode(["Heat"]), HashEncoder().encode(["Heat"]), atol=1e-6)
    assert len(server.requests) == 4
    assert all(0 <= wait <= 2.0**i for i, wait in enumerate(waits))
    assert len(set(waits)) == 3


def test_it_waits_as_long_as_it_is_asked_to(server: EmbeddingServer) -> None:
    server.troubles = [(429, {"retry-after": "7"}, b""), (429, {"retry-after": "99999"}, b"")]
    encoder, waits = client(server)
    encoder.encode(["Heat"])
    assert 7 <= waits[0] <= 7.1
    assert 60 <= waits[1] <= 60.2


def test_a_refusal_that_stays(server: EmbeddingServer) -> None:
    server.troubles = [(429, {}, b'{"error": {"message": "slow down please"}}')] * 9
    encoder, waits = client(server, tries=3)
    with pytest.raises(AssetError, match=r"answers 429 \(slow down please\) \(tried 3 times\)"):
        encoder.encode(["Heat"])
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_a_wrong_request_is_not_repeated(server: EmbeddingServer, status: int) -> None:
    server.troubles = [(status, {}, b'{"error": {"message": "no such model"}}')]
    encoder, waits = client(server)
    with pytest.raises(ConfigError, match=rf"{status} \(no such model\)"):
        encoder.encode(["Heat"])
    assert not waits


def test_an_endpoint_that_is_down() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    encoder = Http(url=f"http://127.0.0.1:{port}/v1", tries=2)
    encoder._sleep = lambda seconds: None
    with pytest.raises(AssetError, match=r"refused.*tried 2 times"):
        encoder.encode(["Heat"])


def test_an_endpoint_that_is_slow(server: EmbeddingServer) -> None:
    server.troubles = [2.0, 2.0]
    encoder, _ = client(server, tries=2, timeout_seconds=0.1)
    with pytest.raises(AssetError, match="no answer in time"):
        encoder.encode(["Heat"])
    server.troubles = []
    assert encoder.encode(["Heat"]).any()


def sheet() -> PriceSheet:
    return replace(PriceSheet.load(), tokens={"m": {"in": 10.0, "out": 0.0, "cached": 0.0}})


def test_what_is_asked_is_bought(server: EmbeddingServer) -> None:
    ledger = Ledger()
    with metering(sheet()) as cap, ledger.span("bought"):
        client(server)[0].encode(TEXTS)
    # Two words a title, ten titles, 10 a million tokens.
    assert cap.spent == pytest.approx(20 * 10 / 1e6)
    assert ledger.entries[0].cost.fees == pytest.approx(cap.spent)
    with metering(sheet(), SpendCap(1e-6)), pytest.raises(BudgetError):
        client(server)[0].encode(TEXTS)
    assert len(server.requests) == 1


def test_an_unknown_price_is_refused_unless_it_is_said(server: EmbeddingServer) -> None:
    unlisted = replace(sheet(), tokens={}, tokens_from="")
    with metering(unlisted), pytest.raises(PriceError, match="no token price for 'm'"):
        client(server)[0].encode(TEXTS)
    with metering(unlisted) as cap:
        client(server, price="unknown")[0].encode(TEXTS)
    assert cap.spent is None


def test_a_refused_request_costs_nothing(server: EmbeddingServer) -> None:
    server.troubles = [(401, {}, b"{}")]
    with metering(sheet(), SpendCap(1.0)) as cap, pytest.raises(ConfigError):
        client(server)[0].encode(TEXTS)
    assert cap.spent == 0


def altered(change: Any) -> Any:
    def answer(server: EmbeddingServer) -> Any:
        def respond(body: dict[str, Any]) -> Any:
            proper = server.proper(body)
            changed = change(proper)
            return 200, {}, json.dumps(proper if changed is None else changed).encode()

        return respond

    return answer


NONSENSE = {
    "no JSON": lambda server: (200, {}, b"<html>welcome</html>"),
    "a list": altered(lambda proper: []),
    "no data": altered(lambda proper: {"error": "x"}),
    "one too few": altered(lambda proper: proper["data"].pop() and None),
    "twice the same": altered(lambda proper: proper["data"][0].update(index=proper["data"][1]["index"])),
    "text for numbers": altered(lambda proper: proper["data"][0].update(embedding="AAAA")),
    "unequal lengths": altered(lambda proper: proper["data"][0]["embedding"].pop() and None),
    "not finite": altered(lambda proper: proper["data"][0]["embedding"].__setitem__(0, float("nan"))),
    "zero": altered(lambda proper: proper["data"][0].update(embedding=[0.0] * 16)),
    "empty": altered(lambda proper: [entry.update(embedding=[]) for entry in proper["data"]] and None),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_is_refused_and_nothing_of_it_is_kept(server: EmbeddingServer, tmp_path: Path, kind: str) -> None:
    server.troubles = [NONSENSE[kind](server)]
    store = ArrayCache(tmp_path / "arrays.sqlite")
    encoder, _ = client(server)
    with pytest.raises(DataError, match="embeddings"):
        Cached(encoder, store).encode(TEXTS)
    assert len(store) == 0
    np.testing.assert_allclose(Cached(encoder, store).encode(TEXTS), HashEncoder().encode(TEXTS), atol=1e-6)
    store.close()


def test_vectors_that_change_their_length_are_refused(server: EmbeddingServer) -> None:
    encoder, _ = client(server)
    encoder.encode(["Heat"])
    server.dim = 8
    with pytest.raises(DataError, match="had 16 dimensions before and have 8 now"):
        encoder.encode(["Alien"])


def test_what_was_encoded_before_a_failure_is_kept(server: EmbeddingServer, tmp_path: Path) -> None:
    store = ArrayCache(tmp_path / "arrays.sqlite")
    encoder, _ = client(server, tries=1)
    server.troubles = [lambda body: (200, {}, json.dumps(server.proper(body)).encode()), (500, {}, b"broken")]
    with pytest.raises(AssetError, match="answers 500"):
        Cached(encoder, store, batch_size=4).encode(TEXTS)
    assert len(store) == 4
    server.requests.clear()
    Cached(encoder, store, batch_size=4).encode(TEXTS)
    assert sum(len(body["input"]) for body in server.requests) == 6
    store.close()


def test_settings_are_part_of_the_fingerprint_and_the_key_is_not(server: EmbeddingServer) -> None:
    plain = Http(url=server.url)
    assert Http(url=server.url + "/").fingerprint() == plain.fingerprint()
    for settings in ({"model": "b"}, {"version": "2"}, {"dimensions": 8}, {"url": "http://other/v1"}):
        assert Http(**{"url": server.url, **settings}).fingerprint() != plain.fingerprint()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": "localhost:8000"}, "http://"),
        ({"batch_size": 0}, "batch-size"),
        ({"tries": 0}, "tries"),
        ({"timeout_seconds": 0.0}, "timeout"),
        ({"max_tokens": 0}, "max-tokens"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Http(**settings)
