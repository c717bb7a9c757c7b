"""The SQL of recording reports: who reported, what it reported, what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from overc.daemon.store.engine import Row, Transaction
from overc.daemon.store.errors import Stale
from overc.model import Alert, ServiceStatus, State

_STATES = {state.value: state for state in State} | {None: None}


class ServerRow(NamedTuple):
    id: int
    name: str
    key_derivation: str
    ip: str


class ServiceRow(NamedTuple):
    id: int
    server_id: int
    name: str
    status: ServiceStatus
    state_id: int | None
    since_at: float | None
    seen_at: float | None
    last_state_id: int | None


class RaisedAlert(NamedTuple):
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
    "select id, server_id, name, state, period_s, deadline_at, timed_out, state_id, since_at,"
    " seen_at, last_state_id from services "
)


def find_services(tx: Transaction, server_id: int, names: Iterable[str]) -> list[ServiceRow]:
    """Return services by name, to be changed by this transaction."""
    sql = f"{_SERVICE} where server_id = ? and name in (:keys) {tx.for_update}"
    return [_service(row) for row in tx.fetch_in(sql, names, server_id)]


def find_services_by_id(tx: Transaction, ids: Iterable[int]) -> list[ServiceRow]:
    """Return services by id, to be changed by this transaction."""
    sql = f"{_SERVICE} where id in (:keys) order by id {tx.for_update}"
    return [_service(row) for row in tx.fetch_in(sql, ids)]


def _service(row: Row) -> ServiceRow:
    id_, server_id, name, state, period_s, deadline_at, timed_out, *rest = row
    status = ServiceStatus(_STATES[state], period_s, deadline_at, timed_out == 1)
    return ServiceRow(id_, server_id, name, status, *rest)


def add_services(tx: Transaction, server_id: int, names: Sequence[str]) -> list[ServiceRow]:
    """Create services that nothing is known of yet."""
    rows = [(server_id, name, name) for name in names]
    ids = tx.insert("services", ("server_id", "name", "title"), rows)
    return [
        ServiceRow(id_, server_id, name, ServiceStatus(), None, None, None, None)
        for id_, name in zip(ids, names, strict=True)
    ]


STATE_COLUMNS = ("service_id", "previous_id", "received_at", "seen_at", "state", "info")


def add_states(tx: Transaction, rows: Sequence[Row]) -> list[int]:
    """Add rows of STATE_COLUMNS to the history; return their ids."""
    return tx.insert("states", STATE_COLUMNS, rows)


_SAVED = (
    "id", "state", "period_s", "deadline_at", "timed_out",
    "state_id", "since_at", "seen_at", "last_state_id",
)  # fmt: skip


def save_services(tx: Transaction, rows: Sequence[ServiceRow]) -> None:
    # In the order of their ids: nodes that lock in one order do not lock each other out.
    values = [
        (
            row.id, status.state and status.state.word, status.period_s, status.deadline_at,
            int(status.timed_out), row.state_id, row.since_at, row.seen_at, row.last_state_id,
        )
        for row in sorted(rows)
        for status in (row.status,)
    ]  # fmt: skip
    tx.update("services", _SAVED, values)


def renew(tx: Transaction, state_ids: Sequence[int], now_at: float) -> None:
    """Make new states, with ids that follow each other, the present ones of their services.

    For states that repeat the one before them: nothing else of the service changes but that the
    period begins anew. Raises Stale, having done some of it, for a service that is late or that
    another process has stored a state of: it is not as the caller thought.
    """
    sets = {
        "deadline_at": "? + services.period_s",
        "state_id": "states.id",
        "seen_at": "states.seen_at",
        "last_state_id": "states.id",
    }
    changed = 0
    for condition, values in tx.conditions("states.id", state_ids):
        where = (
            f"{condition} and services.id = states.service_id"
            " and services.last_state_id = states.previous_id and services.timed_out = 0"
        )
        changed += tx.update_from("services", "states", sets, where, now_at, *values)
    if changed != len(state_ids):
        raise Stale


def check(tx: Transaction, known: Mapping[int, tuple[int | None, bool]]) -> None:
    """Compare services with what is known of them, last_state_id and timed_out, and lock them.

    Raises Stale if anything differs.
    """
    sql = (
        "select id, last_state_id, timed_out from services"
        f" where id in (:keys) order by id {tx.for_update}"
    )
    found = {
        id_: (last, timed_out == 1) for id_, last, timed_out in tx.fetch_in(sql, sorted(known))
    }
    if found != known:
        raise Stale


def mark(tx: Transaction) -> object:
    """Return something that is another one after any report or alert was stored."""
    return tx.fetch("select name, seq from sqlite_sequence where name in ('states', 'alerts')")


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
            server_id, service_id, state_id, now_at,
            alert.channel.value, alert.event, alert.severity.word, alert.message,
        )
        for alert, server_id, service_id, state_id in raised
    ]  # fmt: skip
    ids = tx.insert("alerts", columns, rows)
    if plugins:
        outbox = [(alert_id, plugin) for alert_id in ids for plugin in plugins]
        tx.insert("outbox", ("alert_id", "plugin"), outbox)


def stored_seqs(tx: Transaction, server_id: int, spool: str) -> str | None:
    """Return which reports of a spool are stored, as `save_seqs` was given them; None: none yet."""
    rows = tx.fetch(
        f"select seqs from spools where server_id = ? and spool = ? {tx.for_update}",
        server_id,
        spool,
    )
    return rows[0][0] if rows else None


def save_seqs(
    tx: Transaction, server_id: int, spool: str, seqs: str, now_at: float, *, known: bool
) -> None:
    """Keep which reports of a spool are stored. `known`: `stored_seqs` found it."""
    if known:
        tx.execute(
            "update spools set seqs = ?, used_at = ? where server_id = ? and spool = ?",
            seqs, now_at, server_id, spool,
        )  # fmt: skip
    else:
        tx.execute(
            "insert into spools (server_id, spool, seqs, used_at) values (?, ?, ?, ?)",
            server_id, spool, seqs, now_at,
        )  # fmt: skip


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
