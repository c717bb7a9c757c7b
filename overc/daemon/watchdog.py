"""Watches every promise: finds services whose deadline has passed, and has them judged.

Note [Grace]
~~~~~~~~~~~~
A service is late when it had its whole period to report and did not. While the server did not run,
was stopped, or could not store anything, nobody could report, so the silence proves nothing. Hence
at the start, and whenever more than GAP_S passed since the last look that was completed had begun,
every awaited service gets its whole period again before it is judged; what a calendar awaits is due
when it was due or, where that has passed, in a moment. After a shorter pause the reports that came
meanwhile still wait in the sockets: for SETTLE_S the pause is taken off the time by which services
are judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import deferLater

from overc.clock import Clock
from overc.daemon.node_clocks import OtherClocks
from overc.daemon.recording import Recorder, Times
from overc.daemon.rounds import Rounds
from overc.daemon.store import records
from overc.daemon.store.engine import Store
from overc.logging import get_logger

TICK_S = 0.25
"""Between two looks at the deadlines."""

GAP_S = 3.0
"""A longer silence of the watchdog itself is no fault of the services."""

SETTLE_S = 1.0

STEP_S = 2.0
"""By how much the two clocks have to come apart, while they run, for a step of the wall clock."""

TICK_TIMEOUT_S = 60.0
"""A tick that takes longer is given up, so that a stuck one does not stop all others."""

CHUNK = 16
"""Services judged in one transaction, so that reports get their turn in between."""

CHUNK_MOST = 64
"""So many when there are so many late ones that all of them would take too long that way."""

FOUND = 1000
"""Services that one look finds; nearly all of them have reported."""

YIELD_S = 1.5
"""When many fall late at once, the watchdog leaves the database to others for as long as it used it
itself, chunk by chunk; but no longer than this in all."""

TELL_S = 0.5
"""While it judges, the alerts of so long are told together: those of one server in one message."""

NOT_STORED = "reports could not be stored"
NODE_GONE = "a node whose clock was behind is gone"

log = get_logger(__name__)


class Watchdog(Service):
    """The LoopingCall that does not die: what a tick raises is logged, and the next one runs."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        recorder: Recorder,
        alerts_raised: Callable[[], None],
        others: OtherClocks,
    ) -> None:
        """`others`: the clocks of other processes on the same database."""
        self._reactor = reactor
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._alerts_raised = alerts_raised
        self._others = others
        self._rounds = Rounds(
            reactor,
            log,
            self.tick,
            failed="the watchdog's tick failed, the next one follows",
            works="the watchdog works again",
            timeout_s=TICK_TIMEOUT_S,
        )
        self._started_at: float | None = None
        self._last_tick_at: float | None = None
        self._apart_s: float | None = None
        self._untold_at: float | None = None
        """Since when alerts were raised that nobody was told of."""
        self._excused: str | None = None
        """Why nobody is late before all periods have begun anew."""
        self._held_s = 0.0
        self._held_until_at = 0.0

    def lag_s(self) -> float:
        """Return by how many seconds the watchdog is behind; 0 when it is healthy."""
        done_at = self._started_at if self._last_tick_at is None else self._last_tick_at
        if done_at is None:
            return 0.0
        behind_s = self._clock.steady() - done_at - TICK_S
        return round(behind_s, 1) if behind_s > 1 else 0.0

    def tick_age_s(self) -> float | None:
        """Return how long ago the last look that was finished began; None: there was none yet."""
        if self._last_tick_at is None:
            return None
        return max(self._clock.steady() - self._last_tick_at, 0.0)

    def excuse(self) -> None:
        """Say that reports could not be stored: nobody is late before storing works again."""
        self._excused = NOT_STORED

    def startService(self) -> None:
        super().startService()
        self._started_at = self._clock.steady()
        self._rounds.start(TICK_S)

    async def stopService(self) -> None:
        super().stopService()
        await self._rounds.stop()
        await self._others.leave()

    async def tick(self) -> None:
        """Grant grace if it is due, then judge all that is late now."""
        ids: list[int] = []
        more, full, left_s = True, False, YIELD_S
        while more and self.running:
            now_at = self._clock.steady()
            lead_s, lost = await self._others.look()
            if lost:
                self._excused = NODE_GONE
            await self._grant_grace(now_at)
            await self._follow_wall_clock()
            # Taken here, so that a store that stalls in what follows makes a gap too.
            begun_at = self._clock.steady()
            judged_at = now_at - lead_s - (self._held_s if now_at < self._held_until_at else 0)
            if not ids:
                found = await self._store.read(
                    "look for late services", records.look, judged_at, FOUND
                )
                if found.renewed:
                    await self._store.write("put looks off", records.put_looks_off, found.renewed)
                ids = found.overdue
                full = len(found.overdue) + len(found.renewed) == FOUND
            size = CHUNK if left_s > 0 else CHUNK_MOST
            chunk, ids = ids[:size], ids[size:]
            if chunk:
                await self._judge(chunk, judged_at)
            self._last_tick_at = begun_at
            more = full or bool(ids)
            rest_s = min(self._clock.steady() - begun_at, left_s, TICK_S / 2)
            if more and rest_s > 0:
                left_s -= rest_s
                await deferLater(self._reactor, rest_s)
        self._tell()

    async def _grant_grace(self, now_at: float) -> None:
        excused, gap_s = self._excused, None
        if excused is None and self._last_tick_at is not None:
            gap_s = now_at - self._last_tick_at
            if gap_s <= GAP_S:
                if gap_s > 2 * TICK_S:
                    self._held_s, self._held_until_at = gap_s, now_at + SETTLE_S
                return
        self._excused = None
        try:
            await self._store.write(
                "grant every service its period",
                self._recorder.grant_periods,
                Times(self._clock.wall(), now_at),
            )
        except BaseException:
            self._excused = excused or NOT_STORED
            raise
        # Only now: while the database is away this is tried four times a second.
        if excused is not None:
            log.warn("{reason}: all periods start anew", reason=excused)
        elif gap_s is not None:
            log.warn("the watchdog paused for {gap:.1f} s: all periods start anew", gap=gap_s)

    async def _follow_wall_clock(self) -> None:
        """Look whether the wall clock has stepped: see Note [Expected times]."""
        now = Times(self._clock.wall(), self._clock.steady())
        apart_s = now.wall_at - now.steady_at
        if self._apart_s is None:
            self._apart_s = apart_s
        step_s = apart_s - self._apart_s
        if abs(step_s) <= STEP_S:
            return
        await self._store.write(
            "follow a step of the wall clock",
            self._recorder.follow_step,
            now.wall_at - step_s,
            now,
        )
        self._apart_s = apart_s
        log.warn("the wall clock was set by {step:+.1f} s", step=step_s)

    async def _judge(self, ids: list[int], judged_at: float) -> None:
        now = Times(self._clock.wall(), judged_at)
        raised = await self._store.write("mark services late", self._recorder.mark_late, ids, now)
        if raised and self._untold_at is None:
            self._untold_at = self._clock.steady()
        if self._untold_at is not None and self._clock.steady() - self._untold_at >= TELL_S:
            self._tell()

    def _tell(self) -> None:
        if self._untold_at is not None:
            self._untold_at = None
            self._alerts_raised()
