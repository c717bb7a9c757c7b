"""What all the world may look at, at a price that does not grow with how many look."""

from __future__ import annotations

from overc.clock import Clock
from overc.daemon.snapshot import Selection, ServerEntry, ServiceEntry, Snapshot

LOOK_S = 5.0
"""What is shown is at most so old."""

Servers = list[tuple[ServerEntry, list[ServiceEntry]]]


class Sight:
    """The snapshot, brought up to date once in LOOK_S whoever asks. For the reactor's thread."""

    def __init__(self, snapshot: Snapshot, clock: Clock) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._looked_at: float | None = None
        self._servers: Servers = []
        self.number = 0
        """Of the last look."""

    async def servers(self) -> Servers:
        """Return all that there is, as it was at most LOOK_S ago. Raises StorageError."""
        now_at = self._clock.steady()
        if self._looked_at is not None and 0 <= now_at - self._looked_at < LOOK_S:
            return self._servers
        await self._snapshot.refresh()
        if self._looked_at is None or self._looked_at < now_at:
            self._servers = self._snapshot.servers(Selection()) or []
            self._looked_at = now_at
            self.number += 1
        return self._servers
