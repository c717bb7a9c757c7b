"""Stand-ins for what the agent's parts are handed: commands, a pusher, an OverC server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from overc.agent.delivery_settings import Server
from overc.agent.push import Outgoing
from overc.agent.service_settings import ServiceSettings
from overc.agent.settings import AgentSettings
from overc.agent.stamps import Skew
from overc.model import AlertReport, ServerIdentity, ServiceReport, State
from overc.process import Outcome


def a_service(name: str, period_s: int = 10, **more: Any) -> ServiceSettings:
    settings: dict[str, Any] = {"command": ("run", name), "timeout_s": 10.0, **more}
    return ServiceSettings(name, period_s, **settings)


def a_report(name: str, info: str = "", period_s: int = 10) -> ServiceReport:
    return ServiceReport(name, State.OK, info, period_s)


def settings_for(
    *services: ServiceSettings, url: str = "http://localhost:1/", **more: Any
) -> AgentSettings:
    return AgentSettings(Server(url), ServerIdentity("host", "key"), services, "/", **more)


@dataclass
class FakeCommands:
    """Commands that end when the test says so, or when the service is stopped."""

    started: list[str] = field(default_factory=list)
    going_on: dict[str, Deferred[Outcome]] = field(default_factory=dict)
    most_at_once: int = 0
    environ: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    user: tuple[int, int] | None = None
    ended_early: list[str] = field(default_factory=list)
    raises: Exception | None = None

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str,
        env: Mapping[str, str],
        timeout_s: float,
        user: tuple[int, int] | None = None,
        until: Deferred[None] | None = None,
    ) -> Outcome:
        name = argv[-1]
        assert name not in self.going_on, "two runs of one service at once"
        self.started.append(name)
        self.environ, self.folder, self.user = env, folder, user
        if until is not None:
            until.addCallback(lambda _: self.ended_early.append(name))
        if self.raises is not None:
            raise self.raises
        self.going_on[name] = Deferred()
        self.most_at_once = max(self.most_at_once, len(self.going_on))
        try:
            return await self.going_on[name]
        finally:
            del self.going_on[name]

    def end(self, name: str, output: str = "fine", exit_code: int = 0) -> None:
        self.going_on[name].callback(Outcome(output=output.encode(), exit_code=exit_code))

    def startService(self) -> None:
        pass

    def stopService(self) -> Deferred[None]:
        for ended in list(self.going_on.values()):
            ended.callback(Outcome(signal=15))
        return succeed(None)


def answer_at_once(reports: Sequence[Any]) -> Deferred[None] | None:
    return None


@dataclass
class FakePusher:
    """Keeps what was sent, in order; `answer` may raise, or return a Deferred to wait for."""

    answer: Callable[[Sequence[Any]], Deferred[None] | None] = answer_at_once
    sent: list[Outgoing] = field(default_factory=list)
    skew: Skew | None = None
    closed: bool = False

    @property
    def clock_skew_s(self) -> float | None:
        return None if self.skew is None else self.skew.ahead_s

    @property
    def states(self) -> list[Sequence[ServiceReport]]:
        return [one.services for one in self.sent if one.services]

    @property
    def alerts(self) -> list[Sequence[AlertReport]]:
        return [one.alerts for one in self.sent if one.alerts]

    async def push(self, outgoing: Outgoing) -> Skew | None:
        self.sent.append(outgoing)
        waiting = self.answer(outgoing.services or outgoing.alerts)
        if isinstance(waiting, Deferred):
            await waiting
        return self.skew

    def names(self) -> list[list[str]]:
        return [[report.name for report in reports] for reports in self.states]

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


class RecordingServer(Resource):
    """An HTTP server that keeps each request, and answers as it is told."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, Any]] = []
        self.headers: list[Any] = []
        self.sizes: list[int] = []
        self.answer: Callable[[Request], bytes | int] = lambda request: b'{"ok": 1}'
        self._awaited: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._port: IListeningPort | None = None
        self._site = Site(self)
        self._site.noisy = False

    def listen(self, reactor: Any, port: int = 0, tls: Any = None) -> int:
        listening: IListeningPort
        if tls is None:
            listening = reactor.listenTCP(port, self._site, interface="127.0.0.1")
        else:
            listening = reactor.listenSSL(port, self._site, tls, interface="127.0.0.1")
        self._port = listening
        address = listening.getHost()
        assert isinstance(address, IPv4Address)
        return address.port

    async def close(self) -> None:
        port, self._port = self._port, None
        closed = port.stopListening() if port is not None else None
        if closed is not None:
            await closed

    def render_POST(self, request: Any) -> bytes | int:
        body = request.content.read()
        self.sizes.append(len(body))
        if request.requestHeaders.hasHeader(b"content-encoding"):
            body = gzip.decompress(body)
        self.requests.append((request.path.decode(), json.loads(body)))
        self.headers.append(request.requestHeaders.copy())
        answer = self.answer(request)
        for condition, arrived in list(self._awaited):
            if condition():
                self._awaited.remove((condition, arrived))
                arrived.callback(None)
        return answer

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fire once a request makes the condition true."""
        if condition():
            return succeed(None)
        arrived: Deferred[None] = Deferred()
        self._awaited.append((condition, arrived))
        return arrived

    def give_up(self, reason: str) -> None:
        """Fail what waits: no request will come."""
        for _, arrived in self._awaited:
            arrived.errback(AssertionError(reason))
        self._awaited = []

    def states(self) -> list[dict[str, Any]]:
        return [s for path, body in self.requests if "services" in body for s in body["services"]]


def refuse(code: int, error: str) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        request.setResponseCode(code)
        return json.dumps({"error": error}).encode()

    return answer


def never(request: Request) -> int:
    return NOT_DONE_YET


class FakeClock:
    """Both clocks, as far on as the test says; the wall clock alone may be stepped."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self.stepped_s = 1_000_000.0

    def wall(self) -> float:
        return self._clock.seconds() + self.stepped_s

    def steady(self) -> float:
        return self._clock.seconds() + 1_000_000.0
