"""The SQL behind the dashboard: what is, what was, and deleting."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import NamedTuple

from overc.daemon.store.engine import Row, Transaction


class ServerRow(NamedTuple):
    id: int
    name: str
    title: str
    ip: str


class ServiceRow(NamedTuple):
    """A service with its present state; without one it has no state_id."""

    id: int
    server_id: int
    name: str
    title: str
    period_s: int | None
    timed_out: int
    state: str | None
    since_at: float | None
    state_id: int | None
    received_at: float | None
    info: str | None


class Changes(NamedTuple):
    """What came after a state and an alert; with `full`, all there is."""

    full: bool
    servers: list[ServerRow]
    """All of them, or none if they were not looked at."""
    services: list[ServiceRow]
    alerts: list[Row]
    """id, raised_at, server_id, service_id; the oldest first."""
    last_state_id: int
    in_order: bool = True
    """Ids are committed in their order, since one process writes all of them."""
    last_rename_id: int = 0


@dataclass(frozen=True, slots=True)
class AlertView:
    id: int
    server: str | None
    server_id: int | None
    service: str | None
    service_id: int | None
    state_id: int | None
    raised_at: float
    channel: str
    event: str
    severity: str
    message: str
    state: str | None
    info: str | None


@dataclass(frozen=True, slots=True)
class StateView:
    id: int
    seen_at: float
    received_at: float
    state: str
    info: str


RENAMES_AGAIN = 20
"""Where ids are not committed in their order, so many new titles are read again each time."""

_SERVICES = (
    "select services.id, services.server_id, services.name, services.title, period_s, timed_out,"
    " services.state, since_at, state_id, states.received_at, states.info from services"
    " join latest on latest.service_id = services.id"
)


def changes(
    tx: Transaction,
    state_id: int,
    alert_id: int,
    server_ids: Set[int],
    n_services: int,
    alerts_since_at: float,
    *,
    full: bool,
    compare: bool = True,
    settled: tuple[int, int] | None = None,
    rename_id: int = 0,
) -> Changes:
    """Return what was committed since these ids were the last ones.

    Returns everything when asked to, when so much has come that this is less work, and when
    services came or went: `compare` looks for that, else only what is new is found.
    `settled`: a state's and an alert's id to begin after instead, since some between them and the
    last ones may not have been committed when those were. `rename_id`: the last new title.
    """
    [(newest_id,)] = tx.fetch("select coalesce(max(id), 0) from states")
    full = full or newest_id - state_id > max(1000, 2 * n_services)
    [(kept_rename_id,)] = tx.fetch("select min(id) from renames")
    # While nobody looked there were more of them than are kept.
    full = full or (kept_rename_id is not None and kept_rename_id > rename_id + 1)
    [(newest_server_id,)] = tx.fetch("select max(id) from servers")
    compare = compare or (newest_server_id is not None and newest_server_id not in server_ids)
    servers = []
    if full or compare:
        servers = [ServerRow(*row) for row in tx.fetch("select id, name, title, ip from servers")]
        full = full or not server_ids <= {server.id for server in servers}
    if compare and not full:
        [(count,)] = tx.fetch("select count(*) from services")
        full = count != n_services
    after_rename_id = rename_id if tx.sole_writer else rename_id - RENAMES_AGAIN
    renames = tx.fetch("select id, service_id from renames where id > ?", after_rename_id)
    alerts_sql = (
        "select id, raised_at, server_id, service_id from alerts"
        " where id > ? and raised_at >= ? order by id"
    )
    if full:
        return Changes(
            True,
            servers,
            [
                ServiceRow(*row)
                for row in tx.fetch(f"{_SERVICES} left join states on states.id = state_id")
            ],
            tx.fetch(alerts_sql, 0, alerts_since_at),
            newest_id,
            tx.sole_writer,
            max((id_ for id_, _ in renames), default=rename_id),
        )
    after_state_id, after_alert_id = settled or (state_id, alert_id)
    found = tx.fetch(
        f"{_SERVICES} join states on states.service_id = services.id and states.id = state_id"
        " where states.id > ?",
        after_state_id,
    )
    new_alerts = tx.fetch(alerts_sql, after_alert_id, alerts_since_at)
    about = {service_id for _, _, _, service_id in new_alerts if service_id is not None}
    about |= {service_id for _, service_id in renames}
    found += tx.fetch_in(
        f"{_SERVICES} left join states on states.id = state_id where services.id in (:keys)", about
    )
    services = [ServiceRow(*row) for row in found]
    if not servers and not {service.server_id for service in services} <= server_ids:
        return changes(tx, state_id, alert_id, server_ids, n_services, alerts_since_at, full=True)
    return Changes(
        False,
        servers,
        services,
        new_alerts,
        newest_id,
        tx.sole_writer,
        max((id_ for id_, _ in renames), default=rename_id),
    )


_STATE = "select id, seen_at, received_at, state, info from"


def history(tx: Transaction, service_id: int, since_at: float) -> list[StateView]:
    """Return the states of a service, newest first."""
    newest_first = "seen_at >= ? order by seen_at desc, id desc"
    # No state is seen after it was received, so what was received before is not wanted either.
    if tx.indexed_histories:
        sql = f"{_STATE} states where service_id = ? and received_at >= ? and {newest_first}"
    else:
        sql = (
            f"{chain('seen_at', 'received_at', 'state', 'info')} where states.received_at >= ?)"
            f" {_STATE} chain where {newest_first}"
        )
    return [StateView(*row) for row in tx.fetch(sql, service_id, since_at, since_at)]


def chain(*columns: str) -> str:
    """Return the beginning of a query along the chain of a service, up to the step's conditions."""
    names = ["id", "previous_id", *columns]
    states = ", ".join(f"states.{name}" for name in names)
    return (
        f"with recursive chain ({', '.join(names)}) as (select {states} from latest"
        " join states on states.id = latest.last_state_id where latest.service_id = ?"
        f" union all select {states} from chain join states on states.id = chain.previous_id"
    )


