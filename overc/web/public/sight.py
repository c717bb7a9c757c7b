"""What all the world may look at, at a price that does not grow with how many look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from overc.clock import Clock
from overc.daemon.alerting.keeping import OpenWindows, looked_back_to
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.snapshot import Selection, ServerEntry, ServiceEntry, Snapshot
from overc.daemon.store import kept_back
from overc.daemon.store.engine import Store

LOOK_S = 5.0
"""What is shown is at most so old."""

Servers = list[tuple[ServerEntry, list[ServiceEntry]]]


class Look(NamedTuple):
    number: int
    """Each look has another one."""
    servers: Servers
    """All that there is."""
    windows: OpenWindows


class Sight:
    """The snapshot, brought up to date once in LOOK_S whoever asks. For the reactor's thread."""

    def __init__(
        self, snapshot: Snapshot, store: Store, clock: Clock, maintenances: Sequence[Maintenance]
    ) -> None:
        self._snapshot = snapshot
        self._store = store
        self._clock = clock
        self._maintenances = tuple(maintenances)
        self._looked_at: float | None = None
        self._seen = Look(0, [], OpenWindows())

    async def look(self) -> Look:
        """Return how all is, as it was at most LOOK_S ago. Raises StorageError."""
        now_at = self._clock.steady()
        if self._looked_at is not None and 0 <= now_at - self._looked_at < LOOK_S:
            return self._seen
        await self._snapshot.refresh()
        windows = await self._windows()
        if self._looked_at is None or self._looked_at < now_at:
            servers = self._snapshot.servers(Selection()) or []
            self._seen = Look(self._seen.number + 1, servers, windows)
            self._looked_at = now_at
        return self._seen

    async def _windows(self) -> OpenWindows:
        if not self._maintenances:
            return OpenWindows()
        now_at = self._clock.wall()
        silences = await self._store.read(
            "read windows of maintenance",
            kept_back.of_windows,
            [one.name for one in self._maintenances],
            looked_back_to(self._maintenances, now_at),
        )
        return OpenWindows(self._maintenances, silences, now_at)
