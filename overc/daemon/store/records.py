"""The SQL of recording reports: who reported, what it reported, what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from overc.daemon.store.engine import Transaction
from overc.model import Alert, ServiceStatus, State


@dataclass(frozen=True, slots=True)
class ServerRow:
    id: int
    name: str
    key_derivation: str
    ip: str


@dataclass(frozen=True, slots=True)
class ServiceRow:
    id: int
    server_id: int
    name: str
    status: ServiceStatus
    state_id: int | None
    since_at: float | None


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """An alert with what it is about."""

    alert: Alert
    server_id: int | None
    service_id: int | None
    state_id: int | None


def find_servers(tx: Transaction, names: Iterable[str]) -> list[ServerRow]:
    sql = "select id, name, key_derivation, ip from servers where name in (:keys)"
    return [ServerRow(*row) for row in tx.fetch_in(sql, names)]


def add_server(
    tx: Transaction, name: str, key_derivation: str, ip: str, now_at: float
) -> ServerRow:
    columns = ("name", "title", "key_derivation", "ip", "registered_at")
    [id_] = tx.insert("servers", columns, [(name, name, key_derivation, ip, now_at)])
    return ServerRow(id_, name, key_derivation, ip)


def set_ip(tx: Transaction, server_id: int, ip: str) -> None:
    tx.execute("update servers set ip = ? where id = ?", ip, server_id)


_SERVICE = (
    "select id, server_id, name, state, period_s, deadline_at, timed_out, state_id, since_at"
    " from services "
)


def find_services(tx: Transaction, server_id: int, names: Iterable[str]) -> list[ServiceRow]:
    sql = _SERVICE + "where server_id = ? and name in (:keys)"
    return [_service(*row) for row in tx.fetch_in(sql, names, server_id)]


def find_services_by_id(tx: Transaction, ids: Iterable[int]) -> list[ServiceRow]:
    return [_service(*row) for row in tx.fetch_in(_SERVICE + "where id in (:keys)", ids)]


def _service(
    id_: int,
    server_id: int,
    name: str,
    state: str | None,
    period_s: int | None,
    deadline_at: float | None,
    timed_out: int,
    state_id: int | None,
    since_at: float | None,
) -> ServiceRow:
    status = ServiceStatus(State(state) if state else None, period_s, deadline_at, bool(timed_out))
    return ServiceRow(id_, server_id, name, status, state_id, since_at)


def add_services(tx: Transaction, server_id: int, names: Sequence[str]) -> list[ServiceRow]:
    """Create services that nothing is known of yet."""
    rows = [(server_id, name, name) for name in names]
    ids = tx.insert("services", ("server_id", "name", "title"), rows)
    return [
        ServiceRow(id_, server_id, name, ServiceStatus(), None, None)
        for id_, name in zip(ids, names, strict=True)
    ]


def add_states(tx: Transaction, rows: Sequence[tuple[int, float, State, str]]) -> list[int]:
    """Add to the history: service id, when it was received, state, info. Returns the new ids."""
    values = [(service, at, state.value, info) for service, at, state, info in rows]
    return tx.insert("states", ("service_id", "received_at", "state", "info"), values)


def save_services(tx: Transaction, rows: Sequence[ServiceRow]) -> None:
    values = []
    for row in rows:
        status = row.status
        state = status.state.value if status.state else None
        late = int(status.timed_out)
        period, deadline = status.period_s, status.deadline_at
        values.append((state, period, deadline, late, row.state_id, row.since_at, row.id))
    tx.execute_many(
        "update services set state = ?, period_s = ?, deadline_at = ?, timed_out = ?,"
        " state_id = ?, since_at = ? where id = ?",
        values,
    )


def add_alerts(
    tx: Transaction, raised: Sequence[RaisedAlert], now_at: float, plugins: Sequence[str]
) -> None:
    """Add alerts, and to the outbox one row for each of them and each plugin."""
    if not raised:
        return
    columns = (
        "server_id", "service_id", "state_id", "raised_at",
        "channel", "event", "severity", "message",
    )  # fmt: skip
    rows = [
        (
            one.server_id, one.service_id, one.state_id, now_at,
            one.alert.channel.value, one.alert.event, one.alert.severity.value, one.alert.message,
        )
        for one in raised
    ]  # fmt: skip
    ids = tx.insert("alerts", columns, rows)
    if plugins:
        outbox = [(alert_id, plugin) for alert_id in ids for plugin in plugins]
        tx.insert("outbox", ("alert_id", "plugin"), outbox)


def overdue(tx: Transaction, now_at: float, limit: int) -> list[int]:
    """Return the ids of services whose deadline has passed, the longest overdue first."""
    sql = (
        "select id from services where deadline_at is not null and deadline_at <= ?"
        " order by deadline_at limit ?"
    )
    return [row[0] for row in tx.fetch(sql, now_at, limit)]


def grant_periods(tx: Transaction, now_at: float) -> None:
    """Give every service that is awaited its whole period again, from now on."""
    tx.execute(
        "update services set deadline_at = ? + period_s where deadline_at is not null", now_at
    )
