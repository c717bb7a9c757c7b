"""The whole effect of reports, as functions that run inside one transaction."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from overc.daemon import judge, keys, seqs
from overc.daemon.alerting.raising import Raiser
from overc.daemon.expectations import Expectations
from overc.daemon.judge import Times as Times
from overc.daemon.services import Service, ServiceCache
from overc.daemon.store import items, records, silences, status
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import Stale
from overc.daemon.store.records import RaisedAlert, ServerRow
from overc.model import Alert, Phase, Report, ServiceReport


class WrongKey(Exception):
    """The name is registered with another key; the sentence says what to do."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'Invalid server key for "{name}": the name is registered with another key;'
            " use that key, pick another name, or accept this key on the dashboard, in its settings"
        )


class Submission(NamedTuple):
    """A report, and the derivation that its key was proved against or is to register with."""

    report: Report
    key_derivation: str


class Recorded(NamedTuple):
    """What came of a batch."""

    outcomes: tuple[str | WrongKey, ...]
    """For each submission the derivation that its key was accepted by, or its refusal."""
    alerts: int
    """How many were raised."""


NO_RULES = Expectations()


class Recorder:
    """Everything that changes services, for use in the writer's thread only."""

    def __init__(self, raiser: Raiser, expectations: Expectations = NO_RULES) -> None:
        self._raiser = raiser
        self._expectations = expectations
        self._cache = ServiceCache(without_rules=not expectations.rules)

    def record(
        self,
        tx: Transaction,
        submissions: Sequence[Submission],
        now: Times,
    ) -> Recorded:
        """Store reports in order: who, what, and what follows. A refused one leaves no trace.

        Raises Stale when it has to be run again: see Note [Cached services].
        """
        self._cache.begin(tx)
        batch = _Batch(tx, now, self._cache, self._expectations)
        batch.load_servers({one.report.server.name for one in submissions})
        outcomes = tuple(batch.admit(one) for one in submissions)
        accepted = [
            (one.report, order)
            for one, outcome in zip(submissions, outcomes, strict=True)
            if not isinstance(outcome, WrongKey) and (order := batch.order(one.report))
        ]
        batch.load_services([report for report, _ in accepted])
        for report, order in accepted:
            batch.judge(report, order)
        batch.add_renewals()
        overlaps = batch.only_renews
        if overlaps:
            # From here on nothing in memory is looked at or changed: it is the next one's.
            self._cache.end(tx)
            tx.let_next_begin()
        try:
            alerts = batch.save(self._raiser)
        except Stale:
            self._cache.distrust()
            raise
        if not overlaps:
            self._cache.end(tx)
        return Recorded(outcomes, alerts)

    def mark_late(self, tx: Transaction, ids: Sequence[int], now: Times) -> int:
        """Judge services whose deadline seems to have passed; return how many alerts it raised."""
        self._cache.begin(tx)
        if not tx.sole_writer:
            self._cache.forget(ids)
        changed: list[Service] = []
        raised: list[RaisedAlert] = []
        for service in self._cache.find_ids(tx, ids):
            verdict = judge.on_tick(service.status, now)
            if verdict.service != service.status:
                service.status = verdict.service
                changed.append(service)
            raised += [
                RaisedAlert(alert, service.server_id, service.id, service.state_id)
                for alert in verdict.alerts
            ]
        records.save_services(tx, [service.row() for service in changed])
        self._raiser.raise_alerts(tx, raised, now.wall_at)
        # Without an alert nothing would tell that what is in memory was not stored.
        if raised or not changed:
            self._cache.end(tx)
        return len(raised)

    def grant_periods(self, tx: Transaction, now: Times) -> None:
        """Give every service that is awaited its whole period again, from now on."""
        # The services in memory have their former deadlines.
        self._cache.clear()
        records.grant_periods(tx, now.wall_at, now.steady_at)

    def follow_step(self, tx: Transaction, before_at: float, now: Times) -> None:
        """Move the deadlines that follow the wall clock, which has just stepped from `before_at`.

        See Note [Expected times].
        """
        self._cache.clear()
        changed = []
        for server, row in records.awaited_by_calendar(tx):
            expected = self._expectations.of(server, row.name)
            after = judge.on_step(row.status, before_at, now, expected)
            if after != row.status:
                changed.append(row._replace(status=after))
        records.save_services(tx, changed)

    def forget_service(self, tx: Transaction, service_id: int, now: Times) -> int:
        """Delete a service if it has been silent for long enough; return the number of alerts."""
        found = records.find_named_service(tx, service_id)
        if found is None:
            return 0
        server, row = found
        expected = self._expectations.of(server, row.name)
        if not judge.is_expired(row.status, row.seen_at, now.wall_at, expected):
            return 0
        self.delete_service(tx, service_id)
        alert = judge.on_forgotten(row.name, expected)
        raised = [RaisedAlert(alert, row.server_id, None, None)]
        return self._raiser.raise_alerts(tx, raised, now.wall_at)

    def delete_server(self, tx: Transaction, server_id: int) -> str | None:
        """Delete a server with all that is known of it; return its name, None if there is none."""
        self._cache.clear()
        return status.delete_server(tx, server_id)

    def forget_services(
        self, tx: Transaction, service_ids: Sequence[int], before_at: float | None
    ) -> tuple[int, int]:
        """Delete services; return how many were deleted, and how many there still are.

        `before_at`: only those that are late and were not heard of since then; None: all.
        """
        kept = 0
        found = items.still_silent(tx, service_ids, before_at)
        for service_id, silent in found:
            if silent:
                self.delete_service(tx, service_id)
            else:
                kept += 1
        return len(found) - kept, kept

    def delete_service(self, tx: Transaction, service_id: int) -> str | None:
        """Delete a service with all that is known of it; return its name, None if there is none."""
        self._cache.clear()
        return status.delete_service(tx, service_id)


