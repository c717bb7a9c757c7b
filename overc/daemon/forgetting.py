"""Forgets services that have been silent for as long as a rule says.

Note [Forgetting]
~~~~~~~~~~~~~~~~~
What is forgotten is gone, so it has to be sure. A service has to be late, and the server has to
run for one of its periods: while it was stopped nobody could report. The silence itself counts on
the wall clock, since it outlasts many starts of the server; so when the wall clock has stepped
nothing is forgotten for a round, in which somebody may set it right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service

from overc.clock import Clock
from overc.daemon import judge
from overc.daemon.expectations import Expectations
from overc.daemon.recording import Recorder, Times
from overc.daemon.rounds import Rounds
from overc.daemon.store import records
from overc.daemon.store.engine import Store
from overc.logging import get_logger

ROUND_S = 600.0

STEP_S = 2.0
"""A change between the two clocks that is none of their pace."""

PAGE = 500
"""Services looked at in one transaction."""

log = get_logger(__name__)


class Forgetting(Service):
    """A LoopingCall that does not die. Without a rule that lets services expire it does nothing."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        recorder: Recorder,
        expectations: Expectations,
        alerts_raised: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._expectations = expectations
        self._alerts_raised = alerts_raised
        self._rounds = Rounds(
            reactor,
            log,
            self.round,
            failed="silent services can't be forgotten, the next try follows",
            works="silent services are forgotten again",
        )
        self._started_at = 0.0
        self._apart_s: float | None = None

    def startService(self) -> None:
        super().startService()
        if self._expectations.shortest_expiry_s() is not None:
            self._started_at = self._clock.steady()
            self._rounds.start(ROUND_S, now=False)

    async def stopService(self) -> None:
        super().stopService()
        await self._rounds.stop()

    async def round(self) -> None:
        """Forget every service whose time has come, each in a transaction of its own."""
        shortest_s = self._expectations.shortest_expiry_s()
        if shortest_s is None or self._stepped():
            return
        now_at = self._clock.wall()
        running_s = self._clock.steady() - self._started_at
        after_id: int | None = 0
        while after_id is not None and self.running:
            found = await self._store.read(
                "look for silent services",
                records.silent_services,
                now_at - shortest_s,
                after_id,
                PAGE,
            )
            for server, row in found:
                expected = self._expectations.of(server, row.name)
                if (
                    self.running
                    and running_s >= (row.status.period_s or 0) + row.status.grace_s
                    and judge.is_expired(row.status, row.seen_at, now_at, expected)
                ):
                    await self._forget(row.id)
            after_id = found[-1].service.id if len(found) == PAGE else None

    async def _forget(self, service_id: int) -> None:
        now = Times(self._clock.wall(), self._clock.steady())
        if await self._store.write(
            "forget a silent service", self._recorder.forget_service, service_id, now
        ):
            self._alerts_raised()

    def _stepped(self) -> bool:
        before_s, self._apart_s = self._apart_s, self._clock.wall() - self._clock.steady()
        return before_s is not None and abs(self._apart_s - before_s) > STEP_S
