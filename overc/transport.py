"""What is needed of HTTP below treq: bounded replies, quiet and uncompressed connections, TLS.

`exchange` is one request with nothing left behind, for those who seldom have one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from OpenSSL import SSL, crypto
from service_identity.exceptions import VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IConsumer,
    IOpenSSLClientConnectionCreator,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)
from zope.interface import implementer

from overc.logging import one_line


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

    @property
    def so_far(self) -> bytes:
        """What has been read, also of a reply that did not end; at most the limit."""
        return bytes(self._read[: self._limit_bytes])

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


class TlsError(Exception):
    """A certificate that is to be trusted can't be read; `str()` says why."""


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Begins TLS with whoever answers."""

    def __init__(self, host: bytes) -> None:
        self._host = host
        self._context = CertificateOptions(
            verify=False, raiseMinimumTo=TLSVersion.TLSv1_2
        ).getContext()

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(self._host)
        return connection


@implementer(IPolicyForHTTPS)
class _AnyCertificate:
    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        return _Unverified(hostname)


def tls_policy(ca_pem: bytes | None = None, *, verify: bool = True) -> IPolicyForHTTPS:
    """Return how the other side of TLS is verified: by this machine's authorities, or by others.

    `ca_pem`: certificates to trust instead. Raises TlsError.
    """
    if not verify:
        return _AnyCertificate()
    if ca_pem is None:
        return BrowserLikePolicyForHTTPS()
    end = b"-----END CERTIFICATE-----"
    blocks = [part[part.find(b"-----BEGIN CERTIFICATE") :] + end for part in ca_pem.split(end)[:-1]]
    try:
        trusted = [Certificate.loadPEM(block) for block in blocks]
    except (crypto.Error, ValueError):
        trusted = []
    if not trusted:
        raise TlsError("it holds no certificate in PEM format that can be read")
    return BrowserLikePolicyForHTTPS(trustRootFromCertificates(trusted))


@implementer(IStreamClientEndpoint)
class _ToldEndpoint:
    """Makes connections without a word in the log, and tells of each."""

    def __init__(self, endpoint: IStreamClientEndpoint, made: Callable[[Any], object]) -> None:
        self._endpoint = endpoint
        self._made = made

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        # Twisted would log each connection that it opens and closes.
        quiet: Any = protocolFactory
        quiet.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(self._tell)

    def _tell(self, protocol: Any) -> Any:
        self._made(protocol)
        return protocol


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Makes an HTTP client's connections. `made` is given the protocol of each."""

    def __init__(
        self,
        reactor: Any,
        connect_s: float,
        made: Callable[[Any], object],
        policy: IPolicyForHTTPS | None = None,
    ) -> None:
        self._reactor = reactor
        self._connect_s = connect_s
        self._made = made
        self._policy = policy or tls_policy()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: Any = HostnameEndpoint(
            self._reactor, uri.host.decode("ascii"), uri.port, timeout=self._connect_s
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _ToldEndpoint(endpoint, self._made)


def kept_connection(reactor: Any, idle_s: float) -> HTTPConnectionPool:
    """Return a pool that keeps one connection to a server until it was idle for a time."""
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.cachedConnectionTimeout = idle_s  # type: ignore[assignment]
    pool.maxPersistentPerHost = 1
    pool.retryAutomatically = False
    return pool


class Reply(NamedTuple):
    """What a server answered."""

    code: int
    headers: Headers
    body: bytes
    """At most so much of it as was asked for."""
    whole: bool
    """It ended in time, and within that size."""


class ExchangeError(Exception):
    """There was no answer; `str()` says why, without the URL."""


async def exchange(
    reactor: Any,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    credentials: tuple[str, str] | None = None,
    deadline_s: float,
    reply_bytes: int,
) -> Reply:
    """Send a request and return the answer, redirects included: none is followed.

    The deadline is for all of it. A reply that has begun when it passes is returned as far as it
    came. No connection is left. Raises ExchangeError; cancelling ends it, with CancelledError.
    """
    late = given_up = False
    user, password = credentials or (None, "")
    connections: list[Any] = []
    reader = ReplyReader(reply_bytes)
    begun: list[Any] = []

    def out_of_time() -> None:
        nonlocal late
        late = True
        answering.cancel()

    async def answer() -> bool:
        agent = Agent.usingEndpointFactory(
            reactor,
            Endpoints(reactor, deadline_s, connections.append),
            HTTPConnectionPool(reactor, persistent=False),
        )
        response = await HTTPClient(UncompressedAgent(agent)).request(
            method,
            url,
            data=None if body is None else Body(body),
            headers=Headers({name: [value] for name, value in headers.items()}),
            auth=None if user is None else (user.encode(), password.encode()),
            allow_redirects=False,
            unbuffered=True,
            reactor=reactor,
        )
        begun.append(response)
        response.original.deliverBody(reader)
        await reader.done
        return len(reader.so_far) < reply_bytes

    def give_up(_outcome: Deferred[bool]) -> None:
        nonlocal given_up
        given_up = True
        answering.cancel()

    answering = Deferred.fromCoroutine(answer())
    # What comes of cancelling a request is one of several errors: only this tells who did it.
    outcome: Deferred[bool] = Deferred(give_up)
    answering.chainDeferred(outcome)
    timer = reactor.callLater(deadline_s, out_of_time)
    whole = False
    try:
        whole = await outcome
    except Exception as e:
        # The network stack has no common base for its errors.
        if given_up:
            raise CancelledError from e
        if not begun:
            why = f"gave no answer within {deadline_s:g} s" if late else network_reason(e)
            raise ExchangeError(why) from e
    finally:
        if timer.active():
            timer.cancel()
        # A peer that does not read, or does not say goodbye in TLS, would keep a connection open
        # that is merely asked to close.
        for protocol in connections:
            if protocol.transport is not None:
                protocol.transport.abortConnection()
    return Reply(begun[0].code, begun[0].headers, reader.so_far, whole)


def network_reason(error: BaseException) -> str:
    """Say in words why a server can't be reached."""
    # Twisted wraps what went wrong on a connection into a list of Failures.
    for reason in getattr(error, "reasons", None) or []:
        error = reason.value
    said = str(error)
    if "certificate verify failed" in said:
        return "can't be reached: its certificate is not signed by anybody whom this machine trusts"
    if isinstance(error, VerificationError):
        return "can't be reached: its certificate is for another host"
    return f"can't be reached: {one_line(said.rstrip('.') or type(error).__name__)}"
