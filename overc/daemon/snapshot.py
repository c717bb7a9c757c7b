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

When all is read anew, it is compared with what was known: what is as it was keeps its version, and
what is not there any more is remembered as gone. So who follows the changes goes on following.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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


GONE_MAX = 10_000
"""So many removals are remembered for those who follow the changes."""


class ServiceEntry:
    """A service as it is now."""

    __slots__ = ("found_by", "listed", "n_alerts", "rendered", "row", "version")

    def __init__(self, row: ServiceRow) -> None:
        self.row = row
        self.n_alerts = 0
        self.version = 0
        """Grows with every change."""
        self.rendered: object = None
        """For those who show it: what they made of it, until it changes."""
        self.listed: bytes | None = None
        """The same, as a row of the live lists."""
        self.found_by: str | None = None
        """The same, as what those who search compare their words with."""


class ServerEntry:
    __slots__ = ("n_alerts", "row", "services", "version")

    def __init__(self, row: ServerRow) -> None:
        self.row = row
        self.version = 0
        self.n_alerts = 0
        """Of those without a service."""
        self.services: dict[int, ServiceEntry] = {}


class Gone(NamedTuple):
    """A service that is not there any more, or a server."""

    version: int
    server_id: int
    service_id: int | None = None
    """None: the server itself is gone."""


