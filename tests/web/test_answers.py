from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from support_daemon import our_log, result_of
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.defer import TimeoutError as TwistedTimeout
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.server import Request

from overc.daemon.intake import Overloaded
from overc.daemon.recording import WrongKey
from overc.daemon.store.errors import StorageError, StorageRefused
from overc.web.access import Refusal
from overc.web.answers import (
    ALWAYS,
    Answer,
    as_json,
    refusal_as_json,
    refusal_of,
    respond,
)
from overc.web.reports import Malformed

AGAIN = "Nothing is lost if you send it again"
LATER = {"Retry-After": "5"}


class FakeRequest:
    path = b"/api/ping"

    def __init__(self) -> None:
        self.code = 0
        self.headers: dict[str, str] = {}

    def setResponseCode(self, code: int) -> None:
        self.code = code

    def setHeader(self, name: str, value: str) -> None:
        self.headers[name] = value


class Exchange:
    def __init__(self, route: Callable[[], Awaitable[Answer]]) -> None:
        self.request = FakeRequest()
        self.reactor = Clock()
        self.body = ensureDeferred(
            respond(cast(Request, self.request), route, self.reactor, 5.0, refusal_as_json)
        )

    def error(self) -> str:
        said: Any = json.loads(result_of(self.body))
        assert list(said) == ["error"]
        return str(said["error"])


def raising(error: BaseException) -> Callable[[], Awaitable[Answer]]:
    async def route() -> Answer:
        raise error

    return route


@pytest.mark.parametrize(
    "error, code, sentence, headers",
    [
        (Malformed("period: is missing"), 400, "period: is missing", {}),
        (WrongKey("web1"), 403, str(WrongKey("web1")), {}),
        (
            StorageError("Unable to store a report: disk full"),
            503,
            f"Unable to store a report: disk full. {AGAIN}",
            LATER,
        ),
        (StorageRefused("too new"), 503, f"too new. {AGAIN}", LATER),
        (Overloaded("the server is busy"), 503, f"the server is busy. {AGAIN}", LATER),
        (TwistedTimeout(5, "Deferred"), 503, f"the server took too long. {AGAIN}", LATER),
        (Refusal(415, "no", {"X": "y"}), 415, "no", {"X": "y"}),
        (Refusal(404, "no"), 404, "no", {}),
        (ValueError("a secret"), 500, "the server failed: its log says why", {}),
        (KeyError("a secret"), 500, "the server failed: its log says why", {}),
    ],
)
def test_each_error_has_its_answer(
    error: Exception, code: int, sentence: str, headers: dict[str, str]
) -> None:
    said = ["critical: a request failed: b'/x'"] if code == 500 else []
    with our_log() as lines:
        refusal = refusal_of(error, b"/x", Failure(error))
    assert lines == said
    assert (refusal.code, str(refusal), refusal.headers) == (code, sentence, headers)
    with our_log() as lines:
        exchange = Exchange(raising(error))
    assert exchange.error() == sentence
    assert exchange.request.code == code
    assert headers.items() <= exchange.request.headers.items()
    assert ("Retry-After" in exchange.request.headers) == (code == 503)
    assert lines == (["critical: a request failed: b'/api/ping'"] if code == 500 else [])


def test_an_answer_sets_status_and_headers() -> None:
    async def route() -> Answer:
        return Answer("ё".encode(), "text/plain", 201, {"X-Own": "1", "Cache-Control": "no-cache"})

    exchange = Exchange(route)
    assert result_of(exchange.body) == "ё".encode()
    assert exchange.request.code == 201
    assert exchange.request.headers == {
        **ALWAYS,
        "Content-Type": "text/plain",
        "Content-Length": "2",
        "X-Own": "1",
        "Cache-Control": "no-cache",
    }
    assert exchange.reactor.getDelayedCalls() == []


def test_every_answer_forbids_what_a_page_does_not_need() -> None:
    assert ALWAYS["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'self'" in ALWAYS["Content-Security-Policy"]
    assert "unsafe" not in ALWAYS["Content-Security-Policy"]
    assert ALWAYS["Cache-Control"] == "no-store"


def test_a_route_that_takes_too_long() -> None:
    cancelled: list[object] = []
    waiting: Deferred[Answer] = Deferred(cancelled.append)

    async def route() -> Answer:
        return await waiting

    exchange = Exchange(route)
    exchange.reactor.advance(4.9)
    assert not exchange.body.called
    exchange.reactor.advance(0.1)
    assert exchange.error() == f"the server took too long. {AGAIN}"
    assert exchange.request.code == 503
    assert cancelled == [waiting]


def test_a_client_that_goes_away_cancels_the_route() -> None:
    cancelled: list[object] = []
    waiting: Deferred[Answer] = Deferred(cancelled.append)

    async def route() -> Answer:
        return await waiting

    with our_log() as lines:
        exchange = Exchange(route)
        exchange.body.cancel()
        with pytest.raises(CancelledError):
            result_of(exchange.body)
    assert cancelled == [waiting]
    assert lines == []
    assert exchange.request.code == 0
    assert exchange.reactor.getDelayedCalls() == []


def test_json() -> None:
    assert as_json({"ё": [1, 2.5, None]}) == Answer('{"ё":[1,2.5,null]}'.encode())
    refusal = Refusal(404, 'no "ё"', {"X": "y"})
    assert refusal_as_json(refusal) == Answer(
        '{"error": "no \\"ё\\""}'.encode(), "application/json", 404, {"X": "y"}
    )
