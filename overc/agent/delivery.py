"""Brings the outbox to the server, and keeps trying while the server is away.

Note [Present first]
~~~~~~~~~~~~~~~~~~~~
When a server is back it is told at once what is true now. What happened meanwhile follows, the
oldest first. It begins when all other agents will have found the server and told it what is true,
even those that had just begun the longest wait. It goes slowly: BACKLOG_PACE times as many states
in a second as the agent's services report anyway, so that with those no server gets three times
what it is used to, though all its agents have a backlog at once and meet now and then.

Note [Sealed spools]
~~~~~~~~~~~~~~~~~~~~
The server takes the highest number of a spool for news, whatever the times in it say. A spool of a
former run of the agent ended before this one's reports, so its reports may be old even if they are
its newest. Before the first of them a report with no states is sent under a higher number: then
they are not the highest, and their times count.

Note [Refused contents]
~~~~~~~~~~~~~~~~~~~~~~~
The server takes a report as a whole or not at all. One that it objects to is sent by halves until
the state is found that it does not want. A half needs a name of its own, and the same one after a
crash: the spool is named after the report, and the numbers are those of the halves in a tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from overc.agent.kept import Kept
from overc.agent.outbox import Outbox
from overc.agent.push import Outgoing, Refused, Unavailable
from overc.agent.spool import Waiting
from overc.agent.stamps import Skew, known_at, time_to_send
from overc.clock import Clock, SystemClock
from overc.logging import get_logger, one_line
from overc.model import ServiceReport, Spooled

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 20.0
"""The wait between attempts, before the jitter of half of it either way: at most 30 s."""

ASKED_MOST_S = 60.0
"""How long we wait at most because a server asks for it."""

REFUSED_RETRY_S = 60.0
"""The wait after a refusal, which only people can lift; jittered like the others."""

LAST_ATTEMPT_S = 2.0
"""How long the last attempt at a stop may take."""

LONG_AWAY = 100
"""So many failures in a row are enough for the longest waits."""

BACKLOG_PACE = 1.6

SEAL = 2**40
"""The number that seals a spool made of halves."""

_SERVER = ("server", "")
_ALERTS = ("alerts", "")

log = get_logger(__name__)


class Pusher(Protocol):
    """Sends reports. Raises Unavailable or Refused; what returns has been confirmed."""

    async def push(self, outgoing: Outgoing) -> Skew | None:
        """Send a report; return what the answer tells of our clock."""
        ...


def retry_s(failures: int, random: float, shortest_period_s: float) -> float:
    """Return the wait after so many failures in a row; `random` is from 0 up to 1.

    A server that is back gives every service one period before it calls it late, so no wait is
    longer than three quarters of the shortest one.
    """
    doubled_s: float = RETRY_FIRST_S * 2 ** min(failures - 1, 30)
    return min(RETRY_MOST_S, doubled_s, shortest_period_s / 2) * (0.5 + random)


def asked_s(after_s: float | None, random: float) -> float:
    """Return the wait that a server asked for, and up to half of it more: not all at once."""
    return min(after_s or 0.0, ASKED_MOST_S / 1.5) * (1.0 + random / 2)


def backlog_s(states: int, states_per_s: float) -> float:
    """Return the wait after a report of a backlog with so many states: see Note [Present first]."""
    return states / (BACKLOG_PACE * states_per_s)


class Delivery(Service):
    """One request after the other. Stopping it makes one last short attempt.

    `failed` is told of errors that nobody expected; it may put an alert into the outbox.
    `states_per_s`: how many the services report, on average.
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
        states_per_s: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self._reactor = reactor
        self._pusher = pusher
        self._outbox = outbox
        self._random = random
        self._failed = failed
        self._shortest_period_s = shortest_period_s
        self._states_per_s = states_per_s
        self._clock = clock or SystemClock()
        self._keep_at: float | None = None
        self._keep_timer: Any = None
        self._keeping: Deferred[None] | None = None
        self._retry_at = 0.0
        self._backlog_at = 0.0
        self._failures = 0
        self._round: Deferred[None] | None = None
        self._timer: Any = None
        self._complaints: dict[tuple[str, str], str] = {}
        self._sealed: set[str] = set()
        self._skew: Skew | None = None
        self._over = False

    @property
    def reachable(self) -> bool:
        """The last attempt was confirmed, or there was none."""
        return _SERVER not in self._complaints

    @property
    def clock_skew_s(self) -> float | None:
        """By how much our clock is ahead of the server's, to a second; None: not known yet."""
        return None if self._skew is None else self._skew.ahead_s

    def startService(self) -> None:
        super().startService()
        self._hold_backlog()
        # What a former run has left.
        self._plan()

    def send_by(self, at: float) -> None:
        """Keep what the outbox has gathered by then, and send it unless the server is away."""
        self._keep_at = at if self._keep_at is None else min(at, self._keep_at)
        self._plan_to_keep()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        _cancel(self._timer)
        _cancel(self._keep_timer)

        def out_of_time() -> None:
            self._over = True
            last.cancel()

        # The timer first: the attempt may be over before the next line.
        timer = self._reactor.callLater(LAST_ATTEMPT_S, out_of_time)
        last = Deferred.fromCoroutine(self._last_attempt())

        def stopped(_: object) -> None:
            _cancel(timer)
            if unsent := len(self._outbox):
                log.warn(
                    "stopped; states that were not sent: {unsent} ({where})",
                    unsent=unsent,
                    where=self._outbox.where(),
                )

        return last.addBoth(stopped)

    def _plan_to_keep(self) -> None:
        """Begin to keep what has gathered, or set the timer for it."""
        if not self.running or self._keeping is not None or self._keep_at is None:
            return
        _cancel(self._keep_timer)
        wait_s = self._keep_at - self._reactor.seconds()
        if wait_s > 0:
            self._keep_timer = self._reactor.callLater(wait_s, self._plan_to_keep)
            return
        self._keep_at = None
        over: Deferred[None] = Deferred(lambda _: keeping.cancel())
        self._keeping = over
        keeping = Deferred.fromCoroutine(self._outbox.keep())
        keeping.addBoth(self._kept, over)

    def _kept(self, outcome: object, over: Deferred[None]) -> None:
        self._keeping = None
        if isinstance(outcome, Failure) and isinstance(outcome.value, Exception):
            self._failed(outcome.value)
        over.callback(None)
        self._plan_to_keep()
        self._plan()

    def _plan(self) -> None:
        """Begin a round of requests, or set the timer for it."""
        if not self.running or self._round is not None:
            return
        _cancel(self._timer)
        now = self._reactor.seconds()
        at = self._outbox.urgent_at(now)
        if self._outbox.has_backlog():
            at = self._backlog_at if at is None else min(at, self._backlog_at)
        if at is None:
            return
        wait_s = max(at, self._retry_at) - now
        if wait_s > 0:
            self._timer = self._reactor.callLater(wait_s, self._plan)
        else:
            self._begin()

    def _begin(self) -> None:
        # The place is taken first: a round may be over before the next line.
        over: Deferred[None] = Deferred(lambda _: sending.cancel())
        self._round = over
        sending = Deferred.fromCoroutine(self._send_all())
        sending.addBoth(self._end, over)

    def _end(self, _: object, over: Deferred[None]) -> None:
        self._round = None
        over.callback(None)
        self._plan()

    async def _last_attempt(self) -> None:
        if self._keeping is not None:
            await self._keeping
        if self._round is not None:
            await self._round
        if not self._over:
            await self._outbox.keep()
            await self._send_all(backlog=False)

    async def _send_all(self, *, backlog: bool = True) -> None:
        """Send all that may be sent now."""
        try:
            while not self._over:
                now = self._reactor.seconds()
                waiting = await self._outbox.next_urgent(now)
                if waiting is None and backlog and now >= self._backlog_at:
                    waiting = await self._outbox.next_of_backlog()
                    if waiting is not None:
                        wait_s = backlog_s(waiting.report.size(), self._states_per_s)
                        self._backlog_at = now + wait_s
                if waiting is None:
                    break
                await self._send(waiting)
                if self._failures:
                    self._failures = 0
                    self._hold_backlog()
                self._praise()
        except Unavailable as e:
            self._failures += 1
            self._complain(_SERVER, str(e))
            self._retry_in(max(self._wait_s(), asked_s(e.after_s, self._random())))
        except Refused as e:
            self._failures += 1
            self._complain(_SERVER, str(e))
            self._retry_in(self._slow_s())
        except Exception as e:
            self._failures += 1
            self._retry_in(self._wait_s())
            if not self._over:
                self._failed(e)

    async def _send(self, waiting: Waiting) -> None:
        report = waiting.report
        former = report.spooled.spool
        if former != self._outbox.spool and former not in self._sealed:
            await self._seal(former, await self._outbox.last_seq(former) + 1)
        services = [
            one._replace(
                seen_at=time_to_send(
                    one.seen_at or 0.0, report.id, waiting.marks.get(one.name), self._skew
                )
            )
            for one in report.services
        ]
        try:
            await self._push(Outgoing(report.spooled, services, report.alerts))
        except Refused as e:
            if not e.content:
                raise
            await self._send_what_is_taken(report, services, e)
        else:
            self._complaints.pop(_ALERTS, None)
            await self._outbox.confirm(report, self._known(services))

    async def _push(self, outgoing: Outgoing) -> None:
        skew = await self._pusher.push(outgoing)
        if skew is not None:
            self._skew = skew
        for one in outgoing.services:
            self._complaints.pop(("service", one.name), None)

    def _known(self, services: Sequence[ServiceReport]) -> dict[str, float]:
        now_at = self._clock.wall()
        return {one.name: known_at(one.seen_at or 0.0, now_at, self._skew) for one in services}

    async def _seal(self, spool: str, seq: int) -> None:
        """Make sure that a spool's reports are judged by their times: see Note [Sealed spools]."""
        if spool not in self._sealed:
            await self._push(Outgoing(Spooled(spool, seq)))
            self._sealed.add(spool)

    async def _send_what_is_taken(
        self, report: Kept, services: Sequence[ServiceReport], error: Refused
    ) -> None:
        """Find what the server objects to, and set that aside: see Note [Refused contents]."""
        until = self._reactor.seconds() + self._slow_s()
        if error.too_large is not None and len(services) > 1:
            self._outbox.make_smaller(error.too_large)
        if report.alerts:
            self._complain(_ALERTS, f"alerts: {error}")
            await self._outbox.refuse(report, until)
            return
        if len(services) == 1:
            self._complain_about(services[0], error)
            await self._outbox.refuse(report, until)
            return
        name = f"{report.spooled.spool}:{report.spooled.seq}"
        await self._seal(name, SEAL)
        refused: list[tuple[ServiceReport, Spooled]] = []
        await self._send_halves(name, 1, services, refused)
        unwanted = {one.name for one, _ in refused}
        taken = [one for one in services if one.name not in unwanted]
        await self._outbox.split(report, self._known(taken), refused, until)

    async def _send_halves(
        self,
        spool: str,
        number: int,
        services: Sequence[ServiceReport],
        refused: list[tuple[ServiceReport, Spooled]],
    ) -> None:
        half = len(services) // 2
        for seq, part in ((2 * number, services[:half]), (2 * number + 1, services[half:])):
            spooled = Spooled(spool, seq)
            try:
                await self._push(Outgoing(spooled, part))
            except Refused as e:
                if not e.content:
                    raise
                if len(part) > 1:
                    await self._send_halves(spool, seq, part, refused)
                    continue
                self._complain_about(part[0], e)
                refused.append((part[0], spooled))

    def _wait_s(self) -> float:
        return retry_s(self._failures, self._random(), self._shortest_period_s)

    def _hold_backlog(self) -> None:
        """Let the backlog begin when other agents will have told what is true now."""
        longest_s = retry_s(LONG_AWAY, 1.0, self._shortest_period_s)
        wait_s = retry_s(LONG_AWAY, self._random(), self._shortest_period_s)
        self._backlog_at = self._reactor.seconds() + longest_s + wait_s

    def _slow_s(self) -> float:
        return REFUSED_RETRY_S * (0.5 + self._random())

    def _retry_in(self, wait_s: float) -> None:
        self._retry_at = self._reactor.seconds() + wait_s

    def _complain_about(self, service: ServiceReport, error: Refused) -> None:
        self._complain(("service", service.name), f"service {one_line(service.name)}: {error}")

    def _complain(self, about: tuple[str, str], sentence: str) -> None:
        """Log a failure once, not at each attempt."""
        if self._complaints.get(about) != sentence:
            self._complaints[about] = sentence
            log.warn("{sentence} (reports are kept and sent again)", sentence=sentence)

    def _praise(self) -> None:
        if self._complaints.pop(_SERVER, None) is not None:
            log.info("the server takes reports again")


def _cancel(timer: Any) -> None:
    if timer is not None and timer.active():
        timer.cancel()
