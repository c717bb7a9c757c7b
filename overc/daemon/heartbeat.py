"""Tells somebody else that this server lives: calls a URL for as long as it does its work.

Whoever answers there has to raise the alarm when the calls stay away, since this server can't.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred

from overc import __version__
from overc.daemon.rest import Rest
from overc.daemon.vitals import Pulse
from overc.http_urls import split_credentials
from overc.logging import get_logger, one_line
from overc.transport import ExchangeError, Reply, exchange

FIRST_S = 1.0
"""After the start; the watchdog has looked at the deadlines by then."""

DEADLINE_S = 10.0
REPLY_BYTES = 64 * 1024
HEADERS = {"User-Agent": f"overc/{__version__}"}

log = get_logger(__name__)


class Exchange(Protocol):
    """`overc.transport.exchange`, as far as it is used here."""

    async def __call__(
        self,
        reactor: Any,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        credentials: tuple[str, str] | None,
        deadline_s: float,
        reply_bytes: int,
    ) -> Reply: ...


class Heartbeat(Service):
    """Calls the URL each period while the watchdog ticks and the database answers.

    A call that fails is logged once for each series of such, and never with the URL: it is a
    secret to most who offer this.
    """

    def __init__(
        self,
        reactor: Any,
        pulse: Pulse,
        url: str,
        period_s: float,
        send: Exchange = exchange,
    ) -> None:
        """`url` may carry `user:password@`."""
        self._reactor = reactor
        self._pulse = pulse
        self._url, self._credentials = split_credentials(url)
        self._period_s = period_s
        self._send = send
        self._rest = Rest(reactor)
        self._failing = ""
        self._beating: Deferred[None] | None = None
        self._ended: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        self._ended = Deferred.fromCoroutine(self._work())

    async def stopService(self) -> None:
        super().stopService()
        self._rest.wake()
        if self._beating is not None:
            self._beating.cancel()
        if self._ended is not None:
            await self._ended

    async def _work(self) -> None:
        pause_s = FIRST_S
        while self.running:
            await self._rest.pause(pause_s)
            begun_s = self._reactor.seconds()
            if self.running:
                self._beating = Deferred.fromCoroutine(self._beat())
                await self._beating
                self._beating = None
            pause_s = max(self._period_s - (self._reactor.seconds() - begun_s), 0)

    async def _beat(self) -> None:
        try:
            failure = await self._call()
        except CancelledError:
            return
        except Exception:
            failure = "a fault of ours"
            if not self._failing:
                log.failure("the heartbeat failed")
        # Once for each series: the log must not grow for as long as somebody else is away.
        if failure and not self._failing:
            log.error("no heartbeat: {failure}; the next try follows", failure=failure)
        elif self._failing and not failure:
            log.info("the heartbeat works again")
        self._failing = failure

    async def _call(self) -> str:
        """Return why there was no heartbeat; empty: it was taken."""
        vitals = await self._pulse.take()
        if not vitals.healthy:
            return vitals.failing
        if vitals.tick_age_s is None:
            return "the watchdog has not looked at the deadlines yet"
        host = urlsplit(self._url).netloc
        try:
            reply = await self._send(
                self._reactor,
                "GET",
                self._url,
                headers=HEADERS,
                credentials=self._credentials,
                deadline_s=DEADLINE_S,
                reply_bytes=REPLY_BYTES,
            )
        except ExchangeError as e:
            return f"{host} {e}"
        if 300 <= reply.code < 400:
            target = (reply.headers.getRawHeaders("location") or ["another address"])[0]
            return f"{host} redirects to {one_line(target)}: put the final URL into heartbeat-url"
        return "" if reply.code < 300 else f"{host} answers {reply.code}: check heartbeat-url"
