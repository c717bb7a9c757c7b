"""Push to the server over HTTP. Only this file of the agent knows the wire's field names."""

from __future__ import annotations

import email.utils
import json
import zlib
from collections.abc import Sequence
from datetime import timezone
from typing import Any, NamedTuple

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, ResponseNeverReceived
from twisted.web.http_headers import Headers

from overc import __version__
from overc.agent.delivery_settings import Server, TlsSettings
from overc.agent.stamps import Skew, skew_of
from overc.clock import Clock, SystemClock
from overc.logging import one_line
from overc.model import AlertReport, ServerIdentity, ServiceReport, Spooled
from overc.transport import (
    Body,
    Endpoints,
    ReplyReader,
    UncompressedAgent,
    kept_connection,
    network_reason,
    tls_policy,
)

DEADLINE_S = 30.0
"""From the first attempt to connect to the last byte of the reply."""

CONNECT_S = 10.0
"""Of that, until there is a connection: another server may be waiting for its turn."""

REPLY_BYTES = 64 * 1024
"""How much of a reply is read; a sound one is far smaller."""

GZIP_BYTES = 4 * 1024
"""From this size on a body is compressed, where the server takes that."""

IDLE_S = 30.0
"""How long an idle connection is kept: less than the server keeps it, so that no request meets
its closing."""

TEMPORARY = {408, 425, 429}
"""Refusals (4xx) that time heals."""

STATES = "api/set/service/status"
ALERTS = "api/set/alerts"
PING = "api/ping"


class PushError(Exception):
    """Nothing is known to have arrived; `str()` is a sentence."""


class Unavailable(PushError):
    """The server can't be reached, or can't answer now: the same request may do later.

    `after_s`: how soon at the earliest, if it said so.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Refused(PushError):
    """The server does not want this request. Somebody has to change something.

    `content` tells whether another content may do; if not, no request of ours will. `too_large`:
    so many bytes are too many.
    """

    def __init__(self, reason: str, content: bool = False, too_large: int | None = None) -> None:
        super().__init__(reason)
        self.content = content
        self.too_large = too_large


class Outgoing(NamedTuple):
    """What one request says: states or alerts, or neither where only the name matters."""

    spooled: Spooled | None
    services: Sequence[ServiceReport] = ()
    alerts: Sequence[AlertReport] = ()


class _Answer(NamedTuple):
    code: int
    headers: Headers
    body: bytes
    took_s: float

    def header(self, name: str) -> str:
        """Return the first value of a header; empty without one."""
        return str((self.headers.getRawHeaders(name) or [""])[0])


class HttpPusher:
    """Sends reports to one server, over a connection that is kept open while it is in use."""

    def __init__(
        self,
        reactor: Any,
        server: Server,
        identity: ServerIdentity,
        *,
        tls: TlsSettings | None = None,
        clock: Clock | None = None,
        deadline_s: float = DEADLINE_S,
        reply_bytes: int = REPLY_BYTES,
    ) -> None:
        """Raises overc.transport.TlsError."""
        tls = tls or TlsSettings()
        self._reactor = reactor
        self._server = server
        self._identity = identity
        self._clock = clock or SystemClock()
        self._deadline_s = deadline_s
        self._reply_bytes = reply_bytes
        self._pool = kept_connection(reactor, IDLE_S)
        self._opened = 0
        self._takes_gzip = False
        self._skew: Skew | None = None
        endpoints = Endpoints(
            reactor,
            min(CONNECT_S, deadline_s),
            self._count,
            tls_policy(tls.ca_pem, verify=tls.verify),
        )
        self._agent = UncompressedAgent(Agent.usingEndpointFactory(reactor, endpoints, self._pool))

    @property
    def url(self) -> str:
        """Where it sends to, without credentials."""
        return self._server.url

    @property
    def clock_skew_s(self) -> float | None:
        """By how much our clock is ahead of the server's, to a second; None: not known yet."""
        return None if self._skew is None else self._skew.ahead_s

    async def push(self, outgoing: Outgoing) -> Skew | None:
        """Send a report, in one request. Raises Unavailable or Refused."""
        path = ALERTS if outgoing.alerts else STATES
        await self._post(path, encode(self._identity, outgoing), "ok")
        return self._skew

    async def ping(self) -> None:
        """Ask whether the server takes requests from us. Raises Unavailable or Refused."""
        await self._post(PING, _encode({"server": _server(self._identity)}), "pong")

    def close(self) -> Deferred[None]:
        """Close the connection; the Deferred fires when it is closed."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _count(self, _: object) -> None:
        self._opened += 1

    async def _post(self, path: str, body: bytes, confirmed_by: str) -> None:
        compressed = self._takes_gzip and len(body) >= GZIP_BYTES
        answer = await self._answer(path, zipped(body) if compressed else body, compressed)
        if answer.code == 415 and compressed:
            # It is another server by now, or something stands before it that wants to read along.
            self._takes_gzip = False
            answer = await self._answer(path, body, False)
        elif "gzip" in answer.header("accept-encoding").lower():
            self._takes_gzip = True
        date_at = _http_date(answer.header("date"))
        if date_at is not None:
            self._skew = skew_of(date_at, self._clock.wall(), answer.took_s)
        error = refusal(
            self._server.url,
            self._identity.name,
            answer.code,
            answer.header("location"),
            answer.body,
            confirmed_by=confirmed_by,
            after_s=_retry_after_s(answer.header("retry-after"), date_at),
            sent_bytes=len(body),
        )
        if error is not None:
            raise error

    async def _answer(self, path: str, body: bytes, compressed: bool) -> _Answer:
        """Send a request within the deadline. Raises Unavailable."""
        url = self._server.url
        late = False

        def out_of_time() -> None:
            nonlocal late
            late = True
            exchange.cancel()

        exchange = Deferred.fromCoroutine(self._exchange(url + path, body, compressed))
        timer = self._reactor.callLater(self._deadline_s, out_of_time)
        try:
            return await exchange
        except Exception as e:
            # The network stack has no common base for its errors.
            why = (
                f"gave no whole answer within {self._deadline_s:g} s" if late else network_reason(e)
            )
            raise Unavailable(f"{url} {why}") from e
        finally:
            if timer.active():
                timer.cancel()

    async def _exchange(self, url: str, body: bytes, compressed: bool) -> _Answer:
        opened = self._opened
        try:
            return await self._request(url, body, compressed)
        except ResponseNeverReceived:
            # The server may have closed the connection just when we used it again. If it has not,
            # and took the report, it knows it again by its number.
            if self._opened > opened:
                raise
            return await self._request(url, body, compressed)

    async def _request(self, url: str, body: bytes, compressed: bool) -> _Answer:
        begun_at = self._reactor.seconds()
        headers = Headers(
            {"Content-Type": ["application/json"], "User-Agent": [f"overc/{__version__}"]}
        )
        if compressed:
            headers.addRawHeader("Content-Encoding", "gzip")
        # A client of its own for each request keeps no cookies that a server sets.
        response = await HTTPClient(self._agent).post(
            url,
            data=Body(body),
            headers=headers,
            auth=self._basic(),
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        reader = ReplyReader(self._reply_bytes)
        response.original.deliverBody(reader)
        reply = await reader.done
        return _Answer(response.code, response.headers, reply, self._reactor.seconds() - begun_at)

    def _basic(self) -> tuple[bytes, bytes] | None:
        if self._server.credentials is None:
            return None
        user, password = self._server.credentials
        return user.encode("utf-8", "replace"), password.encode("utf-8", "replace")


def encode(identity: ServerIdentity, outgoing: Outgoing) -> bytes:
    """Return the body of a request with states, alerts, or nothing but its name."""
    body: dict[str, object] = {"server": _server(identity)}
    if outgoing.spooled is not None:
        body["spool"], body["seq"] = outgoing.spooled
    if outgoing.alerts:
        body["alerts"] = [_alert(alert) for alert in outgoing.alerts]
    else:
        body["period"] = min((report.period_s for report in outgoing.services), default=0)
        body["services"] = [_service(report) for report in outgoing.services]
    return _encode(body)


def zipped(body: bytes) -> bytes:
    """Return a body as gzip has it."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return packer.compress(body) + packer.flush()