_NewState = tuple[Service, float, str, str]
"""A state on its way to the history: when it was seen, its word, its info."""


class _Order(enum.Enum):
    """How a report stands to those that were stored before."""

    NEWEST = 1
    """The newest of its spool, so all that it says is newer than what is known."""
    UNKNOWN = 2
    """Only the times in it can tell."""


class _Batch:
    """The working set of one transaction, so that each service is read once and written once."""

    def __init__(
        self, tx: Transaction, now: Times, cache: ServiceCache, expectations: Expectations
    ) -> None:
        self._tx = tx
        self._now = now
        self._cache = cache
        self._expectations = expectations
        self._servers: dict[str, ServerRow] = {}
        self._services: dict[int, dict[str, Service]] = {}
        self._renewed: list[dict[Service, _NewState]] = [{}]
        """Of those that said once more what they had said before, and then of those that said it
        twice, and so on."""
        self._states: list[_NewState] = []
        """All others."""
        self._newest: dict[Service, int] = {}
        """The place in `_states` of each service's present state."""
        self._changed: set[Service] = set()
        """Those of which more than the deadline changed."""
        self._known: dict[int, tuple[int | None, bool]] = {}
        """What was known of them before: see `records.check`."""
        self._alerts: list[tuple[Alert, int, Service | None, int | None, int | None]] = []
        """With the place of the state in `_states`, or the id of one that is stored already."""
        self._well: list[int] = []
        """Services whose last problem is over."""
        self._seqs: dict[tuple[int, str], tuple[seqs.Ranges, bool]] = {}
        self._renewing: list[Sequence[int]] = []
        """The ids of the states of `_renewed` that have some."""

    def load_servers(self, names: Iterable[str]) -> None:
        # Another batch may be about to end that changes addresses. Then they are changed once more.
        with self._tx.ahead():
            found = records.find_servers(self._tx, names)
        self._servers = {row.name: row for row in found}

    def admit(self, submission: Submission) -> str | WrongKey:
        """Check the key, register an unknown name, keep the peer's address."""
        report = submission.report
        name = report.server.name
        server = self._servers.get(name)
        if server is None:
            self._servers[name] = records.add_server(
                self._tx, name, submission.key_derivation, report.peer_ip, self._now.wall_at
            )
            return submission.key_derivation
        # Where the derivations differ somebody else registered, or registered anew, meanwhile.
        if server.key_derivation != submission.key_derivation and not keys.verify(
            report.server.key, server.key_derivation
        ):
            return WrongKey(name)
        if server.ip != report.peer_ip:
            records.set_ip(self._tx, server.id, report.peer_ip)
            self._servers[name] = server._replace(ip=report.peer_ip)
        return server.key_derivation

    def order(self, report: Report) -> _Order | None:
        """Say how a report stands to those before it; None for one that is stored already."""
        if report.spooled is None:
            return _Order.UNKNOWN
        server_id = self._servers[report.server.name].id
        key = (server_id, report.spooled.spool)
        if key not in self._seqs:
            # A batch that is about to end has locked those that it will change.
            with self._tx.ahead():
                stored = records.stored_seqs(self._tx, *key)
            self._seqs[key] = (seqs.parse(stored or ""), stored is not None)
        ranges, known = self._seqs[key]
        added = seqs.add(ranges, report.spooled.seq)
        if added is None:
            return None
        self._seqs[key] = (added, known)
        # By the agent's own count, so that a clock of its that was set back does no harm.
        return _Order.NEWEST if added[-1][1] == report.spooled.seq else _Order.UNKNOWN

    def load_services(self, reports: Iterable[Report]) -> None:
        """Find every service that is named, and create those that are unknown."""
        wanted: dict[int, dict[str, None]] = {}
        for report in reports:
            names = wanted.setdefault(self._servers[report.server.name].id, {})
            names |= dict.fromkeys([service.name for service in report.services])
            for alert in report.alerts:
                if alert.service:
                    names[alert.service] = None
        for server_id, names in wanted.items():
            self._services[server_id] = self._cache.find_names(self._tx, server_id, names)

    def judge(self, report: Report, order: _Order) -> None:
        server_id = self._servers[report.server.name].id
        services = self._services[server_id]
        wall_at, steady_at = self._now
        changed, renewed = self._changed, self._renewed[0]
        for one in report.services:
            # At once: this is run for every state, and the fields of named tuples are slow.
            name, state, info, period_s, sent_at, grace_s = one
            service = services[name]
            seen_at = wall_at
            if sent_at is not None:
                seen_at = min(sent_at, wall_at)
                if (
                    order is _Order.UNKNOWN
                    and service.seen_at is not None
                    and seen_at < service.seen_at
                ):
                    # From a backlog: it belongs to the history, what is known already is newer.
                    self._change(service)
                    self._states.append((service, seen_at, state.word, info))
                    continue
            if service in changed or not service.renew(state, period_s, grace_s, steady_at):
                self._judge_state(service, one, seen_at, report.server.name)
                continue
            service.seen_at = seen_at
            new = (service, seen_at, state.word, info)
            if service in renewed:
                self._renew_again(new)
            else:
                renewed[service] = new
        for asked in report.alerts:
            about = services[asked.service] if asked.service else None
            self._raise(judge.on_alert(asked), server_id, about)

    def _renew_again(self, state: _NewState) -> None:
        for wave in self._renewed[1:]:
            if state[0] not in wave:
                wave[state[0]] = state
                return
        self._renewed.append({state[0]: state})

    def _judge_state(
        self, service: Service, report: ServiceReport, seen_at: float, server: str
    ) -> None:
        self._change(service)
        self._newest[service] = len(self._states)
        self._states.append((service, seen_at, report.state.word, report.info))
        service.seen_at = seen_at
        before = service.state
        if service.expected is None:
            service.expected = self._expectations.of(server, service.name)
        alerts = service.judge(report, self._now, service.expected)
        if service.state is not before:
            service.since_at = seen_at
        for alert in alerts:
            self._raise(alert, service.server_id, service)
        if any(alert.phase is Phase.RECOVERY for alert in alerts) and service.is_well():
            self._well.append(service.id)

    def _change(self, service: Service) -> None:
        """Note that more than the deadline of a service changes in this batch."""
        if service in self._changed:
            return
        for wave in self._renewed:
            if service in wave:
                self._newest[service] = len(self._states)
                self._states.append(wave.pop(service))
        self._changed.add(service)
        self._known[service.id] = service.last_state_id, service.status.timed_out

    def _raise(self, alert: Alert, server_id: int, about: Service | None) -> None:
        place = None
        if about is not None:
            if about in self._renewed[0]:
                # So that the alert finds the state's id when it has one.
                self._change(about)
            place = self._newest.get(about)
        self._alerts.append((alert, server_id, about, place, about.state_id if about else None))

    def add_renewals(self) -> None:
        """Add the states that say nothing new to the history."""
        # A batch that is about to end makes its own states the present ones, and no others.
        with self._tx.ahead():
            for wave in self._renewed:
                # In the order of their ids: nodes that lock in one order do not lock each other
                # out.
                states = [wave[service] for service in sorted(wave, key=_id_of)]
                ids = self._add_states(states)
                self._renewing.append(ids)
                for id_, new in zip(ids, states, strict=True):
                    new[0].state_id = id_

    @property
    def only_renews(self) -> bool:
        """No more is left to be done than to make states that say nothing new the present ones."""
        return not (self._states or self._changed or self._alerts or self._well)

    def save(self, raiser: Raiser) -> int:
        """Write everything else that changed; return the number of alerts."""
        for ids in self._renewing:
            records.renew(self._tx, ids, self._now.steady_at)
        if not self._tx.sole_writer:
            records.check(self._tx, self._known)
        ids = self._save_states()
        for service, place in self._newest.items():
            service.state_id = ids[place]
        records.save_services(self._tx, [service.row() for service in self._changed])
        raised = [
            RaisedAlert(
                alert,
                server_id,
                about.id if about else None,
                state_id if place is None else ids[place],
            )
            for alert, server_id, about, place, state_id in self._alerts
        ]
        raiser.raise_alerts(self._tx, raised, self._now.wall_at)
        if self._well:
            silences.clear_acks(self._tx, self._well)
        for (server_id, spool), (ranges, known) in self._seqs.items():
            records.save_seqs(
                self._tx, server_id, spool, seqs.show(ranges), self._now.wall_at, known=known
            )
        return len(raised)

    def _save_states(self) -> Sequence[int]:
        """Add the states to the chains of their services; return their ids, in order.

        Each names the one before it, so a service's second state in the batch has to wait until its
        first one has an id. That is rare: nearly always all go at once.
        """
        if len({new[0].id for new in self._states}) == len(self._states):
            return self._add_states(self._states)
        ids = [0] * len(self._states)
        waiting = list(range(len(ids)))
        while waiting:
            wave: dict[int, int] = {}
            later = []
            for place in waiting:
                if wave.setdefault(self._states[place][0].id, place) != place:
                    later.append(place)
            places = list(wave.values())
            for place, id_ in zip(
                places, self._add_states([self._states[place] for place in places]), strict=True
            ):
                ids[place] = id_
            waiting = later
        return ids

    def _add_states(self, states: Sequence[_NewState]) -> Sequence[int]:
        wall_at = self._now.wall_at
        ids = records.add_states(
            self._tx,
            [
                (service.id, service.last_state_id, wall_at, seen_at, word, info)
                for service, seen_at, word, info in states
            ],
        )
        for id_, new in zip(ids, states, strict=True):
            new[0].last_state_id = id_
        return ids


_id_of = attrgetter("id")
