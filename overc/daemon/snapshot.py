"""The present state of everything, kept in memory for those who look.

Note [Snapshot]
~~~~~~~~~~~~~~~
Whoever looks wants all services, and most of them are as they were a second ago. So they are kept
in memory and brought up to date before each look, by reading what the database has got since the
last one: new states and new alerts by their ids. What is shown is what was committed, also by other
nodes, and while nobody looks nothing is done. A service that fell late has a new alert, so it is
found too. Servers and services that came or went are found by their number, once in COMPARE_S:
counting takes longer than all the rest.

Where several nodes write, a lower id may be committed after a higher one was seen. So what came in
the last SETTLE_S is read again each time, and what is as it was is passed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from twisted.internet.defer import Deferred, ensureDeferred

from overc.clock import Clock
from overc.daemon.store import status
from overc.daemon.store.engine import Store
from overc.daemon.store.status import Changes, ServerRow, ServiceRow

ALERTS_S = 24 * 3600
"""Alerts count for so long."""

COMPARE_S = 1.0
"""So often it is looked for services that came or went without a state, and for new addresses."""

SETTLE_S = 30.0
"""A transaction has ended so long after it was given its ids."""

SETTLE_IDS = 10_000
"""So many ids before the last one may be under way when nothing is known yet."""


class ServiceEntry:
    """A service as it is now."""

    __slots__ = ("n_alerts", "rendered", "row", "version")

    def __init__(self, row: ServiceRow) -> None:
        self.row = row
        self.n_alerts = 0
        self.version = 0
        """Grows with every change."""
        self.rendered: object = None
        """For those who show it: what they made of it, until it changes."""


class ServerEntry:
    __slots__ = ("n_alerts", "row", "services")

    def __init__(self, row: ServerRow) -> None:
        self.row = row
        self.n_alerts = 0
        """Of those without a service."""
        self.services: dict[int, ServiceEntry] = {}


class Selection(NamedTuple):
    """All servers, or one of them, or one service of it."""

    server_id: int | None = None
    service_id: int | None = None


class Snapshot:
    """For the reactor's thread only."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._servers: dict[int, ServerEntry] = {}
        self._services: dict[int, ServiceEntry] = {}
        self._changed: dict[int, int] = {}
        """The version of each service, in the order of the last changes."""
        self._alerts: deque[tuple[float, int | None, int | None]] = deque()
        self._own_alerts = 0
        """Alerts that are about no server."""
        self._last_state_id = 0
        self._last_alert_id = 0
        self._counted: set[int] = set()
        """The alerts after the settled ones that were counted."""
        self._seen: deque[tuple[float, int, int]] = deque()
        """When which ids were the last ones, on the steady clock; the first one is settled."""
        self._loaded = False
        self._compared_at = -COMPARE_S
        self._refreshing = False
        self._waiting: list[Deferred[None]] = []
        # A page that was open when the server started anew has a version of the former process.
        # This one counts from a number which that one has not reached.
        self.version = int(clock.wall() * 1_000_000)
        """Of the newest change; it means nothing to another process."""
        self.complete_since = self.version
        """Changes from before this version are not all known: something was removed."""

    async def refresh(self) -> None:
        """Bring it up to date with all that was committed before this call. Raises StorageError.

        Calls that come while one is under way share the next one.
        """
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if not self._refreshing:
            self._refreshing = True
            ensureDeferred(self._refresh())
        await waiting

    async def _refresh(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            full, self._loaded = not self._loaded, True
            now_at = self._clock.steady()
            compare = full or now_at - self._compared_at >= COMPARE_S
            try:
                self._apply(
                    await self._store.read(
                        "read the status",
                        status.changes,
                        self._last_state_id,
                        self._last_alert_id,
                        self._servers.keys(),
                        len(self._services),
                        self._clock.wall() - ALERTS_S,
                        full=full,
                        compare=compare,
                        settled=self._seen[0][1:] if self._seen else None,
                    )
                )
            except Exception as e:
                self._loaded = False
                for one in waiting:
                    one.errback(e)
            else:
                if compare:
                    self._compared_at = now_at
                for one in waiting:
                    one.callback(None)
        self._refreshing = False

    def forget(self) -> None:
        """Read everything anew at the next refresh: something was removed or renamed."""
        self._loaded = False

    def servers(self, selected: Selection) -> list[tuple[ServerEntry, list[ServiceEntry]]] | None:
        """Return what is selected, by name; None where there is no such server or service."""
        if selected.service_id is not None:
            service = self._services.get(selected.service_id)
            if service is None:
                return None
            return [(self._servers[service.row.server_id], [service])]
        if selected.server_id is not None:
            server = self._servers.get(selected.server_id)
            return None if server is None else [(server, _by_name(server))]
        servers = sorted(self._servers.values(), key=lambda server: server.row.name)
        return [(server, _by_name(server)) for server in servers]

    def changed_since(self, version: int) -> Iterator[ServiceEntry]:
        """Yield the services that changed after a version, the last change first."""
        for service_id, changed in reversed(self._changed.items()):
            if changed <= version:
                return
            yield self._services[service_id]

    def n_alerts(self, selected: Selection) -> int:
        """Return the alerts of the last 24 hours of all that is selected."""
        servers = self.servers(selected) or []
        count = sum(service.n_alerts for _, services in servers for service in services)
        if selected.service_id is None:
            count += sum(server.n_alerts for server, _ in servers)
        return count + (self._own_alerts if selected == Selection() else 0)

    def _apply(self, changes: Changes) -> None:
        if changes.full:
            self._clear()
        for server in changes.servers:
            known = self._servers.setdefault(server.id, ServerEntry(server))
            known.row = server
        touched = {row.id for row in changes.services if self._put(row)}
        for alert_id, raised_at, server_id, service_id in changes.alerts:
            if alert_id in self._counted:
                continue
            self._counted.add(alert_id)
            self._last_alert_id = max(self._last_alert_id, alert_id)
            self._alerts.append((raised_at, server_id, service_id))
            touched |= self._count(server_id, service_id, 1)
        touched |= self._drop_old_alerts()
        self._last_state_id = max(self._last_state_id, changes.last_state_id)
        self._settle(in_order=changes.in_order)
        self._mark(touched)

    def _settle(self, *, in_order: bool) -> None:
        """Note the last ids, and forget what was needed for those that are settled by now."""
        now_at = self._clock.steady()
        last = (self._last_state_id, self._last_alert_id)
        if in_order:
            self._counted.clear()
            return
        if not self._seen:
            state_id, alert_id = last
            self._seen.append((now_at, state_id - SETTLE_IDS, alert_id - SETTLE_IDS))
        # Not one for each look: there may be many in a second.
        if now_at - self._seen[-1][0] >= 1:
            self._seen.append((now_at, *last))
        settled = False
        while len(self._seen) > 1 and self._seen[1][0] <= now_at - SETTLE_S:
            self._seen.popleft()
            settled = True
        if settled or len(self._counted) > 2 * SETTLE_IDS:
            self._counted = {id_ for id_ in self._counted if id_ > self._seen[0][2]}

    def _clear(self) -> None:
        self._servers.clear()
        self._services.clear()
        self._changed.clear()
        self._alerts.clear()
        self._counted.clear()
        self._seen.clear()
        self._own_alerts = self._last_state_id = self._last_alert_id = 0
        self.version += 1
        self.complete_since = self.version

    def _put(self, row: ServiceRow) -> bool:
        """Keep what a service is like now; say whether that is another thing than before."""
        entry = self._services.get(row.id)
        if entry is None:
            entry = self._services[row.id] = ServiceEntry(row)
            self._servers[row.server_id].services[row.id] = entry
            return True
        changed = entry.row != row
        entry.row = row
        return changed

    def _count(self, server_id: int | None, service_id: int | None, by: int) -> set[int]:
        """Count an alert in or out; return the service that this changes, if it is one."""
        if service_id is not None:
            service = self._services.get(service_id)
            if service is not None:
                service.n_alerts += by
                return {service_id}
        elif server_id is not None:
            server = self._servers.get(server_id)
            if server is not None:
                server.n_alerts += by
        else:
            self._own_alerts += by
        return set()

    def _drop_old_alerts(self) -> set[int]:
        since_at = self._clock.wall() - ALERTS_S
        touched: set[int] = set()
        while self._alerts and self._alerts[0][0] < since_at:
            _, server_id, service_id = self._alerts.popleft()
            touched |= self._count(server_id, service_id, -1)
        return touched

    def _mark(self, touched: Iterable[int]) -> None:
        for service_id in touched:
            self.version += 1
            entry = self._services[service_id]
            entry.version = self.version
            entry.rendered = None
            self._changed.pop(service_id, None)
            self._changed[service_id] = self.version


def _by_name(server: ServerEntry) -> list[ServiceEntry]:
    return sorted(server.services.values(), key=lambda service: service.row.name)
