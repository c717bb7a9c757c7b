"""What is needed of HTTP below treq: bounded replies, quiet and uncompressed connections."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool, ResponseDone, _HTTP11ClientFactory
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer


@implementer(IBodyProducer)
class Body:
    """A request's body, in memory already and so written at once.

    Twisted's own producer takes turns on the global reactor, whichever one was handed in.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length: Any = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


class ReplyReader(Protocol):
    """Reads a reply; hangs up beyond a limit, since what comes then is not worth waiting for.

    `done` fires with the bytes, none if there were too many; cancelling it hangs up.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._limit_bytes = limit_bytes
        self._read = bytearray()

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        self._read += data[: self._limit_bytes + 1 - len(self._read)]
        if len(self._read) > self._limit_bytes:
            self._hang_up()
            self.done.callback(b"")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(bytes(self._read))
        else:
            self.done.errback(reason)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IAgent)
class UncompressedAgent:
    """Asks for replies as they are: a few compressed bytes could swell beyond any limit."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        plain = Headers() if headers is None else headers.copy()
        plain.removeHeader(b"accept-encoding")
        answer = self._agent.request(method, uri, plain, bodyProducer)
        return answer.addCallback(self._as_it_is)

    def _as_it_is(self, response: IResponse) -> IResponse:
        response.headers.removeHeader(b"content-encoding")
        return response


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False  # Twisted would log each connection it opens and closes.


def quiet_pool(reactor: Any, idle_s: float) -> HTTPConnectionPool:
    """Return a pool that keeps connections open until they were idle for a time."""
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.cachedConnectionTimeout = idle_s  # type: ignore[assignment]
    pool._factory = _QuietFactory
    return pool
