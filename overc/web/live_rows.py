"""The rows of the live lists: each service with what people do about it, as small pieces of JSON.

Note [Board]
~~~~~~~~~~~~
The snapshot knows the services; who takes care of them is kept in other tables. The board joins the
two: where an acknowledgement or a silence came or went, the services concerned count as changed,
so there is one line of versions for all that a row shows. What a row is as JSON is kept with its
service until it changes, counts are corrected by what changed, and the patterns of silences are
compared with names only when there is another silence or another service: so a look costs what
happened since the last one, whatever the number of services.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from overc.clock import Clock
from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.snapshot import Gone, Selection, ServerEntry, ServiceEntry, Snapshot
from overc.daemon.store.explain import AckFacts
from overc.web.glance import Glance
from overc.web.insight import Insight
from overc.web.listing import Look, Pair, label_of, server_order
from overc.web.rows import CONDITIONS, condition, is_problem
from overc.web.words import headline

PAGE_MAX = 5000
"""Rows in one page, so that making one does not hold up the reports."""

GLANCE_S = 1.0
"""So old may be what is known of acknowledgements and silences."""


class _Ack(msgspec.Struct):
    author: str
    reason: str
    at: float


class _Silence(msgspec.Struct, omit_defaults=True):
    until: float
    reason: str


class _Row(msgspec.Struct, omit_defaults=True):
    id: int
    server: int
    name: str
    label: str
    condition: str
    alerts: int
    info: str | None = None
    state: str | None = None
    since: float | None = None
    seen: float | None = None
    deadline: float | None = None
    period: int | None = None
    ack: _Ack | None = None
    silence: _Silence | None = None
    told: Sequence[str] = ()


class _Standing(NamedTuple):
    """Under what a service is counted."""

    condition: str
    attention: bool
    """It is a problem of which nobody takes care."""


class Board:
    """For the reactor's thread only."""

    def __init__(self, snapshot: Snapshot, insight: Insight, clock: Clock) -> None:
        self._snapshot = snapshot
        self._insight = insight
        self._clock = clock
        self._version = -1
        self._standing: dict[int, _Standing] = {}
        self._counts: Counter[str] = Counter()
        self._attention = 0
        self._acks: Mapping[int, AckFacts] = {}
        self._silences: Mapping[int, KeepsBack] = {}
        self._glance = Glance()
        self._glanced_at: float | None = None
        self._asked = 0
        self._answered = 0
        """Glances that were asked for up to here are older than what is known."""
        self._labels: dict[int, str] = {}
        self._server_labels: dict[int, str] = {}
        self._servers: list[ServerEntry] | None = None
        self._pairs: list[Pair] | None = None
        """In their order; None: to be sorted anew. Others may hold the lists: none is changed."""
        self.care_version = 0
        """When somebody last began, or ceased, to take care of something."""

    async def refresh(self, glance_s: float = GLANCE_S) -> None:
        """Bring it up to date. Raises StorageError.

        `glance_s`: how old what is known of acknowledgements and silences may be.
        """
        await self._snapshot.refresh()
        now_at = self._clock.steady()
        if self._glanced_at is None or not 0 <= now_at - self._glanced_at < glance_s:
            self._asked += 1
            asked = self._asked
            glance = await self._insight.glance()
            # One that was asked for later, and answered sooner, knows more.
            if asked > self._answered:
                self._answered, self._glanced_at = asked, now_at
                self._take(glance)
        self._follow()

    def stale(self) -> None:
        """Look at acknowledgements and silences at the next refresh: one of them has changed."""
        self._glanced_at = None
        self._answered = self._asked

    @property
    def version(self) -> int:
        return self._snapshot.version

    @property
    def glance(self) -> Glance:
        return self._glance

    @property
    def acks(self) -> Mapping[int, AckFacts]:
        return self._acks

    @property
    def silences(self) -> Mapping[int, KeepsBack]:
        """What keeps the alerts of services back for the longest, by their ids."""
        return self._silences

    @property
    def attention(self) -> int:
        """How many problems there are of which nobody takes care."""
        self._follow()
        return self._attention

    def counts(self) -> dict[str, int]:
        """Return how many services there are in each condition."""
        self._follow()
        return {name: self._counts[name] for name in CONDITIONS}

    def look(self) -> Look:
        """Return all that there is, for the pages; it stays as it is."""
        self._follow()
        if self._servers is None or self._pairs is None:
            self._servers = sorted(self._snapshot.every_server(), key=server_order)
            self._pairs = [
                (server, service)
                for server in self._servers
                for service in sorted(server.services.values(), key=self._order_of)
            ]
        return Look(
            self._servers,
            self._pairs,
            self._acks,
            self._silences,
            self._glance.told,
            self._snapshot.n_alerts(Selection()),
            self.counts(),
            self.attention,
        )

    def page(self, after: int, limit: int, now_at: float) -> bytes:
        """Return a page of /ui/api/rows. `now_at` is on the wall clock."""
        self._follow()
        limit = min(limit, PAGE_MAX)
        services = self._snapshot.services_after(after, limit + 1)
        more, services = len(services) > limit, services[:limit]
        servers = self._snapshot.every_server() if after == 0 else ()
        return b'{"version":%d,"at":%b,"servers":[%b],"services":[%b],"next":%b}' % (
            self.version,
            msgspec.json.encode(round(now_at, 3)),
            b",".join(map(server_json, servers)),
            b",".join(map(self._row, services)),
            b"%d" % services[-1].row.id if more else b"null",
        )

    def knows(self, version: int) -> bool:
        """Say whether all is known that happened since a version."""
        return self._snapshot.known_since <= version <= self._snapshot.version

    def changed(self, version: int) -> tuple[set[int], set[int]]:
        """Return the services, and the servers with a service, that changed since a version."""
        services, servers = set(), set()
        for entry in self._snapshot.changed_since(version):
            services.add(entry.row.id)
            servers.add(entry.row.server_id)
        servers.update(one.row.id for one in self._snapshot.servers_changed_since(version))
        for gone in self._snapshot.gone_since(version):
            servers.add(gone.server_id)
            if gone.service_id is not None:
                services.add(gone.service_id)
        return services, servers

    def delta(self, version: int, rows_max: int) -> bytes | None:
        """Return what changed since a version that is known; None: it is more than `rows_max`."""
        self._follow()
        rows = []
        for entry in self._snapshot.changed_since(version):
            rows.append(self._row(entry))
            if len(rows) > rows_max:
                return None
        servers = list(map(server_json, self._snapshot.servers_changed_since(version)))
        gone_servers, gone_services = [], []
        for gone in self._snapshot.gone_since(version):
            if gone.service_id is None:
                gone_servers.append(gone.server_id)
            else:
                gone_services.append(gone.service_id)
        parts = []
        if rows:
            parts.append(b'"services":[%b]' % b",".join(rows))
        if servers:
            parts.append(b'"servers":[%b]' % b",".join(servers))
        if gone_servers or gone_services:
            ids = {"services": gone_services, "servers": gone_servers}
            parts.append(b'"gone":%b' % msgspec.json.encode({k: v for k, v in ids.items() if v}))
        return b"{%b}" % b",".join(parts)

    def _take(self, glance: Glance) -> None:
        changed = _different(self._acks, glance.acks)
        anew = bool(changed)
        self._acks = glance.acks
        before, self._glance = self._glance, glance
        if glance.keepers != before.keepers:
            silences = dict(self._silenced())
            changed |= _different(self._silences, silences)
            self._silences = silences
            anew = True
        if glance.told != before.told:
            changed |= _different(before.told, glance.told)
        self._snapshot.touch(changed)
        if anew:
            self.care_version = self._snapshot.advance()

    def _silenced(self) -> Iterator[tuple[int, KeepsBack]]:
        for server in self._snapshot.every_server():
            keepers = self._glance.keepers.of_server(server.row.name)
            if not keepers:
                continue
            for service in server.services.values():
                name = service.row.name
                known = [one for services, one in keepers if services.match(name)]
                if known:
                    yield service.row.id, max(known, key=_until_at)

    def _follow(self) -> None:
        """Take in what the snapshot has got since the last time."""
        snapshot = self._snapshot
        if snapshot.version == self._version:
            return
        anew = self._version < snapshot.known_since
        if anew:
            self._version = -1
            self._servers = self._pairs = None
            self._labels.clear()
            self._server_labels.clear()
            self._standing.clear()
            self._counts.clear()
            self._attention = 0
            self._silences = dict(self._silenced())
        else:
            self._forget(snapshot.gone_since(self._version))
        self._follow_labels()
        new: dict[int, KeepsBack] = {}
        for entry in snapshot.changed_since(self._version):
            service_id = entry.row.id
            before = self._standing.get(service_id)
            if before is not None:
                self._uncount(before)
            elif not anew and (silence := self._silence_of(entry)) is not None:
                new[service_id] = silence
            cared = service_id in self._acks or service_id in self._silences or service_id in new
            is_in = condition(entry.row.state, late=bool(entry.row.timed_out))
            now = _Standing(is_in, is_problem(is_in) and not cared)
            self._standing[service_id] = now
            self._counts[now.condition] += 1
            self._attention += now.attention
        if new:
            # Others may hold the mapping: it is never changed.
            self._silences = {**self._silences, **new}
        self._version = snapshot.version

    def _follow_labels(self) -> None:
        """Notice when the order of the lists is another one."""
        snapshot, labels = self._snapshot, self._labels
        for entry in snapshot.changed_since(self._version):
            text = label_of(entry).lower()
            if labels.get(entry.row.id) != text:
                labels[entry.row.id] = text
                self._pairs = None
        for server in snapshot.servers_changed_since(self._version):
            text = label_of(server)
            if self._server_labels.get(server.row.id) != text:
                self._server_labels[server.row.id] = text
                self._servers = None

    def _order_of(self, service: ServiceEntry) -> tuple[str, int]:
        return self._labels[service.row.id], service.row.id

    def _forget(self, gone: Iterable[Gone]) -> None:
        for one in gone:
            self._servers = self._pairs = None
            if one.service_id is not None:
                self._labels.pop(one.service_id, None)
            standing = None if one.service_id is None else self._standing.pop(one.service_id, None)
            if standing is not None:
                self._uncount(standing)

    def _uncount(self, standing: _Standing) -> None:
        self._counts[standing.condition] -= 1
        self._attention -= standing.attention

    def _silence_of(self, entry: ServiceEntry) -> KeepsBack | None:
        server = self._snapshot.server(entry.row.server_id)
        return None if server is None else self._glance.silence_of(server.row.name, entry.row.name)

    def _row(self, entry: ServiceEntry) -> bytes:
        if entry.listed is None:
            service_id = entry.row.id
            ack, silence = self._acks.get(service_id), self._silences.get(service_id)
            entry.listed = row_json(entry, ack, silence, self._glance.told.get(service_id, ()))
        return entry.listed


