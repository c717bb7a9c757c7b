"""The SQL of raising alerts: what is recorded, and what the outbox gets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from overc.daemon.store.engine import Row, Transaction
from overc.daemon.store.records import RaisedAlert

OUTBOX = (
    "alert_id", "plugin", "server_id", "service_id", "status", "due_at", "silence_id", "reminder",
    "outcome",
)  # fmt: skip

_ALERTS = (
    "server_id", "service_id", "state_id", "raised_at", "channel", "event", "severity", "message",
    "phase", "topic", "previous_state", "since_at",
)  # fmt: skip


def add_alerts(tx: Transaction, raised: Sequence[RaisedAlert], now_at: float) -> list[int]:
    """Record alerts; return their ids, in order."""
    rows = [
        (
            server_id, service_id, state_id, now_at,
            alert.channel.value, alert.event, alert.severity.word, alert.message,
            alert.phase.value, alert.topic.value,
            None if alert.previous is None else alert.previous.word, alert.since_at,
        )
        for alert, server_id, service_id, state_id in raised
    ]  # fmt: skip
    return tx.insert("alerts", _ALERTS, rows)


def add_rows(tx: Transaction, rows: Sequence[Row]) -> None:
    """Add rows of OUTBOX."""
    tx.insert("outbox", OUTBOX, rows)


def server_names(tx: Transaction, ids: Collection[int]) -> dict[int, str]:
    sql = "select id, name from servers where id in (:keys)"
    return dict(tx.fetch_in(sql, ids))


def service_names(tx: Transaction, ids: Collection[int]) -> dict[int, str]:
    sql = "select id, name from services where id in (:keys)"
    return dict(tx.fetch_in(sql, ids))


class WaitingRow(NamedTuple):
    """A row of the outbox that is pending, of a problem."""

    id: int
    plugin: str
    service_id: int
    topic: str
    alert_id: int
    due_at: float
    tries: int
    """With one that another node may have under way."""
    reminder: bool


def waiting(tx: Transaction, service_ids: Iterable[int]) -> list[WaitingRow]:
    """Return what is pending of problems of services, the oldest first, to be changed."""
    sql = (
        "select outbox.id, outbox.plugin, outbox.service_id, alerts.topic, alerts.id,"
        " outbox.due_at, outbox.tries + case when claimed_until is null then 0 else 1 end,"
        " outbox.reminder"
        " from outbox join alerts on alerts.id = outbox.alert_id"
        " where outbox.status = 'pending' and alerts.phase = 'problem'"
        f" and outbox.service_id in (:keys) {tx.for_update}"
    )
    found = tx.fetch_in(sql, service_ids)
    return sorted(WaitingRow._make((*row[:-1], row[-1] == 1)) for row in found)


class UndueRow(NamedTuple):
    """A row of the outbox that waits for its time and was not tried yet."""

    id: int
    plugin: str
    service_id: int | None
    topic: str
    alert_id: int
    phase: str
    due_at: float
    server: str
    service: str | None


def undue(tx: Transaction, now_at: float) -> list[UndueRow]:
    """Return what waits for its time, but for recoveries, to be changed."""
    sql = (
        "select outbox.id, outbox.plugin, outbox.service_id, alerts.topic, alerts.id, alerts.phase,"
        " outbox.due_at, servers.name, services.name"
        " from outbox join alerts on alerts.id = outbox.alert_id"
        " join servers on servers.id = outbox.server_id"
        " left join services on services.id = outbox.service_id"
        " where outbox.status = 'pending' and outbox.due_at > ? and outbox.tries = 0"
        f" and alerts.phase <> 'recovery' order by outbox.id {tx.for_update}"
    )
    return [UndueRow._make(row) for row in tx.fetch(sql, now_at)]


def cancel(tx: Transaction, ids: Sequence[int], reason: str) -> None:
    """Take rows that are pending out of the outbox's queue."""
    tx.update("outbox", ("id", "status", "outcome"), [(id_, "cancelled", reason) for id_ in ids])


def keep_back(tx: Transaction, rows: Sequence[tuple[int, int]]) -> None:
    """Have silences keep rows of the outbox back: ids of rows, each with a silence's."""
    values = [(id_, "silenced", silence_id) for id_, silence_id in rows]
    tx.update("outbox", ("id", "status", "silence_id"), values)


class KeptRow(NamedTuple):
    """A row of the outbox that a silence keeps back, of a problem that is still there."""

    id: int
    silence_id: int
    plugin: str
    service_id: int
    topic: str
    alert_id: int
    raised_at: float
    server_id: int
    server: str
    service: str
    server_title: str
    service_title: str
    acked: bool


def kept_back(tx: Transaction, silence_ids: Iterable[int]) -> list[KeptRow]:
    """Return what silences keep back of problems that are still there, the oldest first.

    What a plugin has heard more of since is not news to it.
    """
    sql = (
        "select outbox.id, outbox.silence_id, outbox.plugin, alerts.service_id, alerts.topic,"
        " alerts.id, alerts.raised_at, alerts.server_id,"
        " servers.name, services.name, servers.title, services.title,"
        " case when acks.service_id is null then 0 else 1 end"
        " from outbox join alerts on alerts.id = outbox.alert_id"
        " join services on services.id = alerts.service_id"
        " join servers on servers.id = alerts.server_id"
        " left join acks on acks.service_id = alerts.service_id"
        " where outbox.status = 'silenced' and alerts.phase = 'problem' and not exists"
        " (select 1 from alerts ended where ended.service_id = alerts.service_id"
        " and ended.topic = alerts.topic and ended.phase = 'recovery' and ended.id > alerts.id)"
        " and not exists (select 1 from alerts newer"
        " join outbox heard on heard.alert_id = newer.id"
        " where newer.service_id = alerts.service_id and newer.topic = alerts.topic"
        " and newer.phase = 'problem' and newer.id > alerts.id"
        " and heard.plugin = outbox.plugin and heard.status in ('pending', 'sent', 'undelivered'))"
        " and outbox.silence_id in (:keys)"
    )
    found = tx.fetch_in(sql, silence_ids)
    return sorted(KeptRow._make((*row[:-1], row[-1] == 1)) for row in found)
