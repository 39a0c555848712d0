"""The client of OpenAI's protocol against a real local server: answers, faults, limits, money."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest

from frugalrec.cost import Cost, Ledger
from frugalrec.endpoint import RateLimit
from frugalrec.errors import AssetError, BudgetError, ConfigError, DataError, PriceError
from frugalrec.llms._json import mismatch
from frugalrec.llms.http import Http
from frugalrec.prices import PriceSheet
from frugalrec.spending import SpendCap, metering
from frugalrec.testing.openai_server import Server, served

SHEET = replace(PriceSheet.load(), tokens={"tiny": {"in": 1e6, "out": 1e6, "cached": 1e5}})
"""A price sheet on which a token of the model 'tiny' costs 1."""


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as running:
        yield running


def client(server: Server, **settings: Any) -> Http:
    settings = {"model": "tiny", "timeout_seconds": 5.0, **settings}
    model = Http(url=server.url, **settings)
    model._endpoint.sleep = lambda seconds: pauses.append(seconds)
    return model


pauses: list[float] = []


@pytest.fixture(autouse=True)
def _no_pauses() -> None:
    pauses.clear()


def spent(call: Any) -> Cost:
    ledger = Ledger()
    with ledger.span("call"):
        call()
    return ledger.total()


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_generates(server: Server, api: str, stream: bool) -> None:
    model = client(server, api=api, stream=stream)
    assert model.generate(["a b b", "c c d"], max_tokens=2) == ["b a", "c d"]
    assert model.generate([], max_tokens=2) == []
    assert model.generate(["a"], max_tokens=0) == [""]
    assert len(server.requests) == 2
    assert {request["temperature"] for request in server.requests} == {0}


def test_what_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    model = client(server, api_key_variable="MY_KEY", system="Be brief.")
    model.generate(["hello"], max_tokens=3, stop=["x", "", "y"])
    (request,) = server.requests
    assert request["model"] == "tiny"
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert request["stop"] == ["x", "y"]
    assert server.headers[0]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(model)
    assert "s3cret" not in model.fingerprint()


def test_stops_that_the_endpoint_ignores_are_cut_here(server: Server) -> None:
    server.text = "one two. three"
    assert client(server).generate(["a"], stop=["."]) == ["one two"]


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_those_reported(server: Server, stream: bool) -> None:
    server.cached = 1
    cost = spent(lambda: client(server, stream=stream).generate(["a b b c"], max_tokens=2))
    assert (cost.tokens_in, cost.tokens_cached, cost.tokens_out) == (3, 1, 2)
    assert cost.flops is None


def test_tokens_that_nobody_reports_are_estimated_from_above(server: Server) -> None:
    server.usage = False
    cost = spent(lambda: client(server).generate(["a b b c"], max_tokens=2))
    assert cost.tokens_in == 7
    assert cost.tokens_out == len("b a")


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 504, "cut"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_may_pass_is_tried_again(server: Server, fault: int | str, stream: bool) -> None:
    if stream and fault == "cut":
        pytest.skip("a stream that has begun is not begun again: see below")
    server.faults = [fault, fault]
    assert client(server, stream=stream).generate(["a b b"], max_tokens=2) == ["b a"]
    assert len(server.requests) == 3
    assert len(pauses) == 2
    assert 0 <= pauses[0] <= 1.0
    assert 0 <= pauses[1] <= 2.0


def test_pauses_are_random_and_the_servers_wish_comes_first(server: Server) -> None:
    server.faults = [500] * 4
    client(server).generate(["a"])
    assert len(set(pauses)) == 4
    pauses.clear()
    server.faults, server.retry_after = [429], "7"
    client(server).generate(["a"])
    assert 7 <= pauses[0] <= 7.2
    pauses.clear()
    server.faults, server.retry_after = [503], formatdate(time.time() + 20, usegmt=True)
    client(server).generate(["a"])
    assert 15 <= pauses[0] <= 21


def test_it_gives_up_in_the_end(server: Server) -> None:
    server.faults = [503] * 9
    with pytest.raises(AssetError, match=r"answers 503 \(not today\) \(tried 3 times\)"):
        client(server, tries=3).generate(["a"])
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_tried_again(server: Server, status: int) -> None:
    server.faults = [status]
    with pytest.raises(ConfigError, match=rf"refuses the request: {status} \(not today\)"):
        client(server).generate(["a"])
    assert len(server.requests) == 1


def test_slow_nonsense_and_nobody(server: Server) -> None:
    server.faults = ["slow", "slow"]
    with pytest.raises(AssetError, match="no answer in time"):
        client(server, timeout_seconds=0.2, tries=2).generate(["a"])
    server.faults = ["nonsense"]
    with pytest.raises(DataError, match="expected a JSON object from the endpoint, got '<html>hello"):
        client(server).generate(["a"])
    nobody = Http(url="http://127.0.0.1:9/v1", model="tiny", tries=1)
    with pytest.raises(AssetError, match="tried 1 time"):
        nobody.generate(["a"])


def test_a_stream_that_breaks_off_is_an_error(server: Server) -> None:
    server.faults = ["cut"]
    with pytest.raises(AssetError, match="broke off"):
        client(server, stream=True).generate(["a b b"], max_tokens=2)
    assert len(server.requests) == 1  # what was begun may have been billed: it is not begun again in silence


def test_an_answer_without_text_is_an_error(server: Server) -> None:
    server.answer = lambda path, body: {"choices": [{"message": {"content": None}}]}  # type: ignore[method-assign]
    with pytest.raises(DataError, match="'tiny' answered without a text"):
        client(server).generate(["a"])


SCHEMA = {
    "type": "object",
    "properties": {"genre": {"enum": ["Comedy", "Drama"]}, "k": {"type": "integer", "minimum": 1}},
    "required": ["genre"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("mode", ["json-schema", "json-object"])
def test_json_is_asked_for_and_checked(server: Server, mode: str) -> None:
    model = client(server, json_mode=mode)
    server.text = '{"genre": "Comedy", "k": 3}'
    assert model.generate_json(["a comedy"], SCHEMA) == [{"genre": "Comedy", "k": 3}]
    sent = server.requests[0]["response_format"]
    assert SCHEMA in (sent.get("schema"), sent.get("json_schema", {}).get("schema"))
    for wrong, why in (
        ('{"genre": "Opera"}', "not one of Comedy, Drama"),
        ('{"k": 1}', "has no 'genre'"),
        ('{"genre": "Drama", "k": 0}', "below minimum 1"),
        ('{"genre": "Drama", "year": 1}', "'year', which was not asked for"),
        ('{"genre": "Drama"', "expected a JSON value"),
        ("[]", "not of type object"),
    ):
        server.text = wrong
        with pytest.raises(DataError, match=why):
            model.generate_json(["a comedy"], SCHEMA)


def test_schemas_in_schemas() -> None:
    schema = {
        "type": "array",
        "items": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 2}]},
        "maxItems": 2,
    }
    assert mismatch(["a", None], schema) == ""
    assert "[1]" in mismatch(["a", "abc"], schema)
    assert "maxItems" in mismatch(["a", "b", "c"], schema)
    assert mismatch(True, {"type": "integer"})
    assert not mismatch(True, {"type": "boolean"})


def test_loglikelihoods_are_those_of_the_model_behind(server: Server) -> None:
    model = client(server, api="completions")
    prefix, continuations = "apple banana apple", [" apple", " cherry banana", ""]
    np.testing.assert_allclose(
        model.loglikelihoods(prefix, continuations), server.model.loglikelihoods(prefix, continuations)
    )


def test_log_probabilities_that_are_not_told(server: Server) -> None:
    with pytest.raises(ConfigError, match="the chat protocol does not tell how likely"):
        client(server).loglikelihoods("a", [" b"])
    server.logprobs = False
    with pytest.raises(ConfigError, match="does not tell how likely the words of a prompt are"):
        client(server, api="completions").loglikelihoods("a", [" b"])


def test_log_probabilities_that_are_wrong(server: Server) -> None:
    server.off_by_one = True
    with pytest.raises(ConfigError, match="tells wrong log-probabilities of a prompt: ' the' has"):
        client(server, api="completions").loglikelihoods("a", [" b"])


def test_requests_in_parallel_and_in_order(server: Server) -> None:
    prompts = [f"w{i} w{i} x" for i in range(12)]
    assert client(server, parallel=4).generate(prompts, max_tokens=1) == [f"w{i}" for i in range(12)]
    assert server.most_at_once <= 4
    server.most_at_once = 0
    client(server, parallel=1).generate(prompts, max_tokens=1)
    assert server.most_at_once == 1


def test_charges_come_through_threads(server: Server) -> None:
    cost = spent(lambda: client(server, parallel=4).generate(["a b"] * 8, max_tokens=2))
    assert (cost.tokens_in, cost.tokens_out) == (16, 16)


def test_a_rate_limit_spreads_requests() -> None:
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    assert [limit.delay() for _ in range(3)] == [0.0, 1.0, 2.0]
    now[0] = 10.0
    assert limit.delay() == 0.0
    assert RateLimit(0).delay() == 0.0


def test_a_rate_limit_is_kept(server: Server) -> None:
    client(server, requests_per_minute=60, parallel=1).generate(["a"] * 3, max_tokens=1)
    assert len(pauses) == 2
    assert all(0 < pause <= 2.0 for pause in pauses)


def test_tokens_become_money(server: Server) -> None:
    server.cached = 1
    with metering(SHEET) as cap:
        cost = spent(lambda: client(server).generate(["a b b c"], max_tokens=2))
    assert cost.fees == pytest.approx(3 + 0.1 + 2)
    assert cap.spent == pytest.approx(5.1)


def test_no_request_is_made_at_the_cap(server: Server) -> None:
    model = client(server, parallel=4)
    with metering(SHEET, SpendCap(100.0)) as cap:
        with pytest.raises(BudgetError, match="a call of tiny may cost up to"):
            model.generate([f"a b w{i}" for i in range(40)], max_tokens=2)
        assert cap.spent <= 100.0
        made = len(server.requests)
        assert made < 40
        with pytest.raises(BudgetError):
            model.generate(["a " * 100], max_tokens=2)
    assert len(server.requests) == made


def test_a_price_must_be_known_or_said_to_be_unknown(server: Server) -> None:
    with metering(PriceSheet.load()):
        with pytest.raises(PriceError, match="no token price for 'tiny'"):
            client(server).generate(["a"])
        assert server.requests == []
        cost = spent(lambda: client(server, price="unknown").generate(["a"]))
    assert cost.fees is None


def test_what_was_turned_away_is_not_spent(server: Server) -> None:
    with metering(SHEET, SpendCap(1e6)) as cap:
        server.faults = [429, 429, 400]
        with pytest.raises(AssetError):
            client(server, tries=2).generate(["a"])
        with pytest.raises(ConfigError):
            client(server).generate(["a"])
        assert cap.spent == 0.0
        server.faults = ["slow"]
        with pytest.raises(AssetError):
            client(server, tries=1, timeout_seconds=0.2).generate(["a"])
        assert cap.spent > 0.0  # it may have been computed, and billed
        assert cap.reserved == 0.0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"url": "localhost:8000"}, "url must begin with http"),
        ({"model": ""}, "model must be the name"),
        ({"tries": 0}, "tries must be at least 1"),
        ({"parallel": 0}, "parallel must be at least 1"),
        ({"timeout_seconds": 0.0}, "timeout_seconds must be above 0"),
        ({"requests_per_minute": -1.0}, "requests_per_minute must be at least 0"),
        ({"price": "cheap"}, "price must be left out or 'unknown'"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Http(**{"url": "http://localhost/v1", "model": "tiny", **settings})