@dataclass(frozen=True, slots=True)
class _Touched:
    servers: set[int] = field(default_factory=set)
    services: set[int] = field(default_factory=set)


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
        self._changed_servers: dict[int, int] = {}
        self._gone: deque[Gone] = deque()
        self._ids: list[int] | None = []
        """Of the services, in their order; None: to be sorted anew."""
        self._alerts: deque[tuple[float, int | None, int | None]] = deque()
        self._own_alerts = 0
        """Alerts that are about no server."""
        self._last_state_id = 0
        self._last_alert_id = 0
        self._last_rename_id = 0
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
        """Changes from before this version are not all told by `changed_since`: some are gone."""
        self.known_since = self.version
        """Who has this version, or a later one, learns all that happened since, removals too."""

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
            if compare:
                # Before it is read: what look_again is called for meanwhile is not in it.
                self._compared_at = now_at
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
                        rename_id=self._last_rename_id,
                    )
                )
            except Exception as e:
                self._loaded = False
                for one in waiting:
                    one.errback(e)
            else:
                for one in waiting:
                    one.callback(None)
        self._refreshing = False

    def forget(self) -> None:
        """Read everything anew at the next refresh: something was removed or renamed."""
        self._loaded = False

    def look_again(self) -> None:
        """Look at the next refresh for servers that came, went or have got another name."""
        self._compared_at = -COMPARE_S

    def touch(self, service_ids: Iterable[int]) -> None:
        """Count services as changed: something that is kept elsewhere is another thing now."""
        self._mark(_Touched(services={id_ for id_ in service_ids if id_ in self._services}))

    def advance(self) -> int:
        """Return a version of its own for something that is kept elsewhere."""
        self.version += 1
        return self.version

    def service(self, service_id: int) -> ServiceEntry | None:
        return self._services.get(service_id)

    def server(self, server_id: int) -> ServerEntry | None:
        return self._servers.get(server_id)

    def every_server(self) -> Iterable[ServerEntry]:
        """Return the servers in no order."""
        return self._servers.values()

    def services_after(self, service_id: int, limit: int) -> list[ServiceEntry]:
        """Return services in the order of their ids."""
        if self._ids is None:
            self._ids = sorted(self._services)
        begin = bisect_right(self._ids, service_id)
        return [self._services[id_] for id_ in self._ids[begin : begin + limit]]

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

    def servers_changed_since(self, version: int) -> Iterator[ServerEntry]:
        """Yield the servers that changed themselves, the last change first."""
        for server_id, changed in reversed(self._changed_servers.items()):
            if changed <= version:
                return
            yield self._servers[server_id]

    def gone_since(self, version: int) -> Iterator[Gone]:
        """Yield what was removed after a version that is not before `known_since`."""
        for gone in reversed(self._gone):
            if gone.version <= version:
                return
            yield gone

    @property
    def last_alert_id(self) -> int:
        return self._last_alert_id

    def n_alerts(self, selected: Selection) -> int:
        """Return the alerts of the last 24 hours of all that is selected."""
        if selected == Selection():
            count = sum(service.n_alerts for service in self._services.values())
            return count + sum(one.n_alerts for one in self._servers.values()) + self._own_alerts
        servers = self.servers(selected) or []
        count = sum(service.n_alerts for _, services in servers for service in services)
        if selected.service_id is None:
            count += sum(server.n_alerts for server, _ in servers)
        return count

    def _apply(self, changes: Changes) -> None:
        touched = _Touched()
        before = self._forget_counts(changes) if changes.full else None
        for server in changes.servers:
            self._put_server(server, touched)
        for row in changes.services:
            self._put(row, touched)
        counted = _Touched() if changes.full else touched
        for alert_id, raised_at, server_id, service_id in changes.alerts:
            if alert_id in self._counted:
                continue
            self._counted.add(alert_id)
            self._last_alert_id = max(self._last_alert_id, alert_id)
            self._alerts.append((raised_at, server_id, service_id))
            self._count(server_id, service_id, 1, counted)
        self._drop_old_alerts(counted)
        if before is not None:
            self._compare_counts(before, touched)
        self._last_state_id = max(self._last_state_id, changes.last_state_id)
        self._last_rename_id = max(self._last_rename_id, changes.last_rename_id)
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

    def _forget_counts(self, changes: Changes) -> dict[tuple[int | None, int | None], int]:
        """Make ready for everything; return how many alerts each server and service had."""
        before: dict[tuple[int | None, int | None], int] = {}
        for server in self._servers.values():
            before[server.row.id, None] = server.n_alerts
            server.n_alerts = 0
        for service in self._services.values():
            before[None, service.row.id] = service.n_alerts
            service.n_alerts = 0
        self._alerts.clear()
        self._counted.clear()
        self._seen.clear()
        self._own_alerts = self._last_state_id = self._last_alert_id = 0
        self._remove_all_but(
            {one.id for one in changes.servers}, {one.id for one in changes.services}
        )
        self.version += 1
        self.complete_since = self.version
        return before

    def _compare_counts(
        self, before: dict[tuple[int | None, int | None], int], touched: _Touched
    ) -> None:
        for server in self._servers.values():
            if server.n_alerts != before.get((server.row.id, None), 0):
                touched.servers.add(server.row.id)
        for service in self._services.values():
            if service.n_alerts != before.get((None, service.row.id), 0):
                touched.services.add(service.row.id)

    def _remove_all_but(self, server_ids: set[int], service_ids: set[int]) -> None:
        for service_id in self._services.keys() - service_ids:
            server_id = self._services.pop(service_id).row.server_id
            self._changed.pop(service_id, None)
            del self._servers[server_id].services[service_id]
            self._ids = None
            self._gone.append(Gone(self.advance(), server_id, service_id))
        for server_id in self._servers.keys() - server_ids:
            del self._servers[server_id]
            self._changed_servers.pop(server_id, None)
            self._gone.append(Gone(self.advance(), server_id))
        while len(self._gone) > GONE_MAX:
            self.known_since = self._gone.popleft().version

    def _put_server(self, row: ServerRow, touched: _Touched) -> None:
        entry = self._servers.get(row.id)
        if entry is None:
            entry = self._servers[row.id] = ServerEntry(row)
            touched.servers.add(row.id)
        elif entry.row != row:
            entry.row = row
            touched.servers.add(row.id)

    def _put(self, row: ServiceRow, touched: _Touched) -> None:
        """Keep what a service is like now."""
        entry = self._services.get(row.id)
        if entry is None:
            entry = self._services[row.id] = ServiceEntry(row)
            self._servers[row.server_id].services[row.id] = entry
            if self._ids is not None and (not self._ids or row.id > self._ids[-1]):
                self._ids.append(row.id)
            else:
                self._ids = None
            touched.services.add(row.id)
        elif entry.row != row:
            entry.row = row
            touched.services.add(row.id)

    def _count(
        self, server_id: int | None, service_id: int | None, by: int, touched: _Touched
    ) -> None:
        """Count an alert in or out."""
        if service_id is not None:
            service = self._services.get(service_id)
            if service is not None:
                service.n_alerts += by
                touched.services.add(service_id)
        elif server_id is not None:
            server = self._servers.get(server_id)
            if server is not None:
                server.n_alerts += by
                touched.servers.add(server_id)
        else:
            self._own_alerts += by

    def _drop_old_alerts(self, touched: _Touched) -> None:
        since_at = self._clock.wall() - ALERTS_S
        while self._alerts and self._alerts[0][0] < since_at:
            _, server_id, service_id = self._alerts.popleft()
            self._count(server_id, service_id, -1, touched)

    def _mark(self, touched: _Touched) -> None:
        for server_id in touched.servers:
            self._changed_servers.pop(server_id, None)
            self._changed_servers[server_id] = self._servers[server_id].version = self.advance()
        for service_id in touched.services:
            entry = self._services[service_id]
            entry.version = self.advance()
            entry.rendered = entry.listed = entry.found_by = None
            self._changed.pop(service_id, None)
            self._changed[service_id] = self.version


def _by_name(server: ServerEntry) -> list[ServiceEntry]:
    return sorted(server.services.values(), key=lambda service: service.row.name)
