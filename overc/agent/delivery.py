"""Brings the outbox to the server, and keeps trying while the server is away."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from overc.agent.outbox import Outbox
from overc.agent.push import Refused, Unavailable, requests_for
from overc.logging import get_logger, one_line
from overc.model import AlertReport, ServiceReport

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 20.0
"""The wait between attempts, before the jitter of half of it either way: at most 30 s."""

REFUSED_RETRY_S = 60.0
"""The same after a refusal, which only people can lift."""

LAST_ATTEMPT_S = 2.0
"""How long the last attempt at a stop may take."""

_SERVER = ("server", "")
_ALERTS = ("alerts", "")

log = get_logger(__name__)


class Pusher(Protocol):
    """Sends reports. Both raise Unavailable or Refused; what returns has been confirmed."""

    async def push_states(self, reports: Sequence[ServiceReport]) -> None: ...

    async def push_alerts(self, alerts: Sequence[AlertReport]) -> None: ...


def retry_s(failures: int, random: float, shortest_period_s: float) -> float:
    """Return the wait after so many failures in a row; `random` is from 0 up to 1.

    A server that is back gives every service one period before it calls it late, so no wait is
    longer than three quarters of the shortest one.
    """
    doubled_s: float = RETRY_FIRST_S * 2 ** min(failures - 1, 30)
    return min(RETRY_MOST_S, doubled_s, shortest_period_s / 2) * (0.5 + random)


class Delivery(Service):
    """One request after the other. Stopping it makes one last short attempt.

    `failed` is told of errors that nobody expected; it may put an alert into the outbox.
    """

    def __init__(
        self,
        reactor: Any,
        pusher: Pusher,
        outbox: Outbox,
        *,
        random: Callable[[], float],
        failed: Callable[[Exception], None],
        shortest_period_s: float = math.inf,
    ) -> None:
        self._reactor = reactor
        self._pusher = pusher
        self._outbox = outbox
        self._random = random
        self._failed = failed
        self._shortest_period_s = shortest_period_s
        self._wanted_at: float | None = None
        self._retry_at = 0.0
        self._failures = 0
        self._round: Deferred[None] | None = None
        self._timer: Any = None
        self._complaints: dict[tuple[str, str], str] = {}
        self._over = False

    def send_by(self, at: float) -> None:
        """Send what the outbox holds by then, unless the server is known to be away."""
        self._wanted_at = at if self._wanted_at is None else min(at, self._wanted_at)
        self._plan()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._cancel_timer()

        def out_of_time() -> None:
            self._over = True
            last.cancel()

        # The timer first: the attempt may be over before the next line.
        timer = self._reactor.callLater(LAST_ATTEMPT_S, out_of_time)
        last = Deferred.fromCoroutine(self._last_attempt())

        def stopped(_: object) -> None:
            if timer.active():
                timer.cancel()
            if unsent := len(self._outbox):
                log.warn("stopped; reports that were not sent: {unsent}", unsent=unsent)

        return last.addBoth(stopped)

    def _plan(self) -> None:
        """Begin a round of requests, or set the timer for it."""
        if not self.running or self._round is not None:
            return
        self._cancel_timer()
        now = self._reactor.seconds()
        ready_at = self._outbox.ready_at(now)
        if ready_at is None:
            self._wanted_at = None
            return
        wanted_at = ready_at if self._wanted_at is None else max(self._wanted_at, ready_at)
        wait_s = max(wanted_at, self._retry_at) - now
        if wait_s > 0:
            self._timer = self._reactor.callLater(wait_s, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._timer = None
        self._wanted_at = None
        # The place is taken first: a round may be over before the next line.
        over: Deferred[None] = Deferred(lambda _: sending.cancel())
        self._round = over
        sending = Deferred.fromCoroutine(self._send_all())
        sending.addBoth(self._end, over)

    def _end(self, _: object, over: Deferred[None]) -> None:
        self._round = None
        over.callback(None)
        self._plan()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    async def _last_attempt(self) -> None:
        if self._round is not None:
            await self._round
        if self._outbox and not self._over:
            await self._send_all()

    async def _send_all(self) -> None:
        """Send all that may be sent; states go before alerts."""
        now = self._reactor.seconds()
        try:
            for part in requests_for(self._outbox.states(now)):
                await self._send_states(part)
            await self._send_alerts(self._outbox.alerts(now))
            self._failures = 0
            self._praise()
        except Unavailable as e:
            self._failures += 1
            self._complain(_SERVER, str(e))
            self._retry_in(self._wait_s())
        except Refused as e:
            self._complain(_SERVER, str(e))
            self._retry_in(self._slow_s())
        except Exception as e:
            self._failures += 1
            self._retry_in(self._wait_s())
            self._failed(e)

    def _wait_s(self) -> float:
        return retry_s(self._failures, self._random(), self._shortest_period_s)

    async def _send_states(self, reports: list[ServiceReport]) -> None:
        try:
            await self._pusher.push_states(reports)
        except Refused as e:
            if not e.content:
                raise
            await self._send_without_the_refused(reports, e)
        else:
            self._outbox.states_delivered(reports)
            for report in reports:
                self._complaints.pop(("service", report.name), None)

    async def _send_without_the_refused(self, reports: list[ServiceReport], e: Refused) -> None:
        """Find the report that the server objects to by halves, and set it aside."""
        if len(reports) > 1:
            half = len(reports) // 2
            await self._send_states(reports[:half])
            await self._send_states(reports[half:])
            return
        name = reports[0].name
        self._complain(("service", name), f"service {one_line(name)}: {e}")
        self._outbox.set_state_aside(name, self._reactor.seconds() + self._slow_s())

    async def _send_alerts(self, alerts: list[AlertReport]) -> None:
        if not alerts:
            return
        try:
            await self._pusher.push_alerts(alerts)
        except Refused as e:
            if not e.content:
                raise
            self._complain(_ALERTS, f"alerts: {e}")
            self._outbox.set_alerts_aside(self._reactor.seconds() + self._slow_s())
        else:
            self._outbox.alerts_delivered(alerts)
            self._complaints.pop(_ALERTS, None)

    def _retry_in(self, wait_s: float) -> None:
        self._retry_at = self._reactor.seconds() + wait_s

    def _slow_s(self) -> float:
        return REFUSED_RETRY_S * (0.5 + self._random())

    def _complain(self, about: tuple[str, str], sentence: str) -> None:
        """Log a failure once, not at each attempt."""
        if self._complaints.get(about) != sentence:
            self._complaints[about] = sentence
            log.warn("{sentence} (reports are kept and sent again)", sentence=sentence)

    def _praise(self) -> None:
        if self._complaints.pop(_SERVER, None) is not None:
            log.info("the server takes reports again")
