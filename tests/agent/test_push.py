from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from agent.doubles import RecordingServer, a_report, never, refuse
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher

from overc.agent.delivery_settings import Server
from overc.agent.push import (
    HttpPusher,
    Outgoing,
    PushError,
    Refused,
    Unavailable,
    encode,
    refusal,
)
from overc.model import AlertReport, ServerIdentity, ServiceReport, Spooled, State

IDENTITY = ServerIdentity("höst", "s3cret")
STATES = Outgoing(Spooled("u", 1), [a_report("a", "fine")])
ALERTS = Outgoing(Spooled("u", 2), (), [AlertReport("m")])
LARGE = Outgoing(Spooled("u", 3), [a_report("a", "é" * 10_000)])


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    server = RecordingServer()
    yield server
    pytest_twisted.blockon(Deferred.fromCoroutine(server.close()))


def pusher_to(server: RecordingServer, path: str = "/", **more: Any) -> HttpPusher:
    port = server.listen(reactor)
    url = f"http://127.0.0.1:{port}{path}"
    credentials = more.pop("credentials", None)
    return HttpPusher(reactor, Server(url, credentials), IDENTITY, **more)


async def error_of(pusher: HttpPusher) -> PushError:
    try:
        await pusher.push(STATES)
    except PushError as e:
        return e
    finally:
        await pusher.close()
    raise AssertionError("no error")


@pytest.mark.parametrize(
    "outgoing, expected",
    [
        (
            Outgoing(
                Spooled("u", 7),
                [
                    ServiceReport("é", State.WARN, 'a "b"', 60, 12.34567, 20.0),
                    ServiceReport("b", State.OK, "", 5),
                ],
            ),
            '"spool":"u","seq":7,"period":5,"services":['
            '{"name":"é","state":"WARN","info":"a \\"b\\"","period":60,"grace":20.0,"time":12.346},'
            '{"name":"b","state":"OK","info":"","period":5}]}',
        ),
        (
            Outgoing(None, (), [AlertReport("m"), AlertReport("n\ud800", "app")]),
            '"alerts":[{"message":"m"},{"message":"n?","service":"app"}]}',
        ),
        (Outgoing(Spooled("u", 8)), '"spool":"u","seq":8,"period":0,"services":[]}'),
    ],
)
def test_the_words_of_the_wire(outgoing: Outgoing, expected: str) -> None:
    head = '{"server":{"name":"höst","key":"s3cret"},'
    assert encode(IDENTITY, outgoing).decode() == head + expected


@pytest_twisted.ensureDeferred
async def test_states_and_alerts_arrive_on_one_connection(server: RecordingServer) -> None:
    peers: list[object] = []

    def answer(request: Any) -> bytes:
        peers.append(request.getClientAddress().port)
        return b'{"ok": 1, "more": {}}'

    server.answer = answer
    pusher = pusher_to(server, "/over/c/", credentials=("me", "pä:ss"))
    await pusher.push(STATES)
    await pusher.push(ALERTS)
    await pusher.close()
    (states_path, states), (alerts_path, alerts) = server.requests
    assert states_path == "/over/c/api/set/service/status"
    assert alerts_path == "/over/c/api/set/alerts"
    assert states["services"][0]["info"] == "fine"
    assert alerts["alerts"] == [{"message": "m"}]
    assert peers[0] == peers[1]
    headers = server.headers[0]
    assert headers.getRawHeaders("authorization") == ["Basic bWU6cMOkOnNz"]
    assert headers.getRawHeaders("content-type") == ["application/json"]
    assert headers.getRawHeaders("accept-encoding") is None


