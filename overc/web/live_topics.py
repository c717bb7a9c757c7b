"""What has changed on pages that show more than rows: deliveries, silences, acknowledgements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from overc.clock import Clock
from overc.daemon.snapshot import Snapshot
from overc.daemon.store import watching
from overc.daemon.store.engine import Store
from overc.daemon.store.watching import Attempted, SilenceTimes
from overc.web.glance import LATELY_S
from overc.web.live_rows import Board

TOPICS = ("alerts", "silences")

WATCH_S = 1.0
"""So often it is looked for attempts to deliver, and for silences that do not keep back yet."""


class Selected(NamedTuple):
    """What a page is about: at most one of these."""

    server_id: int | None = None
    service_id: int | None = None
    topic: str | None = None


class Topics:
    """Knows when what was last changed, in the board's versions. For the reactor's thread only.

    Attempts to deliver are in no row, so they are followed by their ids, while somebody looks at a
    page that shows them. What came while nobody did is read when somebody does again.
    """

    def __init__(self, store: Store, snapshot: Snapshot, board: Board, clock: Clock) -> None:
        self._store = store
        self._snapshot = snapshot
        self._board = board
        self._clock = clock
        self._watched_at: float | None = None
        self._last_attempt_id: int | None = None
        self._last_alert_id: int | None = None
        self._silences: Sequence[SilenceTimes] | None = None
        self._unknown_before = 0
        """Anything may have changed before this version."""
        self._of_services: dict[int, int] = {}
        self._of_servers: dict[int, int] = {}
        self._raised_version = 0
        self._tried_version = 0
        self._silences_version = 0
        self._changes: tuple[int, int, set[int], set[int]] | None = None

    async def refresh(self) -> None:
        """Bring it up to date, after the board. Raises StorageError."""
        now_at = self._clock.steady()
        if self._watched_at is None or not 0 <= now_at - self._watched_at < WATCH_S:
            self._watched_at = now_at
            found = await self._store.read(
                "look what became of alerts",
                watching.watch,
                self._last_attempt_id,
                self._clock.wall() - LATELY_S,
            )
            self._last_attempt_id = found.last_attempt_id
            self._take_attempts(found.attempts)
            if found.silences != self._silences:
                self._silences = found.silences
                self._silences_version = self._snapshot.advance()
        if self._snapshot.last_alert_id != self._last_alert_id:
            self._last_alert_id = self._snapshot.last_alert_id
            self._raised_version = self._snapshot.advance()

    def stale(self) -> None:
        """Look at the next refresh, whenever the last one was."""
        self._watched_at = None

    def changed_since(self, selected: Selected, version: int) -> bool:
        """Say whether what a page shows is another thing than at a version that the board knows."""
        if version < self._unknown_before:
            return True
        if selected.topic == "alerts":
            return max(self._raised_version, self._tried_version) > version
        if selected.topic == "silences":
            # The entry of a silence lists what it kept back.
            silences_at = max(self._silences_version, self._board.care_version)
            return max(self._raised_version, silences_at) > version
        services, servers = self._changed(version)
        if selected.service_id is not None:
            id_ = selected.service_id
            return id_ in services or self._of_services.get(id_, 0) > version
        if selected.server_id is not None:
            id_ = selected.server_id
            return id_ in servers or self._of_servers.get(id_, 0) > version
        return False

    def _changed(self, version: int) -> tuple[set[int], set[int]]:
        """Return the services and the servers that changed; most pages ask the same."""
        now = self._board.version
        if self._changes is None or self._changes[:2] != (version, now):
            self._changes = (version, now, *self._board.changed(version))
        return self._changes[2:]

    def _take_attempts(self, attempts: Sequence[Attempted] | None) -> None:
        if attempts is None:
            self._unknown_before = self._tried_version = self._snapshot.advance()
            self._of_services.clear()
            self._of_servers.clear()
        elif attempts:
            version = self._tried_version = self._snapshot.advance()
            for one in attempts:
                if one.service_id is not None:
                    self._of_services[one.service_id] = version
                if one.server_id is not None:
                    self._of_servers[one.server_id] = version
