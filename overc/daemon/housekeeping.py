"""Keeps the database small: rolls the history up and deletes what is too old.

Note [Small batches]
~~~~~~~~~~~~~~~~~~~~
Whatever has gathered, also in a stop of weeks, is worked off in batches that hold the writer for a
few milliseconds, and after each batch the writer is left alone for longer than that. So reports
never wait for housekeeping, and it takes as long as it takes.

Note [Settled ids]
~~~~~~~~~~~~~~~~~~
Where several nodes write, an id may be committed after a higher one. Only states up to the newest
one of the round before are rolled up: no transaction stays open for so long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import ensureDeferred

from overc.clock import Clock
from overc.daemon import archiving
from overc.daemon.expectations import Expectations
from overc.daemon.rest import Rest
from overc.daemon.rounds import Rounds
from overc.daemon.store import archive
from overc.daemon.store.archive import PERF_BUCKETS, STATE_BUCKETS, Buckets
from overc.daemon.store.engine import Store
from overc.logging import get_logger

ROUND_S = 60.0
"""Between the beginnings of two rounds; each ends when nothing is left to do."""

PAUSE_S = 0.05
"""At least so long nothing is done after a batch."""

REST = 3
"""And at least for so many times as long as the batch took."""

BATCH_TIMEOUT_S = 60.0
"""A batch that takes longer is given up, and the round with it."""

RESCAN_S = 86400.0
"""So often the history is looked through from its beginning: what was kept because a service
pointed at it may be needed no more."""

ROWS_MAX = 200
"""Alerts, spools, series or roll-ups that are deleted at a time."""

T = TypeVar("T")

log = get_logger(__name__)


class Retention(NamedTuple):
    """For how long things are kept, in seconds."""

    history_s: float
    """States, and what is remembered of spools, after their last use."""
    alerts_s: float
    rollups_s: float


class Housekeeping(Service):
    """The LoopingCall that does not die: what a round raises is logged, and the next one runs."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        retention: Retention,
        expectations: Expectations,
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._clock = clock
        self._retention = retention
        self._expectations = expectations
        self._rounds = Rounds(
            reactor,
            log,
            self.round,
            failed="housekeeping failed, its next round follows",
            works="housekeeping works again",
        )
        self._rest = Rest(reactor)
        self._settled_id = 0
        self._newest_id = 0
        self._pruned_id = 0
        self._scanned_at: float | None = None

    def startService(self) -> None:
        super().startService()
        self._settled_id = self._newest_id = 0
        self._rounds.start(ROUND_S)

    async def stopService(self) -> None:
        super().stopService()
        self._rest.wake()
        await self._rounds.stop()

    async def round(self) -> None:
        """Do all that there is to do, in small batches, each job in its turn."""
        self._settled_id = self._newest_id
        self._newest_id = await self._in_time(
            self._store.read("read how far the history goes", archive.newest_state_id)
        )
        now_at = self._reactor.seconds()
        if self._scanned_at is None or now_at - self._scanned_at >= RESCAN_S:
            self._scanned_at, self._pruned_id = now_at, 0
        jobs = deque(self._jobs())
        while jobs and self.running:
            begun_at = self._reactor.seconds()
            if await self._in_time(jobs[0]()):
                jobs.rotate(-1)
            else:
                jobs.popleft()
            await self._pause(max(PAUSE_S, REST * (self._reactor.seconds() - begun_at)))

    async def _in_time(self, batch: Coroutine[Any, Any, T]) -> T:
        limited = ensureDeferred(batch)
        limited.addTimeout(BATCH_TIMEOUT_S, self._reactor)
        return await limited

    def _jobs(self) -> list[Callable[[], Coroutine[Any, Any, bool]]]:
        """Return what is to be done: each does one batch, and tells whether there was one."""
        kinds = (STATE_BUCKETS, PERF_BUCKETS)
        return [
            self._roll_up,
            *(lambda kind=kind: self._sum_up_day(kind) for kind in kinds),
            self._prune_states,
            self._prune_alerts,
            *(
                lambda kind=kind, table=table: self._prune_buckets(kind, table)
                for kind in kinds
                for table in (kind.hours, kind.days)
            ),
            self._prune_series,
            self._prune_spools,
        ]

    async def _roll_up(self) -> bool:
        batch = await self._store.read(
            "read what is to be rolled up",
            archiving.find_states,
            self._expectations,
            self._settled_id,
        )
        if batch is None:
            return False
        return await self._store.write("store roll-ups", archiving.store_states, batch)

    async def _sum_up_day(self, kind: Buckets) -> bool:
        day = await self._store.read(
            "read the hours of a day", archiving.find_day, kind, self._clock.wall()
        )
        if day is None:
            return False
        return await self._store.write("store a day", archiving.store_day, kind, day)

    async def _prune_states(self) -> bool:
        found = await self._store.read(
            "look for old states",
            archiving.find_old_states,
            self._pruned_id,
            self._clock.wall() - self._retention.history_s,
        )
        if found is None:
            return False
        await self._store.write("delete old states", archive.prune_states, *found)
        self._pruned_id = found[1]
        return True

    async def _prune_alerts(self) -> bool:
        before_at = self._clock.wall() - self._retention.alerts_s
        ids = await self._store.read("look for old alerts", archive.old_alerts, before_at, ROWS_MAX)
        if ids:
            await self._store.write("delete old alerts", archive.prune_alerts, ids)
        return bool(ids)

    async def _prune_buckets(self, kind: Buckets, table: str) -> bool:
        before_at = self._clock.wall() - self._retention.rollups_s
        found = await self._store.read(
            "look for old roll-ups", archive.old_buckets, kind, table, before_at, ROWS_MAX
        )
        if found is None:
            return False
        await self._store.write("delete old roll-ups", archive.prune_buckets, kind, table, *found)
        return True

    async def _prune_series(self) -> bool:
        before_at = self._clock.wall() - self._retention.rollups_s
        ids = await self._store.read("look for old series", archive.old_series, before_at, ROWS_MAX)
        if ids:
            await self._store.write("delete old series", archive.prune_series, ids)
        return bool(ids)

    async def _prune_spools(self) -> bool:
        before_at = self._clock.wall() - self._retention.history_s
        keys = await self._store.read(
            "look for old spools", archive.old_spools, before_at, ROWS_MAX
        )
        if keys:
            await self._store.write("delete old spools", archive.prune_spools, before_at, keys)
        return bool(keys)

    async def _pause(self, pause_s: float) -> None:
        if self.running:
            await self._rest.pause(pause_s)
