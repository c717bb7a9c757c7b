"""Push to the server over HTTP. Only this file of the agent knows the wire's field names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from overc import __version__
from overc.agent.settings import Server
from overc.agent.transport import Body, ReplyReader, UncompressedAgent, quiet_pool
from overc.logging import one_line
from overc.model import AlertReport, ServerIdentity, ServiceReport

DEADLINE_S = 30.0
"""From the first attempt to connect to the last byte of the reply."""

REPLY_BYTES = 64 * 1024
"""How much of a reply is read; a sound one is far smaller."""

REQUEST_BYTES = 512 * 1024
"""How much goes into one request, unless one report is larger; servers take 1 MiB."""

IDLE_S = 30.0
"""How long an idle connection is kept: less than the server keeps it, so that no request meets
its closing."""

HEADERS = Headers(
    {"Content-Type": ["application/json"], "User-Agent": [f"overc/{__version__}"]},
)

TEMPORARY = {408, 425, 429}
"""Refusals (4xx) that time heals."""


class PushError(Exception):
    """Nothing is known to have arrived; `str()` is a sentence."""


class Unavailable(PushError):
    """The server can't be reached, or can't answer now: the same request may do later."""


class Refused(PushError):
    """The server does not want this request. Somebody has to change something.

    `content` tells whether another content may do; if not, no request of ours will.
    """

    def __init__(self, reason: str, content: bool = False) -> None:
        super().__init__(reason)
        self.content = content


class HttpPusher:
    """Sends reports to one server, over a connection that is kept open while it is in use."""

    def __init__(
        self,
        reactor: Any,
        server: Server,
        identity: ServerIdentity,
        *,
        deadline_s: float = DEADLINE_S,
        reply_bytes: int = REPLY_BYTES,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._identity = identity
        self._deadline_s = deadline_s
        self._reply_bytes = reply_bytes
        self._pool = quiet_pool(reactor, IDLE_S)
        self._agent = UncompressedAgent(Agent(reactor, pool=self._pool))

    async def push_states(self, reports: Sequence[ServiceReport]) -> None:
        """Send states, in one request. Raises Unavailable or Refused."""
        await self._post("api/set/service/status", encode_states(self._identity, reports))

    async def push_alerts(self, alerts: Sequence[AlertReport]) -> None:
        """Send alerts, in one request. Raises Unavailable or Refused."""
        await self._post("api/set/alerts", encode_alerts(self._identity, alerts))

    def close(self) -> Deferred[None]:
        """Close the connection; the Deferred fires when it is closed."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def _post(self, path: str, body: bytes) -> None:
        url = self._server.url
        late = False

        def out_of_time() -> None:
            nonlocal late
            late = True
            exchange.cancel()

        exchange = Deferred.fromCoroutine(self._exchange(url + path, body))
        timer = self._reactor.callLater(self._deadline_s, out_of_time)
        try:
            code, location, reply = await exchange
        except Exception as e:
            # The network stack has no common base for its errors.
            why = f"gave no whole answer within {self._deadline_s:g} s" if late else _network(e)
            raise Unavailable(f"{url} {why}") from e
        finally:
            if timer.active():
                timer.cancel()
        error = refusal(url, self._identity.name, code, location, reply)
        if error is not None:
            raise error

    async def _exchange(self, url: str, body: bytes) -> tuple[int, str, bytes]:
        # A client of its own for each request keeps no cookies that a server sets.
        response = await HTTPClient(self._agent).post(
            url,
            data=Body(body),
            headers=HEADERS,
            auth=self._basic(),
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        location = b"".join(response.headers.getRawHeaders(b"location", [])[:1])
        reader = ReplyReader(self._reply_bytes)
        response.original.deliverBody(reader)
        return response.code, location.decode("utf-8", "replace"), await reader.done

    def _basic(self) -> tuple[bytes, bytes] | None:
        if self._server.credentials is None:
            return None
        user, password = self._server.credentials
        return user.encode("utf-8", "replace"), password.encode("utf-8", "replace")


def encode_states(identity: ServerIdentity, reports: Sequence[ServiceReport]) -> bytes:
    """Return the body of a request with states; there has to be one."""
    return _encode(
        {
            "server": _server(identity),
            "period": min(report.period_s for report in reports),
            "services": [_service(report) for report in reports],
        }
    )


def encode_alerts(identity: ServerIdentity, alerts: Sequence[AlertReport]) -> bytes:
    """Return the body of a request with alerts."""
    return _encode({"server": _server(identity), "alerts": [_alert(alert) for alert in alerts]})


def requests_for(reports: Sequence[ServiceReport]) -> Iterator[list[ServiceReport]]:
    """Yield the reports in as many parts as requests are needed: one, unless they are large."""
    part: list[ServiceReport] = []
    part_bytes = 0
    for report in reports:
        report_bytes = len(_encode(_service(report)))
        if part and part_bytes + report_bytes > REQUEST_BYTES:
            yield part
            part, part_bytes = [], 0
        part.append(report)
        part_bytes += report_bytes
    if part:
        yield part


def refusal(url: str, name: str, code: int, location: str, reply: bytes) -> PushError | None:
    """Return what an answer means, in a sentence with the remedy; None when it confirms."""
    said = _parse(reply)
    if code == 200 and said.get("ok") == 1:
        return None
    told = one_line(str(said.get("error", ""))) or f"status {code}"
    if code == 200:
        return Refused(f"{url} answers, but not as OverC does: check the server option")
    if code in TEMPORARY or not 200 <= code < 500:
        return Unavailable(f"{url} can't take reports now: {told}")
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
    return Refused(f"{url} refuses a report: {told}", content=code in (400, 413))


def _server(identity: ServerIdentity) -> dict[str, str]:
    return {"name": identity.name, "key": identity.key}


def _service(report: ServiceReport) -> dict[str, object]:
    return {
        "name": report.name,
        "state": report.state.value,
        "info": report.info,
        "period": report.period_s,
    }


def _alert(alert: AlertReport) -> dict[str, str]:
    if alert.service is None:
        return {"message": alert.message}
    return {"message": alert.message, "service": alert.service}


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _parse(reply: bytes) -> dict[str, Any]:
    try:
        said = json.loads(reply)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _network(error: Exception) -> str:
    # Twisted wraps what went wrong on a connection into a list of Failures.
    for reason in getattr(error, "reasons", None) or []:
        error = reason.value
    return f"can't be reached: {one_line(str(error).rstrip('.') or type(error).__name__)}"
