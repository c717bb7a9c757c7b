"""Whether this server does its work: what /healthz tells, and what the heartbeat depends on."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from overc.clock import Clock
from overc.daemon.store import kept_back
from overc.daemon.store.engine import Store
from overc.daemon.store.errors import StorageError

LAG_MAX_S = 30.0
"""A watchdog that is further behind does not do its work."""


class Watch(Protocol):
    """What is asked of `overc.daemon.watchdog.Watchdog`."""

    def lag_s(self) -> float: ...

    def tick_age_s(self) -> float | None: ...


class Vitals(NamedTuple):
    """How it stands, at one moment."""

    lag_s: float
    """By how much the watchdog is behind; 0 when it is not."""
    tick_age_s: float | None
    """How long ago the watchdog began the last look that it finished; None: there was none yet."""
    database: str | None
    """Why the database can't be used; None: it can."""
    backlog: kept_back.Backlog | None
    """What the outbox holds; None: nobody could say."""

    @property
    def on_time(self) -> bool:
        """The watchdog is."""
        return self.lag_s <= LAG_MAX_S

    @property
    def healthy(self) -> bool:
        return self.on_time and self.database is None

    @property
    def failing(self) -> str:
        """What is wrong, in words; empty: nothing is."""
        words = [] if self.on_time else [f"the watchdog is behind by {self.lag_s:g} s"]
        return ", ".join(words + ([] if self.database is None else [self.database]))


class Pulse:
    """Takes the vital signs."""

    def __init__(self, store: Store, clock: Clock, watch: Watch) -> None:
        self._store = store
        self._clock = clock
        self._watch = watch

    async def take(self) -> Vitals:
        database = backlog = None
        try:
            backlog = await self._store.read(
                "use the database", kept_back.backlog, self._clock.wall()
            )
        except StorageError as e:
            database = str(e)
        return Vitals(self._watch.lag_s(), self._watch.tick_age_s(), database, backlog)