def service_name(tx: Transaction, service_id: int) -> str | None:
    rows = tx.fetch("select name from services where id = ?", service_id)
    return rows[0][0] if rows else None


def server_name(tx: Transaction, server_id: int) -> str | None:
    rows = tx.fetch("select name from servers where id = ?", server_id)
    return rows[0][0] if rows else None


ALERTS = (
    "select alerts.id, servers.name, alerts.server_id, services.name, alerts.service_id,"
    " alerts.state_id, raised_at, channel, event, severity, message, states.state, states.info"
    " from alerts left join servers on servers.id = alerts.server_id"
    " left join services on services.id = alerts.service_id"
    " left join states on states.id = alerts.state_id "
)


def is_known(tx: Transaction, server_id: int | None, service_id: int | None) -> bool:
    """Tell whether there is such a service, or else server; what is None is not asked for."""
    if service_id is not None:
        return service_name(tx, service_id) is not None
    return server_id is None or bool(tx.fetch("select 1 from servers where id = ?", server_id))


def alerts(
    tx: Transaction, server_id: int | None, service_id: int | None, since_at: float
) -> list[AlertView] | None:
    """Return alerts, newest first; None where there is no such server or service."""
    if not is_known(tx, server_id, service_id):
        return None
    where = "1 = 1"
    values: Row = ()
    if service_id is not None:
        where, values = "alerts.service_id = ?", (service_id,)
    elif server_id is not None:
        where, values = "alerts.server_id = ?", (server_id,)
    sql = f"{ALERTS} where raised_at >= ? and {where} order by alerts.id desc"
    return [AlertView(*row) for row in tx.fetch(sql, since_at, *values)]


def alerts_of_service(tx: Transaction, service_id: int, since_at: float) -> list[AlertView]:
    """Return the alerts of a service that hang on a state received since then, oldest first."""
    sql = f"{ALERTS} where alerts.service_id = ? and states.seen_at >= ? order by alerts.id"
    return [AlertView(*row) for row in tx.fetch(sql, service_id, since_at)]


def delete_server(tx: Transaction, server_id: int) -> str | None:
    """Delete a server with all that is known of it; return its name, None if there is none."""
    rows = tx.fetch("select name from servers where id = ?", server_id)
    for (service_id,) in tx.fetch("select id from services where server_id = ?", server_id):
        _delete_history(tx, service_id)
    # Each with what hangs on it. MySQL 9.7 leaves rows of the outbox where two cascades meet.
    tx.execute("delete from alerts where server_id = ?", server_id)
    tx.execute("delete from services where server_id = ?", server_id)
    tx.execute("delete from servers where id = ?", server_id)
    return rows[0][0] if rows else None


def delete_service(tx: Transaction, service_id: int) -> str | None:
    """Delete a service with all that is known of it; return its name, None if there is none."""
    name = service_name(tx, service_id)
    _delete_history(tx, service_id)
    tx.execute("delete from alerts where service_id = ?", service_id)  # as in delete_server
    tx.execute("delete from services where id = ?", service_id)
    return name


def _delete_history(tx: Transaction, service_id: int) -> None:
    if tx.indexed_histories:
        tx.execute("delete from states where service_id = ?", service_id)
        return
    # What is not reached, because a part before it was pruned, is pruned in its turn.
    rows = tx.fetch(f"{chain()}) select id from chain", service_id)
    tx.delete("states", [row[0] for row in rows])
