"""Reports go a short way past Klein; what is answered there is what Klein would have answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support_daemon import Reply, Wire, a_database, our_log, result_of
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from web.doubles import API, BODY_MAX, CROSS, PING, Fixture, basic, post

from overc.daemon.intake import Overloaded
from overc.daemon.recording import WrongKey
from overc.daemon.store.errors import StorageError
from overc.web.answers import ALWAYS
from overc.web.reports import DECODERS

STATUS = json.dumps(
    {"server": {"name": "web1", "key": "k"}, "period": 60,
     "services": [{"name": "ё", "state": "OK"}]}
).encode()  # fmt: skip
ALERTS = json.dumps({"server": {"name": "web1", "key": "k"}, "alerts": [{"message": "x"}]}).encode()
BODIES = {"/api/ping": PING, "/api/set/service/status": STATUS, "/api/set/alerts": ALERTS}


def header(headers: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}: {value}" for name, value in headers.items())


def chunked(path: str, *pieces: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (*pieces, b""))


class Ways:
    """The same server twice: with the short way, and with Klein for everything."""

    def __init__(self, path: str) -> None:
        self.short = Fixture(path, API)
        self.klein = Fixture(path, API, short_way=False)
        self.auth = header(basic(API.user, API.password))

    def both(self, *sent: bytes, bodiless: bool = False) -> list[Reply]:
        """Send the same to both and return the answers, which have to be the same."""
        answers = []
        for fixture in (self.short, self.klein):
            wire = fixture.wire()
            with our_log():
                for piece in sent:
                    wire.send(piece)
            answers.append(
                (
                    [without_name_and_date(one) for one in wire.replies(bodiless=bodiless)],
                    wire.disconnecting,
                    fixture.intake.reports,
                )
            )
        assert answers[0] == answers[1]
        return answers[0][0]


def without_name_and_date(reply: Reply) -> Reply:
    """Take off what Twisted adds by itself."""
    kept = {name: of for name, of in reply.headers.items() if name not in {"server", "date"}}
    return Reply(reply.code, kept, reply.body)


@pytest.fixture
def ways(tmp_path: Path) -> Ways:
    return Ways(a_database(tmp_path))


@pytest.fixture
def web(tmp_path: Path) -> Fixture:
    return Fixture(a_database(tmp_path))


@pytest.mark.parametrize("path", DECODERS)
def test_a_report(ways: Ways, path: str) -> None:
    [answer] = ways.both(post(path, BODIES[path], *ways.auth))
    assert (answer.code, answer.json) == (200, DECODERS[path][1])
    for name, value in ALWAYS.items():
        assert answer.headers[name.lower()] == value
    assert len(ways.short.intake.reports) == 1


@pytest.mark.parametrize("path", DECODERS)
@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_in_pieces(ways: Ways, path: str, size: int) -> None:
    whole = post(path, BODIES[path], *ways.auth)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    [answer] = ways.both(*pieces)
    assert answer.code == 200


@pytest.mark.parametrize("path", DECODERS)
def test_chunked(ways: Ways, path: str) -> None:
    whole = chunked(path, BODIES[path][:5], BODIES[path][5:])
    head, _, body = whole.partition(b"\r\n\r\n")
    [answer] = ways.both(head + b"\r\n" + "\r\n".join(ways.auth).encode() + b"\r\n\r\n" + body)
    assert answer.code == 200


def test_pipelined(ways: Ways) -> None:
    requests = [post(path, body, *ways.auth) for path, body in BODIES.items()]
    refused = post("/api/ping", b"{}", *ways.auth)
    elsewhere = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = ways.both(b"".join([*requests, refused, elsewhere, requests[0]]))
    assert [one.code for one in answers] == [200, 200, 200, 400, 404, 200]
    assert [one.server.name for one in ways.short.intake.reports] == ["web1"] * 4


def test_http_1_0(ways: Ways) -> None:
    answers = []
    for fixture in (ways.short, ways.klein):
        wire = fixture.wire()
        wire.send(post("/api/ping", PING, *ways.auth, version="1.0"))
        assert wire.disconnecting
        [answer] = [without_name_and_date(one) for one in wire.replies()]
        answers.append(answer)
    # The short way says that it closes; with HTTP/1.0 that goes without saying.
    said = {"connection": "close"}
    assert answers[0] == replace(answers[1], headers={**answers[1].headers, **said})
    assert answers[0].code == 200


@pytest.mark.parametrize("word", ["close", "Close"])
def test_connection_close(ways: Ways, word: str) -> None:
    [answer] = ways.both(post("/api/ping", PING, *ways.auth, f"Connection: {word}"))
    assert answer.headers["connection"] == "close"
    wire = ways.short.wire()
    wire.send(post("/api/ping", PING, *ways.auth, "Connection: close"))
    assert wire.disconnecting


def test_a_connection_is_kept(ways: Ways) -> None:
    wire = ways.short.wire()
    for number in range(1, 4):
        wire.send(post("/api/ping", PING, *ways.auth))
        assert len(wire.replies()) == number
    assert not wire.disconnecting


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", DECODERS)
def test_other_methods(ways: Ways, method: str, path: str) -> None:
    whole = post(path, b"", *ways.auth).replace(b"POST", method.encode(), 1)
    [answer] = ways.both(whole, bodiless=method == "HEAD")
    assert (answer.code, answer.headers["allow"]) == (405, "POST")
    assert ways.short.intake.reports == []


@pytest.mark.parametrize(
    "path, code",
    [("/api/ping?x=y", 200), ("/api/%70ing", 200), ("/api/ping/", 404), ("//api/ping", 200)],
)
def test_other_ways_of_writing_a_path(ways: Ways, path: str, code: int) -> None:
    [answer] = ways.both(post(path, PING, *ways.auth))
    assert answer.code == code


@pytest.mark.parametrize(
    "headers, code",
    [
        ({}, 401),
        (basic("api", "wrong"), 401),
        (basic("API", "one"), 401),
        ({"Authorization": "Basic !"}, 401),
        ({"Authorization": "Bearer x"}, 401),
        ({**basic(API.user, API.password), **CROSS}, 403),
        ({**basic(API.user, API.password), "Origin": "http://evil.example"}, 403),
        ({**basic(API.user, API.password), "Origin": "http://x"}, 200),
        ({**basic(API.user, API.password), "Sec-Fetch-Site": "same-origin"}, 200),
        (basic(API.user, API.password), 200),
    ],
)
def test_who_may_come_in(ways: Ways, headers: dict[str, str], code: int) -> None:
    [answer] = ways.both(post("/api/ping", PING, *header(headers)))
    assert answer.code == code
    assert ("www-authenticate" in answer.headers) == (code == 401)
    assert len(ways.short.intake.reports) == (code == 200)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"{}", b"[" * 9000, PING[:-1], b"\xff"])
def test_what_is_malformed(ways: Ways, body: bytes) -> None:
    [answer] = ways.both(post("/api/ping", body, *ways.auth))
    assert answer.code == 400
    assert answer.error


def test_a_body_that_is_too_large(ways: Ways) -> None:
    [answer] = ways.both(post("/api/ping", b"x" * (BODY_MAX + 1), *ways.auth))
    assert answer.code == 413


@pytest.mark.parametrize(
    "encoding, code",
    [("identity", 200), ("Identity", 200), ("", 200), ("gzip", 400), ("br, identity", 415)],
)
def test_encodings(ways: Ways, encoding: str, code: int) -> None:
    [answer] = ways.both(post("/api/ping", PING, *ways.auth, f"Content-Encoding: {encoding}"))
    assert answer.code == code


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data", "x"])
def test_the_type_of_a_body_does_not_matter(ways: Ways, kind: str) -> None:
    [answer] = ways.both(post("/api/ping", PING, *ways.auth, f"Content-Type: {kind}"))
    assert answer.code == 200


@pytest.mark.parametrize(
    "error, code",
    [
        (WrongKey("ё"), 403),
        (Overloaded("the server is busy"), 503),
        (StorageError("Unable to store a report: disk full"), 503),
        (ZeroDivisionError("a secret"), 500),
    ],
)
def test_errors_of_the_intake(ways: Ways, error: Exception, code: int) -> None:
    ways.short.intake.error = ways.klein.intake.error = error
    [answer] = ways.both(post("/api/ping", PING, *ways.auth))
    assert answer.code == code
    assert answer.headers.get("retry-after") == ("5" if code == 503 else None)
    assert "secret" not in answer.error


def test_an_error_of_ours_is_in_the_log_with_its_traceback(web: Fixture) -> None:
    web.intake.error = ZeroDivisionError("a secret")
    with our_log() as lines:
        web.ask("POST", "/api/ping", PING)
    assert lines == ["critical: a request failed: b'/api/ping'"]


def test_the_answer_comes_after_the_commit(web: Fixture) -> None:
    waits: Deferred[None] = Deferred()
    web.intake.waits = waits
    wire = web.wire()
    wire.send(post("/api/ping") + post("/api/ping"))
    assert wire.value() == b""
    # The second one is not looked at before the first one is answered.
    assert len(web.intake.reports) == 1
    web.intake.waits = None
    waits.callback(None)
    assert [one.code for one in wire.replies()] == [200, 200]


@pytest.mark.parametrize("error", [None, StorageError("no"), ZeroDivisionError("bug")])
def test_a_client_that_is_gone_before_the_answer(web: Fixture, error: Exception | None) -> None:
    waits: Deferred[None] = Deferred()
    web.intake.waits = waits
    wire = web.wire()
    wire.send(post("/api/ping"))
    wire.hang_up()
    with our_log() as lines:
        waits.errback(error) if error else waits.callback(None)
    # Nothing was raised on the way.
    assert result_of(waits) is None
    assert wire.value() == b""
    # Only what is a fault of ours is worth a line.
    assert len(lines) == isinstance(error, ZeroDivisionError)
    assert web.reactor.getDelayedCalls() == []


def test_the_peer_of_a_unix_socket(web: Fixture) -> None:
    wire = Wire(web.site, UNIXAddress(None))
    wire.send(post("/api/ping"))
    assert wire.replies()[0].code == 200
    assert web.intake.reports[0].peer_ip == ""


def test_the_date_is_now(web: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overc.web.limits.time.time", lambda: 1_772_359_200.5)
    answer = web.ask("POST", "/api/ping", PING)
    assert answer.headers["date"] == "Sun, 01 Mar 2026 10:00:00 GMT"
    monkeypatch.setattr("overc.web.limits.time.time", lambda: 1_772_359_201.5)
    answer = web.ask("POST", "/api/ping", PING)
    assert answer.headers["date"] == "Sun, 01 Mar 2026 10:00:01 GMT"
