"""The whole effect of reports, as functions that run inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from overc.daemon import judge, keys
from overc.daemon.store import records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import RaisedAlert, ServerRow, ServiceRow
from overc.model import Alert, Report, State


class WrongKey(Exception):
    """The name is registered with another key; the sentence says what to do."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'Invalid server key for "{name}": the name is registered with another key;'
            " use that key, pick another name, or delete the server on the dashboard"
        )


@dataclass(frozen=True, slots=True)
class Submission:
    """A report, and the derivation that its key was proved against or is to register with."""

    report: Report
    key_derivation: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of a batch: how each submission went, and how many alerts were raised."""

    outcomes: tuple[str | WrongKey, ...]
    """For each submission the derivation that its key was accepted by, or its refusal."""
    alerts: int


@dataclass(frozen=True, slots=True)
class Times:
    """Now, on both clocks (see Note [Two clocks])."""

    wall_at: float
    steady_at: float


def record(
    tx: Transaction, submissions: Sequence[Submission], now: Times, plugins: Sequence[str]
) -> Recorded:
    """Store reports in order: who, what, and what follows. A refused one leaves no trace."""
    batch = _Batch(tx, now)
    outcomes = tuple(batch.admit(one) for one in submissions)
    accepted = [
        one.report
        for one, outcome in zip(submissions, outcomes, strict=True)
        if not isinstance(outcome, WrongKey)
    ]
    batch.load_services(accepted)
    for report in accepted:
        batch.judge(report)
    return Recorded(outcomes, batch.save(plugins))


class _Batch:
    """The working set of one transaction, so that each service is read once and written once."""

    def __init__(self, tx: Transaction, now: Times) -> None:
        self._tx = tx
        self._now = now
        self._servers: dict[str, ServerRow] = {}
        self._looked_up: set[str] = set()
        self._services: dict[tuple[int, str], ServiceRow] = {}
        self._states: list[tuple[int, float, State, str]] = []
        self._alerts: list[_Pending] = []
        self._newest: dict[int, int] = {}
        """For each service that reported, the place of its newest state in `_states`."""

    def admit(self, submission: Submission) -> str | WrongKey:
        """Check the key, register an unknown name, keep the peer's address."""
        report = submission.report
        name = report.server.name
        if name not in self._looked_up:
            self._looked_up.add(name)
            self._servers.update({row.name: row for row in records.find_servers(self._tx, [name])})
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
            self._servers[name] = replace(server, ip=report.peer_ip)
        return server.key_derivation

    def load_services(self, reports: Iterable[Report]) -> None:
        """Read every service that is named, and create those that are unknown."""
        wanted: dict[int, dict[str, None]] = {}
        for report in reports:
            names = wanted.setdefault(self._servers[report.server.name].id, {})
            names.update({service.name: None for service in report.services})
            names.update({alert.service: None for alert in report.alerts if alert.service})
        for server_id, names in wanted.items():
            found = records.find_services(self._tx, server_id, names)
            known = {row.name for row in found}
            found += records.add_services(
                self._tx, server_id, [name for name in names if name not in known]
            )
            self._services.update({(server_id, row.name): row for row in found})

    def judge(self, report: Report) -> None:
        server_id = self._servers[report.server.name].id
        for service in report.services:
            row = self._services[server_id, service.name]
            verdict = judge.on_report(row.status, service, self._now.steady_at)
            place = len(self._states)
            self._states.append((row.id, self._now.wall_at, service.state, service.info))
            self._newest[row.id] = place
            since_at = row.since_at if service.state is row.status.state else self._now.wall_at
            self._services[server_id, service.name] = replace(
                row, status=verdict.service, since_at=since_at
            )
            for alert in verdict.alerts:
                self._alerts.append(_Pending(alert, server_id, row.id, None, place))
        for asked in report.alerts:
            about = self._services[server_id, asked.service] if asked.service else None
            self._alerts.append(
                _Pending(
                    judge.on_alert(asked),
                    server_id,
                    about.id if about else None,
                    about.state_id if about else None,
                    self._newest.get(about.id) if about else None,
                )
            )

    def save(self, plugins: Sequence[str]) -> int:
        ids = records.add_states(self._tx, self._states)
        changed = [
            replace(row, state_id=ids[self._newest[row.id]])
            for row in self._services.values()
            if row.id in self._newest
        ]
        records.save_services(self._tx, changed)
        raised = [
            RaisedAlert(
                one.alert,
                one.server_id,
                one.service_id,
                one.state_id if one.place is None else ids[one.place],
            )
            for one in self._alerts
        ]
        records.add_alerts(self._tx, raised, self._now.wall_at, plugins)
        return len(raised)


@dataclass(frozen=True, slots=True)
class _Pending:
    """An alert whose state may not have an id yet, only its `place` among the new ones."""

    alert: Alert
    server_id: int
    service_id: int | None
    state_id: int | None
    place: int | None


def mark_late(tx: Transaction, ids: Sequence[int], now: Times, plugins: Sequence[str]) -> int:
    """Judge services whose deadline seems to have passed; return how many alerts it raised."""
    changed: list[ServiceRow] = []
    raised: list[RaisedAlert] = []
    for row in records.find_services_by_id(tx, ids):
        verdict = judge.on_tick(row.status, now.steady_at)
        if verdict.service != row.status:
            changed.append(replace(row, status=verdict.service))
        raised += [RaisedAlert(a, row.server_id, row.id, row.state_id) for a in verdict.alerts]
    records.save_services(tx, changed)
    records.add_alerts(tx, raised, now.wall_at, plugins)
    return len(raised)
