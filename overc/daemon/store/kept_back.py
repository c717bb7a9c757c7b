"""The SQL of looking at silences and at the outbox; nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from overc.daemon.store.engine import Transaction
from overc.daemon.store.silences import WINDOW_AUTHOR

ALERTS_MAX = 20
"""How many of the alerts that a silence kept back are named, the newest ones."""


class SilenceRow(NamedTuple):
    id: int
    servers: str
    services: str
    author: str
    reason: str
    created_at: float
    starts_at: float
    ends_at: float


class KeptBack(NamedTuple):
    """An alert that was not sent, since a silence kept it back."""

    silence_id: int
    alert_id: int
    raised_at: float
    server: str | None
    service: str | None
    service_id: int | None
    channel: str
    event: str
    message: str


class Backlog(NamedTuple):
    """What is due and has not been sent."""

    rows: int
    oldest_at: float | None
    """Since when the oldest of them is due; None: there is none."""


_SILENCES = (
    "select id, servers, services, author, reason, created_at, starts_at, ends_at from silences"
)


def silences(tx: Transaction, ended_since_at: float) -> list[SilenceRow]:
    """Return the silences but for those that ended before a time, the newest first."""
    rows = tx.fetch(f"{_SILENCES} where ends_at >= ? order by id desc", ended_since_at)
    return [SilenceRow(*row) for row in rows]


def running(tx: Transaction, now_at: float) -> list[SilenceRow]:
    """Return the silences that are in force, the oldest first."""
    rows = tx.fetch(f"{_SILENCES} where starts_at <= ? and ends_at > ? order by id", now_at, now_at)
    return [SilenceRow(*row) for row in rows]


def of_windows(tx: Transaction, names: Iterable[str], ended_since_at: float) -> list[SilenceRow]:
    """Return the silences of these maintenances but for those that ended before a time."""
    sql = f"{_SILENCES} where ends_at >= ? and author in (:keys)"
    authors = [WINDOW_AUTHOR + name for name in names]
    return [SilenceRow(*row) for row in tx.fetch_in(sql, authors, ended_since_at)]


def silence(tx: Transaction, silence_id: int) -> SilenceRow | None:
    rows = tx.fetch(f"{_SILENCES} where id = ?", silence_id)
    return SilenceRow(*rows[0]) if rows else None


def names(tx: Transaction) -> list[tuple[str, str]]:
    """Return the names of all services, each after that of its server, in their order."""
    rows = tx.fetch(
        "select servers.name, services.name from services"
        " join servers on servers.id = server_id order by servers.id, services.id"
    )
    return [(server, service) for server, service in rows]


def is_acknowledged(tx: Transaction, service_id: int) -> bool:
    return bool(tx.fetch("select 1 from acks where service_id = ?", service_id))


def count_alerts(tx: Transaction, silence_ids: Iterable[int]) -> dict[int, int]:
    """Return how many alerts each silence kept back from at least one alert plugin."""
    rows = tx.fetch_in(
        "select silence_id, count(distinct alert_id) from outbox"
        " where silence_id in (:keys) group by silence_id",
        silence_ids,
    )
    return {row[0]: row[1] for row in rows}


def alerts(tx: Transaction, silence_id: int) -> list[KeptBack]:
    """Return what a silence kept back, the newest first, at most ALERTS_MAX of them."""
    rows = tx.fetch(
        "select distinct silence_id, alerts.id, raised_at, servers.name, services.name,"
        " alerts.service_id, channel, event, message"
        " from outbox join alerts on alerts.id = alert_id"
        " left join servers on servers.id = alerts.server_id"
        " left join services on services.id = alerts.service_id"
        " where silence_id = ? order by alerts.id desc limit ?",
        silence_id,
        ALERTS_MAX,
    )
    return [KeptBack(*row) for row in rows]


def backlog(tx: Transaction, now_at: float) -> Backlog:
    """Return what waits in the outbox although it is due; what is tried again was due before."""
    [(rows, oldest_at)] = tx.fetch(
        "select count(*), min(case when tries = 0 then due_at else coalesce("
        "(select min(attempts.tried_at) from attempts where outbox_id = outbox.id), due_at) end)"
        " from outbox where status = 'pending' and (tries > 0 or due_at <= ?)",
        now_at,
    )
    return Backlog(rows, oldest_at)