def row_json(
    entry: ServiceEntry,
    ack: AckFacts | None,
    silence: KeepsBack | None,
    told: Sequence[str] = (),
) -> bytes:
    row = entry.row
    seen_at, late = row.received_at, bool(row.timed_out)
    deadline_at = None
    if seen_at is not None and row.period_s is not None and not late:
        deadline_at = seen_at + row.period_s
    is_in = condition(row.state, late=late)
    return msgspec.json.encode(
        _Row(
            row.id,
            row.server_id,
            row.name,
            label_of(entry),
            is_in,
            entry.n_alerts,
            None if row.info is None else headline(row.info),
            row.state,
            _rounded(row.since_at),
            _rounded(seen_at),
            _rounded(deadline_at),
            row.period_s,
            None if ack is None else _Ack(ack.author, ack.reason, round(ack.acked_at, 3)),
            None if silence is None else _Silence(round(silence.until_at, 3), silence.reason),
            told if is_problem(is_in) else (),
        )
    )


def server_json(server: ServerEntry) -> bytes:
    row = server.row
    return msgspec.json.encode(
        {
            "id": row.id,
            "name": row.name,
            "label": label_of(server),
            "alerts": server.n_alerts,
        }
    )


def _rounded(at: float | None) -> float | None:
    return None if at is None else round(at, 3)


def _until_at(one: KeepsBack) -> float:
    return one.until_at


def _different(one: Mapping[int, object], other: Mapping[int, object]) -> set[int]:
    """Return the keys of which not both have the same."""
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
