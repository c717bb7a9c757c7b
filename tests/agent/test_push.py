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

from overc.agent.push import (
    HttpPusher,
    PushError,
    Refused,
    Unavailable,
    encode_alerts,
    encode_states,
    refusal,
)
from overc.agent.settings import Server
from overc.model import AlertReport, ServerIdentity, ServiceReport, State

IDENTITY = ServerIdentity("höst", "s3cret")


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
        await pusher.push_states([a_report("a")])
    except PushError as e:
        return e
    finally:
        await pusher.close()
    raise AssertionError("no error")


def test_the_words_of_the_wire() -> None:
    reports = [ServiceReport("é", State.WARN, 'a "b"', 60), ServiceReport("b", State.OK, "", 5)]
    assert encode_states(IDENTITY, reports).decode() == (
        '{"server":{"name":"höst","key":"s3cret"},"period":5,"services":['
        '{"name":"é","state":"WARN","info":"a \\"b\\"","period":60},'
        '{"name":"b","state":"OK","info":"","period":5}]}'
    )
    assert encode_alerts(IDENTITY, [AlertReport("m"), AlertReport("n", "app")]).decode() == (
        '{"server":{"name":"höst","key":"s3cret"},"alerts":['
        '{"message":"m"},{"message":"n","service":"app"}]}'
    )


@pytest_twisted.ensureDeferred
async def test_states_and_alerts_arrive_on_one_connection(server: RecordingServer) -> None:
    peers: list[object] = []

    def answer(request: Any) -> bytes:
        peers.append(request.getClientAddress().port)
        return b'{"ok": 1, "more": {}}'

    server.answer = answer
    pusher = pusher_to(server, "/over/c/", credentials=("me", "pä:ss"))
    await pusher.push_states([a_report("a", "fine")])
    await pusher.push_alerts([AlertReport("m")])
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
    push = Deferred.fromCoroutine(pusher.push_states([a_report("a")]))
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
    await pusher.push_states([a_report("a")])
    await pusher.push_states([a_report("a")])
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
