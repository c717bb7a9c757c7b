"""The SQL behind the dashboard: what is, what was, and deleting."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from overc.daemon.store.engine import Row, Transaction


@dataclass(frozen=True, slots=True)
class Selection:
    """All servers, or one of them, or one service of it."""

    server_id: int | None = None
    service_id: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceView:
    id: int
    name: str
    title: str
    period_s: int | None
    timed_out: bool
    state: str | None
    since_at: float | None
    state_id: int | None
    received_at: float | None
    info: str | None
    n_alerts: int


@dataclass(frozen=True, slots=True)
class ServerView:
    id: int
    name: str
    title: str
    ip: str
    n_alerts: int
    services: tuple[ServiceView, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    servers: tuple[ServerView, ...]
    n_alerts: int
    last_state_id: int


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
    received_at: float
    state: str
    info: str


def overview(tx: Transaction, selected: Selection, alerts_since_at: float) -> Overview | None:
    """Return the selected servers and services by name; None where there is no such one."""
    where, values = _where(selected, "services.server_id", "services.id")
    services: dict[int, list[ServiceView]] = {}
    own, of_servers = _count_alerts(tx, selected, alerts_since_at)
    for server_id, id_, *rest in tx.fetch(
        "select services.server_id, services.id, services.name, services.title, period_s,"
        " timed_out, services.state, since_at, state_id, states.received_at, states.info"
        f" from services left join states on states.id = state_id where {where}"
        " order by services.name",
        *values,
    ):
        service: Row = (id_, *rest, own[id_])
        services.setdefault(server_id, []).append(ServiceView(*service))
    if selected.service_id is not None:
        if not services:
            return None
        where, values = "id = ?", tuple(services)
    else:
        where, values = _where(selected, "id", "id")
    servers = []
    for id_, *rest in tx.fetch(
        f"select id, name, title, ip from servers where {where} order by name", *values
    ):
        server: Row = (id_, *rest, of_servers[id_], tuple(services.get(id_, ())))
        servers.append(ServerView(*server))
    if selected.server_id is not None and not servers:
        return None
    ids = [view.state_id or 0 for views in services.values() for view in views]
    return Overview(tuple(servers), own.total(), max(ids, default=0))


def _count_alerts(
    tx: Transaction, selected: Selection, since_at: float
) -> tuple[Counter[int | None], Counter[int | None]]:
    """Return the alerts of each service, where None counts those of no service, and of servers."""
    where, values = _where(selected, "server_id", "service_id")
    own: Counter[int | None] = Counter()
    of_servers: Counter[int | None] = Counter()
    for server_id, service_id, count in tx.fetch(
        "select server_id, service_id, count(*) from alerts"
        f" where raised_at >= ? and {where} group by server_id, service_id",
        since_at,
        *values,
    ):
        own[service_id] += count
        if service_id is None:
            of_servers[server_id] += count
    return own, of_servers


def history(tx: Transaction, service_id: int, since_at: float) -> list[StateView]:
    """Return the states of a service, newest first."""
    rows = tx.fetch(
        "select id, received_at, state, info from states"
        " where service_id = ? and received_at >= ? order by id desc",
        service_id,
        since_at,
    )
    return [StateView(*row) for row in rows]


def service_name(tx: Transaction, service_id: int) -> str | None:
    rows = tx.fetch("select name from services where id = ?", service_id)
    return rows[0][0] if rows else None


_ALERTS = (
    "select alerts.id, servers.name, alerts.server_id, services.name, alerts.service_id,"
    " alerts.state_id, raised_at, channel, event, severity, message, states.state, states.info"
    " from alerts left join servers on servers.id = alerts.server_id"
    " left join services on services.id = alerts.service_id"
    " left join states on states.id = alerts.state_id "
)


def alerts(tx: Transaction, selected: Selection, since_at: float) -> list[AlertView] | None:
    """Return alerts, newest first; None where there is no such server or service."""
    if not _exists(tx, selected):
        return None
    where, values = _where(selected, "alerts.server_id", "alerts.service_id")
    sql = f"{_ALERTS} where raised_at >= ? and {where} order by alerts.id desc"
    return [AlertView(*row) for row in tx.fetch(sql, since_at, *values)]


def alerts_of_service(tx: Transaction, service_id: int, since_at: float) -> list[AlertView]:
    """Return the alerts of a service that hang on a state received since then, oldest first."""
    sql = f"{_ALERTS} where alerts.service_id = ? and states.received_at >= ? order by alerts.id"
    return [AlertView(*row) for row in tx.fetch(sql, service_id, since_at)]


def delete_server(tx: Transaction, server_id: int) -> str | None:
    """Delete a server with all that is known of it; return its name, None if there is none."""
    rows = tx.fetch("select name from servers where id = ?", server_id)
    tx.execute("delete from servers where id = ?", server_id)
    return rows[0][0] if rows else None


def delete_service(tx: Transaction, service_id: int) -> str | None:
    """Delete a service with all that is known of it; return its name, None if there is none."""
    name = service_name(tx, service_id)
    tx.execute("delete from services where id = ?", service_id)
    return name


def _exists(tx: Transaction, selected: Selection) -> bool:
    if selected.service_id is not None:
        return service_name(tx, selected.service_id) is not None
    if selected.server_id is not None:
        return bool(tx.fetch("select 1 from servers where id = ?", selected.server_id))
    return True


def _where(selected: Selection, server: str, service: str) -> tuple[str, Row]:
    if selected.service_id is not None:
        return f"{service} = ?", (selected.service_id,)
    if selected.server_id is not None:
        return f"{server} = ?", (selected.server_id,)
    return "1 = 1", ()
