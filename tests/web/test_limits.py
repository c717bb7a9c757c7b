from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
from support_daemon import Reply, Wire
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from overc.web.limits import LimitedSite, raw_answer
from overc.web.shortcut import Post

BODY_MAX = 20
TIMEOUT_S = 10.0
TOO_LARGE = "the body is larger than 20 bytes: send it in smaller parts"
TOO_SLOW = "the request did not arrive within 10 s"


class Echo(Resource):
    """Answers with the body; a request for /slow is kept until the test finishes it."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []
        self.kept: list[Callable[[bytes], None]] = []
        self.args: list[object] = []

    def render(self, request: Request) -> bytes | int:
        assert request.content is not None
        body: bytes = request.content.read()
        self.bodies.append(body)
        self.args.append(request.args)
        if request.path == b"/host":
            body = request.getRequestHostname()
        if request.path == b"/slow":
            self.kept.append(partial(self._answer, request))
            return NOT_DONE_YET
        request.setHeader("Content-Length", str(len(body)))
        return body

    def serve(self, post: Post) -> None:
        """Do the same on the short way."""
        body = post.body()
        self.bodies.append(body)
        self.args.append({})
        if post.path == b"/slow":
            self.kept.append(partial(post.send, 200, b""))
        else:
            post.send(200, b"", body)

    def finish(self, body: bytes = b"") -> None:
        self.kept.pop(0)(body)

    def _answer(self, request: Request, body: bytes) -> None:
        request.setHeader("Content-Length", str(len(body)))
        request.write(body)
        request.finish()


class Fixture:
    def __init__(self, *, short_way: bool) -> None:
        self.reactor = Clock()
        self.echo = Echo()
        exact = {(b"POST", path): self.echo.serve for path in (b"/", b"/slow")}
        self.site = LimitedSite(
            self.echo, self.reactor, BODY_MAX, TIMEOUT_S, exact if short_way else None
        )
        self.wire = Wire(self.site)

    def only_reply(self) -> Reply:
        [reply] = self.wire.replies()
        return reply


@pytest.fixture(params=[True, False], ids=["short way", "Twisted's way"])
def site(request: pytest.FixtureRequest) -> Fixture:
    return Fixture(short_way=request.param)


def head(*headers: str, path: str = "/") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def post(body: bytes, path: str = "/") -> bytes:
    return head(f"Content-Length: {len(body)}", path=path) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = head("Transfer-Encoding: chunked")


@pytest.mark.parametrize("size", [0, 1, BODY_MAX])
def test_a_body_within_the_limit(site: Fixture, size: int) -> None:
    site.wire.send(post(b"x" * size))
    assert site.only_reply().body == b"x" * size
    assert not site.wire.disconnecting


def test_a_chunked_body_within_the_limit(site: Fixture) -> None:
    site.wire.send(CHUNKED + chunk(b"x" * 10) + chunk(b"y" * 10) + chunk(b""))
    assert site.only_reply().body == b"x" * 10 + b"y" * 10


def test_a_request_without_a_body(site: Fixture) -> None:
    site.wire.send(head())
    assert site.only_reply().code == 200
    assert site.echo.bodies == [b""]


def test_a_length_over_the_limit_is_refused_before_the_body(site: Fixture) -> None:
    site.wire.send(head(f"Content-Length: {BODY_MAX + 1}"))
    reply = site.only_reply()
    assert (reply.code, reply.error) == (413, TOO_LARGE)
    assert reply.headers["connection"] == "close"
    # Closing now would reset the connection before the client has read its answer.
    assert not site.wire.disconnecting
    site.wire.send(b"x" * BODY_MAX)
    assert not site.wire.disconnecting
    site.wire.send(b"x")
    assert site.wire.disconnecting
    assert site.echo.bodies == []
    assert len(site.wire.replies()) == 1


def test_chunks_over_the_limit_are_refused_when_it_shows(site: Fixture) -> None:
    site.wire.send(CHUNKED + chunk(b"x" * BODY_MAX))
    assert site.wire.value() == b""
    site.wire.send(chunk(b"x"))
    assert (site.only_reply().code, site.only_reply().error) == (413, TOO_LARGE)
    for _ in range(100):
        site.wire.send(chunk(b"x" * 1000))
    assert not site.wire.disconnecting
    site.wire.send(chunk(b""))
    assert site.wire.disconnecting
    assert site.echo.bodies == []
    assert len(site.wire.replies()) == 1


def test_a_refused_body_that_never_ends(site: Fixture) -> None:
    site.wire.send(head("Content-Length: 1000000000"))
    for _ in range(9):
        site.reactor.advance(1)
        site.wire.send(b"x" * 1000)
    assert not site.wire.disconnecting
    site.reactor.advance(1)
    assert site.wire.disconnecting
    assert [reply.code for reply in site.wire.replies()] == [413]


def test_what_follows_a_refused_request_is_not_served(site: Fixture) -> None:
    site.wire.send(post(b"x" * 21) + post(b"next"))
    assert [reply.code for reply in site.wire.replies()] == [413]
    assert site.echo.bodies == []
    assert site.wire.disconnecting


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
def test_a_client_that_asks_first(site: Fixture, expect: str) -> None:
    site.wire.send(head("Content-Length: 5", f"Expect: {expect}"))
    assert site.wire.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    site.wire.clear()
    site.wire.send(b"hello")
    assert site.only_reply().body == b"hello"


def test_a_client_that_asks_first_for_too_much(site: Fixture) -> None:
    site.wire.send(head("Content-Length: 21", "Expect: 100-continue"))
    assert site.only_reply().code == 413


def test_a_request_that_drips_is_cut_off(site: Fixture) -> None:
    for byte in post(b"x")[:9]:
        site.wire.send(bytes([byte]))
        site.reactor.advance(1)
    assert site.wire.value() == b""
    site.reactor.advance(1)
    reply = site.only_reply()
    assert (reply.code, reply.error) == (408, TOO_SLOW)
    assert reply.headers["connection"] == "close"
    assert site.wire.disconnecting


def test_a_body_that_drips_is_cut_off(site: Fixture) -> None:
    site.wire.send(head("Content-Length: 20"))
    for _ in range(9):
        site.reactor.advance(1)
        site.wire.send(b"x")
    site.reactor.advance(1)
    assert site.only_reply().code == 408
    assert site.echo.bodies == []


def test_a_client_that_does_not_go_away_is_made_to(site: Fixture) -> None:
    site.wire.send(b"POST")
    site.reactor.advance(TIMEOUT_S)
    assert not site.wire.aborted
    site.reactor.advance(15)
    assert site.wire.aborted


def test_a_client_that_goes_away_leaves_no_timer(site: Fixture) -> None:
    site.wire.send(b"POST")
    site.wire.hang_up()
    assert site.reactor.getDelayedCalls() == []
    site.reactor.advance(60)
    assert site.wire.value() == b""


def test_a_client_that_goes_away_after_it_was_cut_off(site: Fixture) -> None:
    site.wire.send(b"POST")
    site.reactor.advance(TIMEOUT_S)
    site.wire.hang_up()
    assert site.reactor.getDelayedCalls() == []


def test_requests_share_a_connection_each_with_its_own_time(site: Fixture) -> None:
    for number in range(5):
        site.wire.send(post(b"%d" % number)[:10])
        site.reactor.advance(TIMEOUT_S - 1)
        site.wire.send(post(b"%d" % number)[10:])
    assert [reply.body for reply in site.wire.replies()] == [b"0", b"1", b"2", b"3", b"4"]
    assert not site.wire.disconnecting


def test_an_answer_may_take_longer_than_a_request(site: Fixture) -> None:
    site.wire.send(post(b"x", "/slow"))
    site.reactor.advance(TIMEOUT_S * 100)
    assert not site.wire.disconnecting
    site.echo.finish()
    assert site.only_reply().code == 200


def test_pipelined_requests_are_answered_in_order(site: Fixture) -> None:
    site.wire.send(post(b"1", "/slow") + post(b"2") + post(b"3"))
    assert site.wire.value() == b""
    site.reactor.advance(TIMEOUT_S * 2)
    site.echo.finish(b"slow")
    assert [reply.body for reply in site.wire.replies()] == [b"slow", b"2", b"3"]


def test_a_request_that_arrives_during_an_answer_has_its_time_after_it(site: Fixture) -> None:
    site.wire.send(post(b"1", "/slow"))
    site.wire.send(post(b"2"))
    site.reactor.advance(TIMEOUT_S * 2)
    assert not site.wire.disconnecting
    site.echo.finish(b"slow")
    assert [reply.body for reply in site.wire.replies()] == [b"slow", b"2"]


def test_a_pipelined_body_over_the_limit_comes_after_the_answer(site: Fixture) -> None:
    site.wire.send(post(b"1", "/slow") + post(b"x" * 21))
    assert site.wire.value() == b""
    site.echo.finish()
    assert [reply.code for reply in site.wire.replies()] == [200, 413]


def test_a_pipelined_request_that_drips_is_cut_off(site: Fixture) -> None:
    site.wire.send(post(b"1", "/slow") + b"POST / HT")
    site.reactor.advance(60)
    site.echo.finish()
    site.reactor.advance(TIMEOUT_S)
    assert [reply.code for reply in site.wire.replies()] == [200, 408]


def test_an_idle_connection_is_closed_without_a_word(site: Fixture) -> None:
    site.wire.send(post(b"x"))
    site.wire.clear()
    site.reactor.advance(59)
    assert not site.wire.disconnecting
    site.reactor.advance(1)
    assert site.wire.disconnecting
    assert site.wire.value() == b""


def test_a_client_that_sends_nothing_at_all(site: Fixture) -> None:
    site.reactor.advance(60)
    assert site.wire.disconnecting


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"],
)
def test_a_body_is_never_parsed_as_a_form(site: Fixture, kind: str) -> None:
    site.wire.send(head("Content-Length: 5", f"Content-Type: {kind}") + b"a=1&b")
    assert site.only_reply().body == b"a=1&b"
    assert site.echo.args == [{}]


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: x"],
        ["Content-Length: -1"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
    ],
)
def test_a_length_that_can_be_read_in_two_ways(site: Fixture, headers: list[str]) -> None:
    site.wire.send(head(*headers) + b"0\r\n\r\n")
    assert site.wire.value().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert site.echo.bodies == []
    assert site.wire.disconnecting


def test_a_host_that_is_no_host(site: Fixture) -> None:
    site.wire.send(head("Host: [x", path="/host"))
    assert site.only_reply().body == b"localhost"


def test_a_body_that_ends_with_the_connection_is_not_served(site: Fixture) -> None:
    site.wire.send(head("Content-Length: 10") + b"half")
    site.wire.hang_up()
    assert site.echo.bodies == []


def test_a_raw_answer() -> None:
    answer = raw_answer(413, "Request Entity Too Large", "é")
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.split(b"\r\n") == [
        b"HTTP/1.1 413 Request Entity Too Large",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    assert json.loads(body) == {"error": "é"}


def test_an_answer_to_a_client_that_is_gone() -> None:
    site = Fixture(short_way=True)
    site.wire.send(post(b"x", "/slow"))
    site.wire.hang_up()
    site.echo.finish(b"late")
    assert site.wire.value() == b""


def test_many_requests_that_come_during_an_answer(site: Fixture) -> None:
    """They are held, in order, and the client is not read from until they are served."""
    site.wire.send(post(b"0", "/slow"))
    for number in range(1, 5):
        site.wire.send(post(b"%d" % number, "/slow" if number == 3 else "/"))
    site.echo.finish(b"slow")
    assert [reply.body for reply in site.wire.replies()] == [b"slow", b"1", b"2"]
    site.echo.finish(b"again")
    assert [reply.body for reply in site.wire.replies()] == [b"slow", b"1", b"2", b"again", b"4"]
    site.wire.clear()
    site.wire.send(post(b"5"))
    assert site.only_reply().body == b"5"


def test_an_answer_takes_longer_than_a_connection_may_be_idle(site: Fixture) -> None:
    site.wire.send(post(b"x", "/slow"))
    for _ in range(10):
        site.reactor.advance(60)
    site.echo.finish(b"late")
    assert site.only_reply().body == b"late"
    assert not site.wire.disconnecting
    site.reactor.advance(60)
    assert site.wire.disconnecting


def test_all_ways_in_turn_on_one_connection(site: Fixture) -> None:
    chunked = CHUNKED + chunk(b"chunked") + chunk(b"")
    for _ in range(2):
        site.wire.send(post(b"whole"))
        site.wire.send(post(b"pieces")[:30])
        site.wire.send(post(b"pieces")[30:])
        site.wire.send(chunked)
        site.wire.send(post(b"two") + post(b"at once"))
    words = [b"whole", b"pieces", b"chunked", b"two", b"at once"]
    assert [reply.body for reply in site.wire.replies()] == words * 2


SMUGGLED = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"


def test_a_piece_of_a_body_that_looks_like_a_request(site: Fixture) -> None:
    """What one client sends for another one must never be taken for a request of its own."""
    site.wire.send(head("Content-Length: 20", path="/slow"))
    site.wire.send(SMUGGLED)
    assert site.echo.bodies == [SMUGGLED[:20]]


def test_a_piece_of_a_head_that_looks_like_a_request(site: Fixture) -> None:
    site.wire.send(b"POST /slow HTTP/1.1\r\nX: ")
    site.wire.send(SMUGGLED)
    assert (len(site.echo.kept), site.wire.value()) == (1, b"")


def test_a_request_after_half_a_line_is_a_part_of_it(site: Fixture) -> None:
    site.wire.send(b"POST /slow HTTP/1.1 ")
    site.wire.send(post(b"x"))
    assert site.echo.bodies == []
