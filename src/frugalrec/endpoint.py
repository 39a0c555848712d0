"""One HTTP endpoint that speaks OpenAI's protocol: requests, retries, limits, streams."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from frugalrec.errors import AssetError, ConfigError, DataError

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Answers that may be another the next time."""

_LONGEST_WAIT_SECONDS = 60.0


class RateLimit:
    """At most so many requests a minute, evenly apart; 0 is no limit. Safe to share between threads."""

    def __init__(self, per_minute: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._apart = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0

    def delay(self) -> float:
        """Take the next turn and return how many seconds it is away."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._apart
            return turn - now


class Endpoint:
    """Posts JSON to ``url``; tries again where that may help, after growing, random pauses or as long as it is told.

    ``timeout_seconds`` limits connecting and each wait for bytes. ``sleep`` is for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        timeout_seconds: float = 60.0,
        tries: int = 5,
        requests_per_minute: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url, self.tries, self.sleep = url.rstrip("/"), tries, sleep
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout_seconds, follow_redirects=False)
        self._limit = RateLimit(requests_per_minute)
        self._jitter = random.Random()

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer, a JSON object; raises `ConfigError` for a refusal, `AssetError` for what does not answer.

        An answer that is no JSON object is a `DataError`.
        """

        def once() -> dict[str, Any]:
            with self._client.stream("POST", f"{self.url}/{path}", json=dict(body)) as answer:
                self._check(answer)
                return self._object(answer.read(), path)

        found: dict[str, Any] = self._tried(once, path)
        return found

    def stream(self, path: str, body: Mapping[str, Any], take: Callable[[dict[str, Any]], None]) -> None:
        """Give ``take`` each event of a streamed answer. Tried again only while no event has come."""
        begun = False

        def once() -> None:
            nonlocal begun
            with self._client.stream("POST", f"{self.url}/{path}", json={**body, "stream": True}) as answer:
                self._check(answer)
                for line in answer.iter_lines():
                    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                    if data == "[DONE]":
                        return
                    if data:
                        begun = True
                        take(self._object(data.encode(), path))
            raise _CutOffError

        self._tried(once, path, again=lambda: not begun)

    def _tried(self, once: Callable[[], Any], path: str, again: Callable[[], bool] = lambda: True) -> Any:
        worked = False
        for attempt in range(1, self.tries + 1):
            if (wait := self._limit.delay()) > 0:
                self.sleep(wait)
            try:
                return once()
            except _AgainError as error:
                reason, pause = str(error), error.pause
                worked = worked or error.worked
            except httpx.TimeoutException as error:
                reason, pause = f"no answer in time ({type(error).__name__})", None
                worked = worked or not isinstance(error, httpx.ConnectTimeout)
            except (httpx.TransportError, _CutOffError) as error:
                reason, pause = str(error) or "the answer broke off", None
                worked = worked or not isinstance(error, httpx.ConnectError)
            if attempt == self.tries or not again():
                raise UnansweredError(
                    f"{self.url}/{path}: {reason} (tried {attempt} {'time' if attempt == 1 else 'times'})",
                    hint="check that the endpoint is up, or wait and try again",
                    worked=worked,
                )
            # Full jitter: many clients that were turned away together do not come back together.
            backoff = self._jitter.uniform(0.0, min(_LONGEST_WAIT_SECONDS, 0.5 * 2**attempt))
            self.sleep(backoff if pause is None else min(pause, _LONGEST_WAIT_SECONDS) + backoff / 10)
        raise AssertionError("unreachable")

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        said = _reason(answer)
        if answer.status_code in RETRIED:
            turned_away = answer.status_code in (429, 503)
            raise _AgainError(f"the endpoint answers {answer.status_code}{said}", _pause(answer), not turned_away)
        hint = {
            401: "set the environment variable named by api_key_variable",
            403: "set the environment variable named by api_key_variable",
            404: "correct 'url' or 'model'",
        }.get(answer.status_code, "correct the settings of the model")
        raise ConfigError(f"{answer.url}: the endpoint refuses the request: {answer.status_code}{said}", hint=hint)

    @staticmethod
    def _object(content: bytes, path: str) -> dict[str, Any]:
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            shown = content[:80].decode("utf-8", "replace")
            raise DataError(f"{path}: expected a JSON object from the endpoint, got {shown!r}", hint="correct 'url'")
        if "error" in found and len(found) <= 2:
            raise DataError(f"{path}: the endpoint answers with an error: {str(found['error'])[:200]}")
        return found


class UnansweredError(AssetError):
    """An endpoint that did not answer. ``worked``: whether it may have computed something, and bill it."""

    def __init__(self, message: str, *, hint: str = "", worked: bool) -> None:
        super().__init__(message, hint=hint)
        self.worked = worked


class _AgainError(Exception):
    """The server asks to come back later."""

    def __init__(self, reason: str, pause: float | None, worked: bool) -> None:
        super().__init__(reason)
        self.pause, self.worked = pause, worked


class _CutOffError(Exception):
    """A stream ended before it said so."""


def _pause(answer: httpx.Response) -> float | None:
    """Return how many seconds the server asks to wait: a number, or a date."""
    said = answer.headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _reason(answer: httpx.Response) -> str:
    try:
        found = json.loads(answer.read())
        said = found["error"]["message"] if isinstance(found["error"], dict) else found["error"]
    except (ValueError, KeyError, TypeError, httpx.HTTPError):
        return ""
    return f" ({str(said)[:200]})"


__all__ = ["RETRIED", "Endpoint", "RateLimit", "UnansweredError"]