@pytest.mark.parametrize(
    "code, said, kind, content, words",
    [
        (400, "services[0].name: no", Refused, True, "refuses a report: services[0].name: no"),
        (413, "too large", Refused, True, "refuses a report: too large"),
        (415, "", Refused, False, "status 415"),
        (401, "", Refused, False, "put user:password@ before the host"),
        (403, "Invalid server key", Refused, False, "my-key has to be the one"),
        (404, "", Refused, False, "check the server option's path"),
        (429, "slow down", Unavailable, None, "can't take reports now: slow down"),
        (500, "", Unavailable, None, "status 500"),
        (503, "a\nb", Unavailable, None, "can't take reports now: a b"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refusals(
    server: RecordingServer,
    code: int,
    said: str,
    kind: type[PushError],
    content: bool | None,
    words: str,
) -> None:
    server.answer = refuse(code, said)
    error = await error_of(pusher_to(server))
    assert type(error) is kind
    assert getattr(error, "content", None) is content
    assert words in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("reply", [b"<html>", b"[]", b"{}", b'{"ok": 0}', b"\xff", b"[" * 60000])
def test_a_200_that_is_not_ours_is_no_confirmation(reply: bytes) -> None:
    error = refusal("http://h/", "me", 200, "", reply)
    assert isinstance(error, Refused)
    assert "not as OverC does" in str(error)


@pytest_twisted.ensureDeferred
async def test_the_key_does_not_follow_a_redirect(server: RecordingServer) -> None:
    def answer(request: Any) -> bytes:
        request.redirect(b"/elsewhere")
        return b""

    server.answer = answer
    error = await error_of(pusher_to(server))
    assert isinstance(error, Refused)
    assert "redirects to /elsewhere" in str(error)
    assert [path for path, _ in server.requests] == ["/api/set/service/status"]


def headers_only(request: Any) -> int:
    request.setHeader(b"content-length", b"9")
    request.write(b"{")
    return never(request)


@pytest.mark.parametrize("answer", [never, headers_only])
@pytest_twisted.ensureDeferred
async def test_one_deadline_for_the_whole_exchange(
    server: RecordingServer, answer: Callable[[Any], int]
) -> None:
    hung_up: Deferred[None] = Deferred()

    def answer_and_watch(request: Any) -> int:
        request.notifyFinish().addErrback(lambda _: hung_up.callback(None))
        return answer(request)

    server.answer = answer_and_watch
    error = await error_of(pusher_to(server, deadline_s=0.2))
    assert isinstance(error, Unavailable)
    assert "gave no whole answer within 0.2 s" in str(error)
    await hung_up


class Silent(Protocol):
    def connectionMade(self) -> None:
        self.factory.connected.callback(None)


@pytest_twisted.ensureDeferred
async def test_cancelling_hangs_up() -> None:
    """As a stopping agent does, and what it gets is an error like any other."""
    factory: Any = Factory.forProtocol(Silent)
    factory.connected = Deferred()
    port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
    pusher = HttpPusher(reactor, Server(f"http://127.0.0.1:{port.getHost().port}/"), IDENTITY)
    push = Deferred.fromCoroutine(pusher.push(STATES))
    await factory.connected
    push.cancel()
    with pytest.raises(Unavailable):
        await push
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_huge_reply_is_not_read_to_its_end(server: RecordingServer) -> None:
    hung_up: Deferred[None] = Deferred()

    class Endless:
        def resumeProducing(self) -> None:
            request.write(b"x" * 65536)

        def stopProducing(self) -> None:
            pass

    request: Any = None

    def answer(incoming: Any) -> int:
        nonlocal request
        request = incoming
        request.notifyFinish().addErrback(lambda _: hung_up.callback(None))
        request.registerProducer(Endless(), False)
        return never(request)

    server.answer = answer
    error = await error_of(pusher_to(server))
    assert "not as OverC does" in str(error)
    await hung_up


@pytest_twisted.ensureDeferred
async def test_a_compressed_reply_is_not_unpacked(server: RecordingServer) -> None:
    def answer(request: Any) -> bytes:
        request.setHeader(b"content-encoding", b"gzip")
        return gzip.compress(b'{"ok": 1}')

    server.answer = answer
    assert "not as OverC does" in str(await error_of(pusher_to(server)))


@pytest_twisted.ensureDeferred
async def test_no_cookie_is_kept(server: RecordingServer) -> None:
    def answer(request: Any) -> bytes:
        request.addCookie(b"a", b"b")
        return b'{"ok": 1}'

    server.answer = answer
    pusher = pusher_to(server)
    await pusher.push(STATES)
    await pusher.push(STATES)
    await pusher.close()
    assert server.headers[1].getRawHeaders("cookie") is None


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_away(server: RecordingServer) -> None:
    pusher = pusher_to(server)
    await server.close()
    error = await error_of(pusher)
    assert isinstance(error, Unavailable)
    assert "can't be reached: " in str(error)
    assert "refused" in str(error)


@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_up(server: RecordingServer) -> None:
    def answer(request: Any) -> int:
        request.loseConnection()
        return never(request)

    server.answer = answer
    error = await error_of(pusher_to(server))
    assert isinstance(error, Unavailable)
    assert "can't be reached: " in str(error)


@pytest_twisted.ensureDeferred
async def test_a_connection_that_the_server_has_closed(server: RecordingServer) -> None:
    """It is closed just when it is used again: that is nobody's fault, and no failure."""
    transports: list[Any] = []
    pusher = pusher_to(server)

    def answer(request: Any) -> bytes | int:
        if len(server.requests) == 2:
            request.loseConnection()
            return never(request)
        transports.append(request.transport)
        return b'{"ok": 1}'

    server.answer = answer
    await pusher.push(STATES)
    await pusher.push(STATES)
    await pusher.close()
    assert len(server.requests) == 3
    assert len(set(transports)) == 2


@pytest_twisted.ensureDeferred
async def test_a_new_connection_that_fails_is_a_failure(server: RecordingServer) -> None:
    def answer(request: Any) -> int:
        request.loseConnection()
        return never(request)

    server.answer = answer
    assert isinstance(await error_of(pusher_to(server)), Unavailable)
    assert len(server.requests) == 1


@pytest_twisted.ensureDeferred
async def test_large_bodies_are_compressed_where_the_server_takes_that(
    server: RecordingServer,
) -> None:
    def answer(request: Any) -> bytes:
        request.setHeader(b"accept-encoding", b"identity, gzip;q=1.0")
        return b'{"ok": 1}'

    pusher = pusher_to(server)
    await pusher.push(LARGE)
    server.answer = answer
    await pusher.push(LARGE)
    await pusher.push(LARGE)
    await pusher.push(STATES)
    await pusher.close()
    told = [headers.getRawHeaders("content-encoding") for headers in server.headers]
    assert told == [None, None, ["gzip"], None]
    assert server.sizes[2] < 500 < server.sizes[1]
    assert server.requests[2] == server.requests[1]


@pytest_twisted.ensureDeferred
async def test_a_server_that_takes_gzip_no_more(server: RecordingServer) -> None:
    def answer(request: Any) -> bytes:
        request.setHeader(b"accept-encoding", b"gzip")
        if request.requestHeaders.hasHeader(b"content-encoding"):
            return refuse(415, "send it as it is")(request)
        return b'{"ok": 1}'

    server.answer = answer
    pusher = pusher_to(server)
    await pusher.push(LARGE)
    await pusher.push(LARGE)
    await pusher.close()
    told = [headers.getRawHeaders("content-encoding") for headers in server.headers]
    assert told == [None, ["gzip"], None]


@pytest.mark.parametrize(
    "header, expected",
    [
        ("5", 5.0),
        ("0", 0.0),
        ("99999999999999999999", 999_999_999.0),
        ("Sat, 01 Nov 2025 12:00:30 GMT", 30.0),
        ("Sat, 01 Nov 2025 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_server_says_when_to_come_again(
    server: RecordingServer, header: str, expected: float | None
) -> None:
    def answer(request: Any) -> bytes:
        request.setHeader(b"date", b"Sat, 01 Nov 2025 12:00:00 GMT")
        request.setHeader(b"retry-after", header.encode())
        return refuse(503, "busy")(request)

    server.answer = answer
    error = await error_of(pusher_to(server))
    assert isinstance(error, Unavailable)
    assert error.after_s == expected


@pytest_twisted.ensureDeferred
async def test_the_clock_is_compared_with_the_servers(server: RecordingServer) -> None:
    class Clocks:
        def wall(self) -> float:
            return 1_762_000_000.5

        def steady(self) -> float:
            return 0.0

    def answer(request: Any) -> bytes:
        request.setHeader(b"date", b"Sat, 01 Nov 2025 11:26:40 GMT")
        return b'{"ok": 1}'

    server.answer = answer
    pusher = pusher_to(server, clock=Clocks())
    assert pusher.clock_skew_s is None
    skew = await pusher.push(STATES)
    await pusher.close()
    assert skew is not None
    assert pusher.clock_skew_s == skew.ahead_s == 3600.5
    assert skew.surely


@pytest_twisted.ensureDeferred
async def test_too_large_says_how_large(server: RecordingServer) -> None:
    server.answer = refuse(413, "too large")
    error = await error_of(pusher_to(server))
    assert isinstance(error, Refused)
    assert error.too_large == len(encode(IDENTITY, STATES))


@pytest_twisted.ensureDeferred
async def test_a_ping(server: RecordingServer) -> None:
    server.answer = lambda request: b'{"pong": 1}'
    pusher = pusher_to(server)
    await pusher.ping()
    server.answer = lambda request: b'{"ok": 1}'
    with pytest.raises(Refused):
        await pusher.ping()
    await pusher.close()
    assert server.requests[0] == ("/api/ping", {"server": {"name": "höst", "key": "s3cret"}})


@pytest_twisted.ensureDeferred
async def test_connections_are_not_logged(server: RecordingServer) -> None:
    pusher = pusher_to(server)
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        await pusher.push(STATES)
        await pusher.close()
    finally:
        globalLogPublisher.removeObserver(observer)
    # But for the server's access log.
    assert {event["log_namespace"] for event in events} <= {"twisted.python.log"}