def refusal(
    url: str,
    name: str,
    code: int,
    location: str,
    reply: bytes,
    *,
    confirmed_by: str = "ok",
    after_s: float | None = None,
    sent_bytes: int = 0,
) -> PushError | None:
    """Return what an answer means, in a sentence with the remedy; None when it confirms."""
    said = _parse(reply)
    if code == 200 and said.get(confirmed_by) == 1:
        return None
    told = one_line(str(said.get("error", ""))) or f"status {code}"
    if code == 200:
        return Refused(f"{url} answers, but not as OverC does: check the server option")
    if code in TEMPORARY or not 200 <= code < 500:
        return Unavailable(f"{url} can't take reports now: {told}", after_s)
    if 300 <= code < 400:
        target = one_line(location) or "another address"
        return Refused(
            f"{url} redirects to {target}: the key must not follow;"
            " put the final address into the server option"
        )
    if code == 401:
        return Refused(f"{url} wants a user and a password: put user:password@ before the host")
    if code == 403:
        return Refused(
            f"{url} refuses us as {one_line(name)}: {told} (my-key has to be the one"
            " that my-name was first registered with)"
        )
    if code in (404, 405):
        return Refused(f"{url} has no OverC API there: {told}; check the server option's path")
    too_large = sent_bytes if code == 413 else None
    return Refused(f"{url} refuses a report: {told}", code in (400, 413), too_large)


def _server(identity: ServerIdentity) -> dict[str, str]:
    return {"name": identity.name, "key": identity.key}


def _service(report: ServiceReport) -> dict[str, object]:
    told: dict[str, object] = {
        "name": report.name,
        "state": report.state.value,
        "info": report.info,
        "period": report.period_s,
    }
    if report.grace_s is not None:
        told["grace"] = report.grace_s
    if report.seen_at is not None:
        told["time"] = round(report.seen_at, 3)
    return told


def _alert(alert: AlertReport) -> dict[str, str]:
    if alert.service is None:
        return {"message": alert.message}
    return {"message": alert.message, "service": alert.service}


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _parse(reply: bytes) -> dict[str, Any]:
    try:
        said = json.loads(reply)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _retry_after_s(text: str, date_at: float | None) -> float | None:
    """Read a Retry-After header: seconds, or a time by the server's clock."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    at = _http_date(text)
    return None if at is None or date_at is None else max(at - date_at, 0.0)


def _http_date(text: str) -> float | None:
    try:
        at = email.utils.parsedate_to_datetime(text)
        return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
